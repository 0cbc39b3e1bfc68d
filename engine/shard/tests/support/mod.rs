//! A shard on loopback with a torrent in a temporary folder, and a plain blocking peer to talk to it.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that fails says so
#![allow(clippy::needless_pass_by_value)] // it reads better where a test starts a shard

pub mod seed;

use mesh::{Command, Doorbell, Event, Fetch, TorrentCounters, TorrentId};
use metainfo::Torrent;
use shard::{DeviceBudgets, EventDoorbell, Listeners, Neighbours, ShardConfig, ShardLink, ShardThread};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use storage::{Content, Partial, PartialOptions, Place, Seeded};
use swarm::{RateLimiter, SuperSeeding, Terms};
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// Long enough for the slowest machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what rings no bell: who looks without a pause takes a processor from what it waits for.
pub const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Wakes the test when a shard reports.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell for Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Bell {
    fn wait(&self, deadline: Instant) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            let left = deadline.checked_duration_since(Instant::now()).expect("the shard reported in time");
            rung = self.changed.wait_timeout(rung, left).unwrap().0;
        }
        *rung = false;
    }
}

/// A folder with content, and its torrent.
pub struct Release {
    pub dir: tempfile::TempDir,
    pub torrent: Arc<Torrent>,
    pub bytes: Vec<u8>,
}

/// Bytes that look random and are the same every time.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A v1 torrent of one file.
pub fn single(size: usize, piece_length: usize) -> Release {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(size);
    std::fs::write(dir.path().join("image.iso"), &bytes).unwrap();
    let hashes: Vec<u8> = bytes.chunks(piece_length).flat_map(|piece| hash::sha1(piece).0).collect();
    let mut info =
        format!("d6:lengthi{size}e4:name9:image.iso12:piece lengthi{piece_length}e6:pieces{}:", hashes.len())
            .into_bytes();
    info.extend_from_slice(&hashes);
    info.push(b'e');
    Release { dir, torrent: Arc::new(Torrent::from_info(&info).unwrap()), bytes }
}

/// A v1 torrent of many files, `sizes` long each.
pub fn many(sizes: &[usize], piece_length: usize) -> Release {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(sizes.iter().sum());
    let mut files = String::new();
    let mut rest = &bytes[..];
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    for (n, size) in sizes.iter().enumerate() {
        let name = format!("file-{n:05}");
        std::fs::write(dir.path().join("tree").join(&name), &rest[..*size]).unwrap();
        rest = &rest[*size..];
        files += &format!("d6:lengthi{size}e4:pathl{}:{name}ee", name.len());
    }
    let hashes: Vec<u8> = bytes.chunks(piece_length).flat_map(|piece| hash::sha1(piece).0).collect();
    let mut info =
        format!("d5:filesl{files}e4:name4:tree12:piece lengthi{piece_length}e6:pieces{}:", hashes.len()).into_bytes();
    info.extend_from_slice(&hashes);
    info.push(b'e');
    Release { dir, torrent: Arc::new(Torrent::from_info(&info).unwrap()), bytes }
}

impl Release {
    /// The same content as a private torrent.
    pub fn private(self) -> Release {
        let info = self.torrent.info_bytes();
        let info = [&info[..info.len() - 1], b"7:privatei1ee"].concat();
        Release { torrent: Arc::new(Torrent::from_info(&info).unwrap()), ..self }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("image.iso")
    }

    pub fn seeded(&self) -> Arc<Seeded> {
        let content = Content::open(self.torrent.layout(), &Place::under(self.dir.path())).unwrap();
        Arc::new(Seeded::new(self.torrent.clone(), content))
    }
}

/// One shard and the link to it.
pub struct Fixture {
    pub link: Arc<ShardLink>,
    pub address: SocketAddr,
    pub counters: Arc<TorrentCounters>,
    events_bell: Arc<Bell>,
    thread: Option<ShardThread>,
}

pub const TORRENT: TorrentId = TorrentId(0);

pub fn config() -> ShardConfig {
    ShardConfig {
        shard: 0,
        core: 0,
        start: Instant::now(),
        peer_id: PeerId::ours([5; 12]),
        client: "Spillway test".into(),
        connection_limit: 1000,
        connections_per_address: 1000,
        unsent_budget_bytes: 64 << 20,
        listen: Vec::new(),
        listen_port: None,
        dht_port: None,
        dial_from: Vec::new(),
        download: Arc::new(RateLimiter::unlimited()),
        pex: true,
        write_buffer_bytes: 4 << 20,
        open_file_limit: 100,
        upload: Arc::new(RateLimiter::unlimited()),
        device_budgets: Arc::new(DeviceBudgets::new(1)),
        names: Arc::default(),
        neighbours: Arc::default(),
        turn_delay: Duration::ZERO,
        zero_copy: false,
        seed: 1,
    }
}

