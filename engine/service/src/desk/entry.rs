//! One torrent as the desk has it: the catalogue's row, what became of it in this run, and how it reads for others.

use std::sync::Arc;
use std::time::Duration;

use api::operator::types::TorrentState;
use catalogue::{Release, ReleaseState, StopCause, TorrentRow, TorrentTotals, Wanted};
use mesh::TorrentId;
use storage::Meter;
use swarm::Gate;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{LimitChange, TorrentLine};

/// A torrent. Thousands of these are in memory at once, so what most of them lack is behind a pointer.
pub(crate) struct Entry {
    /// What the catalogue has, totals apart: those here are as of when the engine took the torrent.
    pub(crate) row: TorrentRow,
    /// Its number in the engine, as long as that has it.
    pub(crate) engine: Option<TorrentId>,
    /// The release that it is, if it is one.
    pub(crate) release: Option<Box<Release>>,
    /// Holds back everybody but a few until its time has come.
    pub(crate) gate: Option<Arc<Gate>>,
    /// Since when all of it is served, counted from the start of the service.
    pub(crate) served_since: Option<Duration>,
    /// What is done with its files by the desk itself.
    pub(crate) work: Work,
    /// An operation of it is under way; the next one waits.
    pub(crate) is_busy: bool,
}

/// What the desk itself does with a torrent's files.
#[derive(Default)]
pub(crate) enum Work {
    /// Nothing.
    #[default]
    None,
    /// Reads and compares them, or waits for its turn to.
    Checking(Check),
    /// Moves them.
    Moving(Arc<Meter>),
}

/// What a torrent did before this run, and since when it is served in this one.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    before: TorrentTotals,
    served_since: Option<Duration>,
}

/// Content that is compared.
#[derive(Clone, Default)]
pub(crate) struct Check {
    pub(crate) meter: Arc<Meter>,
    cancelled: Arc<Notify>,
}

/// What the engine says of a torrent that it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pub(crate) state: Option<TorrentState>,
    pub(crate) has_failed: bool,
    /// Why it has failed, or is paused.
    pub(crate) note: Option<String>,
    pub(crate) wanted_bytes: Option<u64>,
    pub(crate) verified_bytes: Option<u64>,
    pub(crate) uploaded_bytes: u64,
    pub(crate) downloaded_bytes: u64,
    pub(crate) upload_bytes_per_s: u64,
    pub(crate) download_bytes_per_s: u64,
    pub(crate) peer_count: u64,
}

impl Entry {
    pub(crate) fn new(row: TorrentRow) -> Entry {
        Entry { row, engine: None, release: None, gate: None, served_since: None, work: Work::None, is_busy: false }
    }

    /// Whether the operator, its limits and its content allow that it runs.
    pub(crate) fn is_wanted(&self) -> bool {
        self.row.wanted == Wanted::Running && self.row.fault.is_none() && self.row.moving_to.is_none()
    }

    /// Whether the engine is to have it: what is stopped, has failed or is no open release is not served.
    pub(crate) fn may_run(&self) -> bool {
        self.is_wanted() && self.release.as_deref().is_none_or(is_published)
    }

    /// Whether it is served to everybody: then it is in the feeds, and the other way round.
    pub(crate) fn is_public(&self) -> bool {
        let is_shut = self.gate.as_ref().is_some_and(|gate| !gate.is_open());
        self.engine.is_some()
            && self.row.completed_at_s.is_some()
            && self.release.as_deref().is_none_or(is_published)
            && !is_shut
    }

    /// Uploaded, downloaded and seeded in its life.
    pub(crate) fn totals(&self, live: &Live, now: Duration) -> TorrentTotals {
        self.life().totals(live, now)
    }

    pub(crate) fn life(&self) -> Life {
        Life { before: self.row.totals, served_since: self.served_since }
    }

    /// The engine has it no longer: what it did becomes part of its life.
    pub(crate) fn end_run(&mut self, totals: TorrentTotals) {
        self.row.totals = totals;
        self.served_since = None;
    }

    /// How it is, for others.
    pub(crate) fn line(&self, live: &Live, now: Duration) -> TorrentLine {
        let row = &self.row;
        let size_bytes = row.shape.map_or(0, |shape| shape.size_bytes);
        let there_bytes = if row.completed_at_s.is_some() { size_bytes } else { 0 };
        let totals = self.totals(live, now);
        TorrentLine {
            number: row.number,
            name: row.name.clone(),
            info_hash_v1: row.info_hash_v1,
            info_hash_v2: row.info_hash_v2,
            state: self.state(live),
            error: self.error(live),
            size_bytes,
            piece_count: row.shape.map_or(0, |shape| shape.piece_count),
            is_private: row.shape.is_some_and(|shape| shape.is_private),
            wanted_bytes: live.wanted_bytes.unwrap_or(size_bytes),
            verified_bytes: self.compared_bytes().or(live.verified_bytes).unwrap_or(there_bytes),
            uploaded_bytes: totals.uploaded_bytes,
            downloaded_bytes: totals.downloaded_bytes,
            upload_bytes_per_s: live.upload_bytes_per_s,
            download_bytes_per_s: live.download_bytes_per_s,
            peer_count: live.peer_count,
            seeded_s: totals.seeded_s,
            origin: row.origin.clone(),
            content_path: row.content.path(&row.name),
            group: row.group.clone(),
            limits: row.limits,
            stopped: match row.wanted {
                Wanted::Stopped(cause) => Some(cause),
                Wanted::Running => None,
            },
            tiers: row.tiers.clone(),
            added_at_s: row.added_at_s,
            completed_at_s: row.completed_at_s,
            first_copy_at_s: row.first_copy_at_s,
            opens_at_s: row.release_at_s,
        }
    }

