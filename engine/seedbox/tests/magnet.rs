//! Magnet links resolved from the real engine: every version, under every name, layers of more than one run among them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use control::resolve::{FoundPeers, ResolveConfig, Resolved, Resolver};
use mesh::PeerOrigin;
use metainfo::{Magnet, MagnetPeer, Torrent, Version};
use seedbox::{CreateOptions, Engine};
use std::net::SocketAddr;
use std::sync::Arc;
use storage::Meter;
use support::{BLOCK, DEADLINE, Folder, config, plain};
use tokio::sync::mpsc;
use wire::PeerId;

/// Pieces of the long file: three runs of 512 hashes, the last of them padded.
const LONG_PIECES: u32 = 1_100;

/// A folder of a file of many pieces, one of few, one of one, and an empty one.
fn content(folder: &Folder) -> std::path::PathBuf {
    let root = folder.path().join("release");
    std::fs::create_dir_all(root.join("docs")).unwrap();
    for (name, size) in [
        ("image.iso", (LONG_PIECES * BLOCK) as usize - 77),
        ("docs/manual.pdf", 3 * BLOCK as usize + 1),
        ("docs/readme.txt", 100),
        ("docs/empty", 0),
    ] {
        folder.write(&format!("release/{name}"), size, 1);
    }
    root
}

/// Publishes the content in a state folder of its own, so that each version is made anew.
fn publish(folder: &Folder, version: Version) -> seedbox::Release {
    let state = folder.path().join(format!("state {version:?}"));
    let state = seedbox::StateDir::choose(Some(&state)).unwrap();
    let options = CreateOptions { version, piece_length: Some(BLOCK), ..CreateOptions::default() };
    seedbox::publish(&content(folder), &options, &state, None, &Arc::new(Meter::new())).unwrap()
}

/// On a runtime of its own, as the engine has one, too.
fn resolve(magnet: Magnet, peers: Vec<SocketAddr>) -> Resolved {
    let config =
        ResolveConfig { give_up_after: Some(DEADLINE), ..ResolveConfig::new(PeerId::ours([3; 12]), "Spillway test") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (found, told) = mpsc::channel(1);
        found.send(FoundPeers { origin: PeerOrigin::Tracker, addresses: peers }).await.unwrap();
        Resolver::new(config).resolve(magnet, told, 9).finish().await.unwrap()
    })
}

fn assert_same(resolved: &Resolved, torrent: &Torrent) {
    assert!(!resolved.lacks_layers);
    assert_eq!(resolved.torrent.info_bytes(), torrent.info_bytes());
    for file in torrent.layout().file_indices() {
        assert_eq!(resolved.torrent.piece_layer(file), torrent.piece_layer(file));
    }
    // What is kept of it is the torrent file that a restart reads.
    let kept = Torrent::parse(&resolved.torrent.to_file_bytes().unwrap()).unwrap();
    assert!(kept.info_hashes().eq(torrent.info_hashes()));
}

#[test]
fn the_engine_gives_metadata_and_layers_to_who_comes_by_a_magnet_link() {
    let folder = Folder::new();
    for (version, names) in [
        (Version::V1, &[(true, false)][..]),
        (Version::V2, &[(false, true)]),
        (Version::Hybrid, &[(true, true), (true, false), (false, true)]),
    ] {
        let release = publish(&folder, version);
        let engine = Engine::start(&config(2)).unwrap();
        engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
        let (torrent, address) = (release.seeded.torrent(), engine.listen()[0]);
        for (v1, v2) in names {
            let mut magnet = torrent.magnet();
            magnet.info_hash_v1 = magnet.info_hash_v1.filter(|_| *v1);
            magnet.info_hash_v2 = magnet.info_hash_v2.filter(|_| *v2);
            let resolved = resolve(magnet, vec![address]);
            assert_same(&resolved, torrent);
            assert_eq!(resolved.peers, [address]);
        }
        engine.stop(std::time::Duration::from_millis(300)).unwrap();
    }
}

#[test]
fn several_engines_share_the_work_and_the_link_alone_is_enough() {
    let folder = Folder::new();
    let release = publish(&folder, Version::Hybrid);
    let engines: Vec<Engine> = (0..3).map(|_| Engine::start(&config(1)).unwrap()).collect();
    let torrent = release.seeded.torrent();
    let mut magnet = torrent.magnet();
    for engine in &engines {
        engine.add(release.seeded.clone(), Vec::new(), plain()).unwrap();
        magnet.peers.push(MagnetPeer { host: "localhost".into(), port: engine.listen()[0].port() });
    }
    // As text, as a person passes it on.
    let magnet: Magnet = magnet.to_string().parse().unwrap();
    assert_same(&resolve(magnet, Vec::new()), torrent);
}
