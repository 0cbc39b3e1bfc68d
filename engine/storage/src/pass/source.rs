//! Where one thread of a pass gets file bytes from: few descriptors, kept while they are of use, and reads that ask
//! for all cold bytes of a turn before they wait for the first.

use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use hash::LANES;
use metainfo::FileIndex;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::Pass;
use crate::error::{Change, StorageError};
use crate::window::Window;

/// How far ahead of a cold read the kernel is asked to read, per lane. Sixteen lanes keep up to 8 MiB on the way to a
/// thread, enough for a fast disk, and little enough not to push out the cache's other tenants.
const READ_AHEAD_BYTES: u64 = 512 * 1024;

/// The files that one thread has open: the last one of each lane. Neighbouring lanes share a large file, and a lane
/// that walks over many small ones opens each of them once.
pub(super) struct Source<'p, 'a> {
    pass: &'p Pass<'a>,
    open: [Option<(FileIndex, Rc<File>)>; LANES],
    /// Whether the file system has answered `RWF_NOWAIT` so far.
    knows_nowait: bool,
}

/// Bytes of a file that belong into a slot's buffer and have to be waited for.
pub(super) struct ColdRead {
    /// Which slot.
    pub(super) slot: usize,
    /// Where in the slot's buffer.
    pub(super) at: usize,
    /// How many bytes.
    pub(super) size: usize,
    /// Which file.
    pub(super) index: FileIndex,
    file: Rc<File>,
    offset: u64,
}

impl ColdRead {
    /// The same read for the part of a slot's buffer that ends at `end`.
    pub(super) fn ending_at(self, end: usize) -> ColdRead {
        ColdRead { at: end - self.size, ..self }
    }
}

impl<'p, 'a> Source<'p, 'a> {
    pub(super) fn new(pass: &'p Pass<'a>) -> Source<'p, 'a> {
        Source { pass, open: Default::default(), knows_nowait: true }
    }

    /// Copies what the page cache has of the range into `buffer`, and says what is left to wait for.
    pub(super) fn read_now(
        &mut self,
        slot: usize,
        index: FileIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<Option<ColdRead>, StorageError> {
        let file = self.file(slot, index)?;
        let mut done = 0;
        while self.knows_nowait && done < buffer.len() {
            let rest = &mut [IoSliceMut::new(&mut buffer[done..])];
            match rustix::io::preadv2(&*file, rest, offset + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(self.ended(index, offset + done as u64)),
                Ok(count) => done += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.knows_nowait = false,
                Err(errno) => return Err(StorageError::io(&self.path(index), "read", errno)),
            }
        }
        let size = buffer.len() - done;
        let left = ColdRead { slot, at: 0, size, index, file, offset: offset + done as u64 };
        Ok((size > 0).then_some(left))
    }

    /// The range as memory, if it can be read there; whatever is wrong with the file is found by those who read it.
    pub(super) fn window(&mut self, slot: usize, index: FileIndex, offset: u64, size: u64) -> Option<Window> {
        Window::over(&*self.file(slot, index).ok()?, offset, size)
    }

    /// The error for bytes that vanished while they were read.
    pub(super) fn vanished(&self, index: FileIndex) -> StorageError {
        let found = self.pass.root.as_ref().and_then(|root| root.identify(self.pass.layout.file(index).path()).ok());
        self.ended(index, found.map_or(0, |found| found.size_bytes))
    }

    /// Asks the kernel to begin reading the range and what follows it, at most to `limit` bytes. Only a hint.
    pub(super) fn advise(&self, cold: &ColdRead, limit: u64) {
        let size = NonZeroU64::new(limit.min(READ_AHEAD_BYTES).max(cold.size as u64));
        let _ = rustix::fs::fadvise(&*cold.file, cold.offset, size, Advice::WillNeed);
    }

    /// Fills `buffer`, waiting for the disk.
    pub(super) fn read_cold(&self, cold: &ColdRead, buffer: &mut [u8]) -> Result<(), StorageError> {
        cold.file.read_exact_at(buffer, cold.offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.ended(cold.index, cold.offset),
            _ => StorageError::io(&self.path(cold.index), "read", error),
        })
    }

    fn file(&mut self, slot: usize, index: FileIndex) -> Result<Rc<File>, StorageError> {
        if let Some((_, file)) = self.open[slot].as_ref().filter(|(open, _)| *open == index) {
            return Ok(Rc::clone(file));
        }
        let elsewhere = self.open.iter().flatten().find(|(open, _)| *open == index).map(|(_, file)| Rc::clone(file));
        let file = match elsewhere {
            Some(file) => file,
            None => Rc::new(self.open_file(index)?),
        };
        self.open[slot] = Some((index, Rc::clone(&file)));
        Ok(file)
    }

    fn open_file(&self, index: FileIndex) -> Result<File, StorageError> {
        let (Some(root), Some(before)) = (&self.pass.root, self.pass.before[index.get() as usize]) else {
            return Err(StorageError::Missing { path: self.path(index) });
        };
        let (file, now) = root.open(self.pass.layout.file(index).path())?;
        match now.change_since(&before) {
            Some(change) => Err(StorageError::Changed { path: self.path(index), change }),
            None => Ok(file),
        }
    }

    fn ended(&self, index: FileIndex, offset: u64) -> StorageError {
        let from_bytes = self.pass.layout.file(index).length();
        StorageError::Changed { path: self.path(index), change: Change::Truncated { from_bytes, to_bytes: offset } }
    }

    fn path(&self, index: FileIndex) -> std::path::PathBuf {
        self.pass.top.path_of(self.pass.layout.file(index).path())
    }
}
