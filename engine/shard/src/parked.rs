//! Torrents at rest, as a shard sees them: it knows nothing of them until a handshake names one. That connection waits here,
//! untouched, while control has the torrent loaded. Also how a shard lets go of a torrent that nobody is connected for.

use crate::connection::Connection;
use crate::event_loop::Shard;
use crate::limits::{LOAD_LIMIT, PARKED_BYTES_LIMIT, PARKED_LIMIT};
use crate::table::Key;
use mesh::{DropReason, Event, TorrentId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The connections of one shard that wait for their torrents.
#[derive(Default)]
pub(crate) struct Parked {
    by_torrent: BTreeMap<TorrentId, Waiting>,
    count: usize,
    /// What they said so far.
    bytes: usize,
}

/// Those that wait for one torrent.
struct Waiting {
    /// Some may have ended meanwhile.
    keys: Vec<Key>,
    /// Control has been told. If its mailbox was full, it is told again.
    is_asked: bool,
}

impl Parked {
    fn has_room(&self, connection: &Connection) -> bool {
        self.count < PARKED_LIMIT && self.bytes + connection.inbox.len() <= PARKED_BYTES_LIMIT
    }
}

impl Shard {
    /// A handshake has named a torrent that is at rest. The connection, which is out of the table, waits with all that it has
    /// said.
    pub(crate) fn park(&mut self, key: Key, mut connection: Box<Connection>, id: TorrentId) {
        if !self.parked.has_room(&connection) {
            return self.close(key, *connection, DropReason::TooManyParked);
        }
        connection.parked_at = Some(self.now);
        self.parked.count += 1;
        self.parked.bytes += connection.inbox.len();
        self.link.counters.parked.add(1);
        self.table.put(key, connection);
        let waiting = self.parked.by_torrent.entry(id).or_insert(Waiting { keys: Vec::new(), is_asked: false });
        waiting.keys.push(key);
        if !waiting.is_asked {
            waiting.is_asked = self.link.events.post(Event::Wanted { id }).is_ok();
        }
    }

    /// The torrent is here: those that waited for it go on, as if their handshakes had just come.
    pub(crate) fn resume_parked(&mut self, id: TorrentId) {
        let Some(waiting) = self.parked.by_torrent.remove(&id) else { return };
        for key in waiting.keys {
            let Some(mut connection) = self.table.take(key) else { continue };
            self.forget_parked(&mut connection);
            connection.has_backlog = true;
            self.table.put(key, connection);
            self.enqueue(key);
        }
    }

    /// The torrent will not come: those that wait for it are let go.
    pub(crate) fn refuse_parked(&mut self, id: TorrentId, reason: DropReason) {
        let Some(waiting) = self.parked.by_torrent.remove(&id) else { return };
        for key in waiting.keys {
            if let Some(connection) = self.table.take(key) {
                self.close(key, *connection, reason);
            }
        }
    }

    /// Takes a connection out of the books of those that wait, if it is in them.
    pub(crate) fn forget_parked(&mut self, connection: &mut Connection) {
        if connection.parked_at.take().is_some() {
            self.parked.count -= 1;
            self.parked.bytes -= connection.inbox.len();
            self.link.counters.parked.subtract(1);
        }
    }

    /// Tells control again what found no room in its mailbox, and forgets those who have ended.
    pub(crate) fn tick_parked(&mut self) {
        let Shard { parked, table, link, .. } = self;
        parked.by_torrent.retain(|id, waiting| {
            waiting.keys.retain(|key| table.get_mut(*key).is_some());
            waiting.is_asked = waiting.is_asked || link.events.post(Event::Wanted { id: *id }).is_ok();
            !waiting.keys.is_empty()
        });
    }

    /// Lets go of a torrent, unless somebody is connected for it.
    pub(crate) fn rest_torrent(&mut self, id: TorrentId, ticket: u32) {
        let slot = self.torrents.find_id(id);
        let is_used = slot.and_then(|slot| self.torrents.get(slot)).is_some_and(|served| {
            served.leech.is_some() || served.task.counters.shard(self.config.shard).peers.get() > 0
        });
        if let Some(slot) = slot.filter(|_| !is_used) {
            self.drop_torrent(slot);
        }
        self.report(Event::Rested { id, ticket, is_kept: is_used });
    }
}

/// Whether a connection has waited too long for its torrent, or too long with its handshake.
pub(crate) fn check_waiting(connection: &Connection, now: Duration, handshake: Duration) -> Result<(), DropReason> {
    match connection.parked_at {
        Some(at) if now.saturating_sub(at) >= LOAD_LIMIT => Err(DropReason::LoadTimeout),
        Some(_) => Ok(()),
        None if now.saturating_sub(connection.opened_at) >= handshake => Err(DropReason::HandshakeTimeout),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
