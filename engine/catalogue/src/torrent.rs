//! A torrent as the catalogue knows it. Light: ten thousand of them are read at a start, and share what they can.

use std::path::PathBuf;
use std::sync::Arc;

use hash::{InfoHash, Sha1Digest, Sha256Digest};
use metainfo::{Magnet, Torrent};
use swarm::SuperSeeding;

use crate::content_place::ContentPlace;
use crate::metainfo_row::Metainfo;

/// A torrent's number in the catalogue, from one. It survives restarts and is never given to another torrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentNumber(pub i64);

/// Tracker URLs in tiers (BEP 12), shared by torrents that have the same.
pub type Tiers = Arc<[Vec<String>]>;

/// A torrent, without its metainfo.
#[derive(Clone, PartialEq, Debug)]
pub struct TorrentRow {
    /// Its number ([`crate::Catalogue::next_torrent`]).
    pub number: TorrentNumber,
    /// The SHA-1 of `info`, for v1 and hybrid torrents.
    pub info_hash_v1: Option<Sha1Digest>,
    /// The SHA-256 of `info`, for v2 and hybrid torrents.
    pub info_hash_v2: Option<Sha256Digest>,
    /// The name under which old aria2 looks for a hybrid ([`Torrent::info_hash_without_empty_keys`]).
    pub info_hash_misread: Option<InfoHash>,
    /// Its name.
    pub name: Box<str>,
    /// What it measures; nothing as long as a magnet link is not resolved.
    pub shape: Option<Shape>,
    /// How it came here.
    pub origin: Origin,
    /// Where its content lies, or goes.
    pub content: ContentPlace,
    /// Where its content is being moved to. After a crash that move is gone on with, or taken back.
    pub moving_to: Option<ContentPlace>,
    /// Whether it is to be served, or fetched.
    pub wanted: Wanted,
    /// The group whose limits it shares.
    pub group: Option<Arc<str>>,
    /// Its own limits.
    pub limits: TorrentLimits,
    /// Its trackers, as they are announced to.
    pub tiers: Tiers,
    /// When it was added, in seconds since 1970.
    pub added_at_s: i64,
    /// When all of it was there.
    pub completed_at_s: Option<i64>,
    /// When the swarm had a first full copy beside ours.
    pub first_copy_at_s: Option<i64>,
    /// Until then it is under embargo.
    pub release_at_s: Option<i64>,
    /// What it was uploaded, downloaded and seeded in its life.
    pub totals: TorrentTotals,
    /// What went wrong last, until it goes right.
    pub fault: Option<Fault>,
}

/// What a torrent measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// All files together, in bytes.
    pub size_bytes: u64,
    /// How many pieces it has.
    pub piece_count: u32,
    /// Whether peers may come from trackers only (BEP 27).
    pub is_private: bool,
}

/// How a torrent came here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The operator added it.
    Added,
    /// It is a release of a published tree.
    Published {
        /// The label of the tree.
        label: Arc<str>,
        /// The release's path in the tree.
        path: PathBuf,
    },
    /// A feed named it.
    Subscribed {
        /// The name of the subscription.
        label: Arc<str>,
        /// What the subscription calls the item.
        item: Box<str>,
    },
}

/// Whether a torrent is to be at work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Served, or fetched.
    Running,
    /// Neither.
    Stopped(StopCause),
}

/// Why a torrent is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopCause {
    /// The operator said so.
    Operator,
    /// It was uploaded as often as it should be.
    Ratio,
    /// It was seeded for as long as it should be.
    Time,
}

/// The limits that are a torrent's own. What is `None` is as its group says, or all torrents; what is zero is not limited,
/// whatever they say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TorrentLimits {
    /// Upload, in bytes a second.
    pub upload_bytes_per_s: Option<u64>,
    /// Download, in bytes a second.
    pub download_bytes_per_s: Option<u64>,
    /// Stop once it was uploaded so many thousandths of its size.
    pub seed_ratio_permille: Option<u64>,
    /// Stop once it was seeded so long.
    pub seed_time_s: Option<u64>,
    /// When it is super-seeded.
    pub super_seeding: Option<SuperSeeding>,
}

