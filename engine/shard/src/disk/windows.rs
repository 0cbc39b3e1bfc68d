//! The windows of cold content that were read and that peers are being sent from. Bounded in memory, shared by all
//! peers that want the same bytes; what everybody has got goes first.

use crate::limits::{COLD_BYTES_LIMIT, WINDOW_BYTES, WINDOW_HELD, WINDOW_IDLE_LIMIT};
use crate::torrents::Slot;
use mesh::TorrentId;
use metainfo::PieceIndex;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use storage::ReadBuffer;

/// A window: the `n`-th [`WINDOW_BYTES`] of a piece. The torrent's id keeps a slot's next torrent from getting the bytes
/// of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WindowKey {
    pub(crate) slot: Slot,
    pub(crate) id: TorrentId,
    pub(crate) piece: PieceIndex,
    pub(crate) window: u32,
}

/// All windows of a shard.
#[derive(Default)]
pub(crate) struct Windows {
    kept: HashMap<WindowKey, Window>,
    /// Windows that were sent once from end to end or are in the page cache, and since when: the first to go.
    spent: VecDeque<(WindowKey, Duration)>,
    /// Buffers that nobody uses.
    free: Vec<ReadBuffer>,
    /// Buffers that there are: free, kept, and being read to.
    buffer_count: usize,
}

struct Window {
    bytes: Rc<ReadBuffer>,
    used_at: Duration,
    /// Bytes of it that peers were sent, or need not be.
    sent_bytes: usize,
}

impl Window {
    fn is_in_write(&self) -> bool {
        Rc::strong_count(&self.bytes) > 1
    }
}

impl Windows {
    pub(crate) fn contains(&self, key: WindowKey) -> bool {
        self.kept.contains_key(&key)
    }

    /// The window's bytes if they are here.
    pub(crate) fn get(&mut self, key: WindowKey, now: Duration) -> Option<Rc<ReadBuffer>> {
        let window = self.kept.get_mut(&key)?;
        window.used_at = now;
        Some(window.bytes.clone())
    }

    /// A buffer for a read, if there is room for one or a window that can go.
    pub(crate) fn take_buffer(&mut self, now: Duration) -> Option<ReadBuffer> {
        if let Some(buffer) = self.free.pop() {
            return Some(buffer);
        }
        const BUFFERS_LIMIT: usize = COLD_BYTES_LIMIT / ReadBuffer::memory_bytes(WINDOW_BYTES as usize);
        if self.buffer_count < BUFFERS_LIMIT {
            self.buffer_count += 1;
            return Some(ReadBuffer::new(WINDOW_BYTES as usize));
        }
        let key = self.least_wanted(now)?;
        self.drop_window(key);
        self.free.pop()
    }

    /// Keeps a window that was read. If its pages are `in_cache` too, peers are mostly sent those, and it may go as soon as
    /// others want its room.
    pub(crate) fn keep(&mut self, key: WindowKey, bytes: ReadBuffer, in_cache: bool, now: Duration) {
        let mut sent_bytes = 0;
        if in_cache {
            sent_bytes = bytes.len();
            self.spent.push_back((key, now));
        }
        self.kept.insert(key, Window { bytes: Rc::new(bytes), used_at: now, sent_bytes });
    }

    /// Takes back the buffer of a window that is not wanted any more.
    pub(crate) fn give_back(&mut self, buffer: ReadBuffer) {
        self.free.push(buffer);
    }

    /// A buffer was lost with a read that failed.
    pub(crate) fn forget_buffer(&mut self) {
        self.buffer_count -= 1;
    }

    /// Takes note that a peer was sent this many bytes of a window. True if the window could make room for another now.
    pub(crate) fn handle_sent(&mut self, key: WindowKey, bytes: usize, now: Duration) -> bool {
        let Some(window) = self.kept.get_mut(&key) else { return false };
        let size = window.bytes.len();
        let was_spent = window.sent_bytes >= size;
        window.sent_bytes += bytes;
        let is_spent = !was_spent && window.sent_bytes >= size;
        if is_spent {
            self.spent.push_back((key, now));
        }
        is_spent
    }

    /// The window that is missed the least: one that was sent to the end and not asked for since, or else one that nobody
    /// has used for a moment. What was just read for somebody is not thrown away unsent, and what a write holds has no buffer to
    /// give.
    fn least_wanted(&mut self, now: Duration) -> Option<WindowKey> {
        for _ in 0..self.spent.len() {
            let Some((key, since)) = self.spent.pop_front() else { break };
            match self.kept.get(&key) {
                Some(window) if window.used_at > since => self.spent.push_back((key, window.used_at)),
                Some(window) if window.is_in_write() => self.spent.push_back((key, since)),
                Some(window) if window.sent_bytes >= window.bytes.len() => return Some(key),
                // It was dropped since, and perhaps read again.
                Some(_) | None => {}
            }
        }
        let oldest =
            self.kept.iter().filter(|(_, window)| !window.is_in_write()).min_by_key(|(_, window)| window.used_at)?;
        (now.saturating_sub(oldest.1.used_at) >= WINDOW_HELD).then_some(*oldest.0)
    }

    /// Lets go of windows that nobody has used for a while, and of all free memory if `is_quiet`.
    pub(crate) fn handle_tick(&mut self, is_quiet: bool, now: Duration) {
        self.drop_those(|_, window| now.saturating_sub(window.used_at) >= WINDOW_IDLE_LIMIT);
        if is_quiet {
            self.buffer_count -= self.free.len();
            self.free.clear();
        }
    }

    /// Lets go of a torrent's windows.
    pub(crate) fn drop_torrent(&mut self, slot: Slot) {
        self.drop_those(|key, _| key.slot == slot);
    }

    fn drop_those(&mut self, is_old: impl Fn(&WindowKey, &Window) -> bool) {
        let old: Vec<_> = self.kept.iter().filter(|(key, window)| is_old(key, window)).map(|(key, _)| *key).collect();
        for key in old {
            self.drop_window(key);
        }
        let Windows { kept, spent, .. } = self;
        spent.retain(|(key, _)| kept.contains_key(key));
    }

    fn drop_window(&mut self, key: WindowKey) {
        let Some(window) = self.kept.remove(&key) else { return };
        match Rc::try_unwrap(window.bytes) {
            Ok(buffer) => self.free.push(buffer),
            // The last write still names it; its memory goes with the next one.
            Err(_) => self.buffer_count -= 1,
        }
    }
}

#[cfg(test)]
mod tests;
