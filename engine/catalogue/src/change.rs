//! All that can be changed in the catalogue. Who submits several changes at once gets all of them or none.

use hash::Sha256Digest;

use crate::content_place::ContentPlace;
use crate::delivery::{Delivery, DeliveryNumber};
use crate::feed::{FeedItem, FeedState};
use crate::metainfo_row::Metainfo;
use crate::release::{Release, ReleaseNumber, ReleaseOutput};
use crate::torrent::{Fault, NewTorrent, Tiers, TorrentLimits, TorrentNumber, TorrentTotals, Wanted};
use std::sync::Arc;

/// A change.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A torrent is new. Refused if one of its info-hashes or its number is known.
    AddTorrent(Box<NewTorrent>),
    /// A torrent goes, with its metainfo, record and second copy. One that is not there is gone already.
    RemoveTorrent(TorrentNumber),
    /// Something of a torrent changes. Refused if there is no such torrent.
    Torrent(TorrentNumber, TorrentChange),
    /// What torrents did in their lives. Those that are gone are passed over.
    Totals(Vec<(TorrentNumber, TorrentTotals)>),
    /// A release is new, or all that its row says is replaced. Its sums and outputs stay.
    PutRelease(Release),
    /// The SHA-256 of each of a release's files, in the order of the torrent.
    ReleaseSums(ReleaseNumber, Vec<Sha256Digest>),
    /// What was written for a release, in place of what was there. Put here before the files are written, so that a crash
    /// leaves none that nobody knows.
    ReleaseOutputs(ReleaseNumber, Vec<ReleaseOutput>),
    /// A release is forgotten.
    RemoveRelease(ReleaseNumber),
    /// A setting was changed at run time; without a value it is as the file says.
    Setting {
        /// Its key.
        key: String,
        /// Its value.
        value: Option<String>,
    },
    /// A feed is followed, or was read.
    PutFeed(FeedState),
    /// A feed is followed no more: it and what was seen in it are forgotten.
    RemoveFeed(String),
    /// Something became of items of feeds.
    PutItems(Vec<FeedItem>),
    /// The items that a torrent was made of were never seen.
    ForgetItems(TorrentNumber),
    /// A message waits to be delivered.
    PutDelivery(Delivery),
    /// A delivery failed, and is tried again.
    DeliveryFailed {
        /// Which.
        number: DeliveryNumber,
        /// How often it was tried.
        attempts: u32,
        /// When it is tried next, in seconds since 1970.
        next_try_at_s: i64,
    },
    /// A target is gone, with all that waits for it.
    RemoveTarget(String),
    /// Deliveries are over: arrived, given up or dropped.
    RemoveDeliveries(Vec<DeliveryNumber>),
}

/// What may change of a torrent.
#[derive(Clone, PartialEq, Debug)]
pub enum TorrentChange {
    /// A magnet link was resolved: name, sizes, info-hashes and trackers are those of the metainfo from now on. Refused if
    /// it is not a torrent file, or another torrent's.
    Metainfo(Metainfo),
    /// Its content was verified ([`storage::VerifiedRecord::encode`]), or is not any more.
    Verified(Option<Vec<u8>>),
    /// It is to be at work, or not.
    Wanted(Wanted),
    /// Its group.
    Group(Option<Arc<str>>),
    /// Its own limits.
    Limits(TorrentLimits),
    /// Its trackers.
    Tiers(Tiers),
    /// Its content lies there now. Ends a move.
    Content(ContentPlace),
    /// Its content is being moved there; `None` takes the move back.
    MovingTo(Option<ContentPlace>),
    /// All of it was there, at this time, or is not any more.
    Completed(Option<i64>),
    /// The swarm had a first full copy, at this time.
    FirstCopy(Option<i64>),
    /// It is under embargo until then.
    ReleaseAt(Option<i64>),
    /// Something is wrong with it, or nothing any more.
    Fault(Option<Fault>),
}
