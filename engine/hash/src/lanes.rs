//! Up to sixteen streams that arrive together: a group of pieces, or of files, one lane each, read side by side. Whole
//! messages that are already in memory are the business of `many.rs`.

use arrayvec::ArrayVec;

use crate::LANES;
use crate::digest::{Sha1Digest, Sha256Digest};
use crate::engine::Engine;
use crate::kernel::{BLOCK_BYTES, Plan, Words};
use crate::stream::{Pending, Tail};

/// Up to sixteen SHA-1 streams that advance together.
///
/// It is fastest if every update gives all lanes the same number of bytes, a multiple of 64; anything else is correct
/// and costs a copy of at most 63 bytes a lane.
pub struct Sha1Lanes(Lanes<5>);

impl Sha1Lanes {
    /// `lane_count` empty streams, hashed by the process-wide engine. Panics if they are more than [`LANES`].
    pub fn new(lane_count: usize) -> Sha1Lanes {
        Sha1Lanes::with_engine(Engine::current(), lane_count)
    }

    /// `lane_count` empty streams, hashed by `engine`. Panics if they are more than [`LANES`].
    pub fn with_engine(engine: &Engine, lane_count: usize) -> Sha1Lanes {
        Sha1Lanes(Lanes::new(&engine.sha1, lane_count))
    }

    /// Appends `inputs[i]` to lane `i`; lengths may differ and be zero. Panics unless there is one input per lane.
    pub fn update(&mut self, inputs: &[&[u8]]) {
        self.0.update(inputs);
    }

    /// Writes each lane's digest and makes the lanes empty again. Panics unless there is one digest per lane.
    pub fn finish(&mut self, out: &mut [Sha1Digest]) {
        self.0.finish(out, Sha1Digest::from_state);
    }
}

/// Up to sixteen SHA-256 streams that advance together, each of which may end by itself: whole files of any lengths.
///
/// What makes [`Sha1Lanes`] fast makes these fast.
pub struct Sha256Lanes(Lanes<8>);

impl Sha256Lanes {
    /// `lane_count` empty streams, hashed by the process-wide engine. Panics if they are more than [`LANES`].
    pub fn new(lane_count: usize) -> Sha256Lanes {
        Sha256Lanes::with_engine(Engine::current(), lane_count)
    }

    /// `lane_count` empty streams, hashed by `engine`. Panics if they are more than [`LANES`].
    pub fn with_engine(engine: &Engine, lane_count: usize) -> Sha256Lanes {
        Sha256Lanes(Lanes::new(&engine.sha256, lane_count))
    }

    /// Appends `inputs[i]` to lane `i`; lengths may differ and be zero. Panics unless there is one input per lane.
    pub fn update(&mut self, inputs: &[&[u8]]) {
        self.0.update(inputs);
    }

    /// The digest of one lane, which is empty again. Panics if there is no such lane.
    pub fn finish_lane(&mut self, lane: usize) -> Sha256Digest {
        Sha256Digest::from_state(&self.0.finish_lane(lane))
    }
}

/// Streams of either algorithm.
struct Lanes<const N: usize> {
    plan: Plan<N>,
    words: Words<N>,
    pending: ArrayVec<Pending, LANES>,
}

impl<const N: usize> Lanes<N> {
    fn new(plan: &Plan<N>, lane_count: usize) -> Lanes<N> {
        assert!(lane_count <= LANES, "at most sixteen lanes");
        let mut lanes = Lanes { plan: plan.clone(), words: Words::zeroed(), pending: ArrayVec::new() };
        lanes.pending.extend((0..lane_count).map(|_| Pending::new()));
        (0..lane_count).for_each(|lane| lanes.restart(lane));
        lanes
    }

    fn update(&mut self, inputs: &[&[u8]]) {
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

    fn finish<D>(&mut self, out: &mut [D], digest: impl Fn(&[u32; N]) -> D) {
        assert_eq!(out.len(), self.pending.len(), "one digest per lane");
        let tails: ArrayVec<Tail, LANES> = self.pending.iter().map(Pending::tail).collect();
        fold(&self.plan, &mut self.words, tails.iter().map(Tail::blocks).collect());
        for (lane, out) in out.iter_mut().enumerate() {
            *out = digest(&self.words.lane(lane));
            self.restart(lane);
        }
    }

    fn finish_lane(&mut self, lane: usize) -> [u32; N] {
        let tail = self.pending[lane].tail();
        let mut alone = Words::zeroed();
        alone.set_lane(0, &self.words.lane(lane));
        self.plan.advance(&mut alone, &[tail.blocks()], tail.blocks().len() / BLOCK_BYTES);
        self.restart(lane);
        alone.lane(0)
    }

    fn restart(&mut self, lane: usize) {
        self.pending[lane] = Pending::new();
        self.words.set_lane(lane, self.plan.start());
    }
}

/// Folds every span, all of whole blocks, into its lane. Lanes that have run dry step aside, so that those which go on
/// get a kernel of their number.
fn fold<const N: usize>(plan: &Plan<N>, words: &mut Words<N>, mut spans: ArrayVec<&[u8], LANES>) {
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
