//! What the threads of the load and the thread that watches them share: plain atomics, written by one side each.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The beginning and the end of the measured time, in nanoseconds of the run's clock; `u64::MAX` until they are known.
#[derive(Debug)]
pub(crate) struct Window {
    start_ns: AtomicU64,
    end_ns: AtomicU64,
}

impl Window {
    /// Not known yet.
    pub(crate) fn new() -> Window {
        Window { start_ns: AtomicU64::new(u64::MAX), end_ns: AtomicU64::new(u64::MAX) }
    }

    /// Sets it; the end first, so that nobody sees a start without one.
    pub(crate) fn set(&self, start_ns: u64, end_ns: u64) {
        self.end_ns.store(end_ns, Relaxed);
        self.start_ns.store(start_ns, Release);
    }

    /// The beginning.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Acquire)
    }

    /// The end.
    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns.load(Relaxed)
    }
}

/// One thread's state for the live line. Aligned so that no two threads write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Board {
    /// Payload bytes of the whole run.
    pub(crate) bytes: AtomicU64,
    /// Downloading connections that have not been dialled, or have neither connected nor failed. Lowered last, so that who
    /// sees it lower sees the connection that it became.
    pub(crate) pending: AtomicU64,
    /// Downloading connections that stand.
    pub(crate) connected: AtomicU64,
    /// Of those, unchoked at least once.
    pub(crate) unchoked: AtomicU64,
    /// When the last of them connected.
    pub(crate) last_connect_ns: AtomicU64,
    /// Connections that ended without being told to.
    pub(crate) lost: AtomicU64,
}
