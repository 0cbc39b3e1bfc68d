//! The pieces under way, block by block: who is asked for each, and who sent it. Bounded by the room for blocks. Knows
//! peers by their slot alone; who is asked next is decided in `requests`.

use super::limits::{ENDGAME_PEERS, OPEN_PIECES_LIMIT};
use super::parole::Parole;
use std::collections::HashMap;
use std::time::Duration;

/// No peer, or no sender.
pub(super) const NOBODY: u32 = u32::MAX;

/// Block lists that are kept for the next pieces, so that a piece costs no allocation.
const SPARE_LIMIT: usize = 64;

/// All pieces under way.
#[derive(Debug, Default)]
pub(super) struct OpenPieces {
    slots: Vec<Option<OpenPiece>>,
    vacant: Vec<u32>,
    by_piece: HashMap<u32, u32>,
    /// Slots of pieces that have blocks to be asked for. Invariant: `OpenPiece::free_place` of each names its entry.
    with_free: Vec<u32>,
    spare: Vec<Vec<Block>>,
    /// Blocks of all open pieces, less those that were written already.
    reserved_blocks: u64,
    /// Blocks that somebody is asked for.
    asked_blocks: u64,
    /// Blocks that are there, of pieces that are not verified, and not written.
    stored_blocks: u64,
}

/// One piece under way.
#[derive(Debug)]
pub(super) struct OpenPiece {
    pub(super) piece: u32,
    blocks: Vec<Block>,
    /// Blocks that are neither there nor asked for.
    free_count: u32,
    stored_count: u32,
    written_count: u32,
    /// No block before this is free.
    free_hint: u32,
    free_place: u32,
    /// The peer that takes the whole piece by itself.
    pub(super) owner: u32,
    pub(super) stage: Stage,
    pub(super) parole: Option<Box<Parole>>,
    /// When a block of it was last asked for or came.
    pub(super) last_touched: Duration,
}

/// What a piece waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Blocks,
    Verdict,
    /// The leaf hashes that tell which of its blocks are bad, from this peer.
    Leaves {
        from: u32,
        since: Duration,
        asked: u8,
    },
}

#[derive(Debug, Clone, Copy)]
struct Block {
    /// The slots of the peers that are asked for it; `NOBODY` fills up.
    askers: [u32; ENDGAME_PEERS],
    /// Who sent it, by its entry among the senders.
    from: u32,
}

const FREE: Block = Block { askers: [NOBODY; ENDGAME_PEERS], from: NOBODY };

impl Block {
    fn is_stored(&self) -> bool {
        self.from != NOBODY
    }

    fn is_free(&self) -> bool {
        !self.is_stored() && self.asker_count() == 0
    }

    fn asker_count(&self) -> usize {
        self.askers.iter().filter(|asker| **asker != NOBODY).count()
    }
}

/// Reading.
impl OpenPieces {
    pub(super) fn get(&self, slot: u32) -> Option<&OpenPiece> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut OpenPiece> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slot of a piece that is under way.
    pub(super) fn slot_of(&self, piece: u32) -> Option<u32> {
        self.by_piece.get(&piece).copied()
    }

    /// All pieces under way, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &OpenPiece)> {
        (0..).zip(&self.slots).filter_map(|(slot, open)| Some((slot, open.as_ref()?)))
    }

    pub(super) fn slot_count(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn count(&self) -> usize {
        self.by_piece.len()
    }

    /// Pieces that have blocks to be asked for.
    pub(super) fn with_free(&self) -> &[u32] {
        &self.with_free
    }

    /// Blocks that take up room: asked for, or there and not written.
    pub(super) fn used_blocks(&self) -> u64 {
        self.asked_blocks + self.stored_blocks
    }

    pub(super) fn asked_blocks(&self) -> u64 {
        self.asked_blocks
    }

    /// Whether several pieces wait for room that none of them will give back.
    pub(super) fn is_jammed(&self, room: u32) -> bool {
        let wait_for_blocks = || self.iter().all(|(_, open)| open.stage == Stage::Blocks);
        self.used_blocks() >= u64::from(room) && self.asked_blocks == 0 && self.count() > 1 && wait_for_blocks()
    }

    /// Whether another piece may be begun: there is room for all of its blocks, so that those that are open can end.
    pub(super) fn has_room_for(&self, block_count: u32, room: u32) -> bool {
        self.count() == 0
            || (self.count() < OPEN_PIECES_LIMIT && self.reserved_blocks + u64::from(block_count) <= u64::from(room))
    }
}

