//! The files of a download, open for writing: a few at a time, and which of them hold bytes that are not durable yet.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metainfo::{FileIndex, FileLayout};

use crate::error::StorageError;
use crate::identity::{FileIdentity, status};
use crate::place::Top;

/// How many files one download has open for writing: more than the pieces of one job touch, unless files are tiny.
const OPEN_FILES_MAX: usize = 16;

/// The files of one download.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) top: Top,
    /// The state of each file when the download was opened; `None` for what has no bytes or is not on disk.
    pub(super) identities: Box<[Option<FileIdentity>]>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the end.
    open: Vec<(FileIndex, Arc<File>)>,
    dirty: BTreeSet<FileIndex>,
}

impl Files {
    pub(super) fn new(top: Top, identities: Box<[Option<FileIdentity>]>) -> Files {
        Files { top, identities, state: Mutex::default() }
    }

    /// The file, open for reading and writing, if it still is what it was. Looks at it each time, so that nothing is
    /// written behind the end of a file that somebody cut.
    pub(super) fn open(&self, layout: &FileLayout, index: FileIndex) -> Result<Arc<File>, StorageError> {
        let Some(before) = self.identities.get(index.get() as usize).copied().flatten() else {
            return Err(StorageError::NoSuchFile { index: index.get() });
        };
        let entry = layout.file(index);
        let (file, now) = match self.take_open(index) {
            Some(file) => {
                let found =
                    status(&file).map_err(|errno| StorageError::io(&self.path(layout, index), "look at", errno))?;
                (file, found.identity)
            }
            None => {
                let (file, now) = self.top.enter()?.open_to_write(entry.path())?;
                (Arc::new(file), now)
            }
        };
        if let Some(change) = now.change_but_time_since(&before) {
            return Err(StorageError::Changed { path: self.path(layout, index), change });
        }
        let mut state = self.state();
        if state.open.iter().all(|(open, _)| *open != index) {
            if state.open.len() >= OPEN_FILES_MAX {
                state.open.remove(0);
            }
            state.open.push((index, Arc::clone(&file)));
        }
        Ok(file)
    }

    /// The file as it is open, or open for reading: what is only looked at or synced need not be ours to write.
    pub(super) fn open_to_sync(&self, layout: &FileLayout, index: FileIndex) -> Result<Arc<File>, StorageError> {
        let is_open = self.state().open.iter().any(|(open, _)| *open == index);
        let before = self.identities.get(index.get() as usize).copied().flatten();
        let Some(before) = before.filter(|_| !is_open) else { return self.open(layout, index) };
        let (file, now) = self.top.enter()?.open(layout.file(index).path())?;
        match now.change_but_time_since(&before) {
            Some(change) => Err(StorageError::Changed { path: self.path(layout, index), change }),
            None => Ok(Arc::new(file)),
        }
    }

    /// Notes that the file has bytes that are not durable. After the write: a checkpoint that comes between would
    /// otherwise take the note and miss the bytes.
    pub(super) fn mark_dirty(&self, index: FileIndex) {
        self.state().dirty.insert(index);
    }

    /// The files that were written to since the last call.
    pub(super) fn take_dirty(&self) -> BTreeSet<FileIndex> {
        std::mem::take(&mut self.state().dirty)
    }

    /// Lets go of all descriptors; they are opened again when needed.
    pub(super) fn close(&self) {
        self.state().open.clear();
    }

    pub(super) fn path(&self, layout: &FileLayout, index: FileIndex) -> std::path::PathBuf {
        self.top.path_of(layout.file(index).path())
    }

    fn take_open(&self, index: FileIndex) -> Option<Arc<File>> {
        let mut state = self.state();
        let at = state.open.iter().position(|(open, _)| *open == index)?;
        let used = state.open.remove(at);
        let file = Arc::clone(&used.1);
        state.open.push(used);
        Some(file)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
