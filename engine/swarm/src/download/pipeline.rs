//! How many requests a peer has at a time, from how fast it answers: bandwidth x delay and some slack. Knows times and
//! counts, not blocks.

use super::limits::{
    FIRST_DEPTH, HELP_TIME, LEAST_DEPTH, LEAST_HELP, LEAST_PATIENCE, PIPELINE_LIMIT, SLACK_BLOCKS, SLACK_TIME,
    SNUB_TIME, UNPROVEN_PATIENCE,
};
use metainfo::BLOCK_SIZE;
use std::time::Duration;

/// Ticks over which the rate is measured: two seconds at four ticks a second.
const WINDOWS: usize = 8;

/// The time constant of the rate that the choker compares: it looks every ten seconds.
const SLOW_RATE_TIME: f64 = 10.0;

/// A rate that is not at least so much above the last one does not rise.
const RISE: f64 = 1.05;

/// Round trips over which the rate is compared with what it was before.
const TRIAL_TRIPS: f64 = 1.5;

/// The pipeline of one peer.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// The most requests that the peer takes.
    limit: u32,
    depth: u32,
    /// Every block adds a request, until the rate does not rise (as TCP's slow start).
    growing: bool,
    /// What came since the growth was last looked at, and at what rate before that.
    trial: Window,
    trial_before: Option<f64>,
    windows: [Window; WINDOWS],
    at: usize,
    /// Bytes since the last tick.
    fresh_bytes: u64,
    last_tick: Duration,
    bytes_per_s: f64,
    slow_bytes_per_s: f64,
    /// The shortest time from request to block: what the way takes without a queue.
    least_delay: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    bytes: u64,
    time: Duration,
}

impl Pipeline {
    pub(super) fn new(now: Duration, limit: u32, depth: u32) -> Pipeline {
        Pipeline {
            limit,
            depth: depth.min(limit),
            growing: true,
            trial: Window::default(),
            trial_before: None,
            windows: [Window::default(); WINDOWS],
            at: 0,
            fresh_bytes: 0,
            last_tick: now,
            bytes_per_s: 0.0,
            slow_bytes_per_s: 0.0,
            least_delay: None,
        }
    }

