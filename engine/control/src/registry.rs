//! The torrents of the engine and what has become of each.

use crate::fetch::Fetching;
use crate::progress::Progress;
use hash::InfoHash;
use mesh::{TorrentCounters, TorrentId};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::Seeded;
use swarm::Terms;

/// A torrent as the program adds it.
pub struct NewTorrent {
    /// Metainfo and content.
    pub seeded: Arc<Seeded>,
    /// How it is uploaded.
    pub terms: Arc<Terms>,
    /// Trackers to announce to, in tiers; empty for none.
    pub tiers: Vec<Vec<String>>,
}

/// All torrents, by number.
#[derive(Default)]
pub(crate) struct Registry {
    torrents: BTreeMap<TorrentId, Entry>,
    next_id: u32,
}

/// A torrent that the engine was given.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) info_hashes: Vec<InfoHash>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) counters: Arc<TorrentCounters>,
    pub(crate) phase: Phase,
    /// How the fetch went so far, if it is or was one.
    pub(crate) progress: Option<Box<Progress>>,
    /// Why it was withdrawn from the shards, if it was.
    pub(crate) failure: Option<String>,
}

/// What a torrent is called, by people and by peers.
pub(crate) type Named = (String, Vec<InfoHash>);

/// Where a torrent is on its way.
pub(crate) enum Phase {
    /// Not all of it is there.
    Fetching(Box<Fetching>),
    /// All shards serve it.
    Serving(Arc<Seeded>),
}

impl Entry {
    /// A torrent of which nothing has been counted yet.
    pub(crate) fn new((name, info_hashes): Named, terms: Arc<Terms>, shard_count: usize, phase: Phase) -> Entry {
        let counters = Arc::new(TorrentCounters::new(shard_count));
        Entry { name, info_hashes, terms, counters, phase, progress: None, failure: None }
    }

    /// Metainfo and content, as far as shards have been given them.
    pub(crate) fn seeded(&self) -> Option<&Arc<Seeded>> {
        match &self.phase {
            Phase::Serving(seeded) => Some(seeded),
            Phase::Fetching(fetching) => fetching.seeded(),
        }
    }

    /// The fetch, if it goes on.
    pub(crate) fn fetching(&mut self) -> Option<&mut Fetching> {
        match &mut self.phase {
            Phase::Fetching(fetching) if self.failure.is_none() => Some(fetching),
            _ => None,
        }
    }
}

impl Registry {
    /// Gives the torrent a number that was never used before.
    pub(crate) fn add(&mut self, entry: Entry) -> TorrentId {
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        self.torrents.insert(id, entry);
        id
    }

    pub(crate) fn remove(&mut self, id: TorrentId) -> Option<Entry> {
        self.torrents.remove(&id)
    }

    pub(crate) fn get(&self, id: TorrentId) -> Option<&Entry> {
        self.torrents.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TorrentId) -> Option<&mut Entry> {
        self.torrents.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TorrentId, &Entry)> {
        self.torrents.iter().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TorrentId, &mut Entry)> {
        self.torrents.iter_mut().map(|(id, entry)| (*id, entry))
    }

    /// Whether a torrent with one of these info-hashes is there already.
    pub(crate) fn holds(&self, info_hashes: &[InfoHash]) -> bool {
        let known = |entry: &Entry| info_hashes.iter().any(|info_hash| entry.info_hashes.contains(info_hash));
        self.torrents.values().any(known)
    }
}
