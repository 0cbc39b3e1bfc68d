//! One release's way from being found to being withdrawn. When it goes on is in `turn`.

use crate::action::{Outcome, State, Waiting};
use crate::fingerprint::Fingerprint;
use crate::limits::{RETRY_MAX_MS, RETRY_MS};
use crate::rules::Becomes;
use crate::tree::Known;

/// A path that the rules make a release.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) becomes: Becomes,
    pub(crate) stage: Stage,
    /// When it was found first; the newest are published first.
    pub(crate) found_ms: i64,
    /// When the last look began that saw all of it.
    pub(crate) seen_ms: Option<i64>,
    /// When something was last seen to be gone from it, or from beside it.
    pub(crate) lost_ms: Option<i64>,
    /// Where it stands in the agenda.
    pub(crate) due_ms: Option<i64>,
    /// When it opens, as was said last.
    pub(crate) release_at: Option<i64>,
    attempts: u32,
}

/// How far a release is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Not published, and why not.
    Waiting(Waiting),
    /// Settled, and waits for its turn to be hashed.
    Ready { fingerprint: Fingerprint, size_bytes: u64, device: u64 },
    /// An action has asked for its publication.
    Preparing { fingerprint: Fingerprint, device: u64, is_cancelled: bool },
    /// Published.
    Published { fingerprint: Fingerprint, device: u64 },
    /// Published before, but its content is another one, which waits as a new release does.
    Changed { former: Former, since_ms: i64, waiting: Waiting },
    /// Published before, but its content is gone. While it lay on what seems to be unmounted now, no grace runs out.
    Missing { former: Former, since_ms: i64, is_unmounted: bool },
    /// Not published: something went wrong.
    Failed { fingerprint: Fingerprint, reason: Box<str>, retry_ms: i64 },
    /// Not published: another release is the same torrent.
    Twin { fingerprint: Fingerprint, of: Box<str> },
}

/// The content that a release had when it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) device: u64,
}

impl Release {
    pub(crate) fn found(at_ms: i64) -> Release {
        let stage = Stage::Waiting(Waiting::Settling { until_ms: at_ms });
        let (seen_ms, lost_ms, due_ms, release_at) = (None, None, None, None);
        Release { becomes: Becomes::File, stage, found_ms: at_ms, seen_ms, lost_ms, due_ms, release_at, attempts: 0 }
    }

    pub(crate) fn restored(known: &Known, now_ms: i64) -> Release {
        let former = Former { fingerprint: known.fingerprint, device: known.device };
        let stage = if known.is_suspended {
            // As if it were just mounted again: if it is gone, its grace begins now.
            Stage::Missing { former, since_ms: now_ms, is_unmounted: true }
        } else {
            Stage::Published { fingerprint: former.fingerprint, device: former.device }
        };
        Release { becomes: known.becomes, stage, release_at: known.release_at, ..Release::found(now_ms) }
    }

    /// Whether there is nothing to do for it until it changes.
    pub(crate) fn is_settled_for_good(&self) -> bool {
        // One that was restored has not been seen yet.
        self.seen_ms.is_some() && matches!(self.stage, Stage::Published { .. } | Stage::Twin { .. })
    }

    /// Whether that was an answer to something.
    pub(crate) fn end_preparing(&mut self, outcome: Outcome, now_ms: i64) -> bool {
        let Stage::Preparing { fingerprint, device, .. } = self.stage else { return false };
        self.stage = match outcome {
            Outcome::Published => {
                self.attempts = 0;
                Stage::Published { fingerprint, device }
            }
            Outcome::Failed(reason) => {
                let wait_ms = RETRY_MS.saturating_mul(1 << self.attempts.min(16)).min(RETRY_MAX_MS);
                self.attempts += 1;
                Stage::Failed { fingerprint, reason, retry_ms: now_ms + wait_ms }
            }
            Outcome::Twin(of) => Stage::Twin { fingerprint, of },
            // What it is like now only a new look can tell.
            Outcome::Cancelled => {
                self.seen_ms = None;
                Stage::Waiting(Waiting::Settling { until_ms: now_ms })
            }
        };
        true
    }

    /// Whether that made a difference.
    pub(crate) fn forgive(&mut self) -> bool {
        let is_stuck = matches!(self.stage, Stage::Failed { .. } | Stage::Twin { .. });
        if is_stuck {
            (self.seen_ms, self.attempts) = (None, 0);
            self.stage = Stage::Waiting(Waiting::Turn);
        }
        is_stuck
    }

    /// After a failure, with the same content or with another one.
    pub(crate) fn go_on(&mut self, is_same: bool) {
        if !is_same {
            self.attempts = 0;
        }
    }

    pub(crate) fn is_unmounted(&self) -> bool {
        matches!(self.stage, Stage::Missing { is_unmounted: true, .. })
    }

    pub(crate) fn state(&self) -> State {
        match &self.stage {
            Stage::Waiting(waiting) | Stage::Changed { waiting, .. } => State::Waiting(waiting.clone()),
            Stage::Ready { .. } => State::Waiting(Waiting::Turn),
            Stage::Preparing { .. } => State::Preparing,
            Stage::Published { .. } => State::Published,
            Stage::Missing { since_ms, .. } => State::Missing { since_ms: *since_ms },
            Stage::Failed { reason, .. } => State::Failed { reason: reason.clone(), attempts: self.attempts },
            Stage::Twin { of, .. } => State::Twin(of.clone()),
        }
    }
}
