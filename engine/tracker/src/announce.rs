//! What an announce says and what it is answered, whichever wire carries it. How it is spelt on the wire is for `http`
//! and `udp`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hash::InfoHash;

/// The twenty bytes that a peer chose to be known by (BEP 3, BEP 20).
pub type PeerId = [u8; 20];

/// Why a peer announces (BEP 3; `Paused` is BEP 21's partial seed).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Event {
    /// The interval has passed.
    #[default]
    None,
    /// The first announce of a session.
    Started,
    /// The download has just become complete. Never sent by a peer that was complete at its start.
    Completed,
    /// The peer leaves the swarm.
    Stopped,
    /// A partial seed: it has all that it wants, but not all there is.
    Paused,
}

/// One announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// Where the peer listens; 0 says that nobody can connect to it.
    pub port: u16,
    /// Payload bytes sent since `Started`.
    pub uploaded_bytes: u64,
    /// Payload bytes received since `Started`.
    pub downloaded_bytes: u64,
    /// Bytes that the peer still lacks; `None` if it does not say, as a magnet's user cannot before it has the metadata.
    pub left_bytes: Option<u64>,
    /// Why the peer announces.
    pub event: Event,
    /// How many peers it would like; `None` leaves it to the tracker.
    pub want_count: Option<u32>,
    /// A secret that stays the same while the peer's address may change (BEP 7, BEP 15); 0 is none.
    pub key: u32,
    /// Whether it takes peers as packed addresses (BEP 23). UDP always does.
    pub compact: bool,
    /// Whether peers in a list may come without their ids.
    pub no_peer_id: bool,
    /// What the tracker asked to be told again.
    pub tracker_id: Option<Vec<u8>>,
    /// An address that the peer says is its own. Ours ignores it: it would let anyone point a swarm at a victim.
    pub claimed_ip: Option<IpAddr>,
}

impl AnnounceRequest {
    /// Whether the peer has every byte.
    pub fn is_seed(&self) -> bool {
        self.left_bytes == Some(0)
    }

    /// Whether the peer has any use for seeds. One that begins and says that it lacks nothing may be a client with a
    /// magnet link that does not know the size yet (aria2 1.36 says `left=0` then).
    pub fn wants_seeds(&self) -> bool {
        !self.is_seed() || self.event == Event::Started
    }
}

/// A tracker's good answer to an announce.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceReply {
    /// Seconds until the next announce is wanted; `None` if the tracker does not say.
    pub interval_s: Option<u32>,
    /// Seconds before which no further announce is welcome.
    pub min_interval_s: Option<u32>,
    /// Seeds in the swarm.
    pub seed_count: Option<u32>,
    /// Leeches in the swarm.
    pub leech_count: Option<u32>,
    /// How often a download became complete.
    pub completed_count: Option<u32>,
    /// Some peers, in no order.
    pub peers: Vec<SocketAddr>,
    /// To be sent back with each later announce.
    pub tracker_id: Option<Vec<u8>>,
    /// A message for the user; the announce has worked all the same.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// A tracker's refusal, in its own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the user is told.
    pub reason: String,
    /// When to ask again.
    pub retry: Retry,
}

/// When a refused announce may be repeated (BEP 31, `retry in`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retry {
    /// The tracker does not say.
    #[default]
    Unsaid,
    /// After so many minutes.
    AfterMinutes(u32),
    /// Not at all.
    Never,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}
