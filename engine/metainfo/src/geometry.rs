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

/// Blocks of one piece that follow each other and are equally long, the way peers ask for a piece. Made of blocks that
/// exist, so each of it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRun {
    first: BlockRange,
    /// Never zero.
    count: u32,
}

impl BlockRun {
    /// A run of one block.
    pub fn new(block: BlockRange) -> BlockRun {
        BlockRun { first: block, count: 1 }
    }

    /// Appends the block if it is the next of the run.
    pub fn push(&mut self, block: BlockRange) -> bool {
        let is_next = self.first.piece == block.piece
            && self.first.size == block.size
            && u64::from(self.first.begin) + u64::from(self.count) * u64::from(self.first.size)
                == u64::from(block.begin);
        self.count += u32::from(is_next);
        is_next
    }

    /// How many blocks; never zero.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The first block.
    pub fn first(self) -> BlockRange {
        self.first
    }

    /// The blocks in their order.
    pub fn blocks(self) -> impl Iterator<Item = BlockRange> {
        (0..self.count).map(move |n| self.block(n))
    }

    /// Where in the run the block stands.
    pub fn position(self, block: BlockRange) -> Option<u32> {
        let offset = block.begin.checked_sub(self.first.begin)?;
        let n = offset / self.first.size;
        (n < self.count && self.block(n) == block).then_some(n)
    }

    /// The run without its first `count` blocks; `None` if nothing is left.
    pub fn skip(self, count: u32) -> Option<BlockRun> {
        let left = self.count.checked_sub(count).filter(|left| *left > 0)?;
        Some(BlockRun { first: self.block(count), count: left })
    }

    /// The first `count` blocks of the run, or all of it; `None` if that is nothing.
    pub fn take(self, count: u32) -> Option<BlockRun> {
        (count > 0).then_some(BlockRun { count: self.count.min(count), ..self })
    }

    fn block(self, n: u32) -> BlockRange {
        BlockRange { begin: self.first.begin + n * self.first.size, ..self.first }
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
