//! The peers that others announced to us (BEP 5). Every list has a limit, and one host cannot fill it alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hash::InfoHash;

use crate::Millis;
use crate::address::{Family, host};
use crate::limits::PEER_EXPIRY_MS;
use crate::random::Random;

/// How much is kept for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreLimits {
    /// Peers in all.
    pub peers: usize,
    /// Peers of one swarm in one family; a newcomer replaces the oldest.
    pub peers_of_swarm: usize,
    /// Peers announced by one host (an IPv4 address, a /64 of IPv6).
    pub peers_of_host: usize,
}

impl Default for StoreLimits {
    /// About 6 MB when full.
    fn default() -> StoreLimits {
        StoreLimits { peers: 50_000, peers_of_swarm: 1_000, peers_of_host: 5_000 }
    }
}

/// Swarms by info-hash and family.
pub(crate) struct PeerStore {
    limits: StoreLimits,
    swarms: BTreeMap<(InfoHash, Family), BTreeMap<SocketAddr, Millis>>,
    hosts: BTreeMap<IpAddr, usize>,
    peers: usize,
}

impl PeerStore {
    pub(crate) fn new(limits: StoreLimits) -> PeerStore {
        PeerStore { limits, swarms: BTreeMap::new(), hosts: BTreeMap::new(), peers: 0 }
    }

    /// Remembers a peer. Whether there was room.
    pub(crate) fn announce(&mut self, now: Millis, info_hash: InfoHash, peer: SocketAddr) -> bool {
        let key = (info_hash, Family::of(peer.ip()));
        if let Some(announced) = self.swarms.get_mut(&key).and_then(|swarm| swarm.get_mut(&peer)) {
            *announced = now;
            return true;
        }
        let of_host = self.hosts.get(&host(peer.ip())).copied().unwrap_or(0);
        if self.peers >= self.limits.peers || of_host >= self.limits.peers_of_host {
            return false;
        }
        let swarm = self.swarms.entry(key).or_default();
        if swarm.len() >= self.limits.peers_of_swarm
            && let Some(oldest) = swarm.iter().min_by_key(|(_, announced)| **announced).map(|(peer, _)| *peer)
        {
            swarm.remove(&oldest);
            self.peers -= 1;
            forget_one(&mut self.hosts, oldest.ip());
        }
        swarm.insert(peer, now);
        self.peers += 1;
        *self.hosts.entry(host(peer.ip())).or_default() += 1;
        true
    }

    /// Up to `count` peers of a swarm, chosen anew each time.
    pub(crate) fn sample(
        &self,
        now: Millis,
        random: &mut Random,
        info_hash: InfoHash,
        family: Family,
        count: usize,
    ) -> Vec<SocketAddr> {
        let Some(swarm) = self.swarms.get(&(info_hash, family)) else { return Vec::new() };
        let fresh = swarm.iter().filter(|(_, announced)| !is_expired(now, **announced));
        let mut peers: Vec<SocketAddr> = fresh.map(|(peer, _)| *peer).collect();
        for chosen in 0..count.min(peers.len()) {
            let other = chosen + random.below((peers.len() - chosen) as u64) as usize;
            peers.swap(chosen, other);
        }
        peers.truncate(count);
        peers
    }

    /// Forgets what was not announced again in time.
    pub(crate) fn sweep(&mut self, now: Millis) {
        let (hosts, peers) = (&mut self.hosts, &mut self.peers);
        self.swarms.retain(|_, swarm| {
            swarm.retain(|peer, announced| {
                let is_kept = !is_expired(now, *announced);
                if !is_kept {
                    *peers -= 1;
                    forget_one(hosts, peer.ip());
                }
                is_kept
            });
            !swarm.is_empty()
        });
    }

    /// Peers that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.peers
    }
}

fn is_expired(now: Millis, announced: Millis) -> bool {
    now.saturating_sub(announced) >= PEER_EXPIRY_MS
}

fn forget_one(hosts: &mut BTreeMap<IpAddr, usize>, ip: IpAddr) {
    if let Some(count) = hosts.get_mut(&host(ip)) {
        *count -= 1;
        if *count == 0 {
            hosts.remove(&host(ip));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StoreLimits = StoreLimits { peers: 100, peers_of_swarm: 10, peers_of_host: 30 };

    fn peer(host: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, host], port).into()
    }

    fn hash_of(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    fn all(store: &PeerStore, now: Millis, n: u8) -> Vec<SocketAddr> {
        store.sample(now, &mut Random::new([1; 32]), hash_of(n), Family::V4, 1_000)
    }

    #[test]
    fn a_peer_is_forgotten_unless_it_announces_again() {
        let mut store = PeerStore::new(LIMITS);
        store.announce(0, hash_of(1), peer(1, 1));
        store.announce(0, hash_of(1), peer(2, 1));
        store.announce(PEER_EXPIRY_MS / 2, hash_of(1), peer(2, 1));
        assert_eq!(all(&store, PEER_EXPIRY_MS, 1), [peer(2, 1)], "before any sweep");
        store.sweep(PEER_EXPIRY_MS);
        assert_eq!((store.len(), store.hosts.len()), (1, 1));
        store.sweep(2 * PEER_EXPIRY_MS);
        assert_eq!((store.len(), store.hosts.len(), store.swarms.len()), (0, 0, 0));
    }

    #[test]
    fn a_full_swarm_forgets_its_oldest_peer() {
        let mut store = PeerStore::new(LIMITS);
        (0..20).for_each(|n| assert!(store.announce(n, hash_of(1), peer(n as u8, 1))));
        let mut left = all(&store, 20, 1);
        left.sort();
        assert_eq!(left, (10..20).map(|n| peer(n, 1)).collect::<Vec<_>>());
        assert_eq!((store.len(), store.hosts.len()), (10, 10));
    }

    #[test]
    fn one_host_cannot_fill_the_store() {
        let mut store = PeerStore::new(LIMITS);
        let stored = (0..200).filter(|n| store.announce(0, hash_of(*n), peer(1, 1))).count();
        assert_eq!(stored, LIMITS.peers_of_host);
        assert!(store.announce(0, hash_of(1), peer(2, 1)), "there is room for others");
    }

    #[test]
    fn a_full_store_refuses() {
        let mut store = PeerStore::new(LIMITS);
        let stored = (0..200).filter(|n| store.announce(0, hash_of(*n), peer(*n, 1))).count();
        assert_eq!((stored, store.len()), (LIMITS.peers, LIMITS.peers));
        assert!(store.announce(1, hash_of(1), peer(1, 1)), "who is there may stay");
    }

    #[test]
    fn a_sample_differs_and_has_nobody_twice() {
        let mut store = PeerStore::new(StoreLimits { peers_of_swarm: 100, ..LIMITS });
        (0..100).for_each(|n| assert!(store.announce(0, hash_of(1), peer(n, 1))));
        let mut random = Random::new([1; 32]);
        let mut draw = || store.sample(0, &mut random, hash_of(1), Family::V4, 20);
        let (first, second) = (draw(), draw());
        assert_ne!(first, second);
        let mut sorted = first.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((first.len(), sorted.len()), (20, 20));
    }
}
