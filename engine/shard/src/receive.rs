//! From the socket to the session: bytes come in, messages go on. Also the handshake.

use crate::config::ShardConfig;
use crate::connection::{Connection, Peer, Phase};
use crate::event_loop::Shard;
use crate::handover::Leave;
use crate::leech::Flow;
use crate::limits::{LEAST_RECEIVE_BYTES, OUTBOX_LIMIT, RECEIVE_BYTES, THROTTLE_LEAST};
use crate::table::Key;
use crate::torrents::Slot;
use hash::{InfoHash, Sha256Digest};
use mesh::{DropReason, Event, Wakes};
use metainfo::Torrent;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::{Fault, HashAnswer, Opening, Ours, RateLimits, Reaction, Session};
use wire::{Handshake, HashRequest, Limits, Parsed, Reserved, Skipped};

/// What we can: the extension protocol, the fast extension and, for torrents that have it, v2.
const OURS: Reserved = Reserved::EXTENDED.with(Reserved::FAST).with(Reserved::V2);

impl Shard {
    /// Handles what is left from before, or reads once and handles what came.
    pub(crate) fn receive(&mut self, key: Key, connection: &mut Connection) -> Result<(), Leave> {
        if !may_receive(connection) {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.receive_buffer);
        let result = self.receive_into(key, connection, &mut buffer);
        self.receive_buffer = buffer;
        result
    }

    fn receive_into(&mut self, key: Key, connection: &mut Connection, buffer: &mut [u8]) -> Result<(), Leave> {
        let kept = connection.inbox.len();
        if connection.has_backlog {
            let inbox = std::mem::take(&mut connection.inbox);
            return self.handle_received(key, connection, &inbox);
        }
        let granted = self.download_limits(connection).map(|limits| {
            let granted = limits.take(self.now, RECEIVE_BYTES);
            if granted >= limits.least_grant(LEAST_RECEIVE_BYTES) {
                return Ok(granted);
            }
            limits.give_back(granted);
            Err(limits.next_available(self.now))
        });
        let limit = match granted {
            Some(Err(wait)) => {
                self.limit_reading(key, connection, wait);
                return Ok(());
            }
            Some(Ok(granted)) => granted,
            None => RECEIVE_BYTES,
        };
        let received = self.receive_at_most(connection, buffer, kept, limit);
        if let Some(limits) = self.download_limits(connection) {
            // An end takes nothing of the limits.
            limits.give_back(limit - received.as_ref().map_or(0, |received| *received));
        }
        let received = received?;
        match received {
            0 => Ok(()),
            _ => self.handle_received(key, connection, &buffer[..kept + received]),
        }
    }

    /// Reads once, behind what is kept of before; nothing if there is nothing now.
    fn receive_at_most(
        &self,
        connection: &mut Connection,
        buffer: &mut [u8],
        kept: usize,
        limit: usize,
    ) -> Result<usize, DropReason> {
        buffer[..kept].copy_from_slice(&connection.inbox);
        let room = &mut buffer[kept..kept + limit];
        let count = match rustix::net::recv(&connection.socket, &mut *room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(DropReason::ClosedByPeer),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => {
                connection.readable = false;
                return Ok(0);
            }
            Err(Errno::INTR) => return Ok(0),
            Err(Errno::CONNRESET | Errno::PIPE) => return Err(DropReason::ClosedByPeer),
            Err(_) => return Err(DropReason::Network),
        };
        self.link.counters.received_bytes.add(count as u64);
        if count < limit && !connection.ended {
            // The socket is empty; what comes later is a new event. An end that came with the bytes is not (epoll(7)).
            connection.readable = false;
        }
        Ok(count)
    }

