//! When a shard takes its turns. Under light load events come one by one, and a turn for each of them costs more than what
//! it does; while they come thick enough, the shard lets them gather for a moment before it looks.

use crate::poller::Token;
use std::time::Duration;

/// Events that are looked at for whether many connections cause them.
const RECENT: usize = 4;

/// Decides between waiting for the next event and letting events gather.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long events gather; zero means never.
    delay: Duration,
    gathering: bool,
    /// Whom the last events were of.
    recent: [Token; RECENT],
    next: usize,
}

impl Pace {
    pub(crate) fn new(delay: Duration) -> Pace {
        Pace { delay, gathering: false, recent: [Token(0); RECENT], next: 0 }
    }

    /// How long to let events gather before the next look; `None` means to wait for the next one.
    pub(crate) fn gather_for(&self) -> Option<Duration> {
        (self.gathering && self.is_crowd()).then_some(self.delay)
    }

    /// An event ended a sleep of this length: if it was short, the next one is not far.
    pub(crate) fn handle_sleep(&mut self, slept: Duration) {
        self.gathering = slept < self.delay.saturating_mul(2);
    }

    /// Events have gathered. With none, waiting is cheaper.
    pub(crate) fn handle_gathered(&mut self, events: impl ExactSizeIterator<Item = Token>) {
        self.gathering &= events.len() > 0;
        for token in events.take(RECENT) {
            self.recent[self.next] = token;
            self.next = (self.next + 1) % RECENT;
        }
    }

    /// One or two peers that ask as soon as they are answered only lose by a delay: nothing else comes meanwhile.
    fn is_crowd(&self) -> bool {
        let mut others = &self.recent[..];
        while let [first, rest @ ..] = others {
            if rest.contains(first) {
                return false;
            }
            others = rest;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_micros(50);

    fn of(tokens: &[u64]) -> impl ExactSizeIterator<Item = Token> {
        tokens.iter().map(|token| Token(*token))
    }

    #[test]
    fn events_gather_only_while_they_come_thick() {
        let mut pace = Pace::new(DELAY);
        assert_eq!(pace.gather_for(), None);
        pace.handle_gathered(of(&[1, 2, 3, 4, 5]));
        pace.handle_sleep(Duration::from_millis(3));
        assert_eq!(pace.gather_for(), None, "a lonely event is served at once");
        pace.handle_sleep(Duration::from_micros(20));
        assert_eq!(pace.gather_for(), Some(DELAY));
        pace.handle_gathered(of(&[6, 7]));
        assert_eq!(pace.gather_for(), Some(DELAY));
        pace.handle_gathered(of(&[]));
        assert_eq!(pace.gather_for(), None);
    }

    #[test]
    fn one_or_two_peers_are_never_kept_waiting() {
        let mut pace = Pace::new(DELAY);
        for turn in 0..10 {
            pace.handle_gathered(of(&[turn % 2]));
            pace.handle_sleep(Duration::from_micros(5));
            assert_eq!(pace.gather_for(), None);
        }
    }

    #[test]
    fn without_a_delay_nothing_gathers() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.handle_gathered(of(&[1, 2, 3, 4]));
        pace.handle_sleep(Duration::ZERO);
        assert_eq!(pace.gather_for(), None);
    }
}
