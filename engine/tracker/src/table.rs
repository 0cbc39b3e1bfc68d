//! The server's swarm table: which addresses are in which swarm, and nothing else about them. Whoever owns the sockets
//! passes announces in and sends the answers.

mod hasher;
mod limits;
mod peer_set;
mod rate;
mod swarm;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use hash::InfoHash;

use self::hasher::KeyedState;
pub use self::limits::{Counters, Limits, Refusal};
use self::peer_set::{Packed, PeerSet};
use self::rate::RateTable;
pub use self::rate::RequestRate;
use self::swarm::Context;
pub use self::swarm::OwnSeed;
use self::swarm::Swarm;
use crate::Millis;
use crate::announce::AnnounceRequest;
use crate::family::Family;
use crate::random::Random;
use crate::scrape::SwarmStats;

/// Whose torrents the tracker serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Those on the allow-list and those with own seeds.
    Listed,
    /// Anyone's.
    Open,
}

/// The table. One announce is a few map look-ups and as many reads as peers are given, so one lock around it serves
/// every socket.
pub struct SwarmTable {
    access: Access,
    limits: Limits,
    /// In no order; `places` has each info-hash once, by its present place here.
    swarms: Vec<Swarm>,
    places: HashMap<InfoHash, u32, KeyedState>,
    hasher: KeyedState,
    random: Random,
    rate: Option<RateTable>,
    /// The sum over all swarms.
    peer_count: usize,
    /// Where the next sweep goes on.
    sweep: SweepCursor,
    counters: Counters,
}

/// The answer to an announce. Reused from one to the next, so that a busy tracker does not allocate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Seconds until the next announce is wanted.
    pub interval_s: u32,
    /// Seconds before which none is.
    pub min_interval_s: u32,
    /// The swarm's size, both families together.
    pub stats: SwarmStats,
    /// The asker's family, and so that of the peers.
    pub family: Family,
    /// Peers, packed; see [`unpack`](crate::unpack).
    pub packed_peers: Vec<u8>,
}

/// Where an announce or a scrape came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The address that sent it.
    pub ip: IpAddr,
    /// The address of ours that it reached, if known.
    pub local: Option<IpAddr>,
}

#[derive(Default)]
struct SweepCursor {
    swarm: usize,
    v4: usize,
    v6: usize,
}

impl SwarmTable {
    /// An empty table. `seed` makes samples and the maps' secret: give it from a good source of randomness.
    pub fn new(access: Access, limits: Limits, seed: u64) -> SwarmTable {
        let mut random = Random::new(seed);
        let hasher = KeyedState::new([random.next(), random.next()]);
        SwarmTable {
            access,
            rate: limits.request_rate.map(|rate| RateTable::new(rate, hasher.clone())),
            limits,
            swarms: Vec::new(),
            places: HashMap::with_hasher(hasher.clone()),
            hasher,
            random,
            peer_count: 0,
            sweep: SweepCursor::default(),
            counters: Counters::default(),
        }
    }

    /// Records an announce and fills `answer`, with at most `max_peer_count` peers (what the wire has room for).
    pub fn announce(
        &mut self,
        now: Millis,
        request: &AnnounceRequest,
        source: Source,
        max_peer_count: usize,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        let ip = source.ip.to_canonical();
        self.check_rate(now, ip)?;
        let place = self.place_for(request.info_hash)?;
        let Some(swarm) = self.swarms.get_mut(place) else {
            return Err(self.counters.refused(Refusal::NotAllowed));
        };
        let want_count = request.want_count.map_or(self.limits.default_want_count, |want| want as usize);
        let context = Context {
            request,
            source: ip,
            local: source.local,
            now_s: seconds(now),
            want_count: want_count.min(self.limits.max_want_count).min(max_peer_count),
            has_room: self.peer_count < self.limits.max_peers,
            limits: &self.limits,
            hasher: &self.hasher,
        };
        answer.packed_peers.clear();
        let count_before = swarm.peer_count();
        swarm.announce(&context, &mut self.counters, &mut self.random, &mut answer.packed_peers);
        let count_after = swarm.peer_count();
        self.peer_count = self.peer_count + count_after - count_before;
        answer.family = Family::of(ip);
        answer.stats = swarm.stats();
        answer.interval_s = self.interval_s(count_after);
        answer.min_interval_s = self.limits.min_interval_s;
        self.counters.announces += 1;
        self.drop_if_unused(place);
        Ok(())
    }

