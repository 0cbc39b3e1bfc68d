//! What tells one state of a file from another: size, modification time and inode. Reads metadata, never contents.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use crate::error::Change;

/// One state of one file. Two equal identities are taken for the same bytes.
///
/// The status-change time is left out on purpose: `chmod`, `chown` and a new hard link move it and change no byte.
/// A write within the same tick of the file system's clock as the first look is not seen (up to 4 ms before Linux
/// 6.13, whose multigrain timestamps close the gap). File systems that make up inode numbers anew (vfat, exfat) look
/// as if files were replaced, and cannot be seeded from for long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// Length in bytes.
    pub size_bytes: u64,
    /// Modification time in nanoseconds since 1970, saturated at what fits.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number. It may differ after a restart for the same file, so it is not remembered on disk.
    pub device: u64,
}

impl FileIdentity {
    /// What happened between `before` and `self`, or nothing.
    pub fn change_since(&self, before: &FileIdentity) -> Option<Change> {
        if (self.inode, self.device) != (before.inode, before.device) {
            return Some(Change::Replaced);
        }
        let (from_bytes, to_bytes) = (before.size_bytes, self.size_bytes);
        if to_bytes < from_bytes {
            return Some(Change::Truncated { from_bytes, to_bytes });
        }
        if to_bytes > from_bytes {
            return Some(Change::Grown { from_bytes, to_bytes });
        }
        (self.mtime_ns != before.mtime_ns).then_some(Change::Modified)
    }

    /// What happened between `before` and `self` to a file that we write to ourselves: its time may differ.
    pub(crate) fn change_but_time_since(&self, before: &FileIdentity) -> Option<Change> {
        self.change_since(before).filter(|change| *change != Change::Modified)
    }
}

/// What `fstat(2)` says, cut down to what matters here.
pub(crate) struct Status {
    pub(crate) identity: FileIdentity,
    pub(crate) is_regular: bool,
    pub(crate) link_count: u64,
    pub(crate) owner: u32,
}

/// Asks the kernel about an open file (an `O_PATH` descriptor will do).
pub(crate) fn status(fd: impl AsFd) -> rustix::io::Result<Status> {
    Ok(Status::from(rustix::fs::fstat(fd)?))
}

impl From<Stat> for Status {
    // The field types of `stat` differ by architecture, so some of these casts are empty on some.
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: Stat) -> Status {
        let mtime_ns = (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64);
        Status {
            identity: FileIdentity {
                size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
                mtime_ns,
                inode: stat.st_ino as u64,
                device: stat.st_dev as u64,
            },
            is_regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            link_count: stat.st_nlink as u64,
            owner: stat.st_uid,
        }
    }
}
