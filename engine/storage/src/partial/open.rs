//! Beginning or resuming a download: which files are needed, which are there, and making those that are missing.
//!
//! A piece at the border of a wanted and an unwanted file needs a place for the unwanted part, to be verified and served.
//! The neighbour is made at its full length as a sparse file, and only the border's bytes are written to it. So what is on
//! disk is the torrent's own files and nothing else: any program can check them, and a later wish for the neighbour goes
//! on from there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use metainfo::{Extent, FileEntry, FileIndex, FileLayout, PieceIndex, PieceSet, Torrent, Version};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Partial;
use super::checkpoint::{Keeper, read_record};
use super::files::Files;
use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::{FileIdentity, status};
use crate::partial_record::PartialRecord;
use crate::place::{Place, Root, Top};
use crate::record::{RecordError, VerifiedRecord};

/// Whether disk space is taken before the bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Allocation {
    /// All of it (fallocate(2)): a disk that is too small says so at once, and files lie in one piece. Where the file system
    /// cannot, as [`Allocation::Sparse`].
    #[default]
    Full,
    /// As bytes are written; zeros of the content stay holes.
    Sparse,
}

/// How to open a download.
#[derive(Clone, Debug, Default)]
pub struct PartialOptions {
    /// Whether disk space is taken at once.
    pub allocate: Allocation,
    /// For each file of the layout, pads included, whether it is wanted; all of them if not given.
    pub wanted_files: Option<Vec<bool>>,
    /// Where the record of what was verified is kept between sessions; without one everything is checked again.
    pub record: Option<PathBuf>,
    /// What is remembered of the whole content, of a seed or a finished download. Where it still holds, all pieces are had.
    pub verified: Option<VerifiedRecord>,
}

/// What an opened download has already.
#[derive(Debug)]
pub struct Resumed {
    /// Pieces that are verified.
    pub have: PieceSet,
    /// Pieces that may be there and have to be verified first.
    pub recheck: PieceSet,
    /// What that rests on.
    pub basis: Basis,
}

/// What is known of the files that were found.
#[derive(Debug)]
pub enum Basis {
    /// A record, of this download or of the whole content, and every file is as it says.
    Record,
    /// A record, but these files were changed, replaced, truncated or deleted since.
    Changed(Vec<FileIndex>),
    /// No record.
    NoRecord,
    /// The record cannot be read.
    Unreadable(std::io::ErrorKind),
    /// The record is damaged, or of another version.
    Damaged(RecordError),
    /// The record is about another torrent.
    OtherTorrent,
}

/// A file as it was found, or made.
struct Found {
    identity: FileIdentity,
    /// Bytes that were there; the rest was appended just now and is zero.
    old_bytes: u64,
    /// Whether the record knows it in this state.
    is_trusted: bool,
}

impl Partial {
    /// Finds the files of a torrent, makes those that are missing, and tells what of it is there. Blocks on the file
    /// system. A file that is longer than the torrent says is an error and nothing is made; nothing is ever cut.
    pub fn open(
        torrent: Arc<Torrent>,
        place: &Place,
        options: &PartialOptions,
    ) -> Result<(Partial, Resumed), StorageError> {
        if !can_verify(&torrent) {
            return Err(StorageError::NoPieceLayers);
        }
        let layout = torrent.layout();
        let needs = Needs::of(layout, options);
        let top = place.top(layout).without_links();
        let before = look_at_all(layout, &top, &needs)?;
        let complete = options.verified.as_ref().and_then(|verified| recall_complete(&torrent, verified, &before));
        let is_complete = complete.is_some();
        let record = complete.map_or_else(|| read_record(options.record.as_deref(), &torrent), Ok);
        let (found, new_folders) = make_missing(layout, &top, &needs, before, &record)?;
        let is_recorded = record.is_ok();
        let resumed = resume(layout, &found, record);
        let is_doubtful = |file: &FileIndex| found[file.get() as usize].as_ref().is_some_and(|found| !found.is_trusted);
        let doubtful: Vec<FileIndex> = layout.file_indices().filter(is_doubtful).collect();
        let with_bytes =
            |(found, entry): (Option<Found>, &FileEntry)| Some(found?.identity).filter(|_| has_bytes(entry));
        let identities: Box<[_]> = found.into_iter().zip(layout.files()).map(with_bytes).collect();
        refuse_shared_files(layout, &top, &identities)?;
        let is_written = is_recorded && !is_complete && doubtful.is_empty();
        let (path, have) = (options.record.clone(), resumed.have.clone());
        let keeper = Keeper::new(path, &torrent, have.clone(), identities.clone(), is_written, new_folders);
        let files = Files::new(top, identities);
        // What a recheck finds in them was perhaps never synced.
        doubtful.into_iter().filter(|file| has_bytes(layout.file(*file))).for_each(|file| files.mark_dirty(file));
        let Needs { wanted: wanted_files, pieces: wanted, allocate } = needs;
        let verified = Mutex::new(have);
        let partial = Partial { torrent, files, keeper, verified, wanted, wanted_files, allocate };
        Ok((partial, resumed))
    }
}

