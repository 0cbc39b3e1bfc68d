//! The order of a peer list's addresses: whom to dial first, who waits until when, and whom to forget first. Every address
//! that is neither being dialled nor connected is here.

use super::{Entry, PeerSource, Place};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Sources are dialled in turn by what they are worth, so that what strangers tell cannot starve what a tracker says.
const CLASSES: usize = 3;

/// Fewest failures first, then those that were of use, then by BEP 40.
type Rank = (u8, Reverse<bool>, Reverse<u32>);

#[derive(Debug, Default)]
pub(super) struct Shelves {
    ready: [BTreeSet<(Rank, SocketAddr)>; CLASSES],
    waiting: BTreeSet<(Duration, SocketAddr)>,
    /// All of them by source, those with the most failures last.
    spare: [BTreeSet<(u8, SocketAddr)>; PeerSource::COUNT],
    /// The class whose turn was last, the first apart, which always comes first.
    last_class: usize,
}

impl Shelves {
    pub(super) fn insert(&mut self, address: SocketAddr, entry: &Entry) {
        match entry.place {
            Place::Ready => _ = self.ready[class(entry.source)].insert((rank(entry), address)),
            Place::Waiting(until) => _ = self.waiting.insert((until, address)),
            Place::Dialling | Place::Connected => return,
        }
        self.spare[entry.source as usize].insert((entry.failures, address));
    }

    /// Takes the address out. The entry must be as it was when it came in.
    pub(super) fn remove(&mut self, address: SocketAddr, entry: &Entry) {
        let found = match entry.place {
            Place::Ready => self.ready[class(entry.source)].remove(&(rank(entry), address)),
            Place::Waiting(until) => self.waiting.remove(&(until, address)),
            Place::Dialling | Place::Connected => return,
        };
        let spare = self.spare[entry.source as usize].remove(&(entry.failures, address));
        debug_assert!(found && spare, "an entry leaves the shelf that it was put on");
    }

    /// The address to dial next.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let first = |class: usize| self.ready[class].first().map(|(_, address)| *address);
        let turns = if self.last_class == 1 { [0, 2, 1] } else { [0, 1, 2] };
        let (class, address) = turns.into_iter().find_map(|class| Some((class, first(class)?)))?;
        if class != 0 {
            self.last_class = class;
        }
        Some(address)
    }

    /// An address that has waited long enough.
    pub(super) fn next_due(&self, now: Duration) -> Option<SocketAddr> {
        self.waiting.first().filter(|(until, _)| *until <= now).map(|(_, address)| *address)
    }

    /// When there will be an address to dial.
    pub(super) fn next_at(&self) -> Option<Duration> {
        if self.ready.iter().any(|class| !class.is_empty()) {
            return Some(Duration::ZERO);
        }
        self.waiting.first().map(|(until, _)| *until)
    }

    /// Whom to forget for a newcomer of this source: one that has failed, the least trusted first; then one that is trusted
    /// less than the newcomer.
    pub(super) fn spare(&self, newcomer: PeerSource) -> Option<SocketAddr> {
        let worst = |source: &PeerSource| self.worst(*source).map(|(_, address)| address);
        let failed = |source: &PeerSource| self.worst(*source).filter(|(failures, _)| *failures > 0);
        let least_first = || PeerSource::ALL.iter().rev();
        least_first()
            .find_map(|source| failed(source).map(|(_, address)| address))
            .or_else(|| least_first().filter(|source| **source > newcomer).find_map(worst))
    }

    /// One of this source that has failed.
    pub(super) fn spare_of(&self, source: PeerSource) -> Option<SocketAddr> {
        self.worst(source).filter(|(failures, _)| *failures > 0).map(|(_, address)| address)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let on_shelves = self.ready.iter().map(BTreeSet::len).sum::<usize>() + self.waiting.len();
        assert_eq!(on_shelves, self.spare.iter().map(BTreeSet::len).sum::<usize>());
        on_shelves
    }

    fn worst(&self, source: PeerSource) -> Option<(u8, SocketAddr)> {
        self.spare[source as usize].last().copied()
    }
}

fn class(source: PeerSource) -> usize {
    match source {
        PeerSource::Given | PeerSource::Lsd => 0,
        PeerSource::Tracker | PeerSource::Incoming => 1,
        PeerSource::Dht | PeerSource::Pex => 2,
    }
}

fn rank(entry: &Entry) -> Rank {
    (entry.failures, Reverse(entry.was_useful), Reverse(entry.priority))
}
