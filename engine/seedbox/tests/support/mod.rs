//! An engine on loopback, content in a temporary folder, and a plain blocking peer.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

use hash::InfoHash;
use metainfo::Torrent;
use seedbox::{Config, CreateOptions, Engine, Release, StateDir, Status, SuperSeeding, Terms};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Meter;
use tempfile::TempDir;
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// Long enough for the slowest machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two looks at counters, which ring no bell.
const POLL_PAUSE: Duration = Duration::from_millis(3);

pub const BLOCK: u32 = metainfo::BLOCK_SIZE;
pub const PIECE_LENGTH: u32 = 64 * 1024;

/// A folder for content and state.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes `size` bytes, different for every `seed`.
    pub fn write(&self, name: &str, size: usize, seed: u8) -> PathBuf {
        let path = self.path().join(name);
        let bytes: Vec<u8> = (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn state(&self) -> StateDir {
        StateDir::choose(Some(&self.path().join("state"))).unwrap()
    }

    pub fn publish(&self, path: &Path) -> Release {
        let options = CreateOptions { piece_length: Some(PIECE_LENGTH), ..CreateOptions::default() };
        seedbox::publish(path, &options, &self.state(), None, &Arc::new(Meter::new())).unwrap()
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Settings for a test: loopback, nothing announced.
pub fn config(shards: usize) -> Config {
    Config { listen: vec![loopback()], shards: Some(shards), announce: false, ..Config::default() }
}

/// Without super-seeding: these peers ask for what they were told nothing of, which no real client does.
pub fn plain() -> Terms {
    Terms::new(None, SuperSeeding::Off)
}

/// Waits until the engine is as `is_so` wants it.
pub fn until(engine: &Engine, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = engine.status().unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:?}");
        std::thread::sleep(POLL_PAUSE);
    }
}

pub fn dropped(status: &Status, reason: mesh::DropReason) -> u64 {
    status.dropped.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
}

/// A peer that says what it is told to.
pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    piece_count: u32,
}

impl Peer {
    /// Greets; `None` if the engine closes instead of answering.
    pub fn try_greet(address: SocketAddr, torrent: &Torrent) -> Option<Peer> {
        let mut peer = Peer::hello(address, torrent);
        peer.hear_greeting().then_some(peer)
    }

    /// Says its part of the greeting.
    pub fn hello(address: SocketAddr, torrent: &Torrent) -> Peer {
        Peer::hello_as(address, torrent, torrent.info_hashes().next().unwrap())
    }

    /// The same by another name of the torrent.
    pub fn hello_as(address: SocketAddr, torrent: &Torrent, info_hash: InfoHash) -> Peer {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let reserved = Reserved::FAST.with(Reserved::EXTENDED);
        let handshake = Handshake { reserved, info_hash, peer_id: PeerId(*b"-XX0001-enginetests.") };
        stream.write_all(&handshake.encode()).unwrap();
        let piece_count = torrent.layout().piece_count();
        Peer { stream, received: Vec::new(), piece_count }
    }

    /// Hears the engine's part; false if it closes instead.
    pub fn hear_greeting(&mut self) -> bool {
        let mut answer = [0; wire::HANDSHAKE_SIZE];
        self.stream.read_exact(&mut answer).is_ok()
    }

    /// Greets and is unchoked.
    pub fn ready(address: SocketAddr, torrent: &Torrent) -> Peer {
        let mut peer = Peer::try_greet(address, torrent).expect("the engine greets back");
        peer.say(Message::Interested);
        peer.hear(|message| (message == Message::Unchoke).then_some(())).expect("it is unchoked");
        peer
    }

    pub fn say(&mut self, message: Message<'_>) {
        self.say_all(&[message]);
    }

    /// Says them in one write.
    pub fn say_all(&mut self, messages: &[Message<'_>]) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn request(&mut self, index: u32, begin: u32, length: u32) {
        self.say(Message::Request { index, begin, length });
    }

    /// Reads messages until `pick` makes something of one. `None` if the connection ends before.
    pub fn hear<T>(&mut self, mut pick: impl FnMut(Message<'_>) -> Option<T>) -> Option<T> {
        let limits = Limits::leech(self.piece_count);
        loop {
            while let Parsed::Message { message, consumed } = wire::parse(&self.received, &limits).unwrap() {
                let picked = pick(message);
                self.received.drain(..consumed);
                if picked.is_some() {
                    return picked;
                }
            }
            let mut bytes = vec![0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing was heard: {error}"),
            }
        }
    }

    /// The next block's data; `None` if the connection ends before.
    pub fn block(&mut self) -> Option<Vec<u8>> {
        self.hear(|message| match message {
            Message::Piece { data, .. } => Some(data.to_vec()),
            _ => None,
        })
    }

    /// Asks for whole blocks of the first piece and takes them, until the engine closes or `goes_on` says no.
    pub fn take_blocks(&mut self, goes_on: impl Fn() -> bool) {
        const WINDOW: u32 = 32;
        (0..WINDOW).for_each(|n| self.request(0, n % 4 * BLOCK, BLOCK));
        while goes_on() && self.block().is_some() {
            self.request(0, 0, BLOCK);
        }
    }
}
