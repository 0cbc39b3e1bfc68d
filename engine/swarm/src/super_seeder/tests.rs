//! What single peers do to the super-seeder, and what no order of events may do to its books.

use super::*;
use proptest::prelude::*;

pub(super) const PIECE_BYTES: u32 = 16 * metainfo::BLOCK_SIZE;

/// A v1 torrent of one file; its hashes are of no interest here.
pub(super) fn layout(pieces: u32) -> FileLayout {
    let size = u64::from(pieces) * u64::from(PIECE_BYTES);
    let head = format!("d6:lengthi{size}e4:name4:file12:piece lengthi{PIECE_BYTES}e6:pieces{}:", pieces * 20);
    let mut info = head.into_bytes();
    info.resize(info.len() + pieces as usize * 20, b'h');
    info.push(b'e');
    metainfo::Torrent::from_info(&info).unwrap().layout().clone()
}

pub(super) type Actions = Vec<SuperSeedAction<u32>>;

/// A super-seeder and what the peers were told.
pub(super) struct Fixture {
    pub(super) seeder: SuperSeeder<u32>,
    layout: FileLayout,
    pub(super) now: Duration,
}

impl Fixture {
    pub(super) fn new(mode: SuperSeeding, pieces: u32) -> Fixture {
        let layout = layout(pieces);
        Fixture { seeder: SuperSeeder::new(mode, &layout, 5).unwrap(), layout, now: Duration::ZERO }
    }

    /// A peer that has nothing and wants what it is told of.
    fn join(&mut self, peer: u32) -> Actions {
        let mut out = Actions::new();
        assert!(self.seeder.handle_joined(self.now, peer, false, &mut out), "super-seeding is on");
        self.seeder.handle_listed(self.now, peer, [], &mut out);
        self.seeder.handle_wishes(self.now, peer, (true, true), &mut out);
        out
    }

    /// A peer that is alone for so long that it is told everything.
    fn join_alone(&mut self, peer: u32) {
        self.join(peer);
        let out = self.wait(2);
        let end = [SuperSeedAction::Ended(SuperSeedEnd::OneLeech), SuperSeedAction::RevealAll { peer }];
        assert!(out.ends_with(&end), "{out:?}");
    }

    fn piece(&self, index: u32) -> PieceIndex {
        self.layout.piece(index).unwrap()
    }

    fn send(&mut self, peer: u32, piece: u32) -> Actions {
        let (mut out, piece) = (Actions::new(), self.piece(piece));
        self.seeder.handle_sent(self.now, peer, piece, u64::from(PIECE_BYTES), &mut out);
        out
    }

    pub(super) fn has(&mut self, peer: u32, piece: u32) -> Actions {
        let (mut out, piece) = (Actions::new(), self.piece(piece));
        self.seeder.handle_has(self.now, peer, piece, &mut out);
        out
    }

    pub(super) fn asks(&mut self, peer: u32, piece: u32) -> bool {
        let piece = self.piece(piece);
        self.seeder.handle_request(self.now, peer, piece)
    }

    /// Seconds pass.
    pub(super) fn wait(&mut self, seconds: u64) -> Actions {
        let mut out = Actions::new();
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.seeder.handle_tick(self.now, false, &mut out);
        }
        out
    }
}

