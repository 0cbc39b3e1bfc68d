//! What the desk is told of torrents, and what it tells: plain values without behaviour of their own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hash::{InfoHash, Sha256Digest};
use metainfo::{Magnet, Torrent};
use seedbox::SuperSeeding;
use storage::VerifiedRecord;

/// The number of a torrent in a state directory, which is given to no other there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentNumber(pub u32);

impl fmt::Display for TorrentNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Who brought a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An operator.
    Added,
    /// A publish root.
    Published {
        /// The root's name.
        root: Arc<str>,
        /// The release's path below it.
        path: PathBuf,
    },
    /// A feed that is followed.
    Subscribed {
        /// The subscription's name.
        name: Arc<str>,
        /// The feed's own name for the item.
        item: String,
    },
}

/// Where content lies and how it is laid there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPlace {
    /// The folder that holds it, or the content itself.
    pub path: PathBuf,
    /// The path is the content itself, whatever it is called there; else it lies below it under the torrent's own name.
    pub is_content_itself: bool,
    /// Symbolic links inside the content may lead anywhere.
    pub follows_links: bool,
}

/// Whether a torrent should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Served, or fetched.
    Running,
    /// Neither served nor announced.
    Stopped,
}

/// How one torrent is uploaded; what is not said here is the group's, or everybody's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TorrentTerms {
    /// The group that it belongs to.
    pub group: Option<Arc<str>>,
    /// Bytes a second that its peers get together; zero is without limit.
    pub upload_bytes_per_s: Option<u64>,
    /// Bytes a second that it is fetched with; zero is without limit.
    pub download_bytes_per_s: Option<u64>,
    /// It is stopped when so many times its size was uploaded.
    pub seed_ratio: Option<f64>,
    /// It is stopped when it was seeded for so long.
    pub seed_time: Option<Duration>,
    /// When it is super-seeded.
    pub super_seeding: Option<SuperSeeding>,
}

/// Who may fetch a release before its time.
#[derive(Clone, PartialEq, Eq)]
pub struct Embargo {
    /// When it opens to everybody.
    pub opens_at: SystemTime,
    /// Networks that may fetch before, as address and prefix length.
    pub networks: Vec<(IpAddr, u8)>,
    /// What those who announce to our own tracker with it may do so by.
    pub key: Option<Arc<str>>,
}

impl fmt::Debug for Embargo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_key = self.key.is_some();
        out.debug_struct("Embargo")
            .field("opens_at", &self.opens_at)
            .field("networks", &self.networks)
            .field("has_key", &has_key)
            .finish()
    }
}

/// A release that was hashed, and is about to be published.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The root's name.
    pub root: Arc<str>,
    /// The release's path below it.
    pub path: PathBuf,
    /// What it is.
    pub torrent: Arc<Torrent>,
    /// The whole torrent file.
    pub metainfo: Arc<[u8]>,
    /// Where its content lies.
    pub content: ContentPlace,
    /// The states in which its files were hashed.
    pub record: VerifiedRecord,
    /// The SHA-256 of each file; empty where they are not wanted.
    pub file_sha256: Vec<Option<Sha256Digest>>,
    /// How it is uploaded.
    pub terms: TorrentTerms,
    /// Who may fetch it before its time, if it has one.
    pub embargo: Option<Embargo>,
}

/// A torrent that an operator adds, with its content in place or to be fetched there.
#[derive(Debug, Clone)]
pub struct NewTorrent {
    /// What it is.
    pub source: FetchSource,
    /// Where its content lies, or goes.
    pub content: ContentPlace,
    /// How it is uploaded.
    pub terms: TorrentTerms,
    /// Whether it runs at once.
    pub wanted: Wanted,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
}

