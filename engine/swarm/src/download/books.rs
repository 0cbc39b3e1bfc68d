//! The books that all parts of a download keep: slots of peers, interest, requests that are taken back, idle peers that are
//! woken.

use super::open_pieces::{NOBODY, Stage};
use super::peer::{Peer, Request};
use super::{BLOCK_SIZE, BlockRange, Download, DownloadAction, FileLayout, PieceSet};
use std::fmt::Debug;
use std::hash::Hash;

/// Pieces and blocks.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    pub(super) fn layout(&self) -> &FileLayout {
        self.torrent.layout()
    }

    /// Whether the piece is wanted and not verified.
    pub(super) fn is_missing(&self, piece: u32) -> bool {
        self.wanted.has(piece) && !self.have.has(piece)
    }

    pub(super) fn piece_size(&self, piece: u32) -> u32 {
        self.layout().piece(piece).map_or(0, |piece| self.layout().piece_size(piece))
    }

    pub(super) fn count_missing_bytes(&self) -> u64 {
        let mut missing = self.wanted.clone();
        missing.minus(&self.have);
        missing.iter().map(|piece| u64::from(self.piece_size(piece))).sum()
    }

    /// A block of the grid that we ask by.
    pub(super) fn block_range(&self, piece: u32, block: u32) -> Option<BlockRange> {
        let begin = block.checked_mul(BLOCK_SIZE)?;
        let size = self.piece_size(piece).checked_sub(begin)?.min(BLOCK_SIZE);
        self.layout().block(piece, begin, size)
    }

    /// The piece, and the number of the block in it, if it is one that we ask for.
    pub(super) fn block_number(&self, block: BlockRange) -> Option<(u32, u32)> {
        let (piece, number) = (block.piece().get(), block.begin() / BLOCK_SIZE);
        (self.block_range(piece, number) == Some(block)).then_some((piece, number))
    }
}

/// Peers.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    pub(super) fn slot(&self, peer: P) -> Option<u32> {
        self.by_key.get(&peer).copied()
    }

    pub(super) fn peer(&self, slot: u32) -> Option<&Peer<P>> {
        self.peers.get(slot as usize)?.as_ref()
    }

    pub(super) fn peer_mut(&mut self, slot: u32) -> Option<&mut Peer<P>> {
        self.peers.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn known(&self, peer: P) -> Option<&Peer<P>> {
        self.peer(self.slot(peer)?)
    }

    /// All slots that may hold a peer.
    pub(super) fn peer_slots(&self) -> std::ops::Range<u32> {
        0..self.peers.len() as u32
    }

    /// Counts anew what the peer has that we want.
    pub(super) fn recount_interest(&mut self, slot: u32) {
        let mut missing = self.wanted.clone();
        missing.minus(&self.have);
        if let Some(entry) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) {
            entry.interesting_count = match &entry.pieces {
                None => missing.count(),
                Some(pieces) => missing.shared_from(Some(pieces), 0).count() as u32,
            };
        }
        self.say_interest(slot);
    }

    /// Tells the peer whether we want something of it, if that has changed.
    pub(super) fn say_interest(&mut self, slot: u32) {
        let Some(entry) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let interested = entry.interesting_count > 0;
        if entry.interested != interested {
            entry.interested = interested;
            let peer = entry.key;
            self.actions.push(match interested {
                true => DownloadAction::Interested { peer },
                false => DownloadAction::NotInterested { peer },
            });
        }
    }

    /// A piece is missing no longer, or missing after all.
    pub(super) fn change_interest(&mut self, piece: u32, missing: bool) {
        for slot in self.peer_slots() {
            let Some(entry) = self.peer_mut(slot).filter(|entry| entry.has(piece)) else { continue };
            entry.interesting_count =
                if missing { entry.interesting_count + 1 } else { entry.interesting_count.saturating_sub(1) };
            self.say_interest(slot);
        }
    }
}

