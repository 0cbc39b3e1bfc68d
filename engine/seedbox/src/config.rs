//! How an engine is set up.

use crate::state::StateDir;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// The port that peers connect to unless told otherwise: the first of those that BitTorrent clients commonly use above
/// the registered ones.
pub const DEFAULT_PORT: u16 = 51413;

/// The port of the tracker unless told otherwise, as most trackers have it.
pub const DEFAULT_TRACKER_PORT: u16 = 6969;

/// Connections from one address unless told otherwise. Many users may stand behind one address, and a user's client
/// opens few connections to one peer.
const CONNECTIONS_PER_ADDRESS: u32 = 1000;

/// How long nobody must be connected for a torrent before it goes to rest unless told otherwise: longer than most peers stay
/// away that lost their connection.
const REST_AFTER: Duration = Duration::from_secs(10 * 60);

/// An engine's settings. The defaults serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on for peers; port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// Shards, one a core; `None` is one on every core.
    pub shards: Option<usize>,
    /// The cores that shards are pinned to, in this order; `None` leaves the choice to the engine.
    pub cores: Option<Vec<usize>>,
    /// Reads of cold content that a device may have under way, by any path on it; devices that are not named have the default.
    pub device_reads: Vec<(PathBuf, usize)>,
    /// Payload and protocol bytes a second that all peers get together; `None` is without limit.
    pub upload_bytes_per_s: Option<NonZeroU64>,
    /// Payload and protocol bytes a second that all peers and web seeds may send us together; `None` is without limit.
    pub download_bytes_per_s: Option<NonZeroU64>,
    /// Peers that are unchoked at once; `None` is all that are interested.
    pub slots: Option<u32>,
    /// How long nobody must be connected for a torrent before it goes to rest, if it may: it is let go and loaded again when
    /// somebody asks for it.
    pub rest_after: Duration,
    /// Connections at once; `None` is as many as the process's descriptors allow.
    pub connections: Option<usize>,
    /// Connections at once from one address and on one shard.
    pub connections_per_address: u32,
    /// How long a shard lets events gather before a turn, while they come thick but one by one; zero serves each at once
    /// (`engine/decisions/busy-poll-and-steering.md`).
    pub turn_delay: Duration,
    /// Whether sockets get references to the page cache instead of copies (`engine/decisions/zero-copy-send.md`).
    pub zero_copy: bool,
    /// Whether peers are told of each other (BEP 11); of those of private torrents never.
    pub pex: bool,
    /// Whether torrents are announced to their trackers.
    pub announce: bool,
    /// Announces that one tracker is sent in a second, in one family.
    pub announces_per_s: u32,
    /// Announces under way at one HTTP tracker, each on a connection of its own that is kept for the next.
    pub announce_connections: usize,
    /// Our node of the DHT, if there is to be one. It learns of no private torrent.
    pub dht: Option<DhtSettings>,
    /// Whether torrents are announced on the local network, and neighbours heard (BEP 14). It learns of no private torrent.
    pub lsd: bool,
    /// Whether torrents are fetched from their web seeds too (BEP 19).
    pub web_seeds: bool,
    /// Whether a web seed on the internet may redirect into this host's own network, and one there be asked for URLs with a
    /// query. A torrent's maker chooses its web seeds, so only for torrents that are trusted.
    pub private_web_seeds: bool,
    /// Our own tracker, if there is to be one.
    pub tracker: Option<TrackerConfig>,
    /// Our name and version, as peers are told.
    pub client: String,
}

/// The settings of our node of the DHT (BEP 5). It listens where peers are listened for, on UDP.
#[derive(Debug, Clone)]
pub struct DhtSettings {
    /// Nodes to begin with, `HOST:PORT` each.
    pub bootstrap: Vec<String>,
    /// Where it keeps what it knows, if anywhere.
    pub state: Option<StateDir>,
}

impl DhtSettings {
    /// Beginning with the nodes that everybody begins with.
    pub fn new(state: Option<StateDir>) -> DhtSettings {
        DhtSettings { bootstrap: control::dht::DEFAULT_BOOTSTRAP.map(str::to_owned).to_vec(), state }
    }
}

/// Our own tracker's settings.
#[derive(Debug, Clone, Default)]
pub struct TrackerConfig {
    /// Addresses to listen on, HTTP (TCP) and UDP on the same port; port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// Serve every torrent that is announced, not only those that are served here.
    pub open: bool,
    /// How long peers are asked to wait between two announces; `None` is the tracker's own measure.
    pub interval: Option<Duration>,
    /// Listen on UDP alone: whoever started the engine answers HTTP there, with what
    /// [`Engine::tracker_service`](crate::Engine::tracker_service) gives. UDP answers nobody either before he says so with
    /// [`TrackerService::release`](control::tracker_service::TrackerService::release): he may have embargoes to set first.
    pub udp_only: bool,
    /// Addresses that peers reach us at, if others than those that they reach the tracker at.
    pub external: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: wildcard(DEFAULT_PORT),
            shards: None,
            cores: None,
            device_reads: Vec::new(),
            upload_bytes_per_s: None,
            download_bytes_per_s: None,
            slots: None,
            rest_after: REST_AFTER,
            connections: None,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            turn_delay: Duration::ZERO,
            zero_copy: false,
            pex: true,
            announce: true,
            announces_per_s: 500,
            announce_connections: 32,
            dht: None,
            lsd: false,
            web_seeds: true,
            private_web_seeds: false,
            tracker: None,
            client: concat!("Spillway ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Every address of the machine, in both families where it has both.
pub fn wildcard(port: u16) -> Vec<SocketAddr> {
    let v4 = SocketAddr::from(([0, 0, 0, 0], port));
    let v6 = SocketAddr::from(([0u16; 8], port));
    match has_ipv6() {
        true => vec![v4, v6],
        false => vec![v4],
    }
}

/// Whether the kernel knows IPv6: servers with it switched off are common.
fn has_ipv6() -> bool {
    socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).is_ok()
        && std::path::Path::new("/proc/net/if_inet6").exists()
}
