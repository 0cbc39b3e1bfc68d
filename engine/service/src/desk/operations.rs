//! What is done to one torrent that is there: start, stop, announce, limit, remove; and its ways to the engine and
//! back.

use std::collections::BTreeSet;
use std::sync::Arc;

use catalogue::{Change, ContentPlace, Fault, StopCause, TorrentChange, TorrentNumber, Wanted};
use mesh::TorrentId;
use seedbox::{AtRest, EngineError, EngineHandle};
use swarm::Terms;

use super::adding::files_key;
use super::entry::{Entry, Live};
use super::erase::{erase, files_at};
use super::places::remove_own_folder;
use super::releases::refused;
use super::source::CatalogueSource;
use super::task::{Desk, World};
use super::{Answer, DeskError, Happened, LimitChange};
use crate::clock::unix_s;

impl Desk {
    pub(crate) fn start(&mut self, number: TorrentNumber, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        if entry.engine.is_some() {
            return drop(answer.send(Ok(())));
        }
        let changes = [TorrentChange::Wanted(Wanted::Running), TorrentChange::Fault(None)];
        let changes = changes.map(|change| Change::Torrent(number, change)).to_vec();
        let catalogue = self.world.catalogue.clone();
        self.work(number, async move { catalogue.apply(changes).await }, move |desk, kept| {
            if kept.is_ok()
                && let Some(entry) = desk.table.get_mut(number)
            {
                entry.row.wanted = Wanted::Running;
                entry.row.fault = None;
                desk.bring_back(number);
            }
            let _ = answer.send(kept.map_err(DeskError::from));
        });
    }

    pub(crate) fn stop(&mut self, number: TorrentNumber, answer: Answer<()>) {
        self.stop_because(number, StopCause::Operator, move |_, stopped| drop(answer.send(stopped)));
    }

    /// Takes a torrent from the engine until it is started.
    pub(crate) fn stop_because(
        &mut self,
        number: TorrentNumber,
        cause: StopCause,
        then: impl FnOnce(&mut Desk, Result<(), DeskError>) + Send + 'static,
    ) {
        let Some(entry) = self.table.get_mut(number) else { return };
        entry.row.wanted = Wanted::Stopped(cause);
        entry.work.cancel();
        let changes = vec![Change::Torrent(number, TorrentChange::Wanted(Wanted::Stopped(cause)))];
        self.leave_engine(number, changes, then);
    }

    /// Feeds first, then the engine, then the catalogue.
    pub(crate) fn leave_engine(
        &mut self,
        number: TorrentNumber,
        mut changes: Vec<Change>,
        then: impl FnOnce(&mut Desk, Result<(), DeskError>) + Send + 'static,
    ) {
        let life = self.table.get(number).map(Entry::life);
        let ((hidden, id), world) = (self.hide(number), self.world.clone());
        let job = async move {
            hidden.await;
            let mut totals = None;
            if let (Some(id), Some(life)) = (id, life) {
                let live = leave(&world, id).await?;
                let sum = life.totals(&live, world.start.elapsed());
                changes.push(Change::Totals(vec![(number, sum)]));
                totals = Some(sum);
            }
            Ok((totals, world.catalogue.apply(changes).await))
        };
        self.work(number, job, move |desk, left: Result<_, DeskError>| {
            if let (Ok((Some(totals), _)), Some(entry)) = (&left, desk.table.get_mut(number)) {
                entry.end_run(*totals);
            }
            then(desk, left.and_then(|(_, kept)| Ok(kept?)));
        });
    }

    pub(crate) fn announce(&mut self, number: TorrentNumber, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        let Some(id) = entry.engine else {
            return drop(answer.send(Err(refused(entry, "it is not running; start it first"))));
        };
        let engine = self.world.engine.clone();
        self.work(number, async move { engine.announce_now(id).await }, move |_, announced| {
            let _ = answer.send(announced.map(drop).map_err(DeskError::from));
        });
    }