/// Starts a shard that serves `seeded`.
pub fn serve(config: ShardConfig, seeded: Arc<Seeded>) -> Fixture {
    serve_together(&config, &seeded, 1).remove(0)
}

/// A torrent that is fetched into a folder of its own.
pub struct Fetched {
    pub dir: tempfile::TempDir,
    pub partial: Arc<Partial>,
    have: Vec<u8>,
}

/// The files of a torrent that is to be fetched.
pub fn partial(torrent: &Arc<Torrent>) -> Fetched {
    let dir = tempfile::tempdir().unwrap();
    partial_in(torrent, dir)
}

/// The same in a folder where something may be already.
pub fn partial_in(torrent: &Arc<Torrent>, dir: tempfile::TempDir) -> Fetched {
    let options = PartialOptions { record: Some(dir.path().join("record")), ..PartialOptions::default() };
    let (partial, resumed) = Partial::open(torrent.clone(), &Place::under(dir.path()), &options).unwrap();
    Fetched { dir, partial: Arc::new(partial), have: resumed.have.as_bytes().to_vec() }
}

impl Fetched {
    /// Has the first of these shards fetch it, and the others send their peers there.
    pub fn begin(&self, shards: &[Fixture], sequential: bool) {
        let torrent = self.partial.torrent();
        let fetch = Fetch {
            id: TORRENT,
            torrent: Arc::new(Seeded::new(torrent.clone(), self.partial.content())),
            partial: self.partial.clone(),
            have: self.have.clone().into(),
            wanted: self.partial.wanted().as_bytes().into(),
            sequential,
            terms: Arc::new(Terms::new(None, SuperSeeding::Off)),
            counters: shards[0].counters.clone(),
        };
        shards[0].command(Command::Fetch(Box::new(fetch)));
        for shard in &shards[1..] {
            let info_hashes = torrent.info_hashes().collect();
            shard.command(Command::Forward { id: TORRENT, info_hashes, home: 0 });
        }
    }

    /// What is on disk of the only file.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("image.iso")).unwrap()
    }

    /// Serves it, now that it is whole, on all these shards.
    pub fn serve(&self, shards: &[Fixture]) {
        let torrent = self.partial.torrent();
        let content = Content::open(torrent.layout(), &Place::under(self.dir.path())).unwrap();
        let seeded = Arc::new(Seeded::new(torrent.clone(), content));
        for shard in shards {
            let (torrent, terms) = (seeded.clone(), Arc::new(Terms::new(None, SuperSeeding::Off)));
            shard.command(Command::Serve { id: TORRENT, torrent, terms, counters: shards[0].counters.clone() });
        }
    }
}

/// Starts neighbours that serve nothing. Peers connect to the last of them.
pub fn idle(config: &ShardConfig, shard_count: usize) -> Vec<Fixture> {
    start(config, shard_count, shard_count - 1)
}

/// Starts neighbours that serve `seeded`. Peers connect to the first of them, the others listen nowhere.
pub fn serve_together(config: &ShardConfig, seeded: &Arc<Seeded>, shard_count: usize) -> Vec<Fixture> {
    serve_on_terms(config, seeded, shard_count, (TORRENT, Arc::new(Terms::new(None, SuperSeeding::Off))))
}

/// The same under another number and on other terms.
pub fn serve_on_terms(
    config: &ShardConfig,
    seeded: &Arc<Seeded>,
    shard_count: usize,
    (id, terms): (TorrentId, Arc<Terms>),
) -> Vec<Fixture> {
    let fixtures = start(config, shard_count, 0);
    for fixture in &fixtures {
        let (torrent, terms, counters) = (seeded.clone(), terms.clone(), fixture.counters.clone());
        fixture.command(Command::Serve { id, torrent, terms, counters });
    }
    fixtures
}

fn start(config: &ShardConfig, shard_count: usize, listening: usize) -> Vec<Fixture> {
    let mut listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
    let address = listeners.addresses[0];
    let bells: Vec<_> = (0..shard_count).map(|_| Arc::new(EventDoorbell::new().unwrap())).collect();
    let neighbours = Arc::new(Neighbours::new(&bells));
    let counters = Arc::new(TorrentCounters::new(shard_count));
    let mut fixtures = Vec::new();
    for (shard, bell) in bells.into_iter().enumerate() {
        let events_bell = Arc::new(Bell::default());
        let link = Arc::new(ShardLink::new(bell.clone(), mesh::event_mailbox(events_bell.clone())));
        let config = ShardConfig { shard, neighbours: neighbours.clone(), ..config.clone() };
        let sockets = if shard == listening { listeners.shards.remove(0) } else { Vec::new() };
        let thread = shard::spawn(config, link.clone(), bell, sockets).unwrap();
        fixtures.push(Fixture { link, address, counters: counters.clone(), events_bell, thread: Some(thread) });
    }
    fixtures
}

