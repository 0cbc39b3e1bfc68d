//! The engine from outside: started, served from, limited, disappointed by its disk, stopped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use mesh::DropReason;
use seedbox::{Config, CreateOptions, Engine, EngineError, StartError, StateDir, TrackerConfig};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use storage::Meter;
use support::{BLOCK, DEADLINE, Folder, Peer, config, dropped, loopback, plain, until};
use wire::Message;

/// For peers that do not close when they are told of the end.
const GRACE: Duration = Duration::from_millis(300);

#[test]
fn an_engine_without_work_starts_and_stops() {
    for shards in [1, 2] {
        let engine = Engine::start(&config(shards)).unwrap();
        let status = engine.status().unwrap();
        assert_eq!(status.shards.len(), shards);
        assert_eq!((status.peers, status.torrents.len(), status.fatal), (0, 0, None));
        let begun = Instant::now();
        engine.stop(DEADLINE).unwrap();
        assert!(begun.elapsed() < DEADLINE, "with nobody to wait for, the grace is not used up");
    }
    drop(Engine::start(&config(1)).unwrap());
}

#[test]
fn both_families_listen_on_one_port() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 100_000, 1));
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    let engine = Engine::start(&Config { listen: vec![loopback(), v6], ..config(2) }).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    let listen = engine.listen();
    assert_eq!(listen[0].port(), listen[1].port());
    assert_ne!(listen[0].port(), 0);
    for address in listen {
        let mut peer = Peer::ready(*address, release.seeded.torrent());
        peer.request(0, 0, BLOCK);
        assert_eq!(peer.block().unwrap().len(), BLOCK as usize);
    }
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_taken_port_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Engine::start(&Config { listen: vec![address], ..config(1) }).err().unwrap();
    assert!(matches!(error, StartError::Listen(_)));
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("--listen"), "{text}");

    let tracker = Some(TrackerConfig { listen: vec![address], ..TrackerConfig::default() });
    let text = Engine::start(&Config { tracker, ..config(1) }).err().unwrap().to_string();
    assert!(text.contains(&address.to_string()) && text.contains("--tracker-listen"), "{text}");
}

#[test]
fn a_second_engine_on_the_same_port_is_refused() {
    let engine = Engine::start(&config(2)).unwrap();
    let text = Engine::start(&Config { listen: engine.listen().to_vec(), ..config(1) }).err().unwrap().to_string();
    assert!(text.contains("--listen"), "{text}");
    engine.stop(GRACE).unwrap();
}

#[test]
fn more_shards_than_cores_is_an_error_that_names_the_option() {
    let text = Engine::start(&config(100_000)).err().unwrap().to_string();
    assert!(text.contains("--shards"), "{text}");
}

