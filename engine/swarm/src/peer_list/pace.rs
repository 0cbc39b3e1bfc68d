//! How fast a shard dials, over all of its torrents: a rate, so that nobody's NAT or firewall chokes, and a number of
//! connections that are being set up at a time, each of which holds a descriptor for as long as the other side is silent.

use std::time::Duration;

/// Connections begun in a second. libtorrent has the same.
pub const DIALS_PER_S: u32 = 30;

/// Connections that are being set up at a time.
pub const HALF_OPEN_LIMIT: usize = 100;

/// Dials that may be made at once after a quiet time: as many as a second allows.
const BURST: Duration = Duration::from_secs(1);

/// A rate and a count of half-open connections.
#[derive(Debug)]
pub struct DialPace {
    interval: Duration,
    half_open_limit: usize,
    half_open_count: usize,
    /// When the dials so far would have been made, had they kept to the rate.
    paid_until: Duration,
}

impl Default for DialPace {
    fn default() -> DialPace {
        DialPace::new(DIALS_PER_S, HALF_OPEN_LIMIT)
    }
}

impl DialPace {
    /// At least one dial a second and one at a time.
    pub fn new(dials_per_s: u32, half_open_limit: usize) -> DialPace {
        let interval = Duration::from_secs(1) / dials_per_s.max(1);
        DialPace { interval, half_open_limit: half_open_limit.max(1), half_open_count: 0, paid_until: Duration::ZERO }
    }

    /// When the next dial may be made; `None` until one that is under way has ended.
    pub fn next_at(&self) -> Option<Duration> {
        (self.half_open_count < self.half_open_limit).then(|| (self.paid_until + self.interval).saturating_sub(BURST))
    }

    /// Whether a dial may be made now.
    pub fn has_room(&self, now: Duration) -> bool {
        self.next_at().is_some_and(|at| at <= now)
    }

    /// A dial is made.
    pub fn handle_dialled(&mut self, now: Duration) {
        debug_assert!(self.has_room(now), "asked before");
        self.half_open_count += 1;
        self.paid_until = self.paid_until.max(now) + self.interval;
    }

    /// A dial has ended: the connection stands, or will not.
    pub fn handle_ended(&mut self) {
        debug_assert!(self.half_open_count > 0, "each dial ends once");
        self.half_open_count = self.half_open_count.saturating_sub(1);
    }

    /// Connections that are being set up.
    pub fn half_open_count(&self) -> usize {
        self.half_open_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn dials_keep_to_the_rate_after_a_burst_of_a_second() {
        let mut pace = DialPace::new(10, 1000);
        let (mut now, mut times) = (Duration::from_secs(5), Vec::new());
        while now < Duration::from_secs(8) {
            if pace.has_room(now) {
                pace.handle_dialled(now);
                times.push(now);
            } else {
                assert!(pace.next_at().unwrap() > now);
                now += MS;
            }
        }
        assert_eq!(times.iter().filter(|time| **time == Duration::from_secs(5)).count(), 10);
        assert_eq!(times.len(), 10 + 29);
    }

    #[test]
    fn half_open_connections_are_bounded_until_some_end() {
        let mut pace = DialPace::new(1000, 3);
        let now = Duration::from_secs(1);
        for _ in 0..3 {
            pace.handle_dialled(now);
        }
        assert_eq!((pace.next_at(), pace.half_open_count()), (None, 3));
        pace.handle_ended();
        assert!(pace.has_room(now));
    }
}
