//! Torrents that come: an operator's, or a subscription's. What is there of their content is verified and what lacks is
//! fetched, which is one way: a fetch of what is complete ends as soon as all was looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use catalogue::{
    Catalogue, Change, ContentPlace, Metainfo, NewTorrent as KeptTorrent, StopCause, TorrentChange, TorrentNumber,
    TorrentRow, Wanted,
};
use mesh::TorrentId;
use metainfo::{Magnet, Torrent};
use seedbox::{FetchRequest, Selection, Source, StateDir, TorrentState};
use swarm::Terms;

use super::entry::Entry;
use super::source::{CatalogueSource, record_of};
use super::task::{Desk, World};
use super::{Answer, DeskError, FetchSource, Happened, NewTorrent};
use crate::clock::unix_s;

/// What a torrent is known by, read.
enum Known {
    File(Arc<Torrent>, Vec<u8>),
    Magnet(Box<Magnet>),
}

impl Desk {
    pub(crate) fn add(&mut self, mut new: NewTorrent, answer: Answer<TorrentNumber>) {
        if let Err(error) = self.check_group(new.group.as_deref()) {
            return drop(answer.send(Err(error)));
        }
        let source = std::mem::replace(&mut new.source, FetchSource::File(Vec::new()));
        // A large torrent file takes its time.
        let known = tokio::task::spawn_blocking(move || Known::read(source));
        let known = async move { known.await.map_err(|_| DeskError::Stopping)? };
        self.work_apart(known, move |desk, known| match known {
            Ok(known) => desk.keep_new(new, known, answer),
            Err(error) => drop(answer.send(Err(error))),
        });
    }

    pub(crate) fn check_group(&self, group: Option<&str>) -> Result<(), DeskError> {
        match group.filter(|group| !self.policy.knows_group(group)) {
            Some(group) => Err(DeskError::NoGroup { group: group.to_owned() }),
            None => Ok(()),
        }
    }

    fn keep_new(&mut self, new: NewTorrent, known: Known, answer: Answer<TorrentNumber>) {
        let catalogue = self.world.catalogue.clone();
        let (number, content) = (catalogue.next_torrent(), new.content.clone());
        let (mut kept, source) = known.into_kept(number, content, &new);
        if new.is_stopped {
            kept.row.wanted = Wanted::Stopped(StopCause::Operator);
        }
        (kept.row.group, kept.row.limits) = (new.group, new.limits);
        if let Err(error) = self.table.require_new(&kept.row).and_then(|()| self.table.place(&mut kept.row)) {
            return drop(answer.send(Err(error)));
        }
        if let Err(error) = self.table.insert(Entry::new(kept.row.clone())) {
            return drop(answer.send(Err(error)));
        }
        let mut changes = vec![Change::AddTorrent(Box::new(kept))];
        if !new.files.is_empty() {
            changes.push(Change::Setting { key: files_key(number), value: Some(new.files.join("\n")) });
        }
        let selection = if new.files.is_empty() { Selection::All } else { Selection::Globs(new.files) };
        self.work(number, async move { catalogue.apply(changes).await }, move |desk, kept| {
            if let Err(error) = kept {
                desk.table.remove(number);
                return drop(answer.send(Err(error.into())));
            }
            let _ = answer.send(Ok(number));
            let may_run = desk.table.get(number).is_some_and(Entry::may_run);
            match new.content.own_name {
                _ if !may_run => {}
                None => desk.begin_fetch(number, source, selection, new.peers),
                Some(_) => desk.check(number),
            }
        });
    }

    /// Has the engine fetch a torrent that is in the catalogue, or find that all of it is there.
    fn begin_fetch(&mut self, number: TorrentNumber, source: Source, selection: Selection, peers: Vec<SocketAddr>) {
        if let Err(error) = self.check_room(number) {
            return self.fail(number, error.to_string());
        }
        let Some(request) = self.fetch_request(number, source, selection, peers) else { return };
        let engine = self.world.engine.clone();
        self.work(number, async move { engine.fetch(request).await }, move |desk, begun| match begun {
            Ok(id) => desk.set_engine(number, Some(id)),
            Err(error) => desk.fail(number, error.to_string()),
        });
    }