/// What a torrent did in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TorrentTotals {
    /// Payload sent, in bytes.
    pub uploaded_bytes: u64,
    /// Payload received and verified, in bytes.
    pub downloaded_bytes: u64,
    /// Time for which all of it was served, in seconds.
    pub seeded_s: u64,
}

/// What went wrong with a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// One line for the operator.
    pub text: String,
    /// When, in seconds since 1970.
    pub at_s: i64,
}

/// A torrent that is added, with all that is kept of it.
#[derive(Clone, PartialEq, Debug)]
pub struct NewTorrent {
    /// The torrent.
    pub row: TorrentRow,
    /// What it is.
    pub metainfo: Metainfo,
    /// That its content was verified ([`storage::VerifiedRecord::encode`]), if it was.
    pub verified: Option<Vec<u8>>,
}

impl NewTorrent {
    /// A running torrent of a torrent file. `bytes` is the file that `torrent` was read from.
    pub fn of_file(
        number: TorrentNumber,
        torrent: &Torrent,
        bytes: Vec<u8>,
        content: ContentPlace,
        origin: Origin,
        added_at_s: i64,
    ) -> NewTorrent {
        let mut row = TorrentRow::bare(number, torrent.layout().name(), content, origin, added_at_s);
        row.is_of(torrent);
        NewTorrent { row, metainfo: Metainfo::TorrentFile(bytes), verified: None }
    }

    /// A running torrent of a magnet link.
    pub fn of_magnet(
        number: TorrentNumber,
        magnet: &Magnet,
        content: ContentPlace,
        origin: Origin,
        added_at_s: i64,
    ) -> NewTorrent {
        let info_hash = magnet.info_hashes().next().map(|hash| hash.to_string()).unwrap_or_default();
        let name = magnet.name.as_deref().map_or(&*info_hash, short);
        let mut row = TorrentRow::bare(number, name, content, origin, added_at_s);
        (row.info_hash_v1, row.info_hash_v2) = (magnet.info_hash_v1, magnet.info_hash_v2);
        row.tiers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
        NewTorrent { row, metainfo: Metainfo::Magnet(magnet.to_string()), verified: None }
    }
}

impl TorrentRow {
    fn bare(number: TorrentNumber, name: &str, content: ContentPlace, origin: Origin, added_at_s: i64) -> TorrentRow {
        TorrentRow {
            number,
            info_hash_v1: None,
            info_hash_v2: None,
            info_hash_misread: None,
            name: name.into(),
            shape: None,
            origin,
            content,
            moving_to: None,
            wanted: Wanted::Running,
            group: None,
            limits: TorrentLimits::default(),
            tiers: Arc::from([]),
            added_at_s,
            completed_at_s: None,
            first_copy_at_s: None,
            release_at_s: None,
            totals: TorrentTotals::default(),
            fault: None,
        }
    }

    /// Takes over what the metainfo says.
    pub(crate) fn is_of(&mut self, torrent: &Torrent) {
        (self.info_hash_v1, self.info_hash_v2) = (torrent.info_hash_v1(), torrent.info_hash_v2());
        self.info_hash_misread = torrent.info_hash_without_empty_keys();
        self.name = torrent.layout().name().into();
        self.shape = Some(Shape {
            size_bytes: torrent.layout().total_size(),
            piece_count: torrent.layout().piece_count(),
            is_private: torrent.is_private(),
        });
        self.tiers = torrent.trackers().into();
    }

    /// The names of the torrent's swarms, v1 first; two for a hybrid.
    pub fn info_hashes(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.info_hash_v1.map(InfoHash::from).into_iter().chain(self.info_hash_v2.map(InfoHash::from))
    }
}

/// A link may hold a name of any length; that of a file ends here.
fn short(name: &str) -> &str {
    const NAME_BYTES: usize = 255;
    &name[..name.floor_char_boundary(NAME_BYTES)]
}
