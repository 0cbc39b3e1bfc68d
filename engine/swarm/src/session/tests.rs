//! What real and hostile clients do to a seed, message by message.

use super::*;
use crate::limits::*;
use metainfo::BLOCK_SIZE;
use wire::{Limits, MAX_BLOCK_BYTES, Parsed, PeerId};

const PIECE_LENGTH: u32 = 32 * 1024;
const PIECES: u32 = 40;

/// A v1 torrent of one file; its hashes are of no interest here.
fn torrent() -> Torrent {
    let mut info =
        format!("d6:lengthi{}e4:name4:file12:piece lengthi{PIECE_LENGTH}e6:pieces", PIECES * PIECE_LENGTH).into_bytes();
    info.extend_from_slice(format!("{}:", PIECES * 20).as_bytes());
    info.resize(info.len() + PIECES as usize * 20, b'h');
    info.push(b'e');
    Torrent::from_info(&info).unwrap()
}

fn now(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Fixture {
    torrent: Torrent,
    session: Session,
    out: Vec<u8>,
}

const ID: [u8; 20] = *b"-XX0000-abcdefghijkl";

fn open(shared: Reserved) -> Fixture {
    open_as(shared, ID)
}

fn open_as(shared: Reserved, peer_id: [u8; 20]) -> Fixture {
    open_having(shared, peer_id, Ours::Everything)
}

fn open_having(shared: Reserved, peer_id: [u8; 20], ours: Ours<'_>) -> Fixture {
    let torrent = torrent();
    let mut out = Vec::new();
    let opening = Opening {
        torrent: &torrent,
        info_hash: torrent.info_hashes().next().unwrap(),
        shared,
        address: "192.0.2.7".parse().unwrap(),
        peer_id: PeerId(peer_id),
        client: "Spillway test",
        ours,
        takes_pex: false,
        listen_port: None,
        dht_port: Some(6881),
        now: now(0),
    };
    let session = Session::open(&opening, &mut out);
    Fixture { torrent, session, out }
}

impl Fixture {
    fn say(&mut self, message: Message<'_>) -> Result<Reaction, Fault> {
        self.say_at(0, message)
    }

    fn say_at(&mut self, seconds: u64, message: Message<'_>) -> Result<Reaction, Fault> {
        self.session.handle_message(now(seconds), message, &self.torrent, &mut self.out)
    }

    /// The ids of the messages said since the last call.
    fn said(&mut self) -> Vec<u8> {
        let mut ids = Vec::new();
        let mut rest = &self.out[..];
        while !rest.is_empty() {
            match wire::parse(rest, &Limits::leech(PIECES)).unwrap() {
                Parsed::Message { message: Message::KeepAlive, consumed } => {
                    ids.push(255);
                    rest = &rest[consumed..];
                }
                Parsed::Message { consumed, .. } => {
                    ids.push(rest[4]);
                    rest = &rest[consumed..];
                }
                other => panic!("half a message: {other:?}"),
            }
        }
        self.out.clear();
        ids
    }

    fn unchoke(&mut self) {
        assert!(self.session.unchoke(&mut self.out));
    }
}

fn request(index: u32) -> Message<'static> {
    Message::Request { index, begin: 0, length: BLOCK_SIZE }
}

const FAST: Reserved = Reserved::FAST;
const BOTH: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

#[test]
fn extensions_come_first_and_then_what_we_have() {
    let mut fixture = open(BOTH);
    let said = fixture.said();
    assert_eq!(said[..2], [wire::id::EXTENDED, wire::id::HAVE_ALL]);
    assert!(said[2..].iter().all(|id| *id == wire::id::ALLOWED_FAST));
    assert_eq!(said.len(), 2 + wire::ALLOWED_FAST_COUNT);
    assert_eq!(open(Reserved::NONE).said(), [wire::id::BITFIELD]);
}

