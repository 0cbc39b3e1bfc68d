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

use metainfo::{FileEntry, FileIndex, FileLayout, PieceSet, Torrent, Version};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Partial;
use super::checkpoint::Keeper;
use super::files::Files;
use super::remembered::Remembered;
use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::{FileIdentity, status};
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
pub(super) struct Found {
    identity: FileIdentity,
    /// Bytes that were there; the rest was appended just now and is zero.
    pub(super) old_bytes: u64,
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
        let remembered = Remembered::read(&torrent, options, &before);
        remembered.disown_changed(layout, options)?;
        let (found, new_folders) = make_missing(layout, &top, &needs, before, &remembered)?;
        let with_bytes =
            |(found, entry): (&Option<Found>, &FileEntry)| Some(found.as_ref()?.identity).filter(|_| has_bytes(entry));
        let identities: Box<[_]> = found.iter().zip(layout.files()).map(with_bytes).collect();
        refuse_shared_files(layout, &top, &identities)?;
        let is_trusted =
            |(file, identity): (FileIndex, &Option<FileIdentity>)| identity.filter(|_| remembered.is_trusted(file));
        let trusted: Box<[_]> = layout.file_indices().zip(&identities).map(is_trusted).collect();
        let doubtful = identities.iter().zip(&trusted).map(|(found, trusted)| found.is_some() && trusted.is_none());
        let doubtful: Vec<FileIndex> =
            layout.file_indices().zip(doubtful).filter_map(|(file, is_doubtful)| is_doubtful.then_some(file)).collect();
        let is_written = remembered.is_written;
        let resumed = remembered.resume(layout, &found);
        let (path, have) = (options.record.clone(), resumed.have.clone());
        let keeper = Keeper::new(path, &torrent, have.clone(), trusted, is_written, new_folders);
        let files = Files::new(top, identities);
        // What a recheck finds in them was perhaps never synced.
        doubtful.into_iter().for_each(|file| files.mark_dirty(file));
        let Needs { wanted: wanted_files, pieces: wanted, allocate } = needs;
        let verified = Mutex::new(have);
        let partial = Partial { torrent, files, keeper, verified, wanted, wanted_files, allocate };
        Ok((partial, resumed))
    }
}

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

/// Makes the files that are needed and missing, and lengthens those that are too short. Gives every file, and the folders
/// that got new names.
fn make_missing(
    layout: &FileLayout,
    top: &Top,
    needs: &Needs,
    before: Vec<Option<FileIdentity>>,
    remembered: &Remembered,
) -> Result<(Vec<Option<Found>>, BTreeSet<PathBuf>), StorageError> {
    let (mut found, mut root, mut new_folders) = (Vec::with_capacity(before.len()), None, BTreeSet::new());
    for ((file, entry), before) in layout.file_indices().zip(layout.files()).zip(before) {
        let as_it_is = before.map(|identity| Found { identity, old_bytes: entry.length() });
        // What has its length is perhaps whole: nothing is done to it before a piece turns out to be wrong, be it to its time.
        let has_length = before.is_some_and(|identity| identity.size_bytes == entry.length());
        found.push(match needs.of_file(layout, file) {
            Some(allocate) if is_stored(entry) && !has_length && !remembered.is_trusted(file) => {
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
    Ok(Found { identity, old_bytes })
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
