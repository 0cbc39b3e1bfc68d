//! How many bytes may be revealed and not yet sent, over all peers. Little enough that pieces become whole soon and
//! can be passed on, much enough that the upload is never idle.

use std::time::Duration;

/// What is on its way should be sent after this long.
const TURNOVER: Duration = Duration::from_secs(2);

/// Pieces that are always on their way, as far as there are peers to take them.
const LEAST_PIECES: u64 = 8;

/// Pieces on their way before anything is known of the upload's rate.
const FIRST_PIECES: u64 = 32;

/// How long a doubled budget is tried before it is judged.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// The wait after a probe that brought nothing.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// The budget and how it is found: under an upload limit it is what the limit sends in [`TURNOVER`]; without one, it is
/// doubled as long as that makes the upload faster.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    least_bytes: u64,
    /// Somebody could have had more since the last look.
    refused: bool,
    probe: Option<Probe>,
    next_probe: Duration,
    /// Bytes sent since the last look.
    sent_bytes: u64,
    /// Bytes per second, of late.
    rate: u64,
}

#[derive(Debug)]
struct Probe {
    bytes_before: u64,
    rate_before: u64,
    due: Duration,
}

impl Budget {
    pub(super) fn new(piece_bytes: u64) -> Budget {
        Budget {
            bytes: FIRST_PIECES * piece_bytes,
            least_bytes: LEAST_PIECES * piece_bytes,
            refused: false,
            probe: None,
            next_probe: Duration::ZERO,
            sent_bytes: 0,
            rate: 0,
        }
    }

    /// Whether more may be revealed while this much is owed.
    pub(super) fn allows(&mut self, owed_bytes: u64) -> bool {
        self.refused |= owed_bytes >= self.bytes;
        owed_bytes < self.bytes
    }

    /// Bytes a second that all peers were sent, of late.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    pub(super) fn handle_sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    /// Looks back on `elapsed`. `limited`: an upload limit has held somebody back. Returns the bytes sent meanwhile.
    pub(super) fn handle_tick(&mut self, now: Duration, elapsed: Duration, limited: bool) -> u64 {
        let sent_bytes = std::mem::take(&mut self.sent_bytes);
        let rate_now = per_second(sent_bytes, elapsed);
        self.rate = if self.rate == 0 { rate_now } else { (self.rate + rate_now) / 2 };
        let refused = std::mem::take(&mut self.refused);
        if limited {
            self.probe = None;
            let wanted = (self.rate * TURNOVER.as_secs()).max(self.least_bytes);
            // Downwards in steps: a second without a word from the peers is not yet a slow upload.
            self.bytes = wanted.max(self.bytes - self.bytes / 4);
            return sent_bytes;
        }
        match self.probe.take_if(|probe| probe.due <= now) {
            Some(probe) if self.rate < probe.rate_before + probe.rate_before / 8 => {
                self.bytes = probe.bytes_before;
                self.next_probe = now + PROBE_PAUSE;
            }
            _ => {}
        }
        if refused && self.probe.is_none() && self.next_probe <= now {
            self.probe = Some(Probe { bytes_before: self.bytes, rate_before: self.rate, due: now + PROBE_TIME });
            self.bytes = self.bytes.saturating_mul(2);
        }
        sent_bytes
    }
}

/// Bytes per second.
pub(super) fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    (u128::from(bytes) * 1000 / elapsed.as_millis().max(1)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE_BYTES: u64 = 1024 * 1024;

    /// Runs for some seconds against an upload that sends what is on its way, at most `capacity` a second.
    fn run(seconds: u64, capacity: u64, limited: bool) -> Budget {
        let mut budget = Budget::new(PIECE_BYTES);
        for second in 1..=seconds {
            assert!(!budget.allows(budget.bytes));
            // A peer of ours takes a piece in ten seconds: the rate is that of the pieces on their way.
            budget.handle_sent((budget.bytes / 10).min(capacity));
            budget.handle_tick(Duration::from_secs(second), Duration::from_secs(1), limited);
        }
        budget
    }

    #[test]
    fn a_limited_upload_has_two_seconds_of_it_on_the_way() {
        let budget = run(60, 10 * PIECE_BYTES, true);
        assert!(budget.bytes <= 21 * PIECE_BYTES, "{}", budget.bytes / PIECE_BYTES);
        assert!(budget.bytes >= LEAST_PIECES * PIECE_BYTES);
    }

    #[test]
    fn slow_peers_are_served_by_the_hundred_until_the_upload_is_full() {
        let budget = run(60, 100 * PIECE_BYTES, false);
        assert!(budget.rate >= 90 * PIECE_BYTES, "{}", budget.rate / PIECE_BYTES);
    }

    #[test]
    fn what_makes_nothing_faster_is_taken_back() {
        let budget = run(300, 2 * PIECE_BYTES, false);
        assert!(budget.bytes <= 2 * FIRST_PIECES * PIECE_BYTES, "{}", budget.bytes / PIECE_BYTES);
    }
}
