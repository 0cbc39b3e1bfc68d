//! Upload limits: token buckets that all shards share without a lock, and an estimate of the rate that was reached.
//! Who gets the granted bytes is for the sender's turns; clocks are the caller's.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How much unused time a bucket saves up. A window of one second then sees at most 5 % more than the rate, and a
/// sender that comes late by less than this loses nothing.
pub const BURST: Duration = Duration::from_millis(50);

/// The least that a bucket can hold. Below 20 KiB/s it is more than [`BURST`] would allow: bytes by the dozen would
/// keep the rate exactly and waste a packet each.
pub const MIN_BURST_BYTES: u64 = 1024;

/// How much time must have been saved up before a waiting sender is woken, so that it finds more than a few bytes.
pub const REFILL_QUANTUM: Duration = Duration::from_millis(10);

/// The value of `rate_bytes` that stands for "no limit".
const UNLIMITED: u64 = 0;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A rate limit in bytes per second, shared by any number of threads.
///
/// It keeps one number: the instant up to which the allowed time is spent. Granting bytes moves it ahead by the
/// time that the bytes take at the rate; it is never let fall behind `now` by more than the burst. All callers must
/// measure `now` from the same instant; a clock that lags behind another's is granted nothing extra.
///
/// Both numbers lie side by side: whoever takes under a limit touches both, and without one nobody writes either. Every
/// torrent has two of these, so they are kept small.
#[derive(Debug)]
pub struct RateLimiter {
    /// Bytes per second, or [`UNLIMITED`]. Read by every send, written by an operator.
    rate_bytes: AtomicU64,
    /// Nanoseconds since the callers' common start. Invariant: at most the latest `now` that was passed.
    spent_until_ns: AtomicU64,
}

impl RateLimiter {
    /// A limit of so many bytes per second; `None` limits nothing.
    pub fn new(rate_bytes_per_second: Option<NonZeroU64>) -> RateLimiter {
        let limiter = RateLimiter { rate_bytes: AtomicU64::new(UNLIMITED), spent_until_ns: AtomicU64::new(0) };
        limiter.set_rate(rate_bytes_per_second);
        limiter
    }

    /// No limit, until one is set.
    pub fn unlimited() -> RateLimiter {
        RateLimiter::new(None)
    }

    /// Changes the rate from now on. What is in the bucket stays, as time: it is worth more bytes at a higher rate.
    pub fn set_rate(&self, rate_bytes_per_second: Option<NonZeroU64>) {
        self.rate_bytes.store(rate_bytes_per_second.map_or(UNLIMITED, NonZeroU64::get), Relaxed);
    }

    /// Bytes per second; `None` if there is no limit.
    pub fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.rate_bytes.load(Relaxed))
    }

    /// Grants at most `want_bytes`, perhaps none.
    #[inline]
    pub fn take(&self, now: Duration, want_bytes: usize) -> usize {
        match self.rate() {
            None => want_bytes,
            Some(rate) => self.take_limited(now, want_bytes, Pace { rate }),
        }
    }

    /// Returns bytes that were granted and not sent.
    #[inline]
    pub fn give_back(&self, unused_bytes: usize) {
        if let Some(rate) = self.rate()
            && unused_bytes > 0
        {
            // Rounded down, so that giving back never yields more than was taken.
            let unused_ns = Pace { rate }.time_of(unused_bytes as u64, Round::Down);
            self.update(|spent_ns| Some(spent_ns.saturating_sub(unused_ns)));
        }
    }

    /// How long to wait until a [`RateLimiter::take`] is worth while: zero if it is now.
    pub fn next_available(&self, now: Duration) -> Duration {
        let Some(rate) = self.rate() else { return Duration::ZERO };
        let due_ns = self.spent_until_ns.load(Relaxed).saturating_add(Pace { rate }.quantum_ns());
        Duration::from_nanos(due_ns.saturating_sub(nanos(now)))
    }

    /// The least grant that is worth a system call: `want_bytes`, or half of what the bucket can hold at all where that is
    /// less. Who waited for more than it holds would wait for ever.
    pub fn least_grant(&self, want_bytes: usize) -> usize {
        want_bytes.min(self.capacity_bytes() / 2)
    }

    /// The most that one [`RateLimiter::take`] ever grants.
    fn capacity_bytes(&self) -> usize {
        self.rate().map_or(usize::MAX, |rate| {
            let pace = Pace { rate };
            pace.bytes_in(pace.burst_ns()) as usize
        })
    }

    fn take_limited(&self, now: Duration, want_bytes: usize, pace: Pace) -> usize {
        let now_ns = nanos(now);
        let earliest_ns = now_ns.saturating_sub(pace.burst_ns());
        let mut granted = 0;
        self.update(|spent_ns| {
            let from_ns = spent_ns.max(earliest_ns);
            granted = pace.bytes_in(now_ns.saturating_sub(from_ns)).min(want_bytes as u64);
            // The time is rounded up, which could pass `now` by a nanosecond.
            (granted > 0).then(|| from_ns.saturating_add(pace.time_of(granted, Round::Up)).min(now_ns))
        });
        granted as usize
    }

    /// Replaces the one number by what `change` makes of it, again if another thread was faster.
    fn update(&self, change: impl FnMut(u64) -> Option<u64>) {
        // Relaxed: the number guards no other memory, and a failed exchange is retried with the newer value.
        let _ = self.spent_until_ns.fetch_update(Relaxed, Relaxed, change);
    }
}

