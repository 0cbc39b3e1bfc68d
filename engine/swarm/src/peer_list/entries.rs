//! The books of a peer list: entries come, change and go together with their place on the shelves and in the counts.

use super::address::{Scope, network, scope};
use super::{
    BACK_OFF, Entry, FAILURES_LIMIT, IP_LIMIT, NEAR_BACK_OFF, NETWORK_LIMIT, PEER_LIST_LIMIT, PeerList, PeerSource,
    Place, STRANGERS_PART, peer_priority,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

impl PeerList {
    pub(super) fn add(&mut self, address: SocketAddr, source: PeerSource) {
        let priority = peer_priority(self.own.facing(address), address);
        let entry = Entry { source, priority, failures: 0, was_useful: false, is_seed: false, place: Place::Ready };
        self.shelves.insert(address, &entry);
        self.source_counts[source as usize] += 1;
        for key in counted_networks(address.ip()).into_iter().flatten() {
            *self.network_counts.entry(key).or_default() += 1;
        }
        self.entries.insert(address, entry);
        self.counts.added += 1;
    }

    /// Nothing if it is not known.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        let Some(entry) = self.entries.remove(&address) else { return };
        self.shelves.remove(address, &entry);
        self.source_counts[entry.source as usize] -= 1;
        for key in counted_networks(address.ip()).into_iter().flatten() {
            if let Some(count) = self.network_counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.network_counts.remove(&key);
                }
            }
        }
    }

    /// Nothing if it is not known.
    pub(super) fn change(&mut self, address: SocketAddr, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        self.shelves.remove(address, entry);
        self.source_counts[entry.source as usize] -= 1;
        change(entry);
        self.source_counts[entry.source as usize] += 1;
        self.shelves.insert(address, entry);
    }

    /// Whether it is being dialled or connected.
    pub(super) fn is_active(&self, address: &SocketAddr) -> bool {
        self.entries.get(address).is_some_and(|entry| matches!(entry.place, Place::Dialling | Place::Connected))
    }

    /// What turns out to be our own address is not dialled again.
    pub(super) fn forget_ourselves(&mut self) {
        let own: Vec<SocketAddr> =
            self.entries.keys().filter(|address| self.own.contains(**address)).copied().collect();
        own.into_iter().for_each(|address| self.forget_if_idle(address));
    }

    /// One that is being dialled or connected is forgotten when that ends, if it still has to be.
    pub(super) fn forget_if_idle(&mut self, address: SocketAddr) {
        if !self.is_active(&address) {
            self.forget(address);
        }
    }

    /// Seeds are of no use to a seed.
    pub(super) fn forget_if_redundant(&mut self, address: SocketAddr) {
        let is_seed = self.entries.get(&address).is_some_and(|entry| entry.is_seed);
        if self.is_complete && is_seed {
            self.forget_if_idle(address);
        }
    }

    /// It is to be left alone for about so long, if it is to be dialled again at all.
    pub(super) fn wait(&mut self, now: Duration, address: SocketAddr, wait: Duration) {
        let until = now + self.jittered(wait);
        self.change(address, |entry| entry.place = Place::Waiting(until));
        if self.banned.contains(&address.ip()) || self.own.contains(address) {
            self.forget(address);
        }
        self.forget_if_redundant(address);
    }

    /// It has failed once more, and is left alone the longer.
    pub(super) fn back_off(&mut self, now: Duration, address: SocketAddr, least: Duration) {
        let Some(entry) = self.entries.get(&address) else { return };
        let failures = entry.failures.saturating_add(1).min(FAILURES_LIMIT);
        let (first, longest, least) = match entry.source {
            PeerSource::Given | PeerSource::Lsd => (NEAR_BACK_OFF[0], NEAR_BACK_OFF[1], Duration::ZERO),
            _ => (BACK_OFF[0], BACK_OFF[1], least),
        };
        let wait = (first * (1 << (failures - 1))).clamp(least, longest);
        self.change(address, |entry| entry.failures = failures);
        self.wait(now, address, wait);
    }

    /// A quarter more or less, so that peers that were lost at once do not come back at once.
    fn jittered(&mut self, wait: Duration) -> Duration {
        let quarters = 0.75 + (self.next_random() >> 40) as f64 / (1u64 << 25) as f64;
        wait.mul_f64(quarters)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(super) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(super) fn has_place(&self, source: PeerSource) -> bool {
        self.source_counts[source as usize] < source.limit()
    }

    /// Makes room for one more of this source, if somebody worse can go.
    pub(super) fn make_room(&mut self, source: PeerSource) -> bool {
        let evicted = if !self.has_place(source) {
            self.shelves.spare_of(source)
        } else if self.entries.len() >= PEER_LIST_LIMIT {
            self.shelves.spare(source)
        } else {
            return true;
        };
        let Some(evicted) = evicted else { return false };
        self.forget(evicted);
        self.counts.evicted += 1;
        true
    }

    pub(super) fn network_has_room(&self, ip: IpAddr, source: PeerSource) -> bool {
        let part = if source >= PeerSource::Dht { STRANGERS_PART } else { 1 };
        let limits = [IP_LIMIT / part, NETWORK_LIMIT / part];
        let has_room = |(key, limit)| self.network_counts.get(&key).is_none_or(|count| *count < limit);
        counted_networks(ip).is_none_or(|keys| keys.into_iter().zip(limits).all(has_room))
    }
}

/// An address and its network, as they are counted. Our own networks have no limit: a rack may hold a swarm.
fn counted_networks(ip: IpAddr) -> Option<[(bool, IpAddr); 2]> {
    (scope(ip) == Scope::Global).then(|| [(false, ip), (true, network(ip))])
}
