//! The DHT node at work: `dht::Dht` with sockets, names, a clock and a file. One task drives it and announces our
//! torrents; torrents come and go through its handle, from any thread.

mod bootstrap;
mod driver;
mod schedule;
mod socket;
mod state_file;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dht::{Counters, Dht, Family, Millis, SideStatus};
use hash::InfoHash;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::bootstrap::BootstrapName;
use self::driver::Driver;
use self::schedule::Schedule;
pub use self::schedule::{DhtTorrentId, ScheduleTimes};
use self::socket::{DhtSocket, Traffic};

/// Nodes that everybody may begin with.
pub const DEFAULT_BOOTSTRAP: [&str; 4] = [
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
    "dht.libtorrent.org:25401",
];

/// How a [`DhtNode`] takes part, and its limits.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// Where to bind: the first address of each family counts; a family without one is left out.
    pub addresses: Vec<SocketAddr>,
    /// Nodes to begin with, `HOST:PORT` each. With none, others must tell of us or peers of them.
    pub bootstrap: Vec<String>,
    /// Where ids and nodes are kept over restarts, if anywhere.
    pub state_path: Option<PathBuf>,
    /// What the node is to be; the families are those of `addresses`.
    pub node: dht::Config,
    /// When torrents are announced and looked up.
    pub times: ScheduleTimes,
}

impl Default for DhtConfig {
    /// Both families on any port, the well-known bootstrap nodes, nothing kept.
    fn default() -> DhtConfig {
        DhtConfig {
            addresses: vec![([0, 0, 0, 0], 0).into(), ([0; 16], 0).into()],
            bootstrap: DEFAULT_BOOTSTRAP.map(str::to_owned).to_vec(),
            state_path: None,
            node: dht::Config::default(),
            times: ScheduleTimes::default(),
        }
    }
}

/// Why there is no node. The fault is the operator's or this host's.
#[derive(Debug, thiserror::Error)]
pub enum DhtError {
    /// No address to bind.
    #[error("no address to bind the DHT to")]
    NoAddress,
    /// A socket cannot be made.
    #[error("DHT: cannot bind UDP {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A bootstrap node is not `HOST:PORT`.
    #[error("DHT bootstrap node {0:?} is not HOST:PORT")]
    BadBootstrap(String),
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    NoRandomness(getrandom::Error),
}

/// A torrent to announce and look up.
#[derive(Clone)]
pub struct DhtTorrent {
    /// One, or both of a hybrid.
    pub info_hashes: Vec<InfoHash>,
    /// Where its peers connect to; 0 if they cannot: it is looked up only.
    pub port: u16,
    /// Whether an earlier run announced it: it can wait for those that nobody knows of yet.
    pub is_restored: bool,
    /// Whether its metadata says that trackers alone may tell of it (BEP 27).
    pub is_private: bool,
    /// Given the peers that are found, on the node's thread, as long as some are wanted; it must not wait for anything.
    pub found: Option<Arc<dyn Fn(Vec<SocketAddr>) + Send + Sync>>,
}

/// How the node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DhtStatus {
    /// In the IPv4 DHT, if it is there.
    pub v4: Option<SideStatus>,
    /// In the IPv6 DHT.
    pub v6: Option<SideStatus>,
    /// Torrents that are announced or looked up.
    pub torrents: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Swarms whose time has come, but whose turn has not.
    pub overdue: usize,
    /// Peers that are kept for others.
    pub stored_peers: usize,
    /// Payload bytes of datagrams that went out.
    pub sent_bytes: u64,
    /// Payload bytes of datagrams that came in.
    pub received_bytes: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// What the node counts.
    pub counters: Counters,
}

/// A node that runs.
pub struct DhtNode {
    handle: DhtHandle,
    local_addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    driver: JoinHandle<()>,
    bootstrap: JoinHandle<()>,
}

/// Adds and removes torrents and nodes.
#[derive(Clone)]
pub struct DhtHandle {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    state: Mutex<State>,
    /// Something was changed from outside, so that the driver must look again.
    changed: Notify,
}

struct State {
    dht: Dht,
    schedule: Schedule,
    traffic: Traffic,
}

