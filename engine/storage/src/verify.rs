//! Comparing files with a torrent: every piece is looked at, whatever is wrong with others. v1 pieces are compared with
//! the piece hashes, v2 pieces with the piece layers, those of a hybrid with both.

use std::sync::Arc;

use metainfo::merkle::root_of_piece_layer;
use metainfo::{FileIndex, FileLayout, PieceIndex, Torrent};

use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::meter::{Meter, Progress};
use crate::pass::{Digests, Found, OnProblem, Pass};
use crate::place::Place;

/// Verifies the content of a torrent. Any number of threads call [`VerifyPass::work`]; when all have come back, one calls
/// [`VerifyPass::finish`].
pub struct VerifyPass<'a> {
    torrent: &'a Torrent,
    pass: Pass<'a>,
    meter: Arc<Meter>,
}

/// What a verification found.
#[derive(Debug)]
pub struct VerifyReport {
    /// Pieces of the torrent.
    pub piece_count: u32,
    /// Pieces with wrong bytes, or with bytes that could not be read. Sorted.
    pub bad_pieces: Vec<PieceIndex>,
    /// Files that are missing, of another size, unreadable, or that changed meanwhile. Sorted.
    pub problems: Vec<FileProblem>,
    files: Vec<FileIdentity>,
}

/// What is wrong with one file.
#[derive(Debug)]
pub struct FileProblem {
    /// Which file of the torrent.
    pub file: FileIndex,
    /// What is wrong.
    pub error: StorageError,
}

impl<'a> VerifyPass<'a> {
    /// Looks at every file. Nothing that is wrong with them is an error here; it is in the report.
    pub fn new(torrent: &'a Torrent, place: &Place, meter: Arc<Meter>) -> Result<VerifyPass<'a>, StorageError> {
        let digests = Digests { v1: torrent.info_hash_v1().is_some(), v2: torrent.info_hash_v2().is_some() };
        let pass = Pass::new(torrent.layout(), place, digests, OnProblem::Note, Arc::clone(&meter))?;
        Ok(VerifyPass { torrent, pass, meter })
    }

    /// Verifies groups of pieces until none is left or the pass is cancelled.
    pub fn work(&self) {
        self.pass.work();
    }

    /// How far the pass is.
    pub fn progress(&self) -> Progress {
        self.meter.progress()
    }

    /// Makes all threads come back soon, and [`VerifyPass::finish`] fail.
    pub fn cancel(&self) {
        self.meter.cancel();
    }

    /// What was found; fails only if the pass was cancelled.
    pub fn finish(self) -> Result<VerifyReport, StorageError> {
        let (torrent, layout) = (self.torrent, self.torrent.layout());
        let outcome = self.pass.finish()?;
        let problems = outcome.problems.into_iter().map(|(file, error)| FileProblem { file, error }).collect();
        let is_bad = bad_pieces(torrent, &outcome.found);
        let bad_pieces = layout.pieces().zip(is_bad).filter_map(|(piece, is_bad)| is_bad.then_some(piece)).collect();
        let entries = outcome.identities.into_iter().zip(layout.files());
        let files = entries.filter(|(_, entry)| has_bytes(entry)).filter_map(|(identity, _)| identity).collect();
        Ok(VerifyReport { piece_count: layout.piece_count(), bad_pieces, problems, files })
    }
}

impl VerifyReport {
    /// Whether everything is there and right.
    pub fn is_complete(&self) -> bool {
        self.bad_pieces.is_empty() && self.problems.is_empty()
    }

    /// The states of the files that hold bytes, for a [`crate::VerifiedRecord`], if the content is complete.
    pub fn verified_files(&self) -> Option<&[FileIdentity]> {
        self.is_complete().then_some(&self.files)
    }

    /// How many bad pieces touch the file.
    pub fn bad_pieces_of(&self, layout: &FileLayout, file: FileIndex) -> usize {
        let touched = layout.file_pieces(file);
        touched.filter(|piece| self.bad_pieces.binary_search(piece).is_ok()).count()
    }
}

/// For each piece whether it is missing or wrong.
pub(crate) fn bad_pieces(torrent: &Torrent, found: &Found) -> Vec<bool> {
    let layout = torrent.layout();
    let mut is_bad: Vec<bool> = found.is_read.iter().map(|is_read| !is_read).collect();
    for (piece, is_bad) in layout.pieces().zip(&mut is_bad) {
        let index = piece.get() as usize;
        *is_bad |= found.v1.get(index).is_some_and(|hash| torrent.piece_hash_v1(piece) != Some(*hash));
        let v2 = found.v2.get(index).filter(|_| torrent.has_piece_layers());
        *is_bad |= v2.is_some_and(|hash| torrent.piece_hash_v2(piece) != Some(*hash));
    }
    if !found.v2.is_empty() && !torrent.has_piece_layers() {
        by_roots(layout, found, &mut is_bad);
    }
    is_bad
}

/// Without piece layers (a magnet's metadata) only whole files can be told right from wrong.
fn by_roots(layout: &FileLayout, found: &Found, is_bad: &mut [bool]) {
    for file in layout.file_indices() {
        let pieces = || layout.file_pieces(file).map(|piece| piece.get() as usize);
        let layer: Vec<_> = pieces().map(|piece| found.v2[piece]).collect();
        let root = layout.file(file).pieces_root();
        if has_bytes(layout.file(file)) && root != Some(root_of_piece_layer(&layer, layout.piece_length())) {
            pieces().for_each(|piece| is_bad[piece] = true);
        }
    }
}

#[cfg(test)]
mod tests;
