//! Connections that move between shards: whole, with what they were asked and what they have not said yet, through the
//! other shard's mailbox. Who moves and why is decided elsewhere; here it is done without losing a byte. Gossip about peers
//! (`exchange`) goes the same way.

use crate::connection::{Connection, Phase, Throttled};
use crate::doorbell::EventDoorbell;
use crate::event_loop::Shard;
use crate::exchange::Gossip;
use crate::table::Key;
use mesh::{DropReason, Full, Mailbox, TorrentId};
use std::sync::Arc;

/// Letters that wait to be read by one shard at most. Beyond it connections stay where they are; gossip is lost at half of it,
/// so that it never keeps a connection waiting.
const MAILBOX_CAPACITY: usize = 1024;

/// The mailboxes through which the shards of one engine hand each other connections, and tell of peers.
#[derive(Default)]
pub struct Neighbours {
    mailboxes: Box<[Mailbox<Letter, Arc<EventDoorbell>>]>,
}

/// What one shard sends another.
enum Letter {
    Connection(Handover),
    Gossip(Gossip),
}

/// A connection on its way.
struct Handover {
    connection: Box<Connection>,
    /// Its torrent, by the name that all shards know; none before the handshake.
    torrent: Option<TorrentId>,
}

/// Why a connection leaves its shard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It ends.
    Drop(DropReason),
    /// Another shard goes on with it.
    HandOver {
        /// Which.
        to: usize,
    },
    /// It waits until its torrent is loaded.
    Park {
        /// Which.
        id: TorrentId,
    },
    /// It is read again in the next turn.
    ReadAgain,
}

impl From<DropReason> for Leave {
    fn from(reason: DropReason) -> Leave {
        Leave::Drop(reason)
    }
}

impl Neighbours {
    /// The mailboxes of the shards that these bells wake, in the order of their numbers.
    pub fn new(doorbells: &[Arc<EventDoorbell>]) -> Neighbours {
        Neighbours { mailboxes: doorbells.iter().map(|bell| Mailbox::new(MAILBOX_CAPACITY, bell.clone())).collect() }
    }

    /// The shard that sees the whole swarm of a torrent, if one has to.
    pub(crate) fn home_of(&self, torrent: TorrentId) -> usize {
        torrent.0 as usize % self.mailboxes.len().max(1)
    }

    /// Says that a shard is about to sleep. False: a connection waits for it.
    pub(crate) fn prepare_to_sleep(&self, shard: usize) -> bool {
        self.mailboxes.get(shard).is_none_or(Mailbox::prepare_to_sleep)
    }

    /// Says that a shard is awake again.
    pub(crate) fn awake(&self, shard: usize) {
        if let Some(mailbox) = self.mailboxes.get(shard) {
            mailbox.awake();
        }
    }
}

impl Shard {
    /// Takes a connection that is out of the table from the books and gives it to another shard. If that shard has no
    /// room for it now, it stays.
    pub(crate) fn hand_over(&mut self, key: Key, connection: Box<Connection>, to: usize) {
        let neighbours = self.config.neighbours.clone();
        let Some(mailbox) = neighbours.mailboxes.get(to) else {
            return self.close(key, *connection, DropReason::UnknownTorrent);
        };
        let torrent = match &connection.phase {
            Phase::Peer(peer) => self.torrents.get(peer.torrent).map(|served| served.id),
            Phase::Greeting | Phase::Draining => None,
        };
        self.poller.remove_socket(&connection.socket);
        self.forget_peer(key, &connection, DropReason::ClosedByPeer);
        self.forget_connection(key, &connection);
        match mailbox.post(Letter::Connection(Handover { connection, torrent })) {
            Ok(()) => self.link.counters.handed_over.add(1),
            Err(Full(letter)) => self.read_letter(letter),
        }
    }

