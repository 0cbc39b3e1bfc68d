//! The intake against a seeder in memory that says anything in any order and arrives in any cuts.

use std::collections::VecDeque;

use proptest::prelude::*;
use wire::piece_header;

use super::*;
use crate::asked::{Address, Batch};

/// Larger than all foreign messages of one script together: more than an answer's size of them between two checked headers
/// would make an answer count early.
const BLOCK: u32 = 2048;
const PIECES: u32 = 100_000;

/// A connection with a seeder behind it, whose bytes arrive in cuts of the test's choice.
struct Pair {
    intake: Intake,
    leech: Leech,
    /// Requests that the seeder has and has not answered.
    queued: VecDeque<u32>,
    /// Bytes on their way.
    wire: VecDeque<u8>,
    asked: u32,
    answered: u64,
    /// Bytes that were read for real.
    real_bytes: u64,
}

impl Pair {
    fn new(depth: u32, fast: bool) -> Pair {
        let mut leech = Leech::new();
        leech.fast = fast;
        leech.choked = false;
        let (intake, queued, wire) = (Intake::new(PIECES, BLOCK), VecDeque::new(), VecDeque::new());
        let mut pair = Pair { intake, leech, queued, wire, asked: 0, answered: 0, real_bytes: 0 };
        pair.ask(depth);
        pair
    }

    fn ask(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.leech.asked.ask(Address { index: self.asked, begin: 0, length: BLOCK });
            self.queued.push_back(self.asked);
            self.asked += 1;
        }
        self.leech.asked.sent(Batch { sent_ns: 0, scheduled_ns: 0, blocks });
    }

    /// The seeder answers its `place`-th request.
    fn answer(&mut self, place: usize, filler: u8) {
        let Some(index) = self.queued.remove(place) else { return };
        self.wire.extend(piece_header(index, 0, BLOCK));
        self.wire.extend((0..BLOCK).map(|_| filler));
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.wire.extend(bytes);
    }

    /// Lets `bytes` arrive and reads them as a worker does, each system call returning at most `cut`.
    fn arrive(&mut self, bytes: usize, cut: usize) -> Result<(), Fault> {
        let mut arrived: VecDeque<u8> = self.wire.drain(..bytes.min(self.wire.len())).collect();
        while !arrived.is_empty() {
            match self.intake.want(&self.leech) {
                Want::Read(wanted) => {
                    let taken: Vec<u8> = arrived.drain(..wanted.min(cut).min(arrived.len())).collect();
                    assert!(!taken.is_empty(), "an intake that wants nothing hangs");
                    self.real_bytes += taken.len() as u64;
                    self.intake.read(&taken, &mut self.leech)?;
                }
                Want::Drop(wanted) => {
                    let taken = arrived.drain(..wanted.min(cut).min(arrived.len())).count();
                    self.intake.dropped(taken, &mut self.leech);
                }
            }
        }
        self.intake.drained(&mut self.leech);
        Ok(())
    }

    /// Books what was answered, as the worker does, and keeps the depth if the loop is closed.
    fn settle(&mut self, is_closed_loop: bool) -> u32 {
        let blocks: u32 = self.leech.answers.drain(..).map(|batch| batch.blocks).sum();
        self.answered += u64::from(blocks);
        if is_closed_loop {
            self.ask(blocks);
        }
        blocks
    }
}

#[derive(Clone, Debug)]
enum Sent {
    Answers(u8),
    Overtaking(u8),
    KeepAlive,
    Have,
    Extended(u16),
    Unknown(u8),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        8 => (1u8..80).prop_map(Sent::Answers),
        1 => (1u8..5).prop_map(Sent::Overtaking),
        1 => Just(Sent::KeepAlive),
        1 => Just(Sent::Have),
        1 => (1u16..30).prop_map(Sent::Extended),
        1 => (1u8..30).prop_map(Sent::Unknown),
    ]
}

