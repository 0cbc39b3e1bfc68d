//! One real shard, real sockets, real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use mesh::{Command, DropReason, Event};
use metainfo::BLOCK_SIZE;
use shard::ShardConfig;
use std::io::Write;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use support::{DEADLINE, Peer, TORRENT, config, make_cold, many, serve, single};
use swarm::RateLimiter;
use wire::{Message, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

#[test]
fn a_peer_gets_every_byte() {
    let release = single(3_000_017, 256 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
    let size = release.bytes.len() as u64;
    fixture.until("every byte is booked", |counters| counters.payload_sent_bytes.get() == size);
    assert_eq!(fixture.counters.payload_sent_bytes(), size);
    fixture.stop();
}

#[test]
fn a_peer_gets_every_byte_by_reference() {
    let release = single(9_000_017, 256 * 1024);
    let fixture = serve(ShardConfig { zero_copy: true, ..config() }, release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
    let size = release.bytes.len() as u64;
    fixture.until("every byte is booked", |counters| counters.payload_sent_bytes.get() == size);
}

#[test]
fn small_files_go_out_by_reference_too() {
    let sizes: Vec<usize> = (0..40).map(|n| (n * 7919) % 150_000).collect();
    let release = many(&sizes, 64 * 1024);
    let fixture = serve(ShardConfig { zero_copy: true, ..config() }, release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
}

#[test]
fn a_peer_without_extensions_gets_every_byte() {
    let release = single(100_000, 32 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, Reserved::NONE);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
}

#[test]
fn cold_content_is_read_and_served() {
    let release = single(5_000_000, 1024 * 1024);
    make_cold(&release.path());
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
    assert!(fixture.link.counters.disk_read_bytes.get() > 0, "the first blocks were read, not mapped");
}

#[test]
fn blocks_that_span_many_small_files_are_whole() {
    let sizes: Vec<usize> = (0..700).map(|n| (n * 37) % 900).collect();
    let release = many(&sizes, 64 * 1024);
    let mut limits = config();
    limits.open_file_limit = 40;
    let fixture = serve(limits, release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
}

#[test]
fn a_thousand_one_byte_files_fill_no_write_and_are_served() {
    let sizes = vec![1; 1000];
    let release = many(&sizes, 16 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
}

#[test]
fn many_peers_at_once_all_get_every_byte() {
    let release = single(2_000_000, 128 * 1024);
    let fixture = serve(config(), release.seeded());
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
                peer.unchoke();
                peer.download(&release.torrent, &release.bytes);
            });
        }
    });
    let size = 40 * release.bytes.len() as u64;
    fixture.until("every byte is booked", |counters| counters.payload_sent_bytes.get() == size);
    fixture.until("all peers are gone", |counters| counters.connections.get() == 0);
    assert_eq!(fixture.counters.peers(), 0);
}

#[test]
fn a_truncated_file_is_a_torrent_error_and_never_wrong_bytes() {
    truncate_while_serving(config());
}

#[test]
fn a_truncated_file_is_a_torrent_error_by_reference_too() {
    truncate_while_serving(ShardConfig { zero_copy: true, ..config() });
}

fn truncate_while_serving(config: ShardConfig) {
    let release = single(4_000_000, 256 * 1024);
    let seeded = release.seeded();
    let fixture = serve(config, seeded.clone());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.request(0, 0, BLOCK_SIZE);
    assert!(peer.block().is_some());
    std::fs::OpenOptions::new().write(true).open(release.path()).unwrap().set_len(1000).unwrap();
    // In one piece: the shard may hang up at the first of them.
    let mut requests = Vec::new();
    (0..16).for_each(|index| Message::Request { index, begin: 0, length: BLOCK_SIZE }.encode(&mut requests));
    peer.stream.write_all(&requests).unwrap();
    while let Some((index, begin, data)) = peer.block() {
        let at = index as usize * 256 * 1024 + begin as usize;
        assert!(data == release.bytes[at..at + data.len()], "no byte of a changed file goes out");
    }
    assert_eq!(fixture.event(), Event::TorrentFailed { id: TORRENT });
    let error = seeded.error().unwrap().to_string();
    assert!(error.contains("image.iso") && error.contains("truncated"), "{error}");
}

#[test]
fn a_file_written_over_is_a_torrent_error() {
    let release = single(1_000_000, 256 * 1024);
    let seeded = release.seeded();
    let fixture = serve(config(), seeded.clone());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.request(0, 0, BLOCK_SIZE);
    assert!(peer.block().is_some());
    let file = std::fs::OpenOptions::new().write(true).open(release.path()).unwrap();
    file.write_all_at(&[0; 4096], 300_000).unwrap();
    peer.request(1, 0, BLOCK_SIZE);
    assert_eq!(peer.block(), None);
    assert_eq!(fixture.event(), Event::TorrentFailed { id: TORRENT });
}

#[test]
fn a_deleted_file_is_a_torrent_error() {
    let release = single(1_000_000, 256 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.request(0, 0, BLOCK_SIZE);
    assert!(peer.block().is_some());
    std::fs::remove_file(release.path()).unwrap();
    peer.request(1, 0, BLOCK_SIZE);
    assert_eq!(peer.block(), None);
    assert_eq!(fixture.event(), Event::TorrentFailed { id: TORRENT });
}

#[test]
fn a_withdrawn_torrent_lets_its_peers_go_and_greets_no_more() {
    let release = single(100_000, 32 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    fixture.command(Command::Withdraw { id: TORRENT });
    assert_eq!(peer.block(), None);
    let mut late = std::net::TcpStream::connect(fixture.address).unwrap();
    late.set_read_timeout(Some(DEADLINE)).unwrap();
    let info_hash = release.torrent.info_hashes().next().unwrap();
    let peer_id = wire::PeerId::ours([9; 12]);
    late.write_all(&wire::Handshake { reserved: FAST, info_hash, peer_id }.encode()).unwrap();
    fixture.until("the handshake is refused", |counters| counters.dropped(DropReason::UnknownTorrent) == 1);
}

#[test]
fn the_upload_limit_holds_and_everybody_gets_on() {
    let release = single(600_000, 64 * 1024);
    let mut limited = config();
    limited.upload = Arc::new(RateLimiter::new(NonZeroU64::new(1_000_000)));
    let fixture = serve(limited, release.seeded());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
                peer.unchoke();
                peer.download(&release.torrent, &release.bytes);
            });
        }
    });
    let size = 3 * release.bytes.len() as u64;
    fixture.until("every byte is booked", |counters| counters.payload_sent_bytes.get() == size);
}

