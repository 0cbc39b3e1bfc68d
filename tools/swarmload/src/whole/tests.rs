//! Whole reading against a seeder that answers as it should not.

use super::*;
use crate::asked::{Address, Batch};

const BLOCK: u32 = 16 * 1024;

/// A verifying connection that has asked for these blocks.
fn verifying(content: &Content, blocks: impl Iterator<Item = (u32, u32)>) -> (Whole, Leech, Tally) {
    let mut leech = Leech::new();
    for (index, begin) in blocks {
        leech.asked.ask(Address { index, begin, length: BLOCK });
        leech.asked.sent(Batch { sent_ns: 0, scheduled_ns: 0, blocks: 1 });
    }
    (Whole::new(content.piece_count()), leech, Tally::new().unwrap())
}

fn answer(index: u32, begin: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Piece { index, begin, data: &[7; BLOCK as usize] }.encode(&mut bytes);
    bytes
}

#[test]
fn a_seeder_that_repeats_its_answers_begins_no_pieces() {
    let content = Content::sample(4, 2 * BLOCK);
    let (mut whole, mut leech, mut tally) = verifying(&content, (0..4).flat_map(|index| [(index, 0), (index, BLOCK)]));
    for _ in 0..100 {
        whole.read(&answer(0, 0), &mut leech, &content, &mut tally).unwrap();
    }
    assert_eq!((whole.pieces.len(), leech.odd.unasked, leech.odd.reordered), (1, 99, 0));
    assert_eq!(leech.asked.open(), 7, "a repeated answer answers nothing else");
}

#[test]
fn pieces_in_progress_are_bounded() {
    let count = MAX_PIECES as u32 + 1;
    let content = Content::sample(count, 2 * BLOCK);
    let (mut whole, mut leech, mut tally) = verifying(&content, (0..count).map(|index| (index, BLOCK)));
    for index in 0..count - 1 {
        whole.read(&answer(index, BLOCK), &mut leech, &content, &mut tally).unwrap();
    }
    let refused = whole.read(&answer(count - 1, BLOCK), &mut leech, &content, &mut tally);
    assert_eq!((refused, whole.pieces.len()), (Err("too-many-pieces"), MAX_PIECES));
}
