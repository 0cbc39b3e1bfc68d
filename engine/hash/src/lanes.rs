//! Up to sixteen SHA-1 streams that arrive together: a group of pieces, one lane each, read side by side. Whole messages
//! that are already in memory are the business of `many.rs`.

use arrayvec::ArrayVec;

use crate::LANES;
use crate::digest::Sha1Digest;
use crate::engine::Engine;
use crate::kernel::{BLOCK_BYTES, Plan, Words};
use crate::stream::{Pending, Tail};

/// Up to sixteen SHA-1 streams that advance together.
///
/// It is fastest if every update gives all lanes the same number of bytes, a multiple of 64; anything else is correct
/// and costs a copy of at most 63 bytes a lane.
pub struct Sha1Lanes {
    plan: Plan<5>,
    words: Words<5>,
    pending: ArrayVec<Pending, LANES>,
}

impl Sha1Lanes {
    /// `lane_count` empty streams, hashed by the process-wide engine. Panics if they are more than [`LANES`].
    pub fn new(lane_count: usize) -> Sha1Lanes {
        Sha1Lanes::with_engine(Engine::current(), lane_count)
    }

    /// `lane_count` empty streams, hashed by `engine`. Panics if they are more than [`LANES`].
    pub fn with_engine(engine: &Engine, lane_count: usize) -> Sha1Lanes {
        assert!(lane_count <= LANES, "at most sixteen lanes");
        let mut lanes = Sha1Lanes { plan: engine.sha1.clone(), words: Words::zeroed(), pending: ArrayVec::new() };
        lanes.pending.extend((0..lane_count).map(|_| Pending::new()));
        lanes.restart();
        lanes
    }

    /// Appends `inputs[i]` to lane `i`; lengths may differ and be zero. Panics unless there is one input per lane.
    pub fn update(&mut self, inputs: &[&[u8]]) {
        assert_eq!(inputs.len(), self.pending.len(), "one input per lane");
        let mut inputs: ArrayVec<&[u8], LANES> = inputs.iter().copied().collect();
        if self.pending.iter().any(|pending| pending.size() > 0) {
            let mut spans: ArrayVec<&[u8], LANES> = ArrayVec::new();
            for (pending, input) in self.pending.iter_mut().zip(&mut inputs) {
                let whole = pending.top_up(input);
                spans.push(if whole { pending.block() } else { &[] });
            }
            fold(&self.plan, &mut self.words, spans);
        }
        let spans = self.pending.iter_mut().zip(&inputs).map(|(pending, input)| pending.keep_rest(input)).collect();
        fold(&self.plan, &mut self.words, spans);
    }

    /// Writes each lane's digest and makes the lanes empty again. Panics unless there is one digest per lane.
    pub fn finish(&mut self, out: &mut [Sha1Digest]) {
        assert_eq!(out.len(), self.pending.len(), "one digest per lane");
        let tails: ArrayVec<Tail, LANES> = self.pending.iter().map(Pending::tail).collect();
        fold(&self.plan, &mut self.words, tails.iter().map(Tail::blocks).collect());
        for (lane, digest) in out.iter_mut().enumerate() {
            *digest = Sha1Digest::from_state(&self.words.lane(lane));
        }
        self.restart();
    }

    fn restart(&mut self) {
        for (lane, pending) in self.pending.iter_mut().enumerate() {
            *pending = Pending::new();
            self.words.set_lane(lane, self.plan.start());
        }
    }
}

/// Folds every span, all of whole blocks, into its lane. Lanes that have run dry step aside, so that those which go on
/// get a kernel of their number.
fn fold(plan: &Plan<5>, words: &mut Words<5>, mut spans: ArrayVec<&[u8], LANES>) {
    loop {
        let busy: ArrayVec<usize, LANES> = (0..spans.len()).filter(|&lane| !spans[lane].is_empty()).collect();
        let Some(step_bytes) = busy.iter().map(|&lane| spans[lane].len()).min() else { return };
        if busy.len() == spans.len() {
            plan.advance(words, &spans, step_bytes / BLOCK_BYTES);
        } else {
            let mut moved = Words::zeroed();
            for (at, &lane) in busy.iter().enumerate() {
                moved.set_lane(at, &words.lane(lane));
            }
            let inputs: ArrayVec<&[u8], LANES> = busy.iter().map(|&lane| spans[lane]).collect();
            plan.advance(&mut moved, &inputs, step_bytes / BLOCK_BYTES);
            for (at, &lane) in busy.iter().enumerate() {
                words.set_lane(lane, &moved.lane(at));
            }
        }
        for lane in busy {
            spans[lane] = &spans[lane][step_bytes..];
        }
    }
}
