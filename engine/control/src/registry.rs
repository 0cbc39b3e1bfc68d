//! The torrents of the engine and what has become of each.

use crate::fetch::Fetching;
use crate::progress::Progress;
use crate::rechecking::Checking;
use crate::rest::{Nap, TorrentSource};
use crate::status::{RateMeter, Recent};
use crate::tally::Tally;
use hash::InfoHash;
use mesh::{TorrentId, TorrentNames};
use metainfo::Torrent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use storage::Seeded;
use swarm::Terms;

/// Torrents that are remembered to have gone to rest. With more than that, whoever asks has to look at all.
const RESTED_MAX: usize = 65_536;

/// Trackers to announce to, in tiers. Torrents that have the same share them.
pub type Tiers = Arc<[Vec<String>]>;

/// A torrent as the program adds it.
pub struct NewTorrent {
    /// Metainfo and content.
    pub seeded: Arc<Seeded>,
    /// How it is uploaded.
    pub terms: Arc<Terms>,
    /// Trackers to announce to; empty for none.
    pub tiers: Tiers,
}

/// All torrents, by number.
pub(crate) struct Registry {
    torrents: BTreeMap<TorrentId, Entry>,
    /// Those that are not at rest: what is done every second is done for these.
    active: BTreeSet<TorrentId>,
    /// Those that went to rest since somebody asked, or could not be loaded.
    rested: BTreeSet<TorrentId>,
    /// There were more of them.
    is_cut: bool,
    names: Arc<TorrentNames>,
    next_id: u32,
}

/// A torrent that the engine was given. There may be many thousands of them at rest: what only some need is boxed.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) info_hashes: InfoHashes,
    /// Of the whole torrent, once that is known.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) is_private: bool,
    pub(crate) tiers: Tiers,
    pub(crate) terms: Arc<Terms>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) phase: Phase,
    /// The operator wants it neither served nor fetched nor announced.
    pub(crate) is_stopped: bool,
    /// Where it comes from again, if it may rest.
    pub(crate) source: Option<Arc<dyn TorrentSource>>,
    /// How the fetch went so far, if it is or was one.
    pub(crate) progress: Option<Box<Progress>>,
    /// How fast it is served, while shards have it.
    pub(crate) sent: Option<Box<RateMeter>>,
    /// Why it is not served or fetched, if it should be.
    pub(crate) failure: Option<String>,
}

/// The names of a torrent: its own, and the one that old clients make up for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InfoHashes {
    all: Box<[InfoHash]>,
    own_count: usize,
}

/// Where a torrent is on its way.
pub(crate) enum Phase {
    /// Not all of it is there.
    Fetching(Box<Fetching>),
    /// All shards serve it.
    Serving(Arc<Seeded>),
    /// It is loaded when somebody asks for it.
    AtRest(Nap),
    /// Its content is being compared with it, or was not right.
    Checking(Checking),
}

impl InfoHashes {
    pub(crate) fn new(own: impl IntoIterator<Item = InfoHash>, misnamed: Option<InfoHash>) -> InfoHashes {
        let mut all: Vec<InfoHash> = own.into_iter().collect();
        let own_count = all.len();
        all.extend(misnamed);
        InfoHashes { all: all.into_boxed_slice(), own_count }
    }

    pub(crate) fn of(torrent: &Torrent) -> InfoHashes {
        InfoHashes::new(torrent.info_hashes(), torrent.info_hash_without_empty_keys())
    }

    /// Its own: those under which it is announced.
    pub(crate) fn own(&self) -> &[InfoHash] {
        &self.all[..self.own_count]
    }

    /// All by which peers may ask for it.
    pub(crate) fn all(&self) -> &[InfoHash] {
        &self.all
    }
}

impl Entry {
    /// Metainfo and content, as far as shards have been given them.
    pub(crate) fn seeded(&self) -> Option<&Arc<Seeded>> {
        match &self.phase {
            Phase::Serving(seeded) => Some(seeded),
            Phase::Fetching(fetching) => fetching.seeded(),
            Phase::AtRest(_) | Phase::Checking(_) => None,
        }
    }

    /// The fetch, if it goes on.
    pub(crate) fn fetching(&mut self) -> Option<&mut Fetching> {
        match &mut self.phase {
            Phase::Fetching(fetching) if self.failure.is_none() => Some(fetching),
            _ => None,
        }
    }

