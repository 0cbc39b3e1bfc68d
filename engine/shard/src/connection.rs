//! One connection: its socket, the bytes that wait on either side, and how far it has come. What the bytes mean is
//! for `receive` and the session; what is sent next is for `transmit`.

use crate::exchange::Exchange;
use crate::leech::IncomingBlock;
use crate::limits::{BATCH_BLOCKS, BATCH_BYTES, OUTBOX_IDLE_CAPACITY, OUTBOX_LIMIT};
use crate::send_buffers::UnsentShare;
use crate::torrents::Slot;
use rustix::fd::OwnedFd;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::Session;
use wire::{PIECE_HEADER_SIZE, PeerId};

/// One connection.
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) address: SocketAddr,
    pub(crate) phase: Phase,
    /// The beginning of a message whose rest has not come yet.
    pub(crate) inbox: Vec<u8>,
    /// Bytes of a skipped message that are still to come.
    pub(crate) skip_bytes: u32,
    /// What a connection needs beyond if its torrent is fetched here, or if we dialled.
    pub(crate) fetching: Option<Box<Fetching>>,
    /// What passed about other peers, once it is known where this one listens or that it wants to know.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// What it has to say waits until a buffer for blocks is free, or for the download limit.
    pub(crate) starved: bool,
    /// The inbox may hold whole messages: they wait until the answers to those before are sent.
    pub(crate) has_backlog: bool,
    pub(crate) outbox: Outbox,
    /// The kernel may have something for us; false after EAGAIN.
    pub(crate) readable: bool,
    /// The kernel may take something; false after EAGAIN.
    pub(crate) writable: bool,
    /// The peer has closed: behind what it still said there is an end to be read, of which no event will tell again.
    pub(crate) ended: bool,
    /// It waits for the upload limit, or for the kernel's memory; woken by the clock.
    pub(crate) throttled: Throttled,
    /// It stands among the shard's readers.
    pub(crate) awaits_receive: bool,
    /// It stands among the shard's senders.
    pub(crate) awaits_transmit: bool,
    /// Its last write was of cold content: it has waited for the disk and can wait for those that have not.
    pub(crate) sends_cold: bool,
    /// Since when it waits for the disk; woken by the read's end.
    pub(crate) cold_since: Option<Duration>,
    /// Bytes that its turn still holds: the kernel had no room for them, or the upload limit did not grant them. They go
    /// first.
    turn_left_bytes: u32,
    /// What it may leave unsent in the kernel.
    pub(crate) unsent: UnsentShare,
    /// Payload that it was sent.
    pub(crate) sent: Traffic,
    pub(crate) opened_at: Duration,
    /// Since when it waits, with its handshake in the inbox, for its torrent to be loaded.
    pub(crate) parked_at: Option<Duration>,
    /// When the kernel last took something, or when there was last nothing to take.
    pub(crate) progress_at: Duration,
}

/// The part of a connection that seeds do without.
#[derive(Default)]
pub(crate) struct Fetching {
    /// The block whose bytes are coming.
    pub(crate) incoming: Option<IncomingBlock>,
    /// We made this connection.
    pub(crate) dialled: Option<Dialled>,
    /// What the peer calls itself, once it has said.
    pub(crate) peer_id: Option<PeerId>,
    /// Payload that it has sent.
    pub(crate) received: Traffic,
}

/// Payload that went one way.
#[derive(Default, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    /// Those since the last tick.
    tick_bytes: u32,
    bytes_per_s: u32,
}

impl Traffic {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.tick_bytes = self.tick_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// A second has passed.
    fn handle_tick(&mut self) {
        // A second ago counts three quarters as much: about five seconds in all, as for whole torrents.
        let sum = 3 * u64::from(self.bytes_per_s) + u64::from(std::mem::take(&mut self.tick_bytes));
        self.bytes_per_s = (sum / 4) as u32;
    }

    /// Bytes a second, over the last seconds.
    pub(crate) fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s.into()
    }
}

/// Whom we dialled, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dialled {
    /// The torrent that we want from there.
    pub(crate) torrent: Slot,
    /// The other end is a web seed's.
    pub(crate) is_web_seed: bool,
}

