//! What the user can see of the client's announces.

use std::sync::Arc;

use hash::InfoHash;

use super::TorrentId;
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

impl Outcome {
    pub(super) fn succeeded(&mut self, now: Millis, reply: &AnnounceReply) {
        self.success_count += 1;
        self.failure_count = 0;
        self.error = None;
        self.warning.clone_from(&reply.warning);
        self.seed_count = reply.seed_count;
        self.leech_count = reply.leech_count;
        self.completed_count = reply.completed_count;
        self.succeeded_ms = Some(now);
    }

    pub(super) fn failed(&mut self, error: String) {
        self.failure_count += 1;
        self.error = Some(error);
    }
}
