//! Lies about sizes and pieces, silence, floods; and that one honest peer is always enough.

use super::*;
use hash::{sha1, sha256};
use proptest::prelude::*;
use std::collections::BinaryHeap;
use wire::{METADATA_PIECE_SIZE, metadata_piece};

const PIECE: usize = METADATA_PIECE_SIZE;
const TICK: Duration = Duration::from_millis(250);

fn info(size: usize) -> Vec<u8> {
    (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn v1(info: &[u8]) -> MetadataHashes {
    MetadataHashes { v1: Some(sha1(info)), v2: None }
}

/// A fetch by hand.
struct Fixture {
    fetch: MetadataFetch<u32>,
    info: Vec<u8>,
    now: Duration,
}

impl Fixture {
    fn new(size: usize) -> Fixture {
        let info = info(size);
        Fixture { fetch: MetadataFetch::new(v1(&info), METADATA_LIMIT_BYTES), info, now: Duration::ZERO }
    }

    fn join(&mut self, peer: u32, size: usize) -> Vec<MetadataAction<u32>> {
        let mut out = Vec::new();
        assert!(self.fetch.handle_joined(self.now, peer, size as u32, &mut out));
        out
    }

    fn say(&mut self, peer: u32, message: &MetadataMessage<'_>) -> Vec<MetadataAction<u32>> {
        let mut out = Vec::new();
        self.fetch.handle_message(self.now, peer, message, &mut out);
        out
    }

    fn give(&mut self, peer: u32, piece: u32) -> Vec<MetadataAction<u32>> {
        let data = metadata_piece(&self.info, piece).unwrap().to_vec();
        // I2PSnark's total size.
        self.say(peer, &MetadataMessage::Data { piece, total_size: data.len() as u32, data: &data })
    }

    fn wait(&mut self, time: Duration) -> Vec<MetadataAction<u32>> {
        let (end, mut out) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += TICK;
            self.fetch.handle_tick(self.now, &mut out);
        }
        out
    }
}

/// The pieces that a peer is asked for.
fn asked(actions: &[MetadataAction<u32>], of: u32) -> Vec<u32> {
    let piece = |action: &MetadataAction<u32>| match action {
        MetadataAction::Ask { peer, piece } if *peer == of => Some(*piece),
        _ => None,
    };
    actions.iter().filter_map(piece).collect()
}

fn ban(peer: u32, fault: SourceFault) -> MetadataAction<u32> {
    MetadataAction::Ban { peer, fault }
}

#[test]
fn peers_of_one_size_share_the_work_a_few_pieces_each() {
    let size = 11 * PIECE + 7;
    let mut fixture = Fixture::new(size);
    assert_eq!(asked(&fixture.join(1, size), 1), [0, 1, 2, 3]);
    assert_eq!(asked(&fixture.join(2, size), 2), [4, 5, 6, 7]);
    // Who answers is asked for one more each time.
    assert_eq!(asked(&fixture.give(1, 0), 1), [8, 9]);
    assert_eq!(asked(&fixture.give(2, 4), 2), [10, 11]);
    for (peer, piece) in [(1, 1), (1, 2), (1, 3), (2, 5), (2, 6), (2, 7), (1, 8), (1, 9), (2, 10)] {
        assert_eq!(fixture.give(peer, piece), []);
    }
    let progress = fixture.fetch.progress();
    assert_eq!((progress.peer_count, progress.got_bytes), (2, 11 * PIECE as u32));
    assert_eq!(fixture.give(2, 11), [MetadataAction::Complete(info(size))]);
    assert_eq!(fixture.give(2, 11), []);
    assert!(!fixture.fetch.handle_joined(fixture.now, 3, 5, &mut Vec::new()), "it is over");
}

#[test]
fn what_one_peer_refuses_or_takes_with_it_another_is_asked_for_at_once() {
    let mut fixture = Fixture::new(6 * PIECE);
    fixture.join(1, 6 * PIECE);
    assert_eq!(asked(&fixture.join(2, 6 * PIECE), 2), [4, 5]);
    assert_eq!(asked(&fixture.say(1, &MetadataMessage::Reject { piece: 2 }), 2), [2]);
    let mut out = Vec::new();
    fixture.fetch.handle_left(fixture.now, 1, &mut out);
    assert_eq!(asked(&out, 2), [0]);
}

#[test]
fn a_silent_peer_holds_nothing_up_for_long() {
    let mut fixture = Fixture::new(2 * PIECE);
    fixture.join(1, 2 * PIECE);
    assert_eq!(fixture.join(2, 2 * PIECE), []);
    assert_eq!(asked(&fixture.wait(Duration::from_secs(1)), 2), [0, 1]);
    fixture.give(2, 0);
    assert!(matches!(fixture.give(2, 1)[..], [MetadataAction::Complete(_)]));
}

#[test]
fn a_peer_that_was_silent_is_asked_again_and_ever_more_rarely() {
    let mut fixture = Fixture::new(PIECE);
    assert_eq!(asked(&fixture.join(1, PIECE), 1), [0]);
    let count = asked(&fixture.wait(Duration::from_secs(300)), 1).len();
    assert!((5..15).contains(&count), "{count}");
    // And its late answer is as good as any.
    assert!(matches!(fixture.give(1, 0)[..], [MetadataAction::Complete(_)]));
}

#[test]
fn a_wrong_copy_of_one_peer_is_its_end_and_the_others_go_on() {
    let mut fixture = Fixture::new(PIECE);
    fixture.join(1, PIECE);
    fixture.join(2, PIECE);
    let lie = vec![7; PIECE];
    let out = fixture.say(1, &MetadataMessage::Data { piece: 0, total_size: PIECE as u32, data: &lie });
    assert_eq!(out, [ban(1, SourceFault::WrongCopy), MetadataAction::Ask { peer: 2, piece: 0 }]);
    assert_eq!(fixture.fetch.progress().wrong_copies, 1);
    assert!(matches!(fixture.give(2, 0)[..], [MetadataAction::Complete(_)]));
}

#[test]
fn after_a_wrong_copy_of_several_each_brings_its_own_and_the_liar_is_found() {
    let mut fixture = Fixture::new(6 * PIECE);
    fixture.join(1, 6 * PIECE);
    fixture.join(2, 6 * PIECE);
    let lie = vec![7; PIECE];
    let lied = |piece| MetadataMessage::Data { piece, total_size: 0, data: &lie };
    fixture.say(1, &lied(3));
    for (peer, piece) in [(1, 0), (1, 1), (1, 2), (2, 4)] {
        fixture.give(peer, piece);
    }
    let out = fixture.give(2, 5);
    let all = vec![0, 1, 2, 3, 4, 5];
    assert_eq!((asked(&out, 1), asked(&out, 2)), (all.clone(), all), "both, each all of it");
    (0..5).for_each(|piece| _ = fixture.give(1, piece));
    assert_eq!(fixture.say(1, &lied(5)), [ban(1, SourceFault::WrongCopy)]);
    (0..5).for_each(|piece| _ = fixture.give(2, piece));
    assert!(matches!(fixture.give(2, 5)[..], [MetadataAction::Complete(_)]));
}

#[test]
fn impossible_sizes_are_not_believed_and_wrong_lengths_are_the_end() {
    let mut fixture = Fixture::new(PIECE + 1);
    let refused = |fixture: &mut Fixture, size| !fixture.fetch.handle_joined(fixture.now, 9, size, &mut Vec::new());
    assert!(refused(&mut fixture, 0) && refused(&mut fixture, METADATA_LIMIT_BYTES + 1));
    assert!(refused(&mut fixture, u32::MAX));
    assert_eq!(fixture.fetch.progress().bad_sizes, 3);
    fixture.join(1, PIECE + 1);
    let out = fixture.say(1, &MetadataMessage::Data { piece: 1, total_size: 2, data: b"xy" });
    assert_eq!(out, [ban(1, SourceFault::WrongLength)]);
    // A size that peers lie about keeps nobody with another one from bringing all of it.
    (10..14).for_each(|liar| _ = fixture.join(liar, 5));
    assert_eq!(asked(&fixture.join(2, PIECE + 1), 2), [0, 1]);
}

#[test]
fn answers_that_nobody_waits_for_are_a_flood_in_the_end() {
    let mut fixture = Fixture::new(2 * PIECE);
    fixture.join(1, 2 * PIECE);
    fixture.give(1, 0);
    let mut floods = 0;
    for _ in 0..300 {
        floods += usize::from(fixture.give(1, 0) == [ban(1, SourceFault::Flood)]);
        fixture.say(1, &MetadataMessage::Reject { piece: 77 });
    }
    assert_eq!(floods, 1);
}

#[test]
fn both_hashes_of_a_hybrid_must_fit() {
    let info = info(100);
    let (v1, v2) = (Some(sha1(&info)), Some(sha256(&info)));
    for (hashes, expected) in [
        (MetadataHashes { v1, v2 }, MetadataAction::Complete(info.clone())),
        (MetadataHashes { v1: None, v2 }, MetadataAction::Complete(info.clone())),
        (MetadataHashes { v1: Some(sha1(b"x")), v2 }, MetadataAction::HashesDisagree),
        (MetadataHashes { v1, v2: Some(sha256(b"x")) }, MetadataAction::HashesDisagree),
    ] {
        let mut out = Vec::new();
        let mut fetch = MetadataFetch::new(hashes, METADATA_LIMIT_BYTES);
        fetch.handle_joined(Duration::ZERO, 1, 100, &mut out);
        let data = MetadataMessage::Data { piece: 0, total_size: 100, data: &info };
        fetch.handle_message(Duration::ZERO, 1, &data, &mut out);
        assert_eq!(out.last(), Some(&expected));
    }
}

/// What a peer of the simulation does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Honest,
    Silent,
    Rejects,
    /// Every piece wrong.
    Garbage,
    /// One piece wrong, so that only whole copies tell.
    OneWrong,
    /// Names another size and fills it with garbage.
    OtherSize(u32),
    /// Names the largest size there may be and answers at the last moment.
    Drips,
    WrongLength,
    /// Answers half of what it is asked.
    Forgetful,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Silent),
        Just(Kind::Rejects),
        Just(Kind::Garbage),
        Just(Kind::OneWrong),
        (1u32..200_000).prop_map(Kind::OtherSize),
        Just(Kind::Drips),
        Just(Kind::WrongLength),
        Just(Kind::Forgetful),
    ]
}

