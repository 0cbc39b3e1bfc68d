//! What one torrent has sent and received since it was added: what its shards count now, and what they had counted when it was
//! last laid to rest.

use mesh::TorrentCounters;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Counters of no shard: a torrent at rest shares them with all others.
static AT_REST: LazyLock<Arc<TorrentCounters>> = LazyLock::new(|| Arc::new(TorrentCounters::new(0)));

/// Two totals, and the shards' counters while there are any. Shared with those who announce the torrent.
#[derive(Debug)]
pub(crate) struct Tally {
    rested_sent_bytes: AtomicU64,
    rested_received_bytes: AtomicU64,
    counters: Mutex<Arc<TorrentCounters>>,
}

impl Default for Tally {
    /// That of a torrent at rest, of which nothing has been counted.
    fn default() -> Tally {
        let counters = Mutex::new(AT_REST.clone());
        Tally { rested_sent_bytes: AtomicU64::new(0), rested_received_bytes: AtomicU64::new(0), counters }
    }
}

impl Tally {
    /// That of a torrent of which nothing has been counted by so many shards.
    pub(crate) fn awake(shard_count: usize) -> Tally {
        let tally = Tally::default();
        tally.wake(shard_count);
        tally
    }

    /// Where shards count from now on.
    pub(crate) fn wake(&self, shard_count: usize) {
        *self.lock() = Arc::new(TorrentCounters::new(shard_count));
    }

    /// No shard counts any more; what they have counted is kept.
    pub(crate) fn rest(&self) {
        let counters = std::mem::replace(&mut *self.lock(), AT_REST.clone());
        self.rested_sent_bytes.fetch_add(counters.payload_sent_bytes(), Relaxed);
        self.rested_received_bytes.fetch_add(counters.payload_received_bytes(), Relaxed);
    }

    /// What the shards count.
    pub(crate) fn counters(&self) -> Arc<TorrentCounters> {
        self.lock().clone()
    }

    /// Payload bytes sent.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.rested_sent_bytes.load(Relaxed) + self.lock().payload_sent_bytes()
    }

    /// Payload bytes received.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.rested_received_bytes.load(Relaxed) + self.lock().payload_received_bytes()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<TorrentCounters>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_a_rest_is_counted_after_it() {
        let tally = Tally::awake(2);
        tally.counters().shard(1).payload_sent_bytes.add(5);
        tally.counters().shard(0).payload_received_bytes.add(3);
        tally.rest();
        assert_eq!((tally.sent_bytes(), tally.received_bytes(), tally.counters().peers()), (5, 3, 0));
        tally.wake(2);
        tally.counters().shard(0).payload_sent_bytes.add(1);
        assert_eq!((tally.sent_bytes(), tally.received_bytes()), (6, 3));
        tally.rest();
        tally.rest();
        assert_eq!(tally.sent_bytes(), 6);
    }
}
