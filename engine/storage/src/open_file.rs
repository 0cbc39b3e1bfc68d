//! One open file of a torrent: its descriptor, its map if it is worth one, and the questions that a sender
//! asks before it uses either. Does not decide when a file is opened or closed.
//!
//! Mapped bytes are for the kernel's eyes. A file that another program truncates leaves a map whose tail faults with
//! SIGBUS when user code reads it, while a send from it merely fails with `EFAULT`. So nothing reads through
//! this map, and callers hand its addresses to gathered sends only. (Hashing has guarded windows of its own, `window.rs`.)

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapOptions};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::error::{Change, StorageError};
use crate::identity::{FileIdentity, status};
use crate::read_buffer::{ALIGNMENT, ReadBuffer};
use crate::residency::{Residency, ResidencySource, cachestat, mincore};

/// Files smaller than this are read, not mapped: a map costs two system calls, page tables and one of the process's
/// limited number of mappings, which a file of a few blocks never pays back.
pub const MAP_MIN_BYTES: u64 = 64 * 1024;

/// A regular file, open for reading, of the state that [`crate::Content`] remembers.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    map: Option<Mmap>,
    identity: FileIdentity,
    path: PathBuf,
    residency_source: ResidencySource,
    watch: Watch,
    /// Some FUSE file systems say "no links" of every file; there a lost name is not seen.
    counts_links: bool,
}

/// What counts as a change of a file that is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Watch {
    /// Nothing may write to it: another size, time or inode is a change.
    Complete,
    /// We write to it ourselves, within its size: its time says nothing.
    Growing,
}

impl Watch {
    pub(crate) fn change(self, now: &FileIdentity, before: &FileIdentity) -> Option<Change> {
        match self {
            Watch::Complete => now.change_since(before),
            Watch::Growing => now.change_but_time_since(before),
        }
    }
}

/// What a read that may not wait for the disk brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadNow {
    /// This many bytes, at least one; fewer than asked if what follows is cold.
    Read(usize),
    /// The first byte is not in the page cache.
    Cold,
    /// This file system cannot read without waiting (it does not know `RWF_NOWAIT`).
    Unsupported,
}

impl OpenFile {
    /// Takes a file that was just opened and found to be of the state `identity`.
    pub(crate) fn new(
        file: File,
        identity: FileIdentity,
        path: PathBuf,
        watch: Watch,
    ) -> Result<OpenFile, StorageError> {
        Ok(OpenFile { watch, ..OpenFile::with_source(file, identity, path, ResidencySource::detect())? })
    }

    fn with_source(
        file: File,
        identity: FileIdentity,
        path: PathBuf,
        wanted: ResidencySource,
    ) -> Result<OpenFile, StorageError> {
        // A process may have only so many mappings (vm.max_map_count): without one the file is read instead.
        let map = if identity.size_bytes < MAP_MIN_BYTES { None } else { map_whole(&file, &identity) };
        let found = status(&file).map_err(|errno| StorageError::io(&path, "look at", errno))?;
        let is_own = found.owner == rustix::process::geteuid().as_raw();
        let residency_source = match wanted {
            ResidencySource::Cachestat => match cachestat(file.as_fd(), 0, 1) {
                Ok(_) => ResidencySource::Cachestat,
                Err(_) => ResidencySource::Unknown,
            },
            ResidencySource::Mincore if is_own && map.is_some() => ResidencySource::Mincore,
            ResidencySource::Mincore | ResidencySource::Unknown => ResidencySource::Unknown,
        };
        // Peers ask for pieces in any order, and what the kernel would read ahead (megabytes, on some devices) is mostly
        // thrown away. Only a hint.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        let counts_links = found.link_count > 0;
        Ok(OpenFile { file, map, identity, path, residency_source, watch: Watch::Complete, counts_links })
    }

    /// The descriptor, for reads and sends; it stays open as long as `self`.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Length in bytes when the file was opened, which is what the torrent says.
    pub fn len(&self) -> u64 {
        self.identity.size_bytes
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&self) -> bool {
        self.identity.size_bytes == 0
    }

    /// Where the file was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file as mapped memory, for addresses in gathered sends and nothing else: the bytes may change or
    /// vanish under a reader (see the head of this file). `None` for files under [`MAP_MIN_BYTES`] and where the
    /// process has no mapping left.
    pub fn map(&self) -> Option<&[u8]> {
        self.map.as_deref()
    }

    /// Whether every page of the range is in the page cache; `None` if the kernel will not tell.
    pub fn resident(&self, offset: u64, size: u64) -> Option<bool> {
        self.residency(offset, size).map(Residency::is_full)
    }

    /// How many pages of the range are in the page cache; `None` if the kernel will not tell.
    pub fn residency(&self, offset: u64, size: u64) -> Option<Residency> {
        match self.residency_source {
            ResidencySource::Cachestat => cachestat(self.fd(), offset, size).ok(),
            ResidencySource::Mincore => mincore(self.map.as_ref()?, offset, size),
            ResidencySource::Unknown => None,
        }
    }

