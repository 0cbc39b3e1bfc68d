//! One gathered write in the making: headers and the places where the data of up to 64 blocks lies, straight from the
//! maps where their pages are resident. Decides what is hot; waits for nothing.

mod by_reference;

use crate::disk::{Disk, Need, WindowKey};
use crate::limits::{
    BATCH_BLOCKS, BATCH_BYTES, BATCH_PARTS, COLD_BATCH_BYTES, FILES_PER_BLOCK, SCRATCH_BYTES, WINDOW_BYTES,
};
use crate::residency::View;
use crate::torrents::{Served, Slot};
use arrayvec::ArrayVec;
use metainfo::{BlockRange, Extent, FileIndex};
use std::io::{IoSlice, IoSliceMut};
use std::rc::Rc;
use std::time::Duration;
use storage::{OpenFile, ReadBuffer, ReadNow, ResidencySource, StorageError};
use wire::{PIECE_HEADER_SIZE, piece_header};

/// What a gathered write is made of. Lives as long as its shard, so that a batch allocates nothing.
pub(crate) struct Gather {
    headers: ArrayVec<[u8; PIECE_HEADER_SIZE], BATCH_BLOCKS>,
    parts: ArrayVec<Part, BATCH_PARTS>,
    /// Bytes of small files, read for this write.
    scratch: Vec<u8>,
    scratch_used: usize,
    bytes: usize,
    /// Bytes of windows among them.
    cold_bytes: usize,
}

enum Part {
    /// All that waits in the outbox.
    Outbox { size: usize },
    /// A header, from its byte `from` on.
    Header { header: usize, from: usize },
    /// Mapped bytes of a file that is open.
    Mapped { file: FileIndex, offset: usize, size: usize },
    /// Bytes of a window that was read.
    Window { key: WindowKey, bytes: Rc<ReadBuffer>, offset: usize, size: usize },
    /// Bytes in the scratch.
    Scratch { offset: usize, size: usize },
    /// Bytes of pads.
    Zeros { size: usize },
}

/// How far a write has come, to go back to.
#[derive(Clone, Copy)]
struct Mark {
    headers: usize,
    parts: usize,
    scratch_used: usize,
    bytes: usize,
    cold_bytes: usize,
}

/// What came of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is part of the write.
    Yes,
    /// The write holds as much as it may.
    Full,
    /// It must wait for these.
    Lacks(ArrayVec<Need, MAX_NEEDS>),
}

/// Needs of one block that are seen to at once.
pub(crate) const MAX_NEEDS: usize = FILES_PER_BLOCK;

/// The shard's time and turn, and the torrent that a gathered write is for.
pub(crate) struct Source<'a> {
    pub(crate) slot: Slot,
    pub(crate) served: &'a mut Served,
    pub(crate) disk: &'a mut Disk,
    pub(crate) now: Duration,
    pub(crate) turn: u64,
}

/// What became of the parts of one block.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Located {
    Hot,
    Cold,
    Full,
}

