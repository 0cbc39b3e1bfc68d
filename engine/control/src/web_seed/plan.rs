//! Which requests are fetched together: those whose bytes follow each other become one run, and a run becomes one byte
//! range of each file that it touches. Pure.

use std::collections::{BTreeMap, VecDeque};

use metainfo::{BlockRange, Extent, FileLayout};

/// The most bytes of one run, if it is more than one block: far more than any round trip is worth, and little to fetch
/// again.
pub(super) const MAX_RUN_BYTES: u64 = 4 << 20;
/// The most files and pads of one run, which are asked for one after the other; the rest is for other connections.
pub(super) const MAX_RUN_EXTENTS: usize = 16;

/// Requests that wait for a connection. Who adds them keeps them few.
#[derive(Default)]
pub(super) struct Pending {
    /// By where the block starts in the piece space, and its size; with how many requests came before.
    blocks: BTreeMap<(u64, u32), (BlockRange, u64)>,
    bytes: u64,
    arrival_count: u64,
}

/// Blocks without a gap between them, and where their bytes live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) blocks: VecDeque<BlockRange>,
    /// In order; the sizes add up to those of the blocks. No two of one file in a row.
    pub(super) extents: Vec<Extent>,
    pub(super) bytes: u64,
}

impl Pending {
    /// Adds a request. False if it is there already.
    pub(super) fn push(&mut self, layout: &FileLayout, block: BlockRange) -> bool {
        self.arrival_count += 1;
        let is_new = !self.contains(layout, block);
        if is_new {
            self.blocks.insert(key(layout, block), (block, self.arrival_count));
            self.bytes += u64::from(block.size());
        }
        is_new
    }

    /// Takes a request back. False if it is not there.
    pub(super) fn remove(&mut self, layout: &FileLayout, block: BlockRange) -> bool {
        let removed = self.blocks.remove(&key(layout, block)).is_some();
        self.bytes -= if removed { u64::from(block.size()) } else { 0 };
        removed
    }

    /// Whether the request is there.
    pub(super) fn contains(&self, layout: &FileLayout, block: BlockRange) -> bool {
        self.blocks.contains_key(&key(layout, block))
    }

    /// All requests, which are then gone.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = BlockRange> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.blocks).into_values().map(|(block, _)| block)
    }

    /// How many requests there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The bytes of them all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes out the run around the request that has waited longest, or the part of it that comes first.
    pub(super) fn take_run(&mut self, layout: &FileLayout) -> Option<Run> {
        let mut first = *self.blocks.iter().min_by_key(|(_, (_, arrival))| *arrival)?.0;
        let mut bytes = u64::from(first.1);
        // What follows the oldest is usually younger; what precedes it came too late for another run.
        while let Some((&before, _)) = self.blocks.range(..first).next_back() {
            if end(before) != first.0 || bytes + u64::from(before.1) > MAX_RUN_BYTES {
                break;
            }
            bytes += u64::from(before.1);
            first = before;
        }
        let mut run = Run { blocks: VecDeque::new(), extents: Vec::new(), bytes: 0 };
        let mut at = first;
        while let Some((&next, &(block, _))) = self.blocks.range(at..).next() {
            let follows = next.0 == at.0 && (run.blocks.is_empty() || run.bytes + u64::from(next.1) <= MAX_RUN_BYTES);
            if !follows || !run.push(layout, block) {
                break;
            }
            self.remove(layout, block);
            at = (end(next), 0);
        }
        Some(run)
    }
}

impl Run {
    /// Appends the block that follows. False if it would make too many files.
    fn push(&mut self, layout: &FileLayout, block: BlockRange) -> bool {
        let continues = match (self.extents.last(), layout.extents(block).next()) {
            (Some(Extent::File { file, .. }), Some(Extent::File { file: next, .. })) => *file == next,
            _ => false,
        };
        let added = layout.extents(block).count() - usize::from(continues);
        if !self.blocks.is_empty() && self.extents.len() + added > MAX_RUN_EXTENTS {
            return false;
        }
        let mut extents = layout.extents(block);
        if continues && let (Some(Extent::File { size, .. }), Some(next)) = (self.extents.last_mut(), extents.next()) {
            *size += extent_size(next);
        }
        self.extents.extend(extents);
        self.bytes += u64::from(block.size());
        self.blocks.push_back(block);
        true
    }
}

fn extent_size(extent: Extent) -> u64 {
    match extent {
        Extent::File { size, .. } | Extent::Zeros { size } => size,
    }
}

fn key(layout: &FileLayout, block: BlockRange) -> (u64, u32) {
    (layout.piece_offset(block.piece()) + u64::from(block.begin()), block.size())
}

fn end((start, size): (u64, u32)) -> u64 {
    start + u64::from(size)
}

#[cfg(test)]
mod tests;
