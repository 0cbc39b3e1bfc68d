//! A torrent to fetch, and what is done with its files: which are wanted, what of them is there already, where that is
//! remembered. When it is done is control's to say; how files are written is `storage`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use control::{FetchError, FetchFiles, FetchSource, NewFetch, Order, Prepared};
use mesh::TorrentId;
use metainfo::{Magnet, PieceSet, Torrent};
use storage::{
    Allocation, Basis, FileIdentity, Meter, Partial, PartialOptions, Place, Progress, Resumed, Seeded, StorageError,
    VerifiedRecord,
};
use swarm::Terms;

use crate::create::on_threads;
use crate::engine::{Engine, EngineError};
use crate::selection::Selection;
use crate::state::{self, StateDir};

/// What is to be fetched, and how.
#[derive(Debug)]
pub struct FetchRequest {
    /// The torrent.
    pub source: Source,
    /// The directory that receives the content under the torrent's own name.
    pub output: PathBuf,
    /// Which of its files are wanted.
    pub selection: Selection,
    /// Whether pieces are wanted in their order.
    pub is_sequential: bool,
    /// Whether disk space is taken as data comes, not all of it at once.
    pub is_sparse: bool,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// How it is uploaded.
    pub terms: Terms,
    /// Where it is remembered what was verified; without it, what is there is checked at every start.
    pub state: Option<StateDir>,
    /// Whether what is remembered is believed. Else all that is there is checked once more, and remembered anew.
    pub trusts_records: bool,
    /// Threads that check what is there; `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Asked when it is known what the content is called, before anything is written; `None` is yes.
    pub admission: Option<Admission>,
}

/// Whether a torrent may be written where it would lie, or why not.
type Admits = dyn Fn(&Torrent) -> Result<(), String> + Send + Sync;

/// Says whether a torrent may be written. It is called where waiting is allowed.
#[derive(Clone)]
pub struct Admission(Arc<Admits>);

impl Admission {
    /// Asks this, which says why not in one line.
    pub fn new(admits: impl Fn(&Torrent) -> Result<(), String> + Send + Sync + 'static) -> Admission {
        Admission(Arc::new(admits))
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Admission")
    }
}

/// What a torrent is known by.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one for each fetch, and moved a few times in its life")]
pub enum Source {
    /// Its torrent file.
    Torrent(Arc<Torrent>),
    /// A magnet link; what it stands for is asked of peers, unless it was before. The files that it selects are wanted, unless
    /// the request says which.
    Magnet(Box<Magnet>),
}

impl FetchRequest {
    /// All of a torrent, rarest pieces first, with nothing remembered.
    pub fn new(source: Source, output: impl Into<PathBuf>) -> FetchRequest {
        FetchRequest {
            source,
            output: output.into(),
            selection: Selection::All,
            is_sequential: false,
            is_sparse: false,
            peers: Vec::new(),
            terms: Terms::default(),
            state: None,
            trusts_records: true,
            threads: None,
            admission: None,
        }
    }
}

impl Engine {
    /// Fetches a torrent, and serves what is there of it. Returns at once; the status tells how it goes.
    pub fn fetch(&self, request: FetchRequest) -> Result<TorrentId, EngineError> {
        let fetch = Box::new(request.into_order(self.handle().hashing()));
        Ok(self.ask(|reply| Order::Fetch { fetch, reply })??)
    }
}

impl FetchRequest {
    /// As control takes it. May look at the disk for what is remembered.
    pub(crate) fn into_order(self, hashing: Arc<Mutex<()>>) -> NewFetch {
        let (source, selection) = match (self.source, self.selection) {
            (Source::Torrent(torrent), selection) => (FetchSource::Torrent(torrent), selection),
            (Source::Magnet(magnet), Selection::All) if !magnet.select_only.is_empty() => {
                let selection = Selection::Indices(magnet.select_only.clone());
                (resolved_before(self.state.as_ref(), magnet), selection)
            }
            (Source::Magnet(magnet), selection) => (resolved_before(self.state.as_ref(), magnet), selection),
        };
        let files = OutputFiles {
            output: self.output,
            selection,
            is_sparse: self.is_sparse,
            is_by_magnet: matches!(source, FetchSource::Magnet(_)),
            trusts_records: self.trusts_records,
            state: self.state,
            threads: self.threads,
            admission: self.admission,
            meter: Arc::default(),
            hashing,
            partial: OnceLock::new(),
        };
        NewFetch {
            source,
            files: Arc::new(files),
            terms: Arc::new(self.terms),
            peers: self.peers,
            sequential: self.is_sequential,
        }
    }
}

/// What a link stands for, if an earlier run was told.
fn resolved_before(state: Option<&StateDir>, magnet: Box<Magnet>) -> FetchSource {
    let known = magnet.info_hashes().find_map(|info_hash| state?.recall_metainfo(info_hash));
    match known {
        Some(torrent) => {
            let trackers = magnet.trackers.into_iter().map(|tracker| vec![tracker]).collect();
            FetchSource::Torrent(Arc::new(torrent.with_sources(trackers, magnet.web_seeds)))
        }
        None => FetchSource::Magnet(magnet),
    }
}

/// The files of one fetch.
struct OutputFiles {
    output: PathBuf,
    selection: Selection,
    is_sparse: bool,
    is_by_magnet: bool,
    trusts_records: bool,
    state: Option<StateDir>,
    threads: Option<NonZeroUsize>,
    admission: Option<Admission>,
    meter: Arc<Meter>,
    /// Held while files are checked: each check takes all threads for itself.
    hashing: Arc<Mutex<()>>,
    partial: OnceLock<Arc<Partial>>,
}

