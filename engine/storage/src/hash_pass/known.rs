//! What is known of files that were hashed before, so that a new torrent hashes only what changed. A file is known by its state
//! (size, time, inode), not by its path: moved, renamed or linked, it keeps its hashes. Who keeps torrents and records is
//! the caller's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use hash::{Sha1Digest, Sha256Digest};
use metainfo::merkle::piece_layer_for_longer_pieces;
use metainfo::{Extent, FileIndex, FileLayout, PieceIndex, Torrent};

use crate::content::has_bytes;
use crate::identity::FileIdentity;
use crate::record::{FILE_BYTES, VerifiedRecord, pack};

/// How many places of one file are tried where a v1 piece may have its hash from. More are links of one file, or torrents that
/// say the same.
const CANDIDATES_MAX: usize = 8;

/// The state of a file as records keep it: without the device, whose number may change with a restart.
type State = [u8; FILE_BYTES];

/// Files whose hashes are known, in the states in which they had them. What was added last is believed first.
///
/// A state stands for the bytes that had it, as in [`FileIdentity`]: a file that is written to while its size and time are made to
/// look the same (`rsync --checksum --inplace --times`) keeps its old hashes here, and no seed would notice either.
#[derive(Clone, Debug, Default)]
pub struct KnownFiles {
    torrents: Vec<KnownTorrent>,
    places: BTreeMap<State, Vec<KnownPlace>>,
}

#[derive(Clone, Debug)]
struct KnownTorrent {
    torrent: Arc<Torrent>,
    /// For each file of the layout its state; `None` for what has no bytes.
    states: Vec<Option<State>>,
    /// For each file of the layout, or none at all.
    sha256: Vec<Option<Sha256Digest>>,
}

/// A file of one of the torrents.
#[derive(Clone, Copy, Debug)]
struct KnownPlace {
    torrent: u32,
    file: FileIndex,
}

impl KnownFiles {
    /// Nothing known.
    pub fn new() -> KnownFiles {
        KnownFiles::default()
    }

    /// Adds the files of a torrent, which had its bytes in the states of `record`. `sha256` has the SHA-256 of each whole file, one
    /// entry for every file of the layout, or is empty. False, and nothing is added, if the three do not belong together.
    pub fn add(&mut self, torrent: Arc<Torrent>, record: &VerifiedRecord, sha256: Vec<Option<Sha256Digest>>) -> bool {
        let layout = torrent.layout();
        let is_same = torrent.info_hashes().next() == Some(record.info_hash());
        let with_bytes = layout.files().iter().filter(|file| has_bytes(file)).count();
        let fits = record.states().len() == with_bytes && (sha256.is_empty() || sha256.len() == layout.files().len());
        let Ok(index) = u32::try_from(self.torrents.len()) else { return false };
        if !is_same || !fits {
            return false;
        }
        let mut recorded = record.states().iter();
        let mut states = vec![None; layout.files().len()];
        for (file, state) in layout.file_indices().zip(&mut states) {
            let entry = layout.file(file);
            // A record of another size cannot be of this file; the others may still be right.
            let found = if has_bytes(entry) { recorded.next() } else { None };
            *state = found.copied().filter(|found| found[..8] == entry.length().to_be_bytes());
            if let Some(state) = *state {
                self.places.entry(state).or_default().push(KnownPlace { torrent: index, file });
            }
        }
        self.torrents.push(KnownTorrent { torrent, states, sha256 });
        true
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The SHA-256 of a whole file.
    pub(crate) fn sha256(&self, file: &FileIdentity) -> Option<Sha256Digest> {
        self.candidates(&pack(file)).find_map(|place| {
            let known = &self.torrents[place.torrent as usize];
            known.sha256.get(place.file.get() as usize).copied().flatten()
        })
    }

    /// The merkle hashes of a file's pieces, if each is of `piece_length` bytes. A layer of shorter pieces will do.
    pub(crate) fn layer(&self, file: &FileIdentity, piece_length: u32) -> Option<Vec<Sha256Digest>> {
        self.candidates(&pack(file)).find_map(|place| {
            let torrent = &self.torrents[place.torrent as usize].torrent;
            let layer = torrent.piece_layer(place.file)?;
            if layer.len() == 1 && file.size_bytes <= u64::from(piece_length) {
                return Some(layer.to_vec());
            }
            let known_length = torrent.layout().piece_length();
            (known_length <= piece_length)
                .then(|| piece_layer_for_longer_pieces(layer, file.size_bytes, known_length, piece_length))
        })
    }

    /// The SHA-1 of a piece, if a known torrent has one of the same parts of the same files. `states` has the state of each
    /// file of the layout.
    pub(crate) fn piece_v1(
        &self,
        layout: &FileLayout,
        states: &[Option<FileIdentity>],
        piece: PieceIndex,
    ) -> Option<Sha1Digest> {
        let state = |file: FileIndex| states[file.get() as usize].as_ref().map(pack);
        let Some(Extent::File { file, offset, .. }) = layout.extents(layout.whole_piece(piece)).next() else {
            return None;
        };
        self.candidates(&state(file)?).find_map(|place| {
            let known = &self.torrents[place.torrent as usize];
            let known_layout = known.torrent.layout();
            let known_piece = piece_that_begins_at(known_layout, place.file, offset)?;
            let known_state = |file: FileIndex| known.states[file.get() as usize];
            let is_same = layout.piece_size(piece) == known_layout.piece_size(known_piece)
                && parts(layout, piece, &state).eq(parts(known_layout, known_piece, &known_state));
            if is_same { known.torrent.piece_hash_v1(known_piece) } else { None }
        })
    }

    /// The newest places of a file.
    fn candidates(&self, state: &State) -> impl Iterator<Item = KnownPlace> {
        self.places.get(state).into_iter().flat_map(|places| places.iter().rev().take(CANDIDATES_MAX)).copied()
    }
}

/// The piece whose first byte is this one of the file.
pub(super) fn piece_that_begins_at(layout: &FileLayout, file: FileIndex, offset: u64) -> Option<PieceIndex> {
    let position = layout.file(file).offset().checked_add(offset)?;
    let piece_length = u64::from(layout.piece_length());
    let index = position.is_multiple_of(piece_length).then(|| position / piece_length)?;
    layout.piece(u32::try_from(index).ok()?)
}

/// The parts of a piece: bytes of files in known states, or zeros. A file in no known state is like no other.
fn parts<'a>(
    layout: &'a FileLayout,
    piece: PieceIndex,
    state: &'a dyn Fn(FileIndex) -> Option<State>,
) -> impl Iterator<Item = Part> + 'a {
    layout.extents(layout.whole_piece(piece)).map(|extent| match extent {
        Extent::Zeros { size } => Part::Zeros { size },
        Extent::File { file, offset, size } => match state(file) {
            Some(state) => Part::File { state, offset, size },
            None => Part::Unknown,
        },
    })
}

enum Part {
    File { state: State, offset: u64, size: u64 },
    Zeros { size: u64 },
    Unknown,
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        match (self, other) {
            (Part::File { state, offset, size }, Part::File { state: other, offset: at, size: bytes }) => {
                (state, offset, size) == (other, at, bytes)
            }
            (Part::Zeros { size }, Part::Zeros { size: other }) => size == other,
            (Part::Unknown, _) | (_, Part::Unknown) | (Part::File { .. } | Part::Zeros { .. }, _) => false,
        }
    }
}

#[cfg(test)]
mod tests;