type Record = Result<(PartialRecord, PieceSet), Basis>;

/// Which files have to be there.
struct Needs {
    wanted: Option<Vec<bool>>,
    pieces: PieceSet,
    allocate: Allocation,
}

impl Needs {
    fn of(layout: &FileLayout, options: &PartialOptions) -> Needs {
        let wanted = options.wanted_files.clone();
        let pieces = match &wanted {
            Some(wanted) => PieceSet::of_files(layout, wanted),
            None => PieceSet::full(layout),
        };
        Needs { wanted, pieces, allocate: options.allocate }
    }

    /// How the file is to be made; `None` if it need not be there.
    fn of_file(&self, layout: &FileLayout, file: FileIndex) -> Option<Allocation> {
        let is_wanted = self.wanted.as_ref().is_none_or(|wanted| wanted.get(file.get() as usize) == Some(&true));
        if is_wanted {
            return Some(self.allocate);
        }
        // Only the first and the last piece of a file are shared with others.
        let mut pieces = layout.file_pieces(file);
        let ends = [pieces.next(), pieces.next_back()];
        ends.into_iter().flatten().any(|piece| self.pieces.contains(piece)).then_some(Allocation::Sparse)
    }
}

/// Whether something says of every piece what it has to be.
fn can_verify(torrent: &Torrent) -> bool {
    torrent.version() != Version::V2
        || torrent.has_piece_layers()
        || torrent.layout().pieces().all(|piece| torrent.piece_hash_v2(piece).is_some())
}

/// Whether the entry stands for a file on disk, be it empty.
fn is_stored(entry: &FileEntry) -> bool {
    !entry.is_pad() && entry.symlink_target().is_none()
}

/// The state of every file that is there. Of those that nobody needs, the ones of another size are left alone.
fn look_at_all(layout: &FileLayout, top: &Top, needs: &Needs) -> Result<Vec<Option<FileIdentity>>, StorageError> {
    let root = match top.enter() {
        Ok(root) => Some(root),
        Err(StorageError::Missing { .. }) => None,
        Err(error) => return Err(error),
    };
    let look = |(file, entry): (FileIndex, &FileEntry)| {
        let Some(root) = root.as_ref().filter(|_| is_stored(entry)) else { return Ok(None) };
        let is_needed = needs.of_file(layout, file).is_some();
        match root.identify(entry.path()) {
            Ok(found) if is_needed && found.size_bytes > entry.length() => {
                let (expected_bytes, found_bytes) = (entry.length(), found.size_bytes);
                Err(StorageError::WrongSize { path: top.path_of(entry.path()), expected_bytes, found_bytes })
            }
            Ok(found) => Ok(Some(found).filter(|found| is_needed || found.size_bytes == entry.length())),
            Err(StorageError::Missing { .. }) => Ok(None),
            Err(error) if is_needed => Err(error),
            Err(_) => Ok(None),
        }
    };
    layout.file_indices().zip(layout.files()).map(look).collect()
}

/// A record of all pieces, if the files are still those of complete content.
fn recall_complete(
    torrent: &Torrent,
    verified: &VerifiedRecord,
    before: &[Option<FileIdentity>],
) -> Option<(PartialRecord, PieceSet)> {
    let layout = torrent.layout();
    let with_bytes = before.iter().zip(layout.files()).filter(|(_, entry)| has_bytes(entry));
    let files = with_bytes.map(|(identity, _)| *identity).collect::<Option<Vec<_>>>()?;
    let info_hash = torrent.info_hashes().next()?;
    let have = PieceSet::full(layout);
    verified.matches(info_hash, &files).then(|| (PartialRecord::new(info_hash, &have, before, 0, true), have))
}

/// Makes the files that are needed and missing, and lengthens those that are too short. Gives every file, and the folders
/// that got new names.
fn make_missing(
    layout: &FileLayout,
    top: &Top,
    needs: &Needs,
    before: Vec<Option<FileIdentity>>,
    record: &Record,
) -> Result<(Vec<Option<Found>>, BTreeSet<PathBuf>), StorageError> {
    let (mut found, mut root, mut new_folders) = (Vec::with_capacity(before.len()), None, BTreeSet::new());
    for ((file, entry), before) in layout.file_indices().zip(layout.files()).zip(before) {
        let is_trusted = before.is_some_and(|before| {
            let is_known = record.as_ref().is_ok_and(|(record, _)| record.trusts(file.get() as usize, &before));
            before.size_bytes == entry.length() && (is_known || entry.length() == 0)
        });
        let as_it_is = before.map(|identity| Found { identity, old_bytes: entry.length(), is_trusted });
        found.push(match needs.of_file(layout, file) {
            Some(allocate) if is_stored(entry) && !is_trusted => {
                if root.is_none() {
                    root = Some(top.enter_or_create()?);
                }
                if before.is_none() {
                    new_folders.extend(top.folders_to(entry.path()));
                }
                root.as_ref().map(|root| prepare(top, root, entry, allocate)).transpose()?
            }
            Some(_) | None => as_it_is,
        });
    }
    Ok((found, new_folders))
}