#[test]
fn words_do_not_wait_behind_blocks_for_the_upload_limit() {
    let release = single(600_000, 64 * 1024);
    let mut limited = config();
    // A block takes two minutes.
    limited.upload = Arc::new(RateLimiter::new(NonZeroU64::new(128)));
    let fixture = serve(limited, release.seeded());
    let mut greedy = Peer::greet(fixture.address, &release.torrent, FAST);
    greedy.unchoke();
    (0..8).for_each(|index| greedy.request(index, 0, BLOCK_SIZE));
    let mut other = Peer::greet(fixture.address, &release.torrent, FAST);
    other.unchoke();
    other.request(0, 0, BLOCK_SIZE);
    other.request(1, 0, BLOCK_SIZE);
    other.say(Message::Cancel { index: 1, begin: 0, length: BLOCK_SIZE });
    let refused = other.hear(|message| matches!(message, Message::Reject { index: 1, .. }).then_some(()));
    assert!(refused.is_some());
    assert_eq!(fixture.link.counters.blocks_sent.get(), 0);
}

#[test]
fn one_slot_goes_round() {
    let release = single(100_000, 32 * 1024);
    let fixture = serve(config(), release.seeded());
    fixture.command(Command::SetSlots { slots: Some(1) });
    let mut first = Peer::greet(fixture.address, &release.torrent, FAST);
    first.unchoke();
    let mut second = Peer::greet(fixture.address, &release.torrent, FAST);
    second.say(Message::Interested);
    fixture.until("both are interested", |counters| counters.interested.get() == 2);
    assert_eq!(fixture.link.counters.unchoked.get(), 1);
    drop(first);
    let heard = second.hear(|message| (message == Message::Unchoke).then_some(()));
    assert!(heard.is_some(), "the slot of a peer that is gone is free");
}

#[test]
fn a_stop_lets_what_was_asked_for_go_out() {
    let release = single(2_000_000, 256 * 1024);
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    // In one piece, so that the shard has read all of them when it has answered one.
    let mut requests = Vec::new();
    (0..7).for_each(|index| Message::Request { index, begin: 0, length: 64 * 1024 }.encode(&mut requests));
    peer.stream.write_all(&requests).unwrap();
    assert!(peer.block().is_some());
    fixture.command(Command::Stop { grace: Duration::from_secs(20) });
    let heard = peer.hear(|message| (message == Message::Choke).then_some(()));
    assert!(heard.is_some(), "no more is taken on");
    peer.request(0, 0, BLOCK_SIZE);
    while peer.block().is_some() {}
    fixture.until("what was asked for before is sent", |counters| counters.blocks_sent.get() == 7);
    drop(peer);
    assert_eq!(fixture.event(), Event::Stopped { shard: 0 });
}

/// The end came with the last words; it is told once.
#[test]
fn a_peer_that_speaks_and_hangs_up_at_once_is_gone_at_once() {
    let release = single(100_000, 32 * 1024);
    let fixture = serve(config(), release.seeded());
    for _ in 0..50 {
        let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
        peer.say(Message::Interested);
        peer.request(0, 0, BLOCK_SIZE);
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        while peer.hear(|_| Some(())).is_some() {}
    }
    fixture.until("all are gone", |counters| counters.connections.get() == 0);
}

#[test]
fn a_third_connection_from_one_address_is_refused_where_two_are_allowed() {
    let release = single(100_000, 32 * 1024);
    let mut limited = config();
    limited.connections_per_address = 2;
    let fixture = serve(limited, release.seeded());
    let _first = Peer::greet(fixture.address, &release.torrent, FAST);
    let second = Peer::greet(fixture.address, &release.torrent, FAST);
    let _third = std::net::TcpStream::connect(fixture.address).unwrap();
    fixture.until("it is refused", |counters| counters.dropped(DropReason::TooManyConnections) == 1);
    drop(second);
    fixture.until("the place is free", |counters| counters.connections.get() == 1);
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
}
