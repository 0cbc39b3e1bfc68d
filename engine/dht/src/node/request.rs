//! Lookups: those that a caller asks for, in both families at once, and those of upkeep; one step at a time.

use std::net::SocketAddr;

use hash::InfoHash;

use crate::Millis;
use crate::address::Family;
use crate::krpc::Method;
use crate::limits::{FIRST_BOOTSTRAP_RETRY_MS, K, LAST_BOOTSTRAP_RETRY_MS, MAX_LOOKUPS, MAX_VALUES, REFRESH_MS};
use crate::lookup::{Lookup, LookupKey};
use crate::node::{Dht, Event};
use crate::node_id::NodeId;
use crate::transactions::Purpose;

/// Names a lookup that a caller asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupId(u64);

/// That we are a peer of the swarm that is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce {
    /// Where we take connections.
    pub port: u16,
    /// Asks others to take the port that our datagram comes from instead: for who takes connections on it (uTP) behind a
    /// router that changes ports.
    pub implied_port: bool,
}

/// How a lookup ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupDone {
    /// Which one.
    pub id: LookupId,
    /// Its swarm.
    pub info_hash: InfoHash,
    /// Nodes that answered. None: we knew nobody, or are cut off.
    pub answered: usize,
    /// Nodes that took our announce.
    pub announced: usize,
    /// Peers that were reported.
    pub peers: usize,
}

/// Why a lookup does not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There are [`MAX_LOOKUPS`] of them.
    #[error("{MAX_LOOKUPS} lookups are under way")]
    TooMany,
}

/// What a caller asked for.
pub(super) struct Request {
    announce: Option<Announce>,
    /// Families that are not done.
    parts: usize,
    done: LookupDone,
}

/// A lookup under way.
pub(super) struct Running {
    pub(super) lookup: Lookup,
    pub(super) goal: Goal,
}

/// What a lookup is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// Our own neighbourhood.
    Bootstrap,
    /// A bucket that was quiet for long.
    Refresh,
    /// The peers of a swarm.
    Peers(LookupId, InfoHash),
    /// Its nearest nodes are found and told that we are a peer.
    Announcing(LookupId, InfoHash),
}

impl Dht {
    /// Looks for the peers of a swarm in all families that we take part in, and announces us to its nearest nodes.
    pub fn lookup(
        &mut self,
        now: Millis,
        info_hash: InfoHash,
        announce: Option<Announce>,
    ) -> Result<LookupId, Refused> {
        if self.requests.len() >= MAX_LOOKUPS {
            return Err(Refused::TooMany);
        }
        self.next_key += 1;
        let id = LookupId(self.next_key);
        let done = LookupDone { id, info_hash, answered: 0, announced: 0, peers: 0 };
        let families: Vec<Family> = self.sides().map(|side| side.family).collect();
        if families.is_empty() {
            self.events.push_back(Event::LookupDone(done));
            return Ok(id);
        }
        self.requests.insert(id, Request { announce, parts: families.len(), done });
        self.tell_stored_peers(now, id, info_hash);
        for family in families {
            self.begin_lookup(now, family, info_hash.into(), Goal::Peers(id, info_hash));
        }
        Ok(id)
    }

    /// Ends a lookup without a word.
    pub fn cancel(&mut self, id: LookupId) {
        self.requests.remove(&id);
        self.lookups.retain(|_, running| running.goal.swarm().is_none_or(|(request, _)| request != id));
    }

    /// Starts a lookup and its first queries.
    pub(super) fn begin_lookup(&mut self, now: Millis, family: Family, target: NodeId, goal: Goal) -> LookupKey {
        let mut lookup = Lookup::new(family, target);
        for (id, address) in self.beginning(family, target) {
            lookup.add(id, address);
        }
        self.next_key += 1;
        let key = self.next_key;
        self.lookups.insert(key, Running { lookup, goal });
        self.step(now, key);
        key
    }

    /// Sends what a lookup may send now, and ends it if nothing is left to do.
    pub(super) fn step(&mut self, now: Millis, key: LookupKey) {
        match self.lookups.get(&key).map(|running| running.goal) {
            Some(Goal::Announcing(id, info_hash)) => self.step_announces(now, key, id, info_hash),
            Some(goal) => self.step_search(now, key, goal),
            None => {}
        }
    }

