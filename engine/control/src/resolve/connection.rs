//! One connection to a peer that may have metadata or layers: dialling, handshakes, bytes to events and back. What is
//! asked and what is believed is for `drive`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hash::InfoHash;
use swarm::may_tell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use wire::{
    ExtensionHandshake, HANDSHAKE_SIZE, Handshake, HashRequest, Limits, Message, Parsed, PeerExtensions, PexMessage,
    Reserved, UT_METADATA_ID, UT_PEX_ID,
};

use super::Shared;

/// How long a peer may take to accept a connection, and to answer the handshake.
const CONNECT_TIME: Duration = Duration::from_secs(10);
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// A peer that says nothing for this long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);

/// How long what we say may take to be sent.
const SEND_TIME: Duration = Duration::from_secs(10);

/// How often an upgrade is tried, and the pause between: the other side may take the old connection for a living one, and
/// hang up on a second one from the same address.
const UPGRADE_ATTEMPTS: usize = 3;
const UPGRADE_PAUSE: Duration = Duration::from_secs(1);

/// How often we say that we are still here.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Bytes of messages that answer nothing: a bitfield of the longest torrent, many HAVEs. A peer that sends
/// more floods us.
const CHATTER_LIMIT_BYTES: usize = 4 << 20;

/// `ut_pex` messages that are read; BEP 11 allows one a minute, and a magnet link is resolved in less.
const PEX_LIMIT: u32 = 8;

/// Requests that we hold for a peer, which has nothing to ask for.
const REQUEST_QUEUE_LIMIT: u32 = 250;

/// Where to connect to and by which names of the torrent.
pub(super) struct Dial {
    pub(super) address: SocketAddr,
    /// To be tried one after the other; all of them may come back.
    pub(super) info_hashes: Vec<InfoHash>,
    /// The name that speaks v2, if the torrent has one.
    pub(super) v2: Option<InfoHash>,
}

/// What the driver wants of a connection. To end it, the sender is dropped.
pub(super) enum Command {
    /// Send this message.
    Send(Vec<u8>),
    /// Connect anew under the name that speaks v2, since hashes may be asked for under no other.
    Upgrade(InfoHash),
}

/// What a connection tells the driver.
pub(super) enum Event {
    /// Both handshakes are done.
    Open {
        /// The connection goes by the v2 name.
        is_v2: bool,
    },
    /// What the peer offers, as far as it has said so.
    Offers(Box<PeerExtensions>),
    /// The payload of a `ut_metadata` message.
    Metadata(Vec<u8>),
    /// Hashes.
    Hashes(HashRequest, Vec<u8>),
    /// A refusal of hashes.
    HashReject(HashRequest),
    /// The peer tells of others.
    Others(Vec<SocketAddr>),
    /// The last event.
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Closed {
    /// Nobody there.
    Unreachable,
    /// Something was lacking here.
    NoRoom,
    /// It does not speak BitTorrent in the clear, or has not this torrent.
    Handshake,
    /// It is us.
    Ourselves,
    /// It stood, and one of both ended it.
    Ended,
    /// It stood, and the peer broke the protocol or floods.
    Fault,
}

/// The driver's end of the events.
pub(super) type Events = mpsc::Sender<(SocketAddr, Event)>;

/// Dials and talks until it ends; says how.
pub(super) async fn run(
    shared: Arc<Shared>,
    dial: Dial,
    mut commands: mpsc::Receiver<Command>,
    events: Events,
    permit: OwnedSemaphorePermit,
) {
    let address = dial.address;
    let closed = serve(&shared, dial, &mut commands, &events).await;
    drop(permit);
    // A driver that is gone needs no last word.
    let _ = events.send((address, Event::Closed(closed))).await;
}

async fn serve(shared: &Shared, mut dial: Dial, commands: &mut mpsc::Receiver<Command>, events: &Events) -> Closed {
    let mut next = 0;
    loop {
        let Some(info_hash) = dial.info_hashes.get(next).copied() else { return Closed::Handshake };
        let opened = match open(shared, &dial, info_hash).await {
            Ok(opened) => opened,
            Err(Closed::Handshake) => {
                next += 1;
                // A hybrid's peer may know the torrent by its other name only. The same name again is an upgrade.
                if dial.info_hashes.get(next) == Some(&info_hash) {
                    tokio::time::sleep(UPGRADE_PAUSE).await;
                }
                continue;
            }
            Err(closed) => return closed,
        };
        let mut talk = Talk::new(shared, dial.address, opened, events);
        match talk.run(commands).await {
            End::Closed(closed) => return closed,
            End::Upgrade(v2) => (dial.info_hashes, dial.v2, next) = (vec![v2; UPGRADE_ATTEMPTS], Some(v2), 0),
        }
    }
}

/// A connection after both handshakes.
struct Opened {
    stream: TcpStream,
    shared_bits: Reserved,
    is_v2: bool,
    /// What came behind the handshake already.
    received: Vec<u8>,
}

async fn open(shared: &Shared, dial: &Dial, info_hash: InfoHash) -> Result<Opened, Closed> {
    let connected = timeout(CONNECT_TIME, connect(&shared.config.bind, dial.address)).await;
    let mut stream = connected.map_err(|_| Closed::Unreachable)?.map_err(|error| failure(&error))?;
    let ours = Reserved::EXTENDED.with(Reserved::FAST);
    // A peer may answer a v1 handshake that has this bit by the v2 name, so only who knows that name may set it.
    let ours = if dial.v2.is_some() { ours.with(Reserved::V2) } else { ours };
    let greeting = Handshake { reserved: ours, info_hash, peer_id: shared.config.peer_id };
    let deadline = Instant::now() + HANDSHAKE_TIME;
    let exchange = async {
        stream.write_all(&greeting.encode()).await.map_err(|_| Closed::Handshake)?;
        read_handshake(&mut stream).await
    };
    let (theirs, received) = timeout_at(deadline, exchange).await.map_err(|_| Closed::Handshake)??;
    if theirs.peer_id == shared.config.peer_id {
        return Err(Closed::Ourselves);
    }
    let is_known = theirs.info_hash == info_hash || Some(theirs.info_hash) == dial.v2;
    // Without the extension protocol there is neither metadata nor, in any client known, v2.
    if !is_known || !theirs.reserved.has(Reserved::EXTENDED) {
        return Err(Closed::Handshake);
    }
    let is_v2 = dial.v2 == Some(theirs.info_hash);
    Ok(Opened { stream, shared_bits: ours.shared(theirs.reserved), is_v2, received })
}

async fn connect(bind: &[IpAddr], address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = bind.iter().find(|ip| ip.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(*ip, 0))?;
    }
    socket.connect(address).await
}

