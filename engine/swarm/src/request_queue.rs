//! The requests that a peer waits for, oldest first. Bounded; knows nothing of sockets or of data.

use crate::limits::REQUEST_QUEUE_LIMIT;
use metainfo::BlockRange;
use std::collections::VecDeque;

/// Blocks that the peer may ask for beyond what it was told, since some count only whole pieces.
const REQUEST_QUEUE_SLACK: usize = 48;

/// The queue held as many requests as it may.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct QueueFull;

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub struct RequestQueue {
    blocks: VecDeque<BlockRange>,
    /// Bytes of the front block's message (header and data) that the network has already taken. While this is not
    /// zero, the front must stay: half of it is under way.
    front_sent_bytes: u32,
}

impl RequestQueue {
    /// Appends a request.
    pub fn push(&mut self, block: BlockRange) -> Result<(), QueueFull> {
        if self.blocks.len() >= REQUEST_QUEUE_LIMIT + REQUEST_QUEUE_SLACK {
            return Err(QueueFull);
        }
        self.blocks.push_back(block);
        Ok(())
    }

    /// Takes a request back. False if it is not queued, or already under way (then its piece still arrives, as BEP 3
    /// allows).
    pub fn cancel(&mut self, block: BlockRange) -> bool {
        let from = usize::from(self.front_sent_bytes > 0);
        match self.blocks.iter().skip(from).position(|queued| *queued == block) {
            Some(at) => self.blocks.remove(at + from).is_some(),
            None => false,
        }
    }

    /// Takes back everything that is not under way and that `keep` does not hold on to, telling `refused` of each.
    pub fn drain(&mut self, keep: impl Fn(BlockRange) -> bool, mut refused: impl FnMut(BlockRange)) {
        let mut under_way = self.front_sent_bytes > 0;
        self.blocks.retain(|block| {
            if std::mem::take(&mut under_way) || keep(*block) {
                return true;
            }
            refused(*block);
            false
        });
    }

    /// The queued requests, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = BlockRange> + '_ {
        self.blocks.iter().copied()
    }

    /// Bytes of the front's message that the network has taken.
    pub fn front_sent_bytes(&self) -> u32 {
        self.front_sent_bytes
    }

    /// Bytes of the front's message that the network has not taken yet.
    pub fn front_left_bytes(&self, header_bytes: u32) -> u32 {
        self.blocks.front().map_or(0, |front| header_bytes + front.size() - self.front_sent_bytes)
    }

    /// Takes note that the network took `sent_bytes` more, from the front on, where each block costs its size and
    /// `header_bytes`. Returns the number of blocks that are now wholly sent and the payload bytes among `sent_bytes`.
    pub fn advance(&mut self, header_bytes: u32, mut sent_bytes: u64) -> Advance {
        let mut advance = Advance::default();
        while sent_bytes > 0 {
            let Some(front) = self.blocks.front() else {
                debug_assert!(false, "more was sent than was queued");
                break;
            };
            let message_bytes = header_bytes + front.size();
            let taken = u64::from(message_bytes - self.front_sent_bytes).min(sent_bytes) as u32;
            let before = self.front_sent_bytes.max(header_bytes);
            self.front_sent_bytes += taken;
            advance.payload_bytes += u64::from(self.front_sent_bytes.max(header_bytes) - before);
            sent_bytes -= u64::from(taken);
            if self.front_sent_bytes == message_bytes {
                self.blocks.pop_front();
                self.front_sent_bytes = 0;
                advance.blocks += 1;
            }
        }
        if self.blocks.is_empty() && self.blocks.capacity() > IDLE_CAPACITY {
            self.blocks.shrink_to(IDLE_CAPACITY);
        }
        advance
    }

    /// How many requests are queued.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// True if nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// Requests whose room an idle peer keeps: 64 outstanding requests are what a busy one commonly has.
const IDLE_CAPACITY: usize = 64;

impl std::ops::AddAssign for Advance {
    fn add_assign(&mut self, other: Advance) {
        self.blocks += other.blocks;
        self.payload_bytes += other.payload_bytes;
    }
}

/// What [`RequestQueue::advance`] moved.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Advance {
    /// Blocks wholly sent.
    pub blocks: u64,
    /// Bytes of data, without headers.
    pub payload_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER_BYTES: u32 = 13;

    fn layout() -> metainfo::FileLayout {
        let info = format!("d6:lengthi{}e4:name1:f12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhe", 16384);
        metainfo::Torrent::from_info(info.as_bytes()).unwrap().layout().clone()
    }

    proptest! {
        /// However the network cuts the stream, the blocks and bytes that are booked are those that went out.
        #[test]
        fn every_cut_of_the_stream_books_the_same(sizes in prop::collection::vec(1u32..500, 1..20), cuts in prop::collection::vec(1u64..700, 1..60)) {
            let layout = layout();
            let mut queue = RequestQueue::default();
            for size in &sizes {
                queue.push(layout.block(0, 0, *size).unwrap()).unwrap();
            }
            let mut left: u64 = sizes.iter().map(|size| u64::from(size + HEADER_BYTES)).sum();
            let mut booked = Advance::default();
            for cut in cuts.iter().cycle() {
                let sent = left.min(*cut);
                booked += queue.advance(HEADER_BYTES, sent);
                left -= sent;
                if left == 0 {
                    break;
                }
                prop_assert!(!queue.is_empty());
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(queue.front_sent_bytes(), 0);
            let payload_bytes = sizes.iter().map(|size| u64::from(*size)).sum();
            prop_assert_eq!(booked, Advance { blocks: sizes.len() as u64, payload_bytes });
        }
    }
}
