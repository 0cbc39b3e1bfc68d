//! A seeder of a few pages, made for these tests: honest, or wrong in the one way that a test asks for. A thread for every
//! peer, blocking sockets, no limits: it only ever meets swarmload.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unreachable_pub, dead_code)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use metainfo::{BLOCK_SIZE, Builder, CreateOptions, FileHashes, NewFile, PieceHashes, Torrent, Version, merkle};
use serde_json::Value;
use wire::{
    ExtensionHandshake, HANDSHAKE_SIZE, Handshake, Limits, Message, MetadataMessage, Parsed, PeerExtensions, PeerId,
    Reserved, UT_METADATA_ID, metadata_piece, parse, parse_handshake,
};

/// How the seeder behaves.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Sends the first byte of this piece wrong.
    pub lies_about: Option<u32>,
    /// Puts other messages between answers.
    pub chatters: bool,
    /// Chokes and unchokes after so many answers.
    pub chokes_every: Option<u32>,
    /// Answers requests in reverse, in groups of up to so many.
    pub reverses: Option<usize>,
    /// Does not speak the fast extension.
    pub is_old: bool,
    /// Never unchokes.
    pub never_unchokes: bool,
    /// Closes after so many answers.
    pub closes_after: Option<u32>,
    /// Sends every answer twice.
    pub repeats: bool,
    /// Says that it holds so many requests (BEP 10 `reqq`).
    pub request_queue_limit: Option<u32>,
    /// Sends metadata with a wrong byte.
    pub lies_about_metadata: bool,
}

/// What the seeder saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: AtomicU64,
    pub blocks: AtomicU64,
    pub bytes: AtomicU64,
    pub peers: Mutex<Vec<(IpAddr, PeerId)>>,
}

/// A torrent with its content, and the folder that its file is in.
pub struct Release {
    pub torrent: Torrent,
    pub content: Vec<u8>,
    pub file: PathBuf,
    _folder: tempfile::TempDir,
}

/// Not all zeros, and no two blocks alike.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// One file of so many bytes.
pub fn release(version: Version, size: usize, piece_length: u32) -> Release {
    let options = CreateOptions {
        name: "content".into(),
        version,
        piece_length: Some(piece_length),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let content = content(size);
    let builder = Builder::new(options, vec![NewFile { length: size as u64, ..NewFile::default() }]).unwrap();
    let mut hashes = PieceHashes::default();
    if version != Version::V2 {
        hashes.v1 = content.chunks(piece_length as usize).map(hash::sha1).collect();
    }
    if version != Version::V1 {
        let leaves: Vec<_> = content.chunks(BLOCK_SIZE as usize).map(hash::sha256).collect();
        let layer = merkle::piece_layer_from_leaves(&leaves, piece_length);
        let file = builder.layout().file_index(0).unwrap();
        hashes.v2 = vec![FileHashes { file, root: merkle::root_of_leaves(&leaves), layer }];
    }
    let bytes = builder.finish(&hashes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("content.torrent");
    std::fs::write(&file, &bytes).unwrap();
    Release { torrent: Torrent::parse(&bytes).unwrap(), content, file, _folder: folder }
}

/// A seeder that listens until it is dropped.
pub struct Seeder {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    is_over: Arc<AtomicBool>,
}

impl Seeder {
    pub fn start(release: &Release, manners: Manners, address: &str) -> Seeder {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, is_over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let shared = Arc::new((release.torrent.clone(), release.content.clone(), manners));
        let (counts, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(SeqCst) {
                    return;
                }
                counts.connections.fetch_add(1, SeqCst);
                let (shared, counts) = (Arc::clone(&shared), Arc::clone(&counts));
                thread::spawn(move || {
                    let (torrent, content, manners) = &*shared;
                    // The peer's end of the connection is the end of this thread.
                    let _ = Peer { stream, torrent, content, manners, seen: &counts }.serve();
                });
            }
        });
        Seeder { address, seen, is_over }
    }

    /// Runs swarmload against this seeder and returns its JSON.
    pub fn load(&self, release: &Release, args: &str) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_swarmload"))
            .arg(self.address.to_string())
            .arg("--torrent")
            .arg(&release.file)
            .args(args.split_whitespace())
            .args(["--json", "-", "--quiet"])
            .output()
            .unwrap();
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // Wakes the listener's thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection of the seeder.
struct Peer<'a> {
    stream: TcpStream,
    torrent: &'a Torrent,
    content: &'a [u8],
    manners: &'a Manners,
    seen: &'a Seen,
}

