//! A release of a published tree, as the catalogue knows it.

use std::path::PathBuf;
use std::sync::Arc;

use hash::Sha256Digest;

use crate::torrent::TorrentNumber;

/// A release's number in the catalogue, from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReleaseNumber(pub i64);

/// A release. A path is one release at a time: the one that is not withdrawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Its number ([`crate::Catalogue::next_release`]).
    pub number: ReleaseNumber,
    /// The label of its tree.
    pub label: Arc<str>,
    /// Where it lies in the tree.
    pub path: PathBuf,
    /// Its torrent, as long as that is in the catalogue.
    pub torrent: Option<TorrentNumber>,
    /// How far it is.
    pub state: ReleaseState,
    /// When it was published, in seconds since 1970.
    pub published_at_s: Option<i64>,
    /// Since when its content is missing.
    pub gone_since_s: Option<i64>,
    /// When it was withdrawn.
    pub withdrawn_at_s: Option<i64>,
}

/// How far a release is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReleaseState {
    /// Its torrent is made and its outputs are being written. A start goes on with it.
    Preparing,
    /// It is served.
    Published,
    /// It was taken back.
    Withdrawn,
}

/// A file that was written for a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseOutput {
    /// Where.
    pub path: PathBuf,
    /// What was in it: another content is somebody else's, and not ours to replace.
    pub sha256: Sha256Digest,
}