impl Fixture {
    /// The next event of the shard.
    pub fn event(&self) -> Event {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(event) = self.link.events.take() {
                return event;
            }
            if self.link.events.prepare_to_sleep() {
                self.events_bell.wait(deadline);
            }
        }
    }

    pub fn command(&self, command: Command<Arc<Seeded>, Arc<Terms>, Arc<Partial>>) {
        assert!(self.link.commands.post(command).is_ok());
    }

    /// Waits until `is_so`; counters ring no bell, so this looks again and again.
    pub fn until(&self, what: &str, is_so: impl Fn(&mesh::ShardCounters) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(&self.link.counters) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Stops the shard and waits for its end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let _ = self.link.commands.post(Command::Stop { grace: Duration::ZERO });
        thread.join().unwrap();
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// A peer that speaks when it is told to.
pub struct Peer {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    piece_count: u32,
}

impl Peer {
    /// Connects and greets by the torrent's first info-hash.
    pub fn greet(address: SocketAddr, torrent: &Torrent, reserved: Reserved) -> Peer {
        Peer::greet_as(PeerId::ours([6; 12]), address, torrent, reserved)
    }

    /// The same, by the name of some client.
    pub fn greet_as(peer_id: PeerId, address: SocketAddr, torrent: &Torrent, reserved: Reserved) -> Peer {
        Peer::meet(peer_id, address, torrent, reserved).0
    }

    /// The same, with what the shard says that it can.
    pub fn greet_hearing(address: SocketAddr, torrent: &Torrent, reserved: Reserved) -> (Peer, Reserved) {
        Peer::meet(PeerId::ours([6; 12]), address, torrent, reserved)
    }

    fn meet(peer_id: PeerId, address: SocketAddr, torrent: &Torrent, reserved: Reserved) -> (Peer, Reserved) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let info_hash = torrent.info_hashes().next().unwrap();
        let handshake = Handshake { reserved, info_hash, peer_id };
        stream.write_all(&handshake.encode()).unwrap();
        let mut answer = [0; wire::HANDSHAKE_SIZE];
        stream.read_exact(&mut answer).unwrap();
        let answer = wire::parse_handshake(&answer).unwrap().unwrap();
        assert_eq!(answer.info_hash, info_hash);
        (Peer { stream, buffer: Vec::new(), piece_count: torrent.layout().piece_count() }, answer.reserved)
    }

    pub fn say(&mut self, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn request(&mut self, index: u32, begin: u32, length: u32) {
        self.say(Message::Request { index, begin, length });
    }

    /// Reads messages until `pick` makes something of one. `None` if the connection ends before.
    pub fn hear<T>(&mut self, mut pick: impl FnMut(Message<'_>) -> Option<T>) -> Option<T> {
        let limits = Limits::leech(self.piece_count);
        loop {
            while let Parsed::Message { message, consumed } = wire::parse(&self.buffer, &limits).unwrap() {
                let picked = pick(message);
                self.buffer.drain(..consumed);
                if picked.is_some() {
                    return picked;
                }
            }
            let mut bytes = vec![0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
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

    /// Downloads everything and compares it.
    pub fn download(&mut self, torrent: &Torrent, expected: &[u8]) {
        let layout = torrent.layout();
        let mut blocks = Vec::new();
        for piece in layout.pieces() {
            for begin in (0..layout.piece_size(piece)).step_by(16 * 1024) {
                blocks.push((piece.get(), begin, (layout.piece_size(piece) - begin).min(16 * 1024)));
            }
        }
        let mut asked = 0;
        for heard in 0..blocks.len() {
            while asked < blocks.len() && asked < heard + 64 {
                let (index, begin, length) = blocks[asked];
                self.request(index, begin, length);
                asked += 1;
            }
            let (index, begin, data) = self.block().expect("the download goes on to its end");
            let at = index as usize * layout.piece_length() as usize + begin as usize;
            assert!(data == expected[at..at + data.len()], "piece {index} at {begin} is what was written");
        }
    }
}

/// Drops the file's pages from the page cache.
pub fn make_cold(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        if !is_cached(&file) {
            return;
        }
        // Pages that were just written may wait in a list of some processor, where the advice does not find them.
        assert!(Instant::now() < deadline, "{} leaves the page cache", path.display());
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether any page of the file is in the page cache.
fn is_cached(file: &std::fs::File) -> bool {
    let size = file.metadata().unwrap().len() as usize;
    if size == 0 {
        return false;
    }
    // SAFETY: the map is asked about and never read.
    let map = unsafe { memmap2::Mmap::map(file) }.unwrap();
    let mut pages = vec![0; size.div_ceil(4096)];
    // SAFETY: the map is page-aligned and covers `size` bytes, and `pages` has a byte for each page of them.
    let answer = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), size, pages.as_mut_ptr()) };
    assert_eq!(answer, 0);
    pages.iter().any(|page: &u8| page & 1 == 1)
}
