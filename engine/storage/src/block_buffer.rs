//! Memory for blocks on their way from a socket to a file: buffers of one block each, made under a limit and used again.
//! Which block a buffer holds is its user's to know.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metainfo::BLOCK_SIZE;

const BLOCK_BYTES: usize = BLOCK_SIZE as usize;

/// Room for one block of 16 KiB. Dropping it frees the memory and makes room in its pool; giving it back
/// ([`BufferPool::give_back`]) keeps the memory for the next block.
#[derive(Debug)]
pub struct BlockBuffer {
    bytes: Box<[u8]>,
    /// How many buffers of the pool there are.
    live: Arc<AtomicUsize>,
}

/// The buffers of one owner. Taking needs the pool itself, dropping does not: a job on another thread may end with its
/// buffers.
#[derive(Debug)]
pub struct BufferPool {
    /// Never longer than `limit`.
    spare: Vec<BlockBuffer>,
    /// Buffers that exist, spare ones among them; never more than `limit`.
    live: Arc<AtomicUsize>,
    limit: usize,
    /// The fewest spare buffers since the pool last shrank: so many were of no use to anybody.
    unused: usize,
}

impl BufferPool {
    /// A pool that makes no more buffers than fit into `limit_bytes`.
    pub fn new(limit_bytes: usize) -> BufferPool {
        BufferPool { spare: Vec::new(), live: Arc::default(), limit: limit_bytes / BLOCK_BYTES, unused: 0 }
    }

    /// A buffer with any content; `None` if the limit is reached, so that the caller reads no more from its sockets.
    pub fn take(&mut self) -> Option<BlockBuffer> {
        let buffer = match self.spare.pop() {
            Some(buffer) => Some(buffer),
            // Only this pool adds, so nobody passes the limit between the look and the step.
            None if self.live.load(Ordering::Acquire) < self.limit => Some(self.make()),
            None => None,
        };
        self.unused = self.unused.min(self.spare.len());
        buffer
    }

    /// Keeps a buffer of this pool for the next taker.
    pub fn give_back(&mut self, buffer: BlockBuffer) {
        if Arc::ptr_eq(&buffer.live, &self.live) {
            self.spare.push(buffer);
        }
    }

    /// Frees the buffers that nobody has needed since the last call. For a slow tick, once a second or so.
    pub fn shrink(&mut self) {
        self.spare.truncate(self.spare.len() - self.unused.min(self.spare.len()));
        self.spare.shrink_to(self.limit.min(2 * self.spare.len()));
        self.unused = self.spare.len();
    }

    /// How many buffers may be taken before the limit is reached.
    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.live.load(Ordering::Acquire)) + self.spare.len()
    }

    /// Memory of all buffers, in use or spare.
    pub fn allocated_bytes(&self) -> usize {
        self.live.load(Ordering::Relaxed) * BLOCK_BYTES
    }

    /// The most that [`BufferPool::allocated_bytes`] gets to.
    pub fn limit_bytes(&self) -> usize {
        self.limit * BLOCK_BYTES
    }

    fn make(&self) -> BlockBuffer {
        self.live.fetch_add(1, Ordering::AcqRel);
        BlockBuffer { bytes: vec![0; BLOCK_BYTES].into_boxed_slice(), live: Arc::clone(&self.live) }
    }
}

impl Deref for BlockBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for BlockBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_pushes_back_until_a_buffer_is_given_back_or_dropped() {
        let mut pool = BufferPool::new(3 * BLOCK_BYTES + 5);
        let mut taken: Vec<BlockBuffer> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((taken.len(), pool.available()), (3, 0));
        pool.give_back(taken.pop().unwrap());
        assert_eq!(pool.available(), 1);
        let again = pool.take().unwrap();
        assert_eq!(again.len(), BLOCK_BYTES);
        assert!(pool.take().is_none());
        // A job on another thread that dies with its buffers does not leak the limit away.
        std::thread::spawn(move || drop(taken)).join().unwrap();
        assert_eq!(pool.available(), 2);
        assert!(pool.take().is_some());
    }

    #[test]
    fn idle_buffers_are_freed_and_busy_ones_kept() {
        let mut pool = BufferPool::new(10 * BLOCK_BYTES);
        let taken: Vec<BlockBuffer> = (0..8).filter_map(|_| pool.take()).collect();
        taken.into_iter().for_each(|buffer| pool.give_back(buffer));
        pool.shrink();
        assert_eq!(pool.allocated_bytes(), 8 * BLOCK_BYTES, "all were needed since the pool was made");
        let busy: Vec<BlockBuffer> = (0..3).filter_map(|_| pool.take()).collect();
        busy.into_iter().for_each(|buffer| pool.give_back(buffer));
        pool.shrink();
        assert_eq!(pool.allocated_bytes(), 3 * BLOCK_BYTES);
        pool.shrink();
        pool.shrink();
        assert_eq!(pool.allocated_bytes(), 0);
    }

    #[test]
    fn a_buffer_of_another_pool_does_not_stretch_the_limit() {
        let (mut one, mut other) = (BufferPool::new(BLOCK_BYTES), BufferPool::new(BLOCK_BYTES));
        let buffer = other.take().unwrap();
        one.give_back(buffer);
        assert_eq!((one.available(), other.available()), (1, 1));
        let taken = (one.take(), one.take());
        assert!(taken.0.is_some() && taken.1.is_none());
    }
}