/// A torrent that a subscription found.
#[derive(Debug, Clone)]
pub struct NewFetch {
    /// What it is.
    pub source: FetchSource,
    /// Who found it.
    pub origin: Origin,
    /// The folder that receives its content under the torrent's own name.
    pub output: PathBuf,
    /// How it is uploaded.
    pub terms: TorrentTerms,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
}

/// What a torrent is known by.
#[derive(Debug, Clone)]
pub enum FetchSource {
    /// A torrent file.
    File(Arc<[u8]>),
    /// A magnet link.
    Magnet(Box<Magnet>),
}

/// What of a torrent's terms is to change; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitChange {
    /// Another group; an empty name takes it out of its group.
    pub group: Option<Arc<str>>,
    /// Bytes a second that its peers get together; zero is without limit.
    pub upload_bytes_per_s: Option<u64>,
    /// Bytes a second that it is fetched with; zero is without limit.
    pub download_bytes_per_s: Option<u64>,
    /// It is stopped when so many times its size was uploaded; zero is never.
    pub seed_ratio: Option<f64>,
    /// It is stopped when it was seeded for so long; zero is never.
    pub seed_time: Option<Duration>,
    /// When it is super-seeded.
    pub super_seeding: Option<SuperSeeding>,
}

/// Which torrents are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Those after this number.
    pub after: Option<TorrentNumber>,
    /// At most so many.
    pub limit: usize,
    /// Those of which the name contains this, whatever its case.
    pub name: Option<String>,
    /// Those of this group.
    pub group: Option<String>,
    /// Those in this state, by its first word as [`TorrentLine::state`] has it.
    pub state: Option<String>,
}

/// Some of the torrents, by number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The torrents.
    pub torrents: Vec<TorrentLine>,
    /// There are more after the last of them.
    pub has_more: bool,
}

/// One torrent at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TorrentLine {
    /// Its number.
    pub number: TorrentNumber,
    /// Its name.
    pub name: Arc<str>,
    /// Its info-hashes, v1 first.
    pub info_hashes: Vec<InfoHash>,
    /// Bytes of its content.
    pub size_bytes: u64,
    /// Who brought it.
    pub origin: Origin,
    /// What is being done with it: one word.
    pub state: &'static str,
    /// What to know about the state, or why it failed.
    pub note: Option<String>,
    /// Where its content lies.
    pub content: ContentPlace,
    /// How it is uploaded.
    pub terms: TorrentTerms,
    /// Bytes uploaded since it was added.
    pub uploaded_bytes: u64,
    /// Bytes downloaded since it was added.
    pub downloaded_bytes: u64,
    /// How long it was seeded.
    pub seeded: Duration,
    /// When it was added.
    pub added_at: SystemTime,
    /// When all of it was there.
    pub completed_at: Option<SystemTime>,
}

/// What became of a torrent that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where its content lies now.
    pub content: ContentPlace,
    /// Bytes that had to be copied; zero where a rename was enough.
    pub copied_bytes: u64,
}

/// Something happened to a torrent: what, and the torrent as it was right after that.
#[derive(Debug, Clone, PartialEq)]
pub struct DeskEvent {
    /// The torrent.
    pub torrent: Arc<TorrentLine>,
    /// What happened.
    pub what: Happened,
}

/// What may happen to a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A release is served, announced and in its feeds; or waits for its time, if it has one.
    Published {
        /// When it opens to everybody, if it waits.
        opens_at: Option<SystemTime>,
    },
    /// A release's embargo ended.
    Opened,
    /// A release is gone from feeds, trackers and peers.
    Withdrawn {
        /// Why.
        reason: String,
    },
    /// All of a fetch is there.
    Completed,
    /// Somebody else has all of it for the first time.
    FirstFullCopy,
    /// It is neither served nor fetched any more.
    Failed {
        /// The file and what is wrong with it.
        reason: String,
    },
    /// Its ratio or its time was reached, and it was stopped.
    LimitReached {
        /// Which limit.
        reason: String,
    },
    /// It is no longer known.
    Removed,
}
