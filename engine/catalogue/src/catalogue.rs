//! The handle that all share: changes go to the writer's thread, questions to a connection of their own, which sees
//! everything that was made durable before.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use hash::{InfoHash, Sha256Digest};
use metainfo::Torrent;
use rusqlite::Connection;
use storage::VerifiedRecord;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::change::Change;
use crate::delivery::{Delivery, DeliveryNumber};
use crate::error::CatalogueError;
use crate::feed::{FeedItem, FeedState};
use crate::kept::KeptFolder;
use crate::limits::{DELIVERIES_MAX, QUEUED_MAX};
use crate::metainfo_row::Metainfo;
use crate::open::{Opened, open};
use crate::read;
use crate::rebuild::Rebuilt;
use crate::release::{Release, ReleaseNumber, ReleaseOutput};
use crate::torrent::{TorrentNumber, TorrentRow};
use crate::write::Counts;
use crate::writer::{Copies, Counters, Order, Submission, Writer};

/// The open catalogue. Cheap to clone. Questions read the disk: asynchronous code asks from its blocking pool where the
/// answer may be large.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

struct Inner {
    reader: Mutex<Connection>,
    orders: mpsc::Sender<Order>,
    path: std::path::PathBuf,
    kept: KeptFolder,
    counters: Arc<Counters>,
    writer: Mutex<Option<JoinHandle<()>>>,
    torrents: AtomicI64,
    releases: AtomicI64,
    deliveries: AtomicI64,
}

/// Comes true when changes are on the disk, or says why they are not made. Who drops it does not want to know.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<(), CatalogueError>>);

/// What the writer did since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CatalogueCounters {
    /// Transactions that were made durable.
    pub transactions: u64,
    /// Submissions that were carried out or refused.
    pub submissions: u64,
    /// Those that were not made.
    pub failures: u64,
    /// Submissions that found the queue full, and waited.
    pub full_queues: u64,
    /// Times that a second copy could not be written.
    pub unkept: u64,
}

impl Catalogue {
    /// Opens the catalogue of a state directory, made if need be. A database that is damaged or another program's is set
    /// aside, and a new one filled from the second copies, of which the second value tells.
    pub fn open(dir: &Path) -> Result<(Catalogue, Option<Rebuilt>), CatalogueError> {
        let Opened { writer: connection, reader, lock, path, kept, rebuilt } = open(dir)?;
        let database = path.clone();
        let asked = CatalogueError::sqlite(&database);
        let last = |table| read::last_number(&reader, table).map(AtomicI64::new).map_err(&asked);
        let (torrents, releases, deliveries) = (last("torrent")?, last("release")?, last("delivery")?);
        let (orders, inbox) = mpsc::channel(QUEUED_MAX);
        let counters = Arc::new(Counters::default());
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let writer = Writer {
            counts: Counts::read(&connection).map_err(&asked)?,
            connection,
            path: path.clone(),
            kept: kept.clone(),
            lock,
            orders: inbox,
            counters: Arc::clone(&counters),
            copies: Copies::at_start(),
            waiting: waiting.map_err(CatalogueError::io(&path, "start a thread for"))?,
        };
        let spawned = std::thread::Builder::new().name("catalogue".to_owned()).spawn(|| writer.run());
        let writer = Mutex::new(Some(spawned.map_err(CatalogueError::io(&path, "start a thread for"))?));
        let reader = Mutex::new(reader);
        let inner = Inner { reader, orders, path, kept, counters, writer, torrents, releases, deliveries };
        Ok((Catalogue { inner: Arc::new(inner) }, rebuilt))
    }

