//! A blocking peer on a raw socket, good or bad as it is told.

use crate::{DEADLINE, Target};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// What today's clients can.
pub const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

/// Bytes read from the socket at once.
const READ_BYTES: usize = 16 * 1024;

/// A connection that has not said anything yet.
pub fn connect(target: &Target) -> TcpStream {
    let stream = TcpStream::connect(target.address()).unwrap();
    with_deadline(stream)
}

/// The same from another address of this host's loopback network.
pub fn connect_from(target: &Target, source: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&target.address().into()).unwrap();
    with_deadline(socket.into())
}

/// Closes a connection by a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A peer that has greeted.
pub struct Peer {
    /// Its socket.
    pub stream: TcpStream,
    /// What the engine calls itself.
    pub engine_id: PeerId,
    received: Vec<u8>,
    used: usize,
    piece_count: u32,
}

impl Peer {
    /// Connects and greets by the release's v1 name.
    pub fn greet(target: &Target, reserved: Reserved) -> Peer {
        Peer::greet_over(connect(target), target, reserved)
    }

    /// Greets over a connection that is there.
    pub fn greet_over(mut stream: TcpStream, target: &Target, reserved: Reserved) -> Peer {
        let handshake =
            Handshake { reserved, info_hash: target.info_hash_v1(), peer_id: PeerId(*b"-XX0001-hostilepeer.") };
        stream.write_all(&handshake.encode()).unwrap();
        let mut answer = [0; wire::HANDSHAKE_SIZE];
        stream.read_exact(&mut answer).expect("the engine answers a good handshake");
        let answer = wire::parse_handshake(&answer).unwrap().unwrap();
        let piece_count = target.torrent().layout().piece_count();
        Peer { stream, engine_id: answer.peer_id, received: Vec::new(), used: 0, piece_count }
    }

    /// Says a message.
    pub fn say(&mut self, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Asks for a block.
    pub fn request(&mut self, index: u32, begin: u32, length: u32) {
        self.say(Message::Request { index, begin, length });
    }

    /// Sends `bytes` until the engine has had enough of them. True if it took them all.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if is_closed(&error) => false,
            Err(error) => panic!("the engine takes nothing and does not close: {error}"),
        }
    }

    /// Sends `bytes` again and again, at most `times` times, while another thread reads whatever comes; returns once the
    /// engine has closed. The flood of a peer that takes all answers.
    pub fn flood(mut self, bytes: &[u8], times: usize) {
        let reader = self.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| until_closed(reader));
            (0..times).all(|_| self.send(bytes));
        });
    }

    /// Reads messages until `pick` makes something of one. `None` if the connection ends before.
    pub fn hear<T>(&mut self, mut pick: impl FnMut(Message<'_>) -> Option<T>) -> Option<T> {
        let limits = Limits::leech(self.piece_count);
        loop {
            while let Parsed::Message { message, consumed } = wire::parse(&self.received[self.used..], &limits).unwrap()
            {
                self.used += consumed;
                let picked = pick(message);
                if picked.is_some() {
                    return picked;
                }
            }
            self.received.drain(..self.used);
            self.used = 0;
            let mut bytes = [0; READ_BYTES];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_closed(&error) => return None,
                Err(error) => panic!("nothing was heard: {error}"),
            }
        }
    }

    /// Waits for the next block.
    pub fn block(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        self.hear(|message| match message {
            Message::Piece { index, begin, data } => Some((index, begin, data.to_vec())),
            _ => None,
        })
    }

    /// Gets unchoked.
    pub fn unchoke(&mut self) {
        self.say(Message::Interested);
        let heard = self.hear(|message| (message == Message::Unchoke).then_some(()));
        assert!(heard.is_some(), "an interested peer is unchoked");
    }

    /// Reads whatever comes until the engine closes.
    pub fn until_closed(self) {
        until_closed(self.stream);
    }

    /// Waits until the engine closes a connection on which it has nothing to say.
    pub fn expect_closed(mut stream: TcpStream) {
        let mut said = Vec::new();
        // Unlike a plain read, this one goes on after a signal.
        match stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if is_closed(&error) => {}
            Err(error) => panic!("the engine does not close: {error}"),
        }
        assert!(said.is_empty(), "{said:?}");
    }
}

/// Reads whatever comes until the other side closes.
pub(crate) fn until_closed(mut stream: TcpStream) {
    let mut bytes = [0; READ_BYTES];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_closed(&error) => return,
            Err(error) => panic!("the engine does not close: {error}"),
        }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}
