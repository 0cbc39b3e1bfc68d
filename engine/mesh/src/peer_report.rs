//! What a shard tells of one of its peers.

use std::net::SocketAddr;
use std::time::Duration;

/// Peers in one shard's report of one torrent at most; of the others the report says how many there are.
pub const PEERS_PER_REPORT: usize = 512;

/// Who made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Incoming,
    /// We.
    Outgoing,
    /// We, to a web seed: the address only stands for it.
    WebSeed,
}

/// A peer at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerReport {
    /// Its address, in the family that it came by.
    pub address: SocketAddr,
    /// The name and version that it claims, without control characters.
    pub client: String,
    /// Who made the connection.
    pub direction: Direction,
    /// The shard that has it.
    pub shard: usize,
    /// How long it has been connected.
    pub connected: Duration,
    /// Bytes of blocks that it was sent.
    pub sent_bytes: u64,
    /// Bytes of blocks that came from it.
    pub received_bytes: u64,
    /// Bytes of blocks a second that it was sent, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Bytes of blocks a second that came from it, over the last seconds.
    pub download_bytes_per_s: u64,
    /// Pieces that it says to have.
    pub have_pieces: u32,
    /// Pieces of the torrent.
    pub total_pieces: u32,
    /// It wants something of us.
    pub is_interested: bool,
    /// We refuse its requests.
    pub is_choked: bool,
    /// It refuses ours; false while we want nothing.
    pub chokes_us: bool,
    /// It was asked for blocks and has long sent none.
    pub is_snubbed: bool,
    /// It is told of our pieces one by one.
    pub is_super_seeded: bool,
}
