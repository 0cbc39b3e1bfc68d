//! Changes, carried out in the transaction that the writer has open.

mod outer;
mod torrents;

use rusqlite::Connection;

use crate::change::Change;
use crate::limits::TEXT_BYTES_MAX;
use crate::read::row_count;

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// It contradicts what is there, or a limit.
    Refused(String),
    /// The database.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> WriteError {
        WriteError::Sqlite(error)
    }
}

/// Rows of the table whose limit refuses: counting them each time would cost more than a change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    torrents: u64,
}

impl Counts {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Counts> {
        Ok(Counts { torrents: row_count(connection, "torrent")? })
    }
}

/// Makes one change.
pub(crate) fn apply(connection: &Connection, counts: &mut Counts, change: &Change) -> Result<(), WriteError> {
    match change {
        Change::AddTorrent(new) => torrents::add(connection, counts, new),
        Change::RemoveTorrent(number) => torrents::remove(connection, counts, *number),
        Change::Torrent(number, change) => torrents::change(connection, *number, change),
        Change::Totals(totals) => torrents::add_up(connection, totals),
        Change::PutRelease(release) => outer::put_release(connection, release),
        Change::ReleaseSums(number, sums) => outer::release_sums(connection, *number, sums),
        Change::ReleaseOutputs(number, outputs) => outer::release_outputs(connection, *number, outputs),
        Change::RemoveRelease(number) => outer::remove_release(connection, *number),
        Change::Setting { key, value } => outer::setting(connection, key, value.as_deref()),
        Change::PutFeed(feed) => outer::put_feed(connection, feed),
        Change::RemoveFeed(name) => outer::remove_feed(connection, name),
        Change::PutItems(items) => outer::put_items(connection, items),
        Change::ForgetItems(number) => outer::forget_items_of(connection, *number),
        Change::PutDelivery(delivery) => outer::put_delivery(connection, delivery),
        Change::DeliveryFailed { number, attempts, next_try_at_s } => {
            outer::delivery_failed(connection, *number, *attempts, *next_try_at_s)
        }
        Change::RemoveTarget(target) => outer::remove_target(connection, target),
        Change::RemoveDeliveries(numbers) => outer::remove_deliveries(connection, numbers),
    }
}

/// Text from feeds, torrents and settings is kept if it is of any sensible length.
fn bounded<'a>(what: &str, text: &'a str) -> Result<&'a str, WriteError> {
    bounded_bytes(what, text.as_bytes()).map(|_| text)
}

fn bounded_bytes<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a [u8], WriteError> {
    if bytes.len() > TEXT_BYTES_MAX {
        let length = bytes.len();
        return Err(WriteError::Refused(format!("{what} of {length} bytes is longer than {TEXT_BYTES_MAX}")));
    }
    Ok(bytes)
}