#[test]
fn a_seed_that_hides_says_nothing_that_gives_it_away() {
    for (shared, said) in [(BOTH, vec![wire::id::EXTENDED, wire::id::HAVE_NONE]), (Reserved::NONE, vec![])] {
        let mut fixture = open_having(shared, ID, Ours::Hidden);
        assert!(!fixture.out.windows(14).any(|bytes| bytes == b"upload_onlyi1e"), "only a seed would say it");
        assert_eq!(fixture.said(), said);
        fixture.say(Message::Interested).unwrap();
        assert_eq!(fixture.say(request(0)), Ok(Reaction::Refused), "no piece is allowed fast");
    }
}

#[test]
fn a_leech_tells_what_it_has_and_does_not_pass_for_a_seed() {
    let mut bits = [0u8; 5];
    assert_eq!(open_having(BOTH, ID, Ours::Some(&bits)).said(), [wire::id::EXTENDED, wire::id::HAVE_NONE]);
    assert_eq!(open_having(Reserved::NONE, ID, Ours::Some(&bits)).said(), []);
    bits[1] = 0x20;
    let mut fixture = open_having(BOTH, ID, Ours::Some(&bits));
    assert!(!fixture.out.windows(14).any(|bytes| bytes == b"upload_onlyi1e"));
    assert_eq!(fixture.out[fixture.out.len() - 5..], bits);
    assert_eq!(fixture.said(), [wire::id::EXTENDED, wire::id::BITFIELD]);
}

#[test]
fn a_leech_keeps_seeds_until_it_has_everything_and_forgives_late_blocks_even_then() {
    let mut fixture = open_having(BOTH, ID, Ours::Some(&[0; 5]));
    let late = Skipped::Piece { index: 0, begin: 0 };
    fixture.say(Message::HaveAll).unwrap();
    let lingers = SEED_LINGER.as_secs() + 1;
    assert_eq!(fixture.session.handle_tick(now(lingers), false, &mut fixture.out), Ok(()));
    assert_eq!(fixture.session.handle_skipped(now(lingers), late), Ok(()));
    fixture.session.handle_fetched();
    let gone = fixture.session.handle_tick(now(2 * lingers), false, &mut fixture.out);
    assert_eq!(gone, Err(Fault::BothSeeds));
    // A cancel may have crossed it.
    let blocks = (0..=NOISE_LIMIT_PER_S).map(|_| fixture.session.handle_skipped(now(2 * lingers), late));
    let ends: Vec<_> = blocks.collect();
    assert_eq!((ends[0], ends[ends.len() - 1]), (Ok(()), Err(Fault::Flood)));
}

#[test]
fn the_spare_bits_of_our_bitfield_are_zero() {
    let fixture = open(Reserved::NONE);
    assert_eq!(fixture.out.len(), 5 + 5);
    assert_eq!(fixture.out[5..], [0xff; 5]);
}

#[test]
fn requests_without_interest_are_served() {
    let mut fixture = open(Reserved::NONE);
    assert_eq!(fixture.say(request(3)), Ok(Reaction::BecameInterested), "asking is interest");
    assert_eq!(fixture.say(request(4)), Ok(Reaction::Refused), "once");
    fixture.unchoke();
    assert_eq!(fixture.say(request(4)), Ok(Reaction::None));
    assert_eq!(fixture.session.queue().len(), 2);
}

#[test]
fn a_choked_peer_gets_only_its_allowed_fast_pieces() {
    let mut fixture = open(FAST);
    let allowed = fixture.session.allowed_fast.clone();
    let other = (0..PIECES).find(|index| !allowed.contains(index)).unwrap();
    fixture.say(Message::Interested).unwrap();
    fixture.said();
    assert_eq!(fixture.say(request(other)), Ok(Reaction::Refused));
    assert_eq!(fixture.said(), [wire::id::REJECT]);
    assert_eq!(fixture.say(request(allowed[0])), Ok(Reaction::HasRequests));
    assert_eq!(fixture.said(), []);
    let blocks = wire::ALLOWED_FAST_COUNT as u32 * PIECE_LENGTH / BLOCK_SIZE;
    (1..blocks).for_each(|_| assert_eq!(fixture.say(request(allowed[1])), Ok(Reaction::None)));
    assert_eq!(
        fixture.say(request(allowed[1])),
        Ok(Reaction::Refused),
        "as many bytes as the pieces hold, and no more"
    );
}

