//! Making folders, files and links below a place, and never outside of it. How existing files are opened is
//! `place.rs`'s.
//!
//! Stricter than reading: a symbolic link is never written through as the last step of a path, not even where the
//! person who runs the program made it, since the torrent chooses the name. Folders on the way may be links as they may
//! be for reading.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use metainfo::RelativePath;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{LOOK_FLAGS, Root, Top, explain, open_beneath};
use crate::error::StorageError;
use crate::identity::{FileIdentity, status};

/// As for reading, `O_NONBLOCK` is for pipes; it is cleared before the file is used.
const WRITE_FLAGS: OFlags =
    OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW);

/// What a new folder, and a new file, may be used for, less what the process's umask takes away.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
const FILE_MODE: Mode =
    Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

impl Top {
    /// Like [`Top::enter`], but makes the folders that are missing: the place itself and the torrent's own.
    pub(crate) fn enter_or_create(&self) -> Result<Root, StorageError> {
        let folder = if self.is_single_file { self.path.parent() } else { Some(self.path.as_path()) };
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| StorageError::io(folder, "make", error))?;
        }
        self.enter()
    }

    /// The folders on the way to a file, the one that holds the torrent's top entry included: what has to be synced for a
    /// new file to keep its name.
    pub(crate) fn folders_to(&self, file: &RelativePath) -> impl Iterator<Item = PathBuf> {
        let path = self.path_of(file);
        let count = path.components().count().saturating_sub(self.path.components().count()) + 1;
        let folders: Vec<PathBuf> = path.ancestors().skip(1).take(count).map(Path::to_path_buf).collect();
        // A relative path's last ancestor is empty and means the working directory.
        folders.into_iter().map(|folder| if folder.as_os_str().is_empty() { ".".into() } else { folder })
    }
}

impl Root {
    /// Opens a regular file for reading and writing.
    pub(crate) fn open_to_write(&self, file: &RelativePath) -> Result<(File, FileIdentity), StorageError> {
        self.open_with(file, WRITE_FLAGS)
    }

    /// Opens a regular file for reading and writing; makes it, and the folders on its way, if there is none.
    pub(crate) fn open_or_create(&self, file: &RelativePath) -> Result<(File, FileIdentity), StorageError> {
        self.make_folders(file)?;
        self.open_with(file, WRITE_FLAGS | OFlags::CREATE)
    }

    /// Makes a symbolic link from `link` to `target`, both below the torrent's folder, unless something has that name. False
    /// if it is not there in the end: a link that would lead out, by way of others that are there, is taken away again.
    pub(crate) fn link(&self, link: &RelativePath, target: &RelativePath) -> Result<bool, StorageError> {
        let Some(directory) = &self.directory else { return Ok(false) };
        self.make_folders(link)?;
        let (path, mut text) = (link.to_path_buf(), PathBuf::new());
        let parent = path.parent().unwrap_or(Path::new(""));
        text.extend(parent.components().map(|_| ".."));
        text.push(target.to_path_buf());
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let folder = self.folder(directory, parent).map_err(|errno| self.failed(parent, "open", errno))?;
        match rustix::fs::symlinkat(&text, &folder, link.file_name()) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => return Err(self.failed(&path, "make the link", errno)),
        }
        match open_beneath(directory, &path, LOOK_FLAGS, Mode::empty()) {
            Err(Errno::XDEV | Errno::LOOP) => {
                let removed = rustix::fs::unlinkat(&folder, link.file_name(), AtFlags::empty());
                removed.map(|()| false).map_err(|errno| self.failed(&path, "remove the link", errno))
            }
            Ok(_) | Err(_) => Ok(true),
        }
    }

    fn open_with(&self, file: &RelativePath, flags: OFlags) -> Result<(File, FileIdentity), StorageError> {
        // openat2(2) refuses a mode where nothing is made.
        let mode = if flags.contains(OFlags::CREATE) { FILE_MODE } else { Mode::empty() };
        let opened = match &self.directory {
            None => rustix::fs::open(&self.top.path, flags, mode),
            Some(directory) => open_beneath(directory, &file.to_path_buf(), flags, mode),
        };
        let looked = opened.and_then(|fd| {
            let found = status(&fd)?;
            if found.is_regular {
                rustix::fs::fcntl_setfl(&fd, OFlags::empty())?;
            }
            Ok((fd, found))
        });
        let path = || self.top.path_of(file);
        match looked {
            Ok((fd, found)) if found.is_regular => Ok((File::from(fd), found.identity)),
            Ok(_) | Err(Errno::ISDIR) => Err(StorageError::NotAFile { path: path() }),
            Err(errno) => Err(explain(&path(), errno)),
        }
    }

    /// Makes the folders on the way to `file`, one after the other, each beneath the torrent's own.
    fn make_folders(&self, file: &RelativePath) -> Result<(), StorageError> {
        let (Some(directory), path) = (&self.directory, file.to_path_buf()) else { return Ok(()) };
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
        if self.folder(directory, parent).is_ok() {
            return Ok(());
        }
        let (mut at, mut reached) = (None, PathBuf::new());
        for name in parent.components() {
            let from = at.as_ref().unwrap_or(directory);
            reached.push(name);
            match rustix::fs::mkdirat(from, name.as_os_str(), FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(&reached, "make", errno)),
            }
            let opened = self.folder(directory, &reached).map_err(|errno| self.failed(&reached, "open", errno))?;
            at = Some(opened);
        }
        Ok(())
    }

    fn folder(&self, directory: &OwnedFd, relative: &Path) -> Result<OwnedFd, Errno> {
        open_beneath(directory, relative, LOOK_FLAGS | OFlags::DIRECTORY, Mode::empty())
    }

    fn failed(&self, relative: &Path, action: &'static str, errno: Errno) -> StorageError {
        let path = self.top.path.join(relative);
        match errno {
            Errno::XDEV | Errno::LOOP => StorageError::LeadsOutside { path },
            Errno::NOTDIR => StorageError::NotAFolder { path },
            _ => StorageError::io(&path, action, errno),
        }
    }
}

#[cfg(test)]
mod tests;
