//! The addresses that are known for one torrent, and whom to dial when. Connections, their ids and what they send are for
//! others; here an address is found, dialled, connected, has failed or was closed, and is forgotten in the end.
//!
//! What may be dialled at all is in `address`, the order in `shelves` and `priority`, the rate that all torrents of a shard
//! share in `pace`.

mod address;
mod duplicates;
mod entries;
mod own;
mod pace;
mod priority;
mod shelves;

pub use address::may_tell;
pub use duplicates::{Keep, Meeting, PeerIds, resolve_duplicate};
pub use pace::{DIALS_PER_S, DialPace, HALF_OPEN_LIMIT};
pub use priority::peer_priority;

use address::{canonical, is_dialable};
use own::OwnAddresses;
use shelves::Shelves;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Addresses known for one torrent: some 300 KiB. Ten times what a torrent connects to.
pub const PEER_LIST_LIMIT: usize = 2_000;

/// Addresses known of one network (a /24, or a /56 in IPv6) that is not our own, so that nobody fills the list with a
/// network of his, or turns the swarm against one of another's.
pub const NETWORK_LIMIT: u32 = 256;

/// Addresses known of one such IP: people behind one NAT, or on one seedbox, have a port each.
pub const IP_LIMIT: u32 = 64;

/// Strangers' part of either limit: the DHT and other peers are not taken at their word while so many are known.
pub const STRANGERS_PART: u32 = 4;

/// IPs that are banned; beyond it the oldest ban is lifted.
pub const BANS_LIMIT: usize = 4_096;

/// An address that has failed this often in a row is forgotten when its wait is over.
pub const FAILURES_LIMIT: u8 = 6;

/// The first wait after a failure, and the longest; each is twice the one before, a quarter more or less.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(3600)];

/// The same for peers that a person named, or that are on our network: there are few, and they may be just starting.
const NEAR_BACK_OFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// The least wait after a connection that came to nothing; the next may end as soon.
const USELESS_WAIT: Duration = Duration::from_secs(60);

/// The wait after a connection that was of use.
const RETURN_WAIT: Duration = Duration::from_secs(10);

/// The wait of an address whose peer is connected under another one.
const DUPLICATE_WAIT: Duration = Duration::from_secs(600);

/// The wait after a dial that failed for want of something here.
const NO_ROOM_WAIT: Duration = Duration::from_secs(5);

/// Who told of an address, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerSource {
    /// A person, or a magnet link.
    Given,
    /// A multicast on our network (BEP 14).
    Lsd,
    /// A tracker.
    Tracker,
    /// A peer that connected to us and said where it listens (BEP 10).
    Incoming,
    /// The DHT.
    Dht,
    /// A peer (BEP 11).
    Pex,
}

impl PeerSource {
    pub(crate) const COUNT: usize = 6;
    const ALL: [PeerSource; PeerSource::COUNT] = [
        PeerSource::Given,
        PeerSource::Lsd,
        PeerSource::Tracker,
        PeerSource::Incoming,
        PeerSource::Dht,
        PeerSource::Pex,
    ];

    /// How many addresses of this source are known at most, connected ones included: none of those that strangers write can
    /// fill the list.
    pub const fn limit(self) -> usize {
        match self {
            PeerSource::Given => 200,
            PeerSource::Lsd => 200,
            PeerSource::Tracker => 1_500,
            PeerSource::Incoming | PeerSource::Dht | PeerSource::Pex => 800,
        }
    }
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody answered, or it was refused, or no way leads there.
    Unreachable,
    /// It stands, but what is there does not speak BitTorrent, or has not this torrent, or hung up in the handshake.
    Handshake,
    /// It led back to us.
    Ourselves,
    /// The peer is connected already, under another address.
    Duplicate,
    /// Something was lacking here: a descriptor, a port, a place.
    NoRoom,
}

