//! From a magnet link to a torrent, before any shard hears of it: metadata from peers (BEP 9), then the piece layers of a
//! v2 or hybrid one (BEP 52). What is asked of whom and what is believed is decided in `swarm::MetadataFetch` and
//! `swarm::LayerFetch`; here are their connections, the clock and names. Trackers, DHT and local discovery yield addresses
//! elsewhere and pass them in.

mod connection;
mod drive;
mod fetching;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh::PeerOrigin;
use metainfo::{FileIndex, Magnet, Torrent, TorrentError};
use swarm::{LayerProgress, METADATA_LIMIT_BYTES, MetadataProgress};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use wire::PeerId;

use crate::announcer::resolve::Resolver as Names;
use drive::Driver;

/// How a [`Resolver`] presents itself, its limits and its switches.
#[derive(Clone, Debug)]
pub struct ResolveConfig {
    /// Our peer id (BEP 20).
    pub peer_id: PeerId,
    /// Our name and version.
    pub client: String,
    /// Where our peers connect to, if they can.
    pub listen_port: Option<u16>,
    /// Local addresses to dial from, at most one of each family; the system chooses where none is given.
    pub bind: Vec<IpAddr>,
    /// Whether IPv4 is dialled.
    pub v4: bool,
    /// Whether IPv6 is dialled.
    pub v6: bool,
    /// Whether peers may tell of others (BEP 11).
    pub pex: bool,
    /// Connections for one magnet link.
    pub connections: usize,
    /// Connections for all of them.
    pub connections_in_all: usize,
    /// The largest `info` that is fetched, in bytes.
    pub metadata_limit_bytes: u32,
    /// How long a hybrid's piece layers are waited for, counted from the last that came, before the torrent goes without.
    pub hybrid_patience: Duration,
    /// When to give up; `None` is never.
    pub give_up_after: Option<Duration>,
}

impl ResolveConfig {
    /// The defaults for a peer of this id and name.
    pub fn new(peer_id: PeerId, client: impl Into<String>) -> ResolveConfig {
        ResolveConfig {
            peer_id,
            client: client.into(),
            listen_port: None,
            bind: Vec::new(),
            v4: true,
            v6: true,
            pex: true,
            connections: 40,
            connections_in_all: 200,
            metadata_limit_bytes: METADATA_LIMIT_BYTES,
            hybrid_patience: Duration::from_secs(20),
            give_up_after: None,
        }
    }
}

/// Addresses where the torrent of a magnet link may be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundPeers {
    /// Who says so.
    pub origin: PeerOrigin,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
}

/// What became of a magnet link.
#[derive(Debug)]
pub struct Resolved {
    /// The torrent, with the link's trackers, each a tier of its own, and its web seeds.
    pub torrent: Torrent,
    /// A hybrid whose piece layers nobody gave: its pieces can be checked by their SHA-1 alone.
    pub lacks_layers: bool,
    /// The files that the link selects (BEP 53), counted with pads as the torrent lists them; `None` for all.
    pub selected: Option<Vec<FileIndex>>,
    /// Peers that answered, those that gave something first.
    pub peers: Vec<SocketAddr>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResolveProgress {
    /// Addresses that are known.
    pub known_count: usize,
    /// Peers that are connected.
    pub connected_count: usize,
    /// Peers that lied or flooded.
    pub banned_count: usize,
    /// The metadata.
    pub metadata: MetadataProgress,
    /// The piece layers, once the metadata is there and if there are any.
    pub layers: Option<LayerProgress>,
}

/// Why a magnet link came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The metadata is what the link names, and no torrent that can be used. The fault is its maker's.
    #[error("the torrent that the magnet link names cannot be used: {0}")]
    Unusable(#[from] TorrentError),
    /// No torrent has both hashes. The fault is the link's.
    #[error("the two info-hashes of the magnet link belong to different torrents")]
    HashesDisagree,
    /// Nobody had it in time.
    #[error("nobody gave {what} within {} s ({known_count} addresses, {answered_count} peers answered)", .after.as_secs())]
    TimedOut {
        /// What is missing.
        what: &'static str,
        /// The time.
        after: Duration,
        /// Addresses that were known.
        known_count: usize,
        /// Peers that answered.
        answered_count: usize,
    },
    /// The runtime has ended.
    #[error("stopped before the magnet link was resolved")]
    Stopped,
}

/// Resolves magnet links.
pub struct Resolver {
    shared: Arc<Shared>,
}

/// What all links share.
struct Shared {
    config: ResolveConfig,
    names: Arc<Names>,
    connections: Arc<Semaphore>,
}

impl Resolver {
    /// Nothing is under way yet.
    pub fn new(config: ResolveConfig) -> Resolver {
        let connections = Arc::new(Semaphore::new(config.connections_in_all));
        Resolver { shared: Arc::new(Shared { config, names: Arc::new(Names::new()), connections }) }
    }

    /// Begins with a link; addresses come by `found`, and by the link itself. Must be called on a tokio runtime. `seed` is
    /// random.
    pub fn resolve(&self, magnet: Magnet, found: mpsc::Receiver<FoundPeers>, seed: u64) -> Resolving {
        let (progress, watched) = watch::channel(ResolveProgress::default());
        let driver = Driver::new(Arc::clone(&self.shared), magnet, progress, seed);
        Resolving { task: tokio::spawn(driver.run(found)), progress: watched }
    }
}

/// A link that is being resolved. Dropping it ends that.
pub struct Resolving {
    task: JoinHandle<Result<Resolved, ResolveError>>,
    progress: watch::Receiver<ResolveProgress>,
}

impl Resolving {
    /// How far it is, a few times a second.
    pub fn progress(&self) -> watch::Receiver<ResolveProgress> {
        self.progress.clone()
    }

    /// Waits for the torrent.
    pub async fn finish(mut self) -> Result<Resolved, ResolveError> {
        (&mut self.task).await.unwrap_or(Err(ResolveError::Stopped))
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        // With the task go its connections.
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
