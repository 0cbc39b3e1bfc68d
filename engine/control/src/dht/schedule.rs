//! When each swarm is announced and looked up: now and then for who is to be found, more often for who lacks peers, never
//! too many at once. Time and randomness come in; lookups go out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use dht::{Announce, LookupDone, LookupId, Millis};
use hash::InfoHash;

use crate::dht::DhtTorrent;

/// Lookups under way at once. One takes some seconds, so that ten thousand swarms have their turn in half an hour.
const MAX_AT_ONCE: usize = 32;
/// A lookup that found fewer peers is repeated sooner.
const FEW_PEERS: usize = 16;

/// When swarms have their turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScheduleTimes {
    /// The shortest time between two announces; BEP 5 leaves it open, 15 to 30 minutes are usual.
    pub announce_min_ms: Millis,
    /// The longest.
    pub announce_max_ms: Millis,
    /// Before the first repetition of a lookup that found few peers for who lacks them; doubled each time.
    pub few_peers_ms: Millis,
    /// Before the first repetition of a lookup that nobody answered; doubled each time.
    pub no_nodes_ms: Millis,
}

impl Default for ScheduleTimes {
    fn default() -> ScheduleTimes {
        ScheduleTimes {
            announce_min_ms: 15 * 60_000,
            announce_max_ms: 30 * 60_000,
            few_peers_ms: 20_000,
            no_nodes_ms: 2_000,
        }
    }
}

/// Names a torrent in the schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DhtTorrentId(u64);

/// Given the peers of one torrent.
pub(super) type Found = Arc<dyn Fn(Vec<SocketAddr>) + Send + Sync>;

/// All torrents.
pub(super) struct Schedule {
    times: ScheduleTimes,
    random: u64,
    next_id: u64,
    torrents: BTreeMap<DhtTorrentId, Torrent>,
    /// Turns of torrents that lack peers.
    wanting: BTreeSet<Turn>,
    /// Turns of torrents that want to be found: they wait for those others.
    seeding: BTreeSet<Turn>,
    /// At most [`MAX_AT_ONCE`].
    running: BTreeMap<LookupId, (DhtTorrentId, InfoHash)>,
}

type Turn = (Millis, DhtTorrentId, InfoHash);

struct Torrent {
    announce: Option<Announce>,
    found: Option<Found>,
    swarms: BTreeMap<InfoHash, Swarm>,
}

struct Swarm {
    /// Its turn; `None` while it is looked up.
    due: Option<Millis>,
    /// Lookups in a row that found few peers, or nobody at all.
    poor_lookups: u32,
}

