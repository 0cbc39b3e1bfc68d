//! Feeds that are followed, and what was seen in them.

use hash::Sha256Digest;

use crate::torrent::TorrentNumber;

/// A feed that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedState {
    /// The subscription's name.
    pub name: String,
    /// Where it is. Another URL under the same name is another feed: what the old one's server said of itself is void.
    pub url: String,
    /// What the server calls the state that was read last.
    pub etag: Option<String>,
    /// When that state was from, in the server's words.
    pub last_modified: Option<String>,
    /// When it was read last, in seconds since 1970.
    pub polled_at_s: Option<i64>,
}

/// An item of a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedItem {
    /// The subscription's name.
    pub feed: String,
    /// The SHA-256 of what identifies the item: as long as the server likes, so only the digest is kept.
    pub item: Sha256Digest,
    /// What became of it.
    pub state: ItemState,
    /// Its title.
    pub title: String,
    /// Where its torrent is: a URL or a magnet link. Needed as long as it waits.
    pub url: Option<String>,
    /// The torrent that was made of it.
    pub torrent: Option<TorrentNumber>,
    /// How large its content is; zero if not known.
    pub size_bytes: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, in seconds since 1970.
    pub next_try_at_s: Option<i64>,
    /// When it was met in the feed last.
    pub met_at_s: i64,
    /// Why it was skipped or failed.
    pub reason: Option<String>,
}

/// What became of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemState {
    /// The rules did not want it, or it was there before the subscription.
    Skipped,
    /// It is to be fetched, now or at its next try.
    Waiting,
    /// Its torrent is in the catalogue, or was until somebody removed it.
    Taken,
    /// It was tried as often as it may be.
    Failed,
}
