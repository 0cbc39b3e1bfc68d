//! One lookup in one family: who is asked next, when the nearest have all answered, and who is announced to. It sends
//! nothing itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::address::{Family, host, is_local};
use crate::limits::{ALPHA, K, MAX_CANDIDATES, MAX_LOOKUP_PEERS, MAX_LOOKUP_QUERIES, MAX_TRIES, MAX_UNFIT_QUERIES};
use crate::node_id::{Distance, NodeId};
use crate::secure_id::id_fits;

/// Names a lookup in its node.
pub(crate) type LookupKey = u64;

/// A search for the nodes nearest to a place.
pub(crate) struct Lookup {
    pub(crate) family: Family,
    pub(crate) target: NodeId,
    /// Nearest first; those whose id is not known yet last. At most [`MAX_CANDIDATES`], each address once, and each host
    /// of the Internet once.
    candidates: Vec<Candidate>,
    /// Queries that are waited for.
    active: usize,
    queries: usize,
    /// Queries to nodes whose id does not fit their address.
    unfit_queries: usize,
    /// Peers that were reported.
    peers: BTreeSet<SocketAddr>,
    /// Once the search has ended: who is told that we are a peer.
    announces: Vec<AnnounceTo>,
}

/// A node that may be asked.
struct Candidate {
    address: SocketAddr,
    id: Option<NodeId>,
    distance: Distance,
    fits: bool,
    state: State,
    tries: u8,
    token: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Fresh,
    /// Waited for.
    Asked,
    /// May still answer, but holds up nobody.
    Slow,
    Answered,
    Failed,
}

/// A node that is told that we are a peer.
struct AnnounceTo {
    address: SocketAddr,
    token: Box<[u8]>,
    tries: u8,
    state: State,
}

impl Lookup {
    pub(crate) fn new(family: Family, target: NodeId) -> Lookup {
        Lookup {
            family,
            target,
            candidates: Vec::new(),
            active: 0,
            queries: 0,
            unfit_queries: 0,
            peers: BTreeSet::new(),
            announces: Vec::new(),
        }
    }

    /// A node that somebody tells of; without an id it is one that we only have an address of.
    pub(crate) fn add(&mut self, id: Option<NodeId>, address: SocketAddr) {
        let same_host = |ip: IpAddr| !is_local(ip) && host(ip) == host(address.ip());
        let is_known = |known: &Candidate| known.address == address || same_host(known.address.ip());
        if Family::of(address.ip()) != self.family || self.candidates.iter().any(is_known) {
            return;
        }
        let distance = id.map_or(Distance::UNKNOWN, |id| id.distance(self.target));
        let fits = id.is_none_or(|id| id_fits(id, address.ip()));
        self.place(Candidate { address, id, distance, fits, state: State::Fresh, tries: 0, token: None });
        self.drop_surplus();
    }

    /// The next node to ask; it counts as asked from now on.
    pub(crate) fn next_to_ask(&mut self) -> Option<(Option<NodeId>, SocketAddr)> {
        let index = self.find_next()?;
        let candidate = &mut self.candidates[index];
        (candidate.state, candidate.tries) = (State::Asked, candidate.tries + 1);
        self.active += 1;
        self.queries += 1;
        self.unfit_queries += usize::from(!candidate.fits);
        Some((candidate.id, candidate.address))
    }

    /// Whether nobody is waited for and nobody else is worth asking.
    pub(crate) fn is_searched(&self) -> bool {
        self.active == 0 && self.find_next().is_none()
    }

    /// An answer; its nodes are added apart.
    pub(crate) fn answered(&mut self, id: NodeId, address: SocketAddr, token: Option<&[u8]>) {
        let Some(index) = self.index_of(address) else { return };
        let mut candidate = self.candidates.remove(index);
        if candidate.state == State::Asked {
            self.active -= 1;
        }
        // What it calls itself now is where it stands.
        candidate.id = Some(id);
        candidate.distance = id.distance(self.target);
        candidate.fits = id_fits(id, address.ip());
        candidate.state = State::Answered;
        candidate.token = token.map(Into::into);
        self.place(candidate);
    }

    /// A query that takes long: its node is asked once more when its turn comes, and holds up nobody until then.
    pub(crate) fn slow(&mut self, address: SocketAddr) {
        let Some(index) = self.index_of(address) else { return };
        let candidate = &mut self.candidates[index];
        if candidate.state == State::Asked {
            candidate.state = if candidate.tries < MAX_TRIES { State::Fresh } else { State::Slow };
            self.active -= 1;
        }
    }

