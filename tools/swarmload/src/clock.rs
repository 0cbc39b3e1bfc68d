//! The one clock of a run: nanoseconds since it began, the same in every thread.

use std::time::{Duration, Instant};

/// Reads the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now_ns(self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// A duration in nanoseconds; what the command line takes fits.
pub(crate) fn ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
