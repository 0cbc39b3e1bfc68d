//! All that is not a torrent, written: releases, settings, feeds, deliveries.

use hash::Sha256Digest;
use rusqlite::Connection;

use super::torrents::mark_unkept;
use super::{WriteError, bounded, bounded_bytes};
use crate::convert::{int, path_bytes};
use crate::delivery::{Delivery, DeliveryNumber};
use crate::feed::{FeedItem, FeedState};
use crate::limits::{DELIVERIES_MAX, DELIVERY_BYTES_MAX, FEED_ITEMS_MAX, WITHDRAWN_MAX};
use crate::release::{Release, ReleaseNumber, ReleaseOutput, ReleaseState};
use crate::torrent::TorrentNumber;

pub(super) fn put_release(connection: &Connection, release: &Release) -> Result<(), WriteError> {
    connection
        .prepare_cached(
            "INSERT INTO release VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET label = ?2, path = ?3, torrent = ?4, state = ?5, published_at_s = ?6,
             gone_since_s = ?7, withdrawn_at_s = ?8",
        )?
        .execute((
            release.number.0,
            bounded("a label", &release.label)?,
            bounded_bytes("a path", path_bytes(&release.path))?,
            release.torrent.map(|number| number.0),
            release.state.word(),
            release.published_at_s,
            release.gone_since_s,
            release.withdrawn_at_s,
        ))?;
    if release.state == ReleaseState::Withdrawn {
        connection
            .prepare_cached(
                "DELETE FROM release WHERE id IN (SELECT id FROM release WHERE state = 'withdrawn'
                 ORDER BY withdrawn_at_s DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([int(WITHDRAWN_MAX)])?;
    }
    mark_release(connection, release.number)
}

pub(super) fn release_sums(
    connection: &Connection,
    number: ReleaseNumber,
    sums: &[Sha256Digest],
) -> Result<(), WriteError> {
    let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.0).collect();
    connection.prepare_cached("INSERT OR REPLACE INTO release_sums VALUES (?1, ?2)")?.execute((number.0, bytes))?;
    mark_release(connection, number)
}

pub(super) fn release_outputs(
    connection: &Connection,
    number: ReleaseNumber,
    outputs: &[ReleaseOutput],
) -> Result<(), WriteError> {
    connection.prepare_cached("DELETE FROM release_output WHERE release = ?1")?.execute([number.0])?;
    let mut insert = connection.prepare_cached("INSERT INTO release_output VALUES (?1, ?2, ?3)")?;
    for output in outputs {
        let path = bounded_bytes("a path", path_bytes(&output.path))?;
        insert.execute((number.0, path, output.sha256.0))?;
    }
    mark_release(connection, number)
}

pub(super) fn remove_release(connection: &Connection, number: ReleaseNumber) -> Result<(), WriteError> {
    mark_release(connection, number)?;
    connection.prepare_cached("DELETE FROM release WHERE id = ?1")?.execute([number.0])?;
    Ok(())
}

/// A release is in the second copy of its torrent.
fn mark_release(connection: &Connection, number: ReleaseNumber) -> Result<(), WriteError> {
    let mut query = connection.prepare_cached("SELECT torrent FROM release WHERE id = ?1")?;
    let mut rows = query.query([number.0])?;
    match rows.next()?.map(|row| row.get::<_, Option<i64>>(0)).transpose()?.flatten() {
        Some(torrent) => mark_unkept(connection, crate::torrent::TorrentNumber(torrent)),
        None => Ok(()),
    }
}

