//! Peers that ask for what there is not, for too much, or do not take what they asked for.

use mesh::DropReason;
use metainfo::BLOCK_SIZE;
use spillway_hostile::{FAST, Peer, RELEASE_SIZE, Target, reset};
use std::net::Shutdown;
use wire::{Message, Reserved};

/// Requests of a real flood, in writes of [`REQUESTS_PER_WRITE`].
const FLOOD_REQUESTS: usize = 2_000_000;
const REQUESTS_PER_WRITE: usize = 2000;

fn requests(index: u32, begin: u32, length: u32, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Request { index, begin, length }.encode(&mut bytes);
    bytes.repeat(count)
}

#[test]
fn requests_outside_the_torrent_are_refused_and_then_end_it() {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    let outside = [
        (65, 0, 1),
        (u32::MAX, 0, BLOCK_SIZE),
        (u32::MAX, u32::MAX, u32::MAX),
        (0, 0, 0),
        (0, 32768, 1),
        (0, 32767, 2),
        (0, u32::MAX, 2),
        (0, 1, u32::MAX),
        (64, 0, 18),
        (64, 17, 1),
        (0, 0, wire::MAX_BLOCK_BYTES),
        (0, 0, wire::MAX_BLOCK_BYTES + 1),
        (0, 0, 1 << 31),
    ];
    for reserved in [FAST, Reserved::NONE] {
        let mut peer = Peer::greet(&target, reserved);
        peer.unchoke();
        for (index, begin, length) in outside {
            peer.request(index, begin, length);
        }
        // A few are forgiven: what is inside is still served, and nothing else came before.
        peer.request(64, 0, 17);
        let block = peer.block().expect("a few slips are forgiven");
        assert_eq!((block.0, block.1, &block.2[..]), (64, 0, &target.bytes[RELEASE_SIZE - 17..]));
        peer.send(&requests(65, 0, 1, 100));
        peer.until_closed();
        good.step(5);
    }
    target.until_dropped(DropReason::BadRequests, 2);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn millions_of_requests_from_a_choked_peer_are_a_flood() {
    for shards in [1, 2] {
        let target = Target::start(shards, |config| config.slots = Some(1));
        let mut good = target.download();
        let flood = requests(64, 0, 17, REQUESTS_PER_WRITE);
        for reserved in [FAST, Reserved::NONE] {
            let peer = Peer::greet(&target, reserved);
            std::thread::scope(|scope| {
                scope.spawn(|| peer.flood(&flood, FLOOD_REQUESTS / REQUESTS_PER_WRITE));
                good.step(20);
            });
        }
        target.until_dropped(DropReason::Flood, 2);
        good.finish();
        drop(good);
        target.finish();
    }
}

#[test]
fn a_flood_that_takes_no_answer_waits_for_itself() {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    let mut peer = Peer::greet(&target, FAST);
    peer.unchoke();
    // The engine refuses until that counts as a flood, or reads no more once its refusals are not taken.
    peer.stream.set_nonblocking(true).unwrap();
    let flood = requests(0, 0, BLOCK_SIZE, REQUESTS_PER_WRITE);
    let mut sent = 0;
    while sent < FLOOD_REQUESTS * 17 {
        match std::io::Write::write(&mut peer.stream, &flood) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !good.step(1) {
                    break;
                }
            }
            Err(_) => {
                target.until_dropped(DropReason::Flood, 1);
                break;
            }
        }
    }
    good.finish();
    reset(peer.stream);
    drop(good);
    target.finish();
}

#[test]
fn a_reset_or_half_close_in_the_middle_of_a_block_leaves_nothing_behind() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    const ROUNDS: u64 = 60;
    for round in 0..ROUNDS {
        let mut peer = Peer::greet(&target, FAST);
        peer.unchoke();
        peer.send(&requests(0, 0, BLOCK_SIZE, 500));
        if round % 3 > 0 {
            // It has begun to take what it asked for.
            let mut some = [0; 5000];
            std::io::Read::read_exact(&mut peer.stream, &mut some).unwrap();
        }
        match round % 2 {
            0 => reset(peer.stream),
            _ => {
                peer.stream.shutdown(Shutdown::Write).unwrap();
                peer.until_closed();
            }
        }
        good.step(2);
    }
    target.until_dropped(DropReason::ClosedByPeer, ROUNDS);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn blocks_of_every_odd_size_are_served_as_asked() {
    let target = Target::start(1, |_| {});
    let mut peer = Peer::greet(&target, FAST);
    peer.unchoke();
    for (index, begin, length) in [(0, 0, 1), (1, 32767, 1), (2, 1, 32767), (3, 5, 16384), (64, 16, 1)] {
        peer.request(index, begin, length);
        let at = index as usize * 32768 + begin as usize;
        assert_eq!(peer.block().unwrap(), (index, begin, target.bytes[at..at + length as usize].to_vec()));
    }
    drop(peer);
    target.finish();
}
