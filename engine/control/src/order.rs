//! What the program may want of control, and what control works with.

use crate::announcer::Announcer;
use crate::bell::ControlBell;
use crate::control::ShardLink;
use crate::discovery::Discovery;
use crate::fetch::NewFetch;
use crate::news::News;
use crate::operator::TorrentOrder;
use crate::registry::NewTorrent;
use crate::resolve::Resolver;
use crate::rest::{AtRest, TorrentSource};
use crate::status::{Recent, Status, Summary};
use crate::tracker_service::TrackerService;
use crate::web_seed::WebSeedClients;
use mesh::{EventMailbox, ShardHistograms, TorrentId, TorrentNames};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tracker::OwnSeed;

/// Orders that wait for control at most; whoever has one more waits.
pub const ORDERS_LIMIT: usize = 1024;

/// What control works with.
pub struct ControlParts {
    /// Where time starts, the same as for the shards.
    pub start: Instant,
    /// One link a shard.
    pub links: Vec<Arc<ShardLink>>,
    /// The names of all torrents, as the shards see them.
    pub names: Arc<TorrentNames>,
    /// How long nobody must be connected for a torrent before it goes to rest, if it may.
    pub rest_after: Duration,
    /// Where the shards report.
    pub events: Arc<EventMailbox>,
    /// What they ring.
    pub bell: Arc<ControlBell>,
    /// What the program wants; [`ORDERS_LIMIT`] wait at most.
    pub orders: mpsc::Receiver<Order>,
    /// Where what happens is told.
    pub news: News,
    /// Our id in handshakes and announces.
    pub peer_id: [u8; 20],
    /// The tracker client, if anything is announced.
    pub announcer: Option<Announcer>,
    /// What finds peers beside trackers.
    pub discovery: Discovery,
    /// Asks peers what magnet links stand for.
    pub resolver: Resolver,
    /// The clients of web seeds, if any are asked.
    pub web_seeds: Option<Arc<WebSeedClients>>,
    /// Our own tracker, if there is one.
    pub tracker: Option<TrackerService>,
    /// Where our peers connect to, as our own tracker hands it out.
    pub own_seeds: Arc<[OwnSeed]>,
    /// Peers unchoked at once, on all shards together; `None` is without limit.
    pub slots: Option<u32>,
    /// Connections that each shard takes at most.
    pub connections_per_shard: usize,
}

/// What the program may want of control.
pub enum Order {
    /// Serve a torrent.
    Add {
        /// The torrent.
        torrent: NewTorrent,
        /// Its number, once all shards have been told.
        reply: oneshot::Sender<Result<TorrentId, AddError>>,
    },
    /// Serve torrents when somebody asks for them.
    AddMany {
        /// The torrents.
        torrents: Vec<AtRest>,
        /// The number of each, or why it has none.
        reply: oneshot::Sender<Vec<Result<TorrentId, AddError>>>,
    },
    /// Let a torrent rest while nobody wants it, once all of it is there.
    LetRest {
        /// Its number.
        id: TorrentId,
        /// Where it comes from again.
        source: Arc<dyn TorrentSource>,
    },
    /// Fetch a torrent, and serve it.
    Fetch {
        /// The torrent.
        fetch: Box<NewFetch>,
        /// Its number, at once; how far it is stands in the status.
        reply: oneshot::Sender<Result<TorrentId, AddError>>,
    },
    /// Something about one torrent.
    About {
        /// Its number.
        id: TorrentId,
        /// What is wanted.
        order: TorrentOrder,
    },
    /// Other numbers of peers for all torrents together.
    SetShare {
        /// Peers unchoked at once; `None` is without limit.
        slots: Option<u32>,
        /// Connections that each shard takes at most.
        connections_per_shard: usize,
    },
    /// Another pace of announces at each tracker.
    SetAnnouncing {
        /// Announces a second.
        announces_per_s: u32,
        /// Connections at once.
        connections_per_host: usize,
    },
    /// Tell in a few numbers how things are, whatever there is of them.
    Summary {
        /// Where to.
        reply: oneshot::Sender<Summary>,
    },
    /// Tell how the torrents are that have moved.
    Recent {
        /// Where to.
        reply: oneshot::Sender<Recent>,
    },
    /// Tell how everything is but for torrents and lines of announces.
    Overview {
        /// Where to.
        reply: oneshot::Sender<Status>,
    },
    /// Tell how everything is.
    Status {
        /// Where to.
        reply: oneshot::Sender<Status>,
    },
    /// Tell what the shards have measured, all together.
    Measure {
        /// Where to.
        reply: oneshot::Sender<Box<ShardHistograms>>,
    },
    /// Tell how many shards have had a turn since this was asked; those that are stuck are not waited for.
    Pulse {
        /// Where to.
        reply: oneshot::Sender<usize>,
    },
    /// Stop everything.
    Stop {
        /// The longest wait for sends in flight and for the trackers.
        grace: Duration,
        /// Told when it is done: whether every shard has ended.
        reply: oneshot::Sender<bool>,
    },
}

/// A torrent could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// One of its info-hashes is served or fetched already.
    #[error("{name}: is already being served")]
    Duplicate {
        /// The torrent's name.
        name: String,
    },
}

/// What was ordered of a torrent cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It may have been removed meanwhile.
    #[error("the engine has no torrent {}", id.0)]
    Unknown {
        /// The number that was given.
        id: TorrentId,
    },
    /// Its content is not what it was.
    #[error("{name}: {reason}; recheck it before it is started")]
    Changed {
        /// The torrent's name.
        name: String,
        /// The file and what is wrong with it.
        reason: String,
    },
    /// Its fetch has failed.
    #[error("{name}: {reason}; fetch it anew")]
    FetchFailed {
        /// The torrent's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A check would read what is being written.
    #[error("{name}: is being fetched; fetch it anew to have its files checked")]
    BeingFetched {
        /// The torrent's name.
        name: String,
    },
    /// It is not known yet what it is.
    #[error("{name}: a torrent is fetched anew by its torrent file, not by a link")]
    Unresolved {
        /// The torrent's name.
        name: String,
    },
    /// The metainfo that came with the order is another torrent's.
    #[error("{name}: that is another torrent")]
    OtherTorrent {
        /// The torrent's name.
        name: String,
    },
    /// It has and had no embargo.
    #[error("{name}: is under no embargo")]
    NoEmbargo {
        /// The torrent's name.
        name: String,
    },
    /// Too many look at peers at once.
    #[error("too many lists of peers are being made; ask again in a moment")]
    Busy,
}
