//! One torrent's peers, its own seeds, and what one announce does to them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hash::InfoHash;

use super::hasher::KeyedState;
use super::limits::{Counters, Limits};
use super::peer_set::{Packed, Peer, PeerSet};
use crate::announce::{AnnounceRequest, Event};
use crate::family::{Family, pack_into, pack_v4, pack_v6};
use crate::random::Random;
use crate::scrape::SwarmStats;

/// A swarm up to this size is told of our own seeds in every reply; in a larger one a peer's chance to be told falls,
/// so that about this many peers look for the origin at once and the others find each other.
const OWN_SEED_AUDIENCE: u64 = 1000;

/// Where one of the publisher's own seeds is reached. It never expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OwnSeed {
    /// At this address.
    At(SocketAddr),
    /// At this port of the address at which the announce reached the tracker: whoever could reach that can reach this.
    ThisHost {
        /// The family in which the seed listens.
        family: Family,
        /// Its port.
        port: u16,
    },
}

/// An announce together with where it came from, and when.
pub(super) struct Context<'a> {
    pub(super) request: &'a AnnounceRequest,
    /// Unmapped.
    pub(super) source: IpAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) now_s: u32,
    pub(super) want_count: usize,
    /// Whether the table has room for one more peer.
    pub(super) has_room: bool,
    pub(super) limits: &'a Limits,
    /// For the maps of a swarm's first peer.
    pub(super) hasher: &'a KeyedState,
}

/// One torrent. Most of those that are kept for years have no peers at the moment, and are to cost little.
pub(super) struct Swarm {
    pub(super) info_hash: InfoHash,
    pub(super) is_listed: bool,
    /// Shared by all torrents that are served from the same places.
    pub(super) own_seeds: Arc<[OwnSeed]>,
    pub(super) peers: Option<Box<Peers>>,
    completed_count: u32,
}

/// The peers of one torrent.
pub(super) struct Peers {
    pub(super) v4: PeerSet<[u8; 6]>,
    pub(super) v6: PeerSet<[u8; 18]>,
}

impl Peers {
    fn new(state: &KeyedState) -> Peers {
        Peers { v4: PeerSet::new(state.clone()), v6: PeerSet::new(state.clone()) }
    }

    pub(super) fn count(&self) -> usize {
        self.v4.peer_count() + self.v6.peer_count()
    }
}

impl Swarm {
    pub(super) fn new(info_hash: InfoHash) -> Swarm {
        Swarm { info_hash, is_listed: false, own_seeds: Arc::default(), peers: None, completed_count: 0 }
    }

    pub(super) fn peer_count(&self) -> usize {
        self.peers.as_ref().map_or(0, |peers| peers.count())
    }

    /// Whether it stays although it is empty.
    pub(super) fn is_pinned(&self) -> bool {
        self.is_listed || !self.own_seeds.is_empty()
    }

    /// Both families together. Own seeds count once for each torrent, however many addresses they have.
    pub(super) fn stats(&self) -> SwarmStats {
        let count = |of: fn(&Peers) -> usize| self.peers.as_deref().map_or(0, of);
        let seed_count = count(|peers| peers.v4.seed_count() + peers.v6.seed_count());
        SwarmStats {
            seed_count: (seed_count + usize::from(!self.own_seeds.is_empty())) as u32,
            leech_count: count(|peers| peers.v4.leech_count() + peers.v6.leech_count()) as u32,
            completed_count: self.completed_count,
        }
    }

    /// Records the announce and appends the peers that answer it.
    pub(super) fn announce(
        &mut self,
        context: &Context<'_>,
        counters: &mut Counters,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) {
        let port = context.request.port;
        let want_count = if context.request.event == Event::Stopped { 0 } else { context.want_count };
        let own_count = if want_count == 0 { 0 } else { self.push_own_seeds(context, random, want_count, out) };
        let want_count = want_count - own_count;
        let peers = self.peers.get_or_insert_with(|| Box::new(Peers::new(context.hasher)));
        let is_completion = match context.source {
            IpAddr::V4(ip) => announce_in(&mut peers.v4, pack_v4(ip, port), context, want_count, counters, random, out),
            IpAddr::V6(ip) => announce_in(&mut peers.v6, pack_v6(ip, port), context, want_count, counters, random, out),
        };
        self.completed_count = self.completed_count.saturating_add(u32::from(is_completion));
    }