pub(super) fn revealed(actions: &Actions, to: u32) -> Vec<u32> {
    let of = |action: &SuperSeedAction<u32>| match action {
        SuperSeedAction::Reveal { peer, piece } if *peer == to => Some(*piece),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

#[test]
fn two_peers_are_never_told_of_the_same_piece() {
    let mut fixture = Fixture::new(SuperSeeding::On, 40);
    let (one, two) = (fixture.join(1), fixture.join(2));
    let (one, two) = (revealed(&one, 1), revealed(&two, 2));
    assert!(one.len() >= 2 && two.len() >= 2, "{one:?} {two:?}");
    assert!(one.iter().all(|piece| !two.contains(piece)), "{one:?} {two:?}");
}

#[test]
fn a_piece_that_was_not_revealed_is_refused_until_somebody_else_has_it() {
    let mut fixture = Fixture::new(SuperSeeding::On, 40);
    let piece = revealed(&fixture.join(1), 1)[0];
    fixture.join(2);
    assert!(fixture.asks(1, piece));
    assert!(!fixture.asks(2, piece));
    fixture.send(1, piece);
    assert!(!fixture.asks(2, piece), "sent is not yet safe");
    fixture.has(1, piece);
    assert!(fixture.asks(2, piece));
}

#[test]
fn a_peer_that_finishes_a_piece_is_told_of_more_than_one() {
    let mut fixture = Fixture::new(SuperSeeding::On, 40);
    let first = revealed(&fixture.join(1), 1);
    fixture.join(2);
    fixture.send(1, first[0]);
    assert_eq!(revealed(&fixture.has(1, first[0]), 1).len(), 2, "its window grows as it takes");
}

#[test]
fn the_pieces_of_a_peer_that_leaves_go_to_others() {
    let mut fixture = Fixture::new(SuperSeeding::On, 4);
    let first = revealed(&fixture.join(1), 1);
    let second = revealed(&fixture.join(2), 2);
    assert_eq!(first.len() + second.len(), 4);
    fixture.send(2, second[0]);
    fixture.has(2, second[0]);
    let mut out = Actions::new();
    fixture.seeder.handle_gone(fixture.now, 1, [], &mut out);
    let again = revealed(&out, 2);
    assert_eq!(again.len(), 2, "{out:?}");
    assert!(again.iter().all(|piece| first.contains(piece)));
}

#[test]
fn pieces_that_left_with_their_peer_are_missing_again() {
    let mut fixture = Fixture::new(SuperSeeding::On, 2);
    let pieces = revealed(&fixture.join(1), 1);
    fixture.send(1, pieces[0]);
    fixture.has(1, pieces[0]);
    let mut out = Actions::new();
    let has = [fixture.piece(pieces[0])];
    fixture.seeder.handle_gone(fixture.now, 1, has, &mut out);
    assert_eq!(revealed(&fixture.join(2), 2).len(), 2);
}

#[test]
fn a_peer_that_lets_its_pieces_lie_loses_them_and_is_then_told_everything() {
    let mut fixture = Fixture::new(SuperSeeding::On, 4);
    let first = revealed(&fixture.join(1), 1);
    assert!(fixture.asks(1, first[0]));
    let out = fixture.wait(9);
    assert!(out.is_empty(), "it has asked, and we have not sent: {out:?}");
    let out = fixture.wait(1);
    let second = revealed(&out, 1);
    assert_eq!(second.len(), 2, "another try: {out:?}");
    assert!(fixture.asks(1, first[0]) && fixture.asks(1, second[0]), "what it was told of, it may still ask for");
    let out = fixture.wait(10);
    assert!(out.contains(&SuperSeedAction::RevealAll { peer: 1 }), "{out:?}");
    assert_eq!(revealed(&fixture.join(2), 2).len(), 2, "its pieces are free again");
}

#[test]
fn a_peer_that_could_ask_and_does_not_keeps_its_pieces_from_others_for_a_moment_only() {
    let mut fixture = Fixture::new(SuperSeeding::On, 2);
    let first = revealed(&fixture.join(1), 1);
    assert_eq!(first.len(), 2);
    assert!(revealed(&fixture.join(2), 2).is_empty(), "there is nothing left for it");
    assert!(fixture.wait(3).is_empty());
    let out = fixture.wait(1);
    assert_eq!(revealed(&out, 2).len(), 2, "{out:?}");
}

#[test]
fn a_peer_that_wants_other_pieces_is_told_everything_soon() {
    let mut fixture = Fixture::new(SuperSeeding::On, 40);
    let mut out = Actions::new();
    fixture.seeder.handle_joined(fixture.now, 1, false, &mut out);
    fixture.seeder.handle_listed(fixture.now, 1, [], &mut out);
    assert_eq!(revealed(&out, 1).len(), 1, "one piece, to see whether it is interested");
    let out = fixture.wait(9);
    assert!(out.contains(&SuperSeedAction::RevealAll { peer: 1 }), "{out:?}");
}

#[test]
fn a_piece_that_was_sent_and_not_heard_of_is_revealed_again() {
    let mut fixture = Fixture::new(SuperSeeding::On, 4);
    let first = revealed(&fixture.join(1), 1);
    let second = revealed(&fixture.join(2), 2);
    assert!(fixture.asks(2, second[0]));
    for piece in &first {
        fixture.send(1, *piece);
    }
    // The other peer takes its time, so that the copy is not whole.
    let mut out = fixture.wait(10);
    for piece in revealed(&out, 2) {
        assert!(fixture.asks(2, piece));
    }
    out.extend(fixture.wait(11));
    let again =
        out.iter().any(|action| matches!(action, SuperSeedAction::Reveal { piece, .. } if first.contains(piece)));
    assert!(again, "{out:?}");
}

#[test]
fn a_second_leech_makes_it_begin_and_a_whole_copy_makes_it_end() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 12);
    fixture.join_alone(1);
    let out = fixture.join(2);
    assert_eq!(out[0], SuperSeedAction::Began);
    let told = revealed(&out, 2);
    assert!((0..12).all(|piece| fixture.asks(1, piece)), "the first knows of all pieces");
    let mut out = Actions::new();
    for piece in 0..12 {
        out.extend(fixture.send(1 + piece % 2, piece));
        out.extend(fixture.has(1 + piece % 2, piece));
    }
    assert!(told.len() >= 2);
    let end = [SuperSeedAction::Ended(SuperSeedEnd::WholeCopy), SuperSeedAction::RevealAll { peer: 2 }];
    assert!(out.ends_with(&end), "{out:?}");
    assert!(fixture.wait(60).is_empty(), "and nothing begins again");
}

