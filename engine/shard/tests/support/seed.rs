//! A peer that has all of a torrent of one file and answers each request as its script says; it listens on an address of
//! loopback of its own, since bans go by address.

use super::{DEADLINE, Fetched, Fixture, Release, TORRENT, noise};
use mesh::{Command, Fetch, PeerOrigin, TorrentId};
use metainfo::Torrent;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use storage::Seeded;
use swarm::{SuperSeeding, Terms};
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// What a peer is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    pub index: u32,
    pub begin: u32,
    pub length: u32,
    /// How many requests came before, over all connections.
    pub nth: usize,
}

/// How it answers.
pub enum Reply {
    /// As it should.
    Right,
    /// With other bytes.
    Wrong,
    /// With a REJECT.
    Reject,
    /// Not at all.
    Silence,
    /// With these bytes, then as it should.
    After(Vec<u8>),
    /// With half of the block, and the connection ends.
    HangUp,
}

type Script = Box<dyn FnMut(Ask) -> Reply + Send>;

/// A scripted peer.
pub struct Seed {
    pub address: SocketAddr,
    /// All that it was asked for.
    pub asked: Arc<Mutex<Vec<Ask>>>,
    thread: Option<JoinHandle<()>>,
}

/// What the peer's thread works with.
struct Worker {
    torrent: Arc<Torrent>,
    bytes: Vec<u8>,
    peer_id: PeerId,
    asked: Arc<Mutex<Vec<Ask>>>,
    script: Script,
}

impl Seed {
    /// The `n`-th peer of a test, at 127.0.0.`n`.
    pub fn start(n: u8, release: &Release, script: impl FnMut(Ask) -> Reply + Send + 'static) -> Seed {
        let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, n), 0)).unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Ask>>>::default());
        let mut worker = Worker {
            torrent: release.torrent.clone(),
            bytes: release.bytes.clone(),
            peer_id: PeerId::ours([n; 12]),
            asked: asked.clone(),
            script: Box::new(script),
        };
        let work = move || {
            while let Ok((stream, from)) = listener.accept() {
                if from.ip() == listener.local_addr().unwrap().ip() {
                    // The test's own knock: it is over.
                    return;
                }
                worker.converse(stream);
            }
        };
        Seed { address, asked, thread: Some(std::thread::spawn(work)) }
    }

    /// How often it was asked for each block.
    pub fn counts(&self) -> HashMap<(u32, u32), usize> {
        let mut counts = HashMap::new();
        for ask in self.asked.lock().unwrap().iter() {
            *counts.entry((ask.index, ask.begin)).or_default() += 1;
        }
        counts
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // The thread may be in a conversation that only the shard ends; it is not waited for then.
        let knock = || -> std::io::Result<()> {
            let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
            rustix::net::bind(&socket, &SocketAddr::new(self.address.ip(), 0))?;
            Ok(rustix::net::connect(&socket, &self.address)?)
        };
        let _ = knock();
        drop(self.thread.take());
    }
}

impl Worker {
    fn converse(&mut self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut theirs = [0; wire::HANDSHAKE_SIZE];
        if stream.read_exact(&mut theirs).is_err() {
            return;
        }
        let info_hash = wire::parse_handshake(&theirs).unwrap().unwrap().info_hash;
        let mut reserved = Reserved::FAST.with(Reserved::EXTENDED);
        if self.torrent.info_hash_v2().is_some() {
            reserved = reserved.with(Reserved::V2);
        }
        let mut out = Handshake { reserved, info_hash, peer_id: self.peer_id }.encode().to_vec();
        Message::HaveAll.encode(&mut out);
        Message::Unchoke.encode(&mut out);
        let (mut buffer, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            if stream.write_all(&out).is_err() {
                return;
            }
            out.clear();
            let Ok(count @ 1..) = stream.read(&mut part) else { return };
            buffer.extend_from_slice(&part[..count]);
            let limits = Limits::leech(self.torrent.layout().piece_count());
            while let Parsed::Message { message, consumed } = wire::parse(&buffer, &limits).unwrap() {
                let goes_on = self.answer(message, &mut out);
                buffer.drain(..consumed);
                if !goes_on {
                    let _ = stream.write_all(&out);
                    return;
                }
            }
        }
    }

