//! The engine as a service has it: any number of tasks, on any runtime, each with its own questions. What is done about them is
//! control's affair; here an order goes in and an answer comes back.

use crate::engine::EngineError;
use crate::fetch::FetchRequest;
use crate::recheck::PlaceCheck;
use control::tracker_service::TrackerService;
use control::{
    AddError, AtRest, EngineEvents, NewTorrent, Order, OrderError, PeerList, Recent, Status, Summary, TorrentOrder,
    TorrentSource, TorrentStatus, TrackerLine, WeakNews,
};
use mesh::{ShardHistograms, TorrentId};
use metainfo::Torrent;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use storage::Place;
use swarm::{RateLimiter, TorrentLimits};
use tokio::sync::{mpsc, oneshot};

/// A running engine; clones are the same one. It outlives the engine, and says then that it has stopped.
///
/// It is made for any program that has an engine in it. `service` keeps its torrents in a catalogue: it removes one that is to be
/// stopped or checked, and adds it again. [`EngineHandle::stop`], [`EngineHandle::start`], [`EngineHandle::recheck`],
/// [`EngineHandle::refetch`], [`EngineHandle::open`] and [`EngineHandle::set_opening`] are for programs that leave that to the
/// engine.
#[derive(Clone)]
pub struct EngineHandle {
    parts: Arc<HandleParts>,
    /// Held while content is checked: a check takes all threads.
    hashing: Arc<Mutex<()>>,
}

/// What a handle is made of.
pub(crate) struct HandleParts {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) news: WeakNews,
    pub(crate) upload: Arc<RateLimiter>,
    pub(crate) download: Arc<RateLimiter>,
    /// Connections that the process's descriptors allow.
    pub(crate) connection_limit: usize,
    pub(crate) shard_count: usize,
    pub(crate) tracker: Option<TrackerService>,
}

/// The limits of all torrents together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalLimits {
    /// Payload and protocol bytes a second that all peers get together; `None` is without limit.
    pub upload_bytes_per_s: Option<NonZeroU64>,
    /// Payload and protocol bytes a second that all peers and web seeds may send us together; `None` is without limit.
    pub download_bytes_per_s: Option<NonZeroU64>,
    /// Peers that are unchoked at once; `None` is all that are interested.
    pub slots: Option<u32>,
    /// Connections at once; `None`, or more than that, is as many as the process's descriptors allow. Those that there are stay.
    pub connections: Option<usize>,
}

impl EngineHandle {
    pub(crate) fn new(parts: HandleParts) -> EngineHandle {
        EngineHandle { parts: Arc::new(parts), hashing: Arc::default() }
    }

    /// Serves a torrent whose content was verified.
    pub async fn add(&self, torrent: NewTorrent) -> Result<TorrentId, EngineError> {
        Ok(self.ask(|reply| Order::Add { torrent, reply }).await??)
    }

    /// Announces torrents, and loads and serves each when somebody asks for it: a start with ten thousand is one question. Gives
    /// their numbers in the same order.
    pub async fn add_many(&self, torrents: Vec<AtRest>) -> Result<Vec<Result<TorrentId, AddError>>, EngineError> {
        self.ask(|reply| Order::AddMany { torrents, reply }).await
    }

    /// Lets a torrent rest while nobody wants it: one that was added loaded, or that is being fetched.
    pub async fn let_rest(&self, id: TorrentId, source: Arc<dyn TorrentSource>) -> Result<(), EngineError> {
        self.tell(Order::LetRest { id, source }).await
    }

    /// Fetches a torrent, and serves what is there of it. Returns at once; status and events tell how it goes.
    pub async fn fetch(&self, request: FetchRequest) -> Result<TorrentId, EngineError> {
        let fetch = self.prepare(request).await?;
        Ok(self.ask(|reply| Order::Fetch { fetch, reply }).await??)
    }

    /// Fetches a torrent anew that the engine has, whatever became of it: of its content what is right is kept, and found by a
    /// check if the request does not trust records. The torrent keeps its number, its terms and its totals.
    pub async fn refetch(&self, id: TorrentId, request: FetchRequest) -> Result<(), EngineError> {
        let fetch = self.prepare(request).await?;
        self.order(id, |reply| TorrentOrder::Refetch { fetch, reply }).await
    }

