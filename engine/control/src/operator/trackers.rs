//! A torrent's trackers, as an operator sees them.

use crate::control::Control;
use crate::order::OrderError;
use hash::InfoHash;
use mesh::TorrentId;
use std::time::Duration;
use tracker::client::{Activity, TrackerStatus};
use tracker::{Family, Millis};

/// One line of announces: a torrent's tier under one info-hash in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerLine {
    /// The tracker that is tried at present; `None` once all have said "never again".
    pub url: Option<String>,
    /// The tier, from 0.
    pub tier: usize,
    /// The family that is announced.
    pub family: Family,
    /// The info-hash that is announced.
    pub info_hash: InfoHash,
    /// What it is doing.
    pub activity: TrackerActivity,
    /// How long ago an announce last worked.
    pub succeeded_ago: Option<Duration>,
    /// Announces that failed since then.
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
}

/// What a line of announces is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerActivity {
    /// It announces next after so long.
    Waiting(Duration),
    /// It waits for its turn at the tracker.
    Queued,
    /// The tracker has been asked.
    Announcing,
    /// No tracker of the tier wants it any more.
    GivenUp,
}

impl TrackerLine {
    fn new(status: TrackerStatus, now: Millis) -> TrackerLine {
        let outcome = status.outcome;
        TrackerLine {
            url: status.url.map(|url| url.as_str().to_owned()),
            tier: status.tier,
            family: status.family,
            info_hash: status.info_hash,
            activity: match status.activity {
                Activity::Waiting { until_ms } => {
                    TrackerActivity::Waiting(Duration::from_millis(until_ms.saturating_sub(now)))
                }
                Activity::Queued => TrackerActivity::Queued,
                Activity::Announcing => TrackerActivity::Announcing,
                Activity::GivenUp => TrackerActivity::GivenUp,
            },
            succeeded_ago: outcome.succeeded_ms.map(|then| Duration::from_millis(now.saturating_sub(then))),
            failure_count: outcome.failure_count,
            error: outcome.error,
            warning: outcome.warning,
            seed_count: outcome.seed_count,
            leech_count: outcome.leech_count,
            completed_count: outcome.completed_count,
        }
    }
}

impl Control {
    pub(super) fn trackers_of(&mut self, id: TorrentId) -> Result<Vec<TrackerLine>, OrderError> {
        self.entry(id)?;
        let Some((announcer, announced)) = self.parts.announcer.as_ref().zip(self.announced.get(&id)) else {
            return Ok(Vec::new());
        };
        let now = announcer.now();
        Ok(announcer.status_of(*announced).into_iter().map(|status| TrackerLine::new(status, now)).collect())
    }
}
