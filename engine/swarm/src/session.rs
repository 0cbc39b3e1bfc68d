//! One peer's session with a torrent that we have, in whole or in part, from the handshake on: what it may ask, what it has
//! asked, what it is owed. What we ask of it is for `download`. Bytes of payload pass by it; time is an argument since an
//! arbitrary start.
//!
//! This file composes and dispatches; each family of messages has its own file below.

mod availability;
mod extended;
mod fault;
mod requests;

pub use availability::Availability;
pub use fault::Fault;

use crate::limits::{
    HASH_REQUESTS_LIMIT_PER_S, IDLE_LIMIT, IMPATIENT_KEEP_ALIVE_INTERVAL, KEEP_ALIVE_INTERVAL, NOISE_LIMIT_PER_S,
    SEED_LINGER,
};
use crate::request_queue::RequestQueue;
use arrayvec::ArrayVec;
use hash::InfoHash;
use metainfo::{PieceIndex, Torrent};
use std::net::IpAddr;
use std::time::Duration;
use wire::{HashRequest, Message, PeerExtensions, Reserved, Skipped};

/// What the session asks of its caller after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    None,
    /// The peer wants something now.
    BecameInterested,
    /// The peer wants nothing any more.
    LostInterest,
    /// There are requests where there were none.
    HasRequests,
    /// A request was refused.
    Refused,
    /// The peer has one more piece.
    HasPiece(PieceIndex),
    /// The peer has said which pieces it has: [`Session::availability`] knows them.
    HasListed,
    /// The peer has a node of the DHT at this UDP port of its address (BEP 5).
    HasDhtNode(u16),
    /// The peer asks for hashes of a v2 torrent: [`crate::HashTrees`] knows them.
    WantsHashes(HashRequest),
}

/// What a session must know to begin.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The torrent that both want.
    pub torrent: &'a Torrent,
    /// The info-hash that this connection goes by.
    pub info_hash: InfoHash,
    /// What both sides can.
    pub shared: Reserved,
    /// The peer's address.
    pub address: IpAddr,
    /// The peer's id.
    pub peer_id: wire::PeerId,
    /// Our name and version.
    pub client: &'a str,
    /// What we have of it.
    pub ours: Ours<'a>,
    /// Whether the peer may tell us of others (BEP 11).
    pub takes_pex: bool,
    /// Where we take connections, to be told to a peer that we dialled.
    pub listen_port: Option<u16>,
    /// Where our node of the DHT listens, to be told to a peer that has one too (BEP 5).
    pub dht_port: Option<u16>,
    /// Now.
    pub now: Duration,
}

/// What we have of a torrent, as a peer is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours<'a> {
    /// Every piece.
    Everything,
    /// Every piece, but we are super-seeding: the peer is greeted as by a leech that has nothing, and told of pieces one by
    /// one.
    Hidden,
    /// The pieces whose bits are set, the first piece in the highest bit, spare bits zero (BEP 3); others are to come.
    Some(&'a [u8]),
}

/// One peer, from the handshake on.
#[derive(Debug)]
pub struct Session {
    shared: Reserved,
    /// We want something of the torrent ourselves.
    leeches: bool,
    /// We did, and what we asked for may still come.
    has_leeched: bool,
    /// We refuse its requests, but for the allowed-fast pieces.
    choked: bool,
    interested: bool,
    /// It has told where its node of the DHT is.
    has_told_dht_port: bool,
    /// It has asked before it said that it is interested.
    has_asked: bool,
    /// The part of its id that names its client.
    id_prefix: [u8; 8],
    /// Gives up after ten seconds of silence.
    impatient: bool,
    allowed_fast: ArrayVec<u32, { wire::ALLOWED_FAST_COUNT }>,
    /// Bytes that the peer may still have of them while it is choked: each piece once.
    allowed_fast_bytes: u64,
    queue: RequestQueue,
    availability: Availability,
    extensions: Option<Box<PeerExtensions>>,
    /// Metadata bytes that the peer was sent.
    metadata_sent_bytes: u64,
    /// Requests in a row that had to be refused.
    refused_in_row: u32,
    /// Requests outside the torrent.
    invalid_requests: u32,
    noise: Noise,
    /// Requests for hashes.
    hash_requests: Noise,
    /// Requests taken back.
    cancels: Noise,
    last_heard: Duration,
    last_said: Duration,
}

/// Messages without use, counted over windows of a second.
#[derive(Debug, Default)]
struct Noise {
    window_start: Duration,
    count: u32,
}

impl Noise {
    fn add(&mut self, now: Duration) -> Result<(), Fault> {
        self.add_within(now, NOISE_LIMIT_PER_S)
    }

