//! The peers of one swarm in one address family: a dense list, leeches before seeds, and an index from address to
//! place. Insertion, update and removal touch a constant number of entries; a sample touches as many as it gives.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::Hash;

use super::hasher::KeyedState;
use crate::random::Random;

/// A packed address, split into what an owner is taken to hold (`Group`) and the rest.
pub(super) trait Packed: Copy + Eq + AsRef<[u8]> {
    type Group: Copy + Eq + Hash;
    type Rest: Copy + Eq;
    fn group(&self) -> Self::Group;
    fn rest(&self) -> Self::Rest;
}

/// One IPv4 address is one group: all behind it share a router.
impl Packed for [u8; 6] {
    type Group = [u8; 4];
    type Rest = [u8; 2];

    fn group(&self) -> [u8; 4] {
        [self[0], self[1], self[2], self[3]]
    }

    fn rest(&self) -> [u8; 2] {
        [self[4], self[5]]
    }
}

/// One IPv6 /64 is one group: its owner has all 2^64 addresses of it.
impl Packed for [u8; 18] {
    type Group = [u8; 8];
    type Rest = [u8; 10];

    fn group(&self) -> [u8; 8] {
        let mut group = [0; 8];
        group.copy_from_slice(&self[..8]);
        group
    }

    fn rest(&self) -> [u8; 10] {
        let mut rest = [0; 10];
        rest.copy_from_slice(&self[8..]);
        rest
    }
}

/// What is kept of a peer: 16 bytes for IPv4, 28 for IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<A> {
    pub(super) address: A,
    pub(super) key: u32,
    pub(super) expires_s: u32,
}

/// See the head of this file.
pub(super) struct PeerSet<A: Packed> {
    /// Leeches in `..leech_count`, seeds after them.
    peers: Vec<Peer<A>>,
    leech_count: usize,
    /// Each peer of `peers` once, by its present place.
    places: HashMap<A::Group, Places<A::Rest>, KeyedState>,
}

/// Nearly every group has one peer, so that one takes no allocation.
enum Places<R> {
    One(R, u32),
    /// Two or more, at most the limit per group, so a walk along them is bounded.
    Many(Vec<(R, u32)>),
}

/// Why a peer was not inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupFull;

impl<A: Packed> PeerSet<A> {
    pub(super) fn new(state: KeyedState) -> PeerSet<A> {
        PeerSet { peers: Vec::new(), leech_count: 0, places: HashMap::with_hasher(state) }
    }

    pub(super) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn leech_count(&self) -> usize {
        self.leech_count
    }

    pub(super) fn seed_count(&self) -> usize {
        self.peers.len() - self.leech_count
    }

    pub(super) fn find(&self, address: &A) -> Option<usize> {
        self.places.get(&address.group())?.find(address.rest())
    }

