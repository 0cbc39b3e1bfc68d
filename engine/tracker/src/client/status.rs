//! What the user can see of the client's announces.

use std::sync::Arc;

use hash::InfoHash;

use super::slot::{Phase, Slot};
use super::{TorrentId, TrackerClient};
use crate::Millis;
use crate::announce::AnnounceReply;
use crate::family::Family;
use crate::url::TrackerUrl;

/// One line of announces: a torrent's tier under one info-hash in one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerStatus {
    /// The torrent, by the caller's number.
    pub torrent: TorrentId,
    /// The tier, from 0.
    pub tier: usize,
    /// The tracker that is tried at present; `None` once all have said "never again".
    pub url: Option<Arc<TrackerUrl>>,
    /// The info-hash that is announced.
    pub info_hash: InfoHash,
    /// The family that is announced.
    pub family: Family,
    /// What it is doing.
    pub activity: Activity,
    /// How the last announces went.
    pub outcome: Outcome,
}

/// What a line of announces is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It waits until this time.
    Waiting {
        /// When the next announce is due.
        until_ms: Millis,
    },
    /// It waits for its turn at the tracker.
    Queued,
    /// The tracker has been asked.
    Announcing,
    /// No tracker of the tier wants it any more.
    GivenUp,
}

/// How the last announces went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Announces that worked.
    pub success_count: u64,
    /// Announces that did not, since the last one that did.
    pub failure_count: u64,
    /// Why the last announce failed; `None` if it worked.
    pub error: Option<String>,
    /// The tracker's last warning.
    pub warning: Option<String>,
    /// Seeds, as the tracker said last.
    pub seed_count: Option<u32>,
    /// Leeches, as the tracker said last.
    pub leech_count: Option<u32>,
    /// Completed downloads, as the tracker said last.
    pub completed_count: Option<u32>,
    /// When it last worked.
    pub succeeded_ms: Option<Millis>,
}

/// How the last announces went, in the form in which tens of thousands of them are kept.
#[derive(Default)]
pub(super) struct Record {
    success_count: u32,
    failure_count: u32,
    /// Each with one added, 0 for not said.
    seed_count: u32,
    leech_count: u32,
    completed_count: u32,
    succeeded_ms: Option<Millis>,
    /// What few lines have.
    texts: Option<Box<Texts>>,
}

#[derive(Default, PartialEq, Eq)]
struct Texts {
    tracker_id: Option<Vec<u8>>,
    error: Option<String>,
    warning: Option<String>,
}

impl TrackerClient {
    /// Every line of announces, in no order.
    pub fn status(&self) -> impl Iterator<Item = TrackerStatus> + '_ {
        self.slots.iter().filter(|slot| !slot.is_leaving).map(Slot::status)
    }

    /// The lines of one torrent, in the order of its tiers.
    pub fn status_of(&self, torrent: TorrentId) -> impl Iterator<Item = TrackerStatus> + '_ {
        let ids = self.torrents.get(&torrent).into_iter().flatten();
        ids.filter_map(|id| self.slots.get(*id)).map(Slot::status)
    }
}

impl Slot {
    fn status(&self) -> TrackerStatus {
        TrackerStatus {
            torrent: self.torrent,
            tier: self.tier as usize,
            url: self.url().cloned(),
            info_hash: self.info_hash,
            family: self.family,
            activity: match self.phase {
                Phase::Waiting(until_ms) => Activity::Waiting { until_ms },
                Phase::Queued => Activity::Queued,
                Phase::InFlight(_) => Activity::Announcing,
                Phase::GivenUp => Activity::GivenUp,
            },
            outcome: self.record.outcome(),
        }
    }
}

impl Record {
    /// When an announce last worked.
    pub(super) fn succeeded_ms(&self) -> Option<Millis> {
        self.succeeded_ms
    }

    pub(super) fn succeeded(&mut self, now: Millis, reply: &AnnounceReply) {
        self.success_count = self.success_count.saturating_add(1);
        self.failure_count = 0;
        let kept = |count: Option<u32>| count.map_or(0, |count| count.saturating_add(1));
        self.seed_count = kept(reply.seed_count);
        self.leech_count = kept(reply.leech_count);
        self.completed_count = kept(reply.completed_count);
        self.succeeded_ms = Some(now);
        let warning = reply.warning.clone();
        self.change_texts(|texts| (texts.error, texts.warning) = (None, warning));
    }

    pub(super) fn failed(&mut self, error: String) {
        self.failure_count = self.failure_count.saturating_add(1);
        self.change_texts(|texts| texts.error = Some(error));
    }

    /// What the tracker wants to be told again.
    pub(super) fn tracker_id(&self) -> Option<&Vec<u8>> {
        self.texts.as_ref()?.tracker_id.as_ref()
    }

    pub(super) fn keep_tracker_id(&mut self, tracker_id: &[u8]) {
        self.change_texts(|texts| texts.tracker_id = Some(tracker_id.to_vec()));
    }

    pub(super) fn forget_tracker_id(&mut self) {
        self.change_texts(|texts| texts.tracker_id = None);
    }

    pub(super) fn outcome(&self) -> Outcome {
        let texts = self.texts.as_deref();
        Outcome {
            success_count: self.success_count.into(),
            failure_count: self.failure_count.into(),
            error: texts.and_then(|texts| texts.error.clone()),
            warning: texts.and_then(|texts| texts.warning.clone()),
            seed_count: self.seed_count.checked_sub(1),
            leech_count: self.leech_count.checked_sub(1),
            completed_count: self.completed_count.checked_sub(1),
            succeeded_ms: self.succeeded_ms,
        }
    }

    fn change_texts(&mut self, change: impl FnOnce(&mut Texts)) {
        let mut texts = self.texts.take().unwrap_or_default();
        change(&mut texts);
        self.texts = Some(texts).filter(|texts| **texts != Texts::default());
    }
}
