//! Torrents that one real shard fetches from another.

mod support;

use mesh::{Command, Event, PeerOrigin};
use shard::ShardConfig;
use std::sync::Arc;
use std::time::Instant;
use support::{Fixture, Peer, TORRENT, config, idle, partial, serve, single};
use swarm::RateLimiter;
use wire::{Message, PeerId, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

/// A shard's settings under an id of its own, since nobody fetches from itself.
fn leech() -> ShardConfig {
    ShardConfig { peer_id: PeerId::ours([7; 12]), ..config() }
}

fn tell(shard: &Fixture, of: &Fixture) {
    let addresses = vec![of.address];
    shard.command(Command::Peers { id: TORRENT, origin: PeerOrigin::Given, addresses });
}

#[test]
fn every_byte_is_fetched_verified_and_written() {
    let release = single(20_000_003, 256 * 1024);
    let seed = serve(config(), release.seeded());
    let fetched = partial(&release.torrent);
    let shards = idle(&leech(), 1);
    fetched.begin(&shards, false);
    tell(&shards[0], &seed);
    assert_eq!(shards[0].event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    let counters = &shards[0].counters;
    assert_eq!((counters.left_bytes(), counters.verified_bytes()), (0, release.bytes.len() as u64));
    assert_eq!(counters.payload_received_bytes(), release.bytes.len() as u64, "nothing came twice");
}

#[test]
fn what_was_fetched_is_served_by_all_shards_and_its_peers_stay() {
    let release = single(5_000_001, 64 * 1024);
    let seed = serve(config(), release.seeded());
    let fetched = partial(&release.torrent);
    let shards = idle(&leech(), 2);
    fetched.begin(&shards, false);
    // It comes by the shard that listens, which hands it to the one that fetches.
    let mut early = Peer::greet(shards[0].address, &release.torrent, FAST);
    shards[0].until("it is handed over", |counters| counters.peers.get() == 1);
    tell(&shards[0], &seed);
    assert_eq!(shards[0].event(), Event::Fetched { id: TORRENT });
    fetched.serve(&shards);
    let mut late = Peer::greet(shards[0].address, &release.torrent, FAST);
    for peer in [&mut early, &mut late] {
        peer.unchoke();
        peer.download(&release.torrent, &release.bytes);
    }
    shards[1].until("whoever comes now stays where it is", |counters| counters.peers.get() == 1);
}

#[test]
fn pieces_larger_than_the_buffers_are_written_before_they_are_whole() {
    let release = single(30_000_000, 8 << 20);
    let seed = serve(config(), release.seeded());
    let fetched = partial(&release.torrent);
    let shards = idle(&ShardConfig { write_buffer_bytes: 1 << 20, ..leech() }, 1);
    fetched.begin(&shards, true);
    tell(&shards[0], &seed);
    assert_eq!(shards[0].event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
}

#[test]
fn who_super_seeds_hears_of_the_pieces_that_it_has_told_us_of() {
    let release = single(128 * 1024, 64 * 1024);
    let fetched = partial(&release.torrent);
    let shards = idle(&leech(), 1);
    fetched.begin(&shards, false);
    let mut seed = Peer::greet(shards[0].address, &release.torrent, FAST);
    seed.say(Message::HaveNone);
    seed.say(Message::Have { index: 1 });
    assert!(seed.hear(|message| (message == Message::Interested).then_some(())).is_some());
    seed.say(Message::Unchoke);
    for _ in 0..4 {
        let asked = seed.hear(|message| match message {
            Message::Request { index: 1, begin, length } => Some((begin, length)),
            _ => None,
        });
        let (begin, length) = asked.expect("it asks for the only piece that it knows of");
        let at = 64 * 1024 + begin as usize;
        seed.say(Message::Piece { index: 1, begin, data: &release.bytes[at..at + length as usize] });
    }
    assert!(seed.hear(|message| (message == Message::Have { index: 1 }).then_some(())).is_some());
}

#[test]
fn a_peers_dht_node_is_told_of_and_the_peers_of_a_private_torrent_are_not_asked_for_theirs() {
    let with_dht = ShardConfig { dht_port: Some(6881), ..config() };
    let public = single(20_000, 16 * 1024);
    let fixture = serve(with_dht.clone(), public.seeded());
    let (mut peer, theirs) = Peer::greet_hearing(fixture.address, &public.torrent, FAST.with(Reserved::DHT));
    assert!(theirs.has(Reserved::DHT));
    assert!(peer.hear(|message| (message == Message::Port(6881)).then_some(())).is_some());
    peer.say(Message::Port(7000));
    assert_eq!(fixture.event(), Event::DhtNode { address: "127.0.0.1:7000".parse().unwrap() });

    let private = public.private();
    let fixture = serve(with_dht, private.seeded());
    let (mut peer, theirs) = Peer::greet_hearing(fixture.address, &private.torrent, FAST.with(Reserved::DHT));
    assert!(!theirs.has(Reserved::DHT));
    peer.say(Message::Port(7000));
    peer.unchoke();
    peer.download(&private.torrent, &private.bytes);
    assert_eq!(fixture.link.events.take(), None);
}

#[test]
fn the_download_limit_holds() {
    let release = single(600_000, 64 * 1024);
    let seed = serve(config(), release.seeded());
    let fetched = partial(&release.torrent);
    let limit = RateLimiter::new(std::num::NonZeroU64::new(400_000));
    let shards = idle(&ShardConfig { download: Arc::new(limit), ..leech() }, 1);
    let begun = Instant::now();
    fetched.begin(&shards, false);
    tell(&shards[0], &seed);
    assert_eq!(shards[0].event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    // Never faster, whatever the machine does: the bucket's burst is 50 ms.
    assert!(begun.elapsed().as_secs_f64() >= 600_000.0 / 400_000.0 - 0.06);
}
