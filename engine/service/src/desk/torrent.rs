//! What the desk is told of torrents, and what it tells: plain values without behaviour of their own. What the catalogue
//! keeps is in its words.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use api::operator::types::TorrentState;
use catalogue::{ContentPlace, DeliveryNumber, Origin, ReleaseNumber, StopCause, Tiers, TorrentLimits, TorrentNumber};
use hash::{Sha1Digest, Sha256Digest};
use metainfo::{Magnet, Torrent};
use storage::VerifiedRecord;
use swarm::SuperSeeding;

/// A release that was hashed, and is about to be published.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The name of its tree.
    pub label: Arc<str>,
    /// The release's path in it.
    pub path: PathBuf,
    /// What it is.
    pub torrent: Arc<Torrent>,
    /// The whole torrent file.
    pub metainfo: Vec<u8>,
    /// Where its content lies.
    pub content: ContentPlace,
    /// The states in which its files were hashed.
    pub record: VerifiedRecord,
    /// The SHA-256 of each file, in the order of the torrent; empty where they are not wanted.
    pub file_sha256: Vec<Sha256Digest>,
    /// The group whose limits it shares.
    pub group: Option<Arc<str>>,
    /// Its own limits.
    pub limits: TorrentLimits,
    /// When it opens to everybody, in seconds since 1970, if that is not at once. Who may have it before is the tree's to
    /// say, in the settings.
    pub opens_at_s: Option<i64>,
}

/// A release that the catalogue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its torrent.
    pub torrent: TorrentNumber,
    /// The release.
    pub release: ReleaseNumber,
}

/// A torrent that is added: what is there of its content is verified, what lacks is fetched.
#[derive(Debug, Clone)]
pub struct NewTorrent {
    /// What it is.
    pub source: FetchSource,
    /// Who brings it.
    pub origin: Origin,
    /// Where its content lies, or goes. What is called otherwise than the torrent must be there: it is verified, not fetched.
    pub content: ContentPlace,
    /// The files that are wanted, as globs; all if there are none.
    pub files: Vec<String>,
    /// The group whose limits it shares.
    pub group: Option<Arc<str>>,
    /// Its own limits.
    pub limits: TorrentLimits,
    /// Keep it, but neither serve nor fetch it until it is started.
    pub is_stopped: bool,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
}

/// What a torrent is known by.
#[derive(Debug, Clone)]
pub enum FetchSource {
    /// A torrent file.
    File(Vec<u8>),
    /// A magnet link.
    Magnet(Box<Magnet>),
}

/// What of a torrent's limits is to change: what is `None` stays, `Some(None)` takes the torrent's own away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitChange {
    /// The group whose limits it shares.
    pub group: Option<Option<Arc<str>>>,
    /// Upload; zero is without limit.
    pub upload_bytes_per_s: Option<Option<u64>>,
    /// Download; zero is without limit.
    pub download_bytes_per_s: Option<Option<u64>>,
    /// It is stopped when so many thousandths of its size were uploaded; zero is never.
    pub seed_ratio_permille: Option<Option<u64>>,
    /// It is stopped when it was seeded for so long; zero is never.
    pub seed_time_s: Option<Option<u64>>,
    /// When it is super-seeded.
    pub super_seeding: Option<Option<SuperSeeding>>,
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
    /// Its name; of a link that is not resolved, the one that it shows.
    pub name: Box<str>,
    /// Of v1 and hybrid torrents.
    pub info_hash_v1: Option<Sha1Digest>,
    /// Of v2 and hybrid torrents.
    pub info_hash_v2: Option<Sha256Digest>,
    /// What is being done with it.
    pub state: TorrentState,
    /// Why it has failed, is paused or was stopped by a limit.
    pub error: Option<String>,
    /// Bytes of its content; 0 until a link is resolved.
    pub size_bytes: u64,
    /// How many pieces it has.
    pub piece_count: u32,
    /// Peers may come from its trackers only.
    pub is_private: bool,
    /// Bytes of it that are wanted.
    pub wanted_bytes: u64,
    /// Bytes of those that are there and verified, or compared so far while it is checked.
    pub verified_bytes: u64,
    /// Payload sent since it was added.
    pub uploaded_bytes: u64,
    /// Payload received since it was added.
    pub downloaded_bytes: u64,
    /// Payload sent, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Payload received, over the last seconds.
    pub download_bytes_per_s: u64,
    /// Connected peers.
    pub peer_count: u64,
    /// How long it was seeded.
    pub seeded_s: u64,
    /// Who brought it.
    pub origin: Origin,
    /// The content's path.
    pub content_path: PathBuf,
    /// The group whose limits it shares.
    pub group: Option<Arc<str>>,
    /// Its own limits.
    pub limits: TorrentLimits,
    /// Why it is stopped, if it is.
    pub stopped: Option<StopCause>,
    /// Its trackers.
    pub tiers: Tiers,
    /// When it was added, in seconds since 1970.
    pub added_at_s: i64,
    /// When all of it was there.
    pub completed_at_s: Option<i64>,
    /// When the swarm had a first full copy beside ours.
    pub first_copy_at_s: Option<i64>,
    /// Until when it is under embargo.
    pub opens_at_s: Option<i64>,
}

/// All torrents together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many are in each state.
    pub by_state: HashMap<TorrentState, u64>,
    /// How many are releases.
    pub published_count: u64,
    /// Payload sent in their lives.
    pub uploaded_bytes: u64,
    /// Payload received in their lives.
    pub downloaded_bytes: u64,
    /// Payload received, over the last seconds.
    pub download_bytes_per_s: u64,
}

/// What became of content that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it lies now.
    pub content_path: PathBuf,
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
    Published,
    /// A release's embargo ended.
    Opened,
    /// A release is gone from feeds, trackers and peers.
    Withdrawn {
        /// The message that tells of it and waits in the catalogue; none of one that was never published.
        message: Option<DeliveryNumber>,
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
