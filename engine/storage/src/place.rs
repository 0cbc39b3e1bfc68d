//! Where a torrent's content lives, and how its files are opened without ever leaving that place.
//!
//! Links: the place itself and the torrent's own top entry (`DIR/NAME`) are named by the person who runs the program
//! and may be symbolic links to anywhere, as mirrors link `latest.iso` into their pool. Below the top entry of a
//! multi-file torrent the path comes from the torrent, so a link there may point to anything inside the content but
//! never out of it, unless the caller asked for [`Place::following_links`] (content that was scanned that way).

mod create;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use metainfo::{FileLayout, RelativePath};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::StorageError;
use crate::identity::{FileIdentity, status};

/// How often `openat2` may answer `EAGAIN` (a rename raced with the walk) before it counts as an error.
const OPEN_ATTEMPTS_MAX: usize = 8;

/// `O_NONBLOCK` keeps the open of a named pipe from waiting for a writer; it is cleared before the file is used.
const READ_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

const LOOK_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The place of one torrent's content on disk. Cheap to clone; holds no descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    path: PathBuf,
    is_content_itself: bool,
    follow_links: bool,
}

impl Place {
    /// The content lies in `data_dir` under the torrent's own name.
    pub fn under(data_dir: impl Into<PathBuf>) -> Place {
        Place { path: data_dir.into(), is_content_itself: false, follow_links: false }
    }

    /// `path` is the content itself, whatever it is called on disk: the file, or the directory that holds the files.
    pub fn at(path: impl Into<PathBuf>) -> Place {
        Place { path: path.into(), is_content_itself: true, follow_links: false }
    }

    /// What a person means by `path` for this torrent: the directory that holds the content under its own name if
    /// that exists, else the content itself if `path` is of its kind, else the former.
    pub fn find(layout: &FileLayout, path: impl Into<PathBuf>) -> Place {
        let path = path.into();
        let is_there = path.join(top_name(layout)).symlink_metadata().is_ok();
        let is_content_itself = !is_there && if layout.is_single_file() { path.is_file() } else { path.is_dir() };
        Place { path, is_content_itself, follow_links: false }
    }

    /// Lets symbolic links inside the content lead anywhere.
    pub fn following_links(mut self) -> Place {
        self.follow_links = true;
        self
    }

    /// The torrent's top entry: the file itself, or the directory of a multi-file torrent.
    pub(crate) fn top(&self, layout: &FileLayout) -> Top {
        let path = if self.is_content_itself { self.path.clone() } else { self.path.join(top_name(layout)) };
        Top { path, is_single_file: layout.is_single_file(), follow_links: self.follow_links }
    }
}

/// The name of the top entry: a single file of a v2 torrent has the one that its tree gives it.
fn top_name(layout: &FileLayout) -> PathBuf {
    match layout.file_index(0) {
        Some(only) if layout.is_single_file() => layout.disk_path(only),
        _ => PathBuf::from(layout.name()),
    }
}

/// The top entry of one torrent on disk. Holds no descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Top {
    path: PathBuf,
    is_single_file: bool,
    follow_links: bool,
}

impl Top {
    /// Where a file of the torrent lives, for messages.
    pub(crate) fn path_of(&self, file: &RelativePath) -> PathBuf {
        if self.is_single_file { self.path.clone() } else { self.path.join(file.to_path_buf()) }
    }

    /// The same entry, but links below it may not lead out of it: for what is written.
    pub(crate) fn without_links(self) -> Top {
        Top { follow_links: false, ..self }
    }

    /// Opens the top entry if it is a directory, so that files can be opened relative to it.
    pub(crate) fn enter(&self) -> Result<Root, StorageError> {
        if self.is_single_file {
            return Ok(Root { top: self.clone(), directory: None });
        }
        let flags = LOOK_FLAGS | OFlags::DIRECTORY;
        let directory =
            rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|errno| explain(&self.path, errno))?;
        Ok(Root { top: self.clone(), directory: Some(directory) })
    }
}

/// An entered [`Top`].
#[derive(Debug)]
pub(crate) struct Root {
    top: Top,
    directory: Option<OwnedFd>,
}

impl Root {
    /// Opens a regular file for reading, with its state at that moment.
    pub(crate) fn open(&self, file: &RelativePath) -> Result<(File, FileIdentity), StorageError> {
        let found = self.resolve(file, READ_FLAGS).and_then(|fd| {
            let found = status(&fd)?;
            if found.is_regular {
                rustix::fs::fcntl_setfl(&fd, OFlags::empty())?;
            }
            Ok((fd, found))
        });
        match found.map_err(|errno| explain(&self.top.path_of(file), errno))? {
            (fd, found) if found.is_regular => Ok((File::from(fd), found.identity)),
            _ => Err(StorageError::NotAFile { path: self.top.path_of(file) }),
        }
    }

