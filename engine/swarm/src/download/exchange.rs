//! What crosses between a download and its owner: what the owner tells of peers and pieces, what it is told to do.

use crate::piece_set::PieceSet;
use metainfo::{BlockRange, PieceIndex};
use std::net::{IpAddr, SocketAddr};

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The pieces.
    pub wanted: PieceSet,
    /// In order, as far as peers have it; otherwise rarest first.
    pub sequential: bool,
}

/// What a peer is like, known from its handshake.
#[derive(Debug, Clone, Copy)]
pub struct PeerTraits {
    /// Where it is.
    pub address: SocketAddr,
    /// What it calls itself.
    pub peer_id: wire::PeerId,
    /// Both sides have the fast extension (BEP 6).
    pub fast: bool,
    /// It answers hash requests (BEP 52).
    pub v2: bool,
    /// It stands for a web seed, which likes long rows of blocks.
    pub is_web_seed: bool,
}

/// What to do with the body of a PIECE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// It is wanted: keep it, then call [`crate::Download::handle_block`] or [`crate::Download::handle_lost_block`].
    Take(BlockRange),
    /// Nobody asked for it, or it is there: skip it. Counted as waste.
    Discard,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is kept. A copy of it that was kept before, if there is one, is void.
    Kept,
    /// It is kept, and with it the piece is whole and must be verified: see [`crate::Download::handle_verified`].
    PieceWhole(PieceIndex),
    /// It was wanted when it began, but is no longer: throw it away. Counted as waste.
    Unwanted,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceVerdict<'a> {
    /// The piece is right, and written.
    Good {
        /// A fingerprint of each block, if [`crate::Download::wants_fingerprints`]; otherwise nothing.
        fingerprints: &'a [u64],
    },
    /// It is not.
    Bad {
        /// The numbers of the blocks that are proved bad, where leaf hashes were at hand (v2).
        bad_blocks: Option<&'a [u32]>,
        /// A fingerprint of each block, which need not be cryptographic but must be keyed or hard to forge, such as the
        /// first bytes of its SHA-1.
        fingerprints: &'a [u64],
    },
}

/// Why a peer is to be banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanReason {
    /// It alone sent a piece that failed.
    SpoiledPiece,
    /// A block of it is proved bad.
    BadBlock,
    /// It had a part in too many pieces that failed.
    Strikes,
}

/// Why a connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// It sends blocks that nobody asked for.
    Unasked,
    /// It says anew which pieces it has, again and again.
    Lists,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadAction<P> {
    /// Say INTERESTED.
    Interested {
        /// To whom.
        peer: P,
    },
    /// Say NOT INTERESTED.
    NotInterested {
        /// To whom.
        peer: P,
    },
    /// Say CANCEL.
    Cancel {
        /// To whom.
        peer: P,
        /// The block.
        block: BlockRange,
    },
    /// Ask for the leaf hashes of a piece that failed (BEP 52), then call [`crate::Download::handle_leaves`] or
    /// [`crate::Download::handle_hashes_refused`].
    RequestHashes {
        /// Whom.
        peer: P,
        /// The piece, whose blocks are to be kept until then.
        piece: PieceIndex,
    },
    /// The peer sends bad data: end its connection, refuse its address.
    Ban {
        /// The connection, if it still stands.
        peer: Option<P>,
        /// The address.
        address: IpAddr,
        /// Why.
        reason: BanReason,
    },
    /// End the connection.
    Drop {
        /// Whose.
        peer: P,
        /// Why.
        cause: DropCause,
    },
    /// The piece is given up since its room is needed: throw away what is there of it.
    Abandon {
        /// The piece.
        piece: PieceIndex,
    },
    /// There is room in the peer's pipeline: call [`crate::Download::poll_requests`].
    Wanted {
        /// Whose.
        peer: P,
    },
}
