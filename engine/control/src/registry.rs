//! The torrents of the engine and what has become of each.

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
    pub(crate) seeded: Arc<Seeded>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) counters: Arc<TorrentCounters>,
    /// Withdrawn from the shards since its content failed.
    pub(crate) failed: bool,
}

impl Registry {
    /// Gives the torrent a number that was never used before.
    pub(crate) fn add(&mut self, torrent: NewTorrent, shard_count: usize) -> (TorrentId, &Entry) {
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        let counters = Arc::new(TorrentCounters::new(shard_count));
        let entry = Entry { seeded: torrent.seeded, terms: torrent.terms, counters, failed: false };
        (id, self.torrents.entry(id).or_insert(entry))
    }

    pub(crate) fn remove(&mut self, id: TorrentId) -> Option<Entry> {
        self.torrents.remove(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TorrentId) -> Option<&mut Entry> {
        self.torrents.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TorrentId, &Entry)> {
        self.torrents.iter().map(|(id, entry)| (*id, entry))
    }

    /// Whether a torrent with one of these info-hashes is there already.
    pub(crate) fn holds(&self, seeded: &Seeded) -> bool {
        let known = |entry: &Entry| {
            let theirs: Vec<_> = entry.seeded.torrent().info_hashes().collect();
            seeded.torrent().info_hashes().any(|info_hash| theirs.contains(&info_hash))
        };
        self.torrents.values().any(known)
    }
}
