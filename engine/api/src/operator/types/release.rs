//! Releases of published trees as the operator sees them.

use serde::{Deserialize, Serialize};

/// How far a release is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    /// It was seen and is not still yet.
    Settling,
    /// It waits for its turn, or is being hashed.
    Hashing,
    /// It is served to some only, until its time.
    Embargoed,
    /// It is served and in the feeds.
    Published,
    /// It is gone from the tree and has its grace.
    Gone,
    /// It is served no longer.
    Withdrawn,
    /// It cannot be published because of the row's `error`.
    Failed,
}

/// A release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// Its number, which it keeps; none before it was hashed for the first time.
    pub id: Option<u64>,
    /// The label of its `[[publish]]` entry.
    pub publish: String,
    /// Its path beneath the root.
    pub path: String,
    /// How far it is.
    pub state: ReleaseState,
    /// What it waits for, or why it has failed, as one line.
    pub error: Option<String>,
    /// Its torrent's number, once there is one.
    pub torrent_id: Option<u64>,
    /// 40 hex digits, of v1 and hybrid torrents.
    pub info_hash_v1: Option<String>,
    /// 64 hex digits, of v2 and hybrid torrents.
    pub info_hash_v2: Option<String>,
    /// The size of its content.
    pub size_bytes: u64,
    /// When it was published, in seconds since 1970.
    pub published_at_s: Option<i64>,
    /// Until when it is under embargo, in seconds since 1970.
    pub opens_at_s: Option<i64>,
}

/// A part of the list of releases, by rising number; those that have none come last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReleasePage {
    /// The releases.
    pub releases: Vec<ReleaseRow>,
    /// Where to go on; `None` at the end.
    pub next_after: Option<u64>,
}