proptest! {
    /// Whatever comes between answers and however the stream is cut, every block is counted once, none is invented, and the
    /// pipeline never runs dry.
    #[test]
    fn every_block_is_counted_as_a_full_parser_counts_it(
        script in prop::collection::vec(sent(), 1..50),
        cuts in prop::collection::vec((1usize..9000, 1usize..9000), 1..20),
        depth in 1u32..100,
        filler in prop::sample::select(vec![0u8, 7, 0xff]),
    ) {
        let mut pair = Pair::new(depth, true);
        let (mut sent_blocks, mut cuts) = (0u64, cuts.into_iter().cycle());
        for item in script {
            match item {
                Sent::Answers(blocks) => {
                    for _ in 0..u64::from(blocks).min(pair.queued.len() as u64) {
                        pair.answer(0, filler);
                        sent_blocks += 1;
                    }
                }
                Sent::Overtaking(place) if pair.queued.len() > usize::from(place) => {
                    pair.answer(usize::from(place), filler);
                    sent_blocks += 1;
                }
                Sent::Overtaking(_) => {}
                Sent::KeepAlive => pair.send(&Message::KeepAlive),
                Sent::Have => pair.send(&Message::Have { index: 1 }),
                Sent::Extended(size) => pair.send(&Message::Extended { id: 1, payload: &vec![filler; size.into()] }),
                Sent::Unknown(size) => {
                    pair.wire.extend((u32::from(size) + 1).to_be_bytes());
                    pair.wire.extend([99].into_iter().chain(std::iter::repeat_n(filler, size.into())));
                }
            }
            while !pair.wire.is_empty() {
                let Some((bytes, cut)) = cuts.next() else { break };
                pair.arrive(bytes, cut).expect("nothing here breaks the protocol");
                pair.settle(true);
            }
        }
        prop_assert_eq!(pair.answered, sent_blocks);
        prop_assert_eq!(u64::from(pair.asked) - sent_blocks, u64::from(pair.leech.asked.open()));
        prop_assert_eq!(pair.leech.asked.open() as usize, pair.queued.len());
    }
}

#[test]
fn nearly_everything_is_dropped_unread() {
    let mut pair = Pair::new(64, true);
    for _ in 0..1000 {
        pair.answer(0, 0);
        pair.arrive(usize::MAX, usize::MAX).unwrap();
        pair.settle(true);
    }
    assert_eq!(pair.answered, 1000);
    assert_eq!(pair.leech.odd, crate::leech::Oddities::default());
    assert!(pair.real_bytes <= 13 * (1000 / 60), "{} bytes were read for real", pair.real_bytes);
}

#[test]
fn a_message_between_answers_is_survived_and_counted() {
    let mut pair = Pair::new(64, true);
    for round in 0..200 {
        if round == 10 {
            pair.send(&Message::KeepAlive);
        }
        pair.answer(0, 0xff);
        pair.arrive(usize::MAX, usize::MAX).unwrap();
        pair.settle(true);
    }
    assert_eq!((pair.answered, pair.leech.odd.resynchronised), (200, 1));
}

#[test]
fn a_choke_that_is_read_voids_requests_and_the_unchoke_is_seen() {
    let mut pair = Pair::new(1, false);
    pair.answer(0, 0);
    pair.arrive(usize::MAX, usize::MAX).unwrap();
    pair.settle(true);
    pair.send(&Message::Choke);
    pair.arrive(usize::MAX, 1).unwrap();
    assert!(pair.leech.choked);
    assert_eq!(pair.leech.asked.open(), 0);
    pair.send(&Message::Unchoke);
    pair.arrive(usize::MAX, usize::MAX).unwrap();
    assert!(pair.leech.unchoked_now && !pair.leech.choked);
}

