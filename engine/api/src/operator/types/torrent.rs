//! Torrents as the operator sees them: rows of the list, one in detail, and its peers, trackers and files.

use serde::{Deserialize, Serialize};

/// What is being done with a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TorrentState {
    /// Nothing, because the operator or a limit said so.
    Stopped,
    /// Peers are asked what the magnet link stands for.
    Resolving,
    /// Its content is being read and compared.
    Checking,
    /// What is lacking is fetched.
    Fetching,
    /// It would be fetched, but the disk takes no more.
    Paused,
    /// All of it is there, and being made to last.
    Finishing,
    /// All that is wanted of it is there, though it is not the whole torrent.
    Partial,
    /// It is complete and served.
    Seeding,
    /// It is complete and served, but nobody has asked for a while: nothing of it is in memory.
    Resting,
    /// Its content is being moved to another place.
    Moving,
    /// It is neither served nor fetched because of the row's `error`.
    Failed,
}

/// A torrent in the list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TorrentRow {
    /// Its number, which it keeps.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// 40 hex digits, of v1 and hybrid torrents.
    pub info_hash_v1: Option<String>,
    /// 64 hex digits, of v2 and hybrid torrents.
    pub info_hash_v2: Option<String>,
    /// What is being done with it.
    pub state: TorrentState,
    /// Why it has failed, is paused or was stopped by a limit, as one line.
    pub error: Option<String>,
    /// The size of its content, pads left out; 0 until a magnet link is resolved.
    pub size_bytes: u64,
    /// What is wanted of it.
    pub wanted_bytes: u64,
    /// What of that is verified and there.
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
    /// The group whose limits apply.
    pub group: Option<String>,
    /// How it came here: `added`, `publish:LABEL`, `subscribe:NAME`.
    pub origin: String,
    /// When it was added, in seconds since 1970.
    pub added_at_s: i64,
    /// When it was complete, in seconds since 1970.
    pub completed_at_s: Option<i64>,
    /// Until when it is under embargo, in seconds since 1970.
    pub opens_at_s: Option<i64>,
}

impl TorrentRow {
    /// What was sent for each byte of content.
    pub fn ratio(&self) -> f64 {
        self.uploaded_bytes as f64 / self.size_bytes.max(1) as f64
    }
}

/// A part of the list of torrents, by rising number.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TorrentPage {
    /// The torrents.
    pub torrents: Vec<TorrentRow>,
    /// Where to go on; `None` at the end. A page may hold fewer torrents than asked for, even none, and not be the last.
    pub next_after: Option<u64>,
}

/// All about one torrent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TorrentDetail {
    /// What the list tells.
    #[serde(flatten)]
    pub row: TorrentRow,
    /// Where its content lies.
    pub content_path: String,
    /// Whether it is private (BEP 27).
    pub is_private: bool,
    /// Bytes of a piece; 0 until a magnet link is resolved.
    pub piece_length_bytes: u32,
    /// Its pieces.
    pub piece_count: u32,
    /// Its files, pads left out.
    pub file_count: u32,
    /// Its magnet link.
    pub magnet: String,
    /// Tiers of announce URLs; keys in our own tracker's URLs are left out.
    pub tracker_tiers: Vec<Vec<String>>,
    /// Its own upload limit.
    pub upload_limit_bytes_per_s: Option<u64>,
    /// Its own download limit.
    pub download_limit_bytes_per_s: Option<u64>,
    /// The ratio at which it stops, whoever said so.
    pub seed_ratio_limit: Option<f64>,
    /// The time of seeding at which it stops, whoever said so.
    pub seed_time_limit_s: Option<u64>,
    /// How long it was seeded.
    pub seeded_s: u64,
    /// When a peer of its swarm first had all of it from us, in seconds since 1970.
    pub first_full_copy_at_s: Option<i64>,
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The peer.
    Incoming,
    /// We.
    Outgoing,
}

/// A connected peer, or a web seed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerRow {
    /// `address:port`, or the URL of a web seed.
    pub address: String,
    /// What it calls itself; it may say anything.
    pub client: String,
    /// Who opened the connection.
    pub direction: Direction,
    /// How much of the torrent it has, from 0 to 1.
    pub progress: f64,
    /// Payload to it, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Payload from it, over the last seconds.
    pub download_bytes_per_s: u64,
    /// Payload to it since it connected.
    pub uploaded_bytes: u64,
    /// Payload from it since it connected.
    pub downloaded_bytes: u64,
    /// It has everything.
    pub is_seed: bool,
    /// It wants something of us.
    pub is_interested: bool,
    /// We do not serve it at the moment.
    pub is_choked: bool,
    /// We want something of it.
    pub is_interesting: bool,
    /// It does not serve us at the moment.
    pub is_choking: bool,
    /// It was asked and has sent nothing for long.
    pub is_snubbed: bool,
}

/// The peers of a torrent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PeerPage {
    /// The peers.
    pub peers: Vec<PeerRow>,
    /// How many there are; more than `peers` if the list is cut.
    pub total_count: u64,
}

/// One line of announces: a URL by one family for one info-hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackerRow {
    /// The announce URL.
    pub url: String,
    /// Its tier, from 0.
    pub tier: u32,
    /// `ipv4` or `ipv6`, if it is announced to by families.
    pub family: Option<String>,
    /// `v1` or `v2`: which half of a hybrid is announced.
    pub version: String,
    /// What went wrong at the last announce; `None` if it went well or there was none.
    pub error: Option<String>,
    /// When an announce last went well, in seconds since 1970.
    pub last_success_at_s: Option<i64>,
    /// Until the next announce.
    pub next_announce_in_s: Option<u64>,
    /// Seeds that the tracker told of.
    pub seed_count: Option<u64>,
    /// Leeches that the tracker told of.
    pub leech_count: Option<u64>,
}

/// The trackers of a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrackerPage {
    /// By tier.
    pub trackers: Vec<TrackerRow>,
}

/// A file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRow {
    /// Its index in the torrent, pads counted.
    pub index: u64,
    /// With `/`, beneath the torrent's name.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it is fetched.
    pub is_wanted: bool,
}

/// A part of a torrent's files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FilePage {
    /// In the torrent's order, pads left out.
    pub files: Vec<FileRow>,
    /// The index behind which to go on; `None` at the end.
    pub next_after: Option<u64>,
}