#[test]
fn with_on_a_whole_copy_is_left_to_those_that_have_it_and_who_gets_nothing_from_them_is_told_everything() {
    let mut fixture = Fixture::new(SuperSeeding::On, 12);
    let mut told = revealed(&fixture.join(1), 1);
    while let Some(piece) = told.pop() {
        told.extend(revealed(&fixture.send(1, piece), 1));
        told.extend(revealed(&fixture.has(1, piece), 1));
    }
    assert_eq!(fixture.seeder.pieces.unsafe_count(), 0);
    assert!(fixture.join(2).is_empty(), "a newcomer is told nothing");
    for piece in 0..3 {
        let out = fixture.wait(15);
        assert!(out.is_empty(), "it gets what it lacks: {out:?}");
        fixture.has(2, piece);
    }
    assert_eq!(fixture.wait(20), [SuperSeedAction::RevealAll { peer: 2 }]);
    let mut out = Actions::new();
    let all: Vec<PieceIndex> = fixture.layout.pieces().collect();
    fixture.seeder.handle_gone(fixture.now, 1, all, &mut out);
    let told = revealed(&fixture.join(3), 3);
    assert!(!told.is_empty() && told.iter().all(|piece| *piece >= 3), "what only we have again: {told:?}");
}

#[test]
fn the_last_of_several_leeches_is_told_everything() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 40);
    fixture.join_alone(1);
    fixture.join(2);
    let mut out = Actions::new();
    fixture.seeder.handle_gone(fixture.now, 1, [], &mut out);
    let out = fixture.wait(3);
    let end = [SuperSeedAction::Ended(SuperSeedEnd::OneLeech), SuperSeedAction::RevealAll { peer: 2 }];
    assert!(out.ends_with(&end), "{out:?}");
    assert_eq!(fixture.join(3)[0], SuperSeedAction::Began, "until it is not the last any more");
}

#[test]
fn what_a_peer_picks_that_knows_of_all_pieces_is_given_to_nobody_else() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 12);
    fixture.join_alone(1);
    let told = revealed(&fixture.join(2), 2);
    let free: Vec<u32> = (0..12).filter(|piece| !told.contains(piece)).collect();
    assert!(free.iter().all(|piece| fixture.asks(1, *piece)));
    assert!(revealed(&fixture.join(3), 3).is_empty(), "nothing is left");
    let mut out = Actions::new();
    fixture.seeder.handle_gone(fixture.now, 1, [], &mut out);
    assert!(out.iter().any(|action| matches!(action, SuperSeedAction::Reveal { piece, .. } if free.contains(piece))));
}

#[test]
fn a_block_of_each_piece_does_not_keep_the_pieces_from_others() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 200);
    fixture.join_alone(1);
    fixture.join(2);
    // Super-seeding has begun again, and the first peer knows of everything.
    for piece in 0..200 {
        fixture.asks(1, piece);
    }
    let mut told = revealed(&fixture.join(3), 3).len();
    told += revealed(&fixture.wait(1), 3).len();
    assert!(told > 0, "there are pieces left for others");
}

#[test]
fn who_trickles_does_not_keep_its_pieces_for_ever() {
    let mut fixture = Fixture::new(SuperSeeding::On, 2);
    let told = revealed(&fixture.join(1), 1);
    let mut to_second = revealed(&fixture.join(2), 2);
    for _ in 0..400 {
        // Never a whole piece, never silent for long.
        let piece = fixture.piece(told[0]);
        let mut out = Actions::new();
        fixture.seeder.handle_sent(fixture.now, 1, piece, 1, &mut out);
        to_second.extend(revealed(&out, 2));
        let has_all: Vec<u32> = std::mem::take(&mut to_second);
        for piece in has_all {
            to_second.extend(revealed(&fixture.send(2, piece), 2));
            to_second.extend(revealed(&fixture.has(2, piece), 2));
            if piece == told[0] {
                return;
            }
        }
        to_second.extend(revealed(&fixture.wait(1), 2));
    }
    panic!("the second peer was never told of the trickler's piece");
}

