//! Hashing files into a new torrent: what [`metainfo`] needs to write one, and the state of the files that were hashed.

use std::sync::Arc;

use metainfo::merkle::root_of_piece_layer;
use metainfo::{FileHashes, FileLayout, PieceHashes};

use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::meter::{Meter, Progress};
use crate::pass::{Digests, Found, OnProblem, Pass};
use crate::place::Place;

/// Hashes every piece of a layout once. Any number of threads call [`HashPass::work`]; when all have come back, one calls
/// [`HashPass::finish`].
pub struct HashPass<'a> {
    pass: Pass<'a>,
    layout: &'a FileLayout,
    digests: Digests,
    meter: Arc<Meter>,
}

/// What a pass over files gave.
#[derive(Debug)]
pub struct Hashed {
    /// For [`metainfo::Builder`].
    pub hashes: PieceHashes,
    /// The state of each file that holds bytes, as [`crate::VerifiedRecord`] wants it.
    pub files: Vec<FileIdentity>,
}

impl<'a> HashPass<'a> {
    /// Looks at every file of the layout; all have to be there and of the size that it says.
    pub fn new(
        layout: &'a FileLayout,
        place: &Place,
        digests: Digests,
        meter: Arc<Meter>,
    ) -> Result<HashPass<'a>, StorageError> {
        let pass = Pass::new(layout, place, digests, OnProblem::Stop, Arc::clone(&meter))?;
        Ok(HashPass { pass, layout, digests, meter })
    }

    /// Hashes groups of pieces until none is left, the pass fails or is cancelled.
    pub fn work(&self) {
        self.pass.work();
    }

    /// How far the pass is.
    pub fn progress(&self) -> Progress {
        self.meter.progress()
    }

    /// Makes all threads come back soon, and [`HashPass::finish`] fail.
    pub fn cancel(&self) {
        self.meter.cancel();
    }

    /// The hashes, unless a file could not be read or is no longer what it was at the start.
    pub fn finish(self) -> Result<Hashed, StorageError> {
        let outcome = self.pass.finish()?;
        let v2 = if self.digests.v2 { file_hashes(self.layout, &outcome.found) } else { Vec::new() };
        let entries = outcome.identities.into_iter().zip(self.layout.files());
        let files = entries.filter(|(_, entry)| has_bytes(entry)).filter_map(|(identity, _)| identity).collect();
        Ok(Hashed { hashes: PieceHashes { v1: outcome.found.v1, v2 }, files })
    }
}

fn file_hashes(layout: &FileLayout, found: &Found) -> Vec<FileHashes> {
    let files = layout.file_indices().filter(|file| has_bytes(layout.file(*file)));
    let hashes = files.map(|file| {
        let layer: Vec<_> = layout.file_pieces(file).map(|piece| found.v2[piece.get() as usize]).collect();
        FileHashes { file, root: root_of_piece_layer(&layer, layout.piece_length()), layer }
    });
    hashes.collect()
}

#[cfg(test)]
mod tests;
