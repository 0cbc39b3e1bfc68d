//! Hashing files into a new torrent: what [`metainfo`] needs to write one, and the state of the files that were hashed. What need
//! not be hashed again is in `hash_pass/known.rs` and
//! `hash_pass/twins.rs`.

mod known;
mod twins;

use std::sync::Arc;

use hash::Sha256Digest;
use metainfo::merkle::root_of_piece_layer;
use metainfo::{FileHashes, FileIndex, FileLayout, PieceHashes};

use crate::content::has_bytes;
use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::meter::{Meter, Progress};
use crate::pass::{Digests, Found, OnProblem, Pass, Plan};
use crate::place::Place;

pub use known::KnownFiles;
use twins::Twins;

/// Hashes every piece of a layout once, but for those that are known. Any number of threads call [`HashPass::work`]; when all have
/// come back, one calls [`HashPass::finish`].
pub struct HashPass<'a> {
    pass: Pass<'a>,
    layout: &'a FileLayout,
    wanted: Wanted<'a>,
    twins: Twins,
    meter: Arc<Meter>,
}

/// What a pass is to find out.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which hashes of the pieces.
    pub digests: Digests,
    /// Whether also the SHA-256 of every whole file.
    pub file_sha256: bool,
    /// What need not be read again, if anything is known.
    pub known: Option<&'a KnownFiles>,
}

/// What a pass over files gave.
#[derive(Debug)]
pub struct Hashed {
    /// For [`metainfo::Builder`].
    pub hashes: PieceHashes,
    /// The state of each file that holds bytes, as [`crate::VerifiedRecord`] wants it.
    pub files: Vec<FileIdentity>,
    /// The SHA-256 of each file, by file index, if it was wanted; `None` for pads and links. Empty if not.
    pub file_sha256: Vec<Option<Sha256Digest>>,
}

impl<'a> HashPass<'a> {
    /// Looks at every file of the layout; all have to be there and of the size that it says. What has a state in which its
    /// hashes are known is not read again.
    pub fn new(
        layout: &'a FileLayout,
        place: &Place,
        wanted: Wanted<'a>,
        meter: Arc<Meter>,
    ) -> Result<HashPass<'a>, StorageError> {
        let mut twins = Twins::default();
        let plan = |states: &[Option<FileIdentity>]| {
            twins = Twins::find(layout, states, wanted.digests);
            plan(layout, wanted, states, &twins)
        };
        let pass = Pass::planned(layout, place.top(layout), OnProblem::Stop, Arc::clone(&meter), plan)?;
        Ok(HashPass { pass, layout, wanted, twins, meter })
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
        let mut outcome = self.pass.finish()?;
        self.twins.fill(&mut outcome.found);
        let v2 = if self.wanted.digests.v2 { file_hashes(self.layout, &outcome.found) } else { Vec::new() };
        let entries = outcome.identities.into_iter().zip(self.layout.files());
        let files = entries.filter(|(_, entry)| has_bytes(entry)).filter_map(|(identity, _)| identity).collect();
        let Found { v1, file_sha256, .. } = outcome.found;
        Ok(Hashed { hashes: PieceHashes { v1, v2 }, files, file_sha256 })
    }
}

impl From<Digests> for Wanted<'_> {
    /// All pieces, and nothing is known.
    fn from(digests: Digests) -> Self {
        Wanted { digests, file_sha256: false, known: None }
    }
}

/// Takes what is known, leaves out what is to be copied, and plans the rest.
fn plan(layout: &FileLayout, wanted: Wanted<'_>, states: &[Option<FileIdentity>], twins: &Twins) -> Plan {
    let digests = wanted.digests;
    let mut found = Found::nothing(layout, digests);
    let mut known = vec![Digests { v1: false, v2: false }; layout.piece_count() as usize];
    let state_of = |file: FileIndex| states[file.get() as usize].as_ref();
    let with_bytes: Vec<FileIndex> = layout.file_indices().filter(|file| has_bytes(layout.file(*file))).collect();
    if let Some(files) = wanted.known.filter(|files| !files.is_empty()) {
        for piece in layout.pieces().filter(|_| digests.v1) {
            let Some(hash) = files.piece_v1(layout, states, piece) else { continue };
            found.v1[piece.get() as usize] = hash;
            known[piece.get() as usize].v1 = true;
        }
        for file in with_bytes.iter().filter(|_| digests.v2) {
            let layer = state_of(*file).and_then(|state| files.layer(state, layout.piece_length()));
            let layer = layer.filter(|layer| layer.len() == layout.file_pieces(*file).len());
            for (piece, hash) in layout.file_pieces(*file).zip(layer.into_iter().flatten()) {
                found.v2[piece.get() as usize] = hash;
                known[piece.get() as usize].v2 = true;
            }
        }
    }
    twins.mark(&mut known);
    let mut unknown = Vec::new();
    if wanted.file_sha256 {
        found.file_sha256 = vec![None; layout.files().len()];
        for (file, digest) in layout.file_indices().zip(&mut found.file_sha256) {
            let entry = layout.file(file);
            let is_empty_file = entry.length() == 0 && entry.symlink_target().is_none() && !entry.is_pad();
            *digest = match is_empty_file {
                true => Some(hash::sha256(b"")),
                false => state_of(file).and_then(|state| wanted.known?.sha256(state)),
            };
        }
        let is_unknown =
            |file: &FileIndex| twins.first(*file).is_none() && found.file_sha256[file.get() as usize].is_none();
        unknown = with_bytes.into_iter().filter(is_unknown).collect();
    }
    Plan::rest(layout, found, &known, digests, &unknown)
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
