//! Content on its way from one folder to another: a rename where that is possible, else a copy that is whole and durable
//! before anything of the original goes. Files only; when a torrent stops, what is verified and where it stands in the
//! catalogue is the desk's business.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use storage::Meter;

/// Bytes that are copied between two looks at whether the copy was cancelled.
const COPY_STEP_BYTES: u64 = 8 << 20;

/// Folders within folders that are copied; deeper ones are refused.
const DEPTH_MAX: usize = 128;

/// One entry, a file or a folder, that goes from one path to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relocation {
    from: PathBuf,
    to: PathBuf,
}

/// Why it did not go. The original is where it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelocateError {
    /// Something lies at its new place already.
    #[error("{}: exists already; move it away or choose another folder", .0.display())]
    Taken(PathBuf),
    /// It would go into itself.
    #[error("{}: lies within what is moved", .0.display())]
    IntoItself(PathBuf),
    /// A device, a socket or a pipe.
    #[error("{}: neither file, folder nor link; such things are not moved between disks", .0.display())]
    NotMovable(PathBuf),
    /// Folders within folders without end.
    #[error("{}: more than {DEPTH_MAX} folders within each other", .0.display())]
    TooDeep(PathBuf),
    /// The system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The caller wants it no longer.
    #[error("cancelled")]
    Cancelled,
}

type Result<T> = std::result::Result<T, RelocateError>;

impl Relocation {
    /// Takes the entry at `from` into the folder `to`, under the name that it has.
    pub(crate) fn into_folder(from: &Path, to: &Path) -> Result<Relocation> {
        let name = from.file_name().ok_or_else(|| RelocateError::NotMovable(from.to_path_buf()))?;
        let relocation = Relocation { from: from.to_path_buf(), to: to.join(name) };
        let whole = from.canonicalize().map_err(io_error(from, "find it"))?;
        if to.canonicalize().map_err(io_error(to, "find it"))?.starts_with(whole) {
            return Err(RelocateError::IntoItself(to.to_path_buf()));
        }
        Ok(relocation)
    }

    /// One that was under way before.
    pub(crate) fn between(from: PathBuf, to: PathBuf) -> Relocation {
        Relocation { from, to }
    }

    /// Where the copy is gathered: beside its place and on the same disk, under a name that nobody publishes.
    pub(crate) fn copy_path(&self) -> PathBuf {
        own_name(&self.to, ".spillway-moving")
    }

    /// Where the original waits to be deleted: beside where it was, under a name that nobody else takes.
    pub(crate) fn aside_path(&self) -> PathBuf {
        own_name(&self.from, ".spillway-moved")
    }

    /// Goes by a rename, durable when this returns. False if it is another file system.
    pub(crate) fn rename(&self) -> Result<bool> {
        self.rename_from(&self.from)
    }

    /// Copies everything beside the new place, durable when this returns; returns the bytes of its files. What an earlier
    /// try left is replaced.
    pub(crate) fn copy(&self, meter: &Meter) -> Result<u64> {
        if self.to.symlink_metadata().is_ok() {
            return Err(RelocateError::Taken(self.to.clone()));
        }
        let copy = self.copy_path();
        remove_entry(&copy)?;
        let copied = copy_entry(&self.from, &copy, meter, 0)?;
        sync_folder(&copy)?;
        Ok(copied)
    }

    /// Puts the copy in its place, durable when this returns. It must have been found good.
    pub(crate) fn place_copy(&self) -> Result<()> {
        self.rename_from(&self.copy_path()).map(drop)
    }

    /// Drops the copy that is not in its place yet.
    pub(crate) fn drop_copy(&self) -> Result<()> {
        remove_entry(&self.copy_path())
    }

    /// Takes a rename back.
    pub(crate) fn rename_back(&self) -> Result<bool> {
        Relocation::between(self.to.clone(), self.from.clone()).rename()
    }

    /// Drops the copy that has its place already. The original must be the one that counts.
    pub(crate) fn drop_placed(&self) -> Result<()> {
        Relocation::between(self.to.clone(), self.copy_path()).rename()?;
        self.drop_copy()
    }

    /// Takes the original's name from it, durable when this returns. Its copy must be in its place.
    pub(crate) fn set_aside(&self) -> Result<()> {
        Relocation::between(self.from.clone(), self.aside_path()).rename().map(drop)
    }

    /// Gives what lies aside, if anything does, the name back that it had.
    pub(crate) fn restore_original(&self) -> Result<()> {
        match self.is_aside() {
            true => Relocation::between(self.aside_path(), self.from.clone()).rename().map(drop),
            false => Ok(()),
        }
    }

