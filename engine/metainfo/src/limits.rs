//! What a torrent may be at most. Real torrents stay far below; a hostile one is refused before it costs memory or
//! time.

/// The largest `.torrent` file, or `info` dictionary, that is read: 64 MiB. The largest seen in the wild are about 30 MB
/// (libtorrent caps metadata near there).
pub const MAX_TORRENT_BYTES: usize = 64 << 20;

/// How deep lists and dictionaries may nest; a v2 tree needs one level a directory.
pub const MAX_DEPTH: usize = 200;

/// The most files, pads included.
pub const MAX_FILES: usize = 2_000_000;

/// The most pieces: 80 MiB of v1 hashes would not fit [`MAX_TORRENT_BYTES`], and a bitfield stays at 512 KiB.
pub const MAX_PIECES: u32 = 1 << 22;

/// The longest piece: 512 MiB.
pub const MAX_PIECE_LENGTH: u32 = 512 << 20;

/// The longest piece of a torrent made here: 128 MiB, beyond which libtorrent answers no hash requests for its leaves.
pub const MAX_CREATED_PIECE_LENGTH: u32 = 128 << 20;

/// The shortest v2 piece: one merkle leaf of 16 KiB (BEP 52).
pub const MIN_V2_PIECE_LENGTH: u32 = 16 << 10;

/// The largest piece space: 2^53 bytes, above which JSON readers lose digits.
pub const MAX_PIECE_SPACE_BYTES: u64 = 1 << 53;

/// The most trackers of all tiers that are kept.
pub const MAX_TRACKERS: usize = 256;

/// The most web seeds that are kept.
pub const MAX_WEB_SEEDS: usize = 256;

/// The longest tracker or web-seed URL that is kept.
pub const MAX_URL_BYTES: usize = 2048;

/// The longest magnet link that is read.
pub const MAX_MAGNET_BYTES: usize = 64 << 10;

/// The most peers, and the most file ranges, in a magnet link.
pub const MAX_MAGNET_PARTS: usize = 1000;
