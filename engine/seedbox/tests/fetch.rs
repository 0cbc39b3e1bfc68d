//! One engine fetches what another serves: the whole, a part, by a link, with limits, and again after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use metainfo::MagnetPeer;
use seedbox::{
    Config, Engine, EngineError, FetchRequest, FetchStatus, Release, Selection, Source, TorrentState, TorrentStatus,
};
use std::num::NonZeroU64;
use std::path::Path;

use std::time::{Duration, Instant};
use support::{DEADLINE, Folder, PIECE_LENGTH, config, plain, until};

const GRACE: Duration = Duration::from_millis(300);
const SIZE: usize = 40 * PIECE_LENGTH as usize + 77;

/// An engine that serves a release of two files.
struct Origin {
    folder: Folder,
    release: Release,
    engine: Engine,
}

impl Origin {
    fn new() -> Origin {
        Origin::with(&config(1))
    }

    fn with(config: &Config) -> Origin {
        let folder = Folder::new();
        let root = folder.path().join("release");
        std::fs::create_dir_all(root.join("docs")).unwrap();
        folder.write("release/image.iso", SIZE, 1);
        folder.write("release/docs/manual.pdf", 100_000, 2);
        let release = folder.publish(&root);
        let engine = Engine::start(config).unwrap();
        engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
        Origin { folder, release, engine }
    }

    /// A request for all of it into `folder`, which knows where it is to be had.
    fn request(&self, folder: &Folder) -> FetchRequest {
        let source = Source::Torrent(self.release.seeded.torrent().clone());
        FetchRequest {
            peers: self.engine.listen().to_vec(),
            state: Some(folder.state()),
            terms: plain(),
            ..FetchRequest::new(source, folder.path().join("into"))
        }
    }

    fn assert_same(&self, folder: &Folder, file: &str) {
        let read = |root: &Path| std::fs::read(root.join("release").join(file)).unwrap();
        assert!(read(self.folder.path()) == read(&folder.path().join("into")), "{file} has other bytes");
    }
}

/// Waits until the engine's only torrent is in a state.
fn reach(engine: &Engine, is_it: fn(&TorrentState) -> bool) -> TorrentStatus {
    let status = until(engine, "the fetch goes on", |status| {
        let torrent = &status.torrents[0];
        torrent.error.is_some() || is_it(&torrent.state)
    });
    let torrent = status.torrents[0].clone();
    assert_eq!(torrent.error, None);
    torrent
}

fn complete(engine: &Engine) -> FetchStatus {
    let torrent = reach(engine, |state| *state == TorrentState::Complete);
    let fetch = torrent.fetch.unwrap();
    assert_eq!((fetch.verified_pieces, fetch.left_bytes), (fetch.total_pieces, 0));
    fetch
}

#[test]
fn what_is_fetched_is_served_by_every_shard_and_known_at_the_next_start() {
    let (origin, folder) = (Origin::new(), Folder::new());
    let engine = Engine::start(&config(2)).unwrap();
    let id = engine.fetch(origin.request(&folder)).unwrap();
    assert!(matches!(engine.fetch(origin.request(&folder)), Err(EngineError::Add(_))), "once is enough");
    complete(&engine);
    origin.assert_same(&folder, "image.iso");
    origin.assert_same(&folder, "docs/manual.pdf");
    // Wherever the kernel lands them, peers are served.
    let torrent = origin.release.seeded.torrent();
    for _ in 0..8 {
        support::Peer::ready(engine.listen()[0], torrent);
    }
    engine.remove(id).unwrap();
    engine.stop(GRACE).unwrap();

    let engine = Engine::start(&config(1)).unwrap();
    let begun = FetchRequest { peers: Vec::new(), ..origin.request(&folder) };
    engine.fetch(begun).unwrap();
    assert_eq!(complete(&engine).received_bytes, 0);
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_part_is_fetched_alone_and_the_rest_later() {
    let (origin, folder) = (Origin::new(), Folder::new());
    let engine = Engine::start(&config(1)).unwrap();
    let selection = Selection::Globs(vec!["docs".to_owned()]);
    let id = engine.fetch(FetchRequest { selection, ..origin.request(&folder) }).unwrap();
    let fetch = reach(&engine, |state| *state == TorrentState::HasWanted).fetch.unwrap();
    assert!(fetch.wanted_pieces < fetch.total_pieces && fetch.left_bytes == 0, "{fetch:?}");
    origin.assert_same(&folder, "docs/manual.pdf");
    engine.remove(id).unwrap();

    engine.fetch(origin.request(&folder)).unwrap();
    assert!(complete(&engine).resumed_bytes > 0, "what was there is used");
    origin.assert_same(&folder, "image.iso");
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_link_is_asked_about_once() {
    let (origin, folder) = (Origin::new(), Folder::new());
    let address = origin.engine.listen()[0];
    let mut magnet = origin.release.seeded.torrent().magnet();
    magnet.peers.push(MagnetPeer { host: address.ip().to_string(), port: address.port() });
    let request = || FetchRequest { source: Source::Magnet(Box::new(magnet.clone())), ..origin.request(&folder) };
    let engine = Engine::start(&config(1)).unwrap();
    engine.fetch(request()).unwrap();
    complete(&engine);
    origin.assert_same(&folder, "image.iso");
    engine.stop(GRACE).unwrap();

    // Nobody is there any more to tell what the link stands for.
    let again = FetchRequest { peers: Vec::new(), ..request() };
    origin.engine.stop(GRACE).unwrap();
    let engine = Engine::start(&config(1)).unwrap();
    engine.fetch(again).unwrap();
    assert_eq!(complete(&engine).received_bytes, 0);
    engine.stop(GRACE).unwrap();
}

#[test]
fn the_download_limit_holds() {
    let (origin, folder) = (Origin::new(), Folder::new());
    let limit = 1_000_000;
    let engine = Engine::start(&Config { download_bytes_per_s: NonZeroU64::new(limit), ..config(1) }).unwrap();
    let begun = Instant::now();
    engine.fetch(origin.request(&folder)).unwrap();
    complete(&engine);
    let rate = SIZE as f64 / begun.elapsed().as_secs_f64();
    // A burst in the beginning is free; a slow machine only makes it slower.
    assert!(rate < 1.25 * limit as f64, "{rate:.0} B/s");
    assert!(begun.elapsed() < DEADLINE);
    origin.assert_same(&folder, "image.iso");
    engine.stop(GRACE).unwrap();
}

#[test]
fn two_mirrors_that_begin_together_feed_each_other() {
    let origin = Origin::with(&Config { upload_bytes_per_s: NonZeroU64::new(4_000_000), ..config(1) });
    let mirrors: Vec<(Folder, Engine)> = (0..2).map(|_| (Folder::new(), Engine::start(&config(1)).unwrap())).collect();
    for (n, (folder, engine)) in mirrors.iter().enumerate() {
        let mut request = origin.request(folder);
        request.peers.extend_from_slice(mirrors[1 - n].1.listen());
        engine.fetch(request).unwrap();
    }
    for (folder, engine) in &mirrors {
        complete(engine);
        origin.assert_same(folder, "image.iso");
    }
    let sent = |engine: &Engine| engine.status().unwrap().torrents[0].payload_sent_bytes;
    assert!(mirrors.iter().any(|(_, engine)| sent(engine) > 0), "neither gave the other anything");
    mirrors.into_iter().for_each(|(_, engine)| engine.stop(GRACE).unwrap());
}
