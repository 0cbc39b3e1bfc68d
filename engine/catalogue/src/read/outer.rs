//! All that is not a torrent, read: releases, settings, feeds, deliveries.

use std::path::PathBuf;

use hash::Sha256Digest;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::convert::{Columns, digest_at, int, os_str};
use crate::delivery::{Delivery, DeliveryNumber};
use crate::feed::{FeedItem, FeedState, ItemState};
use crate::release::{Release, ReleaseNumber, ReleaseOutput, ReleaseState};
use crate::torrent::TorrentNumber;

const RELEASE_COLUMNS: &str = "id, label, path, torrent, state, published_at_s, gone_since_s, withdrawn_at_s";

/// Every release, by its number.
pub(crate) fn releases(connection: &Connection) -> rusqlite::Result<Vec<Release>> {
    let sql = format!("SELECT {RELEASE_COLUMNS} FROM release ORDER BY id");
    connection.prepare_cached(&sql)?.query_map([], release)?.collect()
}

/// The release that a torrent is.
pub(crate) fn release_of_torrent(connection: &Connection, number: TorrentNumber) -> rusqlite::Result<Option<Release>> {
    let sql = format!("SELECT {RELEASE_COLUMNS} FROM release WHERE torrent = ?1 ORDER BY id DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([number.0], release).optional()
}

fn release(row: &Row<'_>) -> rusqlite::Result<Release> {
    let mut columns = Columns::of(row);
    Ok(Release {
        number: ReleaseNumber(columns.take()?),
        label: columns.take::<String>()?.into(),
        path: path(&columns.take::<Vec<u8>>()?),
        torrent: columns.take::<Option<i64>>()?.map(TorrentNumber),
        state: columns.word(ReleaseState::from_word)?,
        published_at_s: columns.take()?,
        gone_since_s: columns.take()?,
        withdrawn_at_s: columns.take()?,
    })
}

/// The SHA-256 of each of a release's files.
pub(crate) fn release_sums(
    connection: &Connection,
    number: ReleaseNumber,
) -> rusqlite::Result<Option<Vec<Sha256Digest>>> {
    let mut query = connection.prepare_cached("SELECT sums FROM release_sums WHERE release = ?1")?;
    let sums: Option<Vec<u8>> = query.query_row([number.0], |row| row.get(0)).optional()?;
    Ok(sums.map(|sums| sums.as_chunks().0.iter().copied().map(Sha256Digest).collect()))
}

/// What was written for a release.
pub(crate) fn release_outputs(connection: &Connection, number: ReleaseNumber) -> rusqlite::Result<Vec<ReleaseOutput>> {
    let mut query =
        connection.prepare_cached("SELECT path, sha256 FROM release_output WHERE release = ?1 ORDER BY path")?;
    let read = |row: &Row<'_>| Ok(ReleaseOutput { path: path(&row.get::<_, Vec<u8>>(0)?), sha256: digest_at(row, 1)? });
    query.query_map([number.0], read)?.collect()
}

/// Every setting that was changed at run time.
pub(crate) fn settings(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut query = connection.prepare_cached("SELECT key, value FROM setting ORDER BY key")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// A feed that is followed.
pub(crate) fn feed(connection: &Connection, name: &str) -> rusqlite::Result<Option<FeedState>> {
    let mut query =
        connection.prepare_cached("SELECT name, url, etag, last_modified, polled_at_s FROM feed WHERE name = ?1")?;
    let read = |row: &Row<'_>| {
        let mut columns = Columns::of(row);
        Ok(FeedState {
            name: columns.take()?,
            url: columns.take()?,
            etag: columns.take()?,
            last_modified: columns.take()?,
            polled_at_s: columns.take()?,
        })
    };
    query.query_row([name], read).optional()
}

const ITEM_COLUMNS: &str =
    "feed, item, state, title, url, torrent, size_bytes, attempts, next_try_at_s, met_at_s, reason";

fn item(row: &Row<'_>) -> rusqlite::Result<FeedItem> {
    let mut columns = Columns::of(row);
    Ok(FeedItem {
        feed: columns.take()?,
        item: Sha256Digest(columns.take()?),
        state: columns.word(ItemState::from_word)?,
        title: columns.take()?,
        url: columns.take()?,
        torrent: columns.take::<Option<i64>>()?.map(TorrentNumber),
        size_bytes: columns.amount()?,
        attempts: columns.take()?,
        next_try_at_s: columns.take()?,
        met_at_s: columns.take()?,
        reason: columns.take()?,
    })
}

/// One item of a feed.
pub(crate) fn feed_item(connection: &Connection, feed: &str, key: &Sha256Digest) -> rusqlite::Result<Option<FeedItem>> {
    let sql = format!("SELECT {ITEM_COLUMNS} FROM feed_item WHERE feed = ?1 AND item = ?2");
    connection.prepare_cached(&sql)?.query_row((feed, key.0), item).optional()
}

/// The items of a feed that are still to be fetched, the next one first.
pub(crate) fn waiting_items(connection: &Connection, feed: &str, count: u64) -> rusqlite::Result<Vec<FeedItem>> {
    let sql = format!(
        "SELECT {ITEM_COLUMNS} FROM feed_item WHERE feed = ?1 AND state = 'waiting' ORDER BY next_try_at_s LIMIT ?2"
    );
    connection.prepare_cached(&sql)?.query_map((feed, int(count)), item)?.collect()
}

/// How many torrents of a feed are in the catalogue, and how large they are together.
pub(crate) fn feed_taken(connection: &Connection, feed: &str) -> rusqlite::Result<(u64, u64)> {
    let mut query = connection.prepare_cached(
        "SELECT count(*), total(size_bytes) FROM torrent WHERE origin = 'subscribed' AND origin_label = ?1",
    )?;
    query.query_row([feed], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, f64>(1)? as u64)))
}

/// Whether an item of another feed than this one stands for the torrent.
pub(crate) fn is_of_other_feeds(connection: &Connection, feed: &str, number: TorrentNumber) -> rusqlite::Result<bool> {
    let mut query =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM feed_item WHERE torrent = ?1 AND feed <> ?2)")?;
    query.query_row((number.0, feed), |row| row.get(0))
}

/// At most so many deliveries for `target`, those that wait longest first.
pub(crate) fn deliveries(connection: &Connection, target: &str, count: u64) -> rusqlite::Result<Vec<Delivery>> {
    let mut query = connection.prepare_cached(
        "SELECT id, target, event, body, queued_at_s, attempts, next_try_at_s FROM delivery
         WHERE target = ?1 ORDER BY id LIMIT ?2",
    )?;
    let read = |row: &Row<'_>| {
        let mut columns = Columns::of(row);
        Ok(Delivery {
            number: DeliveryNumber(columns.take()?),
            target: columns.take()?,
            event: columns.take()?,
            body: columns.take()?,
            queued_at_s: columns.take()?,
            attempts: columns.take()?,
            next_try_at_s: columns.take()?,
        })
    };
    query.query_map((target, int(count)), read)?.collect()
}

/// How many deliveries wait for each target.
pub(crate) fn delivery_counts(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut query = connection.prepare_cached("SELECT target, count(*) FROM delivery GROUP BY target")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?.collect()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(os_str(bytes))
}