    /// Whose torrents it serves.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Answers an announce as for a torrent that this table does not have, whether it has it or not.
    pub fn deny(&mut self, now: Millis, source: Source) -> Refusal {
        match self.check_rate(now, source.ip.to_canonical()) {
            Ok(()) => self.counters.refused(Refusal::NotAllowed),
            Err(refusal) => refusal,
        }
    }

    /// The sizes of some swarms, in the order asked; an unknown or unlisted one is `None`.
    pub fn scrape(
        &mut self,
        now: Millis,
        info_hashes: &[InfoHash],
        source: Source,
    ) -> Result<Vec<Option<SwarmStats>>, Refusal> {
        self.check_rate(now, source.ip.to_canonical())?;
        self.counters.scrapes += 1;
        Ok(info_hashes.iter().map(|info_hash| self.stats(*info_hash)).collect())
    }

    /// The size of one swarm, if it is here.
    pub fn stats(&self, info_hash: InfoHash) -> Option<SwarmStats> {
        let place = self.places.get(&info_hash)?;
        self.swarms.get(*place as usize).map(Swarm::stats)
    }

    /// Puts a torrent on the allow-list.
    pub fn allow(&mut self, info_hash: InfoHash) {
        self.make_swarm(info_hash).is_listed = true;
    }

    /// Takes a torrent off the allow-list. Its peers are forgotten unless something else keeps it here.
    pub fn disallow(&mut self, info_hash: InfoHash) {
        if let Some(place) = self.place(info_hash) {
            self.swarms[place].is_listed = false;
            self.drop_if_unwanted(place);
        }
    }

    /// Makes `info_hashes` the allow-list, all at once. Torrents with own seeds stay, listed or not.
    pub fn set_allowed(&mut self, info_hashes: impl IntoIterator<Item = InfoHash>) {
        let listed: HashSet<InfoHash> = info_hashes.into_iter().collect();
        // Backwards, since a dropped swarm's place is taken by the last one.
        for place in (0..self.swarms.len()).rev() {
            self.swarms[place].is_listed = listed.contains(&self.swarms[place].info_hash);
            self.drop_if_unwanted(place);
        }
        for info_hash in listed {
            self.allow(info_hash);
        }
    }

    /// Makes `own_seeds` the publisher's own seeds of a torrent, which is served from then on.
    pub fn add_own_seed(&mut self, info_hash: InfoHash, own_seeds: impl Into<Arc<[OwnSeed]>>) {
        self.make_swarm(info_hash).own_seeds = own_seeds.into();
    }

    /// Forgets a torrent's own seeds, and the torrent unless it is listed or the tracker open.
    pub fn remove_own_seed(&mut self, info_hash: InfoHash) {
        if let Some(place) = self.place(info_hash) {
            self.swarms[place].own_seeds = Arc::default();
            self.drop_if_unwanted(place);
        }
    }

    /// Forgets peers that have been silent too long, looking at no more than `max_visits` peers and torrents. Called
    /// every second or so it goes round the whole table bit by bit; gives how many peers were forgotten.
    pub fn sweep(&mut self, now: Millis, max_visits: usize) -> usize {
        let now_s = seconds(now);
        let mut visits_left = max_visits;
        let mut expired_count = 0;
        while visits_left > 0 && !self.swarms.is_empty() {
            let Some(swarm) = self.swarms.get_mut(self.sweep.swarm) else {
                self.sweep = SweepCursor::default();
                if visits_left < max_visits {
                    break;
                }
                continue;
            };
            visits_left -= 1;
            let mut is_swept = true;
            if let Some(peers) = &mut swarm.peers {
                expired_count += sweep_set(&mut peers.v4, &mut self.sweep.v4, now_s, &mut visits_left);
                expired_count += sweep_set(&mut peers.v6, &mut self.sweep.v6, now_s, &mut visits_left);
                is_swept = self.sweep.v4 >= peers.v4.peer_count() && self.sweep.v6 >= peers.v6.peer_count();
            }
            if is_swept {
                swarm.peers.take_if(|peers| peers.count() == 0);
                let place = self.sweep.swarm;
                let is_dropped = self.drop_if_unused(place);
                self.sweep = SweepCursor { swarm: place + usize::from(!is_dropped), v4: 0, v6: 0 };
            }
        }
        self.peer_count -= expired_count;
        self.counters.expired += expired_count as u64;
        expired_count
    }

