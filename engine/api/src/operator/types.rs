//! What the operator's API speaks of, as Rust and as JSON: requests, answers, errors. The JSON keys are a contract for
//! scripts: keys are added, never renamed. Sizes are bytes, rates bytes a second, times seconds since 1970 (UTC); units
//! are last in a name.

mod add;
mod error;
mod release;
mod request;
mod stats;
mod torrent;

pub use add::{AddTorrent, TorrentSource};
pub use error::{ErrorCode, OperatorError};
pub use release::{ReleasePage, ReleaseRow, ReleaseState};
pub use request::{
    LimitChange, ListTorrents, MoveTorrent, OperatorRequest, Paging, Recheck, Remove, Rescan, SuperSeedingMode,
    TorrentFilter, TorrentName, TorrentRef,
};
pub use stats::{ShardRow, Stats, TrackerServed, VersionInfo};
pub use torrent::{
    Direction, FilePage, FileRow, PeerPage, PeerRow, TorrentDetail, TorrentPage, TorrentRow, TorrentState, TrackerPage,
    TrackerRow,
};

use serde::{Deserialize, Serialize};

/// What the service says to a request.
pub type OperatorReply = Result<OperatorAnswer, OperatorError>;

/// A request that was understood and done, and what came of it.
#[derive(Clone, PartialEq, Debug)]
pub enum OperatorAnswer {
    /// Of [`OperatorRequest::List`].
    Torrents(TorrentPage),
    /// Of [`OperatorRequest::Show`].
    Torrent(Box<TorrentDetail>),
    /// Of [`OperatorRequest::Peers`].
    Peers(PeerPage),
    /// Of [`OperatorRequest::Trackers`].
    Trackers(TrackerPage),
    /// Of [`OperatorRequest::Files`].
    Files(FilePage),
    /// Of everything that is done to one torrent.
    Done(Done),
    /// Of [`OperatorRequest::Stats`].
    Stats(Box<Stats>),
    /// Of [`OperatorRequest::Reload`].
    Reloaded(Reloaded),
    /// Of [`OperatorRequest::Releases`].
    Releases(ReleasePage),
    /// Of [`OperatorRequest::Rescan`].
    Rescanning(Rescanning),
    /// Of [`OperatorRequest::Version`].
    Version(VersionInfo),
}

/// Something was done to one torrent, or has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// The torrent's number.
    pub id: u64,
    /// Its name; of a magnet link that is not resolved yet, what the link shows.
    pub name: String,
    /// 40 hex digits, of v1 and hybrid torrents.
    pub info_hash_v1: Option<String>,
    /// 64 hex digits, of v2 and hybrid torrents.
    pub info_hash_v2: Option<String>,
    /// What the operator should know beside that it worked, as one line.
    pub note: Option<String>,
}

/// What reading the settings again has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys whose change is in force.
    pub applied: Vec<String>,
    /// Parts of the settings that cannot be used as they are, each with why; what was there before is in force.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Keys whose change needs a restart; the old values are in force.
    pub needs_restart: Vec<String>,
}

/// Which trees are looked at again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rescanning {
    /// Labels of the `[[publish]]` entries.
    pub publish: Vec<String>,
}

/// Who asks, as the kernel knows it (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process, if it is known.
    pub pid: Option<i32>,
}