    /// The state of the file that the path names now, without opening it for reading.
    pub(crate) fn identify(&self, file: &RelativePath) -> Result<FileIdentity, StorageError> {
        let found = self.resolve(file, LOOK_FLAGS).and_then(status);
        match found.map_err(|errno| explain(&self.top.path_of(file), errno))? {
            found if found.is_regular => Ok(found.identity),
            _ => Err(StorageError::NotAFile { path: self.top.path_of(file) }),
        }
    }

    fn resolve(&self, file: &RelativePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        match &self.directory {
            None => rustix::fs::open(&self.top.path, flags, Mode::empty()),
            Some(directory) if self.top.follow_links => {
                rustix::fs::openat(directory, file.to_path_buf(), flags, Mode::empty())
            }
            Some(directory) => open_beneath(directory, &file.to_path_buf(), flags, Mode::empty()),
        }
    }
}

fn explain(path: &Path, errno: Errno) -> StorageError {
    let path_buf = path.to_path_buf();
    match errno {
        Errno::NOTDIR => StorageError::Missing { path: path_buf },
        Errno::XDEV | Errno::LOOP => StorageError::LeadsOutside { path: path_buf },
        Errno::NXIO => StorageError::NotAFile { path: path_buf },
        _ => StorageError::io(path, "open", errno),
    }
}

/// openat2(2) with `RESOLVE_BENEATH`; where the kernel lacks it or a sandbox forbids it, a walk that follows no link.
fn open_beneath(directory: impl AsFd, relative: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..OPEN_ATTEMPTS_MAX {
        opened = rustix::fs::openat2(&directory, relative, flags, mode, resolve);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    match opened {
        Err(Errno::NOSYS | Errno::PERM) => walk_beneath(directory, relative, flags, mode),
        other => other,
    }
}

/// Opens one component after the other with `O_NOFOLLOW`. Stricter than openat2: it refuses links inside the content.
fn walk_beneath(directory: impl AsFd, relative: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut components = relative.components().peekable();
    let mut at = rustix::fs::openat(directory, ".", LOOK_FLAGS | OFlags::DIRECTORY, Mode::empty())?;
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let is_last = components.peek().is_none();
        let step = if is_last { flags } else { LOOK_FLAGS | OFlags::DIRECTORY };
        at = rustix::fs::openat(&at, name, step | OFlags::NOFOLLOW, if is_last { mode } else { Mode::empty() })?;
    }
    // O_PATH with O_NOFOLLOW opens the link itself instead of failing.
    let is_link = flags.contains(OFlags::PATH) && {
        let mode = rustix::fs::fstat(&at)?.st_mode;
        rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Symlink
    };
    if is_link { Err(Errno::LOOP) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory with `in/file`, links to it and links out of it.
    fn maze() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        std::fs::create_dir_all(top.join("in")).unwrap();
        std::fs::write(top.join("in/file"), "inside").unwrap();
        std::fs::write(directory.path().join("secret"), "outside").unwrap();
        symlink("in/file", top.join("link")).unwrap();
        symlink("in", top.join("way")).unwrap();
        symlink("../secret", top.join("out")).unwrap();
        symlink("..", top.join("in/up")).unwrap();
        symlink("/proc/self/root", top.join("root")).unwrap();
        let fd = rustix::fs::open(&top, LOOK_FLAGS | OFlags::DIRECTORY, Mode::empty()).unwrap();
        (directory, fd)
    }

    fn outcome(opened: Result<OwnedFd, Errno>) -> Result<(), Errno> {
        opened.map(drop)
    }

    #[test]
    fn nothing_outside_is_ever_opened() {
        let (_directory, top) = maze();
        let escapes = ["out", "../secret", "in/../../secret", "root/etc/passwd", "in/up/../secret", "/etc/passwd"];
        for path in escapes.map(Path::new) {
            for flags in [READ_FLAGS, LOOK_FLAGS] {
                assert!(open_beneath(&top, path, flags, Mode::empty()).is_err(), "{path:?}");
                assert!(walk_beneath(&top, path, flags, Mode::empty()).is_err(), "{path:?}");
            }
        }
    }

    #[test]
    fn the_walk_agrees_with_the_kernel_but_for_links() {
        let (_directory, top) = maze();
        for flags in [READ_FLAGS, LOOK_FLAGS] {
            for path in ["in/file", "in", "nothing", "in/nothing", "in/file/below"].map(Path::new) {
                let (kernel, walk) =
                    (open_beneath(&top, path, flags, Mode::empty()), walk_beneath(&top, path, flags, Mode::empty()));
                assert_eq!(outcome(kernel), outcome(walk), "{path:?}");
            }
            for path in ["link", "way/file"].map(Path::new) {
                assert!(open_beneath(&top, path, flags, Mode::empty()).is_ok(), "{path:?}");
                assert!(walk_beneath(&top, path, flags, Mode::empty()).is_err(), "{path:?}");
            }
        }
    }
}
