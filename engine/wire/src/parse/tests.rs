//! Every message survives the wire however it is cut, and nothing that arrives panics or is waited for in vain.

use hash::Sha256Digest;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{MAX_BITFIELD_BYTES, MAX_BLOCK_BYTES, MAX_EXTENDED_BYTES, MAX_UNKNOWN_BYTES, PieceBody, piece_header};

const PIECE_COUNT: u32 = 77;

/// A message that owns its payload, so that proptest can hold it.
#[derive(Debug, Clone)]
enum Owned {
    Plain(Message<'static>),
    Bitfield(Vec<u8>),
    Piece(u32, u32, Vec<u8>),
    Extended(u8, Vec<u8>),
    Hashes(HashRequest, Vec<u8>),
}

impl Owned {
    fn borrow(&self) -> Message<'_> {
        match self {
            Owned::Plain(message) => *message,
            Owned::Bitfield(bits) => Message::Bitfield(bits),
            Owned::Piece(index, begin, data) => Message::Piece { index: *index, begin: *begin, data },
            Owned::Extended(id, payload) => Message::Extended { id: *id, payload },
            Owned::Hashes(request, hashes) => Message::Hashes { request: *request, hashes },
        }
    }
}

fn hash_request() -> impl Strategy<Value = HashRequest> {
    (any::<[u8; 32]>(), any::<[u32; 4]>()).prop_map(|(root, [base_layer, index, length, proof_layers])| HashRequest {
        pieces_root: Sha256Digest(root),
        base_layer,
        index,
        length,
        proof_layers,
    })
}

fn any_message() -> impl Strategy<Value = Owned> {
    let three = any::<(u32, u32, u32)>();
    prop_oneof![
        Just(Owned::Plain(Message::KeepAlive)),
        Just(Owned::Plain(Message::Choke)),
        Just(Owned::Plain(Message::Unchoke)),
        Just(Owned::Plain(Message::Interested)),
        Just(Owned::Plain(Message::NotInterested)),
        Just(Owned::Plain(Message::HaveAll)),
        Just(Owned::Plain(Message::HaveNone)),
        any::<u32>().prop_map(|index| Owned::Plain(Message::Have { index })),
        any::<u32>().prop_map(|index| Owned::Plain(Message::Suggest { index })),
        any::<u32>().prop_map(|index| Owned::Plain(Message::AllowedFast { index })),
        any::<u16>().prop_map(|port| Owned::Plain(Message::Port(port))),
        three.prop_map(|(index, begin, length)| Owned::Plain(Message::Request { index, begin, length })),
        three.prop_map(|(index, begin, length)| Owned::Plain(Message::Cancel { index, begin, length })),
        three.prop_map(|(index, begin, length)| Owned::Plain(Message::Reject { index, begin, length })),
        vec(any::<u8>(), 10).prop_map(Owned::Bitfield),
        (any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..300)).prop_map(|(a, b, data)| Owned::Piece(a, b, data)),
        (any::<u8>(), vec(any::<u8>(), 0..200)).prop_map(|(id, payload)| Owned::Extended(id, payload)),
        hash_request().prop_map(|request| Owned::Plain(Message::HashRequest(request))),
        hash_request().prop_map(|request| Owned::Plain(Message::HashReject(request))),
        (hash_request(), 0usize..6).prop_map(|(request, count)| Owned::Hashes(request, vec![count as u8; count * 32])),
    ]
}

/// What a receiver made of a stream that reached it in pieces; payloads are kept as bytes.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    messages: Vec<Vec<u8>>,
    skipped: Vec<(Skipped, usize)>,
}

