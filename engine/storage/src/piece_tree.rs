//! What v2 hashes of one piece (BEP 52): which of its bytes are leaves, and what their root is. Needs a layout in which
//! files start at piece boundaries.

use hash::Sha256Digest;
use metainfo::merkle::{piece_root, root_of_leaves};
use metainfo::{Extent, FileLayout, PieceIndex};

/// The tree over one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceTree {
    /// The leading bytes that belong to a file: what v2 hashes. The rest is pad.
    file_bytes: u32,
    /// Whether those are all bytes of the file.
    is_whole_file: bool,
}

impl PieceTree {
    pub(crate) fn of(layout: &FileLayout, piece: PieceIndex) -> PieceTree {
        match layout.extents(layout.whole_piece(piece)).next() {
            Some(Extent::File { file, size, .. }) => {
                PieceTree { file_bytes: size as u32, is_whole_file: size == layout.file(file).length() }
            }
            Some(Extent::Zeros { .. }) | None => PieceTree { file_bytes: 0, is_whole_file: false },
        }
    }

    /// How many of the `size` bytes from `begin` on are hashed; they come first.
    pub(crate) fn file_bytes_in(&self, begin: u32, size: u32) -> u32 {
        self.file_bytes.saturating_sub(begin).min(size)
    }

    /// Whether the piece is one of several of its file, and all of it is hashed.
    pub(crate) fn is_full(&self, piece_length: u32) -> bool {
        self.file_bytes == piece_length && !self.is_whole_file
    }

    /// The piece's entry in the piece layer. A file of one piece or less has a tree just large enough for it.
    pub(crate) fn root(&self, leaves: &[Sha256Digest], piece_length: u32) -> Sha256Digest {
        match leaves.is_empty() {
            true => Sha256Digest::default(),
            false if self.is_whole_file => root_of_leaves(leaves),
            false => piece_root(leaves, piece_length),
        }
    }
}
