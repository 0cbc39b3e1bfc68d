//! When an open loop wants what: bursts at an even distance, whether answers come or not. Pure.

use crate::clock::SECOND_NS;

/// The schedule of one thread.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start_ns: u64,
    /// Nanoseconds between bursts. A fraction, so that no rate drifts.
    interval_ns: f64,
    /// The next burst, counted from 0.
    next: u64,
}

impl Schedule {
    /// Bursts of `burst_bytes` that make `rate_bytes` a second from `start_ns` on.
    pub(crate) fn new(start_ns: u64, rate_bytes: f64, burst_bytes: u64) -> Schedule {
        Schedule { start_ns, interval_ns: burst_bytes as f64 * SECOND_NS as f64 / rate_bytes, next: 0 }
    }

    /// When the next burst is due.
    pub(crate) fn next_ns(&self) -> u64 {
        self.start_ns + (self.next as f64 * self.interval_ns) as u64
    }

    /// The time of the next burst if it is due by now; it is then counted as taken.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns();
        (due_ns <= now_ns).then(|| {
            self.next += 1;
            due_ns
        })
    }

    /// Gives up what else is due by `now_ns`, since nobody can be asked; how many bursts that is.
    pub(crate) fn give_up(&mut self, now_ns: u64) -> u64 {
        let due = (now_ns.saturating_sub(self.start_ns) as f64 / self.interval_ns) as u64 + 1;
        let given_up = due.saturating_sub(self.next);
        self.next += given_up;
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offered_rate_does_not_drift() {
        // 2 Gbit/s in single blocks: 15,258.789 a second.
        let mut schedule = Schedule::new(7, 250e6, 16_384);
        let hour_ns = 3600 * SECOND_NS;
        let mut count = 0u64;
        let mut last = 0;
        while let Some(due_ns) = schedule.take(7 + hour_ns) {
            assert!(count == 0 || (65_535..=65_537).contains(&(due_ns - last)), "{due_ns} after {last}");
            last = due_ns;
            count += 1;
        }
        assert_eq!(count, (250_000_000 * 3600 / 16_384) + 1);
    }

    #[test]
    fn what_is_late_keeps_its_own_time() {
        let mut schedule = Schedule::new(1000, 1e9, 100);
        let taken: Vec<u64> = std::iter::from_fn(|| schedule.take(1250)).collect();
        assert_eq!(taken, [1000, 1100, 1200]);
        assert_eq!(schedule.next_ns(), 1300);
    }

    #[test]
    fn what_is_given_up_is_counted_and_moves_nothing_else() {
        let mut schedule = Schedule::new(1000, 1e9, 100);
        assert_eq!(schedule.take(1000), Some(1000));
        assert_eq!(schedule.give_up(1550), 5);
        assert_eq!((schedule.give_up(1550), schedule.take(1599), schedule.take(1600)), (0, None, Some(1600)));
    }
}
