//! The peer wire: a stream of messages, the handshake, and the bencoded payloads of extended messages.

use wire::{Handshake, Limits, LsdAnnounce, MetadataMessage, Parsed, PeerExtensions, PeerId, PexMessage};

/// A receive buffer as a peer may fill it. The first byte says what kind of torrent and side it meets.
pub fn wire_messages(input: &[u8]) {
    let Some((choice, stream)) = input.split_first() else { return };
    let piece_count = u32::from(choice >> 1) * 9;
    let limits = if choice & 1 == 0 { Limits::seed(piece_count) } else { Limits::leech(piece_count) };
    let mut at = 0;
    while let Ok(parsed) = wire::parse(&stream[at..], &limits) {
        match parsed {
            Parsed::Incomplete { needed } => {
                assert!(needed > stream.len() - at && needed <= limits.longest_buffered());
                break;
            }
            Parsed::Message { message, consumed } => {
                let mut again = Vec::new();
                message.encode(&mut again);
                assert_eq!(again, stream[at..at + consumed], "a message encodes to the bytes it came from");
                at += consumed;
            }
            Parsed::Skip { consumed, body_bytes, .. } => {
                assert!(consumed >= 5 && consumed <= stream.len() - at);
                at = (at + consumed + body_bytes).min(stream.len());
            }
        }
    }
    every_beginning_agrees(&stream[at..], &limits);
}

/// An error that is seen early is the error that is seen late, and `needed` never lies.
fn every_beginning_agrees(stream: &[u8], limits: &Limits) {
    let whole = wire::parse(stream, limits);
    for end in 0..stream.len().min(80) {
        match wire::parse(&stream[..end], limits) {
            Ok(Parsed::Incomplete { needed }) => assert!(needed > end),
            early => assert_eq!(early, whole),
        }
    }
}

/// The first bytes of a connection.
pub fn wire_handshake(input: &[u8]) {
    match wire::parse_handshake(input) {
        Ok(Some(handshake)) => {
            let Handshake { peer_id, .. } = handshake;
            assert_eq!(handshake.encode(), input[..wire::HANDSHAKE_SIZE]);
            assert!(!peer_id.client().to_string().is_empty());
        }
        Ok(None) => assert!(input.len() < wire::HANDSHAKE_SIZE),
        Err(error) => {
            assert!(!error.reason().is_empty());
            assert_eq!(
                wire::parse_handshake(&input[..input.len().min(20)]),
                Err(error),
                "known by the protocol string"
            );
        }
    }
    if let Some(id) = input.first_chunk() {
        let shown = PeerId(*id).to_string();
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    }
}

/// The payload of an extended message: an extension handshake, a `ut_metadata` or a `ut_pex` message.
pub fn wire_extended(input: &[u8]) {
    let mut peer = PeerExtensions::default();
    match peer.update(input) {
        Ok(()) => {
            let once = peer.clone();
            assert_eq!(peer.update(input), Ok(()));
            assert_eq!(peer, once, "the same handshake twice changes nothing");
            assert!(once.client.is_none_or(|name| !name.contains(char::is_control)));
        }
        Err(_) => assert_eq!(peer, PeerExtensions::default()),
    }
    if let Ok(Some(message)) = MetadataMessage::parse(input) {
        let mut again = Vec::new();
        message.encode(3, &mut again);
        assert_eq!(MetadataMessage::parse(&again[6..]), Ok(Some(message)));
    }
    if let Ok(message) = PexMessage::parse(input) {
        let (added, dropped): (Vec<_>, Vec<_>) = (message.added().collect(), message.dropped().collect());
        assert!(added.len() <= message.added_count() && added.len().max(dropped.len()) <= 2 * wire::PEX_LIST_LIMIT);
        let mut again = Vec::new();
        wire::encode_pex(3, &added, &dropped, &mut again);
        assert_eq!(PexMessage::parse(&again[6..]).unwrap().added_count(), added.len());
    }
}

/// A datagram of local service discovery.
pub fn wire_lsd(input: &[u8]) {
    let Ok(announce) = LsdAnnounce::parse(input) else { return };
    assert!(announce.port != 0 && !announce.info_hashes.is_empty());
    let group = ([239, 192, 152, 143], 6771).into();
    let again = wire::encode_lsd(group, announce.port, &announce.info_hashes, "c");
    let reread = LsdAnnounce::parse(&again).unwrap();
    assert_eq!((reread.port, reread.info_hashes), (announce.port, announce.info_hashes));
}
