//! Files of one torrent that are one file on disk under several names, as hard links are: read once, their hashes copied.

use std::collections::BTreeMap;

use metainfo::{Extent, FileIndex, FileLayout, PieceIndex};

use super::known::piece_that_begins_at;
use crate::content::has_bytes;
use crate::identity::FileIdentity;
use crate::pass::{Digests, Found};

/// Hashes that are those of others, once these are there.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// For each file the one before it that is the same, by file index.
    first: Vec<Option<FileIndex>>,
    /// Pieces to copy the SHA-1 to and from.
    v1: Vec<(PieceIndex, PieceIndex)>,
    /// Pieces to copy the merkle root to and from.
    v2: Vec<(PieceIndex, PieceIndex)>,
}

impl Twins {
    /// Finds them by device and inode. `states` has the state of each file.
    pub(super) fn find(layout: &FileLayout, states: &[Option<FileIdentity>], digests: Digests) -> Twins {
        let mut seen = BTreeMap::new();
        let mut first = vec![None; layout.files().len()];
        for (file, state) in layout.file_indices().zip(states) {
            let Some(state) = state.as_ref().filter(|_| has_bytes(layout.file(file))) else { continue };
            match seen.entry((state.device, state.inode)) {
                std::collections::btree_map::Entry::Occupied(known) => first[file.get() as usize] = Some(*known.get()),
                std::collections::btree_map::Entry::Vacant(new) => drop(new.insert(file)),
            }
        }
        let mut twins = Twins { first, ..Twins::default() };
        if twins.first.iter().all(Option::is_none) {
            return twins;
        }
        if digests.v1 {
            twins.v1 = layout.pieces().filter_map(|piece| Some((piece, twins.piece(layout, piece)?))).collect();
        }
        for file in layout.file_indices().filter(|_| digests.v2) {
            let Some(first) = twins.first(file) else { continue };
            twins.v2.extend(layout.file_pieces(file).zip(layout.file_pieces(first)));
        }
        twins
    }

    /// The file before this one that is the same.
    pub(super) fn first(&self, file: FileIndex) -> Option<FileIndex> {
        self.first[file.get() as usize]
    }

    /// Marks what need not be hashed.
    pub(super) fn mark(&self, known: &mut [Digests]) {
        self.v1.iter().for_each(|(piece, _)| known[piece.get() as usize].v1 = true);
        self.v2.iter().for_each(|(piece, _)| known[piece.get() as usize].v2 = true);
    }

    /// Copies the hashes of a finished pass.
    pub(super) fn fill(&self, found: &mut Found) {
        for (piece, first) in &self.v1 {
            found.v1[piece.get() as usize] = found.v1[first.get() as usize];
        }
        for (piece, first) in &self.v2 {
            found.v2[piece.get() as usize] = found.v2[first.get() as usize];
        }
        if found.file_sha256.is_empty() {
            return;
        }
        for (file, first) in self.first.iter().enumerate().filter_map(|(file, first)| Some((file, (*first)?))) {
            found.file_sha256[file] = found.file_sha256[first.get() as usize];
        }
    }

    /// The piece that has the same bytes because it begins in the first of two files that are the same.
    fn piece(&self, layout: &FileLayout, piece: PieceIndex) -> Option<PieceIndex> {
        let Some(Extent::File { file, offset, .. }) = layout.extents(layout.whole_piece(piece)).next() else {
            return None;
        };
        let first = piece_that_begins_at(layout, self.first(file)?, offset)?;
        let parts = |piece| {
            layout.extents(layout.whole_piece(piece)).map(|extent| match extent {
                Extent::File { file, offset, size } => {
                    Extent::File { file: self.first(file).unwrap_or(file), offset, size }
                }
                zeros @ Extent::Zeros { .. } => zeros,
            })
        };
        parts(piece).eq(parts(first)).then_some(first)
    }
}
