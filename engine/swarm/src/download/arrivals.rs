//! What peers send: which blocks are taken, and what a block that is there means for others.

use super::limits::UNASKED_LIMIT;
use super::open_pieces::{NOBODY, Stage};
use super::peer::Request;
use super::{Arrival, BLOCK_SIZE, BlockRange, Download, DownloadAction, DropCause, Incoming};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// A PIECE begins; its fields are as they came. What is taken is followed by [`Download::handle_block`] or
    /// [`Download::handle_lost_block`] before the peer's next one begins.
    pub fn handle_piece_header(&mut self, now: Duration, peer: P, index: u32, begin: u32, length: u32) -> Incoming {
        let Some(slot) = self.slot(peer) else { return Incoming::Discard };
        self.forget_arriving(slot);
        if length == 0 {
            // BitComet's way to refuse a request.
            let block = self.block_range(index, begin / BLOCK_SIZE).filter(|block| block.begin() == begin);
            if !block.is_some_and(|block| self.handle_rejected(now, peer, block)) {
                self.count_unasked(slot);
            }
            return Incoming::Discard;
        }
        let taken = self.take(now, slot, self.layout().block(index, begin, length));
        if taken.is_none() {
            self.progress.wasted_bytes += u64::from(length);
        }
        taken.map_or(Incoming::Discard, Incoming::Take)
    }

    fn take(&mut self, now: Duration, slot: u32, range: Option<BlockRange>) -> Option<BlockRange> {
        let known = range.and_then(|range| self.block_number(range));
        let entry = self.peer_mut(slot)?;
        let asked = known.and_then(|(piece, block)| entry.take_request(piece, block));
        let request = asked.or_else(|| known.and_then(|(piece, block)| entry.take_lapsed(piece, block)));
        let Some(mut request) = request else {
            self.count_unasked(slot);
            return None;
        };
        if asked.is_none() {
            // Late, and perhaps of use.
            request.open = self.open.slot_of(request.piece)?;
        }
        let banned = self.peer(slot)?.banned;
        let open = self.open.get(request.open).filter(|open| open.piece == request.piece)?;
        if open.is_stored(request.block) || banned {
            return None;
        }
        let is_free = open.askers(request.block).next().is_none();
        let is_full = self.open.used_blocks() >= u64::from(self.write_room);
        if asked.is_none() && ((open.parole.is_some() && open.owner != slot) || (is_free && is_full)) {
            return None;
        }
        self.open.ask(now, request.open, request.block, slot);
        self.peer_mut(slot)?.arriving = Some(request);
        range
    }

    /// A peer that sends what nobody asked for costs bandwidth.
    fn count_unasked(&mut self, slot: u32) {
        let Some(entry) = self.peer_mut(slot) else { return };
        entry.unasked_count += 1;
        if entry.unasked_count == UNASKED_LIMIT {
            let peer = entry.key;
            self.actions.push(DownloadAction::Drop { peer, cause: DropCause::Unasked });
        }
    }

    /// All bytes of a block that was taken are there.
    pub fn handle_block(&mut self, now: Duration, peer: P, block: BlockRange) -> Arrival {
        let Some(slot) = self.slot(peer) else { return Arrival::Unwanted };
        let arrival = self.keep(now, slot, block);
        match arrival {
            Arrival::Unwanted => self.progress.wasted_bytes += u64::from(block.size()),
            _ => self.progress.received_bytes += u64::from(block.size()),
        }
        self.announce(slot);
        arrival
    }

    fn keep(&mut self, now: Duration, slot: u32, range: BlockRange) -> Arrival {
        let known = self.block_number(range);
        let Some(entry) = self.peer_mut(slot) else { return Arrival::Unwanted };
        let request = entry.arriving.take_if(|request| known == Some((request.piece, request.block)));
        let Some(request) = request else { return Arrival::Unwanted };
        entry.pipeline.handle_block(range.size(), now.saturating_sub(request.asked_at));
        (entry.last_block, entry.has_sent) = (now, true);
        if std::mem::take(&mut entry.snubbed) {
            entry.dry_epoch = 0;
        }
        let (sender, banned) = (entry.sender, entry.banned);
        let wanted = self.open.get(request.open).is_some_and(|open| {
            open.piece == request.piece && !open.is_stored(request.block) && open.stage == Stage::Blocks
        });
        if !wanted || banned {
            self.unask(slot, request);
            return Arrival::Unwanted;
        }
        let askers = self.open.store(now, request.open, request.block, sender);
        self.senders.hold(sender);
        for other in askers.into_iter().filter(|other| *other != NOBODY && *other != slot) {
            self.cancel(other, request, range);
        }
        self.note_kept(request, range)
    }

    /// Looks whether the piece is whole.
    fn note_kept(&mut self, request: Request, range: BlockRange) -> Arrival {
        let Some(open) = self.open.get_mut(request.open) else { return Arrival::Unwanted };
        if !open.is_whole() {
            return Arrival::Kept;
        }
        open.stage = Stage::Verdict;
        Arrival::PieceWhole(range.piece())
    }

    /// Somebody else has sent the block.
    fn cancel(&mut self, slot: u32, request: Request, range: BlockRange) {
        let Some(entry) = self.peer_mut(slot) else { return };
        let Some(request) = entry.take_request(request.piece, request.block) else { return };
        entry.remember_lapsed(request);
        let peer = entry.key;
        self.actions.push(DownloadAction::Cancel { peer, block: range });
        self.announce(slot);
    }

    /// A block that was taken does not come to its end.
    pub fn handle_lost_block(&mut self, peer: P, block: BlockRange) {
        let Some(slot) = self.slot(peer) else { return };
        let known = self.block_number(block);
        let arriving = self.peer(slot).and_then(|entry| entry.arriving);
        if arriving.is_some_and(|request| known == Some((request.piece, request.block))) {
            self.forget_arriving(slot);
        }
    }

    /// What there is of the piece was thrown away, whole or not: the disk does not take it, and others want its room. It is
    /// fetched again.
    pub fn handle_given_up(&mut self, piece: metainfo::PieceIndex) {
        let Some(slot) = self.open.slot_of(piece.get()) else { return };
        if let Some(open) = self.open.get_mut(slot) {
            open.stage = Stage::Blocks;
        }
        self.abandon(slot);
    }

    /// So many blocks of a piece that is not whole yet were written, since it is larger than the room: they take up none.
    pub fn handle_written(&mut self, piece: metainfo::PieceIndex, blocks: u32) {
        if let Some(slot) = self.open.slot_of(piece.get()) {
            self.open.written(slot, blocks);
            self.freed();
        }
    }
}
