//! Connections that never become peers.

use mesh::DropReason;
use spillway_hostile::{FAST, Noise, Peer, Target, connect};
use std::io::{Read, Write};
use std::net::Shutdown;
use wire::{HANDSHAKE_SIZE, Handshake, PeerId};

fn handshake(target: &Target) -> [u8; HANDSHAKE_SIZE] {
    let peer_id = PeerId(*b"-XX0001-hostilepeer.");
    Handshake { reserved: FAST, info_hash: target.info_hash_v1(), peer_id }.encode()
}

/// Sends `bytes` and waits for the engine to close without a word.
fn refused(target: &Target, bytes: &[u8]) {
    let mut stream = connect(target);
    // The engine may close before it has heard all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "{:?}", &bytes[..bytes.len().min(68)]);
}

#[test]
fn a_handshake_with_any_wrong_byte_is_refused_by_name() {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    for at in 0..HANDSHAKE_SIZE {
        let mut bytes = handshake(&target);
        bytes[at] ^= 0x20;
        // Reserved bits are the peer's to choose, and so is its id.
        if at < 20 || (28..48).contains(&at) {
            refused(&target, &bytes);
        }
        good.step(1);
    }
    target.until_dropped(DropReason::BadHandshake, 20);
    target.until_dropped(DropReason::UnknownTorrent, 20);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn other_protocols_are_refused_at_their_first_wrong_byte() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    let mut random = Noise::new(7);
    let mut openings: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"EHLO localhost\r\n".to_vec(),
        b"\x13bittorrent protocol".to_vec(),
        b"\x13BitTorrent protocoL".to_vec(),
        vec![0; 4096],
        vec![0xff; 64 * 1024],
    ];
    // An encrypted handshake: a 96 byte key and up to 512 bytes of padding, all of which look random.
    for _ in 0..40 {
        let padding = random.below(513);
        let mut key = random.bytes(96 + padding);
        key[0] |= 0x80;
        openings.push(key);
    }
    for bytes in &openings {
        refused(&target, bytes);
        good.step(1);
    }
    target.until_dropped(DropReason::BadHandshake, openings.len() as u64);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn our_own_id_is_a_connection_to_ourselves() {
    let target = Target::start(1, |_| {});
    let peer = Peer::greet(&target, FAST);
    let ours = Handshake { reserved: FAST, info_hash: target.info_hash_v1(), peer_id: peer.engine_id };
    refused(&target, &ours.encode());
    target.until_dropped(DropReason::SelfConnection, 1);
    drop(peer);
    target.finish();
}

#[test]
fn a_handshake_cut_short_anywhere_leaves_nothing_behind() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    for cut in 0..HANDSHAKE_SIZE {
        let mut stream = connect(&target);
        stream.write_all(&handshake(&target)[..cut]).unwrap();
        match cut % 2 {
            0 => drop(stream),
            _ => stream.shutdown(Shutdown::Write).unwrap(),
        }
        good.step(1);
    }
    target.until_dropped(DropReason::ClosedByPeer, HANDSHAKE_SIZE as u64);
    assert_eq!(target.dropped(DropReason::HandshakeTimeout), 0);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn a_handshake_byte_by_byte_is_slow_but_good() {
    let target = Target::start(1, |_| {});
    let mut stream = connect(&target);
    for byte in handshake(&target) {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answer = [0; HANDSHAKE_SIZE];
    stream.read_exact(&mut answer).unwrap();
    assert!(wire::parse_handshake(&answer).unwrap().is_some());
    drop(stream);
    target.finish();
}