impl Peer<'_> {
    fn serve(mut self) -> io::Result<()> {
        let mut greeting = [0; HANDSHAKE_SIZE];
        self.stream.read_exact(&mut greeting)?;
        let theirs = parse_handshake(&greeting).unwrap().unwrap();
        self.seen.peers.lock().unwrap().push((self.stream.peer_addr()?.ip(), theirs.peer_id));
        assert!(self.torrent.info_hashes().any(|known| known == theirs.info_hash), "another swarm");
        let fast = if self.manners.is_old { Reserved::NONE } else { Reserved::FAST };
        let reserved = Reserved::EXTENDED.with(fast);
        let ours = Handshake { reserved, info_hash: theirs.info_hash, peer_id: PeerId(*b"-XX0000-abcdefghijkl") };
        let mut out = ours.encode().to_vec();
        ExtensionHandshake {
            metadata_size: Some(self.torrent.info_bytes().len() as u32),
            wants_metadata: false,
            takes_pex: false,
            upload_only: true,
            request_queue_limit: self.manners.request_queue_limit.unwrap_or(500),
            client: "test seeder",
            your_ip: None,
            listen_port: None,
        }
        .encode(&mut out);
        let limits = Limits::seed(self.torrent.layout().piece_count());
        match self.manners.is_old {
            true => Message::Bitfield(&vec![0xff; limits.bitfield_bytes() as usize]).encode(&mut out),
            false => Message::HaveAll.encode(&mut out),
        }
        self.stream.write_all(&out)?;
        self.talk(&limits)
    }

    fn talk(&mut self, limits: &Limits) -> io::Result<()> {
        let (mut held, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let (mut extensions, mut answered) = (PeerExtensions::default(), 0);
        loop {
            let size = self.stream.read(&mut buffer)?;
            if size == 0 {
                return Ok(());
            }
            held.extend_from_slice(&buffer[..size]);
            let (mut start, mut out, mut requests) = (0, Vec::new(), Vec::new());
            while let Parsed::Message { message, consumed } = parse(&held[start..], limits).unwrap() {
                start += consumed;
                match message {
                    Message::Interested if !self.manners.never_unchokes => Message::Unchoke.encode(&mut out),
                    Message::Extended { id: 0, payload } => extensions.update(payload).unwrap(),
                    Message::Extended { id: UT_METADATA_ID, payload } => {
                        self.metadata(payload, extensions.ut_metadata.unwrap(), &mut out);
                    }
                    Message::Request { index, begin, length } => requests.push((index, begin, length)),
                    _ => {}
                }
            }
            held.drain(..start);
            if let Some(group) = self.manners.reverses {
                requests.chunks_mut(group).for_each(<[_]>::reverse);
            }
            self.answer(&requests, &mut answered, &mut out);
            self.stream.write_all(&out)?;
            if self.manners.closes_after.is_some_and(|limit| answered >= limit) {
                return Ok(());
            }
        }
    }

    fn metadata(&self, payload: &[u8], id: u8, out: &mut Vec<u8>) {
        let Ok(Some(MetadataMessage::Request { piece })) = MetadataMessage::parse(payload) else { return };
        let mut data = metadata_piece(self.torrent.info_bytes(), piece).unwrap().to_vec();
        data[0] ^= u8::from(self.manners.lies_about_metadata);
        let total_size = self.torrent.info_bytes().len() as u32;
        MetadataMessage::Data { piece, total_size, data: &data }.encode(id, out);
    }

    fn answer(&self, requests: &[(u32, u32, u32)], answered: &mut u32, out: &mut Vec<u8>) {
        for (place, &(index, begin, length)) in requests.iter().enumerate() {
            let layout = self.torrent.layout();
            layout.block(index, begin, length).expect("only blocks of the torrent are asked for");
            let start = layout.piece_offset(layout.piece(index).unwrap()) as usize + begin as usize;
            let mut data = self.content[start..start + length as usize].to_vec();
            data[0] ^= u8::from(begin == 0 && self.manners.lies_about == Some(index));
            for _ in 0..1 + usize::from(self.manners.repeats) {
                Message::Piece { index, begin, data: &data }.encode(out);
            }
            *answered += 1;
            self.seen.blocks.fetch_add(1, SeqCst);
            self.seen.bytes.fetch_add(length.into(), SeqCst);
            if self.manners.chatters && answered.is_multiple_of(37) {
                Message::KeepAlive.encode(out);
                Message::Have { index: 0 }.encode(out);
                Message::Extended { id: 77, payload: b"d5:addedle" }.encode(out);
            }
            if self.manners.chokes_every.is_some_and(|every| answered.is_multiple_of(every)) {
                Message::Choke.encode(out);
                if !self.manners.is_old {
                    for &(index, begin, length) in &requests[place + 1..] {
                        Message::Reject { index, begin, length }.encode(out);
                    }
                }
                Message::Unchoke.encode(out);
                return;
            }
        }
    }
}
