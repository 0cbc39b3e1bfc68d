//! The two clocks that a tree goes by.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use publish::Moment;

/// Counts from when it was made. Looks hold a copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Moment {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // A clock before 1970 is not set: nothing is old by it.
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms);
        Moment { at_ms: ms(self.start.elapsed()), wall_ms }
    }

    /// When the clock that never jumps will show that.
    pub(crate) fn instant(self, at_ms: i64) -> Instant {
        self.start + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0))
    }
}
