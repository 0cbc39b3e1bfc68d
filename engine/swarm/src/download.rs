//! The download of one torrent: which peer is asked for which block, what becomes of what it sends, whom to believe. Pure:
//! time comes in as an argument since an arbitrary start, payload passes by.
//!
//! This file takes in what peers say of themselves; `exchange` holds what crosses to the owner and back, `requests` picks
//! blocks, `arrivals` books them, `verdicts` deals with whole pieces and those who spoil them, `clock` with whatever takes
//! too long.

mod arrivals;
mod books;
mod clock;
mod exchange;
pub mod limits;
mod open_pieces;
mod parole;
mod peer;
mod pipeline;
mod progress;
mod requests;
mod senders;
mod verdicts;

use crate::picker::Picker;
use crate::piece_set::PieceSet;
use crate::session::Availability;
pub use exchange::{Arrival, BanReason, DownloadAction, DropCause, Incoming, PeerTraits, PieceVerdict, Selection};
use metainfo::{BLOCK_SIZE, BlockRange, FileLayout, PieceIndex, Torrent};
use open_pieces::OpenPieces;
use peer::Peer;
pub use progress::{OpenPieceStatus, Progress};
use senders::Senders;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// The download of one torrent. `P` names a peer.
///
/// After any `handle_*` the owner takes [`Download::poll_actions`]; a peer in `Wanted` is then asked for what
/// [`Download::poll_requests`] says. A peer that did not join, or is gone, is ignored.
#[derive(Debug)]
pub struct Download<P> {
    torrent: Arc<Torrent>,
    have: PieceSet,
    wanted: PieceSet,
    sequential: bool,
    picker: Picker,
    open: OpenPieces,
    peers: Vec<Option<Peer<P>>>,
    vacant: Vec<u32>,
    by_key: HashMap<P, u32>,
    senders: Senders,
    actions: Vec<DownloadAction<P>>,
    /// Counts whatever may give an idle peer something to do.
    epoch: u64,
    /// Idle peers are to be told.
    wake_idle: bool,
    /// Blocks that may be asked for or wait to be written.
    write_room: u32,
    /// Some piece could not be begun for want of room.
    lacks_room: bool,
    paused: bool,
    progress: Progress,
}

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// A download of what `selection` wants and `have` lacks. `seed` decides among equals.
    pub fn new(torrent: Arc<Torrent>, have: PieceSet, selection: Selection, seed: u64) -> Download<P> {
        let piece_count = torrent.layout().piece_count();
        debug_assert!(have.piece_count() == piece_count && selection.wanted.piece_count() == piece_count);
        let mut download = Download {
            picker: Picker::new(piece_count, seed),
            torrent,
            have,
            wanted: selection.wanted,
            sequential: selection.sequential,
            open: OpenPieces::default(),
            peers: Vec::new(),
            vacant: Vec::new(),
            by_key: HashMap::new(),
            senders: Senders::new(),
            actions: Vec::new(),
            epoch: 1,
            wake_idle: false,
            write_room: limits::FIRST_WRITE_ROOM,
            lacks_room: false,
            paused: false,
            progress: Progress::default(),
        };
        for piece in 0..piece_count {
            download.picker.set_pickable(piece, download.is_missing(piece));
        }
        download.progress.missing_bytes = download.count_missing_bytes();
        download
    }

    /// A peer's handshake is done.
    pub fn handle_joined(&mut self, now: Duration, peer: P, traits: &PeerTraits) {
        if self.by_key.len() >= limits::PEERS_LIMIT || self.by_key.contains_key(&peer) {
            self.progress.refused_peers += 1;
            return;
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() as u32 - 1
        });
        let sender = self.senders.join(slot, traits.address.ip());
        let mut entry = Peer::new(now, peer, traits, sender, self.layout().piece_count());
        entry.suspect = self.senders.is_struck(traits.address.ip());
        self.peers[slot as usize] = Some(entry);
        self.by_key.insert(peer, slot);
    }

    /// The peer's connection ended. What it was asked for is wanted from others.
    pub fn handle_gone(&mut self, now: Duration, peer: P) {
        let Some(slot) = self.by_key.remove(&peer) else { return };
        self.release_requests(slot, |_| true);
        self.forget_arriving(slot);
        self.disown(slot);
        let Some(entry) = self.peers[slot as usize].take() else { return };
        for piece in entry.pieces.iter().flat_map(PieceSet::iter) {
            self.picker.remove_copy(piece);
        }
        self.senders.leave(entry.sender);
        self.vacant.push(slot);
        self.pass_on_hash_requests(now, slot);
    }

    /// The peer has said which pieces it has; this replaces what it said before.
    pub fn handle_listed(&mut self, peer: P, availability: &Availability) {
        let Some(slot) = self.slot(peer) else { return };
        let torrent = Arc::clone(&self.torrent);
        let Some(entry) = self.peer_mut(slot) else { return };
        entry.list_count += 1;
        if entry.list_count > limits::LISTS_LIMIT {
            if entry.list_count == limits::LISTS_LIMIT + 1 {
                self.actions.push(DownloadAction::Drop { peer, cause: DropCause::Lists });
            }
            return;
        }
        let before = entry.pieces.take();
        if !availability.is_complete() {
            let mut pieces = PieceSet::new(torrent.layout().piece_count());
            availability.pieces(torrent.layout()).for_each(|piece| {
                pieces.insert(piece);
            });
            entry.pieces = Some(pieces);
        }
        let after = entry.pieces.clone();
        before.iter().flat_map(PieceSet::iter).for_each(|piece| self.picker.remove_copy(piece));
        after.iter().flat_map(PieceSet::iter).for_each(|piece| self.picker.add_copy(piece));
        let lost = |request: &peer::Request| after.as_ref().is_some_and(|pieces| !pieces.has(request.piece));
        self.release_requests(slot, lost);
        self.recount_interest(slot);
        self.touch(slot);
    }

    /// The peer has one more piece.
    pub fn handle_have(&mut self, peer: P, piece: PieceIndex) {
        let Some(slot) = self.slot(peer) else { return };
        let missing = self.is_missing(piece.get());
        let Some(entry) = self.peer_mut(slot) else { return };
        let Some(pieces) = entry.pieces.as_mut() else { return };
        if !pieces.insert(piece) {
            return;
        }
        let complete = pieces.is_full();
        entry.interesting_count += u32::from(missing);
        self.picker.add_copy(piece.get());
        if complete {
            // From now on it is counted with those that have everything, and takes no memory for it.
            let pieces = self.peer_mut(slot).and_then(|entry| entry.pieces.take());
            pieces.iter().flat_map(PieceSet::iter).for_each(|piece| self.picker.remove_copy(piece));
        }
        if missing {
            self.say_interest(slot);
            self.touch(slot);
        }
    }

    /// The peer refuses requests from now on.
    pub fn handle_choked(&mut self, now: Duration, peer: P) {
        let Some(slot) = self.slot(peer) else { return };
        let Some(entry) = self.peer_mut(slot) else { return };
        if entry.choking {
            return;
        }
        (entry.choking, entry.choke_changed_at) = (true, now);
        if !entry.fast {
            // Every request is void (BEP 3). With the fast extension, each is answered or rejected.
            self.release_requests(slot, |_| true);
        }
        self.disown(slot);
    }

    /// The peer answers requests from now on.
    pub fn handle_unchoked(&mut self, now: Duration, peer: P) {
        let Some(slot) = self.slot(peer) else { return };
        let Some(entry) = self.peer_mut(slot) else { return };
        if !entry.choking {
            return;
        }
        (entry.choking, entry.choke_changed_at) = (false, now);
        if !entry.fast {
            // What was void before is not sent any more.
            entry.lapsed.clear();
        }
        self.touch(slot);
    }

    /// The peer refuses a request. False if it was not asked for that.
    pub fn handle_rejected(&mut self, now: Duration, peer: P, block: BlockRange) -> bool {
        let Some(slot) = self.slot(peer) else { return false };
        let Some((piece, number)) = self.block_number(block) else { return false };
        let Some(entry) = self.peer_mut(slot) else { return false };
        let is_lapsed = entry.take_lapsed(piece, number).is_some();
        let Some(request) = entry.take_request(piece, number) else { return is_lapsed };
        self.unask(slot, request);
        let Some(entry) = self.peer_mut(slot) else { return true };
        if entry.choking {
            // It does not give what it said it would.
            entry.allowed_fast.retain(|allowed| *allowed != piece);
        } else {
            // It may have dropped the piece, or take fewer requests than it said: not the same again at once.
            entry.pipeline.handle_reject(entry.requests.len());
            entry.refuse(now, piece);
        }
        true
    }

    /// The peer answers requests for this piece even while it chokes us (BEP 6).
    pub fn handle_allowed_fast(&mut self, peer: P, piece: PieceIndex) {
        let Some(slot) = self.slot(peer) else { return };
        let Some(entry) = self.peer_mut(slot).filter(|entry| entry.fast) else { return };
        if !entry.allowed_fast.contains(&piece.get()) && entry.allowed_fast.try_push(piece.get()).is_ok() {
            self.touch(slot);
        }
    }

    /// The peer has this piece at hand (BEP 6).
    pub fn handle_suggested(&mut self, peer: P, piece: PieceIndex) {
        let Some(slot) = self.slot(peer) else { return };
        let Some(entry) = self.peer_mut(slot).filter(|entry| entry.fast) else { return };
        if entry.suggested.is_full() {
            entry.suggested.remove(0);
        }
        entry.suggested.push(piece.get());
    }

    /// The peer takes so many requests (BEP 10 `reqq`).
    pub fn handle_reqq(&mut self, peer: P, limit: u32) {
        let Some(slot) = self.slot(peer) else { return };
        if let Some(entry) = self.peer_mut(slot) {
            entry.set_reqq(limit);
        }
    }

    /// No new requests, as when the disk is full. What is under way may come.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Requests again.
    pub fn resume(&mut self) {
        self.paused = false;
        self.freed();
    }

    /// Bounds the blocks that may be asked for or wait to be written. Pieces are begun only if all their blocks fit.
    pub fn set_write_room(&mut self, blocks: u32) {
        let more = blocks > self.write_room;
        self.write_room = blocks;
        if more {
            self.freed();
        }
    }

    /// Appends to `out` what is to be done.
    pub fn poll_actions(&mut self, out: &mut Vec<DownloadAction<P>>) {
        if std::mem::take(&mut self.wake_idle) {
            // A peer that does not answer comes last, or it would take again what it was just asked for in vain.
            for last in [false, true] {
                for slot in self.peer_slots() {
                    if self.peer(slot).is_some_and(|entry| entry.snubbed == last) {
                        self.announce(slot);
                    }
                }
            }
        }
        out.append(&mut self.actions);
    }
}

#[cfg(test)]
mod tests;
