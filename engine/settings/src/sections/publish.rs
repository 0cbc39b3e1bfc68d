//! `[[publish]]`: a tree that publishes itself.

use std::path::PathBuf;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::pattern::Glob;
use crate::{IpNet, Moment, Period, Rate, Secret, Size, SuperSeed, WebUrl};

/// A directory tree that publishes itself: what appears in it is hashed, announced, fed and served, what goes is withdrawn.
/// Once for each tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// What the tree is called, here and in `spillway ctl`. Keep it: what was published goes by it.
    pub name: String,
    /// The tree's path. Trees do not lie within each other.
    pub root: PathBuf,
    /// Globs over paths below the root; if there are any, only what matches one is seen. `*` stays within a name, `**` goes over
    /// folders.
    pub include: Vec<Glob>,
    /// Globs of what is not seen.
    pub exclude: Vec<Glob>,
    /// What is a release: the first of these rules that matches a path decides. A `file` is a release by itself, a
    /// `directory` is one with all that is in it, and what is to be left out is `ignore`.
    pub releases: Vec<Rule>,
    /// Where .torrent, .magnet, .meta4 and .sha256 are written, in the same folders as below the root. If unset, beside
    /// each release.
    pub output: Option<PathBuf>,
    /// The torrents' format: "hybrid" for every client, "v1" or "v2".
    pub format: Format,
    /// Bytes in a piece, a power of two. If unset, it is chosen by size.
    pub piece_length: Option<Size>,
    /// Whether the torrents name the tracker of `[tracker]`.
    pub own_tracker: bool,
    /// More trackers that the torrents name, in tiers: a list of lists of announce URLs.
    pub trackers: Vec<Vec<String>>,
    /// Web servers that hold the same tree (BEP 19): the path below the root is appended.
    pub web_seeds: Vec<WebUrl>,
    /// Mirrors that the Metalink names; the path below the root is appended.
    pub mirrors: Vec<Mirror>,
    /// How long a file must have kept its size and time before it is taken for whole.
    pub settle: Period,
    /// How long something must be gone before it is withdrawn.
    pub grace: Period,
    /// If more than ten releases, and more than this part of all, go at once, nothing is withdrawn until they are back or this
    /// is raised (and the settings reloaded): a disk that is not mounted is no deletion. In percent.
    pub max_withdraw_percent: u8,
    /// How changes are noticed: "inotify", "poll", or "auto", which polls on network file systems.
    pub watch: Watch,
    /// How often the whole tree is looked through although inotify says what changes.
    pub rescan: Period,
    /// How often the whole tree is looked through where that is the only way.
    pub poll: Period,
    /// Symbolic links below the root: "keep" them as links, "follow" those that stay within it, or "refuse" to publish what has
    /// any.
    pub symlinks: Symlinks,
    /// Embargo: until this time only `early_networks` and those who have `early_key` may fetch; then everything opens at
    /// once. A file NAME.release-at beside a release that holds such a time does the same for it alone.
    pub release_at: Option<Moment>,
    /// Networks that may fetch before the time has come.
    pub early_networks: Vec<IpNet>,
    /// Who announces to our tracker at http://HOST:PORT/KEY/announce may fetch before the time has come. Letters, digits, `-`
    /// and `_`, 16 or more.
    pub early_key: Option<Secret>,
    /// The releases' group in `[limits.groups]`. If unset, as `torrents.group` says.
    pub group: Option<String>,
    /// What the peers of one release get together. If unset, as `torrents.upload` says.
    pub upload: Option<Rate>,
    /// Super-seeding of these. If unset, as `peers.super_seed` says.
    pub super_seed: Option<SuperSeed>,
    /// Whether the torrents are private (BEP 27): found through their trackers only.
    pub private: bool,
    /// A note for people in each torrent.
    pub comment: Option<String>,
    /// A mark in each torrent that gives it an info-hash of its own.
    pub source: Option<String>,
}

/// What is a release; written as in `{ file = "*.iso" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Each file that matches.
    File(Glob),
    /// Each directory that matches, with all that is in it.
    Directory(Glob),
    /// Nothing that matches, nor what is in it.
    Ignore(Glob),
}

/// The format of new torrents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Version 1 and 2 in one file.
    #[default]
    Hybrid,
    /// SHA-1 (BEP 3).
    V1,
    /// SHA-256 trees (BEP 52).
    V2,
}

/// A mirror that the Metalink names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The URL of the same tree there.
    pub url: WebUrl,
    /// Its country, two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// 1 is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// By inotify, but by polling on network file systems.
    #[default]
    Auto,
    /// The kernel tells.
    Inotify,
    /// The tree is looked through again and again.
    Poll,
}

/// What is done with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Symlinks {
    /// Kept as links (BEP 47); their targets lie inside the release.
    #[default]
    Keep,
    /// What they point to is taken, if it lies inside the root.
    Follow,
    /// A release that has any is refused.
    Refuse,
}

impl Default for Publish {
    fn default() -> Publish {
        Publish {
            name: String::new(),
            root: PathBuf::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            releases: ["file", "directory"].into_iter().filter_map(everything).collect(),
            output: None,
            format: Format::Hybrid,
            piece_length: None,
            own_tracker: true,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            mirrors: Vec::new(),
            settle: Period::from_secs(30),
            grace: Period::from_secs(3600),
            max_withdraw_percent: 50,
            watch: Watch::Auto,
            rescan: Period::from_secs(900),
            poll: Period::from_secs(60),
            symlinks: Symlinks::Keep,
            release_at: None,
            early_networks: Vec::new(),
            early_key: None,
            group: None,
            upload: None,
            super_seed: None,
            private: false,
            comment: None,
            source: None,
        }
    }
}

/// A rule for all that lies directly below the root.
fn everything(kind: &str) -> Option<Rule> {
    let glob = "*".parse().ok()?;
    Some(if kind == "file" { Rule::File(glob) } else { Rule::Directory(glob) })
}

/// What the sample shows where a key is not set by default.
pub(crate) mod example {
    use std::num::NonZeroU64;

    use super::*;

    pub(crate) fn publish() -> Publish {
        Publish {
            name: "images".to_owned(),
            root: "/srv/releases".into(),
            include: "**/*.iso".parse().into_iter().collect(),
            exclude: "private/**".parse().into_iter().collect(),
            output: Some("/srv/torrents".into()),
            piece_length: Some(Size(1 << 20)),
            trackers: vec![vec!["udp://tracker.example.net:6969/announce".to_owned()]],
            web_seeds: "https://download.example.org/releases/".parse().into_iter().collect(),
            mirrors: "https://mirror.example.net/releases/"
                .parse()
                .into_iter()
                .map(|url| Mirror { url, location: Some("de".to_owned()), priority: Some(1) })
                .collect(),
            release_at: "2030-12-01T14:00:00Z".parse().ok(),
            early_networks: "192.0.2.0/24".parse().into_iter().collect(),
            early_key: Some(Secret::new("hidden-in-the-sample")),
            group: Some("releases".to_owned()),
            upload: Some(Rate(NonZeroU64::new(10_000_000))),
            super_seed: Some(SuperSeed::On),
            comment: Some("https://example.org/".to_owned()),
            source: Some("example.org".to_owned()),
            ..Publish::default()
        }
    }
}
