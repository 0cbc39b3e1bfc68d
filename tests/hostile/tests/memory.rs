//! What peers that take nothing cost in memory and in time. Alone in its program, since it measures all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

use mesh::DropReason;
use rustix::param::page_size;
use spillway_hostile::{DEADLINE, FAST, Peer, Target, connect_from, reset};
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use wire::{Message, MetadataMessage};

const PEERS: usize = 100;

/// What one such peer may cost: its queue of 2,048 requests, an outbox of 64 KiB that may have grown by doubling, the
/// unread rest of one receive, and the allocator's slack.
const BYTES_PER_PEER: usize = 320 * 1024;

/// Blocks in a queue that takes no more.
const FULL_QUEUE: usize = 2048;

/// For so long nothing may move before things count as settled.
const SETTLED: Duration = Duration::from_millis(300);

/// For so long the stuck peers are watched, and so much of two busy cores they may cost meanwhile.
const IDLE_WATCH: Duration = Duration::from_secs(1);
const MOST_IDLE_TICKS: u64 = 20;

/// Resident memory of this process (proc_pid_statm(5)).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * page_size()
}

/// Processor time of this process so far, in ticks of 10 ms (proc_pid_stat(5)).
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name before it may hold anything, brackets included.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A peer with a small receive buffer, which never reads again after its greeting.
fn stubborn(target: &Target) -> Peer {
    let stream = connect_from(target, Ipv4Addr::LOCALHOST);
    socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
    let mut peer = Peer::greet_over(stream, target, FAST);
    peer.unchoke();
    peer
}

/// Writes until the kernel takes no more, or everything is written.
fn push(peer: &mut Peer, bytes: &[u8]) {
    peer.stream.set_nonblocking(true).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        match peer.stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Waits until the engine sends to nobody any more.
fn settle(target: &Target) {
    let begun = Instant::now();
    let (mut sent, mut since) = (u64::MAX, begun);
    while since.elapsed() < SETTLED {
        let now = target.status().payload_sent_bytes;
        if now != sent {
            (sent, since) = (now, Instant::now());
        }
        assert!(begun.elapsed() < DEADLINE, "the engine sends to peers that take nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn peers_that_ask_for_all_and_take_nothing_cost_a_bounded_amount() {
    let target = Target::start(2, |_| {});
    // What a download costs is paid before the measurement, the mapped pages of the release above all.
    target.download().finish();
    let mut good = target.download();
    let mut queue = Vec::new();
    for n in 0..FULL_QUEUE as u32 {
        Message::Request { index: n % 64, begin: 0, length: 32 * 1024 }.encode(&mut queue);
    }
    let mut beyond = Vec::new();
    Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai2eee" }.encode(&mut beyond);
    for _ in 0..20 {
        MetadataMessage::Request { piece: 0 }.encode(wire::UT_METADATA_ID, &mut beyond);
    }
    // Each of these is refused in 17 bytes: more answers than an outbox takes.
    for _ in 0..8000 {
        Message::Request { index: 1, begin: 0, length: 16 * 1024 }.encode(&mut beyond);
    }
    let before = resident_bytes();
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| stubborn(&target)).collect();
    peers.iter_mut().for_each(|peer| push(peer, &queue));
    settle(&target);
    good.step(20);
    peers.iter_mut().for_each(|peer| push(peer, &beyond));
    settle(&target);
    let grown = resident_bytes().saturating_sub(before);
    println!("{} KiB a peer", grown / PEERS / 1024);
    assert!(grown <= PEERS * BYTES_PER_PEER, "{} KiB a peer", grown / PEERS / 1024);
    let ticks = processor_ticks();
    std::thread::sleep(IDLE_WATCH);
    let spent = processor_ticks() - ticks;
    assert!(spent <= MOST_IDLE_TICKS, "{spent} ticks spent on peers for whom nothing can be done");
    assert_eq!(target.status().peers, PEERS as u64 + 1, "they are there: {:?}", target.status());
    good.finish();
    for peer in peers {
        reset(peer.stream);
    }
    target.until_dropped(DropReason::ClosedByPeer, PEERS as u64 + 1);
    drop(good);
    target.finish();
}
