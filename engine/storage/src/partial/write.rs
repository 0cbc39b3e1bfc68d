//! Writing: verified pieces, many blocks a call, and unverified blocks where memory is short. Never through a map, which
//! would fault on a full disk.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use arrayvec::ArrayVec;
use hash::Sha256Digest;
use metainfo::{BLOCK_SIZE, Extent, FileIndex, PieceIndex};
use rustix::io::Errno;

use super::check::{block_count, block_hashes, block_in_memory, block_size, read_block, verify};
use super::holes::is_hole;
use super::{Allocation, CHECKED_AT_ONCE, Checked, Partial, PieceBuffers, Verdict};
use crate::block_buffer::BlockBuffer;
use crate::error::StorageError;

/// The most buffers that one pwritev(2) takes (`UIO_MAXIOV` of Linux): 16 MiB of blocks.
const BUFFERS_PER_CALL: usize = 1024;

impl Partial {
    /// Verifies pieces and writes those that are right, in this order, so that bytes at a verified piece's place are right
    /// as soon as they are there. Blocks on the processor and the disk: for a pool's thread. Gives the pieces back in
    /// the order of their indices.
    pub fn check_and_write(&self, mut pieces: Vec<PieceBuffers>, now_unix_ns: u64) -> Vec<Checked> {
        self.stamp(now_unix_ns);
        // Neighbours then share a write.
        pieces.sort_unstable_by_key(|buffers| buffers.piece);
        let mut done = Vec::with_capacity(pieces.len());
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let group: ArrayVec<PieceBuffers, CHECKED_AT_ONCE> = pieces.by_ref().take(CHECKED_AT_ONCE).collect();
            let verdicts = verify(self, &group).into_iter().map(Verdict::from).collect();
            let checked = self.write_good(group, verdicts);
            let good = checked.iter().filter(|checked| matches!(checked.verdict, Verdict::Good));
            self.mark_verified(|verified| good.for_each(|checked| verified.insert(checked.buffers.piece)));
            done.extend(checked);
        }
        done
    }

    /// Writes blocks of a piece to their place before it is verified, so that their buffers can be used for others.
    /// [`Partial::check_and_write`] reads back what is `None` then. Blocks on the disk.
    pub fn write_blocks(
        &self,
        piece: PieceIndex,
        blocks: &[(u32, BlockBuffer)],
        now_unix_ns: u64,
    ) -> Result<(), StorageError> {
        self.stamp(now_unix_ns);
        let size = |number: u32| block_size(self.layout(), piece, number);
        let segments =
            blocks.iter().flat_map(|(number, buffer)| self.segments(0, piece, *number, &buffer[..size(*number)]));
        match self.write_runs(segments).into_iter().next() {
            Some(failure) => Err(failure.error),
            None => Ok(()),
        }
    }

    /// For each block a hash, as [`Checked::block_hashes`] has it: what proved leaves are compared with. Reads back blocks
    /// that are not in memory.
    pub fn block_hashes(&self, buffers: &PieceBuffers) -> Result<Vec<Sha256Digest>, StorageError> {
        block_hashes(self, buffers)
    }

    fn write_good(
        &self,
        group: ArrayVec<PieceBuffers, CHECKED_AT_ONCE>,
        mut verdicts: ArrayVec<Verdict, CHECKED_AT_ONCE>,
    ) -> ArrayVec<Checked, CHECKED_AT_ONCE> {
        let good = group.iter().zip(&verdicts).enumerate();
        let good =
            good.filter(|(_, (_, verdict))| matches!(verdict, Verdict::Good)).map(|(slot, (piece, _))| (slot, piece));
        let segments = good.flat_map(|(slot, buffers)| {
            let blocks = (0..block_count(self.layout(), buffers.piece)).filter_map(move |number| {
                let block = block_in_memory(buffers, number)?;
                Some((number, &block[..block_size(self.layout(), buffers.piece, number)]))
            });
            blocks.flat_map(move |(number, block)| self.segments(slot, buffers.piece, number, block))
        });
        for failure in self.write_runs(segments) {
            let error = Arc::new(failure.error);
            failure.slots.into_iter().for_each(|slot| verdicts[slot] = Verdict::Failed(Arc::clone(&error)));
        }
        let hashes: ArrayVec<Vec<Sha256Digest>, CHECKED_AT_ONCE> =
            group.iter().zip(&verdicts).map(|(buffers, verdict)| self.hashes_for(buffers, verdict)).collect();
        let checked = |((buffers, verdict), block_hashes)| Checked { buffers, verdict, block_hashes };
        group.into_iter().zip(verdicts).zip(hashes).map(checked).collect()
    }

    /// Reads a piece and writes the same bytes again, if they are right. False if they are not.
    pub(super) fn write_again(&self, piece: PieceIndex) -> Result<bool, StorageError> {
        let on_disk = PieceBuffers { piece, blocks: Vec::new(), wants_block_hashes: false };
        if !verify(self, &[on_disk]).into_iter().collect::<Result<Vec<_>, _>>()?.contains(&true) {
            return Ok(false);
        }
        let mut buffer = [0; BLOCK_SIZE as usize];
        for number in 0..block_count(self.layout(), piece) {
            let block = &mut buffer[..block_size(self.layout(), piece, number)];
            read_block(self, piece, number, block)?;
            if let Some(failure) = self.write_runs(self.segments(0, piece, number, block)).into_iter().next() {
                return Err(failure.error);
            }
        }
        Ok(true)
    }

    fn hashes_for(&self, buffers: &PieceBuffers, verdict: &Verdict) -> Vec<Sha256Digest> {
        let is_wanted = match verdict {
            Verdict::Good => buffers.wants_block_hashes,
            Verdict::Bad => true,
            Verdict::Failed(_) => false,
        };
        // What could be read a moment ago cannot be now: then nobody is found guilty.
        if is_wanted { self.block_hashes(buffers).unwrap_or_default() } else { Vec::new() }
    }

    /// The parts of one block that files hold.
    fn segments<'b>(
        &self,
        slot: usize,
        piece: PieceIndex,
        number: u32,
        block: &'b [u8],
    ) -> impl Iterator<Item = Segment<'b>> {
        let range = self.layout().block(piece.get(), number.saturating_mul(BLOCK_SIZE), block.len() as u32);
        let mut left = block;
        range.into_iter().flat_map(|range| self.layout().extents(range)).filter_map(move |extent| {
            let (Extent::File { size, .. } | Extent::Zeros { size }) = extent;
            let (bytes, rest) = left.split_at(size as usize);
            left = rest;
            match extent {
                Extent::File { file, offset, .. } => Some(Segment { slot, file, offset, bytes }),
                Extent::Zeros { .. } => None,
            }
        })
    }

    /// Writes segments, those that follow each other in a file together. Gives what failed, by slot.
    fn write_runs<'b>(&self, segments: impl Iterator<Item = Segment<'b>>) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut run: Vec<Segment<'b>> = Vec::new();
        for segment in segments.filter(|segment| !self.stays_hole(segment)) {
            let is_next = run.last().is_some_and(|last| last.is_followed_by(&segment));
            if !is_next || run.len() >= BUFFERS_PER_CALL {
                failures.extend(self.write_run(&run).err());
                run.clear();
            }
            run.push(segment);
        }
        failures.extend(self.write_run(&run).err());
        failures
    }

    /// Whether zeros need not be written, since they stand in a hole and holes are wanted.
    fn stays_hole(&self, segment: &Segment<'_>) -> bool {
        let size = segment.bytes.len() as u64;
        self.allocate == Allocation::Sparse
            && segment.bytes.iter().all(|byte| *byte == 0)
            && self.files.open(self.layout(), segment.file).is_ok_and(|file| is_hole(&file, segment.offset, size))
    }

    fn write_run(&self, run: &[Segment<'_>]) -> Result<(), Failure> {
        let Some(first) = run.first() else { return Ok(()) };
        let file = self.files.open(self.layout(), first.file).map_err(|error| Failure::of(run, error))?;
        let written = write_all(&file, run);
        self.files.mark_dirty(first.file);
        written.map_err(|(from, errno)| {
            let path = self.files.path(self.layout(), first.file);
            Failure::of(&run[from..], StorageError::io(&path, "write", errno))
        })
    }
}