    /// Which of the kernel's answers [`OpenFile::resident`] gives for this file.
    pub fn residency_source(&self) -> ResidencySource {
        self.residency_source
    }

    /// One `fstat`: still the same length and modification time, and still with a name. A file whose name was taken
    /// over by another has none, unless it has further hard links; [`crate::Content::check_on_disk`] sees that too.
    /// While the torrent downloads the time is not compared, since we move it ourselves.
    pub fn check_unchanged(&self) -> Result<(), StorageError> {
        let now = status(&self.file).map_err(|errno| StorageError::io(&self.path, "look at", errno))?;
        let change = self.watch.change(&now.identity, &self.identity);
        let is_deleted = self.counts_links && now.link_count == 0;
        match change.or(is_deleted.then_some(Change::Deleted)) {
            Some(change) => Err(self.changed(change)),
            None => Ok(()),
        }
    }

    /// Reads into `buffers` what is in the page cache from `offset` on, without ever waiting for the disk
    /// (preadv2(2) with `RWF_NOWAIT`). The end of the file is an error: nobody asks for bytes that the torrent lacks.
    pub fn read_nowait(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<ReadNow, StorageError> {
        loop {
            return match rustix::io::preadv2(&self.file, buffers, offset, ReadWriteFlags::NOWAIT) {
                Ok(0) => Err(self.ended_at(offset)),
                Ok(count) => Ok(ReadNow::Read(count)),
                Err(Errno::AGAIN) => Ok(ReadNow::Cold),
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(ReadNow::Unsupported),
                Err(errno) => Err(StorageError::io(&self.path, "read", errno)),
            };
        }
    }

    /// Fills `buffer` from `offset`, waiting for the disk if need be. Not for an executor's thread.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StorageError> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.ended_at(offset),
            _ => StorageError::io(&self.path, "read", error),
        })
    }

    /// Fills `buffer` with `size` bytes from `offset`, past the page cache: what is there stays, and what is read does not
    /// push other pages out. False if this file has no such reads. Waits for the disk; not for an executor's thread.
    pub fn read_direct(&self, buffer: &mut ReadBuffer, offset: u64, size: usize) -> Result<bool, StorageError> {
        let Some(direct) = self.open_direct() else { return Ok(false) };
        let skip = (offset % ALIGNMENT as u64) as usize;
        let (start, wanted) = (offset - skip as u64, skip + size);
        let room = buffer.aligned_mut(wanted.next_multiple_of(ALIGNMENT));
        let mut filled = 0;
        while filled < wanted {
            match rustix::io::pread(&direct, &mut room[filled..], start + filled as u64) {
                // The end lies on the alignment, so that the read before could not tell.
                Ok(0) => return Err(self.ended_at(start + filled as u64)),
                Ok(count) => filled += count,
                Err(Errno::INTR) => continue,
                // This device wants another alignment.
                Err(Errno::INVAL) => return Ok(false),
                Err(errno) => return Err(StorageError::io(&self.path, "read", errno)),
            }
            // Only at the end of the file do these reads stop off the alignment.
            if filled < wanted && !filled.is_multiple_of(ALIGNMENT) {
                return Err(self.ended_at(start + filled as u64));
            }
        }
        buffer.keep(skip, size);
        Ok(true)
    }

    /// A second descriptor, whose reads pass the page cache by; `None` where the file system has no such reads. For one
    /// read only: kept for as long as the file is open it would count twice against the process's descriptors, while two for
    /// each read under way are few, and opening costs microseconds where the disk takes a hundred times that.
    fn open_direct(&self) -> Option<File> {
        // This path names the very file that is open, whatever its own name means by now.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(File::from)
    }

    /// The error for a read that met the end of the file: with the size of now, or what was reached if it grew back.
    pub fn ended_at(&self, offset: u64) -> StorageError {
        let to_bytes = status(&self.file).map_or(offset, |now| now.identity.size_bytes);
        self.changed(Change::Truncated { from_bytes: self.identity.size_bytes, to_bytes })
    }

    fn changed(&self, change: Change) -> StorageError {
        StorageError::Changed { path: self.path.clone(), change }
    }
}

fn map_whole(file: &File, identity: &FileIdentity) -> Option<Mmap> {
    let size = usize::try_from(identity.size_bytes).ok()?;
    // SAFETY: other programs may write or truncate the file under the map. Neither this crate nor its callers read
    // through it (see the head of this file): its addresses go to the kernel, which answers a vanished page with
    // EFAULT. `size` is the file's length at open; a map past the end of a file truncated since is allowed by mmap(2).
    let map = unsafe { MmapOptions::new().len(size).map(file) }.ok()?;
    // A stray fault then reads one page, not a read-ahead window that stalls every peer of the core. Only a hint.
    let _ = map.advise(Advice::Random);
    Some(map)
}

#[cfg(test)]
mod tests;