    /// The same after a restart or a stop, from what the catalogue has.
    pub(crate) fn resume_fetch(&mut self, number: TorrentNumber) {
        let catalogue = self.world.catalogue.clone();
        let read = tokio::task::spawn_blocking(move || kept_source(&catalogue, number));
        let read = async move { read.await.map_err(|error| error.to_string())? };
        self.work(number, read, move |desk, read| match read {
            Ok((source, selection)) => desk.begin_fetch(number, source, selection, Vec::new()),
            Err(reason) => desk.fail(number, reason),
        });
    }

    fn fetch_request(
        &self,
        number: TorrentNumber,
        source: Source,
        selection: Selection,
        peers: Vec<SocketAddr>,
    ) -> Option<FetchRequest> {
        let entry = self.table.get(number)?;
        let terms = Terms::with(self.policy.limits(&entry.row), None);
        let state = Some(self.world.fetches.clone());
        let output = &*entry.row.content.folder;
        // Only of a link is it unknown what it writes.
        let admission = entry.row.shape.is_none().then(|| self.world.admission(number));
        Some(FetchRequest { selection, peers, terms, state, admission, ..FetchRequest::new(source, output) })
    }

    /// The engine knows what a link stands for; the catalogue, and the table, follow.
    pub(crate) fn handle_resolved(&mut self, number: TorrentNumber) {
        let Some(entry) = self.table.get(number).filter(|entry| entry.row.shape.is_none() && !entry.is_busy) else {
            return;
        };
        let (world, info_hashes) = (self.world.clone(), entry.row.info_hashes().collect());
        self.work(number, resolve(world, number, info_hashes), move |desk, resolved| match resolved {
            Ok(Some(row)) => {
                desk.take_resolved(number, row);
                // Only now is it known what its content is called.
                if let Err(error) = desk.check_room(number) {
                    desk.fail(number, error.to_string());
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(torrent = number.0, %error, "what a link stands for is not kept"),
        });
    }

    fn take_resolved(&mut self, number: TorrentNumber, row: TorrentRow) {
        self.table.rename(number, |entry| {
            (entry.row.info_hash_v1, entry.row.info_hash_v2) = (row.info_hash_v1, row.info_hash_v2);
            (entry.row.info_hash_misread, entry.row.name) = (row.info_hash_misread, row.name);
            (entry.row.shape, entry.row.tiers) = (row.shape, row.tiers);
        });
    }

    /// All of a torrent is there: the catalogue remembers it, and the engine may let it rest.
    pub(crate) fn handle_completed(&mut self, number: TorrentNumber, id: TorrentId) {
        let Some(entry) = self.table.get(number) else { return };
        let (world, row) = (self.world.clone(), entry.row.clone());
        let was_complete = row.completed_at_s.is_some();
        let was_never_served = entry.served_since.is_none() && row.totals.seeded_s == 0;
        self.work(number, complete(world, row, id), move |desk, completed| match completed {
            Ok(Some(row)) => {
                desk.take_resolved(number, row);
                if let Some(entry) = desk.table.get_mut(number) {
                    entry.row.completed_at_s.get_or_insert_with(unix_s);
                }
                desk.show_with_feeds(number);
                desk.take_served(number, !was_complete);
            }
            // It stays a fetch, in no feed and where it is. A run before this one may have told of it.
            Ok(None) => desk.take_served(number, was_never_served),
            Err(error) => tracing::warn!(torrent = number.0, %error, "that a torrent is complete is not kept"),
        });
    }

    /// All that is wanted of a torrent is served from now on.
    fn take_served(&mut self, number: TorrentNumber, is_news: bool) {
        let now = self.now();
        if let Some(entry) = self.table.get_mut(number) {
            entry.served_since.get_or_insert(now);
        }
        if is_news {
            self.tell(number, Happened::Completed);
        }
    }
}

impl Known {
    fn read(source: FetchSource) -> Result<Known, DeskError> {
        match source {
            FetchSource::Magnet(magnet) => Ok(Known::Magnet(magnet)),
            FetchSource::File(bytes) => match Torrent::parse(&bytes) {
                Ok(torrent) => Ok(Known::File(Arc::new(torrent), bytes)),
                Err(error) => Err(DeskError::Torrent { reason: format!("this is no torrent file: {error}") }),
            },
        }
    }

    /// As the catalogue keeps it, and as the engine takes it.
    fn into_kept(self, number: TorrentNumber, content: ContentPlace, new: &NewTorrent) -> (KeptTorrent, Source) {
        let (origin, now_s) = (new.origin.clone(), unix_s());
        match self {
            Known::File(torrent, bytes) => {
                (KeptTorrent::of_file(number, &torrent, bytes, content, origin, now_s), Source::Torrent(torrent))
            }
            Known::Magnet(magnet) => {
                (KeptTorrent::of_magnet(number, &magnet, content, origin, now_s), Source::Magnet(magnet))
            }
        }
    }
}

/// The key under which it is kept which files of a torrent are wanted.
pub(crate) fn files_key(number: TorrentNumber) -> String {
    format!("files.{}", number.0)
}

fn kept_source(catalogue: &Catalogue, number: TorrentNumber) -> Result<(Source, Selection), String> {
    let text = |error: catalogue::CatalogueError| error.to_string();
    let key = files_key(number);
    let files = catalogue.settings().map_err(text)?.into_iter().find(|(known, _)| *known == key);
    let globs = |(_, files): (String, String)| Selection::Globs(files.lines().map(str::to_owned).collect());
    let selection = files.map_or(Selection::All, globs);
    if let Some(torrent) = catalogue.torrent(number).map_err(text)? {
        return Ok((Source::Torrent(Arc::new(torrent)), selection));
    }
    match catalogue.metainfo(number).map_err(text)? {
        Some(Metainfo::Magnet(link)) => {
            Ok((Source::Magnet(Box::new(link.parse().map_err(|_| LOST.to_owned())?)), selection))
        }
        _ => Err(LOST.to_owned()),
    }
}

const LOST: &str = "what it is was lost from the catalogue; remove it and add it again";

/// Keeps what a link stands for, if peers have told it.
async fn resolve(
    world: World,
    number: TorrentNumber,
    info_hashes: Vec<hash::InfoHash>,
) -> Result<Option<TorrentRow>, DeskError> {
    let fetches = world.fetches.clone();
    let told = tokio::task::spawn_blocking(move || told_by_peers(&fetches, &info_hashes)).await.ok().flatten();
    let Some(bytes) = told else { return Ok(None) };
    let change = Change::Torrent(number, TorrentChange::Metainfo(Metainfo::TorrentFile(bytes)));
    world.catalogue.apply(vec![change]).await?;
    let catalogue = world.catalogue.clone();
    let row = tokio::task::spawn_blocking(move || catalogue.row(number)).await;
    Ok(row.unwrap_or(Ok(None))?)
}

fn told_by_peers(fetches: &StateDir, info_hashes: &[hash::InfoHash]) -> Option<Vec<u8>> {
    info_hashes.iter().find_map(|info_hash| fetches.resolved(*info_hash)?.to_file_bytes())
}

/// Keeps that a torrent's content was verified just now, and lets the engine come back to it. Nothing of that if only parts
/// of it were wanted.
async fn complete(world: World, row: TorrentRow, id: TorrentId) -> Result<Option<TorrentRow>, DeskError> {
    let number = row.number;
    let status = world.engine.status_of(id).await?;
    if let Some(reason) = status.error {
        // What is there now is not what was verified.
        return Err(DeskError::Content { reason });
    }
    if status.state == TorrentState::HasWanted {
        return Ok(None);
    }
    let row = match row.shape {
        Some(_) => row,
        None => resolve(world.clone(), number, row.info_hashes().collect()).await?.unwrap_or(row),
    };
    let (catalogue, content) = (world.catalogue.clone(), row.content.clone());
    let record = tokio::task::spawn_blocking(move || {
        let torrent = catalogue.torrent(number)?.ok_or_else(|| DeskError::Torrent { reason: LOST.to_owned() })?;
        record_of(&torrent, &content).map_err(|error| DeskError::Content { reason: error.to_string() })
    });
    let record = record.await.map_err(|_| DeskError::Stopping)??;
    let mut changes = vec![TorrentChange::Verified(Some(record.encode()))];
    if row.completed_at_s.is_none() {
        changes.push(TorrentChange::Completed(Some(unix_s())));
    }
    world.catalogue.apply(changes.into_iter().map(|change| Change::Torrent(number, change)).collect()).await?;
    let source = Arc::new(CatalogueSource { catalogue: world.catalogue.clone(), number });
    world.engine.let_rest(id, source).await?;
    Ok(Some(row))
}
