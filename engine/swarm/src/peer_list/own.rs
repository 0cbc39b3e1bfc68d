//! Our own addresses: those that are never dialled, and the one by which the world sees us, which BEP 40 reckons with.

use super::address::{Scope, network, scope};
use arrayvec::ArrayVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses that we listen on.
const LISTEN_LIMIT: usize = 8;

/// Addresses that led back to us.
const OURSELVES_LIMIT: usize = 16;

/// Networks whose word on our address is kept, the newest.
const VOTES_LIMIT: usize = 8;

/// Networks that must agree on it.
const VOTES_NEEDED: usize = 3;

#[derive(Debug)]
pub(super) struct OwnAddresses {
    listen: ArrayVec<SocketAddr, LISTEN_LIMIT>,
    ourselves: ArrayVec<SocketAddr, OURSELVES_LIMIT>,
    seen_as: [SeenAs; 2],
}

/// How the world sees us in one family.
#[derive(Debug)]
struct SeenAs {
    ip: IpAddr,
    /// The teller's network and what it said, the newest last.
    votes: ArrayVec<(IpAddr, IpAddr), VOTES_LIMIT>,
}

impl OwnAddresses {
    /// Until we know better, our address is drawn by lot: were it the same for all who do not know theirs, they would all dial
    /// the same peers first.
    pub(super) fn new(random: u64) -> OwnAddresses {
        let v4 = Ipv4Addr::from_bits(random as u32).into();
        let v6 = Ipv6Addr::from_bits(u128::from(random) << 64).into();
        let seen_as = [v4, v6].map(|ip| SeenAs { ip, votes: ArrayVec::new() });
        OwnAddresses { listen: ArrayVec::new(), ourselves: ArrayVec::new(), seen_as }
    }

    /// Whether a connection to this address would be one to ourselves, as far as we know.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        let is_seen_as = self.seen_as.iter().any(|seen| seen.ip == address.ip());
        let listens = |listen: &SocketAddr| {
            let is_here = listen.ip() == address.ip()
                || (listen.ip().is_unspecified() && (address.ip().is_loopback() || is_seen_as));
            listen.port() == address.port() && is_here
        };
        self.ourselves.contains(&address) || self.listen.iter().any(listens)
    }

    /// We listen here. One beyond the limit is not known, and found out at its handshake.
    pub(super) fn add_listen(&mut self, address: SocketAddr) {
        if !self.listen.contains(&address) {
            let _ = self.listen.try_push(address);
        }
    }

    /// This address led back to us.
    pub(super) fn add_ourselves(&mut self, address: SocketAddr) {
        if self.ourselves.is_full() {
            self.ourselves.remove(0);
        }
        self.ourselves.push(address);
    }

    /// Our side of a connection to such an address.
    pub(super) fn facing(&self, theirs: SocketAddr) -> SocketAddr {
        let seen = &self.seen_as[usize::from(theirs.is_ipv6())];
        let listen = self.listen.iter().find(|listen| listen.is_ipv6() == theirs.is_ipv6()).or(self.listen.first());
        SocketAddr::new(seen.ip, listen.map_or(0, SocketAddr::port))
    }

    /// A peer says how it sees us (BEP 10, `yourip`). True if we believe in another address from now on. Nobody is believed
    /// alone, and a network has one voice, so that no peer can choose our place in the order of BEP 40.
    pub(super) fn vote(&mut self, teller: IpAddr, seen: IpAddr) -> bool {
        let (teller, seen) = (network(teller.to_canonical()), seen.to_canonical());
        if scope(seen) != Scope::Global {
            return false;
        }
        let family = &mut self.seen_as[usize::from(seen.is_ipv6())];
        family.votes.retain(|(voter, _)| *voter != teller);
        if family.votes.is_full() {
            family.votes.remove(0);
        }
        family.votes.push((teller, seen));
        let count = family.votes.iter().filter(|(_, ip)| *ip == seen).count();
        let is_elected = count >= VOTES_NEEDED && 2 * count > family.votes.len() && family.ip != seen;
        if is_elected {
            family.ip = seen;
        }
        is_elected
    }
}
