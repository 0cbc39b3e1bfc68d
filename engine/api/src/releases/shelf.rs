//! Files of releases while they are being sent, and for a moment after. When a release appears, thousands ask for the same
//! torrent within seconds: they share one copy. What is in memory for slow readers is bounded as a whole.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{MAX_FILE_BYTES, ReleaseFile, ReleaseFiles, ReleaseKey};
use crate::etag;

/// All files in memory, each counted once, however many read it: a few of the largest torrents, or thousands of usual ones.
const MAX_HELD_BYTES: usize = 4 * MAX_FILE_BYTES;
/// Permits of the semaphore stand for so many bytes each.
const PERMIT_BYTES: usize = 1024;
/// Reads of the disk at once.
const MAX_READS: usize = 16;
/// A copy is shared for so long: after it, a changed file must show.
const SHARE_TIME: Duration = Duration::from_secs(2);
/// So many of the last files stay when nobody is sent them just now, if they are not larger than this each.
const KEPT_FILES: usize = 8;
const KEPT_BYTES: usize = 1 << 20;
/// Names that are remembered, shared or not, before those that are not are swept out.
const SWEEP_AT: usize = 1024;

/// The files of releases, and which of them are in memory.
pub(crate) struct Shelf {
    files: Arc<dyn ReleaseFiles>,
    held: Arc<Semaphore>,
    reads: Semaphore,
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    shared: HashMap<(ReleaseKey, ReleaseFile), Shared>,
    /// The newest first; they are here so that they are found above.
    kept: VecDeque<Arc<Held>>,
}

/// A file that is in memory.
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) etag: HeaderValue,
    _permit: OwnedSemaphorePermit,
}

struct Shared {
    held: Weak<Held>,
    read_at: Instant,
}

/// Why a file is not handed out.
#[derive(Debug)]
pub(crate) enum NotHeld {
    /// There is none.
    NotFound,
    /// Too much is being sent already.
    Busy,
    /// It is too large, or the disk does not give it.
    Failed(io::Error),
}

/// The bytes of a file, and with them its place in memory for as long as anybody sends them.
struct Lent(Arc<Held>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Held {
    /// Bytes that keep the file's place taken until the last of them is sent.
    pub(crate) fn lend(self: &Arc<Held>) -> Bytes {
        Bytes::from_owner(Lent(Arc::clone(self)))
    }
}

impl Shelf {
    pub(crate) fn new(files: Arc<dyn ReleaseFiles>) -> Shelf {
        Shelf {
            files,
            held: Arc::new(Semaphore::new(MAX_HELD_BYTES / PERMIT_BYTES)),
            reads: Semaphore::new(MAX_READS),
            copies: Mutex::default(),
        }
    }

    /// The file, from memory or from whoever has it.
    pub(crate) async fn take(&self, key: ReleaseKey, file: ReleaseFile) -> Result<Arc<Held>, NotHeld> {
        if let Some(held) = self.shared(key, file) {
            return Ok(held);
        }
        let Ok(_read) = self.reads.acquire().await else { return Err(NotHeld::Busy) };
        // Those who waited for the same file find that it is there now.
        if let Some(held) = self.shared(key, file) {
            return Ok(held);
        }
        let (files, places) = (Arc::clone(&self.files), Arc::clone(&self.held));
        let read = tokio::task::spawn_blocking(move || read(&*files, places, key, file)).await;
        let held = read.map_err(|error| NotHeld::Failed(io::Error::other(error)))??;
        self.share(key, file, &held);
        Ok(held)
    }

    fn shared(&self, key: ReleaseKey, file: ReleaseFile) -> Option<Arc<Held>> {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let found = copies.shared.get(&(key, file))?;
        if found.read_at.elapsed() < SHARE_TIME { found.held.upgrade() } else { None }
    }

    fn share(&self, key: ReleaseKey, file: ReleaseFile, held: &Arc<Held>) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if copies.shared.len() >= SWEEP_AT {
            copies.shared.retain(|_, found| found.held.strong_count() > 0);
        }
        // What is still there is being sent, and so bounded by the connections.
        copies.shared.insert((key, file), Shared { held: Arc::downgrade(held), read_at: Instant::now() });
        if held.bytes.len() <= KEPT_BYTES {
            copies.kept.truncate(KEPT_FILES - 1);
            copies.kept.push_front(Arc::clone(held));
        }
    }
}

fn read(
    files: &dyn ReleaseFiles,
    places: Arc<Semaphore>,
    key: ReleaseKey,
    file: ReleaseFile,
) -> Result<Arc<Held>, NotHeld> {
    let found = files.read(key, file).map_err(NotHeld::Failed)?.ok_or(NotHeld::NotFound)?;
    if found.bytes.len() > MAX_FILE_BYTES {
        return Err(NotHeld::Failed(io::Error::other("larger than any that is handed out")));
    }
    let permits = found.bytes.len().div_ceil(PERMIT_BYTES) as u32;
    let permit = places.try_acquire_many_owned(permits).map_err(|_| NotHeld::Busy)?;
    Ok(Arc::new(Held { etag: etag::of(&found.bytes, ""), name: found.name, bytes: found.bytes, _permit: permit }))
}