#[test]
fn a_peer_without_the_fast_extension_is_refused_in_silence() {
    let mut fixture = open(Reserved::NONE);
    fixture.say(Message::Interested).unwrap();
    fixture.said();
    assert_eq!(fixture.say(request(1)), Ok(Reaction::Refused));
    assert_eq!(fixture.said(), []);
}

#[test]
fn a_choke_answers_every_waiting_request_but_the_one_under_way() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    let allowed = fixture.session.allowed_fast.clone();
    let others: Vec<u32> = (0..PIECES).filter(|index| !allowed.contains(index)).take(3).collect();
    others.iter().for_each(|index| assert!(fixture.say(request(*index)).is_ok()));
    fixture.session.queue_mut().advance(13, 100, Duration::ZERO, |_, _| {});
    fixture.said();
    assert!(fixture.session.choke(&mut fixture.out));
    assert_eq!(fixture.said(), [wire::id::CHOKE, wire::id::REJECT, wire::id::REJECT]);
    assert_eq!(fixture.session.queue().len(), 1);
}

#[test]
fn a_cancelled_request_is_rejected_and_one_under_way_is_not() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    fixture.say(request(1)).unwrap();
    fixture.say(request(2)).unwrap();
    fixture.session.queue_mut().advance(13, 1, Duration::ZERO, |_, _| {});
    fixture.said();
    let cancel = |index| Message::Cancel { index, begin: 0, length: BLOCK_SIZE };
    fixture.say(cancel(1)).unwrap();
    assert_eq!(fixture.said(), []);
    fixture.say(cancel(2)).unwrap();
    assert_eq!(fixture.said(), [wire::id::REJECT]);
    assert_eq!(fixture.session.queue().len(), 1);
}

#[test]
fn taking_back_a_full_queue_is_no_flood_and_asking_for_ever_is() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    let cancel = |index| Message::Cancel { index, begin: 0, length: BLOCK_SIZE };
    (0..REQUEST_QUEUE_LIMIT).for_each(|_| assert!(fixture.say(request(1)).is_ok()));
    (0..REQUEST_QUEUE_LIMIT).for_each(|_| assert!(fixture.say(cancel(1)).is_ok()));
    assert_eq!(fixture.session.queue().len(), 0);
    let both = |fixture: &mut Fixture| fixture.say(request(2)).and_then(|_| fixture.say(cancel(2)));
    let ended = (0..2 * CANCEL_LIMIT_PER_S).find_map(|_| both(&mut fixture).err());
    assert_eq!(ended, Some(Fault::Flood));
}

#[test]
fn requests_outside_the_torrent_are_forgiven_a_few_times() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    let bad = [
        Message::Request { index: PIECES, begin: 0, length: BLOCK_SIZE },
        Message::Request { index: 0, begin: PIECE_LENGTH, length: 1 },
        Message::Request { index: 0, begin: u32::MAX, length: BLOCK_SIZE },
        Message::Request { index: 0, begin: 0, length: 0 },
        Message::Request { index: 0, begin: 0, length: MAX_BLOCK_BYTES + 1 },
    ];
    for n in 0..INVALID_REQUEST_LIMIT as usize {
        assert_eq!(fixture.say(bad[n % bad.len()]), Ok(Reaction::Refused));
    }
    assert_eq!(fixture.session.queue().len(), 0);
    assert_eq!(fixture.say(bad[0]), Err(Fault::BadRequests));
}