impl FetchFiles for OutputFiles {
    fn prepare(&self, torrent: &Arc<Torrent>) -> Result<Prepared, FetchError> {
        hash::self_test()?;
        let layout = torrent.layout();
        if let Some(state) = self.state.as_ref().filter(|_| self.is_by_magnet)
            && let Err(error) = state.remember_metainfo(torrent)
        {
            // The next run asks peers again.
            tracing::warn!(%error, "cannot keep the torrent file in mind");
        }
        let wanted_files = self.selection.wanted_files(layout)?;
        if wanted_files.as_ref().is_some_and(|wanted| !wanted.contains(&true)) {
            let (name, wanted) = (layout.name().to_owned(), self.selection.describe());
            return Err(FetchError::NothingWanted { name, wanted });
        }
        if let Some(Admission(admits)) = &self.admission {
            admits(torrent).map_err(|reason| FetchError::Refused { reason })?;
        }
        state::make_dir(&self.output)?;
        let allocate = if self.is_sparse { Allocation::Sparse } else { Allocation::Full };
        // An earlier fetch, or a seed, may have found all of it here.
        let (verified, record) = (self.verified_path(torrent), self.record_path(torrent)?);
        if !self.trusts_records {
            for path in verified.iter().chain(&record) {
                // One that is not there need not be forgotten.
                let _ = std::fs::remove_file(path);
            }
        }
        let verified = verified.as_deref().and_then(state::read_record);
        let options = PartialOptions { allocate, wanted_files, record, verified };
        let (partial, resumed) = Partial::open(torrent.clone(), &Place::under(&self.output), &options)?;
        let partial = Arc::new(partial);
        let have = self.check(&partial, resumed)?;
        // Whoever prepares once more works on the files of the first time.
        let partial = self.partial.get_or_init(|| partial).clone();
        let seeded = Arc::new(Seeded::new(torrent.clone(), partial.content()));
        let wanted = partial.wanted().as_bytes().into();
        Ok(Prepared { seeded, partial, have: have.as_bytes().into(), wanted })
    }

    fn progress(&self) -> Progress {
        self.meter.progress()
    }

    fn cancel(&self) {
        self.meter.cancel();
    }

    fn keep(&self) -> Result<(), FetchError> {
        let Some(partial) = self.partial.get() else { return Err(FetchError::BrokeOff) };
        partial.finish(unix_ns())?;
        Ok(())
    }

    fn check_on_disk(&self) -> Result<(), StorageError> {
        self.partial.get().map_or(Ok(()), |partial| partial.check_on_disk())
    }

    fn finish(&self, torrent: &Arc<Torrent>) -> Result<Arc<Seeded>, FetchError> {
        let Some(partial) = self.partial.get() else { return Err(FetchError::BrokeOff) };
        let finished = partial.finish(unix_ns())?;
        let content = finished.content.ok_or(FetchError::BrokeOff)?;
        self.remember(torrent, partial, &finished.files);
        Ok(Arc::new(Seeded::new(torrent.clone(), content)))
    }
}

impl OutputFiles {
    /// Where the record of the fetch is kept, in a folder that is there.
    fn record_path(&self, torrent: &Torrent) -> Result<Option<PathBuf>, StorageError> {
        let path = self.state.as_ref().and_then(|state| state.fetch_record_path(torrent, &self.output));
        if let Some(folder) = path.as_deref().and_then(Path::parent) {
            state::make_dir(folder)?;
        }
        Ok(path)
    }

    /// Where it is kept that all of it is there.
    fn verified_path(&self, torrent: &Torrent) -> Option<PathBuf> {
        self.state.as_ref()?.record_path(torrent, &self.output)
    }

    /// What is there: what is remembered, and what a look at the rest finds.
    fn check(&self, partial: &Partial, resumed: Resumed) -> Result<PieceSet, StorageError> {
        let mut have = resumed.have;
        if resumed.recheck.is_empty() {
            return Ok(have);
        }
        let name = partial.torrent().layout().name();
        tracing::info!("{name}: checking what is there ({})", why(&resumed.basis));
        let _turn = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = partial.recheck(&resumed.recheck, self.meter.clone())?;
        on_threads(self.threads, || pass.work());
        pass.finish()?.iter().for_each(|piece| have.insert(piece));
        // It may have taken long, and should not have to be done again.
        partial.checkpoint(unix_ns(), false)?;
        Ok(have)
    }

    /// Lets the next start know that everything is there.
    fn remember(&self, torrent: &Torrent, partial: &Partial, files: &[FileIdentity]) {
        let (Some(path), Some(info_hash)) = (self.verified_path(torrent), torrent.info_hashes().next()) else { return };
        let kept = state::write_record(&path, &VerifiedRecord::new(info_hash, files));
        // The record of the fetch goes only when the other one is there.
        if let Err(error) = kept.and_then(|()| partial.remove_record()) {
            tracing::warn!(%error, "cannot remember that the content is complete");
        }
    }
}

/// Why it has to be looked at.
fn why(basis: &Basis) -> String {
    match basis {
        Basis::Record => "some of it was written after the record".to_owned(),
        Basis::Changed(files) => format!("files that changed: {}", files.len()),
        Basis::NoRecord => "there is no record of it".to_owned(),
        Basis::Unreadable(error) => format!("the record cannot be read: {error}"),
        Basis::Damaged(error) => format!("the record is of no use: {error}"),
        Basis::OtherTorrent => "the record is about another torrent".to_owned(),
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