    fn add_within(&mut self, now: Duration, limit_per_s: u32) -> Result<(), Fault> {
        if now.saturating_sub(self.window_start) >= Duration::from_secs(1) {
            *self = Noise { window_start: now, count: 0 };
        }
        self.count += 1;
        if self.count > limit_per_s { Err(Fault::Flood) } else { Ok(()) }
    }
}

impl Session {
    /// Begins after both handshakes: appends what is said first to `out`.
    pub fn open(opening: &Opening<'_>, out: &mut Vec<u8>) -> Session {
        let piece_count = opening.torrent.layout().piece_count();
        let mut session = Session {
            shared: opening.shared,
            leeches: matches!(opening.ours, Ours::Some(_)),
            has_leeched: false,
            choked: true,
            interested: false,
            has_told_dht_port: false,
            has_asked: false,
            id_prefix: opening.peer_id.prefix(),
            impatient: opening.peer_id.0.starts_with(b"-rQ"),
            allowed_fast: ArrayVec::new(),
            allowed_fast_bytes: 0,
            queue: RequestQueue::default(),
            availability: Availability::new(piece_count),
            extensions: None,
            metadata_sent_bytes: 0,
            refused_in_row: 0,
            invalid_requests: 0,
            noise: Noise::default(),
            hash_requests: Noise::default(),
            cancels: Noise::default(),
            last_heard: opening.now,
            last_said: opening.now,
        };
        session.say_extensions(opening, out);
        match opening.ours {
            Ours::Everything => {
                session.say_what_we_have(piece_count, out);
                session.say_allowed_fast(opening, piece_count, out);
            }
            // Nor may it take any piece that it was not told of, so none is allowed fast.
            Ours::Hidden => session.say_nothing_yet(out),
            Ours::Some(bits) if bits.iter().all(|byte| *byte == 0) => session.say_nothing_yet(out),
            Ours::Some(bits) => Message::Bitfield(bits).encode(out),
        }
        // Only behind what may be said first alone.
        if let Some(port) = opening.dht_port.filter(|_| opening.shared.has(Reserved::DHT)) {
            Message::Port(port).encode(out);
        }
        session
    }

    fn say_nothing_yet(&self, out: &mut Vec<u8>) {
        if self.shared.has(Reserved::FAST) {
            Message::HaveNone.encode(out);
        }
    }

    fn say_what_we_have(&self, piece_count: u32, out: &mut Vec<u8>) {
        if self.shared.has(Reserved::FAST) {
            Message::HaveAll.encode(out);
            return;
        }
        let mut bits = vec![0xff; piece_count.div_ceil(8) as usize];
        let spare = (8 - piece_count % 8) % 8;
        if let Some(last) = bits.last_mut() {
            // Spare bits at the end are zero (BEP 3); strict clients hang up over them.
            *last <<= spare;
        }
        if !bits.is_empty() {
            Message::Bitfield(&bits).encode(out);
        }
    }

    fn say_allowed_fast(&mut self, opening: &Opening<'_>, piece_count: u32, out: &mut Vec<u8>) {
        if !self.shared.has(Reserved::FAST) {
            return;
        }
        let count = wire::ALLOWED_FAST_COUNT;
        self.allowed_fast = wire::allowed_fast_set(opening.address, opening.info_hash, piece_count, count);
        let layout = opening.torrent.layout();
        let sizes =
            self.allowed_fast.iter().filter_map(|index| layout.piece(*index)).map(|piece| layout.piece_size(piece));
        self.allowed_fast_bytes = sizes.map(u64::from).sum();
        for index in &self.allowed_fast {
            Message::AllowedFast { index: *index }.encode(out);
        }
    }