#[test]
fn another_seed_ends_it_and_its_leaving_lets_it_begin_again() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 4);
    fixture.join_alone(1);
    fixture.join(2);
    let mut out = Actions::new();
    let all: Vec<PieceIndex> = fixture.layout.pieces().collect();
    fixture.seeder.handle_joined(fixture.now, 3, false, &mut out);
    fixture.seeder.handle_listed(fixture.now, 3, all.iter().copied(), &mut out);
    assert!(out.contains(&SuperSeedAction::Ended(SuperSeedEnd::WholeCopy)), "{out:?}");
    assert!(!fixture.seeder.is_active());
    out.clear();
    fixture.seeder.handle_gone(fixture.now, 3, all, &mut out);
    out.extend(fixture.wait(31));
    assert!(fixture.seeder.is_active(), "{out:?}");
}

#[test]
fn an_upload_that_nobody_uses_ends_it() {
    let mut fixture = Fixture::new(SuperSeeding::Auto, 40);
    fixture.join_alone(1);
    fixture.join(2);
    let out = fixture.wait(13);
    assert!(out.contains(&SuperSeedAction::Ended(SuperSeedEnd::Hurts)), "{out:?}");
    assert!(!fixture.wait(60).contains(&SuperSeedAction::Began));
}

#[test]
fn a_peer_that_passes_pieces_on_gets_more_than_one_that_does_not() {
    let mut fixture = Fixture::new(SuperSeeding::On, 4000);
    for peer in [1, 2, 3] {
        fixture.join(peer);
    }
    let mut given = [0u32; 4];
    // Everybody takes what it gets at once, the upload is limited to twelve pieces a second; what 1 has, 3 has a second later.
    let mut to_copy = Vec::new();
    for _ in 0..60 {
        for piece in std::mem::take(&mut to_copy) {
            fixture.has(3, piece);
        }
        let mut holds: Vec<(u32, u32)> = Vec::new();
        for peer in fixture.seeder.slots.iter().flatten() {
            holds.extend(peer.holds().map(|hold| (peer.key, hold.piece)));
        }
        for (peer, piece) in holds.into_iter().take(12) {
            given[peer as usize] += 1;
            fixture.send(peer, piece);
            fixture.has(peer, piece);
            if peer == 1 {
                to_copy.push(piece);
            }
        }
        fixture.now += Duration::from_secs(1);
        fixture.seeder.handle_tick(fixture.now, true, &mut Actions::new());
    }
    assert!(given[1] > 2 * given[2], "{given:?}");
    assert!(given[2] > 0, "{given:?}");
}

/// What may happen to a super-seeder, in any order.
#[derive(Debug, Clone)]
enum Happening {
    Join(u32, bool),
    Leave(u32),
    List(u32, Vec<bool>),
    Has(u32, u32),
    Wishes(u32, bool, bool),
    Ask(u32, u32),
    Sent(u32, u32, u64),
    Tick(u64, bool),
}

const SOME_PIECES: u32 = 12;

fn happening() -> impl Strategy<Value = Happening> {
    let (peer, piece) = (0u32..6, 0..SOME_PIECES);
    prop_oneof![
        3 => (peer.clone(), any::<bool>()).prop_map(|(p, d)| Happening::Join(p, d)),
        1 => peer.clone().prop_map(Happening::Leave),
        1 => (peer.clone(), prop::collection::vec(any::<bool>(), SOME_PIECES as usize)).prop_map(|(p, b)| Happening::List(p, b)),
        4 => (peer.clone(), piece.clone()).prop_map(|(p, i)| Happening::Has(p, i)),
        4 => (peer.clone(), any::<bool>(), any::<bool>()).prop_map(|(p, i, u)| Happening::Wishes(p, i, u)),
        4 => (peer.clone(), piece.clone()).prop_map(|(p, i)| Happening::Ask(p, i)),
        6 => (peer, piece, 1..u64::from(PIECE_BYTES) + 9).prop_map(|(p, i, b)| Happening::Sent(p, i, b)),
        2 => (1u64..15, any::<bool>()).prop_map(|(s, l)| Happening::Tick(s, l)),
    ]
}

/// Peers as their owner knows them.
type Known = HashMap<u32, std::collections::BTreeSet<u32>>;