/// What of a connection has to wait for the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Throttled {
    /// Nothing.
    No,
    /// Blocks, for the upload limit.
    Blocks,
    /// All that is sent.
    All,
}

/// How far a connection has come.
#[expect(clippy::large_enum_variant, reason = "connections are boxed, and most are peers")]
pub(crate) enum Phase {
    /// The peer's handshake is not whole yet, or nobody has answered yet where we dialled.
    Greeting,
    /// Both handshakes are done.
    Peer(Peer),
    /// We have said our last; the peer may take what is under way, then it closes.
    Draining,
}

/// A connection with a torrent.
pub(crate) struct Peer {
    pub(crate) torrent: Slot,
    pub(crate) session: Session,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, address: SocketAddr, unsent: UnsentShare, now: Duration) -> Connection {
        unsent.set(&socket);
        Connection {
            socket,
            address,
            phase: Phase::Greeting,
            inbox: Vec::new(),
            skip_bytes: 0,
            fetching: None,
            exchange: None,
            starved: false,
            has_backlog: false,
            outbox: Outbox::default(),
            readable: true,
            writable: true,
            ended: false,
            throttled: Throttled::No,
            awaits_receive: false,
            awaits_transmit: false,
            sends_cold: false,
            cold_since: None,
            turn_left_bytes: 0,
            unsent,
            sent: Traffic::default(),
            opened_at: now,
            parked_at: None,
            progress_at: now,
        }
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.has_blocks()
    }

    /// Whether blocks wait to be sent.
    pub(crate) fn has_blocks(&self) -> bool {
        matches!(&self.phase, Phase::Peer(peer) if !peer.session.queue().is_empty())
    }

    /// Whether something could be sent now.
    pub(crate) fn can_send(&self) -> bool {
        let waits = self.cold_since.is_some() || self.throttled == Throttled::Blocks;
        self.writable && self.throttled != Throttled::All && self.has_output() && (!waits || self.can_speak())
    }

    /// Whether it goes before those that wait for a turn: in the middle of its own, or with a few words that keep nobody
    /// waiting.
    pub(crate) fn goes_first(&self) -> bool {
        self.turn_left_bytes > 0 || !self.has_blocks()
    }

    /// Whether small messages may go out now: there are some, and no block is under way that they would break.
    fn can_speak(&self) -> bool {
        let in_block = matches!(&self.phase, Phase::Peer(peer) if peer.session.queue().front_sent_bytes() > 0);
        !self.outbox.is_empty() && !in_block
    }

    /// Bytes of the next write, if nothing stood in its way.
    pub(crate) fn wanted_bytes(&self) -> usize {
        let Phase::Peer(peer) = &self.phase else { return self.outbox.len() };
        let queue = peer.session.queue();
        let blocks = queue.message_bytes(PIECE_HEADER_SIZE as u32, BATCH_BLOCKS as u32) as usize;
        self.outbox.len() + (blocks - queue.front_sent_bytes() as usize).min(self.turn_bytes())
    }

    /// Bytes of blocks that its turn may send.
    fn turn_bytes(&self) -> usize {
        if self.turn_left_bytes > 0 { self.turn_left_bytes as usize } else { BATCH_BYTES }
    }

    /// Of so many bytes that the upload limit grants, those that end with a block, so that words need not wait behind a part
    /// of one; all of them if no block ends there.
    pub(crate) fn whole_blocks(&self, granted: usize) -> usize {
        let Phase::Peer(peer) = &self.phase else { return granted };
        let (queue, words) = (peer.session.queue(), self.outbox.len());
        let sent = u64::from(queue.front_sent_bytes());
        let room = granted.saturating_sub(words) as u64 + sent;
        let whole = queue.whole_message_bytes(PIECE_HEADER_SIZE as u32, room).saturating_sub(sent);
        if whole > 0 { words + whole as usize } else { granted }
    }

    /// Takes note of what came of a turn: what the kernel had no room for is kept for it, and so is what the upload limit did
    /// not grant of a turn of `limited_bytes`.
    pub(crate) fn end_turn(&mut self, sent: usize, limited_bytes: Option<usize>) {
        let begun = Some(self.turn_left_bytes as usize).filter(|left| *left > 0);
        let turn_bytes = begun.or(limited_bytes).unwrap_or(BATCH_BYTES);
        let ends = self.writable && limited_bytes.is_none();
        let left = if ends { 0 } else { turn_bytes.saturating_sub(sent) };
        self.turn_left_bytes = u32::try_from(left).unwrap_or(u32::MAX);
    }

    /// A block that is under way under an upload limit is sent before another turn begins.
    pub(crate) fn finish_block(&mut self) {
        if let Phase::Peer(peer) = &self.phase
            && peer.session.queue().front_sent_bytes() > 0
        {
            let left = peer.session.queue().front_left_bytes(PIECE_HEADER_SIZE as u32);
            self.turn_left_bytes = self.turn_left_bytes.max(left);
        }
    }

    /// A second has passed.
    pub(crate) fn tick_traffic(&mut self) {
        self.sent.handle_tick();
        if let Some(fetching) = &mut self.fetching {
            fetching.received.handle_tick();
        }
    }

    /// Whom we dialled, if we made this connection.
    pub(crate) fn dialled(&self) -> Option<Dialled> {
        self.fetching.as_ref()?.dialled
    }

    /// Where the peer takes connections, as far as that is known.
    pub(crate) fn listens_at(&self) -> Option<SocketAddr> {
        self.exchange.as_ref()?.listens_at
    }

    /// The block whose bytes are coming.
    pub(crate) fn take_incoming(&mut self) -> Option<IncomingBlock> {
        self.fetching.as_mut()?.incoming.take()
    }

    pub(crate) fn peer_mut(&mut self) -> Option<&mut Peer> {
        match &mut self.phase {
            Phase::Peer(peer) => Some(peer),
            Phase::Greeting | Phase::Draining => None,
        }
    }
}