    fn step_search(&mut self, now: Millis, key: LookupKey, goal: Goal) {
        let want = self.wanted();
        while !self.transactions.is_full()
            && let Some(running) = self.lookups.get_mut(&key)
            && let Some((id, address)) = running.lookup.next_to_ask()
        {
            let method = match goal.swarm() {
                Some((_, info_hash)) => Method::GetPeers { info_hash, want },
                None => Method::FindNode { target: running.lookup.target, want },
            };
            self.query(now, address, id, method, Purpose::Lookup(key));
        }
        let Some(running) = self.lookups.get_mut(&key).filter(|running| running.lookup.is_searched()) else { return };
        match goal.swarm() {
            Some((id, info_hash)) => {
                if self.requests.get(&id).is_some_and(|request| request.announce.is_some()) {
                    running.lookup.begin_announcing();
                }
                running.goal = Goal::Announcing(id, info_hash);
                self.step_announces(now, key, id, info_hash);
            }
            None => self.finish_upkeep(now, key),
        }
    }

    fn step_announces(&mut self, now: Millis, key: LookupKey, id: LookupId, info_hash: InfoHash) {
        let announce = self.requests.get(&id).and_then(|request| request.announce);
        while let Some(Announce { port, implied_port }) = announce
            && !self.transactions.is_full()
            && let Some(running) = self.lookups.get_mut(&key)
            && let Some((address, token)) = running.lookup.next_announce()
        {
            let token = token.to_vec();
            let method = Method::AnnouncePeer { info_hash, port, implied_port, token: &token };
            self.query(now, address, None, method, Purpose::Announce(key));
        }
        if self.lookups.get(&key).is_some_and(|running| running.lookup.is_announced()) {
            self.finish_part(key, id);
        }
    }

    /// One family of a request has ended.
    fn finish_part(&mut self, key: LookupKey, id: LookupId) {
        let Some(Running { lookup, .. }) = self.lookups.remove(&key) else { return };
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.done.answered += lookup.answered_count();
        request.done.announced += lookup.announced_count();
        request.parts = request.parts.saturating_sub(1);
        if request.parts == 0
            && let Some(request) = self.requests.remove(&id)
        {
            self.events.push_back(Event::LookupDone(request.done));
        }
    }

    /// A lookup of upkeep has ended: whether it is tried again soon depends on whom we know now.
    fn finish_upkeep(&mut self, now: Millis, key: LookupKey) {
        let Some(Running { lookup, goal }) = self.lookups.remove(&key) else { return };
        let Some(side) = self.side_mut(lookup.family) else { return };
        if side.upkeep_lookup == Some(key) {
            side.upkeep_lookup = None;
        }
        if goal != Goal::Bootstrap {
            return;
        }
        if side.table.usable_count() >= K {
            side.forget_remembered();
            side.bootstrap_at = now + REFRESH_MS;
            side.bootstrap_retry_ms = FIRST_BOOTSTRAP_RETRY_MS;
        } else {
            side.bootstrap_at = now + side.bootstrap_retry_ms;
            side.bootstrap_retry_ms = (side.bootstrap_retry_ms * 2).min(LAST_BOOTSTRAP_RETRY_MS);
        }
    }

    /// Reports peers that a lookup has found.
    pub(super) fn tell_peers(&mut self, id: LookupId, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        if peers.is_empty() {
            return;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.done.peers += peers.len();
        }
        self.events.push_back(Event::Peers { info_hash, peers });
    }

    /// We may be one of the nearest nodes ourselves.
    fn tell_stored_peers(&mut self, now: Millis, id: LookupId, info_hash: InfoHash) {
        let mut peers = Vec::new();
        for family in Family::ALL {
            peers.extend(self.store.sample(now, &mut self.random, info_hash, family, MAX_VALUES));
        }
        self.tell_peers(id, info_hash, peers);
    }
}

impl Goal {
    /// Which of the caller's lookups it belongs to, and which swarm.
    pub(super) fn swarm(self) -> Option<(LookupId, InfoHash)> {
        match self {
            Goal::Bootstrap | Goal::Refresh => None,
            Goal::Peers(id, info_hash) | Goal::Announcing(id, info_hash) => Some((id, info_hash)),
        }
    }
}
