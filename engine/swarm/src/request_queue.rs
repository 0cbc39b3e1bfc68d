//! The requests that a peer waits for, oldest first. Bounded; knows nothing of sockets or of data.

use crate::limits::REQUEST_QUEUE_LIMIT;
use metainfo::{BlockRange, BlockRun, PieceIndex};
use std::collections::VecDeque;
use std::time::Duration;

/// Blocks that the peer may ask for beyond what it was told, since some count only whole pieces.
const REQUEST_QUEUE_SLACK: usize = 48;

/// The queue held as many requests as it may.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct QueueFull;

/// Requests in the order in which they came, and when. Peers ask for a piece block by block, so what follows each other is
/// kept as a run: 20 bytes for a piece of any length, asked for at once.
#[derive(Debug, Default)]
pub struct RequestQueue {
    runs: VecDeque<Run>,
    block_count: usize,
    /// Bytes of the front block's message (header and data) that the network has already taken. While this is not
    /// zero, the front must stay: half of it is under way.
    front_sent_bytes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    blocks: BlockRun,
    asked_at: Stamp,
}

/// A moment in microseconds that wraps after 71 minutes; a peer that takes nothing for that long is long gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u32);

impl Stamp {
    fn of(now: Duration) -> Stamp {
        Stamp(now.as_micros() as u32)
    }

    fn until(self, later: Stamp) -> Duration {
        Duration::from_micros(u64::from(later.0.wrapping_sub(self.0)))
    }
}

impl RequestQueue {
    /// Appends a request that came `now`.
    pub fn push(&mut self, block: BlockRange, now: Duration) -> Result<(), QueueFull> {
        if self.block_count >= REQUEST_QUEUE_LIMIT + REQUEST_QUEUE_SLACK {
            return Err(QueueFull);
        }
        self.block_count += 1;
        append(&mut self.runs, block, Stamp::of(now));
        Ok(())
    }

    /// Takes a request back. False if it is not queued, or already under way (then its piece still arrives, as BEP 3
    /// allows).
    pub fn cancel(&mut self, block: BlockRange) -> bool {
        let under_way = u32::from(self.front_sent_bytes > 0);
        let from = |at: usize| if at == 0 { under_way } else { 0 };
        let found = self.runs.iter().enumerate().find_map(|(at, run)| {
            // The same block may be queued twice, the first time under way.
            run.blocks.position(block).filter(|n| *n >= from(at)).map(|n| (at, n))
        });
        let Some((at, n)) = found else { return false };
        let run = self.runs[at];
        let parts = [run.blocks.skip(n + 1), run.blocks.take(n)];
        self.runs.remove(at);
        for blocks in parts.into_iter().flatten() {
            self.runs.insert(at, Run { blocks, ..run });
        }
        self.block_count -= 1;
        self.give_back_room();
        true
    }

    /// Takes back everything that is not under way and that `keep` does not hold on to, telling `refused` of each.
    pub fn drain(&mut self, keep: impl Fn(BlockRange) -> bool, mut refused: impl FnMut(BlockRange)) {
        let mut under_way = self.front_sent_bytes > 0;
        let mut kept: VecDeque<Run> = VecDeque::new();
        for run in std::mem::take(&mut self.runs) {
            for block in run.blocks.blocks() {
                if !std::mem::take(&mut under_way) && !keep(block) {
                    self.block_count -= 1;
                    refused(block);
                    continue;
                }
                append(&mut kept, block, run.asked_at);
            }
        }
        self.runs = kept;
    }

    /// An idle peer keeps room for few requests.
    fn give_back_room(&mut self) {
        if self.runs.is_empty() && self.runs.capacity() > IDLE_CAPACITY {
            self.runs.shrink_to(IDLE_CAPACITY);
        }
    }

