//! Questions to the database.

mod outer;
mod torrents;

pub(crate) use outer::{
    deliveries, delivery_counts, feed, feed_item, feed_taken, is_of_other_feeds, release_of_torrent, release_outputs,
    release_sums, releases, settings, waiting_items,
};
pub(crate) use torrents::{each_torrent, find, metainfo, number_of_kept, one_torrent, verified};

use rusqlite::Connection;

/// The largest number that a table has ever given.
pub(crate) fn last_number(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let mut query = connection.prepare("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1")?;
    query.query_row([table], |row| row.get::<_, Option<i64>>(0)).map(|seq| seq.unwrap_or(0))
}

/// How many rows a table has.
pub(crate) fn row_count(connection: &Connection, table: &'static str) -> rusqlite::Result<u64> {
    connection
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}