/// Changes.
impl OpenPieces {
    pub(super) fn open(&mut self, now: Duration, piece: u32, block_count: u32) -> u32 {
        debug_assert!(!self.by_piece.contains_key(&piece), "a piece is opened once");
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.clear();
        blocks.resize(block_count as usize, FREE);
        let open = OpenPiece {
            piece,
            blocks,
            free_count: block_count,
            stored_count: 0,
            written_count: 0,
            free_hint: 0,
            free_place: NOBODY,
            owner: NOBODY,
            stage: Stage::Blocks,
            parole: None,
            last_touched: now,
        };
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(open);
        self.by_piece.insert(piece, slot);
        self.reserved_blocks += u64::from(block_count);
        self.list_free(slot);
        slot
    }

    /// The piece is done with. The senders of its blocks are told to `sent`.
    pub(super) fn close(&mut self, slot: u32, mut sent: impl FnMut(u32)) -> Option<OpenPiece> {
        self.unlist_free(slot);
        let mut open = self.slots.get_mut(slot as usize)?.take()?;
        self.vacant.push(slot);
        self.by_piece.remove(&open.piece);
        self.reserved_blocks -= u64::from(open.block_count() - open.written_count);
        self.stored_blocks -= u64::from(open.stored_count - open.written_count);
        self.asked_blocks -= u64::from(open.asked_count());
        open.blocks.iter().filter(|block| block.is_stored()).for_each(|block| sent(block.from));
        if self.spare.len() < SPARE_LIMIT {
            self.spare.push(std::mem::take(&mut open.blocks));
        }
        Some(open)
    }

    /// The next block that nobody is asked for is asked of this peer.
    pub(super) fn ask_next(&mut self, now: Duration, slot: u32, asker: u32) -> Option<u32> {
        let open = self.slots.get_mut(slot as usize)?.as_mut()?;
        let from = open.free_hint as usize;
        let at = from + open.blocks.get(from..)?.iter().position(Block::is_free)?;
        open.free_hint = at as u32 + 1;
        self.ask(now, slot, at as u32, asker);
        Some(at as u32)
    }

    /// The block is asked of this peer, too. False if it is there, or asked of as many as may be.
    pub(super) fn ask(&mut self, now: Duration, slot: u32, block: u32, asker: u32) -> bool {
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        let Some(entry) = open.blocks.get_mut(block as usize) else { return false };
        let was_free = entry.is_free();
        if entry.is_stored() || entry.askers.contains(&asker) {
            return false;
        }
        let Some(place) = entry.askers.iter_mut().find(|place| **place == NOBODY) else { return false };
        *place = asker;
        open.last_touched = now;
        if was_free {
            open.free_count -= 1;
            self.asked_blocks += 1;
            if open.free_count == 0 {
                self.unlist_free(slot);
            }
        }
        true
    }

    /// The peer is not asked for the block any more. True if nobody is now.
    pub(super) fn unask(&mut self, slot: u32, piece: u32, block: u32, asker: u32) -> bool {
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        let Some(entry) = open.blocks.get_mut(block as usize).filter(|_| open.piece == piece) else { return false };
        let Some(place) = entry.askers.iter_mut().find(|place| **place == asker) else { return false };
        *place = NOBODY;
        if entry.is_stored() || !entry.is_free() {
            return false;
        }
        self.asked_blocks -= 1;
        open.free_count += 1;
        open.free_hint = open.free_hint.min(block);
        self.list_free(slot);
        true
    }

