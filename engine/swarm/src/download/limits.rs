//! The limits of one torrent's download, each with its reason.

use std::time::Duration;

/// Peers of one torrent that are asked for blocks; those beyond are known to the session alone and never asked.
pub const PEERS_LIMIT: usize = 2_000;

/// Pieces under way at a time, however much room there is: the books of each cost some hundred bytes.
pub const OPEN_PIECES_LIMIT: usize = 4_096;

/// Requests that one peer is sent at most, whatever it allows: libtorrent and Transmission accept 2,000.
pub const PIPELINE_LIMIT: u32 = 2_000;

/// What a peer allows that does not say (BEP 10 `reqq`); libtorrent assumes as much.
pub const UNSAID_REQQ: u32 = 250;

/// What BitComet takes before it drops requests, whatever it says.
pub const BITCOMET_REQQ: u32 = 50;

/// Requests of a peer whose rate is not known yet.
pub const FIRST_DEPTH: u32 = 16;

/// The fewest requests of a peer that sends, however slowly: one on its way, one being sent, and two to choose from.
pub const LEAST_DEPTH: u32 = 4;

/// The first requests to a web seed: a range of 4 MiB is worth a round trip.
pub const FIRST_WEB_SEED_DEPTH: u32 = 256;

/// Requests beyond bandwidth x delay: enough for so much time, since peers send in bursts ...
pub const SLACK_TIME: Duration = Duration::from_secs(1);

/// ... but no more blocks than these, 8 MiB, which a fast peer works off while we look away.
pub const SLACK_BLOCKS: u32 = 512;

/// A request that is older than this is asked of somebody else, however slow its peer; and a peer that has sent nothing for
/// so long is snubbing us (the customary minute).
pub const SNUB_TIME: Duration = Duration::from_secs(60);

/// The same for a peer that has never sent a block.
pub const UNPROVEN_PATIENCE: Duration = Duration::from_secs(20);

/// No request is late before this: a peer may pause, a disk may stall.
pub const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// How long requests wait for their REJECT once a peer with the fast extension has choked us.
pub const REJECT_PATIENCE: Duration = Duration::from_secs(10);

/// Requests of one peer that were given up and may still be answered.
pub const LAPSED_LIMIT: usize = 2_048;

/// Blocks that a peer may send without having been asked before the connection ends: two full pipelines, which a cancel or a
/// choke may have crossed.
pub const UNASKED_LIMIT: u32 = 2 * PIPELINE_LIMIT;

/// How often a peer may say anew which pieces it has: some say it twice or late, and each time costs a look at every piece.
pub const LISTS_LIMIT: u32 = 32;

/// Peers that are asked for the same block when all blocks are asked for.
pub const ENDGAME_PEERS: usize = 3;

/// By what factor, and by how many seconds more, another peer must take longer before a block is asked for a second time at the
/// end ...
pub const END_GAIN: (f64, f64) = (2.0, 0.1);

/// ... and where all open pieces wait for some peers, and there is no room for others.
pub const ROOM_GAIN: (f64, f64) = (4.0, 2.0);

/// A peer helps others with so much as it sends in this time, beyond its delay ...
pub const HELP_TIME: Duration = Duration::from_millis(250);

/// ... and with so many blocks at least.
pub const LEAST_HELP: usize = 2;

/// What a peer that has proved nothing yet is thought to take for a block.
pub const UNPROVEN_WAIT_S: f64 = 5.0;

/// How long a peer that has proved nothing yet has for a block before others are asked for it, too.
pub const HELP_AFTER: Duration = Duration::from_secs(1);

/// A peer that fetches a whole piece in this time takes pieces by itself.
pub const WHOLE_PIECE_TIME: Duration = Duration::from_secs(5);

/// Pieces fetched at random before the rarest come first, so that there is soon something to give.
pub const RANDOM_FIRST_PIECES: u32 = 4;

/// How far ahead of the first missing piece a sequential download fetches ...
pub const SEQUENTIAL_WINDOW_BYTES: u64 = 16 << 20;

/// ... and how many pieces at least.
pub const SEQUENTIAL_WINDOW_PIECES: u32 = 4;

/// ALLOWED FAST pieces that are kept of one peer; ten are customary (BEP 6).
pub const ALLOWED_FAST_LIMIT: usize = 32;

/// SUGGEST PIECE messages that are kept of one peer.
pub const SUGGESTED_LIMIT: usize = 16;

/// Pieces of one peer that it refused and that are remembered.
pub const REFUSED_LIMIT: usize = 64;

/// How long a peer is not asked for a piece that it refused although it does not choke us. Transmission refuses what is one
/// request too many for it, and would give it a moment later; whoever has dropped the piece refuses it again, and is left alone
/// for twice as long each time ...
pub const FIRST_REFUSED_TIME: Duration = Duration::from_secs(1);

/// ... but no longer than this; and after so long without another refusal it begins anew.
pub const REFUSED_TIME: Duration = Duration::from_secs(30);

/// How long a piece of a failed check waits for a peer that is not under suspicion; half of it, for one that has sent something.
pub const PAROLE_PATIENCE: Duration = Duration::from_secs(5);

/// Failed checks in which an address had a part before it is banned although nothing is proved.
pub const STRIKES_LIMIT: u8 = 3;

/// Addresses whose failed checks are remembered.
pub const STRUCK_ADDRESSES_LIMIT: usize = 1_024;

/// How long a peer has to answer a hash request.
pub const HASHES_PATIENCE: Duration = Duration::from_secs(15);

/// Peers that are asked for the hashes of one piece before it is fetched again as a v1 piece would be.
pub const HASHES_ASKED_LIMIT: u8 = 3;

/// A piece that nobody works at for this long may be given up if its room is needed.
pub const STALE_PIECE_TIME: Duration = Duration::from_secs(30);

/// Blocks that may be under way before the owner says how many: 16 MiB.
pub const FIRST_WRITE_ROOM: u32 = 1_024;
