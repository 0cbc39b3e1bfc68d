//! Content that is not in the page cache: who waits, who does not, and what is read.

mod support;

use mesh::{Command, Event, TorrentCounters, TorrentId};
use shard::DeviceBudgets;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Fixture, Peer, Release, TORRENT, config, make_cold, many, serve, serve_together, single};
use swarm::{SuperSeeding, Terms};
use wire::{Message, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);
const MIB: usize = 1024 * 1024;

fn also_serve(fixture: &Fixture, id: TorrentId, release: &Release) {
    fixture.command(Command::Serve {
        id,
        torrent: release.seeded(),
        terms: Arc::new(Terms::new(None, SuperSeeding::Off)),
        counters: Arc::new(TorrentCounters::new(1)),
    });
}

fn download(fixture: &Fixture, release: &Release) {
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    peer.download(&release.torrent, &release.bytes);
}

#[test]
fn a_cold_piece_is_read_once_for_many_peers() {
    let release = single(8 * MIB, MIB);
    make_cold(&release.path());
    let fixture = serve(config(), release.seeded());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| download(&fixture, &release));
        }
    });
    let read = fixture.link.counters.disk_read_bytes.get();
    assert!(read > 0 && read <= release.bytes.len() as u64, "{read} bytes were read");
}

#[test]
fn what_peers_ask_for_of_a_piece_is_read_and_no_more() {
    let release = single(8 * MIB, MIB);
    make_cold(&release.path());
    let fixture = serve(config(), release.seeded());
    let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
    peer.unchoke();
    let mut requests = Vec::new();
    for index in [6, 1, 3] {
        // From the middle of a window on: nothing says that the peer wants the rest of the piece.
        Message::Request { index, begin: 128 * 1024, length: 16 * 1024 }.encode(&mut requests);
    }
    peer.stream.write_all(&requests).unwrap();
    for index in [6, 1, 3] {
        let (heard, begin, data) = peer.block().unwrap();
        assert_eq!((heard, begin), (index, 128 * 1024));
        let at = index as usize * MIB + begin as usize;
        assert!(data == release.bytes[at..at + data.len()]);
    }
    assert_eq!(fixture.link.counters.disk_read_bytes.get(), 3 * 256 * 1024);
}

#[test]
fn two_shards_with_one_read_between_them_both_get_on() {
    let release = single(6 * MIB, MIB);
    let shared = Arc::new(DeviceBudgets::with_limit(2, 1));
    let mut limited = config();
    limited.device_budgets = shared;
    let seeded = release.seeded();
    let shards = [serve(limited.clone(), seeded.clone()), serve(limited, seeded)];
    make_cold(&release.path());
    std::thread::scope(|scope| {
        for fixture in &shards {
            for _ in 0..3 {
                scope.spawn(|| download(fixture, &release));
            }
        }
    });
}

/// With leave for one read at a time, one that is not given back stops the next reader for ever.
#[test]
fn leave_to_read_is_given_back_after_errors_and_withdrawals() {
    let (lost, spoilt, good) =
        (single(4 * MIB, MIB), single(2 * MIB, MIB), many(&[3_000_000, 50_000, 70_000], 64 * 1024));
    let mut limited = config();
    limited.device_budgets = Arc::new(DeviceBudgets::with_limit(1, 1));
    let fixture = serve(limited, spoilt.seeded());
    also_serve(&fixture, TorrentId(1), &lost);
    also_serve(&fixture, TorrentId(2), &good);
    let ask = |release: &Release| {
        make_cold(&release.path());
        let mut peer = Peer::greet(fixture.address, &release.torrent, FAST);
        peer.unchoke();
        (0..2).for_each(|index| peer.request(index, 0, 16 * 1024));
        peer
    };
    let mut peer = ask(&lost);
    fixture.command(Command::Withdraw { id: TorrentId(1) });
    while peer.block().is_some() {}
    let mut peer = ask(&spoilt);
    let file = std::fs::OpenOptions::new().write(true).open(spoilt.path()).unwrap();
    file.set_len(100).unwrap();
    let mut request = Vec::new();
    Message::Request { index: 1, begin: 16 * 1024, length: 16 * 1024 }.encode(&mut request);
    // The shard may have noticed and hung up already.
    let _ = peer.stream.write_all(&request);
    while peer.block().is_some() {}
    assert_eq!(fixture.event(), Event::TorrentFailed { id: TORRENT });
    for n in 0..3 {
        make_cold(&good.dir.path().join(format!("tree/file-{n:05}")));
    }
    download(&fixture, &good);
    fixture.stop();
}

#[test]
fn hot_peers_go_on_while_cold_ones_wait_for_leave_to_read() {
    let (hot, cold) = (single(4 * MIB, 256 * 1024), many(&[60_000; 200], 512 * 1024));
    let files: Vec<_> = (0..200).map(|n| cold.dir.path().join(format!("tree/file-{n:05}"))).collect();
    let mut limited = config();
    limited.device_budgets = Arc::new(DeviceBudgets::with_limit(1, 1));
    let fixture = serve(limited, hot.seeded());
    also_serve(&fixture, TorrentId(1), &cold);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                files.iter().for_each(|file| make_cold(file));
            }
        });
        let cold_peers: Vec<_> = (0..8).map(|_| scope.spawn(|| download(&fixture, &cold))).collect();
        let hot_peers: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..5).for_each(|_| download(&fixture, &hot)))).collect();
        let all_ended = hot_peers.into_iter().chain(cold_peers).all(|peer| peer.join().is_ok());
        done.store(true, Ordering::Relaxed);
        assert!(all_ended, "everybody got every byte");
    });
    assert!(fixture.link.counters.cold_blocks.get() > 0);
}

#[test]
fn a_shard_that_is_stopped_in_the_middle_of_its_reads_ends() {
    let release = single(16 * MIB, MIB);
    make_cold(&release.path());
    let fixtures = serve_together(&config(), &release.seeded(), 1);
    for fixture in fixtures {
        let mut peers: Vec<_> = (0..8).map(|_| Peer::greet(fixture.address, &release.torrent, FAST)).collect();
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.unchoke();
            (0..16).for_each(|begin| peer.request(n as u32, begin * 64 * 1024, 64 * 1024));
        }
        fixture.until("reads are under way", |counters| counters.cold_blocks.get() > 0);
        fixture.command(Command::Stop { grace: Duration::ZERO });
        for mut peer in peers {
            while peer.block().is_some() {}
        }
        assert_eq!(fixture.event(), Event::Stopped { shard: 0 });
    }
}