    /// The limits of what comes by this connection, if it is there to bring something.
    fn download_limits(&self, connection: &Connection) -> Option<RateLimits<'_>> {
        let fetching = connection.fetching.as_ref()?;
        let slot = match &connection.phase {
            Phase::Peer(peer) => peer.torrent,
            Phase::Greeting | Phase::Draining => fetching.dialled?.torrent,
        };
        Some(self.torrents.get(slot)?.task.terms.download_limits(&self.config.download))
    }

    /// The connection is read again when the download limits allow it.
    fn limit_reading(&mut self, key: Key, connection: &mut Connection, wait: Duration) {
        connection.starved = true;
        let until = self.now + wait.max(THROTTLE_LEAST);
        self.limited_until = if self.limited.is_empty() { until } else { self.limited_until.min(until) };
        self.limited.push(key);
    }

    /// Handles whole messages and keeps what is left.
    fn handle_received(&mut self, key: Key, connection: &mut Connection, bytes: &[u8]) -> Result<(), Leave> {
        let used = match self.handle_bytes(key, connection, bytes) {
            Ok(used) => used,
            Err(leave) => {
                if !matches!(leave, Leave::Drop(_)) {
                    // The handshake is read again, and what came with it: by another shard, or later.
                    connection.inbox = bytes.to_vec();
                    connection.has_backlog = matches!(leave, Leave::ReadAgain);
                }
                return Err(leave);
            }
        };
        let stopped = connection.outbox.len() >= OUTBOX_LIMIT || connection.starved;
        connection.has_backlog = stopped && used < bytes.len();
        connection.inbox.clear();
        connection.inbox.extend_from_slice(&bytes[used..]);
        if connection.inbox.is_empty() {
            connection.inbox.shrink_to(0);
        }
        Ok(())
    }

    /// Handles whole messages and returns how many bytes they were.
    fn handle_bytes(&mut self, key: Key, connection: &mut Connection, bytes: &[u8]) -> Result<usize, Leave> {
        let mut used = 0;
        if let Phase::Greeting = connection.phase {
            match wire::parse_handshake(bytes).map_err(|_| DropReason::BadHandshake)? {
                Some(handshake) => self.greet(key, connection, &handshake)?,
                None => return Ok(0),
            }
            used = wire::HANDSHAKE_SIZE;
        }
        let Phase::Peer(Peer { torrent: slot, .. }) = connection.phase else {
            // What comes while we are draining is not heard any more.
            return Ok(bytes.len());
        };
        let Some(served) = self.torrents.get(slot) else { return Err(DropReason::TorrentGone.into()) };
        let limits = Limits::seed(served.torrent().layout().piece_count());
        loop {
            let skip = (connection.skip_bytes as usize).min(bytes.len() - used);
            connection.skip_bytes -= skip as u32;
            used += skip;
            if let Some(fetching) = &mut connection.fetching
                && let Some(incoming) = &mut fetching.incoming
            {
                used += incoming.take(&bytes[used..]);
                if !incoming.is_whole() {
                    return Ok(used);
                }
                if let Some(incoming) = fetching.incoming.take() {
                    fetching.received.add(incoming.size_bytes());
                    self.end_block(key, slot, incoming);
                }
            }
            if connection.outbox.len() >= OUTBOX_LIMIT {
                // It takes the answers to what it has said before it says more.
                return Ok(used);
            }
            match wire::parse(&bytes[used..], &limits).map_err(|_| DropReason::BadMessage)? {
                Parsed::Incomplete { .. } => return Ok(used),
                Parsed::Message { message, consumed } => {
                    used += consumed;
                    self.handle_message(key, connection, slot, message)?;
                }
                Parsed::Skip { skipped: Skipped::Piece { index, begin }, consumed, body_bytes }
                    if self.torrents.leech_mut(slot).is_some() =>
                {
                    match self.begin_block(key, connection, slot, (index, begin, body_bytes as u32))? {
                        Flow::Goes => used += consumed,
                        Flow::Waits => return Ok(used),
                    }
                }
                Parsed::Skip { skipped, consumed, body_bytes } => {
                    used += consumed;
                    connection.skip_bytes = body_bytes as u32;
                    self.handle_skipped(connection, skipped)?;
                }
            }
        }
    }

    fn handle_message(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        message: wire::Message<'_>,
    ) -> Result<(), DropReason> {
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::TorrentGone) };
        if served.leech.is_some() {
            return self.handle_leech_message(key, connection, slot, message);
        }
        if served.super_seed.is_some() {
            return self.handle_swarm_message(key, connection, slot, message);
        }
        let Phase::Peer(peer) = &mut connection.phase else { return Ok(()) };
        let out = connection.outbox.tail();
        let reaction =
            peer.session.handle_message(self.now, message, served.torrent(), out).map_err(|fault| reason(&fault))?;
        if matches!(message, wire::Message::Extended { id: 0, .. }) {
            served.note_extensions(key, connection, &mut self.gossip);
        }
        self.react(key, connection, slot, reaction);
        Ok(())
    }

    pub(crate) fn react(&mut self, key: Key, connection: &mut Connection, slot: Slot, reaction: Reaction) {
        match reaction {
            Reaction::None => {}
            Reaction::HasPiece(_) | Reaction::HasListed => self.note_copy(connection, slot),
            Reaction::HasRequests => connection.progress_at = self.now,
            Reaction::Refused => self.link.counters.requests_refused.add(1),
            Reaction::BecameInterested => {
                connection.progress_at = self.now;
                self.link.counters.interested.add(1);
                match self.torrents.leech_mut(slot) {
                    Some(leech) => leech.choker.handle_interested(key),
                    None => self.choker.handle_interested(key, self.now),
                }
            }
            Reaction::LostInterest => {
                self.link.counters.interested.subtract(1);
                match self.torrents.leech_mut(slot) {
                    Some(leech) => leech.choker.handle_not_interested(key),
                    None => self.choker.handle_not_interested(key),
                }
            }
            Reaction::WantsHashes(request) => self.plan_hashes(key, connection, slot, request),
            Reaction::HasDhtNode(port) => {
                // Hearsay: control may be too busy to hear it.
                let address = SocketAddr::new(connection.address.ip(), port);
                let _ = self.link.events.post(Event::DhtNode { address });
            }
        }
    }

    fn plan_hashes(&mut self, key: Key, connection: &mut Connection, slot: Slot, request: HashRequest) {
        let answer = match self.torrents.get_mut(slot) {
            Some(served) => served.plan_hashes(&request),
            None => HashAnswer::Refused,
        };
        match answer {
            HashAnswer::Hashes(hashes) => say_hashes(&request, &hashes, connection.outbox.tail()),
            // Leaves of what is not there yet would be those of holes.
            HashAnswer::NeedsLeaves(blocks) if !self.torrents.has_all(slot, &blocks) => {
                wire::Message::HashReject(request).encode(connection.outbox.tail());
            }
            HashAnswer::NeedsLeaves(blocks) => {
                let served = self.torrents.get(slot);
                let started = served.is_some_and(|served| self.disk.request_leaves(key, served, request, blocks));
                if !started {
                    wire::Message::HashReject(request).encode(connection.outbox.tail());
                }
            }
            HashAnswer::Refused => wire::Message::HashReject(request).encode(connection.outbox.tail()),
        }
    }

    fn handle_skipped(&mut self, connection: &mut Connection, skipped: Skipped) -> Result<(), DropReason> {
        if let Skipped::Unknown { .. } = skipped {
            self.link.counters.unknown_messages.add(1);
        }
        match connection.peer_mut() {
            Some(peer) => peer.session.handle_skipped(self.now, skipped).map_err(|fault| reason(&fault)),
            None => Ok(()),
        }
    }

    /// Takes in a handshake and, if the peer dialled, answers it: the torrent it names, by the protocol version that both can.
    fn greet(&mut self, key: Key, connection: &mut Connection, handshake: &Handshake) -> Result<(), Leave> {
        if handshake.peer_id == self.config.peer_id {
            return Err(DropReason::SelfConnection.into());
        }
        let slot = self.torrent_of(connection, handshake.info_hash)?;
        self.check_admission(connection, slot)?;
        let fetches = self.torrents.leech_mut(slot).is_some();
        let hides = !fetches && self.join_swarm(key, slot, &handshake.peer_id)?;
        if fetches {
            self.join_leech(key, connection, slot, handshake)?;
        }
        if connection.dialled().is_some_and(|dialled| !dialled.is_web_seed) {
            // Also where the torrent has become whole meanwhile: each dial ends.
            self.handle_reached();
        }
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::UnknownTorrent.into()) };
        if connection.dialled().is_some_and(|dialled| !dialled.is_web_seed) {
            served.note_listening(connection, connection.address, &mut self.gossip);
        }
        let torrent = served.task.seeded.torrent();
        let answer = handshake_for(torrent, Some(handshake), &self.config);
        let is_ours = connection.dialled().is_some();
        let ours = served.leech.as_ref().map(|leech| leech.verified.clone());
        let out = connection.outbox.tail();
        if !is_ours {
            out.extend_from_slice(&answer.encode());
        }
        let opening = Opening {
            torrent,
            info_hash: if is_ours { handshake.info_hash } else { answer.info_hash },
            shared: handshake.reserved.shared(answer.reserved),
            address: connection.address.ip(),
            peer_id: handshake.peer_id,
            client: &self.config.client,
            ours: match &ours {
                Some(pieces) => Ours::Some(pieces.as_bytes()),
                None if hides => Ours::Hidden,
                None => Ours::Everything,
            },
            // Seeds have no use for it, but libtorrent hears only those who would hear it.
            takes_pex: served.pex.is_some(),
            listen_port: self.config.listen_port.filter(|_| is_ours),
            dht_port: self.config.dht_port,
            now: self.now,
        };
        let session = Session::open(&opening, out);
        served.task.counters.shard(self.config.shard).peers.add(1);
        self.link.counters.peers.add(1);
        tracing::debug!(address = %connection.address, torrent = torrent.layout().name(), "peer connected");
        connection.phase = Phase::Peer(Peer { torrent: slot, session });
        Ok(())
    }

    /// The torrent of a connection whose handshake has come: the one that we dialled for, or the one that the peer names.
    fn torrent_of(&self, connection: &Connection, info_hash: InfoHash) -> Result<Slot, Leave> {
        let named = self.torrents.find(info_hash);
        match connection.dialled() {
            // Of a hybrid it may name either half.
            Some(dialled) if named != Some(dialled.torrent) => Err(DropReason::BadHandshake.into()),
            _ => match (named, self.torrents.home_of(info_hash)) {
                (Some(slot), _) => Ok(slot),
                (None, Some(home)) => Err(Leave::HandOver { to: home }),
                (None, None) => match self.config.names.wakes(info_hash) {
                    Wakes::Torrent(id) => Err(Leave::Park { id }),
                    Wakes::AskAgain => Err(Leave::ReadAgain),
                    // It may be the name of a torrent that this shard has been told to serve since it last looked.
                    Wakes::Nothing if !self.link.commands.is_empty() => Err(Leave::ReadAgain),
                    Wakes::Nothing => Err(DropReason::UnknownTorrent.into()),
                },
            },
        }
    }
}

