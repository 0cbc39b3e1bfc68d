//! Whether super-seeding is on: when it begins, when it ends, and why.

use super::peer::Peer;
use super::{SuperSeedAction, SuperSeedEnd, SuperSeeder, SuperSeeding};
use std::hash::Hash;
use std::time::Duration;

/// A leech that is alone for this long is told everything. The first peers of a new release come together, and what one of
/// them was told cannot be taken back: with ten of them it would make the first copy 5 % dearer.
const LONE_PATIENCE: Duration = Duration::from_secs(1);

/// How long the upload may be idle while pieces are wanted.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// How long super-seeding is left alone after it did harm.
const HURT_PAUSE: Duration = Duration::from_secs(300);

/// It begins again when the others lack one piece in so many: a single piece that went with its peer is soon
/// fetched by those who know that we have it.
const MISSING_SHARE: u32 = 20;

/// A copy counts as whole this long after the last of it was sent, even if not all of it was heard of: some clients do
/// not tell us of pieces that we told them of.
const COPY_PATIENCE: Duration = Duration::from_secs(3);

/// How long a whole copy may take to be heard of as a whole.
const COPY_PAUSE: Duration = Duration::from_secs(30);

/// Whether newcomers are told of pieces one by one.
#[derive(Debug)]
pub(super) enum Phase {
    /// They are.
    Active {
        /// Since when there is no more than one leech.
        alone_since: Option<Duration>,
        /// Since when nothing was sent although something was wanted.
        idle_since: Option<Duration>,
    },
    /// They are told everything.
    Resting {
        /// Not to begin again before.
        until: Duration,
    },
}

/// A torrent without peers waits for the first ones: they shall be told of pieces one by one.
impl Default for Phase {
    fn default() -> Phase {
        Phase::Active { alone_since: None, idle_since: None }
    }
}

impl Phase {
    pub(super) fn is_active(&self) -> bool {
        matches!(self, Phase::Active { .. })
    }
}

impl<P: Copy + Eq + Hash> SuperSeeder<P> {
    /// Takes note of whether the upload was used.
    pub(super) fn note_upload(&mut self, now: Duration, sent_bytes: u64) {
        let wanted = self.leech_count > 0;
        if let Phase::Active { idle_since, .. } = &mut self.phase {
            match idle_since {
                Some(_) if sent_bytes > 0 || !wanted => *idle_since = None,
                None if sent_bytes == 0 && wanted => *idle_since = Some(now),
                _ => {}
            }
        }
    }

    /// Begins or ends.
    pub(super) fn decide(&mut self, now: Duration, out: &mut Vec<SuperSeedAction<P>>) {
        let alone = self.leech_count == 1;
        if let Phase::Active { alone_since, .. } = &mut self.phase {
            *alone_since = if alone { Some(alone_since.unwrap_or(now)) } else { None };
        }
        match self.phase {
            Phase::Active { alone_since, idle_since } => {
                if let Some(end) = self.reason_to_end(now, alone_since, idle_since) {
                    self.end(now, end, out);
                }
            }
            Phase::Resting { until } => {
                if until <= now && self.may_begin() {
                    self.phase = Phase::default();
                    out.push(SuperSeedAction::Began);
                }
            }
        }
    }

    fn reason_to_end(
        &self,
        now: Duration,
        alone_since: Option<Duration>,
        idle_since: Option<Duration>,
    ) -> Option<SuperSeedEnd> {
        let has_lasted = |since: Option<Duration>, limit| since.is_some_and(|since| now.saturating_sub(since) >= limit);
        if self.peer_count() > 0 && self.is_copy_out(now) {
            return Some(SuperSeedEnd::WholeCopy);
        }
        if self.mode == SuperSeeding::Auto && has_lasted(alone_since, LONE_PATIENCE) {
            return Some(SuperSeedEnd::OneLeech);
        }
        let hurts = self.mode == SuperSeeding::Auto && has_lasted(idle_since, IDLE_LIMIT);
        hurts.then_some(SuperSeedEnd::Hurts)
    }

    /// Whether there is nothing left to do here. One that is always on waits for pieces that leave with their peers.
    fn is_copy_out(&self, now: Duration) -> bool {
        match self.pieces.unsafe_count() {
            0 => self.mode == SuperSeeding::Auto,
            _ => self.has_sent_all(now),
        }
    }

    /// Whether every piece that nobody says to have was sent to somebody a while ago.
    fn has_sent_all(&self, now: Duration) -> bool {
        if !self.pieces.pool_is_empty() || self.owed_bytes > 0 {
            return false;
        }
        let mut holds = self.slots.iter().flatten().flat_map(Peer::holds);
        holds.all(|hold| self.pieces.is_safe(hold.piece) || hold.is_delivered_since(now, COPY_PATIENCE))
    }

    fn may_begin(&self) -> bool {
        let missing = self.pieces.unsafe_count();
        match self.mode {
            SuperSeeding::Auto => self.leech_count >= 2 && missing >= self.pieces.count().div_ceil(MISSING_SHARE),
            SuperSeeding::On => self.leech_count >= 1 && missing > 0,
            SuperSeeding::Off => false,
        }
    }

    pub(super) fn end(&mut self, now: Duration, end: SuperSeedEnd, out: &mut Vec<SuperSeedAction<P>>) {
        let until = match end {
            SuperSeedEnd::Hurts => now + HURT_PAUSE,
            SuperSeedEnd::WholeCopy => now + COPY_PAUSE,
            SuperSeedEnd::OneLeech | SuperSeedEnd::Ordered => now,
        };
        self.phase = Phase::Resting { until };
        out.push(SuperSeedAction::Ended(end));
        self.queue.clear();
        for peer in self.slots.iter_mut().flatten() {
            peer.waits_at = None;
            if !std::mem::replace(&mut peer.told_all, true) {
                out.push(SuperSeedAction::RevealAll { peer: peer.key });
            }
        }
    }
}