    /// Serves or fetches a torrent no longer, and forgets it; trackers that know it are told.
    pub async fn remove(&self, id: TorrentId) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::Remove { reply }).await
    }

    /// Neither serves nor fetches nor announces a torrent until it is started. What is known of it stays.
    pub async fn stop(&self, id: TorrentId) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::Stop { reply }).await
    }

    /// Serves or fetches a torrent again that was stopped, or that has failed.
    ///
    /// # Errors
    /// [`OrderError::Changed`] if its content is not what it was, and [`OrderError::FetchFailed`].
    pub async fn start(&self, id: TorrentId) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::Start { reply }).await
    }

    /// Announces a torrent now. Gives how many lines of announces are on their way.
    pub async fn announce_now(&self, id: TorrentId) -> Result<usize, EngineError> {
        self.order(id, |reply| TorrentOrder::Announce { reply }).await
    }

    /// Serves and fetches a torrent under these limits and in this group from now on.
    pub async fn set_limits(&self, id: TorrentId, limits: TorrentLimits) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::SetLimits { limits, reply }).await
    }

    /// Limits all torrents together from now on. (Those of a group are set by whoever made it: `swarm::GroupLimits`.)
    pub async fn set_global(&self, limits: GlobalLimits) -> Result<(), EngineError> {
        let parts = &self.parts;
        parts.upload.set_rate(limits.upload_bytes_per_s);
        parts.download.set_rate(limits.download_bytes_per_s);
        let connections = limits.connections.unwrap_or(parts.connection_limit).min(parts.connection_limit);
        let connections_per_shard = (connections / parts.shard_count).max(1);
        self.tell(Order::SetShare { slots: limits.slots, connections_per_shard }).await
    }

    /// Asks each of others' trackers at this rate (announces a second, in each family) and by so many connections at once from
    /// now on.
    pub async fn set_announcing(&self, announces_per_s: u32, connections_per_host: usize) -> Result<(), EngineError> {
        self.tell(Order::SetAnnouncing { announces_per_s, connections_per_host }).await
    }

    /// A torrent's peers.
    pub async fn peers(&self, id: TorrentId) -> Result<PeerList, EngineError> {
        self.order(id, |reply| TorrentOrder::Peers { reply }).await
    }

    /// A torrent's lines of announces; none if it is announced to nobody.
    pub async fn trackers(&self, id: TorrentId) -> Result<Vec<TrackerLine>, EngineError> {
        self.order(id, |reply| TorrentOrder::Trackers { reply }).await
    }

    /// How a torrent is.
    pub async fn status_of(&self, id: TorrentId) -> Result<TorrentStatus, EngineError> {
        self.order(id, |reply| TorrentOrder::Status { reply }).await
    }

    /// How things are, in a few numbers.
    pub async fn summary(&self) -> Result<Summary, EngineError> {
        self.ask(|reply| Order::Summary { reply }).await
    }

    /// How everything is but for torrents and lines of announces, which are left out: it takes no longer where there are many.
    pub async fn overview(&self) -> Result<Status, EngineError> {
        self.ask(|reply| Order::Overview { reply }).await
    }

    /// How those torrents are that are at work, or went to rest since this was asked last. For one who keeps books of all; who
    /// asks besides takes from those that went to rest.
    pub async fn recent(&self) -> Result<Recent, EngineError> {
        self.ask(|reply| Order::Recent { reply }).await
    }

    /// How everything is; it takes as long as there are torrents.
    pub async fn status(&self) -> Result<Status, EngineError> {
        self.ask(|reply| Order::Status { reply }).await
    }

    /// What the shards have measured since the start, all together. Waits until each has had a turn.
    pub async fn histograms(&self) -> Result<Box<ShardHistograms>, EngineError> {
        self.ask(|reply| Order::Measure { reply }).await
    }

    /// Returns when control and every shard have had a turn.
    ///
    /// # Errors
    /// [`EngineError::Shard`] if a shard is stuck.
    pub async fn pulse(&self) -> Result<(), EngineError> {
        let (answered, all) = (self.ask(|reply| Order::Pulse { reply }).await?, self.parts.shard_count);
        match answered < all {
            true => Err(EngineError::Shard(format!("{} of {all} shards are stuck", all - answered))),
            false => Ok(()),
        }
    }

    /// Serves nothing of a torrent until its content at `place` was compared with it, on all cores. Returns when that has
    /// begun; the status tells how far it is, and an event what was found. Content that is right is served then, as it is
    /// now; of other content the torrent's error tells.
    ///
    /// # Errors
    /// [`OrderError::BeingFetched`]: [`EngineHandle::refetch`] checks that.
    pub async fn recheck(&self, id: TorrentId, torrent: Arc<Torrent>, place: Place) -> Result<(), EngineError> {
        let check = Arc::new(PlaceCheck::new(place, self.hashing.clone()));
        self.order(id, |reply| TorrentOrder::Recheck { torrent, check, reply }).await
    }

    /// Ends a torrent's embargo now.
    pub async fn open(&self, id: TorrentId) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::Open { reply }).await
    }

    /// Puts the end of a torrent's embargo off, or brings it forward: seconds since 1970, or `None` for only when told.
    pub async fn set_opening(&self, id: TorrentId, opens_at_unix_s: Option<u64>) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::SetOpening { opens_at_unix_s, reply }).await
    }

    /// Has an event tell when another peer has all of a torrent, as trackers' announces and peers' own words have it.
    pub async fn await_copy(&self, id: TorrentId) -> Result<(), EngineError> {
        self.order(id, |reply| TorrentOrder::AwaitCopy { reply }).await
    }

    /// What happens from now on.
    pub fn events(&self) -> Result<EngineEvents, EngineError> {
        self.parts.news.listen().ok_or(EngineError::Gone)
    }

    /// Our own tracker's table, if there is one, for those who answer for it.
    pub fn tracker(&self) -> Option<&TrackerService> {
        self.parts.tracker.as_ref()
    }

    pub(crate) fn hashing(&self) -> Arc<Mutex<()>> {
        self.hashing.clone()
    }

    /// For threads of no runtime.
    pub(crate) fn tell_blocking(&self, order: Order) -> Result<(), EngineError> {
        self.parts.orders.blocking_send(order).map_err(|_| EngineError::Gone)
    }

    async fn tell(&self, order: Order) -> Result<(), EngineError> {
        self.parts.orders.send(order).await.map_err(|_| EngineError::Gone)
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.tell(order(reply)).await?;
        answer.await.map_err(|_| EngineError::Gone)
    }

    async fn order<T>(
        &self,
        id: TorrentId,
        order: impl FnOnce(oneshot::Sender<Result<T, OrderError>>) -> TorrentOrder,
    ) -> Result<T, EngineError> {
        Ok(self.ask(|reply| Order::About { id, order: order(reply) }).await??)
    }

    /// Looks at the disk for what is remembered, where that is allowed.
    async fn prepare(&self, request: FetchRequest) -> Result<Box<control::NewFetch>, EngineError> {
        let hashing = self.hashing();
        let fetch = tokio::task::spawn_blocking(move || Box::new(request.into_order(hashing)));
        // It runs to its end unless the caller's runtime ends first.
        fetch.await.map_err(|_| EngineError::Gone)
    }
}