#[test]
fn odd_request_sizes_and_places_are_served() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    for (begin, length) in [(1, 1), (7, PIECE_LENGTH - 7), (0, PIECE_LENGTH)] {
        fixture.say(Message::Request { index: 5, begin, length }).unwrap();
    }
    assert_eq!(fixture.session.queue().len(), 3);
}

#[test]
fn a_queue_that_is_full_refuses_and_does_not_hang_up() {
    let mut fixture = open(FAST);
    fixture.unchoke();
    for _ in 0..REQUEST_QUEUE_LIMIT + 100 {
        fixture.say(request(1)).unwrap();
    }
    assert!(fixture.session.queue().len() >= REQUEST_QUEUE_LIMIT);
    assert!(fixture.said().contains(&wire::id::REJECT));
}

#[test]
fn requests_that_are_never_taken_are_a_flood_in_the_end() {
    let mut fixture = open(Reserved::NONE);
    let ended = (0..2 * REFUSED_IN_ROW_LIMIT).find_map(|_| fixture.say(request(1)).err());
    assert_eq!(ended, Some(Fault::Flood));
}

#[test]
fn interest_that_ends_in_a_flood_is_not_left_in_the_books() {
    let mut fixture = open(Reserved::NONE);
    let mut booked = false;
    loop {
        // The refusals are counted on while the peer loses interest: the last straw is a request that shows it again.
        match fixture.say(request(1)) {
            Ok(Reaction::BecameInterested) => booked = true,
            Ok(_) => {}
            Err(fault) => {
                assert_eq!(fault, Fault::Flood);
                break;
            }
        }
        if fixture.session.is_interested() && fixture.session.refused_in_row == REFUSED_IN_ROW_LIMIT {
            assert_eq!(fixture.say(Message::NotInterested), Ok(Reaction::LostInterest));
            booked = false;
        }
    }
    assert_eq!(fixture.session.is_interested(), booked);
}

#[test]
fn chatter_is_a_flood_and_haves_of_new_pieces_are_not() {
    let mut fixture = open(FAST);
    for index in 0..PIECES {
        assert!(fixture.say(Message::Have { index }).is_ok());
    }
    let ended = (0..2 * NOISE_LIMIT_PER_S).find_map(|_| fixture.say(Message::KeepAlive).err());
    assert_eq!(ended, Some(Fault::Flood));
    let mut patient = open(FAST);
    for second in 0..5 {
        for _ in 0..NOISE_LIMIT_PER_S {
            assert!(patient.say_at(second, Message::Interested).is_ok());
        }
    }
}

#[test]
fn asking_for_the_hashes_of_pieces_as_fast_as_they_come_is_no_flood() {
    let mut fixture = open(FAST);
    let root = hash::Sha256Digest([7; 32]);
    let request = HashRequest { pieces_root: root, base_layer: 0, index: 0, length: 4, proof_layers: 2 };
    for _ in 0..HASH_REQUESTS_LIMIT_PER_S {
        assert!(fixture.say(Message::HashRequest(request)).is_ok());
    }
    assert_eq!(fixture.say(Message::HashRequest(request)), Err(Fault::Flood));
}

#[test]
fn a_piece_towards_a_seed_ends_the_connection() {
    let mut fixture = open(FAST);
    let skipped = Skipped::Piece { index: 0, begin: 0 };
    assert_eq!(fixture.session.handle_skipped(now(0), skipped), Err(Fault::UnwantedPiece));
}

#[test]
fn a_silent_peer_is_let_go_and_a_busy_one_is_not() {
    let mut fixture = open(FAST);
    let late = IDLE_LIMIT.as_secs();
    assert_eq!(fixture.session.handle_tick(now(late), true, &mut fixture.out), Ok(()));
    assert_eq!(fixture.session.handle_tick(now(late), false, &mut fixture.out), Err(Fault::Idle));
}