    fn answer(&mut self, message: Message<'_>, out: &mut Vec<u8>) -> bool {
        match message {
            Message::Request { index, begin, length } => {
                let mut asked = self.asked.lock().unwrap();
                let ask = Ask { index, begin, length, nth: asked.len() };
                asked.push(ask);
                drop(asked);
                self.reply(ask, out)
            }
            Message::HashRequest(request) => {
                let leaf_count = self.bytes.len().div_ceil(16 * 1024).next_power_of_two();
                let mut leaves: Vec<u8> =
                    self.bytes.chunks(16 * 1024).flat_map(|block| hash::sha256(block).0).collect();
                leaves.resize(leaf_count * 32, 0);
                let (from, count) = (request.index as usize * 32, request.length as usize * 32);
                Message::Hashes { request, hashes: &leaves[from..from + count] }.encode(out);
                true
            }
            _ => true,
        }
    }

    fn reply(&mut self, ask: Ask, out: &mut Vec<u8>) -> bool {
        let Ask { index, begin, length, .. } = ask;
        let at = index as usize * self.torrent.layout().piece_length() as usize + begin as usize;
        let data = &self.bytes[at..at + length as usize];
        match (self.script)(ask) {
            Reply::Right => Message::Piece { index, begin, data }.encode(out),
            Reply::Wrong => {
                let data: Vec<u8> = data.iter().map(|byte| !byte).collect();
                Message::Piece { index, begin, data: &data }.encode(out);
            }
            Reply::Reject => Message::Reject { index, begin, length }.encode(out),
            Reply::Silence => {}
            Reply::After(bytes) => {
                out.extend_from_slice(&bytes);
                Message::Piece { index, begin, data }.encode(out);
            }
            Reply::HangUp => {
                let before = out.len();
                Message::Piece { index, begin, data }.encode(out);
                out.truncate(before + (out.len() - before) / 2);
                return false;
            }
        }
        true
    }
}

/// A v2 torrent of one file, which is one piece: it needs no piece layer (BEP 52).
pub fn single_v2(size: usize) -> Release {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(size);
    std::fs::write(dir.path().join("image.iso"), &bytes).unwrap();
    let leaves: Vec<hash::Sha256Digest> = bytes.chunks(16 * 1024).map(hash::sha256).collect();
    let root = metainfo::merkle::root_of_leaves(&leaves);
    let piece_length = size.next_power_of_two();
    let mut info = format!("d9:file treed9:image.isod0:d6:lengthi{size}e11:pieces root32:").into_bytes();
    info.extend_from_slice(&root.0);
    info.extend_from_slice(
        format!("eee12:meta versioni2e4:name9:image.iso12:piece lengthi{piece_length}ee").as_bytes(),
    );
    Release { dir, torrent: Arc::new(Torrent::from_info(&info).unwrap()), bytes }
}

impl Fetched {
    /// Has a shard fetch it under another number.
    pub fn begin_as(&self, id: TorrentId, shard: &Fixture) {
        let torrent = self.partial.torrent();
        let fetch = Fetch {
            id,
            torrent: Arc::new(Seeded::new(torrent.clone(), self.partial.content())),
            partial: self.partial.clone(),
            have: self.have.clone().into(),
            wanted: self.partial.wanted().as_bytes().into(),
            sequential: true,
            terms: Arc::new(Terms::new(None, SuperSeeding::Off)),
            counters: shard.counters.clone(),
        };
        shard.command(Command::Fetch(Box::new(fetch)));
    }

    /// How many pieces were there when it was opened.
    pub fn had_count(&self) -> u32 {
        self.have.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether the piece was among them.
    pub fn had(&self, index: u32) -> bool {
        self.have[index as usize / 8] & (0x80 >> (index % 8)) != 0
    }
}

impl Fixture {
    /// Tells the shard where the test's torrent is to be had.
    pub fn tell(&self, addresses: &[SocketAddr]) {
        self.tell_of(TORRENT, addresses);
    }

    /// The same of another torrent.
    pub fn tell_of(&self, id: TorrentId, addresses: &[SocketAddr]) {
        self.command(Command::Peers { id, origin: PeerOrigin::Given, addresses: addresses.to_vec() });
    }
}