    pub(crate) fn limit(&mut self, number: TorrentNumber, change: &LimitChange, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        if let Err(error) = self.check_group(change.group.as_ref().and_then(Option::as_deref)) {
            return drop(answer.send(Err(error)));
        }
        let mut row = entry.row.clone();
        row.limits = change.applied(row.limits);
        if let Some(group) = &change.group {
            row.group.clone_from(group);
        }
        let changes = [TorrentChange::Limits(row.limits), TorrentChange::Group(row.group.clone())];
        let changes = changes.map(|change| Change::Torrent(number, change)).to_vec();
        let (world, id, limits) = (self.world.clone(), entry.engine, self.policy.limits(&row));
        let job = async move {
            world.catalogue.apply(changes).await?;
            if let Some(id) = id {
                world.engine.set_limits(id, limits).await?;
            }
            Ok(())
        };
        self.work(number, job, move |desk, kept: Result<(), DeskError>| {
            if kept.is_ok()
                && let Some(entry) = desk.table.get_mut(number)
            {
                (entry.row.limits, entry.row.group) = (row.limits, row.group);
            }
            let _ = answer.send(kept);
        });
    }

    pub(crate) fn remove(&mut self, number: TorrentNumber, deletes_content: bool, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        if entry.release.is_some() {
            let reason = "it is published from a tree: take it out of the tree, or stop it";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        entry.work.cancel();
        let (content, others) = (entry.row.content.clone(), self.table.beside(entry));
        let changes = vec![Change::RemoveTorrent(number), Change::Setting { key: files_key(number), value: None }];
        let ((hidden, id), world) = (self.hide(number), self.world.clone());
        let job = async move {
            hidden.await;
            if let Some(id) = id {
                world.engine.remove(id).await?;
            }
            if deletes_content {
                // A crash in the middle of it leaves no seed without files.
                let stopped = TorrentChange::Wanted(Wanted::Stopped(StopCause::Operator));
                world.catalogue.apply(vec![Change::Torrent(number, stopped)]).await?;
            }
            let forget = world.clone();
            // Before the catalogue forgets what its files are called.
            let forgotten =
                tokio::task::spawn_blocking(move || forget_files(&forget, number, &content, &others, deletes_content));
            let left = forgotten.await.unwrap_or_default();
            world.catalogue.apply(changes).await?;
            Ok(left)
        };
        self.work(number, job, move |desk, removed: Result<Option<String>, DeskError>| {
            match &removed {
                Ok(_) => {
                    if let Some(entry) = desk.table.remove(number) {
                        desk.tell_of(&entry, Happened::Removed);
                    }
                }
                // It is still ours, and has left the engine for nothing.
                Err(_) => desk.bring_back(number),
            }
            if let Ok(Some(reason)) = &removed {
                tracing::warn!(torrent = number.0, reason, "not all of a removed torrent's content could be deleted");
            }
            let _ = answer.send(removed.map(drop));
        });
    }

    /// Gives a torrent to the engine that is to run and does not.
    pub(crate) fn bring_back(&mut self, number: TorrentNumber) {
        let Some(entry) = self.table.get(number).filter(|entry| entry.may_run() && entry.engine.is_none()) else {
            return;
        };
        if entry.row.completed_at_s.is_none() {
            return match entry.row.content.own_name {
                None => self.resume_fetch(number),
                Some(_) => self.check(number),
            };
        }
        let Some(torrent) = self.at_rest(number) else { return };
        let engine = self.world.engine.clone();
        let added = async move { add_at_rest(&engine, torrent).await };
        self.work(number, added, move |desk, added| match added {
            Ok(id) => {
                desk.set_engine(number, Some(id));
                desk.show_with_feeds(number);
            }
            Err(error) => desk.fail(number, error.to_string()),
        });
    }

    /// A torrent as the engine takes it, not loaded.
    pub(crate) fn at_rest(&mut self, number: TorrentNumber) -> Option<AtRest> {
        let entry = self.table.get_mut(number)?;
        entry.gate = self.policy.gate(&entry.row, unix_s());
        if let (Some(_), Some(opens_at_s)) = (&entry.gate, entry.row.release_at_s) {
            self.shut.insert((opens_at_s, number));
        }
        let row = &entry.row;
        let shape = row.shape?;
        let terms = Terms::with(self.policy.limits(row), entry.gate.clone());
        if entry.release.is_some() && row.first_copy_at_s.is_none() {
            terms.await_copy();
        }
        Some(AtRest {
            name: row.name.to_string(),
            info_hashes: row.info_hashes().collect(),
            misnamed: row.info_hash_misread,
            size_bytes: shape.size_bytes,
            is_private: shape.is_private,
            tiers: row.tiers.clone(),
            terms: Arc::new(terms),
            source: Arc::new(CatalogueSource { catalogue: self.world.catalogue.clone(), number }),
            is_restored: false,
        })
    }

    /// The engine has taken a torrent. What it has said of it by then is heard now.
    pub(crate) fn set_engine(&mut self, number: TorrentNumber, id: Option<TorrentId>) {
        let now = self.now();
        if let Some(entry) = self.table.get_mut(number)
            && id.is_some()
        {
            entry.served_since = entry.row.completed_at_s.map(|_| now);
        }
        self.table.set_engine(number, id);
        if let Some(id) = id {
            self.hear_again(id);
        }
    }

    /// A torrent can be neither served nor fetched: the reason stays until it is started again.
    pub(crate) fn fail(&mut self, number: TorrentNumber, reason: String) {
        let Some(entry) = self.table.get_mut(number) else { return };
        tracing::error!(torrent = number.0, name = &*entry.row.name, "{reason}");
        let fault = Fault { text: reason.clone(), at_s: unix_s() };
        entry.row.fault = Some(fault.clone());
        let changes = vec![Change::Torrent(number, TorrentChange::Fault(Some(fault)))];
        self.leave_engine(number, changes, move |desk, kept| {
            if let Err(error) = kept {
                tracing::warn!(torrent = number.0, %error, "why a torrent failed is not kept");
            }
            desk.tell(number, Happened::Failed { reason });
        });
    }
}

/// Gives the engine one torrent.
pub(crate) async fn add_at_rest(engine: &EngineHandle, torrent: AtRest) -> Result<TorrentId, DeskError> {
    let added = engine.add_many(vec![torrent]).await?.pop().ok_or(EngineError::Gone)?;
    Ok(added.map_err(EngineError::from)?)
}

/// Takes a torrent from the engine; what it did there is the answer.
async fn leave(world: &World, id: TorrentId) -> Result<Live, DeskError> {
    let live = Live::of(&world.engine.status_of(id).await?);
    world.engine.remove(id).await?;
    Ok(live)
}

/// What of a torrent's content could not be deleted, if it should be; what its fetch remembered goes in any case.
fn forget_files(
    world: &World,
    number: TorrentNumber,
    content: &ContentPlace,
    others: &[(TorrentNumber, ContentPlace)],
    deletes_content: bool,
) -> Option<String> {
    let torrent = world.catalogue.torrent(number).ok().flatten()?;
    world.fetches.forget(&torrent, &content.folder);
    if !deletes_content {
        return None;
    }
    let mut spared = BTreeSet::new();
    for (other, place) in others {
        match world.catalogue.torrent(*other) {
            Ok(Some(other)) => spared.extend(files_at(&other, place)),
            // Of a link nobody knows what is its, and nothing of it is there.
            Ok(None) => {}
            Err(error) => return Some(error.to_string()),
        }
    }
    let erased = erase(&torrent, content, &spared);
    remove_own_folder(torrent.info_hashes().next(), content);
    erased.err().map(|error| error.to_string())
}