/// Feeds `stream` in pieces of the given sizes (repeated), waiting exactly for what the parser asks for.
fn hear(stream: &[u8], pieces: &[usize], limits: &Limits) -> Result<Heard, WireError> {
    let mut heard = Heard::default();
    let (mut buffer, mut to_drop, mut at) = (Vec::new(), 0, 0);
    for size in pieces.iter().cycle() {
        let arrived = &stream[at..(at + size).min(stream.len())];
        at += arrived.len();
        buffer.extend_from_slice(arrived);
        loop {
            let dropped = to_drop.min(buffer.len());
            buffer.drain(..dropped);
            to_drop -= dropped;
            match parse(&buffer, limits)? {
                Parsed::Incomplete { needed } => {
                    assert!(needed > buffer.len() && needed <= limits.longest_buffered());
                    break;
                }
                Parsed::Message { message, consumed } => {
                    let mut bytes = Vec::new();
                    message.encode(&mut bytes);
                    heard.messages.push(bytes);
                    buffer.drain(..consumed);
                }
                Parsed::Skip { skipped, consumed, body_bytes } => {
                    heard.skipped.push((skipped, body_bytes));
                    buffer.drain(..consumed);
                    to_drop = body_bytes;
                }
            }
        }
        if at == stream.len() {
            assert!(to_drop == 0 || buffer.is_empty());
            return Ok(heard);
        }
    }
    unreachable!("the sizes repeat")
}

proptest! {
    #[test]
    fn every_message_survives_the_wire(owned in any_message()) {
        let limits = Limits::leech(PIECE_COUNT);
        let mut bytes = Vec::new();
        owned.borrow().encode(&mut bytes);
        let parsed = parse(&bytes, &limits).unwrap();
        prop_assert_eq!(parsed, Parsed::Message { message: owned.borrow(), consumed: bytes.len() });
    }

    #[test]
    fn any_split_of_the_stream_gives_the_same_messages(
        sent in vec(any_message(), 0..20),
        unknown in vec((any::<prop::sample::Index>(), 24u8.., 0u8..200), 0..4),
        pieces in vec(1usize..64, 1..12),
        seed: bool,
    ) {
        let limits = if seed { Limits::seed(PIECE_COUNT) } else { Limits::leech(PIECE_COUNT) };
        let mut frames: Vec<Vec<u8>> = sent.iter().map(|owned| {
            let mut bytes = Vec::new();
            owned.borrow().encode(&mut bytes);
            bytes
        }).collect();
        for (place, id, size) in unknown {
            let mut frame = vec![0, 0, 0, size + 1, id];
            frame.resize(5 + usize::from(size), id);
            frames.insert(place.index(frames.len() + 1), frame);
        }
        let stream = frames.concat();
        let whole = hear(&stream, &[stream.len().max(1)], &limits).unwrap();
        prop_assert_eq!(whole.messages.len() + whole.skipped.len(), frames.len());
        prop_assert_eq!(whole, hear(&stream, &pieces, &limits).unwrap());
    }

    #[test]
    fn incomplete_asks_for_exactly_what_brings_it_further(owned in any_message(), seed: bool) {
        let limits = if seed { Limits::seed(PIECE_COUNT) } else { Limits::leech(PIECE_COUNT) };
        let mut bytes = Vec::new();
        owned.borrow().encode(&mut bytes);
        let mut have = 0;
        while let Parsed::Incomplete { needed } = parse(&bytes[..have], &limits).unwrap() {
            prop_assert!(needed > have && needed <= bytes.len());
            // One byte less than asked for brings nothing new.
            prop_assert_eq!(parse(&bytes[..needed - 1], &limits).unwrap(), Parsed::Incomplete { needed });
            have = needed;
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_ask_for_more_than_the_limits(
        mut bytes in vec(any::<u8>(), 0..80),
        small_length in any::<Option<u8>>(),
        piece_count: u32,
        seed: bool,
    ) {
        let limits = if seed { Limits::seed(piece_count) } else { Limits::leech(piece_count) };
        if let (Some(length), true) = (small_length, bytes.len() >= 4) {
            bytes[..4].copy_from_slice(&[0, 0, 0, length]);
        }
        match parse(&bytes, &limits) {
            Ok(Parsed::Incomplete { needed }) => {
                prop_assert!(needed > bytes.len() && needed <= limits.longest_buffered());
            }
            Ok(Parsed::Message { consumed, .. } | Parsed::Skip { consumed, .. }) => {
                prop_assert!(consumed >= 4 && consumed <= bytes.len());
            }
            Err(error) => prop_assert!(!error.reason().is_empty()),
        }
    }
}

fn head(length: u32, id: u8) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[id]].concat()
}

