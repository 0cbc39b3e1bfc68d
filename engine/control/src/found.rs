//! The way of peers' addresses from those who look for them (trackers, the DHT, the local network) to control.

use mesh::{PeerOrigin, TorrentId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Answers that wait for control at most. One that finds no room is lost: who gave it will be asked again.
const FOUND_CAPACITY: usize = 1024;

/// Addresses that are taken from one answer at most; a reply to an announce may be made as long as its sender likes.
const ADDRESSES_MAX: usize = 1000;

/// Peers that somebody knows.
pub(crate) struct Found {
    pub(crate) id: TorrentId,
    pub(crate) origin: PeerOrigin,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Takes what is found, on any thread.
#[derive(Clone)]
pub(crate) struct Finder {
    sender: mpsc::Sender<Found>,
    refused: Arc<AtomicU64>,
}

impl Finder {
    /// A finder, and where what it is told comes out.
    pub(crate) fn new() -> (Finder, mpsc::Receiver<Found>) {
        let (sender, found) = mpsc::channel(FOUND_CAPACITY);
        (Finder { sender, refused: Arc::default() }, found)
    }

    /// Passes addresses on, if there is room.
    pub(crate) fn tell(&self, id: TorrentId, origin: PeerOrigin, mut addresses: Vec<SocketAddr>) {
        let mut refused = addresses.len().saturating_sub(ADDRESSES_MAX);
        addresses.truncate(ADDRESSES_MAX);
        if let Err(error) = self.sender.try_send(Found { id, origin, addresses }) {
            refused += error.into_inner().addresses.len();
        }
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
    }

    /// How many addresses found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_more_than_control_takes_loses_it_and_it_is_counted() {
        let (finder, mut found) = Finder::new();
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1)); ADDRESSES_MAX + 3];
        finder.tell(TorrentId(0), PeerOrigin::Tracker, addresses);
        assert_eq!(finder.refused(), 3);
        for _ in 0..FOUND_CAPACITY {
            finder.tell(TorrentId(0), PeerOrigin::Dht, vec![SocketAddr::from(([127, 0, 0, 1], 2)); 2]);
        }
        assert_eq!(finder.refused(), 5);
        assert_eq!(found.blocking_recv().unwrap().addresses.len(), ADDRESSES_MAX);
    }
}
