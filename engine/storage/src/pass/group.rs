//! One thread of a pass and the group of up to sixteen pieces in its hands.
//!
//! For v1 each piece has a lane, and every turn reads the next 64 KiB of all of them, so that one call hashes sixteen
//! streams. Pieces that are in the page cache are not even read, but hashed where they are, through a window. The v2 leaves are hashed from the same buffers while they are in the cache. Without v1 the lanes are of no
//! use, since leaves are independent: the group is then read front to back, sixteen buffers a turn.

use arrayvec::ArrayVec;
use hash::{LANES, Sha1Digest, Sha1Lanes, Sha256Digest};
use metainfo::{BLOCK_SIZE, BlockRange, Extent, FileIndex, FileLayout, PieceIndex};

use super::source::{ColdRead, Source};
use super::whole_files::hash_files;
use super::{Digests, Pass};
use crate::piece_tree::PieceTree;
use crate::window::{WINDOW_MAX_BYTES, Window};

/// What a lane reads at once. Sixteen of these are 1 MiB, which a second-level cache holds from the copy to the hash.
/// 16, 32 and 128 KiB, and buffers set apart so that lanes do not meet in one cache set, measured the same within noise.
const READ_BYTES: u32 = 64 * 1024;
/// Reads that wait for the disk together, each with its file open: more than the slots have, so that large files are read
/// in the order of the disk, and few enough that a tree of tiny files takes no descriptors away from others.
const COLD_READS_MAX: usize = 2 * LANES;
pub(super) const BUFFER_BYTES: usize = READ_BYTES as usize;
const BLOCKS_PER_READ: usize = (READ_BYTES / BLOCK_SIZE) as usize;

/// What a slot of nothing but pad bytes hashes, instead of clearing its buffer.
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// The buffers, files and lanes of one thread.
pub(super) struct Worker<'p, 'a> {
    pass: &'p Pass<'a>,
    source: Source<'p, 'a>,
    buffer: Vec<u8>,
    /// What the group in hand needs.
    digests: Digests,
    lanes: ArrayVec<Lane, LANES>,
    windows: ArrayVec<(FileIndex, Window), LANES>,
    slots: ArrayVec<Slot, LANES>,
    cold: Vec<ColdRead>,
}

/// A piece of the group.
struct Lane {
    piece: PieceIndex,
    size: u32,
    tree: PieceTree,
    /// Bytes that have been given to slots.
    taken: u32,
    is_read: bool,
    /// Where the piece begins, of which window.
    window: Option<(usize, usize)>,
    leaves: Vec<Sha256Digest>,
}

/// What one buffer holds this turn.
struct Slot {
    lane: usize,
    begin: u32,
    size: u32,
    is_zeros: bool,
}

impl Lane {
    fn new(layout: &FileLayout, piece: PieceIndex, mut leaves: Vec<Sha256Digest>) -> Lane {
        leaves.clear();
        let tree = PieceTree::of(layout, piece);
        let size = layout.piece_size(piece);
        Lane { piece, size, tree, taken: 0, is_read: true, window: None, leaves }
    }

    fn take(&mut self, lane: usize) -> Slot {
        let (begin, size) = (self.taken, READ_BYTES.min(self.size - self.taken));
        self.taken += size;
        Slot { lane, begin, size, is_zeros: false }
    }
}

impl<'p, 'a> Worker<'p, 'a> {
    pub(super) fn new(pass: &'p Pass<'a>) -> Worker<'p, 'a> {
        Worker {
            pass,
            source: Source::new(pass),
            buffer: vec![0; BUFFER_BYTES * LANES],
            digests: Digests { v1: false, v2: false },
            lanes: ArrayVec::new(),
            windows: ArrayVec::new(),
            slots: ArrayVec::new(),
            cold: Vec::new(),
        }
    }

    /// Hashes files and hands in their digests.
    pub(super) fn hash_files(&mut self, files: &[FileIndex]) {
        hash_files(self.pass, &mut self.source, &mut self.buffer, files);
    }

    /// Hashes a group and hands in its digests.
    pub(super) fn hash_group(&mut self, digests: Digests, pieces: &[PieceIndex]) {
        self.digests = digests;
        let layout = self.pass.layout;
        let mut spare: ArrayVec<Vec<Sha256Digest>, LANES> = self.lanes.drain(..).map(|lane| lane.leaves).collect();
        self.lanes.extend(pieces.iter().map(|piece| Lane::new(layout, *piece, spare.pop().unwrap_or_default())));
        self.open_windows();
        let mut sha1 = self.digests.v1.then(|| Sha1Lanes::new(self.lanes.len()));
        while self.plan_turn() {
            if self.pass.is_over() {
                return;
            }
            self.fill();
            self.digest(sha1.as_mut());
        }
        self.hand_in(sha1);
    }