struct Simulation {
    fetch: MetadataFetch<u32>,
    info: Vec<u8>,
    kinds: Vec<Kind>,
    /// Answers on their way: when, to which peer's request, for which piece. The earliest is the greatest.
    under_way: BinaryHeap<std::cmp::Reverse<(Duration, u32, u32)>>,
    random: u64,
    now: Duration,
}

impl Simulation {
    fn new(info_bytes: usize, kinds: Vec<Kind>, seed: u64) -> Simulation {
        let info = info(info_bytes);
        let fetch = MetadataFetch::new(v1(&info), METADATA_LIMIT_BYTES);
        Simulation { fetch, info, kinds, under_way: BinaryHeap::new(), random: seed | 1, now: Duration::ZERO }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn size_of(&self, peer: u32) -> u32 {
        match self.kinds[peer as usize] {
            Kind::OtherSize(size) => size,
            Kind::Drips => METADATA_LIMIT_BYTES,
            _ => self.info.len() as u32,
        }
    }

    /// Runs until the metadata is there; gives the time that it took.
    fn run(mut self) -> Result<Duration, String> {
        let mut out = Vec::new();
        for peer in 0..self.kinds.len() as u32 {
            self.fetch.handle_joined(self.now, peer, self.size_of(peer), &mut out);
        }
        let mut next_tick = TICK;
        while self.now < Duration::from_secs(6 * 3600) {
            for action in std::mem::take(&mut out) {
                match action {
                    MetadataAction::Complete(info) if info == self.info => return Ok(self.now),
                    MetadataAction::Ban { peer, .. } if matches!(self.kinds[peer as usize], Kind::Honest) => {
                        return Err(format!("{peer} is honest and was banned"));
                    }
                    MetadataAction::Ban { .. } => {}
                    MetadataAction::Ask { peer, piece } => self.ask(peer, piece),
                    other => return Err(format!("{other:?}")),
                }
            }
            let is_due = self.under_way.peek().is_some_and(|next| next.0.0 <= next_tick);
            let answer = if is_due { self.under_way.pop() } else { None };
            if let Some(std::cmp::Reverse((at, peer, piece))) = answer {
                self.now = at;
                self.answer(peer, piece, &mut out);
            } else {
                self.now = next_tick;
                next_tick += TICK;
                self.fetch.handle_tick(self.now, &mut out);
            }
        }
        Err("it did not end".into())
    }

    fn ask(&mut self, peer: u32, piece: u32) {
        let kind = self.kinds[peer as usize];
        let delay_ms = match kind {
            Kind::Silent => return,
            Kind::Forgetful if self.random(2) == 0 => return,
            Kind::Drips => 9_900,
            _ => 5 + self.random(300),
        };
        self.under_way.push(std::cmp::Reverse((self.now + Duration::from_millis(delay_ms), peer, piece)));
    }

    fn answer(&mut self, peer: u32, piece: u32, out: &mut Vec<MetadataAction<u32>>) {
        let size = self.size_of(peer) as usize;
        let length = size.saturating_sub(piece as usize * PIECE).min(PIECE);
        let garbage = vec![peer as u8 ^ 0x55; length];
        let data = match self.kinds[peer as usize] {
            Kind::Rejects => return self.fetch.handle_message(self.now, peer, &MetadataMessage::Reject { piece }, out),
            Kind::Garbage | Kind::OtherSize(_) | Kind::Drips => &garbage[..],
            Kind::OneWrong if piece as usize == (size - 1) / PIECE => &garbage[..],
            Kind::WrongLength => &garbage[..length / 2],
            _ => metadata_piece(&self.info, piece).unwrap(),
        };
        let message = MetadataMessage::Data { piece, total_size: size as u32, data };
        self.fetch.handle_message(self.now, peer, &message, out);
    }
}

proptest! {
    #[test]
    fn one_honest_peer_is_enough_whatever_the_others_do(
        mut kinds in prop::collection::vec(kinds(), 0..40),
        place: prop::sample::Index,
        size in 1usize..20 * PIECE,
        seed: u64,
    ) {
        kinds.insert(place.index(kinds.len() + 1), Kind::Honest);
        let run = Simulation::new(size, kinds, seed).run();
        prop_assert!(run.is_ok(), "{:?}", run);
    }

    #[test]
    fn no_order_of_events_panics_or_asks_beyond_the_limits(
        events in prop::collection::vec((0u8..5, 0u32..6, 0u32..4, 0usize..3, 0u64..3_000), 0..300),
    ) {
        let mut fixture = Fixture::new(3 * PIECE + 5);
        let mut out = Vec::new();
        for (event, peer, piece, length, time_ms) in events {
            let size = [3 * PIECE + 5, PIECE, 17][length];
            let data = vec![peer as u8; [PIECE, 5, 17][length]];
            match event {
                0 => _ = fixture.fetch.handle_joined(fixture.now, peer, size as u32, &mut out),
                1 => fixture.fetch.handle_left(fixture.now, peer, &mut out),
                2 => out.extend(fixture.say(peer, &MetadataMessage::Data { piece, total_size: 0, data: &data })),
                3 => out.extend(fixture.say(peer, &MetadataMessage::Reject { piece })),
                _ => out.extend(fixture.wait(Duration::from_millis(time_ms))),
            }
            let under_way = fixture.fetch.peers.values().map(|peer| peer.source.asked().count());
            prop_assert!(under_way.max().unwrap_or(0) <= OUTSTANDING_LIMIT);
            let solos = fixture.fetch.peers.values().filter(|peer| peer.solo.is_some()).count();
            prop_assert!(solos <= SOLO_LIMIT);
        }
    }
}
