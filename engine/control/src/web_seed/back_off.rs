//! How long a server that failed is left alone. Pure: randomness comes in.

use std::time::Duration;

/// The most that a server may ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Counts failures in a row.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The server has done what it was asked for.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: `first`, doubled by each failure in a row up to `longest`, and up to half as
    /// much again, so that not all come back at once. At least what the server asked for.
    pub(super) fn failed(
        &mut self,
        (first, longest): (Duration, Duration),
        retry_after: Option<Duration>,
        random: u64,
    ) -> Duration {
        let doubled = first.saturating_mul(1 << self.failures.min(30)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let base = doubled.max(asked);
        base + base.mul_f64(random as f64 / u64::MAX as f64 / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_its_limit() {
        let mut back_off = BackOff::default();
        let mut wait_s = || back_off.failed(RANGE, None, 0).as_secs();
        let waits: Vec<u64> = (0..12).map(|_| wait_s()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        for _ in 0..100 {
            assert_eq!(wait_s(), 600);
        }
        back_off.succeeded();
        assert_eq!(back_off.failed(RANGE, None, 0).as_secs(), 2);
    }

    #[test]
    fn a_server_may_ask_for_a_longer_wait_but_not_for_ever() {
        let mut wait_s =
            |retry_after_s| BackOff::default().failed(RANGE, Some(Duration::from_secs(retry_after_s)), 0).as_secs();
        assert_eq!([0, 1, 90, u64::MAX].map(&mut wait_s), [2, 2, 90, 3600]);
    }

    #[test]
    fn those_who_failed_together_do_not_come_back_together() {
        let wait = |random| BackOff::default().failed(RANGE, None, random);
        assert_eq!(wait(u64::MAX), Duration::from_secs(3));
        assert!(wait(u64::MAX / 2) > wait(0) && wait(u64::MAX / 2) < wait(u64::MAX));
    }
}