    /// The peer takes so many requests.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.clamp(1, PIPELINE_LIMIT);
        self.depth = self.depth.min(self.limit);
    }

    /// How many requests to have under way.
    pub(super) fn depth(&self) -> usize {
        self.depth as usize
    }

    /// How many requests to have under way of which some are made to others as well: what comes soon.
    pub(super) fn help_depth(&self) -> usize {
        let soon_s = 2.0 * self.least_delay().as_secs_f64() + HELP_TIME.as_secs_f64();
        let blocks = self.bytes_per_s * soon_s / f64::from(BLOCK_SIZE);
        (blocks as usize).min(self.depth()).max(LEAST_HELP)
    }

    /// Bytes per second over the last two seconds.
    pub(super) fn bytes_per_s(&self) -> f64 {
        self.bytes_per_s
    }

    /// Bytes per second over about ten seconds.
    pub(super) fn slow_bytes_per_s(&self) -> f64 {
        self.slow_bytes_per_s
    }

    /// A block came, so long after it was asked for.
    pub(super) fn handle_block(&mut self, bytes: u32, delay: Duration) {
        self.fresh_bytes += u64::from(bytes);
        self.least_delay = Some(self.least_delay.map_or(delay, |least| least.min(delay)));
        if self.growing {
            self.depth = (self.depth + 1).min(self.limit);
        }
    }

    /// The peer refused a request while it had so many others: it takes no more than those.
    pub(super) fn handle_reject(&mut self, under_way: usize) {
        self.depth = self.depth.min(under_way as u32).max(LEAST_DEPTH.min(self.limit));
        self.growing = false;
    }

    /// The peer has stopped answering: it begins anew, with little.
    pub(super) fn handle_snub(&mut self) {
        self.depth = LEAST_DEPTH.min(self.limit);
        self.growing = true;
        (self.trial, self.trial_before) = (Window::default(), None);
    }

    /// Looks at the clock, about four times a second.
    pub(super) fn handle_tick(&mut self, now: Duration) {
        let time = now.saturating_sub(self.last_tick);
        if time.is_zero() {
            return;
        }
        self.last_tick = now;
        self.at = (self.at + 1) % WINDOWS;
        let fresh = Window { bytes: std::mem::take(&mut self.fresh_bytes), time };
        self.windows[self.at] = fresh;
        let sum = self.windows.iter().fold(Window::default(), |sum, window| Window {
            bytes: sum.bytes + window.bytes,
            time: sum.time + window.time,
        });
        self.bytes_per_s = sum.rate();
        let weight = time.as_secs_f64() / (SLOW_RATE_TIME + time.as_secs_f64());
        self.slow_bytes_per_s += (fresh.rate() - self.slow_bytes_per_s) * weight;
        match self.growing {
            true => self.try_growth(fresh),
            false => self.follow_rate(),
        }
    }

    /// Ends the growth once the rate does not rise. Blocks come in bursts, one a round trip, so it takes longer than that to tell.
    fn try_growth(&mut self, fresh: Window) {
        self.trial = Window { bytes: self.trial.bytes + fresh.bytes, time: self.trial.time + fresh.time };
        if self.trial.time < self.least_delay().mul_f64(TRIAL_TRIPS) {
            return;
        }
        let rate = std::mem::take(&mut self.trial).rate();
        if rate > 0.0 {
            self.growing = self.trial_before.is_none_or(|before| rate > before * RISE);
            self.trial_before = Some(rate);
        }
    }

    /// A request is late after this time, if so many are under way.
    pub(super) fn patience(&self, under_way: usize) -> Duration {
        if self.least_delay.is_none() {
            return UNPROVEN_PATIENCE;
        }
        let work_s = under_way as f64 * f64::from(BLOCK_SIZE) / self.slow_bytes_per_s.max(1.0);
        let expected = Duration::from_secs_f64(work_s.min(SNUB_TIME.as_secs_f64())) + self.least_delay();
        (4 * expected).clamp(LEAST_PATIENCE, SNUB_TIME)
    }

    /// When a peer that has so many requests would answer one more, from now. `None` if it answers nothing.
    pub(super) fn expected_wait_s(&self, under_way: usize) -> Option<f64> {
        let rate = self.bytes_per_s.max(self.slow_bytes_per_s);
        (rate >= 1.0).then(|| (under_way + 1) as f64 * f64::from(BLOCK_SIZE) / rate + self.least_delay().as_secs_f64())
    }

    fn least_delay(&self) -> Duration {
        self.least_delay.unwrap_or_default()
    }

    /// Up at once, down by an eighth at a time: a pause is no reason to begin anew.
    fn follow_rate(&mut self) {
        let blocks_per_s = self.bytes_per_s / f64::from(BLOCK_SIZE);
        let slack = (blocks_per_s * SLACK_TIME.as_secs_f64()).min(f64::from(SLACK_BLOCKS));
        let target = (slack + 2.0 * blocks_per_s * self.least_delay().as_secs_f64()).ceil() as u32;
        let floor = self.depth - self.depth.div_ceil(8);
        // A peer so slow that it would take a minute over the least is asked for less.
        let in_time = self.slow_bytes_per_s * (SNUB_TIME / 4).as_secs_f64() / f64::from(BLOCK_SIZE);
        let least = LEAST_DEPTH.min(in_time as u32).max(1);
        self.depth = target.max(floor).clamp(least, PIPELINE_LIMIT).min(self.limit);
    }
}

impl Window {
    fn rate(self) -> f64 {
        if self.time.is_zero() { 0.0 } else { self.bytes as f64 / self.time.as_secs_f64() }
    }
}

/// The depth to begin with.
pub(super) fn first_depth(is_web_seed: bool) -> u32 {
    if is_web_seed { super::limits::FIRST_WEB_SEED_DEPTH } else { FIRST_DEPTH }
}

#[cfg(test)]
mod tests;
