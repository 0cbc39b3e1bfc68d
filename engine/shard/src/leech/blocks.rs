//! From the socket to whole pieces: the payload of PIECE messages goes into pooled buffers, which gather by piece until it
//! is whole. What nobody asked for is dropped as it comes. When no buffer is free, connections wait with what they have
//! to say, which is how the disk pushes back on the sockets.

use super::Leech;
use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::limits::STALL_LIMIT;
use crate::table::Key;
use crate::torrents::Slot;
use mesh::{DropReason, TorrentShardCounters};
use metainfo::{BLOCK_SIZE, BlockRange, FileLayout, PieceIndex};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use storage::{BlockBuffer, PieceBuffers};
use swarm::{Arrival, Incoming};

/// A block whose bytes are coming.
pub(crate) struct IncomingBlock {
    pub(crate) block: BlockRange,
    buffer: BlockBuffer,
    filled: u32,
    begun_at: Duration,
}

/// What has come of the pieces of one torrent.
#[derive(Default)]
pub(super) struct Assembly {
    under_way: HashMap<PieceIndex, Vec<Option<BlockBuffer>>>,
    /// Pieces that wait to be checked and written; who was whole first goes first.
    pub(super) whole: VecDeque<PieceBuffers>,
    /// Since when the first of them waits.
    pub(super) whole_since: Duration,
}

/// Whether a connection may go on with what it has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// It may.
    Goes,
    /// Not before a buffer is free.
    Waits,
}

impl IncomingBlock {
    /// Takes what it lacks from the beginning of `bytes`; returns how much.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min((self.block.size() - self.filled) as usize);
        let at = self.filled as usize;
        self.buffer[at..at + count].copy_from_slice(&bytes[..count]);
        self.filled += count as u32;
        count
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.block.size().into()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.filled == self.block.size()
    }

    /// Whether it takes so long that its buffer is for others, if they wait for one.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        now.saturating_sub(self.begun_at) >= STALL_LIMIT
    }
}

impl Assembly {
    fn put(&mut self, layout: &FileLayout, block: BlockRange, buffer: BlockBuffer) -> Option<BlockBuffer> {
        let count = layout.piece_size(block.piece()).div_ceil(BLOCK_SIZE);
        let blocks = self.under_way.entry(block.piece()).or_insert_with(|| (0..count).map(|_| None).collect());
        let place = blocks.get_mut((block.begin() / BLOCK_SIZE) as usize);
        // A copy that was there before is of no use any more.
        place.and_then(|place| place.replace(buffer))
    }

    /// All blocks of the piece have come.
    fn finish(&mut self, piece: PieceIndex, now: Duration) {
        let Some(blocks) = self.under_way.remove(&piece) else { return };
        if self.whole.is_empty() {
            self.whole_since = now;
        }
        self.whole.push_back(PieceBuffers { piece, blocks, wants_block_hashes: false });
    }

    /// Up to `count` whole pieces, to be checked.
    pub(super) fn take_whole(&mut self, count: usize, wants: impl Fn(PieceIndex) -> bool) -> Vec<PieceBuffers> {
        let count = count.min(self.whole.len());
        let mut pieces: Vec<PieceBuffers> = self.whole.drain(..count).collect();
        pieces.iter_mut().for_each(|buffers| buffers.wants_block_hashes = wants(buffers.piece));
        pieces
    }

    /// A piece that could not be written waits for the next try.
    pub(super) fn try_again(&mut self, buffers: PieceBuffers, now: Duration) {
        self.whole_since = now;
        self.whole.push_front(buffers);
    }

    /// A piece that failed its hash keeps what may be right of it.
    pub(super) fn put_back(&mut self, buffers: PieceBuffers) {
        self.under_way.insert(buffers.piece, buffers.blocks);
    }

    /// Takes what there is in memory of the piece that holds most.
    pub(super) fn take_fullest(&mut self) -> Option<(PieceIndex, Vec<(u32, BlockBuffer)>)> {
        let held = |blocks: &Vec<Option<BlockBuffer>>| blocks.iter().flatten().count();
        let (piece, blocks) = self.under_way.iter_mut().max_by_key(|(_, blocks)| held(blocks))?;
        let taken = blocks.iter_mut().enumerate().filter_map(|(number, block)| Some((number as u32, block.take()?)));
        let taken: Vec<(u32, BlockBuffer)> = taken.collect();
        (!taken.is_empty()).then_some((*piece, taken))
    }

