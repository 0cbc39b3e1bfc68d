//! What a directory holds, as a torrent lists it. Reads names and metadata, never contents.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use metainfo::NewFile;
use rustix::fs::{Access, AtFlags, CWD};
use walkdir::{DirEntry, WalkDir};

use crate::error::StorageError;

/// The most files that one scan gives; what a torrent may have at most.
pub const SCAN_FILES_MAX: usize = metainfo::limits::MAX_FILES;

/// What to do with symbolic links below the path that is scanned. The path itself may always be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Symlinks {
    /// Keep them as links (BEP 47). Their targets have to lie inside what is scanned.
    #[default]
    Keep,
    /// Take what they point to. Hashing and seeding such content needs [`crate::Place::following_links`].
    Follow,
    /// End with an error that names the link.
    Refuse,
}

/// How to scan.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Globs of what to leave out, each compared with the file's name and with its path below the top, in which `*` stops
    /// at `/` and `**` does not. A directory that matches is left out with everything in it.
    pub exclude: Vec<String>,
    /// What to do with symbolic links.
    pub symlinks: Symlinks,
}

/// Lists the file at `path`, or all files below it: hidden ones too, sorted by the bytes of their path components,
/// empty directories left out, since a torrent has no way to hold them. Pipes, sockets and devices are errors, as
/// are names that are not UTF-8 and whatever may not be read.
pub fn scan(path: &Path, options: &ScanOptions) -> Result<Vec<NewFile>, StorageError> {
    scan_where(path, options, &|_, _| true)
}

/// Like [`scan`], but takes only what `is_content` says of its path below the top, and whether it is a directory. A directory
/// that is left out is left out with everything in it.
pub fn scan_where(
    path: &Path,
    options: &ScanOptions,
    is_content: &dyn Fn(&Path, bool) -> bool,
) -> Result<Vec<NewFile>, StorageError> {
    let exclude = compile(&options.exclude)?;
    let mut files = Vec::new();
    // Sorting each directory by name gives the order of the whole paths, component by component.
    let mut entries = WalkDir::new(path)
        .follow_links(options.symlinks == Symlinks::Follow)
        .follow_root_links(true)
        .sort_by_file_name()
        .into_iter();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| explain(path, error))?;
        let relative = entry.path().strip_prefix(path).unwrap_or(entry.path());
        let is_out = || {
            exclude.is_match(entry.file_name())
                || exclude.is_match(relative)
                || !is_content(relative, entry.file_type().is_dir())
        };
        if entry.depth() > 0 && is_out() {
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
            continue;
        }
        // The walk follows its root if that is a link, but still reports the link.
        let is_dir = if entry.depth() == 0 { path.is_dir() } else { entry.file_type().is_dir() };
        if is_dir {
            continue;
        }
        if files.len() == SCAN_FILES_MAX {
            return Err(StorageError::TooManyFiles { path: path.to_path_buf(), limit: SCAN_FILES_MAX });
        }
        files.push(scanned(&entry, relative, options)?);
    }
    if files.is_empty() { Err(StorageError::NoFiles { path: path.to_path_buf() }) } else { Ok(files) }
}

fn scanned(entry: &DirEntry, relative: &Path, options: &ScanOptions) -> Result<NewFile, StorageError> {
    let path = entry.path();
    let components = names(relative).ok_or_else(|| StorageError::NotUtf8 { path: path.to_path_buf() })?;
    if entry.depth() > 0 && entry.path_is_symlink() && options.symlinks != Symlinks::Follow {
        if options.symlinks == Symlinks::Refuse {
            return Err(StorageError::SymlinkRefused { path: path.to_path_buf() });
        }
        let target = kept_target(path, relative)?;
        return Ok(NewFile { components, symlink_target: Some(target), ..NewFile::default() });
    }
    let metadata = std::fs::metadata(path).map_err(|error| StorageError::io(path, "look at", error))?;
    if !metadata.is_file() {
        return Err(StorageError::NotAFile { path: path.to_path_buf() });
    }
    // Said now and not after an hour of hashing the files before it.
    rustix::fs::accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)
        .map_err(|errno| StorageError::io(path, "read", errno))?;
    let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
    Ok(NewFile { components, length: metadata.len(), executable, ..NewFile::default() })
}

/// The components of a relative path, unless one is not UTF-8.
fn names(relative: &Path) -> Option<Vec<String>> {
    let components = relative.components().map(|component| component.as_os_str().to_str().map(str::to_owned));
    components.collect()
}

/// Where a link points, counted from the top. BEP 47 gives targets that way, and no target outside.
fn kept_target(path: &Path, relative: &Path) -> Result<Vec<String>, StorageError> {
    let target = std::fs::read_link(path).map_err(|error| StorageError::io(path, "read the link", error))?;
    let mut at: PathBuf = relative.parent().unwrap_or(Path::new("")).to_path_buf();
    let is_inside = target.components().all(|component| match component {
        Component::Normal(name) => {
            at.push(name);
            true
        }
        Component::CurDir => true,
        Component::ParentDir => at.pop(),
        Component::RootDir | Component::Prefix(_) => false,
    });
    if !is_inside || at.as_os_str().is_empty() {
        return Err(StorageError::SymlinkEscapes { path: path.to_path_buf(), target });
    }
    names(&at).ok_or_else(|| StorageError::NotUtf8 { path: path.to_path_buf() })
}

pub(crate) fn compile(patterns: &[String]) -> Result<GlobSet, StorageError> {
    let bad = |pattern: &str, error: globset::Error| StorageError::BadPattern {
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A directory is compared without the slash that people put behind it.
        let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build();
        set.add(glob.map_err(|error| bad(pattern, error))?);
    }
    set.build().map_err(|error| bad(&patterns.join(" "), error))
}

fn explain(top: &Path, error: walkdir::Error) -> StorageError {
    let path = error.path().unwrap_or(top).to_path_buf();
    let is_loop = error.loop_ancestor().is_some();
    match error.into_io_error() {
        Some(source) => StorageError::io(&path, "look at", source),
        None if is_loop => StorageError::Io { path, action: "follow the link", source: rustix::io::Errno::LOOP.into() },
        None => StorageError::Io { path, action: "look at", source: std::io::ErrorKind::Other.into() },
    }
}

#[cfg(test)]
mod tests;