    /// Takes in one message; what must be said at once is appended to `out`.
    ///
    /// # Errors
    /// A [`Fault`] ends the connection.
    pub fn handle_message(
        &mut self,
        now: Duration,
        message: Message<'_>,
        torrent: &Torrent,
        out: &mut Vec<u8>,
    ) -> Result<Reaction, Fault> {
        self.last_heard = now;
        match message {
            Message::Request { index, begin, length } => self.handle_request(now, torrent, (index, begin, length), out),
            Message::Cancel { index, begin, length } => self.handle_cancel(now, torrent, (index, begin, length), out),
            Message::Interested => self.handle_interested(now),
            Message::NotInterested => self.handle_not_interested(now),
            Message::Have { index } => self.handle_have(now, index, torrent),
            Message::Bitfield(bits) => self.handle_bitfield(now, bits),
            Message::HaveAll => self.handle_have_all(now),
            Message::HaveNone => self.noise.add(now).map(|()| Reaction::HasListed),
            Message::Extended { id, payload } => self.handle_extended(now, id, payload, torrent, out),
            Message::HashRequest(request) => {
                self.hash_requests.add_within(now, HASH_REQUESTS_LIMIT_PER_S)?;
                Ok(Reaction::WantsHashes(request))
            }
            Message::Port(port) if port != 0 && self.shared.has(Reserved::DHT) && !self.has_told_dht_port => {
                self.has_told_dht_port = true;
                Ok(Reaction::HasDhtNode(port))
            }
            // These answer what we ask as a leech, and whoever asks hears of them first. Of a seed they are of no use.
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Port(_)
            | Message::Suggest { .. }
            | Message::Reject { .. }
            | Message::AllowedFast { .. }
            | Message::Hashes { .. }
            | Message::HashReject(_) => self.noise.add(now).map(|()| Reaction::None),
            Message::Piece { .. } => Err(Fault::UnwantedPiece),
        }
    }

    /// Takes note of a message that the wire skips.
    ///
    /// # Errors
    /// A [`Fault`] ends the connection.
    pub fn handle_skipped(&mut self, now: Duration, skipped: Skipped) -> Result<(), Fault> {
        self.last_heard = now;
        match skipped {
            Skipped::Piece { .. } if self.leeches => Ok(()),
            Skipped::Piece { .. } if self.has_leeched => self.noise.add(now),
            Skipped::Piece { .. } => Err(Fault::UnwantedPiece),
            Skipped::Unknown { .. } => self.noise.add(now),
        }
    }

    /// Looks at the clock: ends a silent peer, and says a keep-alive where one is due. `busy` is true while something
    /// waits to be sent to the peer; that it takes its time over it is not silence of ours.
    ///
    /// # Errors
    /// [`Fault::Idle`] or [`Fault::BothSeeds`].
    pub fn handle_tick(&mut self, now: Duration, busy: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        let silent = now.saturating_sub(self.last_heard);
        if silent >= IDLE_LIMIT && !busy {
            return Err(Fault::Idle);
        }
        let wants_nothing = self.availability.is_complete() || (self.is_upload_only() && !self.interested);
        if !self.leeches && wants_nothing && silent >= SEED_LINGER && !busy {
            return Err(Fault::BothSeeds);
        }
        let interval =
            if self.impatient && self.interested { IMPATIENT_KEEP_ALIVE_INTERVAL } else { KEEP_ALIVE_INTERVAL };
        if !busy && now.saturating_sub(self.last_said) >= interval {
            Message::KeepAlive.encode(out);
            self.last_said = now;
        }
        Ok(())
    }

    /// Takes note that the network took something.
    pub fn handle_sent(&mut self, now: Duration) {
        self.last_said = now;
    }

    /// We want nothing more of the torrent.
    pub fn handle_fetched(&mut self) {
        self.has_leeched = std::mem::replace(&mut self.leeches, false);
    }

    /// Takes note that bytes of a block came.
    pub fn handle_payload(&mut self, now: Duration) {
        self.last_heard = now;
    }

    /// What both sides can.
    pub fn shared(&self) -> Reserved {
        self.shared
    }

    /// What the peer has said in its extension handshakes, if anything.
    pub fn extensions(&self) -> Option<&PeerExtensions> {
        self.extensions.as_deref()
    }

    /// The requests that wait.
    pub fn queue(&self) -> &RequestQueue {
        &self.queue
    }

    /// The requests that wait, to be taken off as the network takes them.
    pub fn queue_mut(&mut self) -> &mut RequestQueue {
        &mut self.queue
    }

    /// True while we refuse the peer's requests.
    pub fn is_choked(&self) -> bool {
        self.choked
    }

    /// True while the peer wants something.
    pub fn is_interested(&self) -> bool {
        self.interested
    }

    /// What the peer has.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    /// Whether the peer says that it downloads nothing (BEP 21).
    fn is_upload_only(&self) -> bool {
        self.extensions.as_ref().is_some_and(|extensions| extensions.upload_only)
    }

    /// The peer's name for itself, if it has said.
    pub fn client(&self) -> Option<&str> {
        self.extensions.as_ref()?.client.as_deref()
    }

    /// What its id says of its client, for people to read.
    pub fn client_of_id(&self) -> String {
        let mut id = [0; 20];
        id[..self.id_prefix.len()].copy_from_slice(&self.id_prefix);
        wire::PeerId(id).client().to_string()
    }
}

#[cfg(test)]
mod tests;
