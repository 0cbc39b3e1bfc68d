//! The tracker client at work: the schedule of `tracker::TrackerClient` with sockets, TLS, names and a clock. One task
//! drives it; each announce under way is a task of its own, so that one which hangs holds up none.

mod error;
pub(crate) mod http;
pub(crate) mod resolve;
mod udp;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hash::InfoHash;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracker::client::{AnnounceFailure, Config, SlotId, TorrentId, TrackerStatus, UnusedTracker};
use tracker::http::announce_url;
use tracker::{
    AnnounceAction, AnnounceReply, AnnounceRequest, Event, Family, Millis, Scheme, ScrapeReply, TrackerClient,
    TrackerUrl,
};

pub use self::error::TransportError;
use self::http::{HttpTransport, require_address};
use self::resolve::Resolver;
pub use self::udp::UdpTimes;
use self::udp::UdpTransport;

/// How an [`Announcer`] presents itself, and its limits.
#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    /// The peer id of all announces (BEP 20).
    pub peer_id: [u8; 20],
    /// Where our peers connect to; 0 if they cannot.
    pub port: u16,
    /// Local addresses to announce from, at most one of each family; the system chooses where none is given.
    pub bind: Vec<IpAddr>,
    /// Tiers, intervals, back-off.
    pub schedule: Config,
    /// How long an HTTP announce may take, connecting included.
    pub http_timeout: Duration,
    /// How UDP announces are asked again.
    pub udp: UdpTimes,
    /// Certificates (DER) trusted for HTTPS besides the system's.
    pub extra_roots_der: Vec<Vec<u8>>,
}

impl AnnouncerConfig {
    /// The defaults for a peer of this id and port.
    pub fn new(peer_id: [u8; 20], port: u16) -> AnnouncerConfig {
        AnnouncerConfig {
            peer_id,
            port,
            bind: Vec::new(),
            schedule: Config::default(),
            http_timeout: Duration::from_secs(20),
            udp: UdpTimes::default(),
            extra_roots_der: Vec::new(),
        }
    }
}

/// Why there is no announcer. The fault is the operator's or this host's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnnouncerError {
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    NoRandomness(String),
    /// An extra root certificate cannot be read.
    #[error("root certificate: {0}")]
    BadCertificate(String),
    /// The HTTP client cannot be made.
    #[error("HTTP client: {0}")]
    HttpClient(String),
}

/// A torrent's totals since it was added, as its announces report them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Payload bytes sent.
    pub uploaded_bytes: u64,
    /// Payload bytes received.
    pub downloaded_bytes: u64,
    /// Bytes still lacking; 0 for a seed, `None` before the metadata is there.
    pub left_bytes: Option<u64>,
}

/// A torrent to announce.
#[derive(Clone)]
pub struct AnnounceTorrent {
    /// One, or both of a hybrid.
    pub info_hashes: Vec<InfoHash>,
    /// Tracker URLs by tier (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Asked at each announce, on the announcer's thread; it must not wait for anything.
    pub totals: Arc<dyn Fn() -> Totals + Send + Sync>,
    /// Peers to ask for, as long as something is lacking; 0 for a seed that waits to be found.
    pub want_count: u32,
    /// Given what each tracker tells, on the announcer's thread; it must not wait for anything.
    pub found: Arc<dyn Fn(Vec<SocketAddr>) + Send + Sync>,
}

