//! Counters that one shard writes and anyone reads. Padded to a cache line a shard, so that counting costs no
//! traffic between cores; relaxed, so that it costs no fence; a reader may see one counter a moment before another.

use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only for the one writer: a plain load and store, not an atomic addition.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away. Only for the one writer.
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Makes it `n`. Only for the one writer.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a connection ended or was never taken up. Closed, so that every end is counted under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum DropReason {
    /// The peer closed it.
    ClosedByPeer,
    /// A network error.
    Network,
    /// The handshake was not BitTorrent's.
    BadHandshake,
    /// The handshake did not come in time.
    HandshakeTimeout,
    /// It named a torrent that is not served here.
    UnknownTorrent,
    /// It named a torrent that it may not have yet.
    Embargoed,
    /// It was ourselves.
    SelfConnection,
    /// A message broke the protocol.
    BadMessage,
    /// Requests outside the torrent, too many of them.
    BadRequests,
    /// Requests or messages without end and without taking what they asked for.
    Flood,
    /// Pieces that nobody asked for.
    UnwantedPiece,
    /// Nothing was heard for too long.
    Idle,
    /// It asked and did not take the answer.
    Stalled,
    /// It has everything and so have we.
    BothSeeds,
    /// It could not be reached.
    Unreachable,
    /// It is connected twice.
    Duplicate,
    /// It sent wrong data.
    Banned,
    /// The shard or the address had as many connections as it may.
    TooManyConnections,
    /// The torrent was withdrawn or failed.
    TorrentGone,
    /// Its torrent was at rest and could not be loaded.
    NotLoaded,
    /// Its torrent was at rest and was not loaded in time.
    LoadTimeout,
    /// As many connections waited for torrents to be loaded as may.
    TooManyParked,
    /// The engine stopped.
    Stopping,
}

impl DropReason {
    /// All of them, in the order of their counters.
    pub const ALL: [DropReason; 23] = [
        DropReason::ClosedByPeer,
        DropReason::Network,
        DropReason::BadHandshake,
        DropReason::HandshakeTimeout,
        DropReason::UnknownTorrent,
        DropReason::Embargoed,
        DropReason::SelfConnection,
        DropReason::BadMessage,
        DropReason::BadRequests,
        DropReason::Flood,
        DropReason::UnwantedPiece,
        DropReason::Idle,
        DropReason::Stalled,
        DropReason::BothSeeds,
        DropReason::Unreachable,
        DropReason::Duplicate,
        DropReason::Banned,
        DropReason::TooManyConnections,
        DropReason::TorrentGone,
        DropReason::NotLoaded,
        DropReason::LoadTimeout,
        DropReason::TooManyParked,
        DropReason::Stopping,
    ];

    /// A name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::ClosedByPeer => "closed_by_peer",
            DropReason::Network => "network",
            DropReason::BadHandshake => "bad_handshake",
            DropReason::HandshakeTimeout => "handshake_timeout",
            DropReason::UnknownTorrent => "unknown_torrent",
            DropReason::Embargoed => "embargoed",
            DropReason::SelfConnection => "self_connection",
            DropReason::BadMessage => "bad_message",
            DropReason::BadRequests => "bad_requests",
            DropReason::Flood => "flood",
            DropReason::UnwantedPiece => "unwanted_piece",
            DropReason::Idle => "idle",
            DropReason::Stalled => "stalled",
            DropReason::BothSeeds => "both_seeds",
            DropReason::Unreachable => "unreachable",
            DropReason::Duplicate => "duplicate",
            DropReason::Banned => "banned",
            DropReason::TooManyConnections => "too_many_connections",
            DropReason::TorrentGone => "torrent_gone",
            DropReason::NotLoaded => "not_loaded",
            DropReason::LoadTimeout => "load_timeout",
            DropReason::TooManyParked => "too_many_parked",
            DropReason::Stopping => "stopping",
        }
    }
}

