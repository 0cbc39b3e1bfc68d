//! Verifying pieces that may be there: files that an earlier session left without a record, or that changed since.
//! Reading and hashing is `pass.rs`; what lies in a hole of a sparse file is not even read.

use std::sync::Arc;

use metainfo::{PieceIndex, PieceSet};

use super::Partial;
use super::holes::ZeroPieces;
use crate::error::StorageError;
use crate::meter::{Meter, Progress};
use crate::pass::{Digests, OnProblem, Pass};
use crate::verify::bad_pieces;

/// Verifies pieces of a download before it goes on. Any number of threads call [`RecheckPass::work`]; when all have come
/// back, one calls [`RecheckPass::finish`]. Nothing may be written meanwhile.
pub struct RecheckPass<'a> {
    partial: &'a Partial,
    selected: Vec<PieceIndex>,
    /// Pieces that are right without a look.
    of_zeros: Vec<PieceIndex>,
    pass: Pass<'a>,
    meter: Arc<Meter>,
}

impl Partial {
    /// A pass over `pieces`, which are [`super::Resumed::recheck`] or any others. Looks at all files, and at what they have of
    /// the pieces: bytes, or holes.
    pub fn recheck(&self, pieces: &PieceSet, meter: Arc<Meter>) -> Result<RecheckPass<'_>, StorageError> {
        let layout = self.layout();
        let mut zeros = ZeroPieces::new(&self.torrent, &self.files);
        let (mut selected, mut of_zeros) = (Vec::new(), Vec::new());
        for piece in pieces.iter() {
            match zeros.is_right(piece) {
                None => selected.push(piece),
                Some(true) => of_zeros.push(piece),
                Some(false) => {}
            }
        }
        let digests = Digests {
            v1: self.torrent.info_hash_v1().is_some(),
            // A hybrid without layers has its v1 hashes; of a v2 torrent without layers no file needs one.
            v2: self.torrent.info_hash_v2().is_some()
                && (self.torrent.has_piece_layers() || self.torrent.info_hash_v1().is_none()),
        };
        let top = self.files.top.clone();
        let pass = Pass::over(layout, top, Some(selected.clone()), digests, OnProblem::Note, Arc::clone(&meter))?;
        Ok(RecheckPass { partial: self, selected, of_zeros, pass, meter })
    }
}

impl RecheckPass<'_> {
    /// Verifies groups of pieces until none is left or the pass is cancelled.
    pub fn work(&self) {
        self.pass.work();
    }

    /// How far the pass is.
    pub fn progress(&self) -> Progress {
        self.meter.progress()
    }

    /// Makes all threads come back soon, and [`RecheckPass::finish`] fail.
    pub fn cancel(&self) {
        self.meter.cancel();
    }

    /// The pieces that are right; the download has them from now on. What could not be read, or changed meanwhile, is missing.
    /// Fails only if the pass was cancelled.
    pub fn finish(self) -> Result<PieceSet, StorageError> {
        let partial = self.partial;
        let layout = partial.layout();
        let outcome = self.pass.finish()?;
        let mut good = PieceSet::empty(layout);
        self.of_zeros.into_iter().for_each(|piece| good.insert(piece));
        let is_bad = bad_pieces(&partial.torrent, &outcome.found);
        let right = self.selected.into_iter().filter(|piece| !is_bad[piece.get() as usize]);
        right.for_each(|piece| good.insert(piece));
        for (file, error) in &outcome.problems {
            // A file that is not wanted is perhaps not there at all, or of another size, and its pieces are not good.
            if matches!(error, StorageError::Changed { .. } | StorageError::Missing { .. }) {
                layout.file_pieces(*file).for_each(|piece| good.remove(piece));
            }
        }
        partial.mark_verified(|verified| good.iter().for_each(|piece| verified.insert(piece)));
        Ok(good)
    }
}