pub(super) fn setting(connection: &Connection, key: &str, value: Option<&str>) -> Result<(), WriteError> {
    let key = bounded("a key", key)?;
    match value {
        Some(value) => connection
            .prepare_cached("INSERT OR REPLACE INTO setting VALUES (?1, ?2)")?
            .execute((key, bounded("a value", value)?))?,
        None => connection.prepare_cached("DELETE FROM setting WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}

pub(super) fn put_feed(connection: &Connection, feed: &FeedState) -> Result<(), WriteError> {
    connection
        .prepare_cached(
            "INSERT INTO feed VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET url = ?2, etag = ?3, last_modified = ?4, polled_at_s = ?5",
        )?
        .execute((
            bounded("a name", &feed.name)?,
            bounded("a URL", &feed.url)?,
            feed.etag.as_deref().map(|etag| bounded("an ETag", etag)).transpose()?,
            feed.last_modified.as_deref().map(|time| bounded("a time", time)).transpose()?,
            feed.polled_at_s,
        ))?;
    Ok(())
}

pub(super) fn remove_feed(connection: &Connection, name: &str) -> Result<(), WriteError> {
    connection.prepare_cached("DELETE FROM feed WHERE name = ?1")?.execute([name])?;
    Ok(())
}

pub(super) fn put_items(connection: &Connection, items: &[FeedItem]) -> Result<(), WriteError> {
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO feed_item VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    for item in items {
        insert.execute((
            &item.feed,
            item.item.0,
            item.state.word(),
            bounded("a title", &item.title)?,
            // Magnet links may be longer than other text.
            item.url.as_deref(),
            item.torrent.map(|number| number.0),
            int(item.size_bytes),
            item.attempts,
            item.next_try_at_s,
            item.met_at_s,
            item.reason.as_deref(),
        ))?;
    }
    let mut feeds: Vec<&str> = items.iter().map(|item| &*item.feed).collect();
    feeds.dedup();
    for feed in feeds {
        forget_items(connection, feed)?;
    }
    Ok(())
}

pub(super) fn forget_items_of(connection: &Connection, number: TorrentNumber) -> Result<(), WriteError> {
    connection.prepare_cached("DELETE FROM feed_item WHERE torrent = ?1")?.execute([number.0])?;
    Ok(())
}

/// Drops what was not met for longest, beyond the limit; what waits goes last.
fn forget_items(connection: &Connection, feed: &str) -> Result<(), WriteError> {
    let mut count = connection.prepare_cached("SELECT count(*) FROM feed_item WHERE feed = ?1")?;
    let count: i64 = count.query_row([feed], |row| row.get(0))?;
    if count <= int(FEED_ITEMS_MAX) {
        return Ok(());
    }
    let dropped = connection
        .prepare_cached(
            "DELETE FROM feed_item WHERE feed = ?1 AND item IN (SELECT item FROM feed_item WHERE feed = ?1
             ORDER BY state = 'waiting' DESC, met_at_s DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((feed, int(FEED_ITEMS_MAX)))?;
    tracing::warn!(feed, dropped, "the feed has more items than are remembered");
    Ok(())
}

pub(super) fn put_delivery(connection: &Connection, delivery: &Delivery) -> Result<(), WriteError> {
    if delivery.body.len() > DELIVERY_BYTES_MAX {
        return Err(WriteError::Refused(format!("a delivery is longer than {DELIVERY_BYTES_MAX} bytes")));
    }
    connection.prepare_cached("INSERT INTO delivery VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute((
        delivery.number.0,
        bounded("a target", &delivery.target)?,
        bounded("an event", &delivery.event)?,
        &delivery.body,
        delivery.queued_at_s,
        delivery.attempts,
        delivery.next_try_at_s,
    ))?;
    // What is told must not be held up by somebody who is not there to hear it.
    let dropped = connection
        .prepare_cached(
            "DELETE FROM delivery WHERE id IN
             (SELECT id FROM delivery WHERE target = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((&delivery.target, int(DELIVERIES_MAX)))?;
    if dropped > 0 {
        tracing::warn!(dropped, "more deliveries wait for a target than are kept; the oldest are dropped");
    }
    Ok(())
}

pub(super) fn delivery_failed(
    connection: &Connection,
    number: DeliveryNumber,
    attempts: u32,
    next_try_at_s: i64,
) -> Result<(), WriteError> {
    connection.prepare_cached("UPDATE delivery SET attempts = ?2, next_try_at_s = ?3 WHERE id = ?1")?.execute((
        number.0,
        attempts,
        next_try_at_s,
    ))?;
    Ok(())
}

pub(super) fn remove_target(connection: &Connection, target: &str) -> Result<(), WriteError> {
    connection.prepare_cached("DELETE FROM delivery WHERE target = ?1")?.execute([target])?;
    Ok(())
}

pub(super) fn remove_deliveries(connection: &Connection, numbers: &[DeliveryNumber]) -> Result<(), WriteError> {
    let mut delete = connection.prepare_cached("DELETE FROM delivery WHERE id = ?1")?;
    for number in numbers {
        delete.execute([number.0])?;
    }
    Ok(())
}
