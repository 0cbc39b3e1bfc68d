//! One process at a time: a locked file in the state directory that names the process, and that tells the next one whether
//! this one ended in order.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::CatalogueError;

const NAME: &str = "catalogue.lock";

/// What stands in the file after an orderly end.
const CLOSED: &[u8] = b"closed\n";

/// Longer content than a process number is nobody's.
const CONTENT_BYTES_MAX: u64 = 64;

/// The lock, held until it is dropped or the process ends, however that happens.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    /// The process before this one ended in order.
    pub(crate) was_closed: bool,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Lock, CatalogueError> {
        let path = dir.join(NAME);
        let failed = |action| CatalogueError::io(&path, action);
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(failed("open"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = content(&mut file).map_err(failed("read"))?;
                let pid = std::str::from_utf8(&pid).ok().and_then(|pid| pid.trim().parse().ok()).unwrap_or(0);
                return Err(CatalogueError::InUse { dir: dir.to_path_buf(), pid });
            }
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let before = content(&mut file).map_err(failed("read"))?;
        let lock = Lock { file, path: path.clone(), was_closed: before == CLOSED };
        // Synced, so that a power failure after an orderly end before the last does not look like one.
        lock.write(format!("{}\n", std::process::id()).as_bytes()).map_err(failed("write"))?;
        Ok(lock)
    }

    /// Notes that this process ends in order.
    pub(crate) fn close(&self) {
        if let Err(error) = self.write(CLOSED) {
            // The next start checks the database, which costs it some time.
            tracing::debug!(path = %self.path.display(), %error, "cannot note the orderly end");
        }
    }

    fn write(&self, content: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(content, 0)?;
        (&self.file).flush()?;
        self.file.sync_all()
    }
}

fn content(file: &mut File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(CONTENT_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error, CatalogueError::InUse { pid: told, .. } if told == pid), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
        drop(first);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn only_an_orderly_end_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        assert!(!lock.was_closed, "there was none before");
        lock.close();
        drop(lock);
        assert!(Lock::take(dir.path()).unwrap().was_closed);
        assert!(!Lock::take(dir.path()).unwrap().was_closed, "the one before just ended");
    }
}