/// Makes the file, or lengthens it to what the torrent says.
fn prepare(top: &Top, root: &Root, entry: &FileEntry, allocate: Allocation) -> Result<Found, StorageError> {
    let path = || top.path_of(entry.path());
    let (file, found) = root.open_or_create(entry.path())?;
    let (old_bytes, length) = (found.size_bytes, entry.length());
    if old_bytes > length {
        return Err(StorageError::WrongSize { path: path(), expected_bytes: length, found_bytes: old_bytes });
    }
    let is_taken = allocate == Allocation::Full && length > 0 && take_space(&file, length, old_bytes, &path)?;
    if !is_taken && old_bytes < length {
        rustix::fs::ftruncate(&file, length).map_err(|errno| StorageError::io(&path(), "lengthen", errno))?;
    }
    let identity = status(&file).map_err(|errno| StorageError::io(&path(), "look at", errno))?.identity;
    Ok(Found { identity, old_bytes, is_trusted: false })
}

/// Takes disk space for the whole file. False where the file system cannot (fallocate(2)).
fn take_space(file: &File, length: u64, old_bytes: u64, path: &dyn Fn() -> PathBuf) -> Result<bool, StorageError> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(errno) => {
                // What was taken before the disk was full is of no use to anybody; the first error is the one to tell.
                let _ = rustix::fs::ftruncate(file, old_bytes);
                return Err(StorageError::io(&path(), "take disk space for", errno));
            }
        }
    }
}

/// What the files that were found are worth.
fn resume(layout: &FileLayout, found: &[Option<Found>], record: Record) -> Resumed {
    let with_bytes = || found.iter().zip(layout.files()).filter(|(_, entry)| has_bytes(entry));
    let is_trusted = |found: &Option<Found>| found.as_ref().is_some_and(|found| found.is_trusted);
    let (record, claimed) = match record {
        Ok((_, have)) if with_bytes().all(|(found, _)| is_trusted(found)) => {
            return Resumed { have, recheck: PieceSet::empty(layout), basis: Basis::Record };
        }
        Ok((record, have)) => (Ok(record), have),
        Err(basis) => (Err(basis), PieceSet::empty(layout)),
    };
    let (mut have, mut recheck) = (PieceSet::empty(layout), PieceSet::empty(layout));
    for piece in layout.pieces() {
        match look_at(layout, found, piece) {
            Evidence::Trusted if claimed.contains(piece) => have.insert(piece),
            Evidence::Doubtful => recheck.insert(piece),
            Evidence::Trusted | Evidence::Missing => {}
        }
    }
    let basis = match record {
        Err(basis) => basis,
        Ok(record) => {
            let is_changed = |index: &FileIndex| {
                let index = index.get() as usize;
                record.knows(index) && !is_trusted(&found[index])
            };
            let changed: Vec<FileIndex> = layout.file_indices().filter(is_changed).collect();
            if changed.is_empty() { Basis::Record } else { Basis::Changed(changed) }
        }
    };
    Resumed { have, recheck, basis }
}

/// What speaks for the bytes of a piece.
enum Evidence {
    /// The record is right about all of its files.
    Trusted,
    /// The bytes were there before, perhaps the right ones.
    Doubtful,
    /// Some of the bytes were not there.
    Missing,
}

fn look_at(layout: &FileLayout, found: &[Option<Found>], piece: PieceIndex) -> Evidence {
    let mut evidence = Evidence::Trusted;
    for extent in layout.extents(layout.whole_piece(piece)) {
        let Extent::File { file, offset, size } = extent else { continue };
        match &found[file.get() as usize] {
            Some(found) if found.is_trusted => {}
            Some(found) if offset + size <= found.old_bytes => evidence = Evidence::Doubtful,
            Some(_) | None => return Evidence::Missing,
        }
    }
    evidence
}

/// Two names of one file would overwrite each other's verified bytes.
fn refuse_shared_files(layout: &FileLayout, top: &Top, files: &[Option<FileIdentity>]) -> Result<(), StorageError> {
    let known = files.iter().zip(layout.files()).filter_map(|(found, entry)| Some((found.as_ref()?, entry)));
    let mut by_inode: Vec<_> = known.map(|(found, entry)| (found.device, found.inode, entry.path())).collect();
    by_inode.sort_unstable_by_key(|(device, inode, _)| (*device, *inode));
    match by_inode.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        Some(pair) => Err(StorageError::SharedFile { path: top.path_of(pair[0].2), other: top.path_of(pair[1].2) }),
        None => Ok(()),
    }
}
