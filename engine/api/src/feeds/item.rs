//! What a feed says, before it is rendered.

use crate::releases::ReleaseKey;

/// What a feed says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedHead {
    /// Its name in paths: `/feeds/NAME.rss` and `/feeds/NAME.atom`. Letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What people read.
    pub title: String,
    /// The page of the project or site; the feed itself if there is none.
    pub page_url: Option<String>,
    /// What it is about.
    pub description: String,
    /// The language of the titles, as `en` or `de-AT`.
    pub language: Option<String>,
    /// Who publishes; the title if it is not said.
    pub author: Option<String>,
    /// Write the RSS as podcast clients like it.
    pub podcast: Option<Podcast>,
    /// How long a reader or a cache may keep it without asking.
    pub max_age_s: u32,
    /// The newest so many are in it.
    pub max_items: usize,
}

impl FeedHead {
    /// A feed of this name and title, and everything else as usual.
    pub fn new(name: &str, title: &str) -> FeedHead {
        FeedHead {
            name: name.to_owned(),
            title: title.to_owned(),
            page_url: None,
            description: title.to_owned(),
            language: None,
            author: None,
            podcast: None,
            max_age_s: 60,
            max_items: 100,
        }
    }
}

/// What podcast clients want to know beside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Podcast {
    /// One of the categories that directories know, for example `Technology`.
    pub category: Option<String>,
    /// A square picture.
    pub image_url: Option<String>,
    /// Whether it is not for children.
    pub is_explicit: bool,
}

/// A release in a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedItem {
    /// The torrent's name, by which its files are named: `NAME.torrent`.
    pub name: String,
    /// What people read; usually the name.
    pub title: String,
    /// More for people, without mark-up. May be empty.
    pub description: String,
    /// A page about the release.
    pub page_url: Option<String>,
    /// The info-hash by which its files are found, and by which readers know it again.
    pub key: ReleaseKey,
    /// The magnet link.
    pub magnet: String,
    /// When it was published, in seconds since 1970.
    pub published_at_s: i64,
    /// The size of the content.
    pub content_bytes: u64,
    /// The size of the `.torrent` file.
    pub torrent_bytes: u64,
    /// The size of the Metalink file, if there is one.
    pub metalink_bytes: Option<u64>,
}

impl FeedItem {
    /// What stays the same for as long as the release does, and when it comes back: the URN of its info-hash.
    pub fn guid(&self) -> String {
        match self.key {
            ReleaseKey::V1(hash) => format!("urn:btih:{hash}"),
            // 12 20: SHA-256 in 32 bytes, as a multihash (BEP 9).
            ReleaseKey::V2(hash) => format!("urn:btmh:1220{hash}"),
        }
    }
}
