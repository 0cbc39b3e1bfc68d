//! Mapped bytes that a hashing pass reads in place of a copy. Reading them is safe only together with `guard.rs`: a page
//! that vanishes (the file is cut, the disk fails) is replaced by zeros under the reader, and the window says so afterwards.
//!
//! Only bytes that are in the page cache: a pass reads cold ones with read-ahead of its own, and a fault waits for each
//! page. Senders have no use for this; their maps are `open_file.rs`'s.

mod guard;

use std::fs::File;
use std::os::fd::AsFd;

use memmap2::{Mmap, MmapOptions};

use crate::residency::cachestat;
use guard::Guard;

/// Less than this is copied: making and removing a map costs about as much as copying 50 KiB, and touching its pages as much
/// again as a tenth of copying them.
pub(crate) const WINDOW_MIN_BYTES: u64 = 512 * 1024;

/// The largest window: a group of sixteen pieces of 16 MiB. More has no use, and page tables cost memory.
pub(crate) const WINDOW_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A part of a file in memory, for one thread and a short time.
pub(crate) struct Window {
    /// Dropped before the map, so that no address is guarded that means something else by then.
    guard: Guard,
    map: Mmap,
}

impl Window {
    /// The range as memory, if all of it is in the page cache and the process guards against its loss.
    pub(crate) fn over(file: &File, offset: u64, size: u64) -> Option<Window> {
        if !(WINDOW_MIN_BYTES..=WINDOW_MAX_BYTES).contains(&size)
            || !cachestat(file.as_fd(), offset, size).ok()?.is_full()
        {
            return None;
        }
        Window::unchecked(file, offset, size)
    }

    fn unchecked(file: &File, offset: u64, size: u64) -> Option<Window> {
        // SAFETY: the file may be cut, or written to, by other programs. A page that vanishes is replaced by the guard, which
        // is in place before the first byte is read. Bytes that change while they are hashed give a wrong digest, and
        // nothing else depends on them: they are read once, by the hash, and compared with nothing.
        let map = unsafe { MmapOptions::new().offset(offset).len(usize::try_from(size).ok()?).map(file) }.ok()?;
        let guard = Guard::over(&map)?;
        Some(Window { guard, map })
    }

    /// The bytes, or zeros from a place on where they vanished.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Whether all that was read through the window came from the file.
    pub(crate) fn is_intact(&self) -> bool {
        self.guard.is_intact()
    }
}

#[cfg(test)]
mod tests;
