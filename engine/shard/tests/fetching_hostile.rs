//! A real shard that fetches from peers which lie, break off, or do nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that fails says so

mod support;

use mesh::{Command, DropReason, Event, TorrentId};
use metainfo::BLOCK_SIZE;
use shard::ShardConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use support::seed::{Reply, Seed, single_v2};
use support::{DEADLINE, Fixture, LOOK_AGAIN, Peer, TORRENT, config, idle, partial, partial_in, single};
use wire::{Message, PeerId, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

fn leech() -> ShardConfig {
    ShardConfig { peer_id: PeerId::ours([3; 12]), ..config() }
}

fn start(config: &ShardConfig) -> Fixture {
    idle(config, 1).remove(0)
}

/// Waits until another thread has done something.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A peer that answers as it should, once `may` is true.
fn honest_once(may: &Arc<AtomicBool>) -> impl FnMut(support::seed::Ask) -> Reply + Send + 'static {
    let may = may.clone();
    move |_| {
        wait_for("the other one has had its say", || may.load(Ordering::Acquire));
        Reply::Right
    }
}

#[test]
fn who_spoils_a_v1_piece_that_others_sent_as_well_is_found_and_banned() {
    let release = single(1 << 20, 1 << 20);
    let spoilt = Arc::new(AtomicBool::new(false));
    let honest = Seed::start(11, &release, honest_once(&spoilt));
    let poisoner = Seed::start(12, &release, move |_| {
        spoilt.store(true, Ordering::Release);
        Reply::Wrong
    });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    shard.tell(&[honest.address, poisoner.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    assert!(shard.counters.failed_pieces() >= 1);
    shard.until("the poisoner is gone", |counters| counters.dropped(DropReason::Banned) == 1);
    shard.until("the honest one stays", |counters| counters.peers.get() == 1);
}

#[test]
fn one_bad_block_of_a_v2_piece_costs_one_block() {
    let release = single_v2(1 << 20);
    let spoilt = Arc::new(AtomicBool::new(false));
    let honest = Seed::start(13, &release, honest_once(&spoilt));
    let poisoner = Seed::start(14, &release, move |ask| {
        spoilt.store(true, Ordering::Release);
        if ask.nth == 0 { Reply::Wrong } else { Reply::Reject }
    });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    shard.tell(&[honest.address, poisoner.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    assert_eq!(shard.counters.failed_pieces(), 1);
    let expected = release.bytes.len() as u64 + u64::from(BLOCK_SIZE);
    assert_eq!(shard.counters.payload_received_bytes(), expected, "the other blocks stay");
    shard.until("the poisoner is gone", |counters| counters.dropped(DropReason::Banned) == 1);
    shard.until("the honest one stays", |counters| counters.peers.get() == 1);
}

#[test]
fn blocks_that_nobody_asked_for_and_of_any_length_are_dropped_and_counted() {
    let release = single(600_000, 64 * 1024);
    let seed = Seed::start(15, &release, |ask| {
        let mut noise = Vec::new();
        // Asked for later or never, beyond the torrent, longer than any block, empty, not of the grid.
        for (index, begin, size) in [(9, 0, 16384), (u32::MAX, u32::MAX, 16384), (0, 0, 131_072), (0, 7, 0), (0, 1, 99)]
        {
            Message::Piece { index, begin, data: &vec![0xee; size] }.encode(&mut noise);
        }
        if ask.nth == 0 { Reply::After(noise) } else { Reply::Right }
    });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), true);
    shard.tell(&[seed.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    assert!(shard.counters.wasted_bytes() >= 16384 + 131_072 + 99);
    assert_eq!(shard.link.counters.connections.get(), 1, "it may have been a mistake");
}

#[test]
fn a_peer_that_chokes_in_the_middle_is_asked_again_when_it_may_be() {
    let release = single(3_000_000, 256 * 1024);
    let seed = Seed::start(16, &release, |ask| {
        let mut words = Vec::new();
        if ask.nth % 40 == 20 {
            Message::Choke.encode(&mut words);
            Message::Unchoke.encode(&mut words);
        }
        if ask.nth % 40 > 20 && ask.nth % 40 < 30 { Reply::Reject } else { Reply::After(words) }
    });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), true);
    // A rejected piece is not asked of the same peer at once, so there is another one.
    let other = Seed::start(17, &release, |_| Reply::Right);
    shard.tell(&[seed.address, other.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
}

#[test]
fn a_peer_that_rejects_everything_holds_nothing_up() {
    let release = single(2_000_000, 256 * 1024);
    let refuses = Seed::start(18, &release, |_| Reply::Reject);
    let refused = refuses.asked.clone();
    let honest = Seed::start(19, &release, move |_| {
        wait_for("the other one was asked", || !refused.lock().unwrap().is_empty());
        Reply::Right
    });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    shard.tell(&[refuses.address, honest.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    assert!(refuses.asked.lock().unwrap().len() < 2_000, "it is not asked again and again");
}

#[test]
fn peers_that_hang_up_within_a_block_leave_no_buffer_behind() {
    let release = single(1_000_000, 128 * 1024);
    // More of them than there are buffers.
    let cowards: Vec<Seed> = (0..24).map(|n| Seed::start(20 + n, &release, |_| Reply::HangUp)).collect();
    let fetched = partial(&release.torrent);
    let shard = start(&ShardConfig { write_buffer_bytes: 16 * 16 * 1024, ..leech() });
    fetched.begin(std::slice::from_ref(&shard), false);
    let addresses: Vec<_> = cowards.iter().map(|seed| seed.address).collect();
    shard.tell(&addresses);
    wait_for("each has hung up", || cowards.iter().all(|seed| !seed.asked.lock().unwrap().is_empty()));
    let honest = Seed::start(50, &release, |_| Reply::Right);
    shard.tell(&[honest.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
}

#[test]
fn of_two_connections_with_one_peer_one_stays() {
    let release = single(100_000, 32 * 1024);
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    let first = Peer::greet(shard.address, &release.torrent, FAST);
    shard.until("it is in", |counters| counters.peers.get() == 1);
    // The second one's handshake may go unanswered, so it is not waited for.
    let mut second = std::net::TcpStream::connect(shard.address).unwrap();
    let info_hash = release.torrent.info_hashes().next().unwrap();
    let handshake = wire::Handshake { reserved: FAST, info_hash, peer_id: PeerId::ours([6; 12]) };
    std::io::Write::write_all(&mut second, &handshake.encode()).unwrap();
    shard.until("one of them is let go", |counters| counters.dropped(DropReason::Duplicate) == 1);
    shard.until("the other one stays", |counters| counters.peers.get() == 1 && counters.connections.get() == 1);
    drop((first, second));
    shard.until("nothing is left", |counters| counters.peers.get() == 0 && counters.connections.get() == 0);
}

#[test]
fn who_dials_himself_notices_and_goes_on_with_others() {
    let release = single(500_000, 64 * 1024);
    let seed = Seed::start(51, &release, |_| Reply::Right);
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    shard.tell(&[shard.address]);
    shard.until("it is noticed", |counters| counters.dropped(DropReason::SelfConnection) >= 1);
    shard.until("both ends are gone", |counters| counters.connections.get() == 0);
    shard.tell(&[shard.address, seed.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(shard.link.counters.dropped(DropReason::SelfConnection) <= 2, "it is not tried again");
}

#[test]
fn peers_get_what_is_there_already_and_a_refusal_for_the_rest() {
    let release = single(4 * 64 * 1024, 64 * 1024);
    let seed = Seed::start(52, &release, |ask| if ask.index == 0 { Reply::Right } else { Reply::Silence });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), true);
    let mut peer = Peer::greet(shard.address, &release.torrent, FAST);
    peer.unchoke();
    shard.tell(&[seed.address]);
    let told = peer.hear(|message| (message == Message::Have { index: 0 }).then_some(()));
    assert!(told.is_some(), "peers are told of new pieces");
    peer.request(1, 0, 16 * 1024);
    peer.request(0, 16 * 1024, 16 * 1024);
    let refusal = Message::Reject { index: 1, begin: 0, length: 16 * 1024 };
    assert!(peer.hear(|message| (message == refusal).then_some(())).is_some());
    let (index, begin, data) = peer.block().unwrap();
    assert_eq!((index, begin), (0, 16 * 1024));
    assert!(data == release.bytes[16 * 1024..32 * 1024]);
}

#[test]
fn a_torrent_that_is_withdrawn_half_way_gives_everything_back() {
    let release = single(4_000_000, 64 * 1024);
    // Blocks of every piece but no whole one, so that all the buffers are in use.
    let stingy = Seed::start(53, &release, |ask| if ask.begin == 0 { Reply::Silence } else { Reply::Right });
    let fetched = partial(&release.torrent);
    let shard = start(&ShardConfig { write_buffer_bytes: 32 * 16 * 1024, ..leech() });
    fetched.begin(std::slice::from_ref(&shard), false);
    let mut watcher = Peer::greet(shard.address, &release.torrent, FAST);
    watcher.unchoke();
    shard.tell(&[stingy.address]);
    wait_for("it is under way", || shard.counters.payload_received_bytes() >= 12 * 16 * 1024);
    shard.command(Command::Withdraw { id: TORRENT });
    shard.until("its peers are gone", |counters| counters.connections.get() == 0);
    let counters = &shard.link.counters;
    assert_eq!((counters.peers.get(), counters.interested.get(), counters.unchoked.get()), (0, 0, 0));
    wait_for("nothing is left to do", || shard.counters.left_bytes() == 0 && shard.counters.known_peers() == 0);
    assert_eq!(shard.counters.peers(), 0);
    assert!(watcher.hear(|_| None::<()>).is_none(), "it is hung up on");
    // Its buffers are there for the next one.
    let next = single(1_000_000, 512 * 1024);
    let seed = Seed::start(54, &next, |_| Reply::Right);
    let fetched = partial(&next.torrent);
    fetched.begin_as(TorrentId(1), &shard);
    shard.tell_of(TorrentId(1), &[seed.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TorrentId(1) });
    assert!(fetched.bytes() == next.bytes);
    assert_eq!(shard.counters.left_bytes(), 0);
}

#[test]
fn a_torrent_that_holds_all_buffers_lets_others_have_some() {
    let hoard = single(2_000_000, 256 * 1024);
    let stingy = Seed::start(55, &hoard, |ask| if ask.begin == 0 { Reply::Silence } else { Reply::Right });
    let (hoarded, shard) =
        (partial(&hoard.torrent), start(&ShardConfig { write_buffer_bytes: 16 * 16 * 1024, ..leech() }));
    hoarded.begin(std::slice::from_ref(&shard), false);
    shard.tell(&[stingy.address]);
    wait_for("it has what it gets", || shard.counters.payload_received_bytes() >= 12 * 16 * 1024);
    let other = single(700_000, 32 * 1024);
    let seed = Seed::start(56, &other, |_| Reply::Right);
    let fetched = partial(&other.torrent);
    fetched.begin_as(TorrentId(1), &shard);
    shard.tell_of(TorrentId(1), &[seed.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TorrentId(1) });
    assert!(fetched.bytes() == other.bytes);
}

#[test]
fn a_shard_goes_on_where_another_one_was_stopped() {
    let release = single(2_000_000, 64 * 1024);
    let half = Seed::start(57, &release, |ask| if ask.index < 16 { Reply::Right } else { Reply::Silence });
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), true);
    shard.tell(&[half.address]);
    wait_for("half of it is there", || shard.counters.verified_pieces() == 16);
    shard.stop();
    let support::Fetched { dir, partial: before, .. } = fetched;
    drop(before);
    let fetched = partial_in(&release.torrent, dir);
    assert_eq!(fetched.had_count(), 16, "the record knows them");
    let seed = Seed::start(58, &release, |_| Reply::Right);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), true);
    shard.tell(&[seed.address]);
    assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
    assert!(fetched.bytes() == release.bytes);
    assert!(seed.counts().keys().all(|(index, _)| !fetched.had(*index)), "nothing is fetched twice");
}

#[test]
fn lists_of_pieces_without_end_are_a_flood() {
    let release = single(2_000_000, 16 * 1024);
    let fetched = partial(&release.torrent);
    let shard = start(&leech());
    fetched.begin(std::slice::from_ref(&shard), false);
    let mut peer = Peer::greet(shard.address, &release.torrent, FAST);
    let bits = vec![0xaa; (release.torrent.layout().piece_count() as usize).div_ceil(8)];
    let mut lists = Vec::new();
    (0..40).for_each(|_| Message::Bitfield(&bits).encode(&mut lists));
    // At once: it is hung up on before it is through.
    std::io::Write::write_all(&mut peer.stream, &lists).unwrap();
    assert!(peer.hear(|_| None::<()>).is_none());
    shard.until("it is let go", |counters| counters.dropped(DropReason::Flood) == 1);
}