    /// Makes changes, all or none, and waits until they are on the disk.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), CatalogueError> {
        self.submit(changes).await?.await
    }

    /// Hands changes over, and waits for no more than a place in the queue. They are made in the order in which they were
    /// handed over.
    pub async fn submit(&self, changes: Vec<Change>) -> Result<Receipt, CatalogueError> {
        let (order, receipt) = self.order(changes);
        match self.inner.orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(CatalogueError::Closed),
            Err(TrySendError::Full(order)) => {
                self.inner.counters.full_queues.fetch_add(1, Relaxed);
                self.inner.orders.send(order).await.map_err(|_| CatalogueError::Closed)?;
            }
        }
        Ok(receipt)
    }

    /// Makes changes, all or none, and waits until they are on the disk. Not for asynchronous code.
    pub fn apply_blocking(&self, changes: Vec<Change>) -> Result<(), CatalogueError> {
        let (order, receipt) = self.order(changes);
        self.inner.orders.blocking_send(order).map_err(|_| CatalogueError::Closed)?;
        receipt.0.blocking_recv().unwrap_or(Err(CatalogueError::Closed))
    }

    /// Waits until all that was handed over before is on the disk, or was refused.
    pub async fn flush(&self) -> Result<(), CatalogueError> {
        self.apply(Vec::new()).await
    }

    fn order(&self, changes: Vec<Change>) -> (Order, Receipt) {
        let (done, receipt) = oneshot::channel();
        (Order::Submit(Submission { changes, done }), Receipt(receipt))
    }

    /// Ends in order: carries out what was handed over, moves all of it into the database, and releases the state directory.
    /// Blocks. Other handles find the catalogue closed.
    pub fn close(self) {
        // Fails if it is closed already.
        let _ = self.inner.orders.blocking_send(Order::Close);
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the catalogue's writer panicked");
        }
    }

    /// A number for a torrent that is to be added. Numbers that are not used are lost.
    pub fn next_torrent(&self) -> TorrentNumber {
        TorrentNumber(self.inner.torrents.fetch_add(1, Relaxed) + 1)
    }

    /// A number for a release.
    pub fn next_release(&self) -> ReleaseNumber {
        ReleaseNumber(self.inner.releases.fetch_add(1, Relaxed) + 1)
    }

    /// A number for a delivery.
    pub fn next_delivery(&self) -> DeliveryNumber {
        DeliveryNumber(self.inner.deliveries.fetch_add(1, Relaxed) + 1)
    }

    /// Every torrent, by its number. `each` runs while the questions of others wait.
    pub fn each_torrent(&self, each: impl FnMut(TorrentRow)) -> Result<(), CatalogueError> {
        self.ask(|reader| read::each_torrent(reader, each))
    }

    /// Every torrent, by its number.
    pub fn torrents(&self) -> Result<Vec<TorrentRow>, CatalogueError> {
        let mut torrents = Vec::new();
        self.each_torrent(|torrent| torrents.push(torrent))?;
        Ok(torrents)
    }

    /// One torrent.
    pub fn row(&self, number: TorrentNumber) -> Result<Option<TorrentRow>, CatalogueError> {
        self.ask(|reader| read::one_torrent(reader, number))
    }

    /// The torrent with that info-hash, v1 or the first twenty bytes of v2.
    pub fn find(&self, info_hash: InfoHash) -> Result<Option<TorrentNumber>, CatalogueError> {
        self.ask(|reader| read::find(reader, info_hash))
    }

    /// What a torrent is known by, as it was handed in.
    pub fn metainfo(&self, number: TorrentNumber) -> Result<Option<Metainfo>, CatalogueError> {
        self.ask(|reader| read::metainfo(reader, number))
    }

    /// A torrent, parsed. If what stands in the database is not its metainfo any more, the second copy serves. `None` if
    /// there is no such torrent, or only a link.
    pub fn torrent(&self, number: TorrentNumber) -> Result<Option<Torrent>, CatalogueError> {
        let Some(row) = self.row(number)? else { return Ok(None) };
        let is_its = |torrent: &Torrent| torrent.info_hashes().eq(row.info_hashes());
        let parse = |metainfo: Metainfo| match metainfo {
            Metainfo::TorrentFile(bytes) => Torrent::parse(&bytes).ok().filter(is_its).map(Some),
            Metainfo::Magnet(_) => Some(None),
        };
        match self.metainfo(number) {
            Ok(None) => {}
            Ok(Some(metainfo)) => {
                if let Some(torrent) = parse(metainfo) {
                    return Ok(torrent);
                }
            }
            Err(CatalogueError::Damaged { what, .. }) => tracing::warn!(torrent = number.0, what, "damaged metainfo"),
            Err(error) => return Err(error),
        }
        let copy = row.info_hashes().next().and_then(|name| self.inner.kept.metainfo(name).ok());
        copy.and_then(parse)
            .ok_or_else(|| CatalogueError::damaged(&self.inner.path, format!("the metainfo of torrent {}", number.0)))
    }

    /// That a torrent's content was verified. A record that cannot be read is none: the content is verified again.
    pub fn verified(&self, number: TorrentNumber) -> Result<Option<VerifiedRecord>, CatalogueError> {
        let bytes = self.ask(|reader| read::verified(reader, number))?;
        Ok(bytes.and_then(|bytes| VerifiedRecord::parse(&bytes).ok()))
    }

    /// Every release, those withdrawn as well, by its number.
    pub fn releases(&self) -> Result<Vec<Release>, CatalogueError> {
        self.ask(read::releases)
    }

    /// The SHA-256 of each of a release's files, in the order of its torrent.
    pub fn release_sums(&self, number: ReleaseNumber) -> Result<Option<Vec<Sha256Digest>>, CatalogueError> {
        self.ask(|reader| read::release_sums(reader, number))
    }

    /// What was written for a release.
    pub fn release_outputs(&self, number: ReleaseNumber) -> Result<Vec<ReleaseOutput>, CatalogueError> {
        self.ask(|reader| read::release_outputs(reader, number))
    }

    /// Every setting that was changed at run time, by its key.
    pub fn settings(&self) -> Result<Vec<(String, String)>, CatalogueError> {
        self.ask(read::settings)
    }

    /// A feed that is followed.
    pub fn feed(&self, name: &str) -> Result<Option<FeedState>, CatalogueError> {
        self.ask(|reader| read::feed(reader, name))
    }

    /// An item of a feed.
    pub fn feed_item(&self, feed: &str, item: &Sha256Digest) -> Result<Option<FeedItem>, CatalogueError> {
        self.ask(|reader| read::feed_item(reader, feed, item))
    }

    /// At most so many items of a feed that are still to be fetched, the next one first.
    pub fn waiting_items(&self, feed: &str, count: u64) -> Result<Vec<FeedItem>, CatalogueError> {
        self.ask(|reader| read::waiting_items(reader, feed, count))
    }

    /// How many torrents of a feed there are, and how many bytes they have together.
    pub fn feed_taken(&self, feed: &str) -> Result<(u64, u64), CatalogueError> {
        self.ask(|reader| read::feed_taken(reader, feed))
    }

    /// Whether an item of another feed than this one stands for the torrent.
    pub fn is_of_other_feeds(&self, feed: &str, number: TorrentNumber) -> Result<bool, CatalogueError> {
        self.ask(|reader| read::is_of_other_feeds(reader, feed, number))
    }

    /// The delivery for `target` that waits longest.
    pub fn first_delivery(&self, target: &str) -> Result<Option<Delivery>, CatalogueError> {
        Ok(self.ask(|reader| read::deliveries(reader, target, 1))?.pop())
    }

    /// Every delivery for `target`, those that wait longest first.
    pub fn deliveries(&self, target: &str) -> Result<Vec<Delivery>, CatalogueError> {
        self.ask(|reader| read::deliveries(reader, target, DELIVERIES_MAX))
    }

    /// How many deliveries wait for each target.
    pub fn delivery_counts(&self) -> Result<Vec<(String, u64)>, CatalogueError> {
        self.ask(read::delivery_counts)
    }

    /// What the writer did since the start.
    pub fn counters(&self) -> CatalogueCounters {
        let Counters { transactions, submissions, failures, full_queues, unkept } = &*self.inner.counters;
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        CatalogueCounters {
            transactions: load(transactions),
            submissions: load(submissions),
            failures: load(failures),
            full_queues: load(full_queues),
            unkept: load(unkept),
        }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, CatalogueError> {
        question(&self.reader()).map_err(CatalogueError::sqlite(&self.inner.path))
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A question that panicked left nothing half done: it only read.
        self.inner.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Receipt {
    type Output = Result<(), CatalogueError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(CatalogueError::Closed)))
    }
}
