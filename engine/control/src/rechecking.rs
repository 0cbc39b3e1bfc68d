//! Content that is compared with its torrent while nobody is served, and torrents that are fetched anew. What reads the content,
//! and on which threads, is somebody else's affair.

use crate::control::Control;
use crate::fetch::{FetchSource, NewFetch};
use crate::news::EngineEvent;
use crate::order::OrderError;
use crate::registry::{Entry, InfoHashes, Phase};
use crate::torrents::Since;
use mesh::TorrentId;
use metainfo::Torrent;
use std::sync::Arc;
use storage::{Progress, Seeded, StorageError, VerifiedRecord};

/// Lines of a report about files at most.
pub const PROBLEMS_LIMIT: usize = 16;

/// Compares the content of one torrent with it.
pub trait ContentCheck: Send + Sync {
    /// Reads all of it. Called where waiting is allowed.
    fn check(&self, torrent: &Arc<Torrent>) -> Result<Checked, CheckError>;

    /// How far that is.
    fn progress(&self) -> Progress;

    /// Makes it end soon.
    fn cancel(&self);
}

/// What a comparison found.
pub struct Checked {
    /// In numbers and words.
    pub report: RecheckReport,
    /// The torrent with its content as it is now, if all of it is right.
    pub seeded: Option<Arc<Seeded>>,
}

/// What a comparison found, for people and for whoever remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecheckReport {
    /// Pieces of the torrent.
    pub piece_count: u32,
    /// Pieces with wrong bytes, or none.
    pub bad_count: u32,
    /// A line for each file that is not right, the first [`PROBLEMS_LIMIT`] of them.
    pub problems: Vec<String>,
    /// The states of the files that were found right, if all of them were.
    pub record: Option<VerifiedRecord>,
}

/// Content could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The disk's fault, or it was cancelled.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The processor, or the build, computes wrong digests.
    #[error(transparent)]
    SelfTest(#[from] hash::SelfTestError),
    /// Our fault: the thread that read the content ended early.
    #[error("the check broke off")]
    BrokeOff,
}

/// A torrent whose content is being compared, or was not right when it was.
pub(crate) struct Checking {
    pub(crate) check: Arc<dyn ContentCheck>,
    /// What was found stands in the torrent's error.
    pub(crate) is_done: bool,
}

impl RecheckReport {
    /// Whether everything is there and right.
    pub fn is_complete(&self) -> bool {
        self.bad_count == 0 && self.problems.is_empty()
    }

    /// One line for a person: how much is wrong, and the first of it.
    fn summary(&self) -> String {
        let (bad, all) = (self.bad_count, self.piece_count);
        let first = self.problems.first().map_or_else(String::new, |first| format!(": {first}"));
        let more = match self.problems.len() {
            0 | 1 => String::new(),
            count => format!(" and in {} more files", count - 1),
        };
        format!("{bad} of {all} pieces are not right{first}{more}; put the content in order and recheck, or fetch it")
    }
}

impl Control {
    pub(crate) async fn recheck(
        &mut self,
        id: TorrentId,
        torrent: Arc<Torrent>,
        check: Arc<dyn ContentCheck>,
    ) -> Result<(), OrderError> {
        let entry = self.entry(id)?;
        entry.require_same(&torrent)?;
        match &entry.phase {
            Phase::Checking(checking) if !checking.is_done => return Ok(()),
            Phase::Fetching(_) if entry.failure.is_none() => {
                return Err(OrderError::BeingFetched { name: entry.name.clone() });
            }
            _ => {}
        }
        self.take_back(id).await;
        self.registry.set_phase(id, Phase::Checking(Checking { check: check.clone(), is_done: false }));
        self.tasks.recheck(id, torrent, check);
        Ok(())
    }

    /// The content was compared, or could not be.
    pub(crate) async fn handle_rechecked(
        &mut self,
        id: TorrentId,
        check: &Arc<dyn ContentCheck>,
        checked: Result<Checked, CheckError>,
    ) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let Phase::Checking(checking) = &mut entry.phase else { return };
        if !Arc::ptr_eq(&checking.check, check) {
            return;
        }
        checking.is_done = true;
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => return self.fail(id, error.to_string()).await,
        };
        let report = Arc::new(checked.report);
        self.parts.news.tell(EngineEvent::Rechecked { id, report: report.clone() });
        match checked.seeded {
            Some(seeded) => {
                tracing::info!("{}: its content is right", entry.name);
                let is_stopped = entry.is_stopped;
                entry.failure = None;
                self.registry.set_phase(id, Phase::Serving(seeded));
                if !is_stopped {
                    self.watch_for_rest(id);
                    self.serve(id).await;
                    self.publicise(id, Since::Now);
                }
            }
            None => self.fail(id, report.summary()).await,
        }
    }

    /// Fetches a torrent anew. Those who announce or remember it see the same one as before.
    pub(crate) async fn refetch(&mut self, id: TorrentId, fetch: NewFetch) -> Result<(), OrderError> {
        let FetchSource::Torrent(torrent) = &fetch.source else {
            return Err(OrderError::Unresolved { name: self.entry(id)?.name.clone() });
        };
        let torrent = torrent.clone();
        self.entry(id)?.require_same(&torrent)?;
        self.take_back(id).await;
        self.entry(id)?.is_stopped = false;
        self.fetch_known(id, &fetch, torrent);
        Ok(())
    }

    /// Takes a torrent from wherever it is, to begin with it anew.
    async fn take_back(&mut self, id: TorrentId) {
        self.registry.set_wakes(id, false);
        self.withdraw(id).await;
        let shard_count = self.parts.links.len();
        let Some(entry) = self.registry.get_mut(id) else { return };
        match &entry.phase {
            Phase::Fetching(fetching) => fetching.files.cancel(),
            Phase::Checking(checking) => checking.check.cancel(),
            Phase::AtRest(_) => entry.tally.wake(shard_count),
            Phase::Serving(_) => {}
        }
        entry.failure = None;
    }
}

impl Entry {
    fn require_same(&self, torrent: &Torrent) -> Result<(), OrderError> {
        let is_same = InfoHashes::of(torrent).own() == self.info_hashes.own();
        if is_same { Ok(()) } else { Err(OrderError::OtherTorrent { name: self.name.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_much_is_wrong_and_where_it_begins() {
        let problems = vec!["a.iso: 2 pieces".to_owned(), "b.iso: is missing".to_owned(), "c.iso: 1 piece".to_owned()];
        let report = RecheckReport { piece_count: 10, bad_count: 4, problems, record: None };
        assert!(!report.is_complete());
        let line = report.summary();
        assert!(line.contains("4 of 10 pieces") && line.contains("a.iso: 2 pieces and in 2 more files"), "{line}");
        assert!(RecheckReport { piece_count: 10, ..RecheckReport::default() }.is_complete());
    }
}
