//! What must wait for the disk, off the shard's turn: opening files, reading cold windows, making merkle leaves. The
//! connection that asked waits, nobody else does. Bounded in reads under way and in bytes held.

mod load;

use crate::limits::{
    BLOCKING_THREADS, COLD_BYTES_LIMIT, COLD_READS_LIMIT, LEAF_BYTES_PER_TICK, LEAF_JOBS_LIMIT, WINDOW_BYTES,
    WINDOW_IDLE_LIMIT,
};
use crate::poller::LocalBell;
use crate::table::Key;
use crate::torrents::{Served, Slot};
use hash::Sha256Digest;
use mesh::TorrentId;
use metainfo::{BlockRange, FileIndex, PieceIndex};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use storage::{OpenFile, StorageError};
use wire::HashRequest;

pub(crate) use load::WindowBytes;

/// The threads that glommio runs blocking calls on.
pub(crate) const POOL: glommio::PoolPlacement = glommio::PoolPlacement::Unbound(BLOCKING_THREADS);

/// Something that a block lacks before it can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Need {
    /// A file to be opened.
    File(FileIndex),
    /// A window of a piece to be read: the `n`-th of [`WINDOW_BYTES`].
    Window(PieceIndex, u32),
}

/// A need of a torrent. The id keeps a slot's next torrent from getting the bytes of the one before.
type JobKey = (Slot, TorrentId, Need);

/// What a job brought back.
pub(crate) enum Done {
    /// A file was opened, or not.
    Opened { slot: Slot, id: TorrentId, file: FileIndex, result: Result<Arc<OpenFile>, StorageError> },
    /// A window was read, or not.
    Read {
        slot: Slot,
        id: TorrentId,
        piece: PieceIndex,
        window: u32,
        /// Bytes that the window was given room for.
        size_bytes: usize,
        result: Result<WindowBytes, StorageError>,
    },
    /// The leaves that a peer's hash request needs were made, or not.
    Leaves { peer: Key, id: TorrentId, request: HashRequest, result: Result<Vec<Sha256Digest>, StorageError> },
}

/// The jobs of one shard and what they brought.
pub(crate) struct Disk {
    /// Who waits for what is under way.
    under_way: HashMap<JobKey, Vec<Key>>,
    windows: HashMap<JobKey, Window>,
    /// Bytes of windows read and being read.
    window_bytes: usize,
    leaf_jobs: usize,
    /// Data hashed for leaves since the last tick.
    leaf_bytes: usize,
    /// Connections that found no room for their read.
    waiting: VecDeque<Key>,
    /// Nothing is begun before: the last job failed for want of descriptors or memory.
    rests_until: Duration,
    finished: Rc<Finished>,
}

struct Window {
    bytes: Rc<WindowBytes>,
    used_at: Duration,
}

/// Where jobs leave their results, and the bell that tells the shard.
pub(crate) struct Finished {
    results: RefCell<Vec<Done>>,
    bell: Rc<LocalBell>,
}

impl Disk {
    pub(crate) fn new(bell: Rc<LocalBell>) -> Disk {
        Disk {
            under_way: HashMap::new(),
            windows: HashMap::new(),
            window_bytes: 0,
            leaf_jobs: 0,
            leaf_bytes: 0,
            waiting: VecDeque::new(),
            rests_until: Duration::ZERO,
            finished: Rc::new(Finished { results: RefCell::default(), bell }),
        }
    }