/// The tracker client of this program.
pub struct Announcer {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

struct Shared {
    started: Instant,
    state: Mutex<State>,
    /// Something was changed from outside, so that the driver must look again.
    changed: Notify,
    /// How many announces have come to an end, good or bad.
    settled: watch::Sender<u64>,
    transport: Transport,
}

struct State {
    client: TrackerClient,
    torrents: HashMap<TorrentId, Announced>,
    next_torrent: u64,
    is_stopping: bool,
}

/// What of a torrent is needed once the schedule knows it.
struct Announced {
    totals: Arc<dyn Fn() -> Totals + Send + Sync>,
    want_count: u32,
    found: Arc<dyn Fn(Vec<SocketAddr>) + Send + Sync>,
}

struct Transport {
    peer_id: [u8; 20],
    port: u16,
    key: u32,
    resolver: Arc<Resolver>,
    http: HttpTransport,
    udp_v4: UdpTransport,
    udp_v6: UdpTransport,
}

type Done = (SlotId, TorrentId, Result<AnnounceReply, TransportError>);

impl Announcer {
    /// Starts the driver. Must be called on a tokio runtime; the other methods may be called from anywhere.
    pub fn start(config: &AnnouncerConfig) -> Result<Announcer, AnnouncerError> {
        let random = || getrandom::u64().map_err(|error| AnnouncerError::NoRandomness(error.to_string()));
        let resolver = Arc::new(Resolver::new());
        let bind = |family| config.bind.iter().copied().find(|ip| Family::of(*ip) == family);
        let transport = Transport {
            peer_id: config.peer_id,
            port: config.port,
            // 0 is no key.
            key: (random()? as u32).max(1),
            http: HttpTransport::new(config, Arc::clone(&resolver))?,
            resolver,
            udp_v4: UdpTransport::new(Family::V4, bind(Family::V4), config.udp),
            udp_v6: UdpTransport::new(Family::V6, bind(Family::V6), config.udp),
        };
        let state = State {
            client: TrackerClient::new(config.schedule.clone(), random()?),
            torrents: HashMap::new(),
            next_torrent: 0,
            is_stopping: false,
        };
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
            settled: watch::channel(0).0,
            transport,
        });
        let driver = tokio::spawn(drive(Arc::clone(&shared)));
        Ok(Announcer { shared, driver })
    }

    /// Starts to announce a torrent; gives its number here and the trackers that cannot be used.
    pub fn add(&self, torrent: AnnounceTorrent) -> (TorrentId, Vec<UnusedTracker>) {
        self.begin(torrent, false)
    }

    /// The same for a torrent that an earlier run announced: its first announces are spread over a while, and those of new
    /// torrents go before them.
    pub fn add_restored(&self, torrent: AnnounceTorrent) -> (TorrentId, Vec<UnusedTracker>) {
        self.begin(torrent, true)
    }

    fn begin(&self, torrent: AnnounceTorrent, is_restored: bool) -> (TorrentId, Vec<UnusedTracker>) {
        let AnnounceTorrent { info_hashes, tiers, totals, want_count, found } = torrent;
        let now = self.now();
        let mut state = self.shared.state();
        let id = TorrentId(state.next_torrent);
        state.next_torrent += 1;
        let unused = match is_restored {
            true => state.client.add_restored(now, id, &info_hashes, &tiers),
            false => state.client.add(now, id, &info_hashes, &tiers),
        };
        state.torrents.insert(id, Announced { totals, want_count, found });
        drop(state);
        self.shared.changed.notify_one();
        (id, unused)
    }

    /// Tells the trackers that a download has become complete.
    pub fn completed(&self, id: TorrentId) {
        self.shared.state().client.completed(self.now(), id);
        self.shared.changed.notify_one();
    }

    /// Announces a torrent at once. Gives how many of its lines are on their way.
    pub fn announce_now(&self, id: TorrentId) -> usize {
        let count = self.shared.state().client.announce_now(self.now(), id);
        self.shared.changed.notify_one();
        count
    }

    /// Asks each tracker at this rate and by so many connections at once from now on.
    pub fn set_pace(&self, announces_per_s: u32, connections_per_host: usize) {
        self.shared.state().client.set_pace(self.now(), announces_per_s, connections_per_host);
        self.shared.changed.notify_one();
    }

    /// The lines of one torrent. Times are those of `now`.
    pub fn status_of(&self, id: TorrentId) -> Vec<TrackerStatus> {
        self.shared.state().client.status_of(id).collect()
    }

    /// Stops announcing a torrent and tells the trackers that know it.
    pub fn remove(&self, id: TorrentId) {
        let mut state = self.shared.state();
        state.client.remove(self.shared.now(), id);
        state.drop_finished();
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Every line of announces: a torrent's tier under one info-hash in one family. Times are those of `now`.
    pub fn status(&self) -> Vec<TrackerStatus> {
        self.shared.state().client.status().collect()
    }

    /// How many announces have come to an end, good or bad: when it changes, so has the status.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.shared.settled.subscribe()
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> Millis {
        self.shared.now()
    }

    /// Asks a tracker for the size of some swarms, over IPv4 if it has that.
    pub async fn scrape(&self, tracker: &TrackerUrl, info_hashes: &[InfoHash]) -> Result<ScrapeReply, TransportError> {
        let tracker = tracker.scrape_url().ok_or(TransportError::NoScrape)?;
        match self.shared.transport.scrape(&tracker, Family::V4, info_hashes).await {
            Err(TransportError::NoAddress(_)) => self.shared.transport.scrape(&tracker, Family::V6, info_hashes).await,
            result => result,
        }
    }

    /// Tells every tracker that knows us that we stop, and waits for their answers for no longer than `deadline`.
    pub async fn shutdown(mut self, deadline: Duration) {
        {
            let mut state = self.shared.state();
            state.is_stopping = true;
            state.client.remove_all(self.shared.now());
        }
        self.shared.changed.notify_one();
        if tokio::time::timeout(deadline, &mut self.driver).await.is_err() {
            tracing::info!("some trackers did not answer in time that we stop");
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        // With the driver go the announces under way.
        self.driver.abort();
    }
}

impl State {
    /// Forgets the torrents about which nothing is left to be said.
    fn drop_finished(&mut self) {
        while let Some(id) = self.client.poll_finished() {
            self.torrents.remove(&id);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change to the schedule is whole when the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }
}

/// Sends what is due, hands in what came of it, and sleeps between.
async fn drive(shared: Arc<Shared>) {
    let mut under_way: JoinSet<Done> = JoinSet::new();
    loop {
        let wake_at = {
            let mut state = shared.state();
            while let Some((action, request)) = next_announce(&mut state, &shared) {
                let shared = Arc::clone(&shared);
                under_way.spawn(async move {
                    let result = shared.transport.announce(&action, &request).await;
                    (action.id, action.torrent, result)
                });
            }
            if state.is_stopping && state.client.is_idle() {
                return;
            }
            state.client.poll_timeout()
        };
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until((shared.started + Duration::from_millis(at)).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                // The tasks neither panic nor are they aborted while this one lives.
                if let Ok(done) = done {
                    settle(&shared, done);
                }
            }
            () = shared.changed.notified() => {}
            () = wake => {}
        }
    }
}

/// The next announce that is due, with what it says.
fn next_announce(state: &mut State, shared: &Shared) -> Option<(AnnounceAction, AnnounceRequest)> {
    let action = state.client.poll_announce(shared.now())?;
    let torrent = state.torrents.get(&action.torrent);
    let totals = torrent.map(|torrent| (torrent.totals)()).unwrap_or_default();
    let wants_none = action.event == Event::Stopped || totals.left_bytes == Some(0);
    let want_count = if wants_none { 0 } else { torrent.map_or(0, |torrent| torrent.want_count) };
    let request = AnnounceRequest {
        info_hash: action.info_hash,
        peer_id: shared.transport.peer_id,
        port: shared.transport.port,
        uploaded_bytes: totals.uploaded_bytes,
        downloaded_bytes: totals.downloaded_bytes,
        left_bytes: totals.left_bytes,
        event: action.event,
        want_count: Some(want_count),
        key: shared.transport.key,
        compact: true,
        no_peer_id: true,
        tracker_id: action.tracker_id.clone(),
        claimed_ip: None,
    };
    Some((action, request))
}

fn settle(shared: &Shared, (id, torrent, result): Done) {
    let now = shared.now();
    let mut state = shared.state();
    match result {
        Ok(mut reply) => {
            let peers = std::mem::take(&mut reply.peers);
            state.client.handle_reply(now, id, &reply);
            if let Some(torrent) = state.torrents.get(&torrent).filter(|_| !peers.is_empty()) {
                (torrent.found)(peers);
            }
        }
        Err(error) => {
            tracing::debug!(%error, "announce failed");
            state.client.handle_failure(now, id, AnnounceFailure::from(error));
        }
    }
    state.drop_finished();
    drop(state);
    shared.settled.send_modify(|count| *count += 1);
}

impl Transport {
    async fn announce(
        &self,
        action: &AnnounceAction,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, TransportError> {
        match action.url.scheme() {
            Scheme::Http | Scheme::Https => {
                self.http.announce(&action.url, action.family, &announce_url(&action.url, request)).await
            }
            Scheme::Udp => {
                let to = self.udp_address(&action.url, action.family).await?;
                self.udp(action.family).announce(to, request, action.url.path_and_query()).await
            }
        }
    }

    async fn scrape(
        &self,
        tracker: &TrackerUrl,
        family: Family,
        info_hashes: &[InfoHash],
    ) -> Result<ScrapeReply, TransportError> {
        match tracker.scheme() {
            Scheme::Http | Scheme::Https => self.http.scrape(tracker, family, info_hashes).await,
            Scheme::Udp => {
                let to = self.udp_address(tracker, family).await?;
                self.udp(family).scrape(to, info_hashes).await
            }
        }
    }

    async fn udp_address(&self, tracker: &TrackerUrl, family: Family) -> Result<SocketAddr, TransportError> {
        let ip = require_address(&self.resolver, tracker, family).await?;
        Ok(SocketAddr::new(ip, tracker.port()))
    }

    fn udp(&self, family: Family) -> &UdpTransport {
        match family {
            Family::V4 => &self.udp_v4,
            Family::V6 => &self.udp_v6,
        }
    }
}