    /// Tells the other shards who came and who went.
    pub(crate) fn tell_neighbours(&mut self) {
        let others = self.config.neighbours.mailboxes.iter().enumerate().filter(|(n, _)| *n != self.config.shard);
        for (_, mailbox) in others {
            // A mailbox that is full is none to wait for: what they are told of is hearsay.
            for gossip in self.gossip.iter().take_while(|_| mailbox.is_half_free()) {
                let _ = mailbox.post(Letter::Gossip(*gossip));
            }
        }
        self.gossip.clear();
    }

    /// Takes up the connections that other shards have handed over.
    pub(crate) fn handle_handovers(&mut self) {
        let neighbours = self.config.neighbours.clone();
        let Some(mailbox) = neighbours.mailboxes.get(self.config.shard) else { return };
        while let Some(letter) = mailbox.take() {
            self.read_letter(letter);
        }
    }

    fn read_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Connection(handover) => self.adopt(handover),
            Letter::Gossip(gossip) => self.handle_gossip(gossip),
        }
    }

    /// Goes on with a connection as if it had been accepted here.
    fn adopt(&mut self, Handover { mut connection, torrent }: Handover) {
        if self.stopping.is_some() || self.table.len() >= self.config.connection_limit {
            let reason = if self.stopping.is_some() { DropReason::Stopping } else { DropReason::TooManyConnections };
            self.link.counters.count_drop(reason);
            return;
        }
        let from_address = self.by_address.get(&connection.address.ip()).copied().unwrap_or(0);
        if matches!(connection.phase, Phase::Greeting) && from_address >= self.config.connections_per_address {
            // Its first shard did not know of the others from there.
            self.link.counters.count_drop(DropReason::TooManyConnections);
            return;
        }
        if let Phase::Peer(peer) = &mut connection.phase {
            let Some(slot) = torrent.and_then(|id| self.torrents.find_id(id)) else {
                self.link.counters.count_drop(DropReason::TorrentGone);
                return;
            };
            peer.torrent = slot;
        }
        // What the kernel knows of the socket is told anew when it joins the set; what waited here for the disk, for
        // the upload limit or for its turn does so no more.
        connection.readable = true;
        connection.writable = true;
        connection.awaits_receive = false;
        connection.awaits_transmit = false;
        connection.throttled = Throttled::No;
        connection.starved = false;
        connection.cold_since = None;
        // Bytes of a handshake that was read elsewhere are read again.
        connection.has_backlog |= matches!(connection.phase, Phase::Greeting) && !connection.inbox.is_empty();
        let Some(key) = self.watch(&connection.socket) else { return };
        self.remember_connection(&connection);
        self.remember_peer(key, &mut connection);
        self.table.put(key, connection);
        self.enqueue(key);
    }

    /// Hands up to `count` peers that are being served to another shard, to even out what both carry. Peers for whom the
    /// disk or the pool is at work stay: the answer would not find them.
    pub(crate) fn shed(&mut self, to: usize, count: usize) {
        if self.stopping.is_some() || to == self.config.shard || self.disk.has_leaf_jobs() {
            return;
        }
        let mut keys = Vec::new();
        self.table.keys(&mut keys);
        let may_move = |connection: &Connection| match &connection.phase {
            // One shard must see its whole swarm.
            Phase::Peer(peer) if self.torrents.has_home(peer.torrent) => false,
            // With a limited number of slots an unchoked peer would lose its slot by moving.
            Phase::Peer(peer) => {
                let keeps_slot = self.choker.slots() == swarm::Slots::Unlimited || peer.session.is_choked();
                peer.session.is_interested() && keeps_slot && connection.cold_since.is_none()
            }
            Phase::Greeting | Phase::Draining => false,
        };
        let mut chosen = Vec::new();
        for key in keys {
            if chosen.len() == count {
                break;
            }
            if !self.super_seeding.is_revealing(key)
                && self.table.get_mut(key).is_some_and(|connection| may_move(connection))
            {
                chosen.push(key);
            }
        }
        for key in chosen {
            if let Some(connection) = self.table.take(key) {
                self.hand_over(key, connection, to);
            }
        }
    }
}
