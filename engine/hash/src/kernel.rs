//! What every compression path has in common: the shape of the state, the contract of a kernel, and the plan that
//! says which kernel serves how many messages. Which plan a processor gets is for `engine.rs`.

use std::fmt;

use crate::LANES;

/// SHA-1 and SHA-256 both fold 64 bytes at a time (FIPS 180-4).
pub(crate) const BLOCK_BYTES: usize = 64;

/// The chaining values of up to sixteen messages, one array per word of the state and one column per lane, so that a
/// vector register is one load.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Words<const N: usize>(pub(crate) [[u32; LANES]; N]);

impl<const N: usize> Words<N> {
    pub(crate) fn zeroed() -> Words<N> {
        Words([[0; LANES]; N])
    }

    pub(crate) fn lane(&self, lane: usize) -> [u32; N] {
        self.0.map(|row| row[lane])
    }

    pub(crate) fn set_lane(&mut self, lane: usize, state: &[u32; N]) {
        for (row, word) in self.0.iter_mut().zip(state) {
            row[lane] = *word;
        }
    }
}

/// Folds `block_count` blocks into each of the lanes `first..first + width`.
///
/// # Safety
/// The processor has the features that the kernel was compiled for, `first + width <= LANES`, and each pointer of
/// those lanes is readable for `block_count * BLOCK_BYTES` bytes.
pub(crate) type Run<const N: usize> =
    unsafe fn(words: &mut Words<N>, first: usize, data: &[*const u8; LANES], block_count: usize);

/// One compression path: so many lanes at once.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<const N: usize> {
    pub(crate) name: &'static str,
    pub(crate) width: usize,
    pub(crate) run: Run<N>,
}

/// A kernel and the least number of messages from which it is the best.
#[derive(Clone, Copy)]
pub(crate) struct Tier<const N: usize> {
    pub(crate) from: usize,
    pub(crate) kernel: Kernel<N>,
}

/// The most tiers of a plan: one, two and four streams, eight lanes, sixteen lanes.
pub(crate) const TIERS_MAX: usize = 5;

/// Which kernel serves how many messages of one algorithm.
///
/// Invariants: the tiers rise in `from`, the first is from one message, widths are powers of two, and a plan that
/// leaves `engine.rs` holds only kernels whose processor features were detected.
#[derive(Clone)]
pub(crate) struct Plan<const N: usize> {
    start: [u32; N],
    tiers: arrayvec::ArrayVec<Tier<N>, TIERS_MAX>,
}

impl<const N: usize> Plan<N> {
    pub(crate) fn new(start: [u32; N], tiers: &[Tier<N>]) -> Plan<N> {
        Plan { start, tiers: tiers.iter().copied().take(TIERS_MAX).collect() }
    }

    /// The chaining value before the first block.
    pub(crate) fn start(&self) -> &[u32; N] {
        &self.start
    }

    /// How many messages the widest kernel takes at once.
    pub(crate) fn width(&self) -> usize {
        self.tiers.iter().map(|tier| tier.kernel.width).max().unwrap_or(1)
    }

    /// Folds the first `block_count` blocks of `inputs[i]` into lane `i` of `words`. Lanes above `inputs.len()` are
    /// left with unspecified values. Panics on more inputs than lanes or on an input that is too short.
    pub(crate) fn advance(&self, words: &mut Words<N>, inputs: &[&[u8]], block_count: usize) {
        assert!(inputs.len() <= LANES, "one lane per input");
        assert!(inputs.iter().all(|input| input.len() / BLOCK_BYTES >= block_count), "inputs hold the blocks");
        let Some(spare) = inputs.first() else { return };
        // A kernel wider than the inputs reads the first message again in the lanes that nobody asked for.
        let mut data = [spare.as_ptr(); LANES];
        for (pointer, input) in data.iter_mut().zip(inputs) {
            *pointer = input.as_ptr();
        }
        let mut first = 0;
        while first < inputs.len() {
            let kernel = self.pick(inputs.len() - first);
            assert!(first + kernel.width <= LANES, "kernels fit the lanes");
            // SAFETY: the plan holds only kernels whose features were detected, the lanes fit as just asserted, and
            // every pointer comes from a slice that was checked above to hold `block_count` blocks.
            unsafe { (kernel.run)(words, first, &data, block_count) };
            first += kernel.width;
        }
    }

    fn pick(&self, message_count: usize) -> &Kernel<N> {
        let at = self.tiers.iter().rposition(|tier| tier.from <= message_count).unwrap_or(0);
        &self.tiers[at].kernel
    }
}

impl<const N: usize> fmt::Display for Plan<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tier) in self.tiers.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{} from {}", tier.kernel.name, tier.from)?;
        }
        Ok(())
    }
}