static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl Gather {
    pub(crate) fn new() -> Gather {
        Gather {
            headers: ArrayVec::new(),
            parts: ArrayVec::new(),
            scratch: Vec::new(),
            scratch_used: 0,
            bytes: 0,
            cold_bytes: 0,
        }
    }

    /// Empties it for the next write.
    pub(crate) fn clear(&mut self) {
        self.headers.clear();
        self.parts.clear();
        self.scratch_used = 0;
        self.bytes = 0;
        self.cold_bytes = 0;
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Whether part of it is of cold content.
    pub(crate) fn is_cold(&self) -> bool {
        self.cold_bytes > 0
    }

    /// Adds all that waits in the outbox.
    pub(crate) fn add_outbox(&mut self, size: usize) {
        if size > 0 && self.parts.try_push(Part::Outbox { size }).is_ok() {
            self.bytes += size;
        }
    }

    /// Adds a block's message, without its first `skip` bytes, which are sent.
    pub(crate) fn add_block(
        &mut self,
        source: &mut Source<'_>,
        block: BlockRange,
        skip: usize,
    ) -> Result<Added, StorageError> {
        if self.headers.is_full() || self.bytes >= BATCH_BYTES || self.cold_bytes >= COLD_BATCH_BYTES {
            return Ok(Added::Full);
        }
        let before = self.mark();
        if skip < PIECE_HEADER_SIZE {
            if self.parts.try_push(Part::Header { header: self.headers.len(), from: skip }).is_err() {
                return Ok(Added::Full);
            }
            self.bytes += PIECE_HEADER_SIZE - skip;
        }
        self.headers.push(piece_header(block.piece().get(), block.begin(), block.size()));
        let after_header = self.mark();
        let data_skip = skip.saturating_sub(PIECE_HEADER_SIZE) as u32;
        let mut needs = ArrayVec::new();
        let mut located = self.locate_hot(source, block, data_skip, &mut needs)?;
        if let Located::Hot = located {
            return Ok(Added::Yes);
        }
        self.roll_back(after_header);
        if let Located::Cold = located {
            if needs.is_empty() {
                located = self.locate_windows(source, block, data_skip, &mut needs);
            }
            if let Located::Hot = located {
                return Ok(Added::Yes);
            }
        }
        self.roll_back(before);
        Ok(if needs.is_empty() { Added::Full } else { Added::Lacks(needs) })
    }

    fn mark(&self) -> Mark {
        Mark {
            headers: self.headers.len(),
            parts: self.parts.len(),
            scratch_used: self.scratch_used,
            bytes: self.bytes,
            cold_bytes: self.cold_bytes,
        }
    }

    fn roll_back(&mut self, to: Mark) {
        self.headers.truncate(to.headers);
        self.parts.truncate(to.parts);
        self.scratch_used = to.scratch_used;
        self.bytes = to.bytes;
        self.cold_bytes = to.cold_bytes;
    }

    fn push(&mut self, part: Part, size: usize) -> bool {
        let fits = self.parts.try_push(part).is_ok();
        self.bytes += if fits { size } else { 0 };
        fits
    }

    /// Adds the data from maps, and from small files that are in the page cache. Files that are not open are `needs`.
    fn locate_hot(
        &mut self,
        source: &mut Source<'_>,
        block: BlockRange,
        data_skip: u32,
        needs: &mut ArrayVec<Need, MAX_NEEDS>,
    ) -> Result<Located, StorageError> {
        let Source { served, disk, now, .. } = source;
        let seeded = &served.task.seeded;
        let layout = seeded.torrent().layout();
        if layout.extents(block).nth(FILES_PER_BLOCK).is_some() {
            return Ok(Located::Cold);
        }
        let mut view = View { resident: &mut served.resident, cache: &mut disk.cache, now: *now };
        let mut located = Located::Hot;
        let rest = layout.block(block.piece().get(), block.begin() + data_skip, block.size() - data_skip);
        for extent in rest.into_iter().flat_map(|rest| layout.extents(rest)) {
            let step = match extent {
                Extent::Zeros { size } => self.add_zeros(size as usize),
                Extent::File { file, offset, size } => {
                    let Some(open) = served.files.check(file, source.turn)? else {
                        // There is room: a block has at most so many files here.
                        let _ = needs.try_push(Need::File(file));
                        located = Located::Cold;
                        continue;
                    };
                    let at = (offset, size as usize);
                    match open.map() {
                        _ if located == Located::Cold => Located::Cold,
                        Some(_) if view.is_resident(seeded, open, block, (offset, size)) => match view.is_moving() {
                            true => self.read_hot(open, at)?,
                            false => self.add_mapped(file, at),
                        },
                        Some(_) if open.residency_source() != ResidencySource::Unknown => Located::Cold,
                        _ => self.read_hot(open, at)?,
                    }
                }
            };
            match step {
                Located::Hot => {}
                Located::Full => return Ok(Located::Full),
                Located::Cold => located = Located::Cold,
            }
        }
        Ok(located)
    }

    fn add_mapped(&mut self, file: FileIndex, (offset, size): (u64, usize)) -> Located {
        let part = Part::Mapped { file, offset: offset as usize, size };
        if self.push(part, size) { Located::Hot } else { Located::Full }
    }

    fn add_zeros(&mut self, mut size: usize) -> Located {
        while size > 0 {
            let part = size.min(ZEROS.len());
            if !self.push(Part::Zeros { size: part }, part) {
                return Located::Full;
            }
            size -= part;
        }
        Located::Hot
    }

    /// Adds bytes that a read brings without waiting.
    fn read_hot(&mut self, open: &OpenFile, (offset, size): (u64, usize)) -> Result<Located, StorageError> {
        if self.scratch.is_empty() {
            self.scratch = vec![0; SCRATCH_BYTES];
        }
        let from = self.scratch_used;
        let Some(room) = self.scratch.get_mut(from..from + size) else { return Ok(Located::Full) };
        match open.read_nowait(&mut [IoSliceMut::new(room)], offset)? {
            ReadNow::Read(count) if count == size => {}
            ReadNow::Read(_) | ReadNow::Cold | ReadNow::Unsupported => return Ok(Located::Cold),
        }
        self.scratch_used += size;
        // Neighbours in the scratch are one part: a block of a hundred small files is then one too.
        if let Some(Part::Scratch { offset, size: before }) = self.parts.last_mut()
            && *offset + *before == from
        {
            *before += size;
            self.bytes += size;
            return Ok(Located::Hot);
        }
        Ok(if self.push(Part::Scratch { offset: from, size }, size) { Located::Hot } else { Located::Full })
    }

    /// Adds the data from windows that were read. Those that are not here are `needs`.
    fn locate_windows(
        &mut self,
        source: &mut Source<'_>,
        block: BlockRange,
        data_skip: u32,
        needs: &mut ArrayVec<Need, MAX_NEEDS>,
    ) -> Located {
        let mut begin = block.begin() + data_skip;
        let end = block.begin() + block.size();
        let mut located = Located::Hot;
        while begin < end {
            let window = begin / WINDOW_BYTES;
            let part_end = end.min((window + 1) * WINDOW_BYTES);
            let key = WindowKey { slot: source.slot, id: source.served.id, piece: block.piece(), window };
            match source.disk.windows.get(key, source.now) {
                Some(bytes) => {
                    let (offset, size) = ((begin % WINDOW_BYTES) as usize, (part_end - begin) as usize);
                    if !self.push(Part::Window { key, bytes, offset, size }, size) {
                        return Located::Full;
                    }
                    self.cold_bytes += size;
                }
                None => {
                    // A block of at most 128 KiB touches two windows at most.
                    let _ = needs.try_push(Need::Window(key.piece, window));
                    located = Located::Cold;
                }
            }
            begin = part_end;
        }
        located
    }

    /// The parts as the kernel takes them, `limit` bytes at most.
    pub(crate) fn slices<'a>(
        &'a self,
        served: Option<&'a Served>,
        outbox: &'a [u8],
        mut limit: usize,
    ) -> ArrayVec<IoSlice<'a>, BATCH_PARTS> {
        let mut slices = ArrayVec::new();
        for part in &self.parts {
            let bytes = match part {
                Part::Mapped { file, offset, size } => served
                    .and_then(|served| served.files.get(*file))
                    .and_then(OpenFile::map)
                    .and_then(|map| map.get(*offset..*offset + *size)),
                part => self.bytes_of(part, outbox),
            };
            // Each part was checked when it was added; should one be gone, the write ends before it.
            let Some(bytes) = bytes else { break };
            let bytes = &bytes[..bytes.len().min(limit)];
            limit -= bytes.len();
            slices.push(IoSlice::new(bytes));
            if limit == 0 {
                break;
            }
        }
        slices
    }

    /// The windows that the first `sent` bytes of the write came from, and how many from each.
    pub(crate) fn sent_windows(&self, mut sent: usize) -> impl Iterator<Item = (WindowKey, usize)> + '_ {
        let parts = if self.cold_bytes > 0 { &self.parts[..] } else { &[] };
        parts.iter().filter_map(move |part| {
            let (key, size) = match part {
                Part::Window { key, size, .. } => (Some(*key), *size),
                Part::Header { from, .. } => (None, PIECE_HEADER_SIZE - from),
                Part::Outbox { size }
                | Part::Mapped { size, .. }
                | Part::Scratch { size, .. }
                | Part::Zeros { size } => (None, *size),
            };
            let size = size.min(sent);
            sent -= size;
            key.filter(|_| size > 0).map(|key| (key, size))
        })
    }

    /// The bytes of a part that is not mapped.
    fn bytes_of<'a>(&'a self, part: &'a Part, outbox: &'a [u8]) -> Option<&'a [u8]> {
        match part {
            Part::Outbox { size } => outbox.get(..*size),
            Part::Header { header, from } => self.headers.get(*header)?.get(*from..),
            Part::Window { bytes, offset, size, .. } => bytes.get(*offset..*offset + *size),
            Part::Scratch { offset, size } => self.scratch.get(*offset..*offset + *size),
            Part::Zeros { size } => ZEROS.get(..*size),
            Part::Mapped { .. } => None,
        }
    }

    /// The files whose maps are part of the write.
    pub(crate) fn mapped_files(&self) -> impl Iterator<Item = FileIndex> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Mapped { file, .. } => Some(*file),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