fn happen(fixture: &mut Fixture, known: &mut Known, happening: Happening, out: &mut Actions) {
    let Fixture { seeder, layout, now } = fixture;
    let pieces = |have: &std::collections::BTreeSet<u32>| -> Vec<PieceIndex> {
        have.iter().map(|index| layout.piece(*index).unwrap()).collect()
    };
    match happening {
        Happening::Join(peer, dozes) => {
            if let std::collections::hash_map::Entry::Vacant(new) = known.entry(peer) {
                new.insert(std::collections::BTreeSet::new());
                seeder.handle_joined(*now, peer, dozes, out);
            }
        }
        Happening::Leave(peer) => {
            if let Some(have) = known.remove(&peer) {
                seeder.handle_gone(*now, peer, pieces(&have), out);
            }
        }
        Happening::List(peer, bits) => {
            if let Some(have) = known.get_mut(&peer) {
                seeder.forget_pieces(peer, pieces(have));
                *have = (0..SOME_PIECES).filter(|index| bits[*index as usize]).collect();
                seeder.handle_listed(*now, peer, pieces(have), out);
            }
        }
        Happening::Has(peer, piece) => {
            if known.get_mut(&peer).is_some_and(|have| have.insert(piece)) {
                seeder.handle_has(*now, peer, layout.piece(piece).unwrap(), out);
            }
        }
        Happening::Wishes(peer, interested, unchoked) => {
            seeder.handle_wishes(*now, peer, (interested, unchoked), out);
        }
        Happening::Ask(peer, piece) => {
            seeder.handle_request(*now, peer, layout.piece(piece).unwrap());
        }
        Happening::Sent(peer, piece, bytes) => {
            seeder.handle_sent(*now, peer, layout.piece(piece).unwrap(), bytes, out);
        }
        Happening::Tick(seconds, limited) => {
            *now += Duration::from_secs(seconds);
            seeder.handle_tick(*now, limited, out);
        }
    }
}

impl Fixture {
    /// What must be true at any time.
    fn check(&self, known: &Known) {
        let seeder = &self.seeder;
        let copies = |piece: u32| known.values().filter(|have| have.contains(&piece)).count() as u32;
        for piece in 0..SOME_PIECES {
            assert_eq!(seeder.pieces.copies(piece), copies(piece), "copies of {piece}");
            let holders = seeder.slots.iter().flatten().filter(|peer| peer.hold(piece).is_some()).count();
            assert!(holders <= 1, "{piece} is on its way to one peer");
            let free = copies(piece) == 0 && holders == 0;
            assert_eq!(seeder.pieces.is_in_pool(piece), free, "{piece} is in the pool if only we have it");
        }
        let missing = (0..SOME_PIECES).filter(|piece| copies(*piece) == 0).count() as u32;
        assert_eq!(seeder.pieces.unsafe_count(), missing);
        assert_eq!(seeder.leech_count, known.values().filter(|have| have.len() < SOME_PIECES as usize).count());
        let owed: u64 = seeder.slots.iter().flatten().map(|peer| peer.owed_bytes).sum();
        assert_eq!(seeder.owed_bytes, owed);
        let waiting = seeder.slots.iter().flatten().filter(|peer| peer.waits_at.is_some()).count();
        assert_eq!(seeder.queue.len(), waiting);
        assert!(seeder.slots.len() <= 6 && seeder.peer_count() == known.len());
    }
}

proptest! {
    /// The books hold in any order of events, no piece goes to a second peer while it is on its way to a first, and
    /// nobody waits for a piece that nobody is getting.
    #[test]
    fn no_order_of_events_upsets_the_books(
        auto in any::<bool>(),
        happenings in prop::collection::vec(happening(), 1..200),
    ) {
        let mode = if auto { SuperSeeding::Auto } else { SuperSeeding::On };
        let mut fixture = Fixture::new(mode, SOME_PIECES);
        let (mut known, mut out) = (Known::new(), Actions::new());
        for happening in happenings {
            out.clear();
            happen(&mut fixture, &mut known, happening, &mut out);
            for action in &out {
                if let SuperSeedAction::Reveal { peer, .. } | SuperSeedAction::RevealAll { peer } = action {
                    prop_assert!(known.contains_key(peer), "{action:?} to a peer that is gone");
                }
            }
            fixture.check(&known);
            let seeder = &fixture.seeder;
            let stuck = seeder.is_active() && !seeder.queue.is_empty() && !seeder.pieces.pool_is_empty();
            prop_assert!(!stuck || seeder.owed_bytes > 0, "pieces, peers and upload are there, and nothing is on its way");
        }
    }
}