#[test]
fn a_seed_lingers_and_goes() {
    let mut fixture = open(FAST);
    fixture.say_at(10, Message::HaveAll).unwrap();
    let linger = SEED_LINGER.as_secs();
    assert_eq!(fixture.session.handle_tick(now(9 + linger), false, &mut fixture.out), Ok(()));
    assert_eq!(fixture.session.handle_tick(now(10 + linger), false, &mut fixture.out), Err(Fault::BothSeeds));
}

#[test]
fn a_peer_that_tires_after_ten_seconds_hears_from_us_before() {
    let mut fixture = open_as(FAST, *b"-rQ0000-abcdefghijkl");
    fixture.say(Message::Interested).unwrap();
    fixture.said();
    fixture.session.handle_tick(now(9), false, &mut fixture.out).unwrap();
    assert_eq!(fixture.said(), [255]);
    fixture.session.handle_tick(now(12), false, &mut fixture.out).unwrap();
    assert_eq!(fixture.said(), []);
}

#[test]
fn metadata_goes_out_under_the_peers_own_id_and_not_without_end() {
    let mut fixture = open(BOTH);
    fixture.said();
    let ask = |fixture: &mut Fixture, piece: u32, second: u64| {
        let payload = format!("d8:msg_typei0e5:piecei{piece}ee");
        fixture.say_at(second, Message::Extended { id: wire::UT_METADATA_ID, payload: payload.as_bytes() }).unwrap();
        let out = std::mem::take(&mut fixture.out);
        let id = out.get(5).copied();
        (id, out.windows(12).any(|window| window == b"8:msg_typei1"))
    };
    assert_eq!(ask(&mut fixture, 0, 0), (None, false), "it has not told its id");
    fixture.say(Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai9eee" }).unwrap();
    let mut served = 0;
    for n in 0..10 {
        let (id, is_data) = ask(&mut fixture, 0, n);
        assert_eq!(id, Some(9));
        served += u64::from(is_data);
    }
    assert_eq!(served, METADATA_COPIES_LIMIT);
    assert_eq!(ask(&mut fixture, 77, 11), (Some(9), false), "beyond the end");
}

#[test]
fn messages_of_other_roles_change_nothing() {
    let mut fixture = open(FAST);
    fixture.said();
    for message in [
        Message::Choke,
        Message::Unchoke,
        Message::Port(6881),
        Message::Suggest { index: 1 },
        Message::AllowedFast { index: 1 },
        Message::Extended { id: 77, payload: b"rubbish" },
    ] {
        assert_eq!(fixture.say(message), Ok(Reaction::None));
    }
    assert_eq!(fixture.say(Message::HaveNone), Ok(Reaction::HasListed));
    assert_eq!(fixture.session.availability().have_count(), 0);
    assert_eq!(fixture.said(), []);
}

#[test]
fn a_peer_with_a_dht_node_is_told_of_ours_behind_the_first_words_and_tells_of_its_own_once() {
    let mut fixture = open(Reserved::DHT);
    assert_eq!(fixture.said(), [wire::id::BITFIELD, wire::id::PORT]);
    assert_eq!(fixture.say(Message::Port(0)), Ok(Reaction::None), "no port");
    assert_eq!(fixture.say(Message::Port(6882)), Ok(Reaction::HasDhtNode(6882)));
    assert_eq!(fixture.say(Message::Port(6883)), Ok(Reaction::None), "it has one node");
    assert_eq!(open(Reserved::NONE).said(), [wire::id::BITFIELD]);
}

#[test]
fn interest_is_told_once() {
    let mut fixture = open(FAST);
    assert_eq!(fixture.say(Message::Interested), Ok(Reaction::BecameInterested));
    assert_eq!(fixture.say(Message::Interested), Ok(Reaction::None));
    assert_eq!(fixture.say(Message::NotInterested), Ok(Reaction::LostInterest));
    assert_eq!(fixture.say(Message::NotInterested), Ok(Reaction::None));
}
