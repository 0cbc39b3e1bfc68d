//! When a shard takes its turns. Under light load events come one by one, and a turn for each of them costs more than what
//! it does; while they come thick enough, the shard lets them gather for a moment before it looks.

use std::time::Duration;

/// Decides between waiting for the next event and letting events gather.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long events gather; zero means never.
    delay: Duration,
    gathering: bool,
}

impl Pace {
    pub(crate) fn new(delay: Duration) -> Pace {
        Pace { delay, gathering: false }
    }

    /// How long to let events gather before the next look; `None` means to wait for the next one.
    pub(crate) fn gather_for(&self) -> Option<Duration> {
        self.gathering.then_some(self.delay)
    }

    /// An event ended a sleep of this length: if it was short, the next one is not far.
    pub(crate) fn handle_sleep(&mut self, slept: Duration) {
        self.gathering = slept < self.delay.saturating_mul(2);
    }

    /// Events have gathered, this many of them. With none, waiting is cheaper.
    pub(crate) fn handle_gathered(&mut self, count: usize) {
        self.gathering &= count > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_micros(50);

    #[test]
    fn events_gather_only_while_they_come_thick() {
        let mut pace = Pace::new(DELAY);
        assert_eq!(pace.gather_for(), None);
        pace.handle_sleep(Duration::from_millis(3));
        assert_eq!(pace.gather_for(), None, "a lonely event is served at once");
        pace.handle_sleep(Duration::from_micros(20));
        assert_eq!(pace.gather_for(), Some(DELAY));
        pace.handle_gathered(2);
        assert_eq!(pace.gather_for(), Some(DELAY));
        pace.handle_gathered(0);
        assert_eq!(pace.gather_for(), None);
    }

    #[test]
    fn without_a_delay_nothing_gathers() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.handle_sleep(Duration::ZERO);
        assert_eq!(pace.gather_for(), None);
    }
}