    /// Whether something lies aside.
    pub(crate) fn is_aside(&self) -> bool {
        self.aside_path().symlink_metadata().is_ok()
    }

    /// Whether the original is (still) there.
    pub(crate) fn has_original(&self) -> bool {
        self.from.symlink_metadata().is_ok()
    }

    /// Whether there is a copy that does not have its place yet.
    pub(crate) fn has_copy(&self) -> bool {
        self.copy_path().symlink_metadata().is_ok()
    }

    /// Whether something is at the new place.
    pub(crate) fn has_arrived(&self) -> bool {
        self.to.symlink_metadata().is_ok()
    }

    /// Never over something that is there already: rename(2) would replace it.
    fn rename_from(&self, path: &Path) -> Result<bool> {
        match renameat_with(CWD, path, CWD, &self.to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(false),
            Err(Errno::EXIST) => return Err(RelocateError::Taken(self.to.clone())),
            // Some network file systems know no such flag. Between look and rename nobody else should write there.
            Err(Errno::INVAL | Errno::NOSYS) if !self.has_arrived() => match fs::rename(path, &self.to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
                Err(error) => return Err(io_error(&self.to, "move it there")(error)),
            },
            Err(errno) => return Err(io_error(&self.to, "move it there")(errno.into())),
        }
        sync_folder(&self.to)?;
        sync_folder(path)?;
        Ok(true)
    }
}

fn own_name(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

fn copy_entry(from: &Path, to: &Path, meter: &Meter, depth: usize) -> Result<u64> {
    if depth > DEPTH_MAX {
        return Err(RelocateError::TooDeep(from.to_path_buf()));
    }
    let status = from.symlink_metadata().map_err(io_error(from, "look at it"))?;
    let kind = status.file_type();
    if kind.is_file() {
        return copy_file(from, to, meter);
    }
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(io_error(from, "read the link"))?;
        std::os::unix::fs::symlink(target, to).map_err(io_error(to, "make the link"))?;
        return Ok(0);
    }
    if !kind.is_dir() {
        return Err(RelocateError::NotMovable(from.to_path_buf()));
    }
    fs::create_dir(to).map_err(io_error(to, "make the folder"))?;
    let mut copied = 0;
    for entry in fs::read_dir(from).map_err(io_error(from, "list it"))? {
        let name = entry.map_err(io_error(from, "list it"))?.file_name();
        copied += copy_entry(&from.join(&name), &to.join(&name), meter, depth + 1)?;
    }
    // Last: a folder that is not to be written could not be filled.
    let mode = fs::Permissions::from_mode(status.mode());
    fs::set_permissions(to, mode).map_err(io_error(to, "set its permissions"))?;
    sync(to)?;
    Ok(copied)
}

/// The copy has the original's bytes, permissions and time; it is on the disk when this returns.
fn copy_file(from: &Path, to: &Path, meter: &Meter) -> Result<u64> {
    let mut original = File::open(from).map_err(io_error(from, "open it"))?;
    let status = original.metadata().map_err(io_error(from, "look at it"))?;
    let mut copy = File::create_new(to).map_err(io_error(to, "make the file"))?;
    let mut copied = 0;
    loop {
        if meter.is_cancelled() {
            return Err(RelocateError::Cancelled);
        }
        // The kernel copies by itself where it can (copy_file_range(2)).
        let step = io::copy(&mut Read::by_ref(&mut original).take(COPY_STEP_BYTES), &mut copy);
        match step.map_err(io_error(to, "copy into it"))? {
            0 => break,
            bytes => copied += bytes,
        }
    }
    copy.flush().map_err(io_error(to, "copy into it"))?;
    let modified = status.modified().map_err(io_error(from, "read its time"))?;
    copy.set_modified(modified).map_err(io_error(to, "set its time"))?;
    copy.set_permissions(status.permissions()).map_err(io_error(to, "set its permissions"))?;
    copy.sync_all().map_err(io_error(to, "write it to the disk"))?;
    Ok(copied)
}

/// Removes whatever is there. Links are removed, not followed.
fn remove_entry(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(status) if status.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, "remove it")(error)),
        _ => Ok(()),
    }
}

/// Makes the names in the folder that holds `path` durable.
fn sync_folder(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => sync(Path::new(".")),
        Some(folder) => sync(folder),
        None => Ok(()),
    }
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path, "write it to the disk"))
}

fn io_error(path: &Path, action: &'static str) -> impl Fn(io::Error) -> RelocateError {
    move |source| RelocateError::Io { path: path.to_path_buf(), action, source }
}

#[cfg(test)]
mod tests;
