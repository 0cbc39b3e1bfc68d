//! A folder below an output root, entered without leaving the root, and what is done to single files in it. Everything goes by the
//! folder's descriptor, so that a link put in its place meanwhile leads nowhere.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hash::Sha256Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The largest file that is compared with what we wrote; none of ours is larger.
const COMPARED_BYTES_MAX: u64 = 4 * metainfo::limits::MAX_TORRENT_BYTES as u64;

const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is at a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A file with these contents.
    File(Sha256Digest),
    /// A folder, a link, a device, or a file that is too large to be one of ours.
    Other,
}

/// An entered folder.
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Enters `below`, a path of plain names, below `root`, and makes the folders that lack, the root's own among them, if
    /// `makes` says so. Links below the
    /// root may lead anywhere within it.
    pub(super) fn enter(root: &Path, below: &str, makes: bool) -> io::Result<Folder> {
        let open = || rustix::fs::open(root, FOLDER_FLAGS, Mode::empty());
        let fd = match open() {
            // The last part of the way alone: a disk that is not mounted lacks more.
            Err(Errno::NOENT) if makes => {
                rustix::fs::mkdir(root, Mode::from_raw_mode(0o755))?;
                open()?
            }
            found => found?,
        };
        let mut folder = Folder { fd, path: root.to_path_buf() };
        if below.is_empty() {
            return Ok(folder);
        }
        match folder.beneath(below) {
            Err(Errno::NOENT) if makes => {}
            found => return Ok(Folder { fd: found?, path: root.join(below) }),
        }
        for name in super::names(below) {
            match rustix::fs::mkdirat(&folder.fd, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => rustix::fs::fsync(&folder.fd)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            folder = Folder { fd: folder.beneath(name)?, path: folder.path.join(name) };
        }
        Ok(folder)
    }

    /// The path of a name, for messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What is at the name. Links are not followed.
    pub(super) fn look_at(&self, name: &str) -> io::Result<Found> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Found::Other),
            Err(errno) => return Err(errno.into()),
        };
        let stat = rustix::fs::fstat(&fd)?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > COMPARED_BYTES_MAX {
            return Ok(Found::Other);
        }
        let mut sha256 = hash::Sha256::new();
        let (mut file, mut buffer) = (File::from(fd).take(COMPARED_BYTES_MAX), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Found::File(sha256.finish())),
                Ok(size) => sha256.update(&buffer[..size]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a file under a temporary name, on the disk when this returns. One that an earlier try left goes.
    pub(super) fn write_temporary(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.remove(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives a file another name, in place of what has it.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file, or a link, if it is there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a folder in this one, if it is empty.
    pub(super) fn remove_empty(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns when what was renamed and removed would survive a power failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn beneath(&self, path: &str) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, FOLDER_FLAGS, Mode::empty(), resolve) {
                // A rename raced with the walk.
                Err(Errno::AGAIN | Errno::INTR) => {}
                found => return found,
            }
        }
    }
}
