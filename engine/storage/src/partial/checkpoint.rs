//! The record of a download: what survives a crash, and in which order it becomes durable.
//!
//! 1. Folders that got new files are synced, once: a file without a name is lost whatever was synced into it.
//! 2. Every file that was written to since the last checkpoint is synced (fsync(2), not fdatasync(2): the record tells a
//!    file by its modification time, so the time has to be as durable as the bytes).
//! 3. Only then the record, which claims those bytes, is replaced atomically.
//!
//! A crash between any two of these leaves an older record, whose claims are true.
//!
//! After a failed sync the kernel may drop the bytes and call the next sync a success (fsync(2), ERRORS). So what was
//! written to that file since the sync before is not claimed until it was verified, written and synced once more.
//!
//! An unclean record vouches for files written to until a little after it (`partial_record.rs`). So one that has grown
//! old is written again, with the same claims, before the next write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hash::InfoHash;
use metainfo::{FileIndex, PieceSet, Torrent};
use rustix::io::Errno;

use super::Partial;
use super::open::Basis;
use crate::atomically::write_atomically;
use crate::error::StorageError;
use crate::identity::{FileIdentity, status};
use crate::partial_record::{PARTIAL_RECORD_BYTES_MAX, PartialRecord, STAMP_AGE_MAX_NS};

/// More dirty files than this are synced by their whole file system: each fsync(2) alone is a commit of the journal, and a
/// torrent of small files dirties thousands between two checkpoints.
const SYNCED_EACH_MAX: usize = 32;

/// The record of one download and what it says at the moment.
#[derive(Debug)]
pub(super) struct Keeper {
    /// No record is kept without one.
    path: Option<PathBuf>,
    info_hash: InfoHash,
    /// When the record on disk was written, if it is an unclean one of this session; zero otherwise.
    stamped_ns: AtomicU64,
    /// Held for a whole checkpoint, so that a later one does not claim what an earlier one is still syncing.
    turn: Mutex<Turn>,
    claims: Mutex<Claims>,
}

/// What only a checkpoint looks at.
#[derive(Debug)]
pub(super) struct Turn {
    /// Folders with new names in them that were not synced yet.
    pub(super) new_folders: BTreeSet<PathBuf>,
    /// Pieces that a sync failed for: their bytes may be gone, and a second sync would not tell.
    unsure: PieceSet,
}

/// What the record claims.
#[derive(Debug)]
struct Claims {
    /// Pieces that are durable.
    have: PieceSet,
    /// The states of the files when they were last synced; `None` if they were not yet, or have none.
    files: Box<[Option<FileIdentity>]>,
    /// Whether the record on disk says this.
    is_written: bool,
}

