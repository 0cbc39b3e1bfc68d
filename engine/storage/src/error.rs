//! What can go wrong between a torrent and the files that hold its bytes, each with the path that a person can look at.

use std::io;
use std::path::{Path, PathBuf};

/// A fault of the disk, of the content on it, or of whoever changes it while it is used. Never the peer's.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file of the torrent is not there.
    #[error("{}: no such file", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Something is there, but it is a directory, a device, a socket or a pipe.
    #[error("{}: not a regular file", .path.display())]
    NotAFile {
        /// The entry.
        path: PathBuf,
    },
    /// A folder has to be where something else is.
    #[error("{}: not a folder", .path.display())]
    NotAFolder {
        /// The entry.
        path: PathBuf,
    },
    /// A symbolic link below the torrent's own top entry leads out of it.
    #[error("{}: a symbolic link on the way leads out of the torrent's content", .path.display())]
    LeadsOutside {
        /// The file as the torrent names it.
        path: PathBuf,
    },
    /// The file on disk is shorter or longer than the torrent says.
    #[error("{}: is {found_bytes} bytes, the torrent says {expected_bytes}", .path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// What the torrent says.
        expected_bytes: u64,
        /// What the disk says.
        found_bytes: u64,
    },
    /// The file is no longer the one that was hashed or verified.
    #[error("{}: {change} while in use", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is different.
        change: Change,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file name that is not UTF-8 cannot be written into a torrent (BEP 3).
    #[error("{}: the name is not UTF-8, and a torrent holds only UTF-8 names", .path.display())]
    NotUtf8 {
        /// The entry, lossily shown.
        path: PathBuf,
    },
    /// A symbolic link was found where the caller wanted none.
    #[error("{}: is a symbolic link, and links are refused here", .path.display())]
    SymlinkRefused {
        /// The link.
        path: PathBuf,
    },
    /// A symbolic link cannot be kept in a torrent, since its target is absolute or above the torrent's top (BEP 47).
    #[error("{}: the symbolic link points to {}, outside the torrent's content", .path.display(), .target.display())]
    SymlinkEscapes {
        /// The link.
        path: PathBuf,
        /// What the link holds.
        target: PathBuf,
    },
    /// A pattern for files is not a valid glob.
    #[error("pattern {pattern:?}: {reason}")]
    BadPattern {
        /// The pattern as given.
        pattern: String,
        /// What the glob parser said.
        reason: String,
    },
    /// Nothing was found that a torrent could hold.
    #[error("{}: holds no files", .path.display())]
    NoFiles {
        /// Where was looked.
        path: PathBuf,
    },
    /// More entries than a torrent of ours may hold.
    #[error("{}: more than {limit} files", .path.display())]
    TooManyFiles {
        /// Where was looked.
        path: PathBuf,
        /// The limit, [`crate::SCAN_FILES_MAX`].
        limit: usize,
    },
    /// Two files of the torrent are one file on disk, so that each would overwrite the other.
    #[error("{}: is the same file as {}, by a link", .path.display(), .other.display())]
    SharedFile {
        /// One name.
        path: PathBuf,
        /// The other name.
        other: PathBuf,
    },
    /// A v2 torrent was made of its `info` alone: nothing says yet which piece is right.
    #[error("the torrent's piece layers are not known, so that its pieces cannot be verified")]
    NoPieceLayers,
    /// A download was to be closed before all wanted pieces were verified, or the disk lost some.
    #[error("{missing} pieces are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// A file index of another torrent was used.
    #[error("file {index} is not part of this torrent's content")]
    NoSuchFile {
        /// The index.
        index: u32,
    },
    /// The caller cancelled the pass.
    #[error("cancelled")]
    Cancelled,
}

/// How a file differs from what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is shorter now.
    Truncated {
        /// Size before.
        from_bytes: u64,
        /// Size now.
        to_bytes: u64,
    },
    /// It is longer now.
    Grown {
        /// Size before.
        from_bytes: u64,
        /// Size now.
        to_bytes: u64,
    },
    /// Its path names another file now.
    Replaced,
    /// It was written to: the modification time differs.
    Modified,
    /// It has no name any more.
    Deleted,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Truncated { from_bytes, to_bytes } => {
                write!(f, "was truncated from {from_bytes} to {to_bytes} bytes")
            }
            Change::Grown { from_bytes, to_bytes } => write!(f, "grew from {from_bytes} to {to_bytes} bytes"),
            Change::Replaced => f.write_str("was replaced by another file"),
            Change::Modified => f.write_str("was modified"),
            Change::Deleted => f.write_str("was deleted"),
        }
    }
}

impl StorageError {
    /// The file or directory that the error is about, if it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StorageError::Missing { path }
            | StorageError::NotAFile { path }
            | StorageError::NotAFolder { path }
            | StorageError::SharedFile { path, .. }
            | StorageError::LeadsOutside { path }
            | StorageError::WrongSize { path, .. }
            | StorageError::Changed { path, .. }
            | StorageError::Io { path, .. }
            | StorageError::NotUtf8 { path }
            | StorageError::SymlinkRefused { path }
            | StorageError::SymlinkEscapes { path, .. }
            | StorageError::NoFiles { path }
            | StorageError::TooManyFiles { path, .. } => Some(path),
            StorageError::BadPattern { .. }
            | StorageError::NoPieceLayers
            | StorageError::Incomplete { .. }
            | StorageError::NoSuchFile { .. }
            | StorageError::Cancelled => None,
        }
    }

    /// Whether the fault is a shortage that passes (descriptors, memory), and says nothing of the content.
    pub fn is_transient(&self) -> bool {
        use rustix::io::Errno;
        let StorageError::Io { source, .. } = self else { return false };
        let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR];
        source.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
    }

    /// Whether the disk, or the user's share of it, is full: room may come back, and the content is not at fault.
    pub fn is_full(&self) -> bool {
        use rustix::io::Errno;
        let StorageError::Io { source, .. } = self else { return false };
        let shortages = [Errno::NOSPC, Errno::DQUOT];
        source.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: impl Into<io::Error>) -> StorageError {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::NotFound => StorageError::Missing { path: path.to_path_buf() },
            _ => StorageError::Io { path: path.to_path_buf(), action, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let error = |errno: Errno| StorageError::io(Path::new("image.iso"), "write", errno);
        assert!([Errno::NOSPC, Errno::DQUOT].into_iter().all(|errno| error(errno).is_full()));
        assert!([Errno::IO, Errno::ROFS, Errno::FBIG].into_iter().all(|errno| !error(errno).is_full()));
    }

    #[test]
    fn a_shortage_of_ours_is_not_the_contents_fault() {
        let error = |errno: Errno| StorageError::io(Path::new("image.iso"), "open", errno);
        assert!([Errno::MFILE, Errno::NFILE, Errno::NOMEM].into_iter().all(|errno| error(errno).is_transient()));
        assert!([Errno::IO, Errno::NOENT, Errno::ACCESS].into_iter().all(|errno| !error(errno).is_transient()));
        let changed = StorageError::Changed { path: "image.iso".into(), change: Change::Modified };
        assert!(!changed.is_transient());
    }
}
