//! Peers that break the protocol after a good handshake.

use mesh::DropReason;
use metainfo::BLOCK_SIZE;
use spillway_hostile::{FAST, Noise, Peer, Target};
use wire::{Message, id};

/// A message with this length prefix, whatever its body has.
fn framed(length: u32, id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend_from_slice(body);
    bytes
}

/// Whole, well-framed messages.
fn whole(id: u8, body: &[u8]) -> Vec<u8> {
    framed(body.len() as u32 + 1, id, body)
}

fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Extended { id, payload }.encode(&mut bytes);
    bytes
}

/// Each is said by a peer of its own, after which the engine must close for `reason`; the good peer goes on.
fn each_is_dropped(attacks: &[Vec<u8>], reason: DropReason) {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    for bytes in attacks {
        let mut peer = Peer::greet(&target, FAST);
        peer.send(bytes);
        peer.until_closed();
        good.step(1);
    }
    target.until_dropped(reason, attacks.len() as u64);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn a_message_longer_than_its_kind_allows_is_refused_from_its_prefix() {
    let mut attacks = vec![
        vec![0xff; 4],
        framed(u32::MAX, id::PIECE, b""),
        framed((1 << 30) + 9, id::PIECE, b""),
        framed(1 << 30, id::BITFIELD, b""),
        framed(1 << 20, id::EXTENDED, b"\0"),
        framed(wire::MAX_EXTENDED_BYTES + 2, id::EXTENDED, b""),
        framed(wire::MAX_BLOCK_BYTES + 10, id::PIECE, b""),
        framed(1 << 19, id::HASHES, b""),
        framed(1 << 19, 200, b""),
    ];
    // 65 pieces are nine bytes of bits.
    attacks.extend([0, 1, 8, 10, 64, 8192].map(|size| framed(size + 1, id::BITFIELD, b"")));
    each_is_dropped(&attacks, DropReason::BadMessage);
}

#[test]
fn a_length_that_does_not_fit_the_fields_is_refused() {
    let due = [
        (id::CHOKE, 0),
        (id::UNCHOKE, 0),
        (id::INTERESTED, 0),
        (id::NOT_INTERESTED, 0),
        (id::HAVE_ALL, 0),
        (id::HAVE_NONE, 0),
        (id::HAVE, 4),
        (id::SUGGEST, 4),
        (id::ALLOWED_FAST, 4),
        (id::PORT, 2),
        (id::REQUEST, 12),
        (id::CANCEL, 12),
        (id::REJECT, 12),
        (id::HASH_REQUEST, 48),
        (id::HASH_REJECT, 48),
    ];
    let mut attacks = vec![whole(id::EXTENDED, b""), whole(id::PIECE, &[0; 7]), whole(id::HASHES, &[0; 49])];
    for (id, size) in due {
        attacks.push(framed(size + 2, id, b""));
        attacks.extend(size.checked_sub(1).map(|short| framed(short + 1, id, b"")));
    }
    each_is_dropped(&attacks, DropReason::BadMessage);
}

#[test]
fn rubbish_in_extended_messages_is_refused() {
    let deep = |open: &[u8]| open.repeat(7000 / open.len());
    let payloads: [&[u8]; 9] = [
        b"x",
        b"i1e",
        b"le",
        b"d1:m",
        b"d1:md11:ut_metadatai99999999999999999999999999999eee",
        b"d4294967295:x",
        &deep(b"l"),
        &deep(b"d1:a"),
        &Noise::new(3).bytes(3000),
    ];
    let mut attacks: Vec<Vec<u8>> = payloads.iter().map(|payload| extended(0, payload)).collect();
    attacks.push(extended(0, &vec![b'd'; wire::MAX_EXTENSION_HANDSHAKE_BYTES + 1]));
    let metadata: [&[u8]; 5] =
        [b"", b"le", b"d5:piecei0ee", b"d8:msg_typei0e5:piecei-1ee", b"d8:msg_typei1e5:piecei0ee"];
    attacks.extend(metadata.map(|payload| extended(wire::UT_METADATA_ID, payload)));
    each_is_dropped(&attacks, DropReason::BadMessage);
}

#[test]
fn a_piece_that_nobody_asked_for_is_not_waited_for() {
    let mut small = Vec::new();
    Message::Piece { index: 0, begin: 0, data: &[1; 64] }.encode(&mut small);
    let attacks = vec![small, framed(BLOCK_SIZE + 9, id::PIECE, &[0; 8]), whole(id::PIECE, &[0; 8])];
    each_is_dropped(&attacks, DropReason::UnwantedPiece);
}

#[test]
fn a_message_cut_short_anywhere_leaves_nothing_behind() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    let messages = [
        whole(id::REQUEST, &[0; 12]),
        whole(id::HAVE, &[0; 4]),
        whole(id::BITFIELD, &[0; 9]),
        whole(id::HASH_REQUEST, &[0; 48]),
        extended(0, b"d4:reqqi500ee"),
        whole(200, &[0; 30]),
    ];
    let mut count = 0;
    for (n, message) in messages.iter().enumerate() {
        for cut in 1..message.len() {
            let mut peer = Peer::greet(&target, FAST);
            peer.send(&message[..cut]);
            if (n + cut) % 2 == 0 {
                spillway_hostile::reset(peer.stream);
            }
            count += 1;
        }
        good.step(10);
    }
    target.until_dropped(DropReason::ClosedByPeer, count);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn unknown_messages_are_skipped_and_the_peer_is_served() {
    let target = Target::start(1, |_| {});
    let mut peer = Peer::greet(&target, FAST);
    for id in (10..=12).chain(18..=19).chain(24..=255) {
        assert!(peer.send(&whole(id, &[id; 700])));
    }
    assert!(peer.send(&whole(77, &vec![7; wire::MAX_UNKNOWN_BYTES as usize])));
    peer.unchoke();
    peer.request(0, 0, BLOCK_SIZE);
    assert_eq!(peer.block().unwrap().2, target.bytes[..BLOCK_SIZE as usize]);
    drop(peer);
    target.finish();
}

#[test]
fn random_bytes_after_a_good_handshake_end_in_a_close() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    let mut random = Noise::new(11);
    for _ in 0..60 {
        let mut peer = Peer::greet(&target, FAST);
        // Some prefix announces too much before long, or the bytes spell a flood.
        while peer.send(&random.bytes(4096)) {}
        peer.until_closed();
        good.step(2);
    }
    good.finish();
    drop(good);
    target.finish();
}