/// What became of addresses that were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerListCounts {
    /// Taken in.
    pub added: u64,
    /// Never to be dialled: no host, an abused port, our own, or banned.
    pub undialable: u64,
    /// Refused since the list, or the part of its source, is full of better ones.
    pub refused_full: u64,
    /// Refused since enough is known of its network or IP.
    pub refused_network: u64,
    /// Forgotten to make room.
    pub evicted: u64,
    /// Forgotten after too many failures.
    pub given_up: u64,
}

#[derive(Debug)]
struct Entry {
    source: PeerSource,
    /// By BEP 40.
    priority: u32,
    /// In a row.
    failures: u8,
    was_useful: bool,
    is_seed: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// May be dialled.
    Ready,
    /// May be dialled from then on.
    Waiting(Duration),
    Dialling,
    Connected,
}

/// The addresses known for one torrent. See the head of this file.
#[derive(Debug)]
pub struct PeerList {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Invariant: holds the entries that are neither dialled nor connected, as they are.
    shelves: Shelves,
    source_counts: [usize; PeerSource::COUNT],
    /// Entries with a global address by IP (`false`) and by network.
    network_counts: BTreeMap<(bool, IpAddr), u32>,
    banned: BTreeSet<IpAddr>,
    /// The same in the order of time.
    bans: VecDeque<IpAddr>,
    own: OwnAddresses,
    is_complete: bool,
    counts: PeerListCounts,
    random: u64,
}

impl PeerList {
    /// Knows nobody. `seed` decides the jitter of waits.
    pub fn new(seed: u64) -> PeerList {
        let mut list = PeerList {
            entries: BTreeMap::new(),
            shelves: Shelves::default(),
            source_counts: [0; PeerSource::COUNT],
            network_counts: BTreeMap::new(),
            banned: BTreeSet::new(),
            bans: VecDeque::new(),
            own: OwnAddresses::new(0),
            is_complete: false,
            counts: PeerListCounts::default(),
            random: seed,
        };
        list.own = OwnAddresses::new(list.next_random());
        list
    }

    /// Somebody tells of a peer. True if it was not known, and is now.
    pub fn handle_found(&mut self, address: SocketAddr, source: PeerSource) -> bool {
        let address = canonical(address);
        if let Some(entry) = self.entries.get(&address) {
            let is_awake = matches!(entry.place, Place::Waiting(_)) && source <= PeerSource::Lsd;
            let is_promoted = source < entry.source && self.has_place(source);
            if is_awake || is_promoted {
                self.change(address, |entry| {
                    // Told of anew by a person, or by itself from next door: it is there now.
                    if is_awake {
                        entry.place = Place::Ready;
                    }
                    if is_promoted {
                        entry.source = source;
                    }
                });
            }
            return false;
        }
        let is_named = source == PeerSource::Given;
        if !is_dialable(address, is_named) || self.own.contains(address) || self.banned.contains(&address.ip()) {
            self.counts.undialable += 1;
            return false;
        }
        if !is_named && !self.network_has_room(address.ip(), source) {
            self.counts.refused_network += 1;
            return false;
        }
        if !self.make_room(source) {
            self.counts.refused_full += 1;
            return false;
        }
        self.add(address, source);
        true
    }

    /// A peer is known to have everything; once we do as well, it is not dialled.
    pub fn handle_seed(&mut self, address: SocketAddr) {
        let address = canonical(address);
        self.change(address, |entry| entry.is_seed = true);
        self.forget_if_redundant(address);
    }

    /// We have everything from now on: seeds are forgotten.
    pub fn handle_completed(&mut self) {
        self.is_complete = true;
        let seeds: Vec<SocketAddr> =
            self.entries.iter().filter(|(_, entry)| entry.is_seed).map(|(address, _)| *address).collect();
        seeds.into_iter().for_each(|address| self.forget_if_redundant(address));
    }

