//! The merkle leaves that find the bad blocks of a v2 piece that failed its hash (BEP 52): asked of peers, believed only if
//! they give the piece's own hash, compared with what was received.

use crate::event_loop::Shard;
use crate::table::Key;
use crate::torrents::Slot;
use hash::Sha256Digest;
use metainfo::merkle::root_of_leaves;
use metainfo::{BLOCK_SIZE, FileIndex, FileLayout, PieceIndex, Torrent};
use std::collections::HashMap;
use std::time::Duration;
use swarm::Download;
use wire::{HashRequest, Message};

/// Pieces whose leaves are kept while others are asked for theirs; beyond it a piece is fetched again as a whole.
const FAILED_PIECES_LIMIT: usize = 64;

/// Leaves that one request asks for at most, as BEP 52 has it.
const LEAVES_PER_REQUEST: u32 = 512;

/// What is known of pieces that failed.
#[derive(Default)]
pub(super) struct FailedLeaves {
    pieces: HashMap<PieceIndex, FailedPiece>,
}

struct FailedPiece {
    /// Of what was received.
    received: Vec<Sha256Digest>,
    /// Who is asked; nobody else is believed.
    asked: Option<Key>,
    /// What that peer says they should be, as far as it has said.
    told: Vec<Option<Sha256Digest>>,
}

impl FailedLeaves {
    /// Keeps the leaves of what was received of a piece.
    pub(super) fn keep(&mut self, piece: PieceIndex, received: Vec<Sha256Digest>) {
        if self.pieces.len() < FAILED_PIECES_LIMIT || self.pieces.contains_key(&piece) {
            self.pieces.insert(piece, FailedPiece { told: Vec::new(), asked: None, received });
        }
    }

    /// The piece has come right after all.
    pub(super) fn forget(&mut self, piece: PieceIndex) {
        self.pieces.remove(&piece);
    }

    /// A peer is asked; what another one told before is void.
    fn ask(&mut self, piece: PieceIndex, peer: Key) -> bool {
        let Some(failed) = self.pieces.get_mut(&piece) else { return false };
        failed.asked = Some(peer);
        failed.told.clear();
        true
    }

    /// A peer tells leaves.
    pub(super) fn handle_hashes(
        &mut self,
        now: Duration,
        torrent: &Torrent,
        peer: Key,
        request: &HashRequest,
        hashes: &[u8],
        download: &mut Download<Key>,
    ) {
        let Some((piece, shape)) = piece_of(torrent.layout(), request) else { return };
        let Some(failed) = self.pieces.get_mut(&piece).filter(|failed| failed.asked == Some(peer)) else { return };
        let (hashes, _) = hashes.as_chunks::<32>();
        failed.told.resize(shape.leaf_count as usize, None);
        for (place, hash) in failed.told.iter_mut().skip((request.index - shape.first) as usize).zip(hashes) {
            *place = Some(Sha256Digest(*hash));
        }
        let Some(told) = failed.told.iter().copied().collect::<Option<Vec<_>>>() else { return };
        failed.told.clear();
        let received = failed.received.clone();
        // A file of at most one piece has its root for a piece hash.
        if torrent.piece_hash_v2(piece) != Some(root_of_leaves(&told)) {
            return download.handle_hashes_refused(now, peer, piece);
        }
        self.pieces.remove(&piece);
        let differs = |number: &u32| received.get(*number as usize) != told.get(*number as usize);
        let bad: Vec<u32> = (0..received.len() as u32).filter(differs).collect();
        download.handle_leaves(now, piece, &bad);
    }

    /// A peer does not tell them.
    pub(super) fn handle_refused(
        &mut self,
        now: Duration,
        torrent: &Torrent,
        peer: Key,
        request: &HashRequest,
        download: &mut Download<Key>,
    ) {
        if let Some((piece, _)) = piece_of(torrent.layout(), request) {
            download.handle_hashes_refused(now, peer, piece);
        }
    }
}

impl Shard {
    /// Asks a peer for the leaves of a piece.
    pub(super) fn request_leaves(&mut self, peer: Key, slot: Slot, piece: PieceIndex) {
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let layout = served.task.seeded.torrent().layout();
        let known = served.leech.as_mut().is_some_and(|leech| leech.failed_leaves.ask(piece, peer));
        let shape = shape_of(layout, piece).filter(|shape| known && shape.leaf_count > 1);
        let Some(PieceLeaves { pieces_root, first, leaf_count }) = shape else {
            let now = self.now;
            if let Some(leech) = self.torrents.leech_mut(slot) {
                leech.download.handle_hashes_refused(now, peer, piece);
            }
            return;
        };
        for begin in (0..leaf_count).step_by(LEAVES_PER_REQUEST as usize) {
            let length = leaf_count.min(LEAVES_PER_REQUEST);
            let request = HashRequest { pieces_root, base_layer: 0, index: first + begin, length, proof_layers: 0 };
            self.say(peer, Message::HashRequest(request));
        }
    }
}

/// The leaves of one piece within its file's tree.
struct PieceLeaves {
    pieces_root: Sha256Digest,
    first: u32,
    /// A power of two: fewer than a piece has only where the whole file is smaller.
    leaf_count: u32,
}

fn shape_of(layout: &FileLayout, piece: PieceIndex) -> Option<PieceLeaves> {
    let files = layout.file_indices().filter(|file| layout.file(*file).pieces_root().is_some());
    let file = files.into_iter().find(|file| layout.file_pieces(*file).any(|other| other == piece))?;
    let place = layout.file_pieces(file).position(|other| other == piece)? as u32;
    let of_piece = layout.piece_length() / BLOCK_SIZE;
    let of_file = u32::try_from(layout.file(file).length().div_ceil(u64::from(BLOCK_SIZE))).ok()?.next_power_of_two();
    let leaf_count = of_piece.min(of_file);
    let pieces_root = layout.file(file).pieces_root()?;
    Some(PieceLeaves { pieces_root, first: place.checked_mul(of_piece)?, leaf_count })
}

/// The piece whose leaves the request is about.
fn piece_of(layout: &FileLayout, request: &HashRequest) -> Option<(PieceIndex, PieceLeaves)> {
    let with_root = |file: &FileIndex| layout.file(*file).pieces_root() == Some(request.pieces_root);
    let file = layout.file_indices().find(with_root).filter(|_| request.base_layer == 0)?;
    let place = request.index / (layout.piece_length() / BLOCK_SIZE);
    let piece = layout.file_pieces(file).nth(place as usize)?;
    Some((piece, shape_of(layout, piece)?))
}