    /// What could not be written is in memory as before, also if the piece has become whole meanwhile: without these blocks
    /// it would be taken for wrong.
    pub(super) fn unspill(&mut self, piece: PieceIndex, blocks: Vec<(u32, BlockBuffer)>) {
        let whole = self.whole.iter_mut().find(|whole| whole.piece == piece).map(|whole| &mut whole.blocks);
        let Some(places) = self.under_way.get_mut(&piece).or(whole) else { return };
        for (number, buffer) in blocks {
            if let Some(place) = places.get_mut(number as usize) {
                place.get_or_insert(buffer);
            }
        }
    }

    /// Blocks in memory, of all pieces that are under way.
    pub(super) fn held_count(&self) -> usize {
        self.under_way.values().map(|blocks| blocks.iter().flatten().count()).sum()
    }

    /// How many blocks a piece has that is under way.
    pub(super) fn block_count(&self, piece: PieceIndex) -> usize {
        self.under_way.get(&piece).map_or(0, Vec::len)
    }

    /// How many of them are in memory.
    pub(super) fn held(&self, piece: PieceIndex) -> usize {
        self.under_way.get(&piece).map_or(0, |blocks| blocks.iter().flatten().count())
    }

    /// Blocks in memory, those of whole pieces among them.
    fn buffer_count(&self) -> usize {
        self.held_count() + self.whole.iter().map(|whole| whole.blocks.iter().flatten().count()).sum::<usize>()
    }

    /// The piece to be given up if one has to be: the last of those that wait to be written.
    fn least_missed(&self) -> Option<PieceIndex> {
        let begun = self.under_way.iter().filter(|(_, blocks)| blocks.iter().any(Option::is_some));
        self.whole.back().map(|whole| whole.piece).or_else(|| begun.map(|(piece, _)| *piece).next())
    }

    /// Throws away what there is of a piece.
    pub(super) fn abandon(&mut self, piece: PieceIndex) -> impl Iterator<Item = BlockBuffer> {
        let at = self.whole.iter().position(|whole| whole.piece == piece);
        let whole = at.and_then(|at| self.whole.remove(at)).map(|whole| whole.blocks);
        self.under_way.remove(&piece).into_iter().chain(whole).flatten().flatten()
    }

    /// Throws away everything.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = BlockBuffer> + use<> {
        let whole = std::mem::take(&mut self.whole).into_iter().flat_map(|piece| piece.blocks);
        std::mem::take(&mut self.under_way).into_values().flatten().chain(whole).flatten()
    }
}

impl Shard {
    /// The header of a block has come, and `size` bytes of payload follow it.
    pub(crate) fn begin_block(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        (index, begin, size): (u32, u32, u32),
    ) -> Result<Flow, DropReason> {
        let Some(buffer) = self.buffers.take() else {
            self.starve(key, connection, slot);
            return Ok(Flow::Waits);
        };
        let now = self.now;
        if let Some(peer) = connection.peer_mut() {
            // A peer that only sends blocks is not silent.
            peer.session.handle_payload(now);
        }
        let Some(leech) = self.torrents.leech_mut(slot) else { return Err(DropReason::UnwantedPiece) };
        match leech.download.handle_piece_header(self.now, key, index, begin, size) {
            Incoming::Take(block) => {
                let fetching = connection.fetching.get_or_insert_default();
                fetching.incoming = Some(IncomingBlock { block, buffer, filled: 0, begun_at: self.now });
            }
            Incoming::Discard => {
                self.buffers.give_back(buffer);
                connection.skip_bytes = size;
                self.counters_of(slot, |counters| counters.wasted_bytes.add(u64::from(size)));
            }
        }
        Ok(Flow::Goes)
    }

    /// All bytes of a block have come.
    pub(crate) fn end_block(&mut self, key: Key, slot: Slot, incoming: IncomingBlock) {
        let now = self.now;
        let size = u64::from(incoming.block.size());
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let layout = served.task.seeded.torrent().layout();
        let Some(leech) = &mut served.leech else { return };
        let arrival = leech.download.handle_block(now, key, incoming.block);
        let spare = match arrival {
            Arrival::Kept | Arrival::PieceWhole(_) => leech.assembly.put(layout, incoming.block, incoming.buffer),
            Arrival::Unwanted => Some(incoming.buffer),
        };
        if let Arrival::PieceWhole(piece) = arrival {
            leech.assembly.finish(piece, now);
        }
        let must_spill = leech.must_spill(incoming.block.piece());
        spare.into_iter().for_each(|buffer| self.buffers.give_back(buffer));
        self.counters_of(slot, |counters| match arrival {
            Arrival::Unwanted => counters.wasted_bytes.add(size),
            Arrival::Kept | Arrival::PieceWhole(_) => counters.payload_received_bytes.add(size),
        });
        if must_spill {
            self.spill(slot);
        }
    }