    /// Peers of all torrents, own seeds apart.
    pub fn peer_count(&self) -> usize {
        self.peer_count
    }

    /// Torrents that the table knows.
    pub fn torrent_count(&self) -> usize {
        self.swarms.len()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn check_rate(&mut self, now: Millis, ip: IpAddr) -> Result<(), Refusal> {
        let is_exempt = ip.is_loopback() && !self.limits.limit_loopback;
        if is_exempt || self.rate.as_mut().is_none_or(|rate| rate.take(now, ip)) {
            Ok(())
        } else {
            Err(self.counters.refused(Refusal::TooManyRequests))
        }
    }

    fn place(&self, info_hash: InfoHash) -> Option<usize> {
        self.places.get(&info_hash).map(|place| *place as usize)
    }

    /// Where an announce for `info_hash` belongs.
    fn place_for(&mut self, info_hash: InfoHash) -> Result<usize, Refusal> {
        if let Some(place) = self.place(info_hash) {
            return Ok(place);
        }
        if self.access == Access::Listed {
            return Err(self.counters.refused(Refusal::NotAllowed));
        }
        if self.swarms.len() >= self.limits.max_torrents {
            return Err(self.counters.refused(Refusal::TorrentsFull));
        }
        self.make_swarm(info_hash);
        Ok(self.swarms.len() - 1)
    }

    fn make_swarm(&mut self, info_hash: InfoHash) -> &mut Swarm {
        let next = self.swarms.len();
        let place = *self.places.entry(info_hash).or_insert(next as u32) as usize;
        if place == next {
            self.swarms.push(Swarm::new(info_hash));
        }
        &mut self.swarms[place]
    }

    /// Drops a swarm that nobody is in and nothing pins; says whether it did.
    fn drop_if_unused(&mut self, place: usize) -> bool {
        let is_unused = self.swarms.get(place).is_some_and(|swarm| swarm.peer_count() == 0 && !swarm.is_pinned());
        if is_unused {
            self.drop_swarm(place);
        }
        is_unused
    }

    /// Drops a swarm that may not be here any longer, peers or not.
    fn drop_if_unwanted(&mut self, place: usize) {
        if self.access == Access::Listed && !self.swarms[place].is_pinned() {
            self.drop_swarm(place);
        } else {
            self.drop_if_unused(place);
        }
    }

    fn drop_swarm(&mut self, place: usize) {
        let swarm = self.swarms.swap_remove(place);
        self.peer_count -= swarm.peer_count();
        self.places.remove(&swarm.info_hash);
        if let Some(moved) = self.swarms.get(place) {
            self.places.insert(moved.info_hash, place as u32);
        }
        if self.sweep.swarm == place {
            self.sweep = SweepCursor { swarm: place, v4: 0, v6: 0 };
        }
    }

    /// The interval that a peer of a swarm of `peer_count` is told: up to a tenth longer or shorter, so that those who
    /// came at once do not come back at once.
    fn interval_s(&mut self, peer_count: usize) -> u32 {
        let is_small = peer_count < self.limits.small_swarm_peer_count;
        let interval_s = if is_small { self.limits.small_swarm_interval_s } else { self.limits.interval_s };
        let tenth = interval_s / 10;
        interval_s - tenth + self.random.below(2 * u64::from(tenth) + 1) as u32
    }
}

impl Default for Answer {
    fn default() -> Answer {
        Answer {
            interval_s: 0,
            min_interval_s: 0,
            stats: SwarmStats::default(),
            family: Family::V4,
            packed_peers: Vec::new(),
        }
    }
}

/// Walks on from `cursor` and removes who has expired; a removed peer's place is taken by one that is looked at next.
fn sweep_set<A: Packed>(peers: &mut PeerSet<A>, cursor: &mut usize, now_s: u32, visits_left: &mut usize) -> usize {
    let mut expired_count = 0;
    while *visits_left > 0
        && let Some(peer) = peers.get(*cursor)
    {
        *visits_left -= 1;
        if peer.expires_s <= now_s {
            peers.remove(*cursor);
            expired_count += 1;
        } else {
            *cursor += 1;
        }
    }
    expired_count
}

fn seconds(now: Millis) -> u32 {
    u32::try_from(now / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