/// The limits that one torrent's traffic in one direction obeys together: the program's, its group's and its own.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits<'a> {
    /// Shared by all torrents.
    pub global: &'a RateLimiter,
    /// Shared by the torrents of its group, if it is in one.
    pub group: Option<&'a RateLimiter>,
    /// This torrent's own.
    pub torrent: &'a RateLimiter,
}

impl RateLimits<'_> {
    /// Grants what all of them grant, at most `want_bytes`. The narrowest circle is asked first, so that whoever is short
    /// there takes nothing from those who are not.
    #[inline]
    pub fn take(&self, now: Duration, want_bytes: usize) -> usize {
        let from_torrent = self.torrent.take(now, want_bytes);
        let from_group = self.group.map_or(from_torrent, |group| group.take(now, from_torrent));
        let granted = self.global.take(now, from_group);
        if let Some(group) = self.group {
            group.give_back(from_group - granted);
        }
        self.torrent.give_back(from_torrent - granted);
        granted
    }

    /// The lowest of the limits in bytes per second; `None` if there is none.
    pub fn rate(&self) -> Option<NonZeroU64> {
        self.all().filter_map(RateLimiter::rate).min()
    }

    /// The least grant that is worth a write: `want_bytes`, or half of what the buckets can hold at all where that is
    /// less. Who waited for more than a bucket holds would wait for ever.
    #[inline]
    pub fn least_grant(&self, want_bytes: usize) -> usize {
        self.all().fold(want_bytes, |least, limiter| limiter.least_grant(least))
    }

    /// Returns bytes that were granted and not sent.
    #[inline]
    pub fn give_back(&self, unused_bytes: usize) {
        self.all().for_each(|limiter| limiter.give_back(unused_bytes));
    }

    /// How long to wait until a [`RateLimits::take`] is worth while: zero if it is now.
    pub fn next_available(&self, now: Duration) -> Duration {
        self.all().map(|limiter| limiter.next_available(now)).max().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &RateLimiter> {
        [Some(self.torrent), self.group, Some(self.global)].into_iter().flatten()
    }
}

/// Converts between bytes and the time that they take at a rate.
#[derive(Clone, Copy)]
struct Pace {
    rate: NonZeroU64,
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

impl Pace {
    fn bytes_in(self, time_ns: u64) -> u64 {
        (u128::from(time_ns) * u128::from(self.rate.get()) / NANOS_PER_SECOND) as u64
    }

    fn time_of(self, bytes: u64, round: Round) -> u64 {
        let (work, rate) = (u128::from(bytes) * NANOS_PER_SECOND, u128::from(self.rate.get()));
        let time_ns = match round {
            Round::Up => work.div_ceil(rate),
            Round::Down => work / rate,
        };
        time_ns.min(u128::from(u64::MAX)) as u64
    }

    fn burst_ns(self) -> u64 {
        nanos(BURST).max(self.time_of(MIN_BURST_BYTES, Round::Up))
    }

    fn quantum_ns(self) -> u64 {
        nanos(REFILL_QUANTUM).max(self.time_of(MIN_BURST_BYTES, Round::Up)).min(self.burst_ns())
    }
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX)) as u64
}

/// How many bytes passed per second, over the last five seconds. Belongs to one thread.
#[derive(Debug, Clone, Default)]
pub struct RateEstimator {
    /// Bytes by second, the second modulo [`RateEstimator::WINDOW_SECONDS`].
    bytes_by_second: [u64; RateEstimator::WINDOW_SECONDS as usize],
    /// The latest second that `bytes_by_second` holds.
    latest_second: u64,
    /// When the first bytes came: a young estimate divides by its age.
    first: Option<Duration>,
}

impl RateEstimator {
    /// How far back the estimate looks.
    pub const WINDOW_SECONDS: u64 = 5;

    /// Counts bytes that passed at `now`. A `now` before the latest one counts as the latest.
    #[inline]
    pub fn add(&mut self, now: Duration, bytes: u64) {
        self.first.get_or_insert(now);
        self.advance(now.as_secs());
        self.bytes_by_second[(self.latest_second % Self::WINDOW_SECONDS) as usize] += bytes;
    }

    /// Bytes per second.
    pub fn rate(&mut self, now: Duration) -> u64 {
        let Some(first) = self.first else { return 0 };
        self.advance(now.as_secs());
        let now = now.max(Duration::from_secs(self.latest_second));
        let whole_window =
            Duration::from_secs(Self::WINDOW_SECONDS - 1) + Duration::from_nanos(now.subsec_nanos().into());
        // At least a second, so that the very first block is no spike.
        let window = whole_window.min(now.saturating_sub(first)).max(Duration::from_secs(1));
        let sum: u64 = self.bytes_by_second.iter().sum();
        (u128::from(sum) * 1000 / window.as_millis()) as u64
    }

    fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.latest_second);
        for step in 1..=passed.min(Self::WINDOW_SECONDS) {
            self.bytes_by_second[((self.latest_second + step) % Self::WINDOW_SECONDS) as usize] = 0;
        }
        self.latest_second += passed;
    }
}

#[cfg(test)]
mod tests;
