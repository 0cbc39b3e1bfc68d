//! Peers that say, without end, what asks for nothing and tells nothing new.

use mesh::DropReason;
use spillway_hostile::{FAST, Peer, Target};
use wire::{HashRequest, Message, MetadataMessage};

/// Copies of one message in one write.
const COPIES: usize = 1000;

/// Writes after which a flood counts as tolerated.
const WRITES: usize = 2000;

fn encoded(messages: &[Message<'_>]) -> Vec<u8> {
    let mut once = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut once));
    once.repeat(COPIES)
}

/// Each flood comes from a peer that takes every answer; it must end as a flood while the good peer goes on.
fn each_ends_as_a_flood(floods: &[Vec<u8>]) {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    for flood in floods {
        let peer = Peer::greet(&target, FAST);
        std::thread::scope(|scope| {
            scope.spawn(|| peer.flood(flood, WRITES));
            good.step(8);
        });
    }
    target.until_dropped(DropReason::Flood, floods.len() as u64);
    good.finish();
    drop(good);
    target.finish();
}

fn hash_request(target: &Target, base_layer: u32, index: u32, length: u32) -> HashRequest {
    let layout = target.torrent().layout();
    let pieces_root = layout.files().iter().find_map(metainfo::FileEntry::pieces_root).unwrap();
    HashRequest { pieces_root, base_layer, index, length, proof_layers: 0 }
}

#[test]
fn messages_without_use_are_a_flood() {
    let bits = [0x80; 9];
    let floods = [
        encoded(&[Message::KeepAlive]),
        encoded(&[Message::Have { index: 3 }]),
        encoded(&[Message::Have { index: u32::MAX }]),
        encoded(&[Message::Interested]),
        encoded(&[Message::Interested, Message::NotInterested]),
        encoded(&[Message::Bitfield(&bits)]),
        encoded(&[Message::HaveNone]),
        encoded(&[Message::HaveAll]),
        encoded(&[Message::Choke, Message::Unchoke]),
        encoded(&[Message::Suggest { index: 1 }]),
        encoded(&[Message::AllowedFast { index: 1 }]),
        encoded(&[Message::Reject { index: 0, begin: 0, length: 16384 }]),
        encoded(&[Message::Port(6881)]),
    ];
    each_ends_as_a_flood(&floods);
}

