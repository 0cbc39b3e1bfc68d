//! Pieces of nothing but holes, as a file has them that was made at its full length: the file system says so (lseek(2),
//! `SEEK_DATA`; space that was taken and never written counts as a hole), and one look at the hash of zeros tells whether
//! they are right. So a download that had hardly begun is rechecked at once.

use std::fs::File;

use hash::{Sha1, Sha1Digest, Sha256Digest};
use metainfo::{BLOCK_SIZE, Extent, FileIndex, PieceIndex, Torrent};
use rustix::fs::SeekFrom;

use super::files::Files;
use crate::piece_tree::PieceTree;

static ZEROS: [u8; BLOCK_SIZE as usize] = [0; BLOCK_SIZE as usize];

/// Finds pieces of holes and knows whether zeros are right there. Asked for pieces in their order it is cheap.
pub(super) struct ZeroPieces<'a> {
    torrent: &'a Torrent,
    files: &'a Files,
    /// The file that was asked last.
    file: Option<DataIn>,
    /// The hashes of a whole piece of zeros, once they are needed.
    hashes: Option<(Sha1Digest, Sha256Digest)>,
}

/// Where a file has bytes.
struct DataIn {
    index: FileIndex,
    /// `None` if it cannot be opened.
    file: Option<File>,
    /// All from `hole_from` to here is a hole.
    next_data: u64,
    hole_from: u64,
}

impl<'a> ZeroPieces<'a> {
    pub(super) fn new(torrent: &'a Torrent, files: &'a Files) -> ZeroPieces<'a> {
        ZeroPieces { torrent, files, file: None, hashes: None }
    }

    /// Whether the piece is right, if that can be told without reading it. Only whole pieces, so that one hash serves all.
    pub(super) fn is_right(&mut self, piece: PieceIndex) -> Option<bool> {
        let (torrent, layout) = (self.torrent, self.torrent.layout());
        let is_whole = layout.piece_size(piece) == layout.piece_length();
        let has_whole_tree =
            torrent.info_hash_v2().is_none() || PieceTree::of(layout, piece).is_full(layout.piece_length());
        if !is_whole || !has_whole_tree {
            return None;
        }
        for extent in layout.extents(layout.whole_piece(piece)) {
            match extent {
                Extent::File { file, offset, size } if !self.is_hole(file, offset, size) => return None,
                Extent::File { .. } | Extent::Zeros { .. } => {}
            }
        }
        let (v1, v2) = *self.hashes.get_or_insert_with(|| hashes_of_zeros(torrent));
        let is_right_v1 = torrent.piece_hash_v1(piece).is_none_or(|hash| hash == v1);
        Some(is_right_v1 && torrent.piece_hash_v2(piece).is_none_or(|hash| hash == v2))
    }

    fn is_hole(&mut self, index: FileIndex, offset: u64, size: u64) -> bool {
        let (files, layout) = (self.files, self.torrent.layout());
        let data = match self.file.take() {
            Some(data) if data.index == index => data,
            Some(_) | None => {
                let opened = files.top.enter().and_then(|root| root.open(layout.file(index).path()));
                DataIn { index, file: opened.ok().map(|(file, _)| file), next_data: 0, hole_from: 0 }
            }
        };
        let data = self.file.insert(data);
        let Some(file) = &data.file else { return false };
        if !(data.hole_from..data.next_data).contains(&offset) {
            data.hole_from = offset;
            data.next_data = next_data(file, offset);
        }
        offset + size <= data.next_data
    }
}

/// Whether nothing was ever written to the range.
pub(super) fn is_hole(file: &File, offset: u64, size: u64) -> bool {
    offset + size <= next_data(file, offset)
}

/// The first place from `offset` on that was written to; `offset` itself where the file system will not tell. Moves the
/// file's own offset, which nobody uses.
fn next_data(file: &File, offset: u64) -> u64 {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(next) => next,
        Err(rustix::io::Errno::NXIO) => u64::MAX,
        Err(_) => offset,
    }
}

fn hashes_of_zeros(torrent: &Torrent) -> (Sha1Digest, Sha256Digest) {
    let (layout, mut sha1) = (torrent.layout(), Sha1::new());
    let mut left = layout.piece_length() as usize;
    while torrent.info_hash_v1().is_some() && left > 0 {
        let size = left.min(ZEROS.len());
        sha1.update(&ZEROS[..size]);
        left -= size;
    }
    let leaves = vec![hash::sha256(&ZEROS); layout.piece_length().div_ceil(BLOCK_SIZE) as usize];
    let root = match torrent.info_hash_v2() {
        Some(_) => metainfo::merkle::piece_root(&leaves, layout.piece_length()),
        None => Sha256Digest::default(),
    };
    (sha1.finish(), root)
}