    /// A block does not come to its end: its connection does.
    pub(crate) fn lose_block(&mut self, key: Key, connection: &Connection, incoming: IncomingBlock) {
        if let Phase::Peer(peer) = &connection.phase
            && let Some(leech) = self.torrents.leech_mut(peer.torrent)
        {
            leech.download.handle_lost_block(key, incoming.block);
        }
        self.buffers.give_back(incoming.buffer);
    }

    /// Counts for a torrent.
    pub(crate) fn counters_of(&self, slot: Slot, count: impl FnOnce(&TorrentShardCounters)) {
        if let Some(served) = self.torrents.get(slot) {
            count(served.task.counters.shard(self.config.shard));
        }
    }

    /// The connection waits until a buffer is free.
    fn starve(&mut self, key: Key, connection: &mut Connection, slot: Slot) {
        connection.starved = true;
        self.starved.push(key);
        // If whole pieces hold the buffers, they come back by themselves.
        self.spill(slot);
    }

    /// Lets those go on that waited for buffers, as far as there are some, and those that waited for the download limit.
    pub(crate) fn feed(&mut self) {
        if self.limited_until <= self.now && !self.limited.is_empty() {
            for key in std::mem::take(&mut self.limited) {
                if let Some(connection) = self.table.get_mut(key) {
                    connection.starved = false;
                    self.enqueue(key);
                }
            }
        }
        // Who has waited longest goes first.
        let fed = self.buffers.available().min(self.starved.len());
        for key in self.starved.drain(..fed).collect::<Vec<_>>() {
            if let Some(connection) = self.table.get_mut(key) {
                connection.starved = false;
                self.enqueue(key);
            }
        }
        if !self.starved.is_empty() {
            self.spill_fullest();
            self.give_up_unwritable();
        }
    }

    /// Who cannot write keeps no more than a share of the buffers while others want theirs.
    fn give_up_unwritable(&mut self) {
        let over = |leech: &Leech| leech.writing.is_paused() && leech.assembly.buffer_count() > leech.room;
        let hoarders: Vec<Slot> =
            self.torrents.leeches().filter(|(_, leech)| over(leech)).map(|(slot, _)| slot).collect();
        for slot in hoarders {
            while let Some(leech) = self.torrents.leech_mut(slot).filter(|leech| over(leech)) {
                let Some(piece) = leech.assembly.least_missed() else { break };
                leech.download.handle_given_up(piece);
                let buffers: Vec<BlockBuffer> = leech.assembly.abandon(piece).collect();
                self.counters_of(slot, |counters| {
                    counters.wasted_bytes.add(u64::from(BLOCK_SIZE) * buffers.len() as u64);
                });
                buffers.into_iter().for_each(|buffer| self.buffers.give_back(buffer));
            }
        }
    }

    /// Whoever holds most writes it, also if others starve.
    fn spill_fullest(&mut self) {
        let held = |(slot, leech): (Slot, &Leech)| (leech.assembly.held_count(), slot);
        let takers = self.torrents.leeches().filter(|(_, leech)| leech.writing.may_spill(self.now));
        if let Some((1.., slot)) = takers.map(held).max_by_key(|(held, _)| *held) {
            self.spill(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::BufferPool;

    #[test]
    fn blocks_that_could_not_be_written_are_there_again_also_if_their_piece_is_whole_by_then() {
        let info = format!("d6:lengthi32768e4:name1:f12:piece lengthi32768e6:pieces20:{}e", "h".repeat(20));
        let torrent = metainfo::Torrent::from_info(info.as_bytes()).unwrap();
        let layout = torrent.layout();
        let mut pool = BufferPool::new(4 * BLOCK_SIZE as usize);
        let mut assembly = Assembly::default();
        let mut put = |assembly: &mut Assembly, begin| {
            let block = layout.block(0, begin, BLOCK_SIZE).unwrap();
            assert!(assembly.put(layout, block, pool.take().unwrap()).is_none());
        };
        put(&mut assembly, 0);
        let (piece, taken) = assembly.take_fullest().unwrap();
        put(&mut assembly, BLOCK_SIZE);
        assembly.finish(piece, Duration::ZERO);
        assembly.unspill(piece, taken);
        let whole = assembly.take_whole(1, |_| false);
        assert!(whole[0].blocks.iter().all(Option::is_some), "what is missing is read from where nothing was written");
    }
}