    fn compared_bytes(&self) -> Option<u64> {
        match &self.work {
            Work::Checking(check) => Some(check.meter.progress().hashed_bytes),
            Work::Moving(_) | Work::None => None,
        }
    }

    pub(crate) fn state(&self, live: &Live) -> TorrentState {
        match (&self.work, self.row.wanted) {
            (Work::Checking(_), _) => TorrentState::Checking,
            (Work::Moving(_), _) => TorrentState::Moving,
            _ if self.row.fault.is_some() || live.has_failed => TorrentState::Failed,
            (Work::None, Wanted::Stopped(_)) => TorrentState::Stopped,
            // A release that is not open, or a torrent on its way to the engine.
            (Work::None, Wanted::Running) if self.engine.is_none() => TorrentState::Stopped,
            (Work::None, Wanted::Running) => live.state.unwrap_or_else(|| self.first_state()),
        }
    }

    /// What the engine begins with; it has not said anything of this torrent yet.
    fn first_state(&self) -> TorrentState {
        match (self.row.completed_at_s, self.row.shape) {
            (Some(_), _) => TorrentState::Resting,
            (None, Some(_)) => TorrentState::Checking,
            (None, None) => TorrentState::Resolving,
        }
    }

    fn error(&self, live: &Live) -> Option<String> {
        let fault = self.row.fault.as_ref().map(|fault| fault.text.clone());
        fault.or_else(|| live.note.clone()).or_else(|| match self.row.wanted {
            Wanted::Stopped(StopCause::Ratio) => Some("its ratio is reached".to_owned()),
            Wanted::Stopped(StopCause::Time) => Some("its time of seeding is over".to_owned()),
            Wanted::Stopped(StopCause::Operator) | Wanted::Running => None,
        })
    }
}

fn is_published(release: &Release) -> bool {
    release.state == ReleaseState::Published
}

impl Work {
    /// Lets it end early.
    pub(crate) fn cancel(&self) {
        match self {
            Work::Checking(check) => check.cancel(),
            Work::Moving(meter) => meter.cancel(),
            Work::None => {}
        }
    }
}

impl Life {
    /// With what the engine says of this run.
    pub(crate) fn totals(self, live: &Live, now: Duration) -> TorrentTotals {
        let TorrentTotals { uploaded_bytes, downloaded_bytes, seeded_s } = self.before;
        TorrentTotals {
            uploaded_bytes: uploaded_bytes.saturating_add(live.uploaded_bytes),
            downloaded_bytes: downloaded_bytes.saturating_add(live.downloaded_bytes),
            seeded_s: seeded_s + self.served_since.map_or(0, |since| now.saturating_sub(since).as_secs()),
        }
    }
}

impl Check {
    pub(crate) fn cancel(&self) {
        self.meter.cancel();
        self.cancelled.notify_one();
    }

    /// Its turn, when it comes; nothing if it was cancelled before.
    pub(crate) async fn turn(&self, checks: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.cancelled.notified() => None,
            turn = checks.acquire_owned() => turn.ok(),
        }
    }
}

impl LimitChange {
    /// The limits of a torrent after this change.
    pub(crate) fn applied(&self, mut limits: catalogue::TorrentLimits) -> catalogue::TorrentLimits {
        let set = |limit: &mut Option<u64>, change: Option<Option<u64>>| *limit = change.unwrap_or(*limit);
        set(&mut limits.upload_bytes_per_s, self.upload_bytes_per_s);
        set(&mut limits.download_bytes_per_s, self.download_bytes_per_s);
        set(&mut limits.seed_ratio_permille, self.seed_ratio_permille);
        set(&mut limits.seed_time_s, self.seed_time_s);
        limits.super_seeding = self.super_seeding.unwrap_or(limits.super_seeding);
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalogue::{Catalogue, ContentPlace, NewTorrent, Origin};
    use tempfile::TempDir;

    const MAGNET: &str = "magnet:?xt=urn:btih:0101010101010101010101010101010101010101";

    #[test]
    fn what_the_engine_has_only_just_taken_never_looks_as_if_all_of_it_were_there() {
        let dir = TempDir::new().unwrap();
        let (catalogue, _) = Catalogue::open(dir.path()).unwrap();
        let place = ContentPlace::under(dir.path());
        let torrent =
            NewTorrent::of_magnet(catalogue.next_torrent(), &MAGNET.parse().unwrap(), place, Origin::Added, 1);
        let mut entry = Entry::new(torrent.row);
        let state = |entry: &Entry| entry.line(&Live::default(), Duration::ZERO).state;
        assert_eq!(state(&entry), TorrentState::Stopped);
        entry.engine = Some(TorrentId(1));
        assert_eq!(state(&entry), TorrentState::Resolving);
        entry.row.shape = Some(catalogue::Shape { size_bytes: 1, piece_count: 1, is_private: false });
        assert_eq!(state(&entry), TorrentState::Checking);
        entry.row.completed_at_s = Some(2);
        assert_eq!(state(&entry), TorrentState::Resting);
    }
}
