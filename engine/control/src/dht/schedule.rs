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
/// Between the starts of two lookups of who only wants to be found, a quarter more or less. One sends some fifty datagrams
/// over some seconds: ten thousand torrents of two names each are some 500 datagrams a second and come round in 33 minutes,
/// about what other nodes remember an announce for.
const SEEDING_PAUSE_MS: Millis = 100;
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
    /// None of those begins before then.
    seeding_at: Millis,
    /// At most [`MAX_AT_ONCE`].
    running: BTreeMap<LookupId, (DhtTorrentId, InfoHash)>,
}

/// When, whose, and which of its swarms.
type Turn = (Millis, DhtTorrentId, u8);

struct Torrent {
    announce: Option<Announce>,
    found: Option<Found>,
    swarms: Box<[Swarm]>,
}

struct Swarm {
    info_hash: InfoHash,
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
            seeding_at: 0,
            running: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, now: Millis, torrent: DhtTorrent) -> DhtTorrentId {
        let id = DhtTorrentId(self.next_id);
        self.next_id += 1;
        let DhtTorrent { info_hashes, port, found, is_restored, is_private: _ } = torrent;
        let announce = (port != 0).then_some(Announce { port, implied_port: false });
        let swarms = info_hashes.into_iter().map(|info_hash| Swarm { info_hash, due: None, poor_lookups: 0 });
        let torrent = Torrent { announce, found, swarms: swarms.collect() };
        let (wants_peers, swarm_count) = (torrent.found.is_some(), torrent.swarms.len());
        self.torrents.insert(id, torrent);
        for swarm in 0..swarm_count {
            let due = match is_restored {
                // Others may know of it still. Somewhere among those that wait already, so that no order of ours decides whose
                // turn never comes if we are often started again.
                true if !wants_peers => now + self.below((self.seeding.len() as Millis + 1) * SEEDING_PAUSE_MS),
                // Before all that others may know of.
                false if !wants_peers => 0,
                _ => now,
            };
            self.set_turn(due, id, swarm as u8);
        }
        id
    }

    /// Forgets a torrent. Its lookups under way are to be cancelled.
    pub(super) fn remove(&mut self, id: DhtTorrentId) -> Vec<LookupId> {
        if let Some(torrent) = self.torrents.remove(&id) {
            for (swarm, due) in (0..).zip(&torrent.swarms).filter_map(|(number, swarm)| Some((number, swarm.due?))) {
                self.wanting.remove(&(due, id, swarm));
                self.seeding.remove(&(due, id, swarm));
            }
        }
        self.running.extract_if(.., |_, (of, _)| *of == id).map(|(lookup, _)| lookup).collect()
    }

    /// Whose turn it is: its lookup is to be started and told to [`Schedule::started`].
    pub(super) fn next_due(&mut self, now: Millis) -> Option<(DhtTorrentId, InfoHash, Option<Announce>)> {
        if self.running.len() >= MAX_AT_ONCE {
            return None;
        }
        let is_due = |turns: &BTreeSet<Turn>| turns.first().is_some_and(|(due, ..)| *due <= now);
        let (_, id, swarm) = if is_due(&self.wanting) {
            self.wanting.pop_first()?
        } else if is_due(&self.seeding) && self.seeding_at <= now {
            self.seeding_at = now + SEEDING_PAUSE_MS * 3 / 4 + self.below(SEEDING_PAUSE_MS / 2 + 1);
            self.seeding.pop_first()?
        } else {
            return None;
        };
        let torrent = self.torrents.get_mut(&id)?;
        let swarm = torrent.swarms.get_mut(usize::from(swarm))?;
        swarm.due = None;
        Some((id, swarm.info_hash, torrent.announce))
    }

    pub(super) fn started(&mut self, lookup: LookupId, id: DhtTorrentId, info_hash: InfoHash) {
        self.running.insert(lookup, (id, info_hash));
    }

    /// The node took no more lookups: the swarm's turn comes again.
    pub(super) fn put_off(&mut self, now: Millis, id: DhtTorrentId, info_hash: InfoHash) {
        if let Some(swarm) = self.swarm_number(id, info_hash) {
            self.set_turn(now + self.times.no_nodes_ms, id, swarm);
        }
    }

    /// A lookup has ended.
    pub(super) fn done(&mut self, now: Millis, done: &LookupDone) {
        let Some((id, info_hash)) = self.running.remove(&done.id) else { return };
        let (min_ms, max_ms) = (self.times.announce_min_ms, self.times.announce_max_ms);
        let regular_ms = min_ms + self.below(max_ms.saturating_sub(min_ms) + 1);
        let Some(number) = self.swarm_number(id, info_hash) else { return };
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let (wants_peers, announces) = (torrent.found.is_some(), torrent.announce.is_some());
        let Some(swarm) = torrent.swarms.get_mut(usize::from(number)) else { return };
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
        self.set_turn(now + wait_ms, id, number);
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
        let seeding = first(&self.seeding).map(|due| due.max(self.seeding_at));
        [first(&self.wanting), seeding].into_iter().flatten().min().filter(|_| has_room)
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

    fn swarm_number(&self, id: DhtTorrentId, info_hash: InfoHash) -> Option<u8> {
        let swarms = &self.torrents.get(&id)?.swarms;
        swarms.iter().position(|swarm| swarm.info_hash == info_hash).map(|number| number as u8)
    }

    fn set_turn(&mut self, due: Millis, id: DhtTorrentId, number: u8) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let turns = if torrent.found.is_some() { &mut self.wanting } else { &mut self.seeding };
        if let Some(swarm) = torrent.swarms.get_mut(usize::from(number)) {
            swarm.due = Some(due);
            turns.insert((due, id, number));
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
