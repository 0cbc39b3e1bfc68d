//! What must wait for the disk, off the shard's turn: opening files, reading cold windows, making merkle leaves. The
//! connection that asked waits, nobody else does. Bounded in reads under way, here and at each device, and in bytes held.

mod budget;
mod cache_policy;
mod load;
mod waiting;
mod windows;

use crate::leech::Written;
use crate::limits::{
    BLOCKING_THREADS, COLD_READS_LIMIT, LEAF_BYTES_PER_TICK, LEAF_JOBS_LIMIT, OPEN_JOBS_LIMIT, READ_AHEAD_BLOCKS,
    READ_RETRY, WINDOW_BYTES, WRITE_JOBS_LIMIT,
};
use crate::poller::LocalBell;
use crate::table::Key;
use crate::torrents::{Served, Slot};
use budget::{DeviceReads, Permit};
use hash::Sha256Digest;
use mesh::TorrentId;
use metainfo::{BlockRange, Extent, FileIndex, PieceIndex};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use storage::{OpenFile, ReadBuffer, StorageError};
use waiting::{Lack, Waiting};
use wire::HashRequest;

pub use budget::DeviceBudgets;
pub(crate) use cache_policy::CachePolicy;
pub(crate) use load::Way;
pub(crate) use windows::{WindowKey, Windows};

/// Questions to the page cache for one look ahead: a window of one file is one. As many windows as a shard may read at once,
/// of what a peer wants next; what lies further off can be asked about when the peer comes to it.
const AHEAD_QUESTIONS_LIMIT: usize = COLD_READS_LIMIT;

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

/// A need of a torrent. The id keeps a slot's next torrent from getting what was for the one before.
type JobKey = (Slot, TorrentId, Need);

/// What is being done for those that wait.
struct Job {
    waiters: Vec<Key>,
    /// Of a read: the leave to have it under way.
    permit: Option<Permit>,
}

/// What a job brought back.
pub(crate) enum Done {
    /// A file was opened, or not.
    Opened { slot: Slot, id: TorrentId, file: FileIndex, result: Result<Arc<OpenFile>, StorageError> },
    /// A window was read, or not.
    Read { key: WindowKey, result: Result<(ReadBuffer, Way), StorageError> },
    /// The leaves that a peer's hash request needs were made, or not.
    Leaves { peer: Key, id: TorrentId, request: HashRequest, result: Result<Vec<Sha256Digest>, StorageError> },
    /// Something was done to a torrent that is fetched.
    Written { slot: Slot, id: TorrentId, written: Written },
}

/// The jobs of one shard and what they brought.
pub(crate) struct Disk {
    /// What is under way, and who waits for it.
    under_way: HashMap<JobKey, Job>,
    /// Reads of windows among it.
    reads: usize,
    device_reads: DeviceReads,
    /// What was read.
    pub(crate) windows: Windows,
    /// What is known of the page cache.
    pub(crate) cache: CachePolicy,
    leaf_jobs: usize,
    /// Jobs of torrents that are fetched.
    write_jobs: usize,
    /// Data hashed for leaves since the last tick.
    leaf_bytes: usize,
    /// Connections that found no room for their read; who came first goes first.
    waiting: Waiting,
    /// When those that wait try again at the latest; at once, if room was made.
    retry_at: Duration,
    /// Nothing is begun before: the last job failed for want of descriptors or memory.
    rests_until: Duration,
    finished: Rc<Finished>,
}

/// Where jobs leave their results, and the bell that tells the shard.
pub(crate) struct Finished {
    results: RefCell<Vec<Done>>,
    bell: Rc<LocalBell>,
}

impl Disk {
    pub(crate) fn new(bell: Rc<LocalBell>, budgets: Arc<DeviceBudgets>) -> Disk {
        Disk {
            under_way: HashMap::new(),
            reads: 0,
            device_reads: DeviceReads::new(budgets),
            windows: Windows::default(),
            cache: CachePolicy::default(),
            leaf_jobs: 0,
            write_jobs: 0,
            leaf_bytes: 0,
            waiting: Waiting::default(),
            retry_at: Duration::ZERO,
            rests_until: Duration::ZERO,
            finished: Rc::new(Finished { results: RefCell::default(), bell }),
        }
    }

