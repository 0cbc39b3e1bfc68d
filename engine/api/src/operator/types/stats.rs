//! The service as a whole, as the operator sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The service at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Since the start.
    pub uptime_s: u64,
    /// How many torrents are in each state.
    pub torrents: BTreeMap<String, u64>,
    /// How many releases are published.
    pub published_count: u64,
    /// Connections that have a torrent.
    pub peer_count: u64,
    /// Peers that want something of us.
    pub interested_count: u64,
    /// Peers that are served.
    pub unchoked_count: u64,
    /// Payload sent, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Payload received, over the last seconds.
    pub download_bytes_per_s: u64,
    /// Payload sent since the start.
    pub uploaded_bytes: u64,
    /// Payload received since the start.
    pub downloaded_bytes: u64,
    /// Payload sent in all times, by the torrents that are there.
    pub uploaded_ever_bytes: u64,
    /// Payload received in all times, by the torrents that are there.
    pub downloaded_ever_bytes: u64,
    /// Bytes read from disk for blocks that were not in the page cache, since the start.
    pub disk_read_bytes: u64,
    /// The upload limit in force, schedules applied.
    pub upload_limit_bytes_per_s: Option<u64>,
    /// The download limit in force, schedules applied.
    pub download_limit_bytes_per_s: Option<u64>,
    /// Each shard.
    pub shards: Vec<ShardRow>,
    /// Connections that ended since the start, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Our own tracker, if there is one.
    pub tracker: Option<TrackerServed>,
    /// Nodes in the DHT's routing table, if it is on.
    pub dht_node_count: Option<u64>,
    /// HTTP requests answered and refused since the start, by what they were ([`HttpStatus`](crate::server::HttpStatus)).
    pub http: BTreeMap<String, u64>,
    /// What is wrong with the service as a whole, a line each; empty if nothing is.
    pub problems: Vec<String>,
}

/// One shard.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShardRow {
    /// Connections, those without a torrent yet included.
    pub connection_count: u64,
    /// Payload sent since the start.
    pub uploaded_bytes: u64,
    /// Turns that began late.
    pub late_turn_count: u64,
}

/// Our own tracker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrackerServed {
    /// Torrents in its table.
    pub torrent_count: u64,
    /// Peers in its table.
    pub peer_count: u64,
    /// Announces answered since the start.
    pub announce_count: u64,
    /// Scrapes answered since the start.
    pub scrape_count: u64,
    /// Requests refused since the start.
    pub refused_count: u64,
}

/// Which program answers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VersionInfo {
    /// `spillway`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started_at_s: i64,
}
