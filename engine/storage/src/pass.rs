//! One pass over the files of a layout: every piece that a plan names hashed once, for v1, v2 or both, by as many threads as call
//! [`Pass::work`]. What is done with the digests is `hash_pass` and `verify`; what there is to do is `pass/plan.rs`, how one
//! group is read and hashed `pass/group.rs`, where the bytes come from `pass/source.rs`.

mod group;
mod plan;
mod source;
mod whole_files;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hash::{Sha1Digest, Sha256Digest};
use metainfo::{FileEntry, FileIndex, FileLayout, PieceIndex};

use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::meter::Meter;
use crate::place::{Place, Root, Top};
pub(crate) use plan::Plan;
use plan::{Taken, Task};

/// Which hashes a pass computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digests {
    /// The SHA-1 of every piece (BEP 3).
    pub v1: bool,
    /// The merkle root of every piece of every file (BEP 52). Needs a layout in which files start at piece boundaries.
    pub v2: bool,
}

/// What to do when a file cannot be read or is not what the layout says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnProblem {
    /// End the pass with the error.
    Stop,
    /// Note it, leave out the pieces that need those bytes, go on.
    Note,
}

/// One pass. `Sync`: all threads work on the same one.
pub(crate) struct Pass<'a> {
    layout: &'a FileLayout,
    plan: Plan,
    on_problem: OnProblem,
    top: Top,
    /// Absent if the top entry is: then every file is missing.
    root: Option<Root>,
    /// The state of each file before the pass; `None` for what has no bytes or cannot be read.
    before: Vec<Option<FileIdentity>>,
    meter: Arc<Meter>,
    state: Mutex<State>,
}

/// What the threads took and found so far. Locked twice per group of sixteen pieces.
struct State {
    taken: Taken,
    found: Found,
    problems: BTreeMap<FileIndex, StorageError>,
    stopped: Option<StorageError>,
}

/// The digests of all pieces, by piece index.
#[derive(Default)]
pub(crate) struct Found {
    /// SHA-1 of each piece; empty if not asked for.
    pub(crate) v1: Vec<Sha1Digest>,
    /// Merkle root of each piece; empty if not asked for.
    pub(crate) v2: Vec<Sha256Digest>,
    /// Whether the piece's bytes could all be read, or need not be. Without it the digests mean nothing.
    pub(crate) is_read: Vec<bool>,
    /// SHA-256 of whole files by file index; empty if not asked for.
    pub(crate) file_sha256: Vec<Option<Sha256Digest>>,
}

/// A finished pass.
pub(crate) struct Outcome {
    pub(crate) found: Found,
    pub(crate) problems: BTreeMap<FileIndex, StorageError>,
    /// The state of each file before and, but for those among the problems, after the pass.
    pub(crate) identities: Vec<Option<FileIdentity>>,
}