#[test]
fn an_absurd_length_is_refused_from_the_prefix_alone() {
    let limits = Limits::seed(PIECE_COUNT);
    let limit = MAX_UNKNOWN_BYTES + 1;
    let error = parse(&[0xff; 4], &limits);
    assert_eq!(error, Err(WireError::Oversized { length: 0xffff_ffff, limit }));
    let error = parse(b"GET ", &limits);
    assert_eq!(error, Err(WireError::Oversized { length: 0x4745_5420, limit }));
}

#[test]
fn each_kind_has_its_own_limit_known_before_the_body_arrives() {
    let limits = Limits::leech(PIECE_COUNT);
    let refused = |length: u32, id: u8| parse(&head(length, id), &limits).unwrap_err();
    let limit = MAX_EXTENDED_BYTES + 1;
    assert_eq!(refused(limit + 1, id::EXTENDED), WireError::TooLong { id: id::EXTENDED, length: limit + 1, limit });
    let limit = MAX_BLOCK_BYTES + 9;
    assert_eq!(refused(limit + 1, id::PIECE), WireError::TooLong { id: id::PIECE, length: limit + 1, limit });
    assert_eq!(refused(12, id::BITFIELD), WireError::BitfieldLength { length: 11, expected: 10 });
    assert_eq!(refused(10, id::BITFIELD), WireError::BitfieldLength { length: 9, expected: 10 });
    for (length, id) in [(2, id::CHOKE), (4, id::HAVE), (14, id::REQUEST), (8, id::PIECE), (4, id::PORT)] {
        assert_eq!(refused(length, id), WireError::WrongLength { id, length });
    }
    for (length, id) in [(1, id::EXTENDED), (48, id::HASH_REQUEST), (17, id::HASHES), (50, id::HASHES)] {
        assert_eq!(refused(length, id), WireError::WrongLength { id, length });
    }
    assert_eq!(refused(49 + 32 * 600, id::HASHES).reason(), "message-too-long");
}

#[test]
fn a_torrent_of_many_pieces_may_have_a_long_bitfield() {
    let limits = Limits::seed(80_000_000);
    assert_eq!(parse(&head(10_000_001, id::BITFIELD), &limits), Ok(Parsed::Incomplete { needed: 10_000_005 }));
    assert!(limits.longest_buffered() >= 10_000_005);
}

#[test]
fn before_the_metadata_a_bitfield_of_any_length_is_passed_over_unbuffered() {
    let limits = Limits::without_metadata();
    for body_bytes in [0, 1, MAX_BITFIELD_BYTES] {
        let skipped = Skipped::Unknown { id: id::BITFIELD };
        let parsed = Parsed::Skip { skipped, consumed: 5, body_bytes: body_bytes as usize };
        assert_eq!(parse(&head(body_bytes + 1, id::BITFIELD), &limits), Ok(parsed));
    }
    let error = parse(&head(MAX_BITFIELD_BYTES + 2, id::BITFIELD), &limits).unwrap_err();
    assert_eq!(error.reason(), "message-too-long");
    assert!(limits.longest_buffered() < 40 * 1024);
}

#[test]
fn an_unwanted_piece_is_known_by_its_header_and_never_buffered() {
    let bytes = piece_header(3, 16384, 16384);
    let limits = Limits::seed(PIECE_COUNT);
    assert!(limits.longest_buffered() < 40 * 1024);
    assert_eq!(parse(&bytes[..12], &limits), Ok(Parsed::Incomplete { needed: 13 }));
    let skipped = Skipped::Piece { index: 3, begin: 16384 };
    assert_eq!(parse(&bytes, &limits), Ok(Parsed::Skip { skipped, consumed: 13, body_bytes: 16384 }));
    let leech = Limits { piece_body: PieceBody::Whole, ..limits };
    assert_eq!(parse(&bytes, &leech), Ok(Parsed::Incomplete { needed: 13 + 16384 }));
}

#[test]
fn the_empty_piece_of_bitcomet_is_a_piece_without_data() {
    let message = Message::Piece { index: 1, begin: 2, data: &[] };
    assert_eq!(parse(&piece_header(1, 2, 0), &Limits::leech(9)), Ok(Parsed::Message { message, consumed: 13 }));
}