    /// Whether anything is under way, so that the shard must not sleep long.
    pub(crate) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || self.leaf_jobs > 0 || !self.waiting.is_empty()
    }

    /// Whether leaves are being made, whose answers go to the connections that asked here.
    pub(crate) fn has_leaf_jobs(&self) -> bool {
        self.leaf_jobs > 0
    }

    /// Begins nothing before this time.
    pub(crate) fn rest_until(&mut self, until: Duration) {
        self.rests_until = until;
    }

    /// Whether the window is being read. Its pages may count as resident from the moment the read begins.
    pub(crate) fn is_reading(&self, slot: Slot, id: TorrentId, block: BlockRange) -> bool {
        let reads = |window| self.under_way.contains_key(&(slot, id, Need::Window(block.piece(), window)));
        let last = (block.begin() + block.size() - 1) / WINDOW_BYTES;
        !self.under_way.is_empty() && (block.begin() / WINDOW_BYTES..=last).any(reads)
    }

    /// The window's bytes if they are here.
    pub(crate) fn window(&mut self, slot: Slot, id: TorrentId, need: Need, now: Duration) -> Option<Rc<WindowBytes>> {
        let window = self.windows.get_mut(&(slot, id, need))?;
        window.used_at = now;
        Some(window.bytes.clone())
    }

    /// Sees to what a block lacks. `waiter` is woken when any of it has come.
    pub(crate) fn request(&mut self, slot: Slot, served: &Served, needs: &[Need], waiter: Key, now: Duration) {
        for need in needs {
            let key = (slot, served.id, *need);
            if let Some(waiters) = self.under_way.get_mut(&key) {
                if !waiters.contains(&waiter) {
                    waiters.push(waiter);
                }
            } else if self.start(key, served, vec![waiter], now) {
                self.read_ahead(key, served, now);
            } else {
                self.waiting.push_back(waiter);
            }
        }
    }

    /// Peers take whole pieces, so the window behind the one that is wanted is wanted next.
    fn read_ahead(&mut self, (slot, id, need): JobKey, served: &Served, now: Duration) {
        let Need::Window(piece, window) = need else { return };
        let ahead = (slot, id, Need::Window(piece, window + 1));
        let is_known = self.under_way.contains_key(&ahead) || self.windows.contains_key(&ahead);
        if !is_known && window_range(served, piece, window + 1).is_some() {
            self.start(ahead, served, Vec::new(), now);
        }
    }

    /// Starts a job if there is room for it.
    fn start(&mut self, key: JobKey, served: &Served, waiters: Vec<Key>, now: Duration) -> bool {
        let (slot, id, need) = key;
        if self.under_way.len() >= COLD_READS_LIMIT || now < self.rests_until {
            return false;
        }
        let seeded = served.task.seeded.clone();
        match need {
            Need::File(file) => self.spawn(async move {
                let result = glommio::executor().spawn_blocking(move || seeded.content().file(file)).await;
                Done::Opened { slot, id, file, result }
            }),
            Need::Window(piece, window) => {
                // Whoever asks for a window has found it in the piece.
                let Some(range) = window_range(served, piece, window) else { return false };
                if !self.make_room(range.size() as usize, now) {
                    return false;
                }
                let size_bytes = range.size() as usize;
                self.window_bytes += size_bytes;
                let extents: Vec<_> = served.torrent().layout().extents(range).collect();
                self.spawn(async move {
                    let result = load::window(seeded, extents, size_bytes).await;
                    Done::Read { slot, id, piece, window, size_bytes, result }
                });
            }
        }
        self.under_way.insert(key, waiters);
        true
    }

    /// Makes the leaves of `blocks` for a hash request (BEP 52). False if too many such jobs are under way, or were since
    /// the last tick.
    pub(crate) fn request_leaves(
        &mut self,
        peer: Key,
        served: &Served,
        request: HashRequest,
        blocks: Vec<BlockRange>,
    ) -> bool {
        if self.leaf_jobs >= LEAF_JOBS_LIMIT || self.leaf_bytes >= LEAF_BYTES_PER_TICK {
            return false;
        }
        self.leaf_jobs += 1;
        self.leaf_bytes += blocks.iter().map(|block| block.size() as usize).sum::<usize>();
        let (seeded, id) = (served.task.seeded.clone(), served.id);
        self.spawn(async move {
            let result = glommio::executor().spawn_blocking(move || load::leaves(&seeded, &blocks)).await;
            Done::Leaves { peer, id, request, result }
        });
        true
    }

    fn spawn(&self, job: impl Future<Output = Done> + 'static) {
        let finished = self.finished.clone();
        glommio::spawn_local(async move {
            let done = job.await;
            finished.results.borrow_mut().push(done);
            finished.bell.ring();
        })
        .detach();
    }

    /// Takes what has finished; who waited for it is appended to `woken`.
    pub(crate) fn take_finished(&mut self, now: Duration, woken: &mut Vec<Key>) -> Vec<Done> {
        let finished = std::mem::take(&mut *self.finished.results.borrow_mut());
        for done in &finished {
            match done {
                Done::Opened { slot, id, file, .. } => self.end((*slot, *id, Need::File(*file)), woken),
                Done::Read { slot, id, piece, window, .. } => {
                    self.end((*slot, *id, Need::Window(*piece, *window)), woken);
                }
                Done::Leaves { .. } => self.leaf_jobs -= 1,
            }
        }
        if now >= self.rests_until {
            // As many as there are places for; who finds no room after all comes back.
            let places = COLD_READS_LIMIT.saturating_sub(self.under_way.len()).min(self.waiting.len());
            woken.extend(self.waiting.drain(..places));
        }
        finished
    }

    fn end(&mut self, key: JobKey, woken: &mut Vec<Key>) {
        woken.extend(self.under_way.remove(&key).into_iter().flatten());
    }

    /// Keeps a window that was read.
    pub(crate) fn keep(&mut self, slot: Slot, id: TorrentId, need: Need, bytes: WindowBytes, now: Duration) {
        self.windows.insert((slot, id, need), Window { bytes: Rc::new(bytes), used_at: now });
    }

    /// Gives back the room of a window that could not be read, or whose torrent is gone.
    pub(crate) fn forget(&mut self, size_bytes: usize) {
        self.window_bytes -= size_bytes;
    }

    /// Lets go of windows that nobody has used for a while, and allows for more leaves.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        self.leaf_bytes = 0;
        self.evict(|window| now.saturating_sub(window.used_at) >= WINDOW_IDLE_LIMIT);
    }

    /// Lets go of a torrent's windows.
    pub(crate) fn drop_torrent(&mut self, slot: Slot) {
        let of_torrent: Vec<_> = self.windows.keys().filter(|(at, ..)| *at == slot).copied().collect();
        for key in of_torrent {
            self.drop_window(key);
        }
    }

    fn evict(&mut self, is_old: impl Fn(&Window) -> bool) {
        let old: Vec<_> = self.windows.iter().filter(|(_, window)| is_old(window)).map(|(key, _)| *key).collect();
        for key in old {
            self.drop_window(key);
        }
    }

    fn drop_window(&mut self, key: JobKey) {
        if let Some(window) = self.windows.remove(&key) {
            self.window_bytes -= window.bytes.len();
        }
    }

    /// Makes room for `size_bytes` more, at the cost of the windows that were used the longest ago.
    fn make_room(&mut self, size_bytes: usize, now: Duration) -> bool {
        while self.window_bytes + size_bytes > COLD_BYTES_LIMIT {
            let oldest =
                self.windows.iter().filter(|(_, window)| window.used_at < now).min_by_key(|(_, window)| window.used_at);
            let Some((key, _)) = oldest else { return false };
            let key = *key;
            self.drop_window(key);
        }
        true
    }
}

/// The bytes of a piece that its `window`-th window holds; `None` beyond its end.
pub(crate) fn window_range(served: &Served, piece: PieceIndex, window: u32) -> Option<BlockRange> {
    let layout = served.torrent().layout();
    let begin = window.checked_mul(WINDOW_BYTES)?;
    let size = layout.piece_size(piece).checked_sub(begin)?.min(WINDOW_BYTES);
    layout.block(piece.get(), begin, size)
}