impl<'a> Pass<'a> {
    /// A pass over all pieces of the content at `place`. Looks at every file. Reads none yet.
    pub(crate) fn new(
        layout: &'a FileLayout,
        place: &Place,
        digests: Digests,
        on_problem: OnProblem,
        meter: Arc<Meter>,
    ) -> Result<Pass<'a>, StorageError> {
        Pass::over(layout, place.top(layout), None, digests, on_problem, meter)
    }

    /// A pass over some pieces, or all of them.
    pub(crate) fn over(
        layout: &'a FileLayout,
        top: Top,
        selected: Option<Vec<PieceIndex>>,
        digests: Digests,
        on_problem: OnProblem,
        meter: Arc<Meter>,
    ) -> Result<Pass<'a>, StorageError> {
        Pass::planned(layout, top, on_problem, meter, |_| Plan::of(layout, selected, digests))
    }

    /// A pass that does what `plan` says once it has seen the states of the files.
    pub(crate) fn planned(
        layout: &'a FileLayout,
        top: Top,
        on_problem: OnProblem,
        meter: Arc<Meter>,
        plan: impl FnOnce(&[Option<FileIdentity>]) -> Plan,
    ) -> Result<Pass<'a>, StorageError> {
        let mut problems = BTreeMap::new();
        let root = match top.enter() {
            Ok(root) => Some(root),
            Err(error) if on_problem == OnProblem::Stop => return Err(error),
            Err(_) => None,
        };
        let mut before = Vec::with_capacity(layout.files().len());
        for (index, entry) in layout.file_indices().zip(layout.files()) {
            let looked = if is_stored(entry) { look(&top, root.as_ref(), entry) } else { (None, None) };
            before.push(looked.0);
            match looked.1 {
                Some(error) if on_problem == OnProblem::Stop => return Err(error),
                Some(error) => drop(problems.insert(index, error)),
                None => {}
            }
        }
        let mut plan = plan(&before);
        let (total_bytes, reused_bytes) = plan.work_bytes(layout);
        meter.start(total_bytes, reused_bytes);
        let found = std::mem::take(&mut plan.found);
        let state = Mutex::new(State { taken: Taken::default(), found, problems, stopped: None });
        Ok(Pass { layout, plan, on_problem, top, root, before, meter, state })
    }

    /// Hashes groups of pieces, and files, until none is left, the pass is cancelled or it fails. For any number of threads.
    pub(crate) fn work(&self) {
        let mut worker = group::Worker::new(self);
        while let Some(task) = self.take() {
            match task {
                Task::Pieces(digests, pieces) => worker.hash_group(digests, &pieces),
                Task::Files(files) => worker.hash_files(files),
            }
        }
    }

    /// Looks at every file again and gives the digests. Fails if the pass was stopped or is not complete.
    pub(crate) fn finish(self) -> Result<Outcome, StorageError> {
        let State { taken, found, mut problems, stopped } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = stopped {
            return Err(error);
        }
        let is_complete = self.on_problem == OnProblem::Note || self.plan.is_complete(&found);
        if self.meter.is_cancelled() || !is_complete || !self.plan.is_all_taken(&taken) {
            return Err(StorageError::Cancelled);
        }
        for (index, before) in self.layout.file_indices().zip(&self.before) {
            let Some(before) = before else { continue };
            let entry = self.layout.file(index);
            let changed = |change| StorageError::Changed { path: self.top.path_of(entry.path()), change };
            let error = match self.root.as_ref().map(|root| root.identify(entry.path())) {
                Some(Ok(now)) => now.change_since(before).map(changed),
                Some(Err(error)) => Some(error),
                None => None,
            };
            match error {
                Some(error) if self.on_problem == OnProblem::Stop => return Err(error),
                Some(error) => drop(problems.entry(index).or_insert(error)),
                None => {}
            }
        }
        Ok(Outcome { found, problems, identities: self.before })
    }

    /// What no other thread has.
    fn take(&self) -> Option<Task<'_>> {
        let mut state = self.state();
        if self.meter.is_cancelled() || state.stopped.is_some() {
            return None;
        }
        self.plan.take(&mut state.taken)
    }

    /// Whether a thread in the middle of a group should let go of it.
    fn is_over(&self) -> bool {
        self.meter.is_cancelled()
    }

    /// Notes that a file could not be read, or ends the pass for it.
    fn report(&self, file: FileIndex, error: StorageError) {
        let mut state = self.state();
        match self.on_problem {
            OnProblem::Stop => drop(state.stopped.get_or_insert(error)),
            OnProblem::Note => drop(state.problems.entry(file).or_insert(error)),
        }
    }

    /// Notes the SHA-256 of a whole file.
    fn hand_in_file(&self, file: FileIndex, digest: Sha256Digest) {
        self.state().found.file_sha256[file.get() as usize] = Some(digest);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the entry stands for a file on disk, be it empty.
fn is_stored(entry: &FileEntry) -> bool {
    !entry.is_pad() && entry.symlink_target().is_none()
}

/// The state of a file, if it can be read, and what is wrong with it. One of the wrong size can still be read.
fn look(top: &Top, root: Option<&Root>, entry: &FileEntry) -> (Option<FileIdentity>, Option<StorageError>) {
    let path = || top.path_of(entry.path());
    match root.map(|root| root.identify(entry.path())) {
        None => (None, Some(StorageError::Missing { path: path() })),
        Some(Err(error)) => (None, Some(error)),
        Some(Ok(found)) if found.size_bytes == entry.length() => (Some(found), None),
        Some(Ok(found)) => {
            let (expected_bytes, found_bytes) = (entry.length(), found.size_bytes);
            (Some(found), Some(StorageError::WrongSize { path: path(), expected_bytes, found_bytes }))
        }
    }
}
