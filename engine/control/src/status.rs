//! What the engine looks like from outside, read from the shards' counters without stopping any of them.

use crate::tracker_service::ServiceStatus;
use mesh::{DropReason, ShardCounters, TorrentId};
use std::time::Duration;
use swarm::RateEstimator;
use tracker::client::TrackerStatus;

/// The engine at one moment.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Connections that have a torrent.
    pub peers: u64,
    /// Peers that want something.
    pub interested: u64,
    /// Peers that may ask.
    pub unchoked: u64,
    /// Payload bytes sent since the start.
    pub payload_sent_bytes: u64,
    /// Payload bytes a second, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Bytes read from disk for blocks that were not in the page cache.
    pub disk_read_bytes: u64,
    /// Connections that ended, by reason; reasons that never occurred are left out.
    pub dropped: Vec<(DropReason, u64)>,
    /// Each shard.
    pub shards: Vec<ShardStatus>,
    /// Each torrent.
    pub torrents: Vec<TorrentStatus>,
    /// Each line of announces.
    pub trackers: Vec<TrackerStatus>,
    /// Our own tracker, if there is one.
    pub own_tracker: Option<ServiceStatus>,
    /// Why the engine cannot go on, if so.
    pub fatal: Option<String>,
}

/// One shard at one moment.
#[derive(Debug, Clone, Default)]
pub struct ShardStatus {
    /// Connections, those without a torrent yet included.
    pub connections: u64,
    /// Payload bytes sent since the start.
    pub payload_sent_bytes: u64,
    /// Blocks sent since the start.
    pub blocks_sent: u64,
    /// System calls that carried them.
    pub gathered_writes: u64,
    /// Turns that began late.
    pub late_turns: u64,
}

/// One torrent at one moment.
#[derive(Debug, Clone)]
pub struct TorrentStatus {
    /// Its number.
    pub id: TorrentId,
    /// Its name.
    pub name: String,
    /// Why it is not served any more, if so.
    pub error: Option<String>,
    /// Its peers.
    pub peers: u64,
    /// Payload bytes sent since the start.
    pub payload_sent_bytes: u64,
}

impl Status {
    /// Adds what one shard counts.
    pub(crate) fn add_shard(&mut self, counters: &ShardCounters) {
        self.peers += counters.peers.get();
        self.interested += counters.interested.get();
        self.unchoked += counters.unchoked.get();
        self.payload_sent_bytes += counters.payload_sent_bytes.get();
        self.disk_read_bytes += counters.disk_read_bytes.get();
        for reason in DropReason::ALL {
            let count = counters.dropped(reason);
            match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, total)) => *total += count,
                None if count > 0 => self.dropped.push((reason, count)),
                None => {}
            }
        }
        self.shards.push(ShardStatus {
            connections: counters.connections.get(),
            payload_sent_bytes: counters.payload_sent_bytes.get(),
            blocks_sent: counters.blocks_sent.get(),
            gathered_writes: counters.gathered_writes.get(),
            late_turns: counters.late_turns.get(),
        });
    }
}

/// Turns totals into a rate.
#[derive(Debug, Default)]
pub(crate) struct UploadMeter {
    estimator: RateEstimator,
    last_total_bytes: u64,
}

impl UploadMeter {
    pub(crate) fn handle_total(&mut self, now: Duration, total_bytes: u64) {
        self.estimator.add(now, total_bytes.saturating_sub(self.last_total_bytes));
        self.last_total_bytes = total_bytes;
    }

    pub(crate) fn rate(&mut self, now: Duration) -> u64 {
        self.estimator.rate(now)
    }
}
