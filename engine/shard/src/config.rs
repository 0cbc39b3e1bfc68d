//! What a shard is told at its start, and the link between it and control.

use crate::disk::DeviceBudgets;
use crate::handover::Neighbours;
use mesh::TorrentNames;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Partial, Seeded};
use swarm::{RateLimiter, Terms};
use wire::PeerId;

/// How one shard is set up.
#[derive(Clone)]
pub struct ShardConfig {
    /// Its number, from 0.
    pub shard: usize,
    /// The core that its executor is pinned to.
    pub core: usize,
    /// Where time starts, the same for all shards.
    pub start: Instant,
    /// Our id in handshakes.
    pub peer_id: PeerId,
    /// Our name and version, as peers are told.
    pub client: Arc<str>,
    /// Connections that this shard takes at most.
    pub connection_limit: usize,
    /// Connections that this shard takes from one address at most. Many users may stand behind one.
    pub connections_per_address: u32,
    /// Bytes that the kernel may hold for all of them together and has not sent yet.
    pub unsent_budget_bytes: usize,
    /// Where peers reach the engine.
    pub listen: Vec<SocketAddr>,
    /// The port among them that is told to peers that we dial, if there is one.
    pub listen_port: Option<u16>,
    /// Where the engine's node of the DHT listens, on UDP, if there is one.
    pub dht_port: Option<u16>,
    /// Local addresses to dial from, at most one of each family; the system chooses where none is given.
    pub dial_from: Vec<IpAddr>,
    /// Whether peers are told of each other (BEP 11); of those of private torrents never.
    pub pex: bool,
    /// Room for blocks that were received and are not written yet.
    pub write_buffer_bytes: usize,
    /// Files that this shard keeps open at most.
    pub open_file_limit: usize,
    /// The engine's upload limit, shared by all shards.
    pub upload: Arc<RateLimiter>,
    /// The engine's limit of what it fetches, shared by all shards.
    pub download: Arc<RateLimiter>,
    /// The reads that devices may have under way, shared by all shards.
    pub device_budgets: Arc<DeviceBudgets>,
    /// The names of all torrents, those at rest among them.
    pub names: Arc<TorrentNames>,
    /// The other shards of the engine, for connections that go on there.
    pub neighbours: Arc<Neighbours>,
    /// How long events gather before a turn while they come thick. Zero: every event has its turn at once.
    pub turn_delay: Duration,
    /// Whether sockets get references to the page cache instead of copies. Bytes of a file that is overwritten in place may
    /// then go out changed, as long as they have not left the machine.
    pub zero_copy: bool,
    /// Decides what is left to chance.
    pub seed: u64,
}

impl ShardConfig {
    /// The longest message that may have to be held until it is whole.
    pub(crate) fn longest_message_bytes(&self) -> usize {
        wire::Limits::seed(metainfo::limits::MAX_PIECES).longest_buffered()
    }
}

/// The link between this shard and control.
pub type ShardLink = mesh::Link<Arc<Seeded>, Arc<Terms>, Arc<Partial>>;