impl Schedule {
    pub(super) fn new(times: ScheduleTimes, seed: u64) -> Schedule {
        Schedule {
            times,
            random: seed,
            next_id: 0,
            torrents: BTreeMap::new(),
            wanting: BTreeSet::new(),
            seeding: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, now: Millis, torrent: DhtTorrent) -> DhtTorrentId {
        let id = DhtTorrentId(self.next_id);
        self.next_id += 1;
        let DhtTorrent { info_hashes, port, found, is_private: _ } = torrent;
        let announce = (port != 0).then_some(Announce { port, implied_port: false });
        let swarms = info_hashes.into_iter().map(|info_hash| (info_hash, Swarm { due: None, poor_lookups: 0 }));
        let torrent = Torrent { announce, found, swarms: swarms.collect() };
        let info_hashes: Vec<InfoHash> = torrent.swarms.keys().copied().collect();
        self.torrents.insert(id, torrent);
        for info_hash in info_hashes {
            self.set_turn(now, id, info_hash);
        }
        id
    }

    /// Forgets a torrent. Its lookups under way are to be cancelled.
    pub(super) fn remove(&mut self, id: DhtTorrentId) -> Vec<LookupId> {
        if let Some(torrent) = self.torrents.remove(&id) {
            for (info_hash, due) in torrent.swarms.iter().filter_map(|(hash, swarm)| Some((*hash, swarm.due?))) {
                self.wanting.remove(&(due, id, info_hash));
                self.seeding.remove(&(due, id, info_hash));
            }
        }
        self.running.extract_if(.., |_, (of, _)| *of == id).map(|(lookup, _)| lookup).collect()
    }

    /// Whose turn it is: its lookup is to be started and told to [`Schedule::started`].
    pub(super) fn next_due(&mut self, now: Millis) -> Option<(DhtTorrentId, InfoHash, Option<Announce>)> {
        if self.running.len() >= MAX_AT_ONCE {
            return None;
        }
        let is_due = |turns: &&mut BTreeSet<Turn>| turns.first().is_some_and(|(due, ..)| *due <= now);
        let turns = [&mut self.wanting, &mut self.seeding].into_iter().find(is_due)?;
        let (_, id, info_hash) = turns.pop_first()?;
        let torrent = self.torrents.get_mut(&id)?;
        torrent.swarms.get_mut(&info_hash)?.due = None;
        Some((id, info_hash, torrent.announce))
    }

    pub(super) fn started(&mut self, lookup: LookupId, id: DhtTorrentId, info_hash: InfoHash) {
        self.running.insert(lookup, (id, info_hash));
    }

    /// The node took no more lookups: the swarm's turn comes again.
    pub(super) fn put_off(&mut self, now: Millis, id: DhtTorrentId, info_hash: InfoHash) {
        self.set_turn(now + self.times.no_nodes_ms, id, info_hash);
    }

    /// A lookup has ended.
    pub(super) fn done(&mut self, now: Millis, done: &LookupDone) {
        let Some((id, info_hash)) = self.running.remove(&done.id) else { return };
        let (min_ms, max_ms) = (self.times.announce_min_ms, self.times.announce_max_ms);
        let regular_ms = min_ms + self.below(max_ms.saturating_sub(min_ms) + 1);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let (wants_peers, announces) = (torrent.found.is_some(), torrent.announce.is_some());
        let Some(swarm) = torrent.swarms.get_mut(&info_hash) else { return };
        let first_ms = if done.answered == 0 || announces && done.announced == 0 {
            Some(self.times.no_nodes_ms)
        } else if wants_peers && done.peers < FEW_PEERS {
            Some(self.times.few_peers_ms)
        } else {
            None
        };
        let wait_ms = match first_ms {
            Some(first_ms) => {
                let doubled = first_ms.saturating_mul(1 << swarm.poor_lookups.min(16));
                swarm.poor_lookups = swarm.poor_lookups.saturating_add(1);
                let jitter_ms = self.below(doubled / 4 + 1);
                regular_ms.min(doubled + jitter_ms)
            }
            None => {
                swarm.poor_lookups = 0;
                regular_ms
            }
        };
        self.set_turn(now + wait_ms, id, info_hash);
    }

    /// Who is to be told of the peers of a swarm that is looked up.
    pub(super) fn finders(&self, info_hash: InfoHash) -> Vec<Found> {
        let lookups = self.running.values().filter(|(_, of)| *of == info_hash);
        lookups.filter_map(|(id, _)| self.torrents.get(id)?.found.clone()).collect()
    }

    /// When the next turn comes, if there is room for it.
    pub(super) fn deadline(&self) -> Option<Millis> {
        let first = |turns: &BTreeSet<Turn>| turns.first().map(|(due, ..)| *due);
        let has_room = self.running.len() < MAX_AT_ONCE;
        [first(&self.wanting), first(&self.seeding)].into_iter().flatten().min().filter(|_| has_room)
    }

    pub(super) fn torrent_count(&self) -> usize {
        self.torrents.len()
    }

    pub(super) fn lookup_count(&self) -> usize {
        self.running.len()
    }

    pub(super) fn overdue_count(&self, now: Millis) -> usize {
        let overdue = |turns: &BTreeSet<Turn>| turns.iter().take_while(|(due, ..)| *due <= now).count();
        overdue(&self.wanting) + overdue(&self.seeding)
    }

    fn set_turn(&mut self, due: Millis, id: DhtTorrentId, info_hash: InfoHash) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let turns = if torrent.found.is_some() { &mut self.wanting } else { &mut self.seeding };
        if let Some(swarm) = torrent.swarms.get_mut(&info_hash) {
            swarm.due = Some(due);
            turns.insert((due, id, info_hash));
        }
    }

    /// SplitMix64, for jitter alone.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
