//! Which pages of a file are in the page cache. Asks the kernel, never touches the pages, never waits for a disk.
//!
//! A mapped byte may be sent only if its page is resident: a fault on a cold page stops every peer of a core. The
//! kernel can be asked in two ways, and both answer only those who own the file or may write it (they leak what
//! others read): `cachestat(2)` (Linux 6.5, `EPERM` otherwise since 6.14) takes a descriptor and a range;
//! `mincore(2)` takes a mapping, and calls everything resident if it may not tell, so it is asked only about files of
//! our own user. Where neither serves the answer is "unknown" and the sender reads with `RWF_NOWAIT` instead.
//!
//! `cachestat` counts a page from the moment its read begins, `mincore` once the read is done.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::io::Errno;

/// Pages are at least this large on every Linux that we run on.
const PAGE_BYTES_MIN: u64 = 4096;
/// One `mincore` call looks at no more than this many pages, so its answer fits on the stack.
const MINCORE_PAGES_MAX: usize = 1024;
/// The system call number of cachestat(2), the same on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// How many pages of a range exist in the page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Residency {
    /// Pages in the cache.
    pub resident_pages: u64,
    /// Pages that were in the cache until the kernel wanted their memory for others. Zero where it does not tell.
    pub evicted_pages: u64,
    /// Pages that the range touches.
    pub total_pages: u64,
}

impl Residency {
    /// Whether no page of the range is missing.
    pub fn is_full(self) -> bool {
        self.resident_pages >= self.total_pages
    }
}

/// Which of the kernel's two answers is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResidencySource {
    /// cachestat(2).
    Cachestat,
    /// mincore(2).
    Mincore,
    /// Neither; residency is unknown.
    Unknown,
}

impl ResidencySource {
    /// The best that this kernel offers, found out once per process.
    pub fn detect() -> ResidencySource {
        static DETECTED: OnceLock<ResidencySource> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            // Descriptor -1 does not exist: a kernel that has the call says so (EBADF), one without says ENOSYS, and
            // a sandbox that forbids it EPERM.
            let answer = cachestat_raw(-1, 0, PAGE_BYTES_MIN);
            if answer.err() == Some(Errno::BADF) { ResidencySource::Cachestat } else { ResidencySource::Mincore }
        })
    }

    /// The name, for a start-up line.
    pub fn name(self) -> &'static str {
        match self {
            ResidencySource::Cachestat => "cachestat",
            ResidencySource::Mincore => "mincore",
            ResidencySource::Unknown => "unknown",
        }
    }
}

/// The page size of this machine in bytes.
pub(crate) fn page_bytes() -> u64 {
    (rustix::param::page_size() as u64).max(PAGE_BYTES_MIN)
}

fn pages_of(offset: u64, size: u64) -> (u64, u64) {
    let first = offset / page_bytes();
    let end = offset.saturating_add(size).div_ceil(page_bytes());
    (first, end.max(first))
}

/// The layout of `struct cachestat_range` (cachestat(2)).
#[repr(C)]
struct Range {
    offset_bytes: u64,
    size_bytes: u64,
}

/// The layout of `struct cachestat` (cachestat(2)).
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

fn cachestat_raw(fd: i32, offset: u64, size: u64) -> Result<Counts, Errno> {
    let range = Range { offset_bytes: offset, size_bytes: size };
    let mut counts = Counts::default();
    // SAFETY: the kernel reads one `struct cachestat_range` and writes one `struct cachestat`; both are `repr(C)` with
    // the fields of the man page, live on this stack frame and outlive the call. A bad descriptor is only an error.
    let outcome = unsafe { libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut counts, 0u32) };
    if outcome == 0 {
        return Ok(counts);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}

/// Asks cachestat(2) about `size` bytes from `offset`.
pub(crate) fn cachestat(fd: BorrowedFd<'_>, offset: u64, size: u64) -> Result<Residency, Errno> {
    let (first, end) = pages_of(offset, size);
    // A size of zero would mean "to the end of the file".
    if first == end {
        return Ok(Residency { resident_pages: 0, evicted_pages: 0, total_pages: 0 });
    }
    let counts = cachestat_raw(fd.as_raw_fd(), first * page_bytes(), (end - first) * page_bytes())?;
    Ok(Residency { resident_pages: counts.cached, evicted_pages: counts.evicted, total_pages: end - first })
}

/// Asks mincore(2) about `size` bytes from `offset` of a mapping that starts at the file's first byte. `None` if the
/// range is not inside the mapping or the kernel refuses.
pub(crate) fn mincore(map: &memmap2::Mmap, offset: u64, size: u64) -> Option<Residency> {
    let mapped = map.len() as u64;
    if offset.checked_add(size)? > mapped {
        return None;
    }
    let (first, end) = pages_of(offset, size);
    let mut resident_pages = 0;
    let mut at = first;
    while at < end {
        let mut pages = [0u8; MINCORE_PAGES_MAX];
        let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(MINCORE_PAGES_MAX);
        let start = usize::try_from(at * page_bytes()).ok()?;
        let length = (count * page_bytes() as usize).min(map.len() - start);
        // SAFETY: `start + length` lies inside the mapping (checked above), which begins on a page, and `start` is a
        // multiple of the page size. mincore reads no mapped byte, so a truncated file cannot fault here; it writes
        // one byte per page into `pages`, which has room for `count` of them.
        let outcome = unsafe {
            let address = map.as_ptr().add(start);
            libc::mincore(address.cast_mut().cast(), length, pages.as_mut_ptr())
        };
        if outcome != 0 {
            return None;
        }
        // Only the lowest bit has a meaning (mincore(2)).
        resident_pages += pages.iter().take(count).filter(|page| **page & 1 == 1).count() as u64;
        at += count as u64;
    }
    Some(Residency { resident_pages, evicted_pages: 0, total_pages: end - first })
}