#[test]
fn extended_messages_without_end_are_a_flood() {
    let floods = [
        encoded(&[Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai2eee" }]),
        encoded(&[Message::Extended { id: 99, payload: b"de" }]),
        encoded(&[Message::Extended { id: wire::UT_METADATA_ID, payload: b"d8:msg_typei0e5:piecei0ee" }]),
        encoded(&[Message::Extended { id: wire::UT_METADATA_ID, payload: b"d8:msg_typei7ee" }]),
    ];
    each_ends_as_a_flood(&floods);
}

#[test]
fn unknown_messages_without_end_are_a_flood() {
    each_ends_as_a_flood(&[[0, 0, 0, 2, 99, 0].repeat(COPIES), [0, 0, 0, 1, 255].repeat(COPIES)]);
}

#[test]
fn requests_taken_back_again_and_again_are_a_flood() {
    let request = Message::Request { index: 1, begin: 0, length: 16384 };
    let cancel = Message::Cancel { index: 1, begin: 0, length: 16384 };
    let choked = encoded(&[request, cancel]);
    let mut interested = Vec::new();
    Message::Interested.encode(&mut interested);
    interested.extend_from_slice(&choked);
    each_ends_as_a_flood(&[choked, interested, encoded(&[cancel])]);
}

#[test]
fn metadata_is_given_a_few_times_and_then_refused() {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    let mut peer = Peer::greet(&target, FAST);
    peer.say(Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai2eee" });
    let mut request = Vec::new();
    MetadataMessage::Request { piece: 0 }.encode(wire::UT_METADATA_ID, &mut request);
    let info_size = target.torrent().info_bytes().len();
    let (mut given, mut refused) = (0, 0);
    while refused < 100 {
        assert!(peer.send(&request));
        let is_data = peer.hear(|message| match message {
            Message::Extended { id: 2, payload } => match MetadataMessage::parse(payload) {
                Ok(Some(MetadataMessage::Data { data, .. })) => Some(!data.is_empty()),
                _ => Some(false),
            },
            _ => None,
        });
        match is_data.expect("the peer is not dropped for asking") {
            true => given += 1,
            false => refused += 1,
        }
        good.step(1);
    }
    assert!(info_size < wire::METADATA_PIECE_SIZE, "one piece holds all of it");
    assert!((1..=4).contains(&given), "{given} copies");
    drop(peer);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn requests_for_leaves_without_end_are_a_flood_and_delay_nobody() {
    for shards in [1, 2] {
        let target = Target::start(shards, |_| {});
        let mut good = target.download();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let leaves = encoded(&[Message::HashRequest(hash_request(&target, 0, 0, 64))]);
                let peer = Peer::greet(&target, FAST.with(wire::Reserved::V2));
                scope.spawn(move || peer.flood(&leaves, WRITES));
            }
            good.finish();
        });
        target.until_dropped(DropReason::Flood, 4);
        drop(good);
        target.finish();
    }
}

#[test]
fn leaves_are_made_from_the_data_for_who_asks_in_earnest() {
    let target = Target::start(1, |_| {});
    let mut peer = Peer::greet(&target, FAST.with(wire::Reserved::V2));
    let request = hash_request(&target, 0, 4, 4);
    peer.say(Message::HashRequest(request));
    let heard = peer.hear(|message| match message {
        Message::Hashes { request: same, hashes } if same == request => Some(hashes.to_vec()),
        Message::HashReject(_) => Some(Vec::new()),
        _ => None,
    });
    let leaves = target.bytes[4 * 16384..].chunks(16384).take(4).flat_map(|block| hash::sha256(block).0);
    assert_eq!(heard.unwrap(), leaves.collect::<Vec<u8>>());
    drop(peer);
    target.finish();
}

/// One at a time they are no flood of messages, but of work.
#[test]
fn leaves_are_made_only_so_fast_however_politely_they_are_asked_for() {
    let target = Target::start(1, |_| {});
    let mut good = target.download();
    let mut peer = Peer::greet(&target, FAST.with(wire::Reserved::V2));
    let all_leaves = hash_request(&target, 0, 0, 128);
    // Each is two megabytes of work, so a hundred are some seconds' worth.
    let refused = (0..100).any(|_| {
        peer.say(Message::HashRequest(all_leaves));
        good.step(1);
        let refused = peer.hear(|message| match message {
            Message::Hashes { .. } => Some(false),
            Message::HashReject(_) => Some(true),
            _ => None,
        });
        refused.expect("the peer is not dropped for asking")
    });
    assert!(refused);
    drop(peer);
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn hash_requests_that_make_no_sense_are_refused_one_by_one() {
    let target = Target::start(1, |_| {});
    let mut peer = Peer::greet(&target, FAST.with(wire::Reserved::V2));
    let mut nonsense: Vec<HashRequest> = [0, 1, 2, 7, 63, 64, u32::MAX]
        .iter()
        .flat_map(|layer| {
            [(0, 0), (0, 1), (1, 2), (3, 5), (u32::MAX, u32::MAX), (1 << 31, 512), (128, 128)]
                .map(|(index, length)| (*layer, index, length))
        })
        .map(|(layer, index, length)| hash_request(&target, layer, index, length))
        .collect();
    nonsense.push(HashRequest { pieces_root: hash::sha256(b"another"), ..hash_request(&target, 0, 0, 64) });
    nonsense.push(HashRequest { proof_layers: u32::MAX, ..hash_request(&target, 0, 0, 64) });
    for request in nonsense {
        peer.say(Message::HashRequest(request));
        let answered = peer.hear(|message| match message {
            Message::HashReject(same) if same == request => Some(()),
            Message::Hashes { request: same, .. } if same == request => Some(()),
            _ => None,
        });
        assert!(answered.is_some(), "{request:?} is answered");
    }
    drop(peer);
    target.finish();
}