#[test]
fn the_same_torrent_twice_is_refused_and_served_on() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 100_000, 1));
    let engine = Engine::start(&config(1)).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    let error = engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap_err();
    assert!(matches!(error, EngineError::Add(_)));
    assert!(error.to_string().contains("image.iso"), "{error}");
    Peer::ready(engine.listen()[0], release.seeded.torrent());
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_removed_torrent_lets_its_peers_go_and_others_stay() {
    let folder = Folder::new();
    let gone = folder.publish(&folder.write("gone.iso", 100_000, 1));
    let kept = folder.publish(&folder.write("kept.iso", 100_000, 2));
    let engine = Engine::start(&config(2)).unwrap();
    let id = engine.add(gone.seeded.clone(), Vec::new(), plain()).unwrap();
    engine.add(kept.seeded.clone(), Vec::new(), plain()).unwrap();
    let address = engine.listen()[0];
    let mut leaving: Vec<Peer> = (0..8).map(|_| Peer::ready(address, gone.seeded.torrent())).collect();
    let mut staying = Peer::ready(address, kept.seeded.torrent());
    engine.remove(id).unwrap();
    assert!(leaving.iter_mut().all(|peer| peer.block().is_none()), "they are let go");
    let status = until(&engine, "one peer is left", |status| status.peers == 1);
    assert_eq!(dropped(&status, DropReason::TorrentGone), 8);
    assert_eq!(status.torrents.len(), 1);
    assert!(Peer::try_greet(address, gone.seeded.torrent()).is_none());
    staying.request(0, 0, BLOCK);
    assert!(staying.block().is_some());
    // It may come back, under a number of its own.
    assert_ne!(engine.add(gone.seeded.clone(), Vec::new(), plain()).unwrap(), id);
    Peer::ready(address, gone.seeded.torrent());
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_torrent_whose_file_shrinks_is_withdrawn_everywhere_and_says_why() {
    let folder = Folder::new();
    let path = folder.write("image.iso", 1_000_000, 1);
    let release = folder.publish(&path);
    let engine = Engine::start(&config(2)).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    let address = engine.listen()[0];
    let mut peers: Vec<Peer> = (0..12).map(|_| Peer::ready(address, release.seeded.torrent())).collect();
    let on_both = |status: &seedbox::Status| status.shards.iter().all(|shard| shard.connections > 0);
    while !on_both(&engine.status().unwrap()) {
        peers.push(Peer::ready(address, release.seeded.torrent()));
    }
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    // One shard meets it; the other one hears of it.
    peers[0].request(9, 0, BLOCK);
    assert!(peers.iter_mut().all(|peer| peer.block().is_none()), "no byte of it goes out any more");
    let status = until(&engine, "nobody is left", |status| status.peers == 0);
    let error = status.torrents[0].error.clone().unwrap();
    assert!(error.contains("image.iso") && error.contains("truncated"), "{error}");
    assert_eq!(dropped(&status, DropReason::TorrentGone), peers.len() as u64);
    for _ in 0..8 {
        assert!(Peer::try_greet(address, release.seeded.torrent()).is_none(), "neither shard greets for it");
    }
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_file_replaced_under_its_name_is_found_without_any_peer() {
    let folder = Folder::new();
    let path = folder.write("image.iso", 1_000_000, 1);
    let release = folder.publish(&path);
    let engine = Engine::start(&config(1)).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    std::fs::rename(folder.write("other", 1_000_000, 2), &path).unwrap();
    let status = until(&engine, "the watch finds it", |status| status.torrents[0].error.is_some());
    assert!(status.torrents[0].error.as_ref().is_some_and(|error| error.contains("image.iso")), "{status:?}");
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_restart_does_not_hash_again_unless_the_content_changed() {
    let folder = Folder::new();
    let path = folder.write("image.iso", 1_000_000, 1);
    let first = folder.publish(&path);
    assert!(!first.is_recalled);
    let second = folder.publish(&path);
    assert!(second.is_recalled);
    assert_eq!(first.seeded.torrent().info_bytes(), second.seeded.torrent().info_bytes());

    folder.write("image.iso", 1_000_000, 2);
    let changed = folder.publish(&path);
    assert!(!changed.is_recalled, "other bytes of the same size are hashed");
    assert_ne!(first.seeded.torrent().info_bytes(), changed.seeded.torrent().info_bytes());
    assert!(folder.publish(&path).is_recalled);
}

#[test]
fn a_torrent_file_loaded_twice_is_verified_once() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
    let load = |trust| {
        let state = folder.state();
        seedbox::load(&release.torrent_file, folder.path(), trust, Some(&state), None, &Arc::new(Meter::new()))
    };
    assert!(!load(false).unwrap().is_recalled);
    assert!(load(false).unwrap().is_recalled);
    folder.write("image.iso", 1_000_000, 2);
    let error = load(false).unwrap_err().to_string();
    assert!(error.contains("image.iso.torrent") && error.contains("16 of 16 pieces"), "{error}");
    assert!(load(true).unwrap().is_recalled, "trusted data is not read");
}

#[test]
fn content_that_is_not_there_is_named() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
    let load = |dir: &std::path::Path| {
        seedbox::load(&release.torrent_file, dir, false, None, None, &Arc::new(Meter::new())).unwrap_err().to_string()
    };
    let empty = Folder::new();
    let error = load(empty.path());
    assert!(error.contains("image.iso"), "{error}");

    let path = empty.write("image.iso", 1_000_000, 1);
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(path).unwrap(),
        &[0xff; 100],
        5 * 65536,
    )
    .unwrap();
    let error = load(empty.path());
    assert!(error.contains("1 of 16 pieces"), "{error}");

    std::fs::write(&release.torrent_file, b"d4:infodee").unwrap();
    let error = load(empty.path());
    assert!(error.contains("image.iso.torrent"), "{error}");
}