/// Requests that are taken back.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// The peer is not asked for the block any more, and may still send it.
    pub(super) fn lapse(&mut self, slot: u32, request: Request) {
        if let Some(entry) = self.peer_mut(slot) {
            entry.remember_lapsed(request);
        }
        self.unask(slot, request);
    }

    /// The peer is not asked for the block any more.
    pub(super) fn unask(&mut self, slot: u32, request: Request) {
        if self.open.unask(request.open, request.piece, request.block, slot) {
            self.freed();
        }
    }

    /// The same for all requests of a kind.
    pub(super) fn release_requests(&mut self, slot: u32, which: impl Fn(&Request) -> bool) {
        let count = self.peer(slot).map_or(0, |entry| entry.requests.len());
        for _ in 0..count {
            let Some(entry) = self.peer_mut(slot) else { return };
            let Some(request) = entry.requests.pop_front() else { return };
            if which(&request) {
                self.lapse(slot, request);
            } else {
                entry.requests.push_back(request);
            }
        }
    }

    /// The same for all requests of a kind, and the peer is told.
    pub(super) fn cancel_requests(&mut self, slot: u32, which: impl Fn(&Request) -> bool) {
        let Some(entry) = self.peer(slot) else { return };
        let peer = entry.key;
        let blocks = entry.requests.iter().filter(|request| which(request));
        let blocks: Vec<BlockRange> =
            blocks.filter_map(|request| self.block_range(request.piece, request.block)).collect();
        self.actions.extend(blocks.into_iter().map(|block| DownloadAction::Cancel { peer, block }));
        self.release_requests(slot, which);
    }

    /// The block that was coming in does not come.
    pub(super) fn forget_arriving(&mut self, slot: u32) {
        if let Some(request) = self.peer_mut(slot).and_then(|entry| entry.arriving.take()) {
            self.unask(slot, request);
        }
    }

    /// The block that is coming in may be asked of others as well: its peer takes too long over it.
    pub(super) fn unask_arriving(&mut self, slot: u32) {
        if let Some(request) = self.peer(slot).and_then(|entry| entry.arriving) {
            self.unask(slot, request);
        }
    }

    /// The peer takes no piece by itself any more.
    pub(super) fn disown(&mut self, slot: u32) {
        for open in 0..self.open.slot_count() {
            if let Some(open) = self.open.get_mut(open).filter(|open| open.owner == slot) {
                open.owner = NOBODY;
            }
        }
        if let Some(entry) = self.peer_mut(slot) {
            entry.current = None;
        }
    }

    /// The piece is done with, whatever became of it.
    pub(super) fn close(&mut self, slot: u32) {
        let was_short = self.lacks_room || self.open.used_blocks() >= u64::from(self.write_room);
        let senders = &mut self.senders;
        let Some(mut open) = self.open.close(slot, |sender| senders.release(sender)) else { return };
        if let Some(parole) = open.parole.take() {
            parole.failed.iter().for_each(|(sender, _)| self.senders.release(*sender));
        }
        self.lacks_room = false;
        if was_short {
            self.freed();
        }
    }

    /// Gives up a piece under way: nobody is asked for it, and what is there is thrown away.
    pub(super) fn abandon(&mut self, slot: u32) {
        let Some(open) = self.open.get(slot) else { return };
        debug_assert!(open.stage != Stage::Verdict, "a verdict is waited for");
        let (piece, stored) = (open.piece, open.stored_count());
        for peer in self.peer_slots() {
            self.cancel_requests(peer, |request| request.open == slot && request.piece == piece);
        }
        self.close(slot);
        self.progress.discarded_bytes += u64::from(stored) * u64::from(BLOCK_SIZE);
        self.progress.abandoned_pieces += 1;
        self.picker.set_pickable(piece, self.is_missing(piece));
        self.freed();
        if let Some(piece) = self.layout().piece(piece) {
            self.actions.push(DownloadAction::Abandon { piece });
        }
    }
}

/// Idle peers.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// There is something to ask for that was not before: idle peers are told.
    pub(super) fn freed(&mut self) {
        self.epoch += 1;
        self.wake_idle = true;
    }

    /// There is something that this peer may be asked for.
    pub(super) fn touch(&mut self, slot: u32) {
        if let Some(entry) = self.peer_mut(slot) {
            entry.dry_epoch = 0;
        }
        self.announce(slot);
    }

    /// Tells the owner that the peer can be asked for more, once.
    pub(super) fn announce(&mut self, slot: u32) {
        let (paused, epoch) = (self.paused, self.epoch);
        let has_room = self.open.used_blocks() < u64::from(self.write_room) || self.is_endgame();
        let Some(entry) = self.peer_mut(slot) else { return };
        if paused || !has_room || entry.is_announced || entry.dry_epoch == epoch || entry.pipeline_room() == 0 {
            return;
        }
        entry.is_announced = true;
        let peer = entry.key;
        self.actions.push(DownloadAction::Wanted { peer });
    }

    pub(super) fn set_missing(&mut self, missing: &PieceSet) {
        for piece in 0..self.layout().piece_count() {
            self.picker.set_pickable(piece, missing.has(piece) && self.open.slot_of(piece).is_none());
        }
    }
}
