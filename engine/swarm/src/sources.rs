//! What fetching metadata and fetching piece layers share: a peer that is asked for numbered things, how long its answers
//! are waited for, and what ends it as a source. What is asked for is in `metadata_fetch` and `layer_fetch`.

use std::time::Duration;

/// Requests to one peer within a window: 1,000 a second. Among thousands of small files each answer is short; our own
/// seed takes 2,000 messages a second for a flood.
const REQUESTS_PER_WINDOW: u32 = 250;
const WINDOW: Duration = Duration::from_millis(250);

/// How long an answer of 16 KiB is waited for.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a request stands before another idle peer is asked for the same as well.
pub(crate) const SECOND_OPINION_AFTER: Duration = Duration::from_secs(1);

/// Peers that are asked at the same time; more wait outside.
pub(crate) const SOURCES_LIMIT: usize = 256;

/// How long a peer that refused, or did not answer, is left alone: doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_LIMIT: Duration = Duration::from_secs(60);

/// Answers without use that are forgiven: late ones, second ones. A peer that sends more floods us.
const USELESS_LIMIT: u32 = 256;

/// Why a peer is not asked any more. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// All of a copy came from this peer, and it does not hash to what was asked for.
    #[error("the peer's copy of the metadata is not the torrent's")]
    WrongCopy,
    /// A metadata piece that is not as long as the size that the peer named makes it.
    #[error("the peer sent a metadata piece of a wrong length")]
    WrongLength,
    /// Hashes that do not prove themselves against the file's root.
    #[error("the peer sent hashes that are not the file's")]
    WrongHashes,
    /// Answers that nobody waits for, without end.
    #[error("the peer sends what nobody asked for")]
    Flood,
}

/// Something that a peer was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    what: u32,
    at: Duration,
}

/// A peer that is asked.
#[derive(Debug, Default)]
pub(crate) struct Source {
    asked: Vec<Asked>,
    strikes: u32,
    /// Good answers since its last strike.
    streak: u32,
    paused_until: Duration,
    useless: u32,
    window_start: Duration,
    window_count: u32,
}

impl Source {
    /// Whether it may be asked for one more thing, so many being allowed at a time.
    pub(crate) fn has_room(&self, now: Duration, outstanding_limit: usize) -> bool {
        let is_paced = self.window_count >= REQUESTS_PER_WINDOW && now.saturating_sub(self.window_start) < WINDOW;
        !is_paced && now >= self.paused_until && self.asked.len() < outstanding_limit
    }

    pub(crate) fn is_paused(&self, now: Duration) -> bool {
        now < self.paused_until
    }

    /// Refusals and silences since its last good answer.
    pub(crate) fn strikes(&self) -> u32 {
        self.strikes
    }

    pub(crate) fn is_asked(&self, what: u32) -> bool {
        self.asked.iter().any(|asked| asked.what == what)
    }

    /// What it is asked for, and since when.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u32, Duration)> + '_ {
        self.asked.iter().map(|asked| (asked.what, asked.at))
    }

    pub(crate) fn ask(&mut self, now: Duration, what: u32) {
        if now.saturating_sub(self.window_start) >= WINDOW {
            (self.window_start, self.window_count) = (now, 0);
        }
        self.window_count += 1;
        self.asked.push(Asked { what, at: now });
    }

    /// An answer came; whether it was asked for.
    pub(crate) fn settle(&mut self, what: u32) -> bool {
        let found = self.asked.iter().position(|asked| asked.what == what);
        found.map(|at| self.asked.swap_remove(at)).is_some()
    }

    /// Good answers since it last refused or was silent.
    pub(crate) fn streak(&self) -> u32 {
        self.streak
    }

    /// The answer was of use.
    pub(crate) fn praise(&mut self) {
        self.strikes = 0;
        self.streak = self.streak.saturating_add(1);
    }

    /// The peer refused, or was silent: it is left alone for a while.
    pub(crate) fn strike(&mut self, now: Duration) {
        self.paused_until = now + (PAUSE_FIRST * (1 << self.strikes.min(6))).min(PAUSE_LIMIT);
        self.strikes = self.strikes.saturating_add(1);
        self.streak = 0;
    }

    /// An answer that is of no use. An error ends the peer as a source.
    pub(crate) fn waste(&mut self) -> Result<(), SourceFault> {
        self.useless += 1;
        if self.useless > USELESS_LIMIT { Err(SourceFault::Flood) } else { Ok(()) }
    }

    /// What has been waited for too long, taken off its list.
    pub(crate) fn take_overdue(&mut self, now: Duration) -> Vec<u32> {
        let is_overdue = |asked: &mut Asked| now.saturating_sub(asked.at) >= ANSWER_TIME;
        let overdue: Vec<u32> = self.asked.extract_if(.., is_overdue).map(|asked| asked.what).collect();
        if !overdue.is_empty() {
            self.strike(now);
        }
        overdue
    }

    /// Nothing that it was asked for is waited for any more.
    pub(crate) fn forget_asked(&mut self) {
        self.asked.clear();
    }
}