impl Keeper {
    /// A keeper of what is known: `have`, and the files that it lies in. `is_written` says whether the record on disk says just
    /// this.
    pub(super) fn new(
        path: Option<PathBuf>,
        torrent: &Torrent,
        have: PieceSet,
        files: Box<[Option<FileIdentity>]>,
        is_written: bool,
        new_folders: BTreeSet<PathBuf>,
    ) -> Keeper {
        Keeper {
            path,
            info_hash: torrent.info_hashes().next().unwrap_or_default(),
            stamped_ns: AtomicU64::new(0),
            turn: Mutex::new(Turn { new_folders, unsure: PieceSet::empty(torrent.layout()) }),
            claims: Mutex::new(Claims { have, files, is_written }),
        }
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the record, on disk too.
    pub(super) fn remove(&self) -> Result<(), StorageError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut claims = self.claims();
        claims.is_written = false;
        self.stamped_ns.store(0, Ordering::Release);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io(path, "remove", error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes what `claims` says.
    fn write(&self, claims: &mut Claims, now_unix_ns: u64, is_clean: bool) -> Result<(), StorageError> {
        let Some(path) = &self.path else { return Ok(()) };
        let record = PartialRecord::new(self.info_hash, &claims.have, &claims.files, now_unix_ns, is_clean);
        claims.is_written = false;
        write_atomically(path, &record.encode())?;
        claims.is_written = true;
        self.stamped_ns.store(if is_clean { 0 } else { now_unix_ns }, Ordering::Release);
        Ok(())
    }

    fn is_stamped(&self) -> bool {
        self.stamped_ns.load(Ordering::Acquire) > 0
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partial {
    /// Makes what is verified and written durable, then the record that says so. Pieces may be written meanwhile; the next
    /// checkpoint has them. `is_clean` says that none are, and that none will be before the next call: then the next start
    /// trusts the files in exactly this state only. Blocks on the disk. For about once a second while pieces come, and at
    /// the end of a session; it costs nothing where nothing happened.
    ///
    /// On an error the old record stays, or the new one claims nothing that may be lost.
    pub fn checkpoint(&self, now_unix_ns: u64, is_clean: bool) -> Result<(), StorageError> {
        let mut turn = self.keeper.turn();
        while let Some(folder) = turn.new_folders.last() {
            sync_folder(folder)?;
            turn.new_folders.pop_last();
        }
        self.write_unsure_again(&mut turn)?;
        // A piece is marked as verified after its files were marked as dirty. So this order, and not the other one.
        let mut have = self.have();
        let (synced, failure) = self.sync_files(is_clean);
        let mut claims = self.keeper.claims();
        for file in &failure.files {
            // Pieces too that are just being marked as verified.
            let may_be_lost = |piece: &_| !claims.have.contains(*piece);
            self.layout().file_pieces(*file).filter(may_be_lost).for_each(|piece| turn.unsure.insert(piece));
        }
        turn.unsure.iter().for_each(|piece| have.remove(piece));
        let is_clean = is_clean && failure.files.is_empty();
        let is_news = !synced.is_empty() || have != claims.have || (is_clean && self.keeper.is_stamped());
        if is_news || !claims.is_written {
            claims.have = have;
            synced.into_iter().for_each(|(file, identity)| claims.files[file.get() as usize] = Some(identity));
            self.keeper.write(&mut claims, now_unix_ns, is_clean)?;
        }
        if is_clean {
            // A torrent that rests needs no descriptors, and there may be thousands of them.
            self.files.close();
        }
        failure.error.map_or(Ok(()), Err)
    }

    /// Has a record on disk that vouches for files written to now. A failure is told by the next checkpoint, and costs no
    /// more than a recheck after a crash before it.
    pub(super) fn stamp(&self, now_unix_ns: u64) {
        let is_fresh = |stamped: u64| stamped > 0 && now_unix_ns.saturating_sub(stamped) < STAMP_AGE_MAX_NS;
        if self.keeper.path.is_none() || is_fresh(self.keeper.stamped_ns.load(Ordering::Acquire)) {
            return;
        }
        let mut claims = self.keeper.claims();
        if !is_fresh(self.keeper.stamped_ns.load(Ordering::Acquire)) {
            let _ = self.keeper.write(&mut claims, now_unix_ns, false);
        }
    }

    /// Writes pieces again that a sync failed for, if what can be read of them is still right. Those that are not count as
    /// missing.
    fn write_unsure_again(&self, turn: &mut Turn) -> Result<(), StorageError> {
        let verified = self.have();
        for piece in turn.unsure.clone().iter() {
            if verified.contains(piece) && !self.write_again(piece)? {
                self.mark_verified(|verified| verified.remove(piece));
            }
            turn.unsure.remove(piece);
        }
        Ok(())
    }

    /// Syncs the files that were written to. Gives their states: of after the sync if nobody writes, else of before it,
    /// since only that one is durable.
    fn sync_files(&self, is_clean: bool) -> (Vec<(FileIndex, FileIdentity)>, SyncFailure) {
        let dirty = self.files.take_dirty();
        // All states first, then the syncs. A file system that syncs itself at once does it for all of its files.
        let before: Vec<_> = dirty.iter().map(|index| self.look_at(*index)).collect();
        let together = if dirty.len() > SYNCED_EACH_MAX { self.sync_file_systems(&dirty) } else { BTreeMap::new() };
        let (mut synced, mut failure) = (Vec::new(), SyncFailure::default());
        for (index, before) in dirty.into_iter().zip(before) {
            let sync = |before: FileIdentity| match together.get(&before.device) {
                Some(Ok(())) => Ok(before),
                Some(Err(errno)) => Err(self.failed(index, "sync", *errno)),
                None => self.sync_file(index).map(|()| before),
            };
            let state =
                before.and_then(sync).and_then(|before| if is_clean { self.look_at(index) } else { Ok(before) });
            match state {
                Ok(identity) => synced.push((index, identity)),
                Err(error) => {
                    self.files.mark_dirty(index);
                    failure.files.push(index);
                    failure.error.get_or_insert(error);
                }
            }
        }
        (synced, failure)
    }

    /// Syncs whole file systems, by device, as far as a file of each can be opened (syncfs(2), which tells errors of
    /// any of its files since Linux 5.8).
    fn sync_file_systems(&self, dirty: &BTreeSet<FileIndex>) -> BTreeMap<u64, Result<(), Errno>> {
        let mut synced = BTreeMap::new();
        for index in dirty {
            let device = self.files.identities[index.get() as usize].map(|identity| identity.device);
            let Some(device) = device.filter(|device| !synced.contains_key(device)) else { continue };
            if let Ok(file) = self.files.open_to_sync(self.layout(), *index) {
                synced.insert(device, rustix::fs::syncfs(&file));
            }
        }
        synced
    }

    fn sync_file(&self, index: FileIndex) -> Result<(), StorageError> {
        let file = self.files.open_to_sync(self.layout(), index)?;
        rustix::fs::fsync(&file).map_err(|errno| self.failed(index, "sync", errno))
    }

    fn look_at(&self, index: FileIndex) -> Result<FileIdentity, StorageError> {
        let file = self.files.open_to_sync(self.layout(), index)?;
        Ok(status(&file).map_err(|errno| self.failed(index, "look at", errno))?.identity)
    }

    fn failed(&self, index: FileIndex, action: &'static str, errno: Errno) -> StorageError {
        StorageError::io(&self.files.path(self.layout(), index), action, errno)
    }
}

/// Files that could not be synced, and why the first could not.
#[derive(Default)]
struct SyncFailure {
    files: Vec<FileIndex>,
    error: Option<StorageError>,
}

/// Reads a record of an earlier session, or says what the files rest on without it.
pub(super) fn read_record(path: Option<&Path>, torrent: &Torrent) -> Result<(PartialRecord, PieceSet), Basis> {
    let mut bytes = Vec::new();
    let most = PARTIAL_RECORD_BYTES_MAX as u64 + 1;
    match path.map(|path| File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))) {
        None => return Err(Basis::NoRecord),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(Basis::NoRecord),
        Some(Err(error)) => return Err(Basis::Unreadable(error.kind())),
        Some(Ok(_)) => {}
    }
    let record = PartialRecord::parse(&bytes).map_err(Basis::Damaged)?;
    if torrent.info_hashes().next() != Some(record.info_hash) {
        return Err(Basis::OtherTorrent);
    }
    let have = record.have(torrent.layout()).map_err(Basis::Damaged)?;
    Ok((record, have))
}

fn sync_folder(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StorageError::io(path, "sync", error))
}
