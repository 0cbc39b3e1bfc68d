//! Checked indices into a torrent's piece space. A value of these types was compared with the layout that made it.

/// The unit of request and transfer, and of the v2 merkle leaves: 16 KiB (BEP 3, BEP 52).
pub const BLOCK_SIZE: u32 = 16 * 1024;

/// A piece that exists in its torrent. Made only by [`crate::FileLayout::piece`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(pub(crate) u32);

impl PieceIndex {
    /// The index as it appears on the wire.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A file of the layout (pad files included), counted from 0. Made only by [`crate::FileLayout`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileIndex(pub(crate) u32);

impl FileIndex {
    /// The index as a plain number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Bytes of one piece that exist in its torrent and may be asked for. Made only by [`crate::FileLayout::block`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRange {
    pub(crate) piece: PieceIndex,
    pub(crate) begin: u32,
    pub(crate) size: u32,
}

impl BlockRange {
    /// The piece that the bytes belong to.
    pub fn piece(self) -> PieceIndex {
        self.piece
    }

    /// Where the bytes begin within the piece.
    pub fn begin(self) -> u32 {
        self.begin
    }

    /// How many bytes; never zero.
    pub fn size(self) -> u32 {
        self.size
    }
}

/// Where some bytes of the piece space live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// `size` bytes of `file` from `offset`.
    File {
        /// Which file of the layout.
        file: FileIndex,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        size: u64,
    },
    /// `size` zero bytes that no file holds: a pad.
    Zeros {
        /// How many bytes.
        size: u64,
    },
}
