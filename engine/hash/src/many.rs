//! Any number of whole messages of any lengths over the lanes of a plan: a lane that runs dry takes the next message,
//! and when none is left the rest moves together, so that a narrower and then faster kernel ends the batch.

use arrayvec::ArrayVec;

use crate::LANES;
use crate::kernel::{BLOCK_BYTES, Plan, Words};
use crate::stream::Tail;

/// Calls `done` with the index and the final state of every message, in the order in which they end.
pub(crate) fn each<const N: usize>(plan: &Plan<N>, messages: &[&[u8]], mut done: impl FnMut(usize, &[u32; N])) {
    if unequal(messages) && messages.len() > plan.width() {
        // Longest first: the lanes then run dry close to each other. One allocation a call, none a block.
        let mut order: Vec<usize> = (0..messages.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(messages[index].len()));
        fold(plan, messages, order.into_iter(), &mut done);
    } else {
        fold(plan, messages, 0..messages.len(), &mut done);
    }
}

fn unequal(messages: &[&[u8]]) -> bool {
    messages.windows(2).any(|pair| pair[0].len() != pair[1].len())
}

fn fold<const N: usize>(
    plan: &Plan<N>,
    messages: &[&[u8]],
    mut order: impl Iterator<Item = usize>,
    done: &mut impl FnMut(usize, &[u32; N]),
) {
    let mut words = Words::zeroed();
    let mut lanes: ArrayVec<Lane<'_>, LANES> = ArrayVec::new();
    for index in order.by_ref().take(plan.width()) {
        words.set_lane(lanes.len(), plan.start());
        lanes.push(Lane::new(index, messages[index]));
    }
    while !lanes.is_empty() {
        let step_bytes = step(plan, &mut words, &lanes);
        // Downwards, so that the lane that takes the place of a removed one has had its turn.
        for at in (0..lanes.len()).rev() {
            lanes[at].taken_bytes += step_bytes;
            if !lanes[at].span().is_empty() {
                continue;
            }
            done(lanes[at].index, &words.lane(at));
            if let Some(index) = order.next() {
                lanes[at] = Lane::new(index, messages[index]);
                words.set_lane(at, plan.start());
            } else {
                lanes.swap_remove(at);
                words.set_lane(at, &words.lane(lanes.len()));
            }
        }
    }
}

/// Folds as many bytes of every lane as all of them have in one piece, and tells how many.
fn step<const N: usize>(plan: &Plan<N>, words: &mut Words<N>, lanes: &[Lane<'_>]) -> usize {
    let spans: ArrayVec<&[u8], LANES> = lanes.iter().map(Lane::span).collect();
    let step_bytes = spans.iter().map(|span| span.len()).min().unwrap_or(0);
    plan.advance(words, &spans, step_bytes / BLOCK_BYTES);
    step_bytes
}

/// A message on its way through a lane: its whole blocks, then its padded tail.
struct Lane<'a> {
    index: usize,
    whole: &'a [u8],
    tail: Tail,
    taken_bytes: usize,
}

impl<'a> Lane<'a> {
    fn new(index: usize, message: &'a [u8]) -> Lane<'a> {
        let (whole, rest) = message.split_at(message.len() / BLOCK_BYTES * BLOCK_BYTES);
        Lane { index, whole, tail: Tail::new(rest, message.len() as u64), taken_bytes: 0 }
    }

    /// The blocks that can be folded without a look at another slice; empty when the message is done.
    fn span(&self) -> &[u8] {
        match self.taken_bytes.checked_sub(self.whole.len()) {
            None => &self.whole[self.taken_bytes..],
            Some(taken) => &self.tail.blocks()[taken..],
        }
    }
}