#[test]
fn a_choke_that_was_dropped_unread_is_told_by_the_silence_behind_it() {
    for (fast, rejects) in [(false, 0), (true, 8)] {
        let mut pair = Pair::new(10, fast);
        (0..2).for_each(|_| pair.answer(0, 9));
        pair.send(&Message::Choke);
        for index in 2..2 + rejects {
            pair.send(&Message::Reject { index, begin: 0, length: BLOCK });
        }
        pair.arrive(usize::MAX, usize::MAX).unwrap();
        assert_eq!(pair.settle(false), 2);
        assert_eq!(pair.intake.presumed(&pair.leech), Some(Presumed::Choked), "fast {fast}");
        pair.leech.presume(true);
        assert_eq!(pair.leech.asked.open(), 0);
        pair.send(&Message::Unchoke);
        pair.arrive(usize::MAX, usize::MAX).unwrap();
        assert!(!pair.leech.choked, "the stream is read from a message's beginning again");
    }
}

#[test]
fn silence_within_an_answer_is_only_a_slow_seeder() {
    let mut pair = Pair::new(10, true);
    (0..2).for_each(|_| pair.answer(0, 9));
    pair.arrive(BLOCK as usize + 500, usize::MAX).unwrap();
    assert_eq!(pair.intake.presumed(&pair.leech), None);
}

#[test]
fn rejects_are_taken_back_one_by_one() {
    let mut pair = Pair::new(1, true);
    pair.answer(0, 0);
    pair.arrive(usize::MAX, usize::MAX).unwrap();
    pair.settle(true);
    pair.send(&Message::Reject { index: 1, begin: 0, length: BLOCK });
    pair.arrive(usize::MAX, usize::MAX).unwrap();
    assert_eq!((pair.leech.odd.rejected, pair.leech.asked.open()), (1, 0));
    let again = pair.leech.asked.next_voided().map(|voided| voided.address);
    assert_eq!(again, Some(Address { index: 1, begin: 0, length: BLOCK }));
}

#[test]
fn an_answer_to_nothing_is_counted_and_passed_over() {
    let mut pair = Pair::new(2, true);
    pair.wire.extend(piece_header(77, 0, 100));
    pair.wire.extend([1; 100]);
    pair.answer(0, 3);
    pair.arrive(usize::MAX, usize::MAX).unwrap();
    assert_eq!((pair.settle(false), pair.leech.odd.unasked), (1, 1));
}

/// Rescanning all that is held at every read made a lost framing cost the square of its length.
#[test]
fn a_search_goes_on_where_it_stopped_and_finds_a_header_cut_anywhere() {
    for cut in 1..PIECE_HEADER_SIZE {
        let mut pair = Pair::new(64, true);
        pair.answer(0, 9);
        pair.wire.extend(std::iter::repeat_n(0x7f, BLOCK as usize));
        // The first answer's planned run ends far behind; its rest is dropped, and then nothing fits.
        let planned = 64 * (BLOCK as usize + PIECE_HEADER_SIZE);
        pair.wire.extend(std::iter::repeat_n(0x7f, planned));
        pair.arrive(usize::MAX, 4096).unwrap();
        let held = pair.intake.held.len();
        assert!(held > PIECE_HEADER_SIZE && !pair.intake.certain, "{held}");
        assert_eq!(pair.intake.searched, held + 1 - PIECE_HEADER_SIZE);
        pair.ask(1);
        let asked = pair.queued.len() - 1;
        pair.answer(asked, 9);
        pair.arrive(cut, usize::MAX).unwrap();
        assert_eq!(pair.intake.searched, held + cut + 1 - PIECE_HEADER_SIZE);
        pair.arrive(usize::MAX, usize::MAX).unwrap();
        assert_eq!((pair.leech.odd.resynchronised, pair.intake.searched), (1, 0), "{cut}");
    }
}

#[test]
fn garbage_ends_the_connection_instead_of_hanging_it() {
    let mut pair = Pair::new(2, true);
    pair.wire.extend([0x7f; 100]);
    assert_eq!(pair.arrive(usize::MAX, usize::MAX), Err(Fault::Protocol("message-too-long")));
    let mut pair = Pair::new(64, true);
    pair.answer(0, 3);
    pair.wire.extend(std::iter::repeat_n(0x7f, 2 * SEARCH_BYTES));
    assert_eq!(pair.arrive(usize::MAX, usize::MAX), Err(Fault::Desynchronised));
}