impl DhtNode {
    /// Binds and begins. Must be called on a tokio runtime.
    pub fn start(config: DhtConfig) -> Result<DhtNode, DhtError> {
        let names = config.bootstrap.iter().map(|name| BootstrapName::parse(name)).collect::<Result<Vec<_>, _>>()?;
        let sockets = bind(&config.addresses)?;
        let local_addrs: Vec<SocketAddr> = sockets.iter().map(DhtSocket::local_addr).collect();
        let has = |family| local_addrs.iter().any(|address| Family::of(address.ip()) == family);
        let node = dht::Config { v4: has(Family::V4), v6: has(Family::V6), ..config.node };
        let (mut seed, mut jitter_seed) = ([0; 32], [0; 8]);
        getrandom::fill(&mut seed).and_then(|()| getrandom::fill(&mut jitter_seed)).map_err(DhtError::NoRandomness)?;
        let mut dht = Dht::new(node, seed, 0);
        if let Some(path) = &config.state_path {
            state_file::load(path, &mut dht);
        }
        let schedule = Schedule::new(config.times, u64::from_be_bytes(jitter_seed));
        let state = Mutex::new(State { dht, schedule, traffic: Traffic::default() });
        let shared = Arc::new(Shared { started: Instant::now(), state, changed: Notify::new() });
        let (stop, stopped) = watch::channel(false);
        let driver = Driver::new(Arc::clone(&shared), sockets, config.state_path);
        Ok(DhtNode {
            handle: DhtHandle { shared: Arc::clone(&shared) },
            local_addrs,
            stop,
            driver: tokio::spawn(driver.run(stopped)),
            bootstrap: tokio::spawn(bootstrap::resolve_all(names, shared)),
        })
    }

    /// Where its sockets are bound, one a family.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// A handle of it.
    pub fn handle(&self) -> DhtHandle {
        self.handle.clone()
    }

    /// Stops, and keeps what the next start should know.
    pub async fn stop(self) {
        self.bootstrap.abort();
        let _ = self.stop.send(true);
        let _ = self.driver.await;
    }
}

impl DhtHandle {
    /// Announces a torrent and looks for its peers from now on. Not so a private one: `None`.
    pub fn add_torrent(&self, torrent: DhtTorrent) -> Option<DhtTorrentId> {
        if torrent.is_private {
            return None;
        }
        let id = self.shared.lock().schedule.add(self.shared.now(), torrent);
        self.shared.changed.notify_one();
        Some(id)
    }

    /// Ends that. Others forget our announces by themselves.
    pub fn remove(&self, id: DhtTorrentId) {
        let mut state = self.shared.lock();
        for lookup in state.schedule.remove(id) {
            state.dht.cancel(lookup);
        }
    }

    /// Tries whether there is a node: one that a peer's PORT message, a magnet or a torrent tells of.
    pub fn add_node(&self, address: SocketAddr) {
        self.shared.lock().dht.add_node(self.shared.now(), address);
        self.shared.changed.notify_one();
    }

    /// How it does.
    pub fn status(&self) -> DhtStatus {
        let State { dht, schedule, traffic } = &*self.shared.lock();
        DhtStatus {
            v4: dht.status(Family::V4),
            v6: dht.status(Family::V6),
            torrents: schedule.torrent_count(),
            lookups: schedule.lookup_count(),
            overdue: schedule.overdue_count(self.shared.now()),
            stored_peers: dht.stored_peers(),
            sent_bytes: traffic.sent_bytes,
            received_bytes: traffic.received_bytes,
            unsent: traffic.unsent,
            counters: dht.counters(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }
}

/// One socket for each family that has an address.
fn bind(addresses: &[SocketAddr]) -> Result<Vec<DhtSocket>, DhtError> {
    let mut families = HashSet::new();
    let first = addresses.iter().filter(|address| families.insert(address.is_ipv4()));
    let sockets = first.map(|&address| DhtSocket::bind(address).map_err(|source| DhtError::Bind { address, source }));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    if sockets.is_empty() { Err(DhtError::NoAddress) } else { Ok(sockets) }
}

#[cfg(test)]
mod tests;