    /// Whether it is served, and comes again when it was let go.
    pub(crate) fn may_rest(&self) -> bool {
        // Before its time it stays awake: that it had to be loaded would tell a stranger that it is here.
        let is_at_work = self.failure.is_none() && !self.is_stopped && !self.is_embargoed();
        self.source.is_some() && is_at_work && matches!(self.phase, Phase::Serving(_))
    }
}

impl Registry {
    pub(crate) fn new(names: Arc<TorrentNames>) -> Registry {
        let (torrents, active, rested) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Registry { torrents, active, rested, is_cut: false, names, next_id: 0 }
    }

    /// Gives the torrent a number that was never used before. One that has a source is woken by its names, but not before its
    /// time: a stranger must be turned away at once, as for any torrent that is not here.
    pub(crate) fn add(&mut self, entry: Entry) -> TorrentId {
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        let wakes = entry.may_rest() || (matches!(entry.phase, Phase::AtRest(_)) && !entry.is_embargoed());
        self.names.insert(entry.info_hashes.all(), id, wakes);
        if !matches!(entry.phase, Phase::AtRest(_)) {
            self.active.insert(id);
        }
        self.torrents.insert(id, entry);
        id
    }

    pub(crate) fn remove(&mut self, id: TorrentId) -> Option<Entry> {
        let entry = self.torrents.remove(&id)?;
        self.active.remove(&id);
        self.rested.remove(&id);
        self.names.remove(entry.info_hashes.all(), id);
        Some(entry)
    }

    /// Says whether shards have the torrent woken when somebody asks for it.
    pub(crate) fn set_wakes(&self, id: TorrentId, wakes: bool) {
        if let Some(entry) = self.get(id) {
            self.names.set_wakes(entry.info_hashes.all(), id, wakes);
        }
    }

    /// Moves a torrent on.
    pub(crate) fn set_phase(&mut self, id: TorrentId, phase: Phase) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let rests = matches!(phase, Phase::AtRest(_));
        entry.phase = phase;
        if !rests {
            self.active.insert(id);
            return;
        }
        self.active.remove(&id);
        // Nobody may ever ask.
        match self.rested.len() < RESTED_MAX {
            true => drop(self.rested.insert(id)),
            false => self.is_cut |= !self.rested.contains(&id),
        }
    }

    /// How those are that are not at rest, or went there since this was asked last.
    pub(crate) fn recent(&mut self, now: Duration) -> Recent {
        let ids = &self.active | &std::mem::take(&mut self.rested);
        let status = |id| Some(self.torrents.get_mut(&id)?.status(id, now));
        Recent { torrents: ids.into_iter().filter_map(status).collect(), is_cut: std::mem::take(&mut self.is_cut) }
    }

    /// Peers have told what the torrent really is.
    pub(crate) fn rename(&mut self, id: TorrentId, name: String, info_hashes: InfoHashes) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        self.names.remove(entry.info_hashes.all(), id);
        self.names.insert(info_hashes.all(), id, false);
        (entry.name, entry.info_hashes) = (name, info_hashes);
    }

    pub(crate) fn get(&self, id: TorrentId) -> Option<&Entry> {
        self.torrents.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TorrentId) -> Option<&mut Entry> {
        self.torrents.get_mut(&id)
    }

    /// All torrents. For those who ask, not for what is done every second.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TorrentId, &mut Entry)> {
        self.torrents.iter_mut().map(|(id, entry)| (*id, entry))
    }

    /// Those that are not at rest.
    pub(crate) fn active(&self) -> impl Iterator<Item = (TorrentId, &Entry)> {
        self.active.iter().filter_map(|id| Some((*id, self.torrents.get(id)?)))
    }

    /// The numbers of those that are not at rest.
    pub(crate) fn active_ids(&self) -> Vec<TorrentId> {
        self.active.iter().copied().collect()
    }

    /// How many torrents are at rest.
    pub(crate) fn at_rest_count(&self) -> usize {
        self.torrents.len() - self.active.len()
    }

    /// The torrent of this name.
    pub(crate) fn find(&self, info_hash: InfoHash) -> Option<TorrentId> {
        self.names.find(info_hash)
    }

    /// Whether a torrent with one of these info-hashes is there already.
    pub(crate) fn holds(&self, info_hashes: &[InfoHash]) -> bool {
        info_hashes.iter().any(|info_hash| self.find(*info_hash).is_some())
    }
}

#[cfg(test)]
mod tests;