    /// Appends own seeds of the asker's family, at most `want_count`; gives how many.
    fn push_own_seeds(
        &self,
        context: &Context<'_>,
        random: &mut Random,
        want_count: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        if self.own_seeds.is_empty() || !context.request.wants_seeds() {
            return 0;
        }
        let peer_count = self.peer_count() as u64;
        if peer_count > OWN_SEED_AUDIENCE && random.below(peer_count) >= OWN_SEED_AUDIENCE {
            return 0;
        }
        let family = Family::of(context.source);
        let asker = SocketAddr::new(context.source, context.request.port);
        let addresses = self.own_seeds.iter().filter_map(|own| own.address_for(family, context.local));
        let mut count = 0;
        for address in addresses.filter(|address| *address != asker).take(want_count) {
            pack_into(out, address.ip(), address.port());
            count += 1;
        }
        count
    }
}

impl OwnSeed {
    /// What a peer of `family` is told, if this seed can be reached in that family.
    fn address_for(&self, family: Family, local: Option<IpAddr>) -> Option<SocketAddr> {
        match *self {
            OwnSeed::At(address) => {
                let ip = address.ip().to_canonical();
                (Family::of(ip) == family && !ip.is_unspecified()).then(|| SocketAddr::new(ip, address.port()))
            }
            OwnSeed::ThisHost { family: own_family, port } => {
                let local = local?.to_canonical();
                let is_usable = own_family == family && Family::of(local) == family && !local.is_unspecified();
                is_usable.then(|| SocketAddr::new(local, port))
            }
        }
    }
}

/// One family's part of an announce; says whether a download became complete by it.
fn announce_in<A: Packed>(
    peers: &mut PeerSet<A>,
    address: A,
    context: &Context<'_>,
    want_count: usize,
    counters: &mut Counters,
    random: &mut Random,
    out: &mut Vec<u8>,
) -> bool {
    let request = context.request;
    let known = peers.find(&address);
    if request.event == Event::Stopped {
        if let Some(index) = known {
            remove_stopped(peers, index, request.key, counters);
        }
        return false;
    }
    let was_seed = known.is_some_and(|index| peers.is_seed(index));
    let place = match known {
        Some(index) => Some(refresh(peers, index, context)),
        // Nobody can connect to port 0, so nobody need hear of it.
        None if request.port == 0 => None,
        None => insert(peers, address, context, counters),
    };
    peers.sample(random, want_count, !request.wants_seeds(), place, out);
    request.event == Event::Completed && request.is_seed() && !was_seed
}

fn remove_stopped<A: Packed>(peers: &mut PeerSet<A>, index: usize, key: u32, counters: &mut Counters) {
    let own_key = peers.get(index).map_or(0, |peer| peer.key);
    if own_key == 0 || own_key == key {
        peers.remove(index);
        counters.stopped += 1;
    } else {
        counters.stopped_by_stranger += 1;
    }
}

fn refresh<A: Packed>(peers: &mut PeerSet<A>, index: usize, context: &Context<'_>) -> usize {
    if let Some(peer) = peers.get_mut(index) {
        // A new key at an old address is a client that was started again.
        peer.key = context.request.key;
        peer.expires_s = context.now_s.saturating_add(context.limits.peer_timeout_s);
    }
    peers.set_seed(index, context.request.is_seed())
}

fn insert<A: Packed>(
    peers: &mut PeerSet<A>,
    address: A,
    context: &Context<'_>,
    counters: &mut Counters,
) -> Option<usize> {
    if !context.has_room || peers.peer_count() >= context.limits.max_peers_per_torrent {
        counters.peers_full += 1;
        return None;
    }
    let expires_s = context.now_s.saturating_add(context.limits.peer_timeout_s);
    let peer = Peer { address, key: context.request.key, expires_s };
    let inserted = peers.insert(peer, context.request.is_seed(), context.limits.max_peers_per_address);
    if inserted.is_err() {
        counters.address_full += 1;
    }
    inserted.ok()
}