    /// The block is there, from this sender. Nobody is asked for it any more; those that were are returned.
    pub(super) fn store(&mut self, now: Duration, slot: u32, block: u32, from: u32) -> [u32; ENDGAME_PEERS] {
        let nobody = [NOBODY; ENDGAME_PEERS];
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return nobody };
        let Some(entry) = open.blocks.get_mut(block as usize) else { return nobody };
        debug_assert!(!entry.is_stored(), "a block is stored once");
        let was_free = entry.is_free();
        let askers = std::mem::replace(&mut entry.askers, nobody);
        entry.from = from;
        open.stored_count += 1;
        open.last_touched = now;
        self.stored_blocks += 1;
        if was_free {
            open.free_count -= 1;
            if open.free_count == 0 {
                self.unlist_free(slot);
            }
        } else {
            self.asked_blocks -= 1;
        }
        askers
    }

    /// The block is not there any more, and must be asked for again. Its sender is returned.
    pub(super) fn discard(&mut self, slot: u32, block: u32) -> Option<u32> {
        let open = self.slots.get_mut(slot as usize)?.as_mut()?;
        let entry = open.blocks.get_mut(block as usize).filter(|entry| entry.is_stored())?;
        let from = std::mem::replace(&mut entry.from, NOBODY);
        open.stored_count -= 1;
        if open.written_count > open.stored_count {
            // Which blocks were written is not kept: the room of one is taken again.
            open.written_count -= 1;
            self.reserved_blocks += 1;
        } else {
            self.stored_blocks -= 1;
        }
        open.free_count += 1;
        open.free_hint = open.free_hint.min(block);
        self.list_free(slot);
        Some(from)
    }

    /// So many more blocks of the piece were written before it was whole: they need no room.
    pub(super) fn written(&mut self, slot: u32, count: u32) {
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let count = count.min(open.stored_count - open.written_count);
        open.written_count += count;
        self.reserved_blocks -= u64::from(count);
        self.stored_blocks -= u64::from(count);
    }

    fn list_free(&mut self, slot: u32) {
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if open.free_place == NOBODY && open.free_count > 0 {
            open.free_place = self.with_free.len() as u32;
            self.with_free.push(slot);
        }
    }

    fn unlist_free(&mut self, slot: u32) {
        let Some(open) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let place = std::mem::replace(&mut open.free_place, NOBODY);
        if place != NOBODY {
            self.with_free.swap_remove(place as usize);
            if let Some(moved) = self.with_free.get(place as usize).copied()
                && let Some(moved) = self.slots.get_mut(moved as usize).and_then(Option::as_mut)
            {
                moved.free_place = place;
            }
        }
    }
}

impl OpenPiece {
    pub(super) fn block_count(&self) -> u32 {
        self.blocks.len() as u32
    }

    pub(super) fn free_count(&self) -> u32 {
        self.free_count
    }

    pub(super) fn stored_count(&self) -> u32 {
        self.stored_count
    }

    /// Blocks that somebody is asked for.
    pub(super) fn asked_count(&self) -> u32 {
        self.block_count() - self.free_count - self.stored_count
    }

    pub(super) fn is_whole(&self) -> bool {
        self.stored_count == self.block_count()
    }

    pub(super) fn is_stored(&self, block: u32) -> bool {
        self.blocks.get(block as usize).is_some_and(Block::is_stored)
    }

    /// Who sent the block, if it is there.
    pub(super) fn sender(&self, block: u32) -> Option<u32> {
        self.blocks.get(block as usize).map(|block| block.from).filter(|from| *from != NOBODY)
    }

    /// Who is asked for the block.
    pub(super) fn askers(&self, block: u32) -> impl Iterator<Item = u32> + use<> {
        let askers = self.blocks.get(block as usize).map_or([NOBODY; ENDGAME_PEERS], |block| block.askers);
        askers.into_iter().filter(|asker| *asker != NOBODY)
    }

    /// The sender of all blocks, if it is one.
    pub(super) fn only_sender(&self) -> Option<u32> {
        let first = self.sender(0)?;
        self.blocks.iter().all(|block| block.from == first).then_some(first)
    }
}

#[cfg(test)]
mod tests;
