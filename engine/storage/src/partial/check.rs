//! Verifying whole pieces: up to sixteen together, a lane each for v1, their blocks as merkle leaves for v2. What is not in
//! memory is read back from where it was written. Writes nothing.

use std::os::unix::fs::FileExt;

use arrayvec::ArrayVec;
use hash::{LANES, Sha1Digest, Sha1Lanes, Sha256Digest};
use metainfo::{BLOCK_SIZE, Extent, FileLayout, PieceIndex};

use super::{CHECKED_AT_ONCE, Partial, PieceBuffers};
use crate::error::StorageError;
use crate::piece_tree::PieceTree;

const BLOCK_BYTES: usize = BLOCK_SIZE as usize;

/// Whether each piece of a group is what the torrent says; an error if it could not be read back.
pub(super) fn verify(
    partial: &Partial,
    pieces: &[PieceBuffers],
) -> ArrayVec<Result<bool, StorageError>, CHECKED_AT_ONCE> {
    let mut group = Group::new(partial, pieces);
    let turns = group.lanes.iter().map(|lane| lane.block_count.div_ceil(group.blocks_per_turn)).max();
    for turn in 0..turns.unwrap_or(0) {
        group.read_back(turn);
        group.digest(turn);
    }
    group.finish()
}

/// For each block of a piece its [`super::Checked::block_hashes`].
pub(super) fn block_hashes(partial: &Partial, buffers: &PieceBuffers) -> Result<Vec<Sha256Digest>, StorageError> {
    let (torrent, layout) = (&partial.torrent, partial.layout());
    let tree = PieceTree::of(layout, buffers.piece);
    let has_leaves = torrent.info_hash_v2().is_some();
    let mut read_back = [const { Vec::new() }; LANES];
    let mut hashes = Vec::new();
    let numbers: Vec<u32> = (0..block_count(layout, buffers.piece)).collect();
    for numbers in numbers.chunks(LANES) {
        let mut messages: ArrayVec<&[u8], LANES> = ArrayVec::new();
        for (number, read_back) in numbers.iter().zip(&mut read_back) {
            let size = block_size(layout, buffers.piece, *number);
            let block = match block_in_memory(buffers, *number) {
                Some(block) => block,
                None => {
                    read_back.resize(size, 0);
                    read_block(partial, buffers.piece, *number, read_back)?;
                    &read_back[..]
                }
            };
            let block = &block[..size];
            let of_file = tree.file_bytes_in(number * BLOCK_SIZE, size as u32) as usize;
            // Wrong pad bytes are no part of a leaf, and yet somebody sent them.
            let is_leaf = has_leaves && block[of_file..].iter().all(|byte| *byte == 0);
            messages.push(if is_leaf { &block[..of_file] } else { block });
        }
        let start = hashes.len();
        hashes.resize(start + messages.len(), Sha256Digest::default());
        hash::sha256_many(&messages, &mut hashes[start..]);
        for (hash, message) in hashes[start..].iter_mut().zip(&messages) {
            if message.is_empty() {
                *hash = Sha256Digest::default();
            }
        }
    }
    Ok(hashes)
}

/// How many blocks the piece has.
pub(super) fn block_count(layout: &FileLayout, piece: PieceIndex) -> u32 {
    layout.piece_size(piece).div_ceil(BLOCK_SIZE)
}

/// How many bytes the block has; zero if the piece has no such block.
pub(super) fn block_size(layout: &FileLayout, piece: PieceIndex, number: u32) -> usize {
    let begin = u64::from(number) * u64::from(BLOCK_SIZE);
    u64::from(layout.piece_size(piece)).saturating_sub(begin).min(u64::from(BLOCK_SIZE)) as usize
}

/// The block if it is in memory, with whatever follows a short one.
pub(super) fn block_in_memory(buffers: &PieceBuffers, number: u32) -> Option<&[u8]> {
    buffers.blocks.get(number as usize).and_then(Option::as_deref)
}

/// Reads a block from where it is written. Pads are zeros.
pub(super) fn read_block(
    partial: &Partial,
    piece: PieceIndex,
    number: u32,
    buffer: &mut [u8],
) -> Result<(), StorageError> {
    let layout = partial.layout();
    let Some(block) = layout.block(piece.get(), number * BLOCK_SIZE, buffer.len() as u32) else { return Ok(()) };
    let mut at = 0;
    for extent in layout.extents(block) {
        let (Extent::File { size, .. } | Extent::Zeros { size }) = extent;
        let part = &mut buffer[at..at + size as usize];
        at += size as usize;
        match extent {
            Extent::Zeros { .. } => part.fill(0),
            Extent::File { file, offset, .. } => partial
                .files
                .open(layout, file)?
                .read_exact_at(part, offset)
                .map_err(|error| StorageError::io(&partial.files.path(layout, file), "read", error))?,
        }
    }
    Ok(())
}

