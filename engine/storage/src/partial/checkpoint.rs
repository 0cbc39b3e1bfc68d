//! The record of a download: what survives a crash, and in which order it becomes durable.
//!
//! 1. Folders that got new files are synced, once: a file without a name is lost whatever was synced into it.
//! 2. Every file that was written to since the last checkpoint is synced (fsync(2), not fdatasync(2): the record tells a
//!    file by its modification time, so the time has to be as durable as the bytes).
//! 3. Only then the record, which claims those bytes, is replaced atomically.
//!
//! A crash between any two of these leaves an older record, whose claims are true.
//!
//! An unclean record vouches for files written to until a little after it (`partial_record.rs`). So one that has grown
//! old is written again, with the same claims, before the next write.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hash::InfoHash;
use metainfo::{FileIndex, PieceSet, Torrent};

use super::Partial;
use super::open::Basis;
use crate::atomically::write_atomically;
use crate::error::StorageError;
use crate::identity::{FileIdentity, status};
use crate::partial_record::{PARTIAL_RECORD_BYTES_MAX, PartialRecord, STAMP_AGE_MAX_NS};

/// The record of one download and what it says at the moment.
#[derive(Debug)]
pub(super) struct Keeper {
    /// No record is kept without one.
    path: Option<PathBuf>,
    info_hash: InfoHash,
    /// When the record on disk was written, if it is unclean; zero if it is clean or there is none.
    stamped_ns: AtomicU64,
    /// Held for a whole checkpoint, so that a later one does not claim what an earlier one is still syncing.
    turn: Mutex<Turn>,
    claims: Mutex<Claims>,
}

/// What only a checkpoint looks at.
#[derive(Debug)]
struct Turn {
    /// Folders with new files in them that were not synced yet.
    new_folders: Vec<PathBuf>,
    /// Files whose sync failed: what was written to them since the last one may be gone, and a second sync would not tell.
    unsure: BTreeSet<FileIndex>,
}

/// What the record claims.
#[derive(Debug)]
struct Claims {
    have: PieceSet,
    /// The states of the files when they were last synced.
    files: Box<[Option<FileIdentity>]>,
}

impl Keeper {
    pub(super) fn new(
        path: Option<PathBuf>,
        torrent: &Torrent,
        have: PieceSet,
        files: Box<[Option<FileIdentity>]>,
        new_folders: Vec<PathBuf>,
    ) -> Keeper {
        Keeper {
            path,
            info_hash: torrent.info_hashes().next().unwrap_or_default(),
            stamped_ns: AtomicU64::new(0),
            turn: Mutex::new(Turn { new_folders, unsure: BTreeSet::new() }),
            claims: Mutex::new(Claims { have, files }),
        }
    }

    /// Writes what `claims` says.
    fn write(&self, claims: &Claims, now_unix_ns: u64, is_clean: bool) -> Result<(), StorageError> {
        let Some(path) = &self.path else { return Ok(()) };
        let record = PartialRecord::new(self.info_hash, &claims.have, &claims.files, now_unix_ns, is_clean);
        write_atomically(path, &record.encode())?;
        self.stamped_ns.store(if is_clean { 0 } else { now_unix_ns }, Ordering::Release);
        Ok(())
    }
}

impl Partial {
    /// Makes what was written durable, then the record that says so. `have` is what [`Partial::check_and_write`] called good
    /// before this call, and nothing else; pieces may be written meanwhile. `is_clean` says that none are, and that none will
    /// be before the next call: then the next start trusts the files only in exactly this state. Blocks on the disk. For
    /// about once a second while pieces come, and at the end of a session.
    ///
    /// On an error the old record stays, or the new one claims no pieces of the files that could not be synced.
    pub fn checkpoint(&self, have: &PieceSet, now_unix_ns: u64, is_clean: bool) -> Result<(), StorageError> {
        let mut turn = self.keeper.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(folder) = turn.new_folders.last() {
            sync_folder(folder)?;
            turn.new_folders.pop();
        }
        let (synced, failure) = self.sync_files(&mut turn);
        let mut have = have.clone();
        let mut claims = self.keeper.claims.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in turn.unsure.iter().flat_map(|file| self.layout().file_pieces(*file)) {
            if !claims.have.contains(piece) {
                have.remove(piece);
            }
        }
        claims.have = have;
        for (file, identity) in synced {
            claims.files[file.get() as usize] = Some(identity);
        }
        self.keeper.write(&claims, now_unix_ns, is_clean && failure.is_none())?;
        failure.map_or(Ok(()), Err)
    }

    /// Has a record on disk that vouches for files written to now. A failure is told by the next checkpoint, and costs no
    /// more than a recheck after a crash before it.
    pub(super) fn stamp(&self, now_unix_ns: u64) {
        let is_fresh = |stamped: u64| stamped > 0 && now_unix_ns.saturating_sub(stamped) < STAMP_AGE_MAX_NS;
        if self.keeper.path.is_none() || is_fresh(self.keeper.stamped_ns.load(Ordering::Acquire)) {
            return;
        }
        let claims = self.keeper.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_fresh(self.keeper.stamped_ns.load(Ordering::Acquire)) {
            let _ = self.keeper.write(&claims, now_unix_ns, false);
        }
    }

    /// Syncs the files that were written to. Gives their states of before the sync, which are durable then, and the first
    /// error.
    fn sync_files(&self, turn: &mut Turn) -> (Vec<(FileIndex, FileIdentity)>, Option<StorageError>) {
        let (mut synced, mut failure) = (Vec::new(), None);
        for index in self.files.take_dirty() {
            match self.sync_file(index) {
                Ok(identity) => synced.push((index, identity)),
                Err(error) => {
                    turn.unsure.insert(index);
                    failure.get_or_insert(error);
                }
            }
        }
        (synced, failure)
    }

    fn sync_file(&self, index: FileIndex) -> Result<FileIdentity, StorageError> {
        let path = || self.files.path(self.layout(), index);
        let file = self.files.open(self.layout(), index)?;
        let found = status(&file).map_err(|errno| StorageError::io(&path(), "look at", errno))?;
        rustix::fs::fsync(&file).map_err(|errno| StorageError::io(&path(), "sync", errno))?;
        Ok(found.identity)
    }
}

/// Reads a record of an earlier session, or says what the files rest on without it.
pub(super) fn read_record(path: Option<&Path>, torrent: &Torrent) -> Result<PartialRecord, Basis> {
    let mut bytes = Vec::new();
    let most = PARTIAL_RECORD_BYTES_MAX as u64 + 1;
    match path.map(|path| File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))) {
        None => return Err(Basis::NoRecord),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(Basis::NoRecord),
        Some(Err(error)) => return Err(Basis::Unreadable(error.kind())),
        Some(Ok(_)) => {}
    }
    let record = PartialRecord::parse(&bytes).map_err(Basis::Damaged)?;
    let is_ours = torrent.info_hashes().next() == Some(record.info_hash);
    if is_ours { Ok(record) } else { Err(Basis::OtherTorrent) }
}

fn sync_folder(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StorageError::io(path, "sync", error))
}
