//! A stream of bytes, cut into the blocks of a run. No byte is copied: a block is a list of parts of what came in. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use metainfo::BlockRange;

/// Cuts one run.
pub(super) struct BlockCutter {
    blocks: VecDeque<BlockRange>,
    /// What has come of the first block.
    parts: Vec<Bytes>,
    part_bytes: usize,
}

impl BlockCutter {
    /// A cutter of blocks that follow each other.
    pub(super) fn new(blocks: VecDeque<BlockRange>) -> BlockCutter {
        BlockCutter { blocks, parts: Vec::new(), part_bytes: 0 }
    }

    /// Takes bytes from the beginning of `input` until a block is whole; `None` once `input` is empty. Bytes behind the
    /// last block are dropped.
    pub(super) fn take(&mut self, input: &mut Bytes) -> Option<(BlockRange, Vec<Bytes>)> {
        let Some(block) = self.blocks.front().copied() else {
            input.clear();
            return None;
        };
        let lacking = block.size() as usize - self.part_bytes;
        if input.len() < lacking {
            if !input.is_empty() {
                self.part_bytes += input.len();
                self.parts.push(std::mem::take(input));
            }
            return None;
        }
        self.parts.push(input.split_to(lacking));
        self.part_bytes = 0;
        self.blocks.pop_front();
        Some((block, std::mem::take(&mut self.parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_seed::tests::layout_of;

    #[test]
    fn however_the_bytes_come_the_blocks_are_the_same() {
        let layout = layout_of(1 << 15, &[100_000]);
        let blocks: VecDeque<BlockRange> = [(0, 0, 16384), (0, 16384, 16384), (1, 0, 1), (1, 1, 20_000)]
            .map(|(index, begin, size)| layout.block(index, begin, size).unwrap())
            .into();
        let content: Vec<u8> = (0..52_769u32).map(|n| (n * 7 + n / 251) as u8).collect();
        for step in [1, 7, 16_383, 16_384, 16_385, 40_000, 60_000] {
            let mut cutter = BlockCutter::new(blocks.clone());
            let mut at = 0;
            let mut due = blocks.iter();
            for piece in content.chunks(step) {
                let mut input = Bytes::copy_from_slice(piece);
                while let Some((block, parts)) = cutter.take(&mut input) {
                    assert_eq!(Some(&block), due.next());
                    let bytes = parts.concat();
                    assert_eq!(bytes, content[at..at + bytes.len()]);
                    assert_eq!(bytes.len(), block.size() as usize);
                    at += bytes.len();
                }
                assert!(input.is_empty());
            }
            assert_eq!((at, due.next()), (content.len(), None));
            let mut more = Bytes::from_static(b"more");
            assert!(cutter.take(&mut more).is_none() && more.is_empty());
        }
    }
}