#[test]
fn a_state_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = Folder::new();
    let path = folder.write("image.iso", 100_000, 1);
    let file = folder.write("a-file", 1, 1);
    let state = StateDir::choose(Some(&file.join("state"))).unwrap();
    let error = seedbox::publish(&path, &CreateOptions::default(), &state, None, &Arc::new(Meter::new())).unwrap_err();
    assert!(error.to_string().contains("a-file"), "{error}");
}

/// Takes blocks over as many peers as there are, until told to stop.
fn load_with_peers(engine: &Engine, torrent: &metainfo::Torrent, peers: usize, during: impl FnOnce()) {
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..peers {
            scope.spawn(|| {
                let mut peer = Peer::ready(engine.listen()[0], torrent);
                peer.take_blocks(|| goes_on.load(Ordering::Relaxed));
            });
        }
        during();
        goes_on.store(false, Ordering::Relaxed);
    });
}

#[test]
fn the_upload_limit_holds_over_all_shards_together() {
    const RATE: u64 = 4_000_000;
    const WINDOW: Duration = Duration::from_millis(1500);
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
    let engine = Engine::start(&Config { upload_bytes_per_s: NonZeroU64::new(RATE), ..config(2) }).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    load_with_peers(&engine, release.seeded.torrent(), 8, || {
        until(&engine, "both shards send", |status| status.shards.iter().all(|shard| shard.payload_sent_bytes > 0));
        let deadline = Instant::now() + DEADLINE;
        loop {
            let begun = Instant::now();
            let before = engine.status().unwrap().payload_sent_bytes;
            std::thread::sleep(WINDOW);
            let sent = engine.status().unwrap().payload_sent_bytes - before;
            // Both reads lie within this time, so a machine that is late only makes the bound wider.
            let share = sent as f64 / (begun.elapsed().as_secs_f64() * RATE as f64);
            assert!(share <= 1.05, "{share} of the rate");
            // A machine that is late sends less, but not every time.
            if share >= 0.95 {
                break;
            }
            assert!(Instant::now() < deadline, "never more than {share} of the rate");
        }
    });
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_limit_of_less_than_a_block_in_its_bucket_starves_nobody() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
    let engine = Engine::start(&Config { upload_bytes_per_s: NonZeroU64::new(60_000), ..config(2) }).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::ready(engine.listen()[0], release.seeded.torrent())).collect();
    peers.iter_mut().for_each(|peer| peer.request(1, 0, BLOCK));
    for peer in &mut peers {
        assert_eq!(peer.block().unwrap().len(), BLOCK as usize);
    }
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_stop_lets_the_last_blocks_go_out() {
    let folder = Folder::new();
    let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
    let engine = Engine::start(&config(2)).unwrap();
    engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
    let mut peer = Peer::ready(engine.listen()[0], release.seeded.torrent());
    // In one write, so that none comes after the stop.
    let requests: Vec<Message<'_>> =
        (0..10).map(|index| Message::Request { index, begin: 0, length: 32 * 1024 }).collect();
    peer.say_all(&requests);
    assert!(peer.block().is_some());
    let rest = std::thread::spawn(move || std::iter::from_fn(|| peer.block()).count());
    engine.stop(DEADLINE).unwrap();
    assert_eq!(rest.join().unwrap(), 9);
}