impl From<Result<bool, StorageError>> for Verdict {
    fn from(verified: Result<bool, StorageError>) -> Verdict {
        match verified {
            Ok(true) => Verdict::Good,
            Ok(false) => Verdict::Bad,
            Err(error) => Verdict::Failed(Arc::new(error)),
        }
    }
}

/// Bytes of one block that belong into one file.
struct Segment<'b> {
    /// Which piece of the group.
    slot: usize,
    file: FileIndex,
    offset: u64,
    bytes: &'b [u8],
}

impl Segment<'_> {
    fn is_followed_by(&self, next: &Segment<'_>) -> bool {
        self.file == next.file && self.offset + self.bytes.len() as u64 == next.offset
    }
}

/// Pieces of the group that were not written.
struct Failure {
    slots: Vec<usize>,
    error: StorageError,
}

impl Failure {
    fn of(segments: &[Segment<'_>], error: StorageError) -> Failure {
        let mut slots: Vec<usize> = segments.iter().map(|segment| segment.slot).collect();
        slots.dedup();
        Failure { slots, error }
    }
}

/// Writes segments that follow each other. On an error gives the first one that is not written.
fn write_all(file: &File, run: &[Segment<'_>]) -> Result<(), (usize, Errno)> {
    let (mut next, mut taken) = (0, 0);
    while next < run.len() {
        let head = IoSlice::new(&run[next].bytes[taken..]);
        let rest = run[next + 1..].iter().map(|segment| IoSlice::new(segment.bytes));
        let buffers: Vec<IoSlice<'_>> = std::iter::once(head).chain(rest).collect();
        let mut count = match rustix::io::pwritev(file, &buffers, run[next].offset + taken as u64) {
            Ok(0) => return Err((next, Errno::IO)),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err((next, errno)),
        };
        while next < run.len() && count >= run[next].bytes.len() - taken {
            count -= run[next].bytes.len() - taken;
            (next, taken) = (next + 1, 0);
        }
        taken += count;
    }
    Ok(())
}