    /// Finds pieces that follow each other in one file, and looks at them together where that is of use.
    fn open_windows(&mut self) {
        self.windows.clear();
        let layout = self.pass.layout;
        let mut first = 0;
        while first < self.lanes.len() {
            let start = whole_in_file(layout, self.lanes[first].piece);
            let (mut end, mut size) = (first + 1, u64::from(self.lanes[first].size));
            while let (Some((file, offset)), Some(next)) = (start, self.lanes.get(end)) {
                let is_next = whole_in_file(layout, next.piece) == Some((file, offset + size));
                if !is_next || size + u64::from(next.size) > WINDOW_MAX_BYTES {
                    break;
                }
                (end, size) = (end + 1, size + u64::from(next.size));
            }
            let window = start.and_then(|(file, offset)| Some((file, self.source.window(first, file, offset, size)?)));
            if let Some(window) = window {
                let mut at = 0;
                for lane in &mut self.lanes[first..end] {
                    lane.window = Some((self.windows.len(), at));
                    at += lane.size as usize;
                }
                self.windows.push(window);
            }
            first = end;
        }
    }

    /// Gives each buffer its bytes for the next turn. False if the group is done.
    fn plan_turn(&mut self) -> bool {
        self.slots.clear();
        if self.digests.v1 {
            self.slots.extend(self.lanes.iter_mut().enumerate().map(|(index, lane)| lane.take(index)));
            return self.slots.iter().any(|slot| slot.size > 0);
        }
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            while lane.taken < lane.size && !self.slots.is_full() {
                self.slots.push(lane.take(index));
            }
        }
        !self.slots.is_empty()
    }

    /// Reads all slots: first what the page cache has, then what must be waited for, all of it asked for beforehand.
    fn fill(&mut self) {
        let mut content_bytes: u64 = (0..self.slots.len()).map(|index| self.fill_from_cache(index)).sum();
        let mut cold = std::mem::take(&mut self.cold);
        for read in &cold {
            let slot = &self.slots[read.slot];
            // With lanes the neighbour reads what follows the piece.
            let piece_left = u64::from(self.lanes[slot.lane].size - slot.begin);
            self.source.advise(read, if self.digests.v1 { piece_left } else { u64::MAX });
        }
        for read in cold.drain(..) {
            let lane = self.slots[read.slot].lane;
            let start = read.slot * BUFFER_BYTES + read.at;
            if !self.lanes[lane].is_read {
                continue;
            }
            if let Err(error) = self.source.read_cold(&read, &mut self.buffer[start..start + read.size]) {
                self.pass.report(read.index, error);
                content_bytes += self.give_up(lane);
            }
        }
        self.cold = cold;
        self.pass.meter.add(content_bytes);
    }

    /// Fills one slot as far as the page cache can; the rest goes to `cold`. Gives the bytes of content that are then
    /// done with: the slot's, and if it cannot be read those that nobody will read any more.
    fn fill_from_cache(&mut self, index: usize) -> u64 {
        let (layout, slot) = (self.pass.layout, &mut self.slots[index]);
        let lane = &self.lanes[slot.lane];
        if lane.window.is_some() {
            return u64::from(slot.size);
        }
        let Some(block) = layout.block(lane.piece.get(), slot.begin, slot.size) else { return 0 };
        let buffer = &mut self.buffer[index * BUFFER_BYTES..][..slot.size as usize];
        let (mut at, mut content_bytes, mut failed) = (0, 0, None);
        for extent in layout.extents(block) {
            let (Extent::File { size, .. } | Extent::Zeros { size }) = extent;
            let part = at..at + size as usize;
            at = part.end;
            match extent {
                Extent::Zeros { .. } if part.len() == buffer.len() => slot.is_zeros = true,
                Extent::Zeros { .. } => buffer[part].fill(0),
                Extent::File { file, offset, .. } => {
                    content_bytes += size;
                    if !lane.is_read || failed.is_some() {
                        continue;
                    }
                    match self.source.read_now(index, file, offset, &mut buffer[part]) {
                        Ok(Some(cold)) if self.cold.len() >= COLD_READS_MAX => {
                            let from = at - cold.size;
                            let read = self.source.read_cold(&cold, &mut buffer[from..at]);
                            failed = read.err().map(|error| (file, error));
                        }
                        Ok(left) => self.cold.extend(left.map(|cold| cold.ending_at(at))),
                        Err(error) => failed = Some((file, error)),
                    }
                }
            }
        }
        let Some((file, error)) = failed else { return content_bytes };
        let lane = slot.lane;
        self.pass.report(file, error);
        content_bytes + self.give_up(lane)
    }

    /// Leaves the lane's piece without digests. Gives the bytes of content that no slot has taken yet, and none will.
    fn give_up(&mut self, lane: usize) -> u64 {
        let lane = &mut self.lanes[lane];
        let rest = self.pass.layout.block(lane.piece.get(), lane.taken, lane.size - lane.taken);
        let left = rest.map_or(0, |rest| content_in(self.pass.layout, rest));
        lane.is_read = false;
        lane.taken = lane.size;
        left
    }

    /// Hashes what the slots hold.
    fn digest(&mut self, sha1: Option<&mut Sha1Lanes>) {
        let mut inputs: ArrayVec<&[u8], LANES> = ArrayVec::new();
        for (slot, buffer) in self.slots.iter().zip(self.buffer.chunks(BUFFER_BYTES)) {
            let bytes = match self.lanes[slot.lane].window {
                Some((window, at)) => &self.windows[window].1.bytes()[at + slot.begin as usize..],
                None if slot.is_zeros => &ZEROS[..],
                None => buffer,
            };
            inputs.push(&bytes[..slot.size as usize]);
        }
        if let Some(sha1) = sha1 {
            sha1.update(&inputs);
        }
        if !self.digests.v2 {
            return;
        }
        let mut leaves: ArrayVec<&[u8], { LANES * BLOCKS_PER_READ }> = ArrayVec::new();
        let mut owners: ArrayVec<usize, { LANES * BLOCKS_PER_READ }> = ArrayVec::new();
        for (slot, input) in self.slots.iter().zip(&inputs) {
            let of_file = self.lanes[slot.lane].tree.file_bytes_in(slot.begin, slot.size);
            for leaf in input[..of_file as usize].chunks(BLOCK_SIZE as usize) {
                leaves.push(leaf);
                owners.push(slot.lane);
            }
        }
        let mut digests = [Sha256Digest::default(); LANES * BLOCKS_PER_READ];
        let digests = &mut digests[..leaves.len()];
        hash::sha256_many(&leaves, digests);
        for (lane, digest) in owners.iter().zip(digests) {
            self.lanes[*lane].leaves.push(*digest);
        }
    }

    /// Leaves pieces without digests whose bytes vanished while they were hashed.
    fn give_up_broken_windows(&mut self) {
        for lane in &mut self.lanes {
            let broken =
                lane.window.and_then(|(window, _)| self.windows.get(window)).filter(|(_, window)| !window.is_intact());
            if let Some((file, _)) = broken {
                lane.is_read = false;
                self.pass.report(*file, self.source.vanished(*file));
            }
        }
    }

    /// Finishes the digests of the group and stores them.
    fn hand_in(&mut self, sha1: Option<Sha1Lanes>) {
        self.give_up_broken_windows();
        let mut v1 = [Sha1Digest::default(); LANES];
        if let Some(mut lanes) = sha1 {
            lanes.finish(&mut v1[..self.lanes.len()]);
        }
        let piece_length = self.pass.layout.piece_length();
        let v2: ArrayVec<Sha256Digest, LANES> =
            self.lanes.iter().map(|lane| lane.tree.root(&lane.leaves, piece_length)).collect();
        let mut state = self.pass.state();
        for ((lane, v1), v2) in self.lanes.iter().zip(v1).zip(v2) {
            let index = lane.piece.get() as usize;
            state.found.is_read[index] = lane.is_read;
            if self.digests.v1 {
                state.found.v1[index] = v1;
            }
            if self.digests.v2 {
                state.found.v2[index] = v2;
            }
        }
    }
}

/// Where the piece is, if it is nothing but bytes of one file.
fn whole_in_file(layout: &FileLayout, piece: PieceIndex) -> Option<(FileIndex, u64)> {
    let whole = layout.whole_piece(piece);
    match layout.extents(whole).next() {
        Some(Extent::File { file, offset, size }) if size == u64::from(whole.size()) => Some((file, offset)),
        Some(_) | None => None,
    }
}

/// The bytes of content, pads not counted, in a part of a piece.
pub(super) fn content_in(layout: &FileLayout, block: BlockRange) -> u64 {
    let bytes = |extent| match extent {
        Extent::File { size, .. } => size,
        Extent::Zeros { .. } => 0,
    };
    layout.extents(block).map(bytes).sum()
}