/// Our handshake for a torrent: the first word to somebody whom we dialled, or the answer to `theirs`.
pub(crate) fn handshake_for(torrent: &Torrent, theirs: Option<&Handshake>, config: &ShardConfig) -> Handshake {
    let v2_hash = torrent.info_hash_v2().map(InfoHash::from);
    let reserved = if v2_hash.is_some() { OURS } else { Reserved::EXTENDED.with(Reserved::FAST) };
    // The peers of a private torrent are none of the DHT's business (BEP 27).
    let speaks_dht = config.dht_port.is_some() && !torrent.is_private();
    let reserved = if speaks_dht { reserved.with(Reserved::DHT) } else { reserved };
    let info_hash = match (theirs, v2_hash) {
        // A peer that came by the v1 hash of a hybrid and can v2 is taken over to v2 (BEP 52).
        (Some(theirs), Some(v2)) if theirs.reserved.has(Reserved::V2) => v2,
        (Some(theirs), _) => theirs.info_hash,
        // A swarm may know a hybrid by its v1 hash alone; whoever can v2 says so in its answer.
        (None, _) => torrent.info_hashes().next().unwrap_or_default(),
    };
    Handshake { reserved, info_hash, peer_id: config.peer_id }
}

/// Whether the connection has something to read, and may say it: answers to what it said before are not piling up.
pub(crate) fn may_receive(connection: &Connection) -> bool {
    let waits = connection.starved || connection.parked_at.is_some();
    (connection.readable || connection.has_backlog) && connection.outbox.len() < OUTBOX_LIMIT && !waits
}

/// Says the hashes that were asked for.
pub(crate) fn say_hashes(request: &HashRequest, hashes: &[Sha256Digest], out: &mut Vec<u8>) {
    let bytes: Vec<u8> = hashes.iter().flat_map(|digest| digest.0).collect();
    wire::Message::Hashes { request: *request, hashes: &bytes }.encode(out);
}

/// The name under which the end of a connection is counted.
pub(crate) fn reason(fault: &Fault) -> DropReason {
    match fault {
        Fault::Wire(_) => DropReason::BadMessage,
        Fault::BadRequests => DropReason::BadRequests,
        Fault::Flood => DropReason::Flood,
        Fault::UnwantedPiece => DropReason::UnwantedPiece,
        Fault::Idle => DropReason::Idle,
        Fault::BothSeeds => DropReason::BothSeeds,
    }
}