    pub(super) fn get(&self, index: usize) -> Option<&Peer<A>> {
        self.peers.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Peer<A>> {
        self.peers.get_mut(index)
    }

    pub(super) fn is_seed(&self, index: usize) -> bool {
        index >= self.leech_count
    }

    /// Adds a peer that is not there yet and gives its place.
    pub(super) fn insert(&mut self, peer: Peer<A>, is_seed: bool, max_per_group: usize) -> Result<usize, GroupFull> {
        let index = self.peers.len();
        debug_assert!(self.find(&peer.address).is_none(), "callers look a peer up before they insert it");
        match self.places.entry(peer.address.group()) {
            MapEntry::Vacant(entry) => {
                entry.insert(Places::One(peer.address.rest(), index as u32));
            }
            MapEntry::Occupied(mut entry) => entry.get_mut().add(peer.address.rest(), index as u32, max_per_group)?,
        }
        self.peers.push(peer);
        Ok(if is_seed { index } else { self.move_across(index, false) })
    }

    /// Makes the peer at `index` a seed or a leech and gives its new place.
    pub(super) fn set_seed(&mut self, index: usize, is_seed: bool) -> usize {
        if self.is_seed(index) == is_seed { index } else { self.move_across(index, is_seed) }
    }

    /// Takes the peer at `index` out; another one comes to stand in its place.
    pub(super) fn remove(&mut self, index: usize) {
        let index = self.set_seed(index, true);
        let last = self.peers.len().saturating_sub(1);
        self.swap(index, last);
        let Some(peer) = self.peers.pop() else { return };
        if let MapEntry::Occupied(mut entry) = self.places.entry(peer.address.group())
            && entry.get_mut().forget(peer.address.rest())
        {
            entry.remove();
        }
        if self.peers.capacity() > 64 && self.peers.len() * 4 < self.peers.capacity() {
            self.peers.shrink_to(self.peers.len() * 2);
        }
    }

    /// Appends up to `want` packed peers to `out`, no peer twice and each with the same chance, without the one at
    /// `asker`, and leeches only if `for_seed`.
    ///
    /// The candidates are cut into `want` strata from a random start, and one is drawn from each: that gives every peer
    /// the same chance at a cost of `want`, and needs no memory of what was drawn.
    pub(super) fn sample(
        &self,
        random: &mut Random,
        want: usize,
        for_seed: bool,
        asker: Option<usize>,
        out: &mut Vec<u8>,
    ) {
        let candidates = if for_seed { self.leech_count } else { self.peers.len() };
        let asker = asker.filter(|asker| *asker < candidates);
        let count = candidates - usize::from(asker.is_some());
        let want = want.min(count);
        let start = random.below(count as u64) as usize;
        for stratum in 0..want {
            let low = stratum * count / want;
            let high = (stratum + 1) * count / want;
            let place = (start + low + random.below((high - low) as u64) as usize) % count;
            // Step over the asker.
            let place = place + usize::from(asker.is_some_and(|asker| place >= asker));
            if let Some(peer) = self.peers.get(place) {
                out.extend_from_slice(peer.address.as_ref());
            }
        }
    }

    /// Moves the peer at `index` over the border between leeches and seeds.
    fn move_across(&mut self, index: usize, to_seed: bool) -> usize {
        let border = if to_seed { self.leech_count - 1 } else { self.leech_count };
        self.swap(index, border);
        self.leech_count = if to_seed { border } else { border + 1 };
        border
    }

    fn swap(&mut self, first: usize, second: usize) {
        if first == second {
            return;
        }
        self.peers.swap(first, second);
        for index in [first, second] {
            if let Some(peer) = self.peers.get(index)
                && let Some(places) = self.places.get_mut(&peer.address.group())
            {
                places.set(peer.address.rest(), index as u32);
            }
        }
    }
}

impl<R: Copy + Eq> Places<R> {
    fn find(&self, rest: R) -> Option<usize> {
        match self {
            Places::One(only, place) => (*only == rest).then_some(*place as usize),
            Places::Many(all) => all.iter().find(|(other, _)| *other == rest).map(|(_, place)| *place as usize),
        }
    }

    fn set(&mut self, rest: R, place: u32) {
        match self {
            Places::One(_, at) => *at = place,
            Places::Many(all) => {
                if let Some((_, at)) = all.iter_mut().find(|(other, _)| *other == rest) {
                    *at = place;
                }
            }
        }
    }

    fn add(&mut self, rest: R, place: u32, max: usize) -> Result<(), GroupFull> {
        match self {
            Places::One(..) if max < 2 => return Err(GroupFull),
            Places::One(other, at) => *self = Places::Many(vec![(*other, *at), (rest, place)]),
            Places::Many(all) if all.len() >= max => return Err(GroupFull),
            Places::Many(all) => all.push((rest, place)),
        }
        Ok(())
    }

    /// Forgets one place; says whether none is left.
    fn forget(&mut self, rest: R) -> bool {
        let Places::Many(all) = self else { return true };
        all.retain(|(other, _)| *other != rest);
        if let [(other, place)] = all[..] {
            *self = Places::One(other, place);
        }
        false
    }
}