/// The pieces of one group and what is known of them so far.
struct Group<'a> {
    partial: &'a Partial,
    pieces: &'a [PieceBuffers],
    lanes: ArrayVec<Lane, CHECKED_AT_ONCE>,
    sha1: Option<Sha1Lanes>,
    /// So many blocks of each piece are hashed together that few pieces fill the lanes of SHA-256 as well.
    blocks_per_turn: u32,
    /// The blocks of a turn that had to be read, in the order of their slots. Empty until the first one.
    read_back: Vec<u8>,
}

struct Lane {
    block_count: u32,
    tree: Option<PieceTree>,
    leaves: Vec<Sha256Digest>,
    failed: Option<StorageError>,
}

impl<'a> Group<'a> {
    fn new(partial: &'a Partial, pieces: &'a [PieceBuffers]) -> Group<'a> {
        let (torrent, layout) = (&partial.torrent, partial.layout());
        let lane = |buffers: &PieceBuffers| {
            let tree = torrent.piece_hash_v2(buffers.piece).map(|_| PieceTree::of(layout, buffers.piece));
            Lane { block_count: block_count(layout, buffers.piece), tree, leaves: Vec::new(), failed: None }
        };
        let lanes: ArrayVec<Lane, CHECKED_AT_ONCE> = pieces.iter().map(lane).collect();
        let sha1 = torrent.info_hash_v1().map(|_| Sha1Lanes::new(lanes.len()));
        let blocks_per_turn = (LANES / lanes.len().max(1)) as u32;
        Group { partial, pieces, lanes, sha1, blocks_per_turn, read_back: Vec::new() }
    }

    /// Reads the blocks of a turn that are not in memory.
    fn read_back(&mut self, turn: u32) {
        let layout = self.partial.layout();
        for (index, (lane, buffers)) in self.lanes.iter_mut().zip(self.pieces).enumerate() {
            for nth in 0..self.blocks_per_turn {
                let number = turn * self.blocks_per_turn + nth;
                if number >= lane.block_count || block_in_memory(buffers, number).is_some() {
                    continue;
                }
                self.read_back.resize(LANES * BLOCK_BYTES, 0);
                let start = (index * self.blocks_per_turn as usize + nth as usize) * BLOCK_BYTES;
                let size = block_size(layout, buffers.piece, number);
                let read = read_block(self.partial, buffers.piece, number, &mut self.read_back[start..start + size]);
                lane.failed = lane.failed.take().or(read.err());
            }
        }
    }

    /// Hashes the blocks of a turn.
    fn digest(&mut self, turn: u32) {
        let layout = self.partial.layout();
        let per_turn = self.blocks_per_turn;
        let block = |index: usize, nth: u32| {
            let (buffers, number) = (&self.pieces[index], turn * per_turn + nth);
            let size = block_size(layout, buffers.piece, number);
            let start = (index * per_turn as usize + nth as usize) * BLOCK_BYTES;
            match block_in_memory(buffers, number) {
                Some(block) => &block[..size],
                None if size == 0 => &[],
                None => &self.read_back[start..start + size],
            }
        };
        if let Some(sha1) = &mut self.sha1 {
            for nth in 0..per_turn {
                let inputs: ArrayVec<&[u8], LANES> = (0..self.lanes.len()).map(|index| block(index, nth)).collect();
                sha1.update(&inputs);
            }
        }
        let mut messages: ArrayVec<&[u8], LANES> = ArrayVec::new();
        let mut owners: ArrayVec<usize, LANES> = ArrayVec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some(tree) = &lane.tree else { continue };
            for nth in 0..per_turn {
                let block = block(index, nth);
                let of_file = tree.file_bytes_in((turn * per_turn + nth) * BLOCK_SIZE, block.len() as u32);
                if of_file > 0 {
                    messages.push(&block[..of_file as usize]);
                    owners.push(index);
                }
            }
        }
        let mut digests = [Sha256Digest::default(); LANES];
        hash::sha256_many(&messages, &mut digests[..messages.len()]);
        for (index, digest) in owners.into_iter().zip(digests) {
            self.lanes[index].leaves.push(digest);
        }
    }

    fn finish(mut self) -> ArrayVec<Result<bool, StorageError>, CHECKED_AT_ONCE> {
        let (torrent, piece_length) = (&self.partial.torrent, self.partial.layout().piece_length());
        let mut v1 = [Sha1Digest::default(); LANES];
        if let Some(sha1) = &mut self.sha1 {
            sha1.finish(&mut v1[..self.lanes.len()]);
        }
        let verdict = |((lane, buffers), v1): ((Lane, &PieceBuffers), Sha1Digest)| match lane.failed {
            Some(error) => Err(error),
            None => {
                let expected_v1 = torrent.piece_hash_v1(buffers.piece);
                let expected_v2 = torrent.piece_hash_v2(buffers.piece);
                let root = lane.tree.map(|tree| tree.root(&lane.leaves, piece_length));
                let is_right_v1 = expected_v1.is_none_or(|expected| expected == v1);
                let is_right_v2 = expected_v2.is_none_or(|expected| root == Some(expected));
                Ok((expected_v1.is_some() || expected_v2.is_some()) && is_right_v1 && is_right_v2)
            }
        };
        self.lanes.into_iter().zip(self.pieces).zip(v1).map(verdict).collect()
    }
}
