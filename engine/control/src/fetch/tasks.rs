//! What control waits for beside its mailboxes: work on files, on threads where waiting is allowed.

use crate::fetch::{FetchError, FetchFiles, Prepared};
use crate::rechecking::{CheckError, Checked, ContentCheck};
use crate::resolve::{ResolveError, Resolved, Resolving};
use crate::rest::{LoadError, TorrentSource};
use mesh::TorrentId;
use metainfo::Torrent;
use std::sync::Arc;
use std::time::Duration;
use storage::Seeded;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};

/// Torrents whose files are made ready or closed at once; the others wait for their turn. A start with a thousand torrents
/// keeps the disk busy and needs no thousand threads.
const FILES_AT_ONCE: usize = 8;

/// How often files are tried again for which the disk had no room, as the home shard tries blocks again.
const ROOM_INTERVAL: Duration = Duration::from_secs(5);

/// Torrents that are loaded from rest at once. Apart from the above, whose turns may take minutes.
const LOADS_AT_ONCE: usize = 8;

/// The tasks under way.
pub(crate) struct Tasks {
    set: JoinSet<Done>,
    turns: Arc<Semaphore>,
    load_turns: Arc<Semaphore>,
    /// How long files wait for room on the disk before they are tried again.
    pub(crate) room_interval: Duration,
}

/// A task that has ended.
pub(crate) enum Done {
    /// A link is resolved, or cannot be.
    Resolved { id: TorrentId, result: Result<Box<Resolved>, ResolveError> },
    /// Files are ready, or not.
    Prepared { id: TorrentId, files: Arc<dyn FetchFiles>, torrent: Arc<Torrent>, result: Result<Prepared, FetchError> },
    /// What was wanted has been made to last.
    Kept { id: TorrentId, files: Arc<dyn FetchFiles>, result: Result<(), FetchError> },
    /// Files are closed.
    Finished { id: TorrentId, files: Arc<dyn FetchFiles>, result: Result<Arc<Seeded>, FetchError> },
    /// Content was compared with its torrent, or could not be.
    Rechecked { id: TorrentId, check: Arc<dyn ContentCheck>, result: Result<Checked, CheckError> },
    /// A torrent has come from rest, or cannot.
    Loaded { id: TorrentId, result: Result<Arc<Seeded>, LoadError> },
}

impl Default for Tasks {
    fn default() -> Tasks {
        let turns = |count| Arc::new(Semaphore::new(count));
        Tasks {
            set: JoinSet::new(),
            turns: turns(FILES_AT_ONCE),
            load_turns: turns(LOADS_AT_ONCE),
            room_interval: ROOM_INTERVAL,
        }
    }
}

impl Tasks {
    /// The next task to end; never while there is none.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            match self.set.join_next().await {
                Some(Ok(done)) => return done,
                // A task catches what the work beneath it does; one that is aborted is of no interest any more.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for what a link stands for.
    pub(crate) fn resolve(&mut self, id: TorrentId, resolving: Resolving) -> AbortHandle {
        self.set.spawn(async move { Done::Resolved { id, result: resolving.finish().await.map(Box::new) } })
    }

    /// Makes files ready, after a pause.
    pub(crate) fn prepare(
        &mut self,
        id: TorrentId,
        files: Arc<dyn FetchFiles>,
        torrent: Arc<Torrent>,
        pause: Duration,
    ) {
        let prepared = torrent.clone();
        let work_files = files.clone();
        let work = in_turn(&self.turns, move || work_files.prepare(&prepared));
        self.set.spawn(async move {
            tokio::time::sleep(pause).await;
            Done::Prepared { id, files, torrent, result: work.await.unwrap_or(Err(FetchError::BrokeOff)) }
        });
    }

    /// Closes files.
    pub(crate) fn finish(&mut self, id: TorrentId, files: Arc<dyn FetchFiles>, torrent: Arc<Torrent>) {
        let work_files = files.clone();
        let work = in_turn(&self.turns, move || work_files.finish(&torrent));
        self.set.spawn(
            async move { Done::Finished { id, files, result: work.await.unwrap_or(Err(FetchError::BrokeOff)) } },
        );
    }

    /// Makes what is wanted of a torrent last.
    pub(crate) fn keep(&mut self, id: TorrentId, files: Arc<dyn FetchFiles>) {
        let work_files = files.clone();
        let work = in_turn(&self.turns, move || work_files.keep());
        self.set
            .spawn(async move { Done::Kept { id, files, result: work.await.unwrap_or(Err(FetchError::BrokeOff)) } });
    }

    /// Compares content with its torrent.
    pub(crate) fn recheck(&mut self, id: TorrentId, torrent: Arc<Torrent>, check: Arc<dyn ContentCheck>) {
        let work_check = check.clone();
        let work = in_turn(&self.turns, move || work_check.check(&torrent));
        self.set.spawn(async move {
            Done::Rechecked { id, check, result: work.await.unwrap_or(Err(CheckError::BrokeOff)) }
        });
    }

    /// Loads a torrent that is at rest.
    pub(crate) fn load(&mut self, id: TorrentId, source: Arc<dyn TorrentSource>) {
        let work = in_turn(&self.load_turns, move || {
            let seeded = source.load()?;
            // It takes a hash of the metainfo, and every shard asks for it.
            seeded.torrent().info_hash_without_empty_keys();
            Ok(seeded)
        });
        self.set.spawn(async move { Done::Loaded { id, result: work.await.unwrap_or(Err(LoadError::BrokeOff)) } });
    }
}

/// Runs `work` on a thread of its own when it is its turn; `None` if it broke off.
fn in_turn<T, W>(turns: &Arc<Semaphore>, work: W) -> impl Future<Output = Option<T>> + Send + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let turns = turns.clone();
    async move {
        let _turn = turns.acquire_owned().await.ok()?;
        spawn_blocking(work).await.ok()
    }
}
