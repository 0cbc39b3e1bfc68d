//! What is done to one torrent that is there: start, stop, check, announce, limit, remove; and its ways to the engine and
//! back.

use std::collections::BTreeSet;
use std::sync::Arc;

use catalogue::{Catalogue, Change, ContentPlace, Fault, StopCause, TorrentChange, TorrentNumber, Wanted};
use mesh::TorrentId;
use metainfo::Torrent;
use seedbox::{AtRest, EngineError, EngineHandle, VerifyReport};
use storage::{Meter, VerifiedRecord};
use swarm::Terms;

use super::adding::files_key;
use super::entry::{Check, Entry, Live, Work};
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

    pub(crate) fn recheck(&mut self, number: TorrentNumber, fetches: bool, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        if entry.row.shape.is_none() {
            return drop(answer.send(Err(refused(entry, "peers have not told yet what the link stands for"))));
        }
        if fetches && entry.release.is_some() {
            let reason = "it is published from a tree, which is not written to; put the right files there";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        if fetches && entry.row.content.own_name.is_some() {
            let reason = "its content is called otherwise than the torrent, and is not written to";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        if fetches && let Err(error) = self.table.require_room(&entry.row) {
            return drop(answer.send(Err(error)));
        }
        if !fetches && entry.row.completed_at_s.is_none() && entry.row.content.own_name.is_none() {
            return drop(answer.send(Err(refused(entry, "it is not complete; recheck it with fetching"))));
        }
        // What is fetched is checked first, if nobody remembers what was.
        let mut changes = vec![TorrentChange::Verified(None), TorrentChange::Fault(None)];
        if fetches {
            changes.push(TorrentChange::Completed(None));
        }
        let changes = changes.into_iter().map(|change| Change::Torrent(number, change)).collect();
        let _ = answer.send(Ok(()));
        self.leave_engine(number, changes, move |desk, left| {
            let Some(entry) = desk.table.get_mut(number) else { return };
            if let Err(error) = left {
                return desk.fail(number, error.to_string());
            }
            entry.row.fault = None;
            match fetches {
                true => desk.fetch_again(number),
                false => desk.check(number),
            }
        });
    }

    /// Has all of a torrent looked at by the engine, and what is wrong fetched.
    fn fetch_again(&mut self, number: TorrentNumber) {
        let Some(entry) = self.table.get_mut(number) else { return };
        entry.row.completed_at_s = None;
        let (world, folder) = (self.world.clone(), entry.row.content.folder.clone());
        let forget = tokio::task::spawn_blocking(move || {
            if let Ok(Some(torrent)) = world.catalogue.torrent(number) {
                world.fetches.forget(&torrent, &folder);
            }
        });
        self.work(number, async move { drop(forget.await) }, move |desk, ()| desk.bring_back(number));
    }

    /// Takes a torrent from the engine of which nobody remembers that it was verified, and verifies it.
    pub(crate) fn leave_and_check(&mut self, number: TorrentNumber) {
        self.leave_engine(number, Vec::new(), move |desk, left| match left {
            Ok(()) => desk.check(number),
            Err(error) => desk.fail(number, error.to_string()),
        });
    }

    /// Reads all of a torrent's content off the shards, and serves it again if it is right.
    pub(crate) fn check(&mut self, number: TorrentNumber) {
        let needless = self.makes_checks_needless(number);
        let Some(entry) = self.table.get_mut(number) else { return };
        let check = Check::default();
        entry.work = Work::Checking(check.clone());
        let completed_at_s = entry.row.completed_at_s.unwrap_or_else(unix_s);
        if needless {
            check.cancel();
        }
        let (content, catalogue, checks) =
            (entry.row.content.clone(), self.world.catalogue.clone(), self.checks.clone());
        let job = async move {
            // One at a time: each takes all threads that there are for it.
            let Some(_turn) = check.turn(checks).await else { return Ok(false) };
            let (read, meter) = (catalogue.clone(), check.meter.clone());
            let checked = tokio::task::spawn_blocking(move || verify(&read, number, &content, &meter));
            let record = match checked.await.map_err(|_| "the check broke off".to_owned())? {
                Err(_) if check.meter.is_cancelled() => return Ok(false),
                checked => checked?,
            };
            let changes = [TorrentChange::Verified(Some(record)), TorrentChange::Completed(Some(completed_at_s))];
            let changes = changes.map(|change| Change::Torrent(number, change)).to_vec();
            catalogue.apply(changes).await.map(|()| true).map_err(|error| error.to_string())
        };
        self.work(number, job, move |desk, checked: Result<bool, String>| {
            let Some(entry) = desk.table.get_mut(number) else { return };
            entry.work = Work::None;
            match checked {
                Ok(true) => {
                    entry.row.completed_at_s = Some(completed_at_s);
                    desk.bring_back(number);
                }
                // Whoever cancelled it goes on; the next start finds that nobody remembers its content.
                Ok(false) => {}
                Err(reason) => desk.fail(number, reason),
            }
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

/// Compares all of a torrent's content; the record of that, or what is wrong.
fn verify(
    catalogue: &Catalogue,
    number: TorrentNumber,
    content: &ContentPlace,
    meter: &Arc<Meter>,
) -> Result<Vec<u8>, String> {
    let torrent = catalogue.torrent(number).map_err(|error| error.to_string())?.ok_or("only a link is known")?;
    let report = seedbox::verify(&torrent, &content.place(), None, meter).map_err(|error| error.to_string())?;
    record_of_report(&torrent, content, &report)
}

/// The files as they were while they were compared: what they are by now was perhaps never read.
fn record_of_report(torrent: &Torrent, content: &ContentPlace, report: &VerifyReport) -> Result<Vec<u8>, String> {
    let name = torrent.info_hashes().next().unwrap_or_default();
    match report.verified_files() {
        Some(files) => Ok(VerifiedRecord::new(name, files).encode()),
        None => {
            let path = content.path(torrent.layout().name());
            Err(format!("{}: {}", path.display(), seedbox::what_is_missing(torrent, report)))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use storage::Content;

    #[test]
    fn a_file_that_is_replaced_right_after_it_was_read_does_not_pass_for_verified() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 100]).unwrap();
        let pieces = hash::sha1(&[7; 100]).0;
        let info = [b"d6:lengthi100e4:name1:a12:piece lengthi16384e6:pieces20:".as_slice(), &pieces, b"e"].concat();
        let torrent = Torrent::from_info(&info).unwrap();
        let content = ContentPlace::under(dir.path());
        let report = seedbox::verify(&torrent, &content.place(), None, &Arc::new(Meter::new())).unwrap();
        let is_verified = || {
            let record = record_of_report(&torrent, &content, &report).unwrap();
            let files = Content::open(torrent.layout(), &content.place()).unwrap().identity();
            record == VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &files).encode()
        };
        assert!(is_verified());
        fs::write(dir.path().join("b"), [8; 100]).unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(!is_verified());
    }
}