    /// A node that refused.
    pub(crate) fn refused(&mut self, address: SocketAddr) {
        let Some(index) = self.index_of(address) else { return };
        if self.candidates[index].state == State::Asked {
            self.active -= 1;
        }
        self.candidates[index].state = State::Failed;
    }

    /// Of `peers`, those that this lookup has not told of yet.
    pub(crate) fn new_peers(&mut self, peers: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let room = MAX_LOOKUP_PEERS.saturating_sub(self.peers.len());
        peers.filter(|peer| self.peers.insert(*peer)).take(room).collect()
    }

    /// Nodes that answered.
    pub(crate) fn answered_count(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.state == State::Answered).count()
    }

    /// Chooses who is announced to: the nearest that gave a token, those first whose id fits (BEP 42). How many they are.
    pub(crate) fn begin_announcing(&mut self) -> usize {
        let mut willing: Vec<_> = self.candidates.iter().filter(|candidate| candidate.token.is_some()).collect();
        willing.sort_by_key(|candidate| (!candidate.fits, candidate.distance));
        let targets = willing.into_iter().take(K).filter_map(|candidate| {
            let token = candidate.token.clone()?;
            Some(AnnounceTo { address: candidate.address, token, tries: 0, state: State::Fresh })
        });
        self.announces = targets.collect();
        self.announces.len()
    }

    /// The next node to announce to, and its token.
    pub(crate) fn next_announce(&mut self) -> Option<(SocketAddr, &[u8])> {
        let next = self.announces.iter_mut().find(|announce| announce.state == State::Fresh)?;
        (next.state, next.tries) = (State::Asked, next.tries + 1);
        Some((next.address, &next.token))
    }

    pub(crate) fn announce_answered(&mut self, address: SocketAddr) {
        self.set_announce(address, |_| State::Answered);
    }

    pub(crate) fn announce_slow(&mut self, address: SocketAddr) {
        self.set_announce(address, |announce| match announce.state {
            State::Asked if announce.tries < MAX_TRIES => State::Fresh,
            State::Asked => State::Slow,
            other => other,
        });
    }

    pub(crate) fn announce_refused(&mut self, address: SocketAddr) {
        self.set_announce(address, |_| State::Failed);
    }

    /// Whether no announce is waited for.
    pub(crate) fn is_announced(&self) -> bool {
        !self.announces.iter().any(|announce| matches!(announce.state, State::Fresh | State::Asked))
    }

    /// Nodes that took our announce.
    pub(crate) fn announced_count(&self) -> usize {
        self.announces.iter().filter(|announce| announce.state == State::Answered).count()
    }

    /// The nearest node that is worth a query: none once the eight nearest whose ids fit have answered, or enough was
    /// asked.
    fn find_next(&self) -> Option<usize> {
        if self.active >= ALPHA || self.queries >= MAX_LOOKUP_QUERIES {
            return None;
        }
        let mut answered = 0;
        for (index, candidate) in self.candidates.iter().enumerate() {
            match candidate.state {
                // Answers of nodes that chose their own place prove nothing (BEP 42).
                State::Answered => answered += usize::from(candidate.fits),
                State::Fresh if candidate.fits || self.unfit_queries < MAX_UNFIT_QUERIES => return Some(index),
                State::Fresh | State::Asked | State::Slow | State::Failed => {}
            }
            if answered >= K {
                return None;
            }
        }
        None
    }

    /// Forgets the farthest that was not asked yet. Nodes that chose their own place have few of the places, so that they
    /// cannot push out all others.
    fn drop_surplus(&mut self) {
        let is_fresh = |candidate: &Candidate| candidate.state == State::Fresh;
        let unfit = self.candidates.iter().filter(|candidate| !candidate.fits && is_fresh(candidate)).count();
        let farthest = if unfit > MAX_UNFIT_QUERIES {
            self.candidates.iter().rposition(|candidate| !candidate.fits && is_fresh(candidate))
        } else if self.candidates.len() > MAX_CANDIDATES {
            self.candidates.iter().rposition(is_fresh)
        } else {
            None
        };
        if let Some(index) = farthest {
            self.candidates.remove(index);
        }
    }

    fn place(&mut self, candidate: Candidate) {
        let index = self.candidates.partition_point(|other| other.distance <= candidate.distance);
        self.candidates.insert(index, candidate);
    }

    fn index_of(&self, address: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.address == address)
    }

    fn set_announce(&mut self, address: SocketAddr, state: impl FnOnce(&AnnounceTo) -> State) {
        if let Some(announce) = self.announces.iter_mut().find(|announce| announce.address == address) {
            announce.state = state(announce);
        }
    }
}

#[cfg(test)]
mod tests;