    /// Whether anything is under way, so that the shard must not sleep long.
    pub(crate) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || self.leaf_jobs > 0 || self.write_jobs > 0 || !self.waiting.is_empty()
    }

    /// Whether leaves are being made, whose answers go to the connections that asked here.
    pub(crate) fn has_leaf_jobs(&self) -> bool {
        self.leaf_jobs > 0
    }

    /// Begins nothing before this time.
    pub(crate) fn rest_until(&mut self, until: Duration) {
        self.rests_until = until;
    }

    /// Sees to what a block lacks. `waiter` is woken when any of it has come. Newcomers do not take the room that others
    /// wait for.
    pub(crate) fn request(&mut self, slot: Slot, served: &Served, needs: &[Need], waiter: Key, now: Duration) {
        let mut lacks = None;
        for need in needs {
            let key = (slot, served.id, *need);
            if let Some(job) = self.under_way.get_mut(&key) {
                if !job.waiters.contains(&waiter) {
                    job.waiters.push(waiter);
                }
                continue;
            }
            let lack = lack_of(served, *need);
            if !self.waiting.may_try(waiter, lack) || !self.start(key, served, vec![waiter], now) {
                lacks.get_or_insert(lack);
            }
        }
        if lacks.is_some() && self.waiting.is_empty() {
            self.retry_at = now + READ_RETRY;
        }
        self.waiting.handle_tried(waiter, lacks);
    }

    /// Reads what a peer has asked for beyond the block that it waits for, as far as nobody else waits for room. Peers take
    /// whole pieces and ask for much of one at once.
    pub(crate) fn read_ahead(
        &mut self,
        slot: Slot,
        served: &Served,
        wanted: impl Iterator<Item = BlockRange>,
        now: Duration,
    ) {
        let (mut last, mut next) = (None, None);
        let mut questions_left = AHEAD_QUESTIONS_LIMIT;
        for block in wanted.take(READ_AHEAD_BLOCKS) {
            let (piece, window) = (block.piece(), block.begin() / WINDOW_BYTES);
            let is_at_start = block.begin() % WINDOW_BYTES == 0;
            if last.replace((piece, window)) == Some((piece, window)) {
                continue;
            }
            if !self.waiting.is_empty() || self.reads >= COLD_READS_LIMIT || questions_left == 0 {
                return;
            }
            if next != last {
                self.start_ahead(slot, served, (piece, window), &mut questions_left, now);
            }
            // A peer that comes to a window at its start goes through all of it, and on to the next.
            if is_at_start {
                next = Some((piece, window + 1));
                self.start_ahead(slot, served, (piece, window + 1), &mut questions_left, now);
            }
        }
    }

    fn start_ahead(
        &mut self,
        slot: Slot,
        served: &Served,
        (piece, window): (PieceIndex, u32),
        questions_left: &mut usize,
        now: Duration,
    ) {
        let key = (slot, served.id, Need::Window(piece, window));
        let is_here = self.windows.contains(WindowKey { slot, id: served.id, piece, window });
        if is_here || self.under_way.contains_key(&key) {
            return;
        }
        let Some(range) = window_range(served, piece, window) else { return };
        // Here only what is known to be cold is worth a read; a block that waits is asked about more closely.
        let mut is_cold = |extent| {
            let Extent::File { file, offset, size } = extent else { return false };
            let Some(open) = served.files.get(file).filter(|_| *questions_left > 0) else { return false };
            *questions_left -= 1;
            open.resident(offset, size) == Some(false)
        };
        if served.torrent().layout().extents(range).any(&mut is_cold) {
            self.start(key, served, Vec::new(), now);
        }
    }

    /// Starts a job if there is room for it.
    fn start(&mut self, key: JobKey, served: &Served, waiters: Vec<Key>, now: Duration) -> bool {
        if now < self.rests_until {
            return false;
        }
        let (slot, id, need) = key;
        let permit = match need {
            Need::File(file) => {
                if self.under_way.len() - self.reads >= OPEN_JOBS_LIMIT {
                    return false;
                }
                self.spawn_open(slot, served, file);
                None
            }
            Need::Window(piece, window) => {
                let Some(permit) = self.spawn_read(WindowKey { slot, id, piece, window }, served, now) else {
                    return false;
                };
                Some(permit)
            }
        };
        self.under_way.insert(key, Job { waiters, permit });
        true
    }

    fn spawn_open(&self, slot: Slot, served: &Served, file: FileIndex) {
        let (seeded, id) = (served.task.seeded.clone(), served.id);
        self.spawn(async move {
            let result = glommio::executor().spawn_blocking(move || seeded.content().file(file)).await;
            Done::Opened { slot, id, file, result }
        });
    }

    fn spawn_read(&mut self, key: WindowKey, served: &Served, now: Duration) -> Option<Permit> {
        if self.reads >= COLD_READS_LIMIT {
            return None;
        }
        // Whoever asks for a window has found it in the piece.
        let range = window_range(served, key.piece, key.window)?;
        let seeded = served.task.seeded.clone();
        let extents: Vec<_> = served.torrent().layout().extents(range).collect();
        let permit = self.device_reads.begin(device_of(served, range))?;
        let Some(buffer) = self.windows.take_buffer(now) else {
            self.device_reads.end(permit);
            return None;
        };
        self.reads += 1;
        self.cache.note_read(now);
        let size = range.size() as usize;
        let way = if self.cache.admits(key.piece, size as u64, now) { Way::Cached } else { Way::Direct };
        let read = move || load::window(&seeded, key.piece, &extents, size, way, buffer);
        self.spawn(async move { Done::Read { key, result: glommio::executor().spawn_blocking(read).await } });
        Some(permit)
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

    /// Whether another job of a torrent that is fetched may begin.
    pub(crate) fn may_write(&self) -> bool {
        self.write_jobs < WRITE_JOBS_LIMIT
    }

    /// Does something to a torrent that is fetched.
    pub(crate) fn write(&mut self, slot: Slot, id: TorrentId, job: impl FnOnce() -> Written + Send + 'static) {
        self.write_jobs += 1;
        self.spawn(async move { Done::Written { slot, id, written: glommio::executor().spawn_blocking(job).await } });
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
                Done::Opened { slot, id, file, .. } => self.end((*slot, *id, Need::File(*file)), now, woken),
                Done::Read { key, .. } => {
                    self.end((key.slot, key.id, Need::Window(key.piece, key.window)), now, woken);
                    self.reads -= 1;
                }
                Done::Leaves { .. } => self.leaf_jobs -= 1,
                Done::Written { .. } => self.write_jobs -= 1,
            }
        }
        if now >= self.rests_until && now >= self.retry_at && !self.waiting.is_empty() {
            let has_room = |lack| match lack {
                Lack::Opening => true,
                Lack::Reading { device } => self.device_reads.has_room(device),
            };
            woken.extend(self.waiting.call(self.reads, has_room, now));
            self.retry_at = now + READ_RETRY;
        }
        finished
    }

    fn end(&mut self, key: JobKey, now: Duration, woken: &mut Vec<Key>) {
        let Some(job) = self.under_way.remove(&key) else { return };
        woken.extend(job.waiters);
        if let Some(permit) = job.permit {
            self.device_reads.end(permit);
        }
        self.retry_at = now;
    }

    /// Takes note that a peer was sent bytes of a window.
    pub(crate) fn handle_sent(&mut self, key: WindowKey, bytes: usize, now: Duration) {
        if self.windows.handle_sent(key, bytes, now) {
            self.retry_at = now;
        }
    }

    /// Lets go of what nobody has used for a while, and allows for more leaves.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        self.leaf_bytes = 0;
        self.windows.handle_tick(self.reads == 0 && self.waiting.is_empty(), now);
    }
}

/// The bytes of a piece that its `window`-th window holds; `None` beyond its end.
pub(crate) fn window_range(served: &Served, piece: PieceIndex, window: u32) -> Option<BlockRange> {
    let layout = served.torrent().layout();
    let begin = window.checked_mul(WINDOW_BYTES)?;
    let size = layout.piece_size(piece).checked_sub(begin)?.min(WINDOW_BYTES);
    layout.block(piece.get(), begin, size)
}

/// The device that holds a part of a piece, or what stands for one where nothing is on a disk.
fn device_of(served: &Served, range: BlockRange) -> u64 {
    let on_disk = served.torrent().layout().extents(range).find_map(|extent| match extent {
        Extent::File { file, .. } => served.task.seeded.content().device(file),
        Extent::Zeros { .. } => None,
    });
    on_disk.unwrap_or(0)
}

/// What there is no room for if this need cannot be seen to.
fn lack_of(served: &Served, need: Need) -> Lack {
    match need {
        Need::File(_) => Lack::Opening,
        Need::Window(piece, window) => {
            let range = window_range(served, piece, window);
            Lack::Reading { device: range.map_or(0, |range| device_of(served, range)) }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
