//! The limits of one peer's session, each with its reason.

use std::time::Duration;

/// A peer that says nothing for this long is gone. libtorrent and Transmission send keep-alives every 100 to 120 s.
pub const IDLE_LIMIT: Duration = Duration::from_secs(180);

/// A peer that has everything, like us, is let go after this long without a word; until then it may still be
/// checking its last pieces, or ask for hashes.
pub const SEED_LINGER: Duration = Duration::from_secs(30);

/// How long we say nothing before a keep-alive (BEP 3 speaks of two minutes).
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(100);

/// The same for peers that give up after ten seconds of silence (rqbit).
pub const IMPATIENT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(8);

/// Messages a second that ask for nothing and tell nothing new. A peer that sends more is a flood.
pub const NOISE_LIMIT_PER_S: u32 = 2_000;

/// Requests for v2 hashes in a second. libtorrent sends two or three for each piece, and 10 Gbit/s carry 19,000 pieces of 64 KiB.
pub const HASH_REQUESTS_LIMIT_PER_S: u32 = 60_000;

/// Requests taken back in a second: a full queue, four times over. A client does that when its download ends; one that
/// asks and takes back without end is a flood.
pub const CANCEL_LIMIT_PER_S: u32 = 8_000;

/// Requests outside the torrent that are forgiven. One may be a slip of a client's arithmetic; a hundred are a
/// broken client or worse.
pub const INVALID_REQUEST_LIMIT: u32 = 32;

/// Requests in a row that are refused before the peer counts as a flood: five times what it may queue, so that a
/// peer which was choked with a full queue, twice, is no flood yet.
pub const REFUSED_IN_ROW_LIMIT: u32 = 10_000;

/// Whole copies of the metadata that one peer is sent. A peer needs one; a second after a failed check is fair.
pub const METADATA_COPIES_LIMIT: u64 = 4;

/// Requests that one peer may have queued here; what the extension handshake says as `reqq` (BEP 10). libtorrent and
/// Transmission keep to 2,000 at most.
pub const REQUEST_QUEUE_LIMIT: usize = 2_000;
