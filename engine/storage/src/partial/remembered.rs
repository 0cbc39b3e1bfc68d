//! What an earlier session remembered, held against the files that are there: which of them are trusted, which pieces are had
//! for that, and which have to be looked at.

use metainfo::{Extent, FileIndex, FileLayout, PieceSet, Torrent};

use super::checkpoint::read_record;
use super::open::{Basis, Found, PartialOptions, Resumed};
use crate::atomically::write_atomically;
use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::partial_record::PartialRecord;
use crate::record::VerifiedRecord;

/// What is remembered of the files of one torrent.
pub(super) struct Remembered {
    record: Result<PartialRecord, Basis>,
    /// The pieces that the record has, of trusted files only.
    have: PieceSet,
    /// For each entry of the layout whether the file is as the record says. Empty files are always.
    trusted: Vec<bool>,
    /// Whether the record of this download says exactly this.
    pub(super) is_written: bool,
}

impl Remembered {
    /// Reads what there is about files that were found in the states `before`.
    pub(super) fn read(torrent: &Torrent, options: &PartialOptions, before: &[Option<FileIdentity>]) -> Remembered {
        let layout = torrent.layout();
        let complete = options.verified.as_ref().and_then(|verified| recall_complete(torrent, verified, before));
        let is_complete = complete.is_some();
        let (record, mut have) = match complete.map_or_else(|| read_record(options.record.as_deref(), torrent), Ok) {
            Ok((record, have)) => (Ok(record), have),
            Err(basis) => (Err(basis), PieceSet::empty(layout)),
        };
        let is_trusted = |(file, (entry, before)): (usize, (&metainfo::FileEntry, &Option<FileIdentity>))| {
            let Some(before) = before.filter(|before| before.size_bytes == entry.length()) else { return false };
            entry.length() == 0 || record.as_ref().is_ok_and(|record| record.trusts(file, &before))
        };
        let trusted: Vec<bool> = layout.files().iter().zip(before).enumerate().map(is_trusted).collect();
        let is_whole = layout.files().iter().zip(&trusted).all(|(entry, trusted)| *trusted || !has_bytes(entry));
        if !is_whole {
            for piece in have.clone().iter() {
                let mut extents = layout.extents(layout.whole_piece(piece));
                if extents.any(|extent| matches!(extent, Extent::File { file, .. } if !trusted[file.get() as usize])) {
                    have.remove(piece);
                }
            }
        }
        Remembered { is_written: record.is_ok() && is_whole && !is_complete, record, have, trusted }
    }

    pub(super) fn is_trusted(&self, file: FileIndex) -> bool {
        self.trusted.get(file.get() as usize) == Some(&true)
    }

    /// Takes out of the record on disk what it says of files that changed. Before they are touched: a file that was cut and is
    /// now lengthened again, or one that is made anew, could else pass for the one that the record knows.
    pub(super) fn disown_changed(&self, layout: &FileLayout, options: &PartialOptions) -> Result<(), StorageError> {
        match (&self.record, &options.record) {
            (Ok(record), Some(path)) if !self.changed(layout).is_empty() => {
                let is_changed = |file: usize| !self.trusted[file];
                write_atomically(path, &record.without(is_changed, &self.have).encode())
            }
            _ => Ok(()),
        }
    }

    /// What the files, now that all of them are there, are worth.
    pub(super) fn resume(self, layout: &FileLayout, found: &[Option<Found>]) -> Resumed {
        let mut recheck = PieceSet::empty(layout);
        if !self.is_written {
            let may_be_there = |piece: &_| {
                let (mut is_there, mut is_doubtful) = (true, false);
                for extent in layout.extents(layout.whole_piece(*piece)) {
                    let Extent::File { file, offset, size } = extent else { continue };
                    let found = found[file.get() as usize].as_ref();
                    is_there &= found.is_some_and(|found| offset + size <= found.old_bytes);
                    is_doubtful |= !self.is_trusted(file);
                }
                is_there && is_doubtful
            };
            layout.pieces().filter(may_be_there).for_each(|piece| recheck.insert(piece));
        }
        let changed = self.changed(layout);
        let basis = match self.record {
            Err(basis) => basis,
            Ok(_) if changed.is_empty() => Basis::Record,
            Ok(_) => Basis::Changed(changed),
        };
        Resumed { have: self.have, recheck, basis }
    }

    /// The files that the record knows in another state.
    fn changed(&self, layout: &FileLayout) -> Vec<FileIndex> {
        let Ok(record) = &self.record else { return Vec::new() };
        let is_changed = |file: &FileIndex| record.knows(file.get() as usize) && !self.is_trusted(*file);
        layout.file_indices().filter(is_changed).collect()
    }
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