/// One shard's counters.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// Payload bytes that the kernel accepted: the data of `piece` messages, without their headers.
    pub payload_sent_bytes: Counter,
    /// All bytes that the kernel accepted.
    pub sent_bytes: Counter,
    /// All bytes received.
    pub received_bytes: Counter,
    /// Blocks whose last byte the kernel accepted.
    pub blocks_sent: Counter,
    /// Gathered writes that carried blocks.
    pub gathered_writes: Counter,
    /// Connections taken up.
    pub accepted: Counter,
    /// Connections that went on to another shard.
    pub handed_over: Counter,
    /// Connections now.
    pub connections: Counter,
    /// Connections now that wait for their torrent to be loaded.
    pub parked: Counter,
    /// Connections now whose handshake is done.
    pub peers: Counter,
    /// Peers now that want something.
    pub interested: Counter,
    /// Peers now that may ask.
    pub unchoked: Counter,
    /// Requests refused: out of range, over the queue's limit, choked.
    pub requests_refused: Counter,
    /// Messages of unknown kinds, skipped.
    pub unknown_messages: Counter,
    /// Blocks that waited for the disk.
    pub cold_blocks: Counter,
    /// Bytes read from disk for cold blocks.
    pub disk_read_bytes: Counter,
    /// Microseconds in which the shard was at work, not asleep.
    pub busy_us: Counter,
    /// Turns of the shard that took so long that the next one began late.
    pub late_turns: Counter,
    /// Connections that ended, by reason.
    dropped: [Counter; DropReason::ALL.len()],
}

impl ShardCounters {
    /// Counts the end of a connection.
    pub fn count_drop(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    /// How many connections ended for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].get()
    }
}

/// What one shard did for one torrent.
#[derive(Debug, Default)]
pub struct TorrentShardCounters {
    /// Payload bytes that the kernel accepted.
    pub payload_sent_bytes: Counter,
    /// Peers now.
    pub peers: Counter,
    /// Payload bytes that came and were asked for.
    pub payload_received_bytes: Counter,
    /// Payload bytes that came and were of no use: late, twice, or of a piece that failed its hash.
    pub wasted_bytes: Counter,
    /// Pieces verified and written.
    pub verified_pieces: Counter,
    /// Bytes of them.
    pub verified_bytes: Counter,
    /// Pieces that failed their hash.
    pub failed_pieces: Counter,
    /// Bytes that are wanted and not yet verified and written; of a torrent that is being fetched.
    pub left_bytes: Counter,
    /// Addresses of peers that are known and not connected.
    pub known_peers: Counter,
}

/// What all shards did for one torrent.
#[derive(Debug)]
pub struct TorrentCounters {
    shards: Box<[CachePadded<TorrentShardCounters>]>,
}

impl TorrentCounters {
    /// Zeros for `shard_count` shards.
    pub fn new(shard_count: usize) -> TorrentCounters {
        TorrentCounters { shards: (0..shard_count).map(|_| CachePadded::default()).collect() }
    }

    /// The part that shard number `shard` writes.
    pub fn shard(&self, shard: usize) -> &TorrentShardCounters {
        &self.shards[shard]
    }

    /// Payload bytes sent by all shards.
    pub fn payload_sent_bytes(&self) -> u64 {
        self.sum(|shard| &shard.payload_sent_bytes)
    }

    /// Payload bytes that came and were asked for.
    pub fn payload_received_bytes(&self) -> u64 {
        self.sum(|shard| &shard.payload_received_bytes)
    }

    /// Payload bytes that came and were of no use.
    pub fn wasted_bytes(&self) -> u64 {
        self.sum(|shard| &shard.wasted_bytes)
    }

    /// Pieces verified and written since the fetch began.
    pub fn verified_pieces(&self) -> u64 {
        self.sum(|shard| &shard.verified_pieces)
    }

    /// Bytes verified and written since the fetch began.
    pub fn verified_bytes(&self) -> u64 {
        self.sum(|shard| &shard.verified_bytes)
    }

    /// Pieces that failed their hash.
    pub fn failed_pieces(&self) -> u64 {
        self.sum(|shard| &shard.failed_pieces)
    }

    /// Bytes that are wanted and lacking, once the home shard has begun.
    pub fn left_bytes(&self) -> u64 {
        self.sum(|shard| &shard.left_bytes)
    }

    /// Addresses of peers that are known and not connected.
    pub fn known_peers(&self) -> u64 {
        self.sum(|shard| &shard.known_peers)
    }

    /// Peers on all shards.
    pub fn peers(&self) -> u64 {
        self.sum(|shard| &shard.peers)
    }

    fn sum(&self, counter: impl Fn(&TorrentShardCounters) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_a_counter_of_its_own() {
        let counters = ShardCounters::default();
        for (n, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n, "{reason:?} stands where its number says");
            (0..=n).for_each(|_| counters.count_drop(reason));
        }
        for (n, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(counters.dropped(reason), n as u64 + 1);
        }
    }
}
