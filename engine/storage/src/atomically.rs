//! Files that are there whole or not at all: what is written for a reader or for the next start.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::StorageError;

/// How many temporary names are tried before the directory is taken to be full of them.
const NAME_ATTEMPTS_MAX: u32 = 64;

/// Replaces the file at `path` with `bytes`. After a crash at any moment the path names the old file or the new one,
/// whole: the bytes go to a temporary file beside it, which is synced, renamed, and its directory synced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    write_whole(path, bytes)?;
    let synced = File::open(directory_of(path)).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StorageError::Io { path: path.to_path_buf(), action: "write", source })
}

/// The same for whoever writes many files and then syncs their directory once: until then a power failure may leave the old
/// file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let error = |action| move |source: io::Error| StorageError::Io { path: path.to_path_buf(), action, source };
    let (temporary, mut file) = create_beside(path, directory_of(path)).map_err(error("write beside"))?;
    let renamed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temporary, path));
    renamed.map_err(|source| {
        // Nothing more can be done if this fails too; the error worth telling is the first.
        let _ = std::fs::remove_file(&temporary);
        error("write")(source)
    })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create_beside(path: &Path, directory: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for _ in 0..NAME_ATTEMPTS_MAX {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}", std::process::id()));
        let temporary = directory.join(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_old_file_is_replaced_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new and longer").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new and longer");
        assert_eq!(entries(directory.path()), ["record"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let directory = tempfile::tempdir().unwrap();
        // A directory cannot be replaced by a file, so the rename fails.
        let path = directory.path().join("occupied");
        std::fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"bytes").unwrap_err();
        assert!(error.to_string().contains("occupied: cannot write"), "{error}");
        assert_eq!(entries(directory.path()), ["occupied"]);
    }

    #[test]
    fn a_missing_directory_is_an_error_with_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let error = write_atomically(&directory.path().join("no/record"), b"bytes").unwrap_err();
        assert!(error.to_string().contains("no/record"), "{error}");
    }
}
