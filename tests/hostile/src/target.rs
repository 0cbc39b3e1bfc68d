//! The engine under attack: real threads and sockets on loopback, a real release in a temporary folder.

use crate::{DEADLINE, Download, FAST, Peer, noise};
use hash::InfoHash;
use mesh::DropReason;
use metainfo::Torrent;
use seedbox::{Config, CreateOptions, Engine, Release, StateDir, Status, SuperSeeding, Terms};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Meter;
use tempfile::TempDir;

/// Bytes of the release: 65 pieces, the last one short.
pub const RELEASE_SIZE: usize = 2 * 1024 * 1024 + 17;

/// Bytes of a piece: two blocks, so that a v2 file has leaves below its piece layer.
pub const PIECE_LENGTH: u32 = 32 * 1024;

/// The pause between two looks at counters, which ring no bell.
const POLL_PAUSE: Duration = Duration::from_millis(3);

/// The grace that the engine gets when a test is over.
const GRACE: Duration = Duration::from_secs(2);

/// Connections by which an engine shows that every shard of it is alive. The kernel spreads them.
const PROBES: usize = 8;

/// An engine that serves one release.
pub struct Target {
    /// The engine.
    pub engine: Engine,
    /// What it serves.
    pub release: Release,
    /// The content of the release.
    pub bytes: Vec<u8>,
    dir: TempDir,
}

impl Target {
    /// An engine with that many shards and no announces; `change` its settings.
    pub fn start(shards: usize, change: impl FnOnce(&mut Config)) -> Target {
        let dir = tempfile::tempdir().unwrap();
        let bytes = noise(RELEASE_SIZE);
        let path = dir.path().join("image.iso");
        std::fs::write(&path, &bytes).unwrap();
        let mut config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            shards: Some(shards),
            announce: false,
            ..Config::default()
        };
        change(&mut config);
        let engine = Engine::start(&config).unwrap();
        let options = CreateOptions { piece_length: Some(PIECE_LENGTH), ..CreateOptions::default() };
        let state = StateDir::choose(Some(&dir.path().join("state"))).unwrap();
        let release = seedbox::publish(&path, &options, &state, None, &Arc::new(Meter::new())).unwrap();
        engine
            .add(release.seeded.clone(), engine.tracker_tiers().to_vec(), Terms::new(None, SuperSeeding::Off))
            .unwrap();
        Target { engine, release, bytes, dir }
    }

    /// Where peers connect to.
    pub fn address(&self) -> SocketAddr {
        self.engine.listen()[0]
    }

    /// What is served.
    pub fn torrent(&self) -> &Torrent {
        self.release.seeded.torrent()
    }

    /// The name by which a v1 peer asks for it.
    pub fn info_hash_v1(&self) -> InfoHash {
        self.torrent().info_hash_v1().unwrap().into()
    }

    /// The folder that holds the release.
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// How things are.
    pub fn status(&self) -> Status {
        self.engine.status().unwrap()
    }

    /// How many connections ended for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let status = self.status();
        status.dropped.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }

    /// Waits until the engine is as `is_so` wants it.
    pub fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {status:?}");
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Waits until that many connections have ended for this reason, and holds that there are no more of them.
    pub fn until_dropped(&self, reason: DropReason, count: u64) {
        let of_reason =
            |status: &Status| status.dropped.iter().find(|(known, _)| *known == reason).map_or(0, |it| it.1);
        self.until(&format!("{count} {}", reason.name()), |status| of_reason(status) >= count);
        assert_eq!(self.dropped(reason), count, "{}: {:?}", reason.name(), self.status());
    }

    /// Waits until nobody but `count` connections is left.
    pub fn until_connections(&self, count: u64) {
        self.until(&format!("{count} connections"), |status| {
            status.shards.iter().map(|shard| shard.connections).sum::<u64>() == count
        });
    }

    /// An honest download under way.
    pub fn download(&self) -> Download<'_> {
        Download::start(self, Peer::greet(self, FAST))
    }

    /// Sees that nothing is left of an attack: no connection, no peer, every shard answers and serves, and every
    /// thread ends when it is told to.
    pub fn finish(self) {
        self.until_connections(0);
        let status = self.status();
        assert_eq!((status.peers, status.interested, status.unchoked), (0, 0, 0), "{status:?}");
        assert_eq!(status.fatal, None);
        assert!(status.torrents.iter().all(|torrent| torrent.error.is_none() && torrent.peers == 0), "{status:?}");
        for _ in 0..PROBES {
            let mut peer = Peer::greet(&self, FAST);
            peer.unchoke();
            peer.request(64, 0, 17);
            let (index, begin, data) = peer.block().expect("a block is served after the attack");
            assert_eq!((index, begin, &data[..]), (64, 0, &self.bytes[RELEASE_SIZE - 17..]));
        }
        let mut last = self.download();
        last.finish();
        drop(last);
        self.until_connections(0);
        self.engine.stop(GRACE).unwrap();
    }
}
