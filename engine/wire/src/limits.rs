//! How long a message may be, by kind. Whatever is longer is refused from its prefix, before it is buffered.

use crate::hashes::MAX_HASHES_BYTES;

/// The largest block that is asked for or sent: 16 KiB is the custom, rtorrent takes up to 128 KiB.
pub const MAX_BLOCK_BYTES: u32 = 128 * 1024;

/// The longest extended message (BEP 10), its id included: a metadata piece of 16 KiB with its dictionary, or a
/// large `ut_pex`, with room to spare.
pub const MAX_EXTENDED_BYTES: u32 = 32 * 1024;

/// The longest body of a message whose id we do not know. It is skipped, never buffered.
pub const MAX_UNKNOWN_BYTES: u32 = 256 * 1024;

/// What to do with the body of a PIECE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceBody {
    /// Wait for all of it and hand it out whole.
    Whole,
    /// Report the header alone: a seed asked for nothing and buffers nothing.
    Unwanted,
}

/// The longest bitfield that is passed over while the piece count is unknown: 2^22 pieces, the most that a torrent may
/// have.
pub const MAX_BITFIELD_BYTES: u32 = 512 * 1024;

/// The bounds that [`crate::parse`] holds a peer to. All are body lengths: without the four bytes of the prefix
/// and without the message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The torrent's piece count: a bitfield has exactly this many bits, rounded up to whole bytes. `None` as long as
    /// the metadata is not there: a bitfield of up to [`MAX_BITFIELD_BYTES`] is then passed over.
    pub piece_count: Option<u32>,
    /// How PIECE is handled.
    pub piece_body: PieceBody,
    /// The most data in one PIECE.
    pub block_bytes: u32,
    /// The longest extended message, with its extended id.
    pub extended_bytes: u32,
    /// The longest message of an unknown kind.
    pub unknown_bytes: u32,
}

impl Limits {
    /// The limits of a seed: PIECE is unwanted, the rest as the constants of this crate say.
    pub const fn seed(piece_count: u32) -> Limits {
        Limits {
            piece_count: Some(piece_count),
            piece_body: PieceBody::Unwanted,
            block_bytes: MAX_BLOCK_BYTES,
            extended_bytes: MAX_EXTENDED_BYTES,
            unknown_bytes: MAX_UNKNOWN_BYTES,
        }
    }

    /// The limits of a leech: as a seed's, but PIECE is handed out whole.
    pub const fn leech(piece_count: u32) -> Limits {
        Limits { piece_body: PieceBody::Whole, ..Limits::seed(piece_count) }
    }

    /// The limits of one who comes with a magnet link: neither pieces nor bitfields are of use yet.
    pub const fn without_metadata() -> Limits {
        Limits { piece_count: None, ..Limits::seed(0) }
    }

    /// Bytes of bits in a bitfield of this torrent; the most that are taken while nobody knows.
    pub const fn bitfield_bytes(&self) -> u32 {
        match self.piece_count {
            Some(count) => count.div_ceil(8),
            None => MAX_BITFIELD_BYTES,
        }
    }

    /// The most bytes that a receive buffer must hold for one message, prefix included.
    pub fn longest_buffered(&self) -> usize {
        let piece = match self.piece_body {
            PieceBody::Whole => self.block_bytes.saturating_add(8),
            PieceBody::Unwanted => 8,
        };
        let bitfield = if self.piece_count.is_some() { self.bitfield_bytes() } else { 0 };
        5 + bitfield.max(self.extended_bytes).max(MAX_HASHES_BYTES).max(piece) as usize
    }

    /// The longest message of any kind, its id included: what the prefix alone is judged by.
    pub(crate) fn longest(&self) -> u32 {
        let piece = self.block_bytes.saturating_add(8);
        let body = self.bitfield_bytes().max(self.extended_bytes).max(self.unknown_bytes);
        body.max(MAX_HASHES_BYTES).max(piece).saturating_add(1)
    }
}