    /// The address to dial now, if there is one and the pace allows it; both hold it as being dialled from then on. The caller
    /// says how it ends: to the pace by [`DialPace::handle_ended`], here by [`PeerList::handle_connected`] or
    /// [`PeerList::handle_failed`].
    pub fn next(&mut self, now: Duration, pace: &mut DialPace) -> Option<SocketAddr> {
        while let Some(address) = self.shelves.next_due(now) {
            let is_hopeless = |entry: &Entry| entry.failures >= FAILURES_LIMIT && entry.source != PeerSource::Given;
            if self.entries.get(&address).is_none_or(is_hopeless) {
                self.forget(address);
                self.counts.given_up += 1;
            } else {
                self.change(address, |entry| entry.place = Place::Ready);
            }
        }
        if !pace.has_room(now) {
            return None;
        }
        let address = self.shelves.next()?;
        self.change(address, |entry| entry.place = Place::Dialling);
        pace.handle_dialled(now);
        Some(address)
    }

    /// When there will be an address to dial, as far as this list goes; in the past if there is one.
    pub fn next_at(&self) -> Option<Duration> {
        self.shelves.next_at()
    }

    /// The peer at this address is connected: we have dialled it and both handshakes are done, or it has dialled us and said
    /// that it listens here. In the latter case it need not have been known.
    pub fn handle_connected(&mut self, address: SocketAddr) {
        let address = canonical(address);
        if !self.entries.contains_key(&address) {
            self.handle_found(address, PeerSource::Incoming);
        }
        self.change(address, |entry| entry.place = Place::Connected);
    }

    /// A dial, or the handshake behind it, came to nothing.
    pub fn handle_failed(&mut self, now: Duration, address: SocketAddr, why: DialFailure) {
        let address = canonical(address);
        match why {
            DialFailure::Ourselves => {
                self.forget(address);
                self.own.add_ourselves(address);
            }
            DialFailure::Duplicate => self.wait(now, address, DUPLICATE_WAIT),
            DialFailure::NoRoom => self.wait(now, address, NO_ROOM_WAIT),
            DialFailure::Unreachable | DialFailure::Handshake => self.back_off(now, address, Duration::ZERO),
        }
    }

    /// A connection that stood is gone. `useful`: the peer has sent us, or we have sent it, what was wanted.
    pub fn handle_closed(&mut self, now: Duration, address: SocketAddr, useful: bool) {
        let address = canonical(address);
        if !useful {
            self.back_off(now, address, USELESS_WAIT);
        } else {
            self.change(address, |entry| (entry.failures, entry.was_useful) = (0, true));
            self.wait(now, address, RETURN_WAIT);
        }
    }

    /// Nobody at this IP is dialled or taken in again. Connections with it are the caller's to close.
    pub fn ban(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if !self.banned.insert(ip) {
            return;
        }
        self.bans.push_back(ip);
        if self.bans.len() > BANS_LIMIT
            && let Some(oldest) = self.bans.pop_front()
        {
            self.banned.remove(&oldest);
        }
        let first = SocketAddr::new(ip, 0);
        let banned: Vec<SocketAddr> =
            self.entries.range(first..).map(|(address, _)| *address).take_while(|address| address.ip() == ip).collect();
        // Those that are connected go when they are closed.
        banned.into_iter().for_each(|address| self.forget_if_idle(address));
    }

    /// Whether connections from this IP are to be refused.
    pub fn is_banned(&self, ip: IpAddr) -> bool {
        self.banned.contains(&ip.to_canonical())
    }

    /// We take connections here.
    pub fn add_listen_address(&mut self, address: SocketAddr) {
        let address = canonical(address);
        self.own.add_listen(address);
        self.forget_ourselves();
    }

    /// A peer at `teller` says that it sees us at `seen` (BEP 10, `yourip`).
    pub fn handle_seen_as(&mut self, teller: IpAddr, seen: IpAddr) {
        if !self.own.vote(teller, seen) {
            return;
        }
        self.forget_ourselves();
        let addresses: Vec<SocketAddr> = self.entries.keys().copied().collect();
        for address in addresses {
            let priority = peer_priority(self.own.facing(address), address);
            self.change(address, |entry| entry.priority = priority);
        }
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What became of what was told.
    pub fn counts(&self) -> PeerListCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