/// A lack of descriptors, ports or memory is ours; all else is the way or the peer.
fn failure(error: &io::Error) -> Closed {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    let is_ours = error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code));
    if is_ours { Closed::NoRoom } else { Closed::Unreachable }
}

async fn read_handshake(stream: &mut TcpStream) -> Result<(Handshake, Vec<u8>), Closed> {
    let mut received = Vec::with_capacity(1024);
    loop {
        match stream.read_buf(&mut received).await {
            Ok(0) | Err(_) => return Err(Closed::Handshake),
            Ok(_) => {}
        }
        match wire::parse_handshake(&received) {
            Ok(Some(handshake)) => return Ok((handshake, received.split_off(HANDSHAKE_SIZE))),
            Ok(None) => {}
            Err(_) => return Err(Closed::Handshake),
        }
    }
}

/// Why a talk ended.
enum End {
    Closed(Closed),
    Upgrade(InfoHash),
}

/// A connection at work.
struct Talk<'a> {
    shared: &'a Shared,
    address: SocketAddr,
    events: &'a Events,
    opened: Opened,
    extensions: PeerExtensions,
    limits: Limits,
    /// Bytes of a message that nobody reads which are still to come.
    skip_bytes: usize,
    chatter_bytes: usize,
    /// Requests that were sent and not answered yet.
    unanswered: u32,
    pex_count: u32,
}

