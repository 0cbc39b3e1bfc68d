//! How far a pass over files is, and the wish to stop it. Shared between the threads that work and one that watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of one pass at a time. The watcher keeps an `Arc` of it; it is all zero until the pass has looked at the
/// files.
#[derive(Debug, Default)]
pub struct Meter {
    hashed_bytes: AtomicU64,
    total_bytes: AtomicU64,
    reused_bytes: AtomicU64,
    is_cancelled: AtomicBool,
}

/// How far a pass is. Bytes of content; pads do not count, and what is hashed both in pieces and as a whole file counts twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Bytes that are done with.
    pub hashed_bytes: u64,
    /// Bytes that have to be hashed in all.
    pub total_bytes: u64,
    /// Bytes, beside those, whose pieces need not be hashed, since their hashes were known.
    pub reused_bytes: u64,
}

impl Meter {
    /// A meter at zero.
    pub fn new() -> Meter {
        Meter::default()
    }

    /// How far the pass is now.
    pub fn progress(&self) -> Progress {
        Progress {
            hashed_bytes: self.hashed_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            reused_bytes: self.reused_bytes.load(Ordering::Relaxed),
        }
    }

    /// Asks the pass to stop soon; it ends with [`crate::StorageError::Cancelled`].
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Meter::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn start(&self, total_bytes: u64, reused_bytes: u64) {
        self.hashed_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.reused_bytes.store(reused_bytes, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.hashed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