/// Small messages that wait to be sent, as bytes.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// What is not sent yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Where to append messages.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Takes note that the kernel took this many bytes.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent >= OUTBOX_LIMIT {
            // A peer that never takes all of it must not make it grow for ever.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            if self.bytes.capacity() > OUTBOX_IDLE_CAPACITY {
                self.bytes.shrink_to(OUTBOX_IDLE_CAPACITY);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_that_is_never_emptied_does_not_grow() {
        let mut outbox = Outbox::default();
        outbox.tail().push(0);
        for n in 0..100_000u32 {
            outbox.tail().extend_from_slice(&n.to_be_bytes());
            outbox.advance(4);
            assert_eq!(outbox.len(), 1);
        }
        assert_eq!(outbox.pending(), [99_999u32.to_be_bytes()[3]], "what is left is the last that was said");
        assert!(outbox.tail().capacity() <= 4 * OUTBOX_LIMIT);
    }

    #[test]
    fn a_rate_follows_what_passes_and_forgets_it() {
        let mut traffic = Traffic::default();
        for _ in 0..20 {
            traffic.add(1000);
            traffic.handle_tick();
        }
        assert!((900..=1000).contains(&traffic.bytes_per_s()), "{}", traffic.bytes_per_s());
        (0..30).for_each(|_| traffic.handle_tick());
        assert_eq!((traffic.bytes_per_s(), traffic.bytes), (0, 20_000));
        traffic.add(u64::from(u32::MAX) * 4);
        traffic.handle_tick();
        assert_eq!(traffic.bytes_per_s(), u64::from(u32::MAX / 4), "what no connection carries is not counted wrong");
    }

    #[test]
    fn ten_thousand_idle_connections_fit_into_ten_megabytes() {
        // Boxed, with a place in the table, a place in the choker and the least of an outbox beside it.
        assert!(size_of::<Connection>() <= 512, "{} bytes", size_of::<Connection>());
        assert!(size_of::<Connection>() + OUTBOX_IDLE_CAPACITY <= 1024);
    }

    fn peer(connection: &mut Connection) -> &mut Session {
        match &mut connection.phase {
            Phase::Peer(peer) => &mut peer.session,
            Phase::Greeting | Phase::Draining => unreachable!(),
        }
    }

    /// A peer that has asked for a piece of 64 blocks.
    fn hungry() -> Connection {
        let info = format!("d6:lengthi{}e4:name1:f12:piece lengthi1048576e6:pieces20:{}e", 1 << 20, "h".repeat(20));
        let torrent = metainfo::Torrent::from_info(info.as_bytes()).unwrap();
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut connection = Connection::new(ours.into(), address, UnsentShare::among(1 << 20, 1), Duration::ZERO);
        let opening = swarm::Opening {
            torrent: &torrent,
            info_hash: torrent.info_hashes().next().unwrap(),
            shared: wire::Reserved::NONE,
            address: address.ip(),
            peer_id: wire::PeerId([1; 20]),
            client: "test",
            ours: swarm::Ours::Everything,
            takes_pex: false,
            listen_port: None,
            dht_port: None,
            now: Duration::ZERO,
        };
        let session = Session::open(&opening, &mut Vec::new());
        connection.phase = Phase::Peer(Peer { torrent: Slot(0), session });
        let block = 16 * 1024;
        for n in 0..64 {
            let range = torrent.layout().block(0, n * block, block).unwrap();
            peer(&mut connection).queue_mut().push(range, Duration::ZERO).unwrap();
        }
        connection
    }

    #[test]
    fn a_turn_that_ended_in_the_middle_of_a_block_goes_on_there() {
        let mut connection = hungry();
        assert_eq!(connection.wanted_bytes(), BATCH_BYTES);
        // The kernel takes all but a few bytes, then half of these: less is left of the turn than was sent of the block.
        for (sent, left) in [(BATCH_BYTES - 100, 100), (50, 50)] {
            connection.writable = false;
            connection.end_turn(sent, None);
            peer(&mut connection).queue_mut().advance(13, sent as u64, Duration::ZERO, |_, _| {});
            assert!(connection.goes_first());
            assert_eq!(connection.wanted_bytes(), left);
        }
        connection.writable = true;
        connection.end_turn(50, None);
        peer(&mut connection).queue_mut().advance(13, 50, Duration::ZERO, |_, _| {});
        assert_eq!((connection.wanted_bytes(), connection.turn_left_bytes), (0, 0));
    }

    const MESSAGE_BYTES: usize = 16 * 1024 + PIECE_HEADER_SIZE;

    #[test]
    fn a_turn_that_the_upload_limit_cuts_short_goes_on_and_ends_with_a_block() {
        let mut connection = hungry();
        let mut blocks_left = 3;
        while blocks_left > 0 {
            let granted = connection.wanted_bytes().min(MESSAGE_BYTES + 5_000);
            let used = connection.whole_blocks(granted);
            assert_eq!(used, MESSAGE_BYTES, "words may follow");
            blocks_left -= 1;
            connection.end_turn(used, Some(3 * MESSAGE_BYTES).filter(|_| blocks_left > 0));
            peer(&mut connection).queue_mut().advance(13, used as u64, Duration::ZERO, |_, _| {});
            connection.finish_block();
            assert_eq!(connection.turn_left_bytes as usize, blocks_left * MESSAGE_BYTES);
            assert_eq!(connection.goes_first(), blocks_left > 0);
        }
    }

    #[test]
    fn a_block_that_is_more_than_the_upload_limit_grants_at_once_is_finished_before_another_turn() {
        let mut connection = hungry();
        let mut sent = 0;
        while sent < MESSAGE_BYTES {
            let granted = connection.wanted_bytes().min(1_000);
            assert_eq!(connection.whole_blocks(granted), granted);
            connection.end_turn(granted, Some(MESSAGE_BYTES).filter(|_| granted == 1_000));
            peer(&mut connection).queue_mut().advance(13, granted as u64, Duration::ZERO, |_, _| {});
            connection.finish_block();
            sent += granted;
            assert_eq!(connection.goes_first(), sent < MESSAGE_BYTES);
        }
        assert_eq!(sent, MESSAGE_BYTES);
    }
}