    /// The queued requests, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = BlockRange> + '_ {
        self.runs.iter().flat_map(|run| run.blocks.blocks())
    }

    /// Bytes of the messages that answer the first `block_limit` requests, those that the network has taken included.
    pub fn message_bytes(&self, header_bytes: u32, block_limit: u32) -> u64 {
        let mut left = block_limit;
        let mut bytes = 0;
        for run in &self.runs {
            let count = run.blocks.count().min(left);
            bytes += u64::from(count) * u64::from(header_bytes + run.blocks.first().size());
            left -= count;
            if left == 0 {
                break;
            }
        }
        bytes
    }

    /// Bytes of as many whole messages, from the front on, as have room in `limit_bytes`, those that the network has taken
    /// included.
    pub fn whole_message_bytes(&self, header_bytes: u32, limit_bytes: u64) -> u64 {
        let mut bytes = 0;
        for run in &self.runs {
            let message_bytes = u64::from(header_bytes + run.blocks.first().size());
            let count = u64::from(run.blocks.count()).min((limit_bytes - bytes) / message_bytes);
            bytes += count * message_bytes;
            if count < u64::from(run.blocks.count()) {
                break;
            }
        }
        bytes
    }

    /// Bytes of the front's message that the network has taken.
    pub fn front_sent_bytes(&self) -> u32 {
        self.front_sent_bytes
    }

    /// Bytes of the front's message that the network has not taken yet.
    pub fn front_left_bytes(&self, header_bytes: u32) -> u32 {
        self.runs.front().map_or(0, |run| header_bytes + run.blocks.first().size() - self.front_sent_bytes)
    }

    /// Takes note that by `now` the network took `sent_bytes` more, from the front on, where each block costs its size and
    /// `header_bytes`. Tells `served` how long blocks that are now wholly sent have waited, and how many of them.
    pub fn advance(
        &mut self,
        header_bytes: u32,
        mut sent_bytes: u64,
        now: Duration,
        mut served: impl FnMut(Duration, u64),
    ) -> Advance {
        let mut advance = Advance::default();
        while sent_bytes > 0 {
            let Some(run) = self.runs.front_mut() else {
                debug_assert!(false, "more was sent than was queued");
                break;
            };
            let size = u64::from(run.blocks.first().size());
            let message_bytes = u64::from(header_bytes) + size;
            let before = u64::from(self.front_sent_bytes);
            let after = (before + sent_bytes).min(message_bytes * u64::from(run.blocks.count()));
            let payload =
                |at: u64| at / message_bytes * size + (at % message_bytes).saturating_sub(u64::from(header_bytes));
            advance.payload_bytes += payload(after) - payload(before);
            sent_bytes -= after - before;
            self.front_sent_bytes = (after % message_bytes) as u32;
            let done = after / message_bytes;
            if done > 0 {
                served(run.asked_at.until(Stamp::of(now)), done);
                advance.blocks += done;
                self.block_count -= done as usize;
                match run.blocks.skip(done as u32) {
                    Some(left) => run.blocks = left,
                    None => drop(self.runs.pop_front()),
                }
            }
        }
        self.give_back_room();
        advance
    }

    /// Payload bytes by piece among the next `sent_bytes` that the network takes, as [`RequestQueue::advance`] counts them.
    pub fn payload_by_piece(&self, header_bytes: u32, mut sent_bytes: u64, mut payload: impl FnMut(PieceIndex, u64)) {
        let mut skip = u64::from(self.front_sent_bytes);
        for block in self.iter() {
            if sent_bytes == 0 {
                break;
            }
            let message_bytes = u64::from(header_bytes + block.size());
            let taken = (message_bytes - skip).min(sent_bytes);
            let before = skip.max(u64::from(header_bytes));
            payload(block.piece(), (skip + taken).max(u64::from(header_bytes)) - before);
            sent_bytes -= taken;
            skip = 0;
        }
    }

    /// How many requests are queued.
    pub fn len(&self) -> usize {
        self.block_count
    }

    /// True if nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.block_count == 0
    }

    /// Bytes of memory that the queue holds beside itself.
    pub fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

fn append(runs: &mut VecDeque<Run>, block: BlockRange, asked_at: Stamp) {
    let last = runs.back_mut().filter(|last| last.asked_at == asked_at);
    if !last.is_some_and(|last| last.blocks.push(block)) {
        runs.push_back(Run { blocks: BlockRun::new(block), asked_at });
    }
}

/// Runs whose room an idle peer keeps.
const IDLE_CAPACITY: usize = 16;

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
mod tests;