impl<'a> Talk<'a> {
    fn new(shared: &'a Shared, address: SocketAddr, opened: Opened, events: &'a Events) -> Talk<'a> {
        Talk {
            shared,
            address,
            events,
            opened,
            extensions: PeerExtensions::default(),
            limits: Limits::without_metadata(),
            skip_bytes: 0,
            chatter_bytes: 0,
            unanswered: 0,
            pex_count: 0,
        }
    }

    async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        if !self.tell(Event::Open { is_v2: self.opened.is_v2 }).await || !self.send(&self.first_words()).await {
            return End::Closed(Closed::Ended);
        }
        let mut scratch = vec![0; READ_BYTES];
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE_INTERVAL);
        keep_alive.reset();
        let mut silent_until = Instant::now() + SILENCE_LIMIT;
        loop {
            if let Some(end) = self.take_in().await {
                return End::Closed(end);
            }
            let bytes = tokio::select! {
                read = timeout_at(silent_until, self.opened.stream.read(&mut scratch)) => match read {
                    Ok(Ok(count)) if count > 0 => {
                        self.opened.received.extend_from_slice(&scratch[..count]);
                        silent_until = Instant::now() + SILENCE_LIMIT;
                        continue;
                    }
                    _ => return End::Closed(Closed::Ended),
                },
                command = commands.recv() => match command {
                    Some(Command::Send(bytes)) => {
                        self.unanswered = self.unanswered.saturating_add(1);
                        bytes
                    }
                    Some(Command::Upgrade(v2)) => return End::Upgrade(v2),
                    None => return End::Closed(Closed::Ended),
                },
                _ = keep_alive.tick() => encoded(Message::KeepAlive),
            };
            if !self.send(&bytes).await {
                return End::Closed(Closed::Ended);
            }
        }
    }

    /// The extension handshake, and that we have nothing; in this order, since both are first words.
    fn first_words(&self) -> Vec<u8> {
        let config = &self.shared.config;
        let mut out = Vec::new();
        ExtensionHandshake {
            metadata_size: None,
            wants_metadata: true,
            takes_pex: config.pex,
            upload_only: false,
            request_queue_limit: REQUEST_QUEUE_LIMIT,
            client: &config.client,
            your_ip: Some(self.address.ip()),
            listen_port: config.listen_port,
        }
        .encode(&mut out);
        if self.opened.shared_bits.has(Reserved::FAST) {
            Message::HaveNone.encode(&mut out);
        }
        out
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(SEND_TIME, self.opened.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// False if the driver is gone.
    async fn tell(&self, event: Event) -> bool {
        self.events.send((self.address, event)).await.is_ok()
    }

    /// Reads all whole messages that have been received. `Some` ends the connection.
    async fn take_in(&mut self) -> Option<Closed> {
        let mut received = std::mem::take(&mut self.opened.received);
        let mut at = 0;
        let end = loop {
            let skipped = self.skip_bytes.min(received.len() - at);
            (at, self.skip_bytes) = (at + skipped, self.skip_bytes - skipped);
            if self.skip_bytes > 0 {
                break None;
            }
            match wire::parse(&received[at..], &self.limits) {
                Err(_) => break Some(Closed::Fault),
                Ok(Parsed::Incomplete { .. }) => break None,
                Ok(Parsed::Skip { consumed, body_bytes, .. }) => {
                    at += consumed;
                    self.skip_bytes = body_bytes;
                    self.chatter_bytes += consumed + body_bytes;
                }
                Ok(Parsed::Message { message, consumed }) => {
                    at += consumed;
                    match self.event_of(message, consumed) {
                        Ok(None) => {}
                        Ok(Some(event)) => {
                            if !self.tell(event).await {
                                break Some(Closed::Ended);
                            }
                        }
                        Err(()) => break Some(Closed::Fault),
                    }
                }
            }
            if self.chatter_bytes > CHATTER_LIMIT_BYTES {
                break Some(Closed::Fault);
            }
        };
        received.drain(..at);
        self.opened.received = received;
        end
    }

    /// What a message tells the driver. An error is a breach of the protocol.
    fn event_of(&mut self, message: Message<'_>, size: usize) -> Result<Option<Event>, ()> {
        let event = match message {
            Message::Extended { id: UT_METADATA_ID, payload } => {
                self.count_answer(size);
                return Ok(Some(Event::Metadata(payload.to_vec())));
            }
            Message::Hashes { request, hashes } => {
                self.count_answer(size);
                return Ok(Some(Event::Hashes(request, hashes.to_vec())));
            }
            Message::HashReject(request) => Some(Event::HashReject(request)),
            Message::Extended { id: 0, payload } => {
                self.extensions.update(payload).map_err(|_| ())?;
                Some(Event::Offers(Box::new(self.extensions.clone())))
            }
            Message::Extended { id: UT_PEX_ID, payload } if self.shared.config.pex => self.others(payload)?,
            _ => None,
        };
        self.chatter_bytes += size;
        Ok(event)
    }

    /// An answer to a request is none of the chatter.
    fn count_answer(&mut self, size: usize) {
        match self.unanswered.checked_sub(1) {
            Some(left) => self.unanswered = left,
            None => self.chatter_bytes += size,
        }
    }

    fn others(&mut self, payload: &[u8]) -> Result<Option<Event>, ()> {
        self.pex_count += 1;
        if self.pex_count > PEX_LIMIT {
            return Ok(None);
        }
        let message = PexMessage::parse(payload).map_err(|_| ())?;
        let added = message.added().map(|(address, _)| address);
        let told: Vec<SocketAddr> = added.filter(|told| may_tell(self.address.ip(), told.ip())).collect();
        Ok((!told.is_empty()).then_some(Event::Others(told)))
    }
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}
