//! SHA-1 of several lanes at once (FIPS 180-4, 6.1.2), over any `Vector`.

use super::vector::Vector;
use crate::LANES;
use crate::kernel::{BLOCK_BYTES, Words};

/// The constants of the four times twenty rounds.
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Far enough ahead for memory, near enough to be still there (engine/decisions/hash-lanes.md).
const PREFETCH_BYTES: usize = 512;

/// Folds `block_count` blocks into the lanes `first..first + V::WIDTH`.
///
/// # Safety
/// The processor has the features of `V`; otherwise as for `kernel::Run`. To be inlined into a function that enables them.
#[inline(always)]
pub(super) unsafe fn fold<V: Vector>(
    words: &mut Words<5>,
    first: usize,
    data: &[*const u8; LANES],
    block_count: usize,
) {
    let lanes = first..first + V::WIDTH;
    // SAFETY: the caller vouches for the features; the slice is as wide as the vector.
    let mut state: [V; 5] = std::array::from_fn(|word| unsafe { V::load(words.0[word][lanes.clone()].as_ptr()) });
    // SAFETY: the caller vouches for the features.
    let k: [V; 4] = K.map(|word| unsafe { V::splat(word) });
    for block in 0..block_count {
        // SAFETY: the caller vouches for the features and for `block_count` readable blocks of these lanes.
        let mut w = unsafe { V::load_block(&data[lanes.clone()], block * BLOCK_BYTES, PREFETCH_BYTES) };
        let before = state;
        all_rounds(&mut state, &mut w, &k);
        for (word, before) in state.iter_mut().zip(before) {
            *word = word.add(before);
        }
    }
    for (word, row) in state.iter().zip(&mut words.0) {
        // SAFETY: the slice is as wide as the vector.
        unsafe { word.store(row[lanes.clone()].as_mut_ptr()) };
    }
}

/// The eighty rounds of a block, written out: the compiler then knows every index and keeps words and state in registers.
#[inline(always)]
fn all_rounds<V: Vector>(state: &mut [V; 5], w: &mut [V; 16], k: &[V; 4]) {
    macro_rules! rounds {
        ($($t:literal)*) => { $( round(state, w, k, $t); )* };
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    rounds!(20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    rounds!(40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
    rounds!(60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
}

/// Round `t`. The five words do not move: each round calls them by the next names.
#[inline(always)]
fn round<V: Vector>(state: &mut [V; 5], w: &mut [V; 16], k: &[V; 4], t: usize) {
    if t >= 16 {
        let oldest = w[t % 16].xor3(w[(t + 2) % 16], w[(t + 8) % 16]);
        w[t % 16] = oldest.xor(w[(t + 13) % 16]).rotate_left::<1>();
    }
    let at = |name: usize| (name + 80 - t) % 5;
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|name| state[at(name)]);
    let f = match t / 20 {
        0 => b.choose(c, d),
        2 => b.majority(c, d),
        _ => b.xor3(c, d),
    };
    // The rotation of `a` is the latest term, so it is added last.
    let early = e.add(w[t % 16].add(k[t / 20])).pin().add(f).pin();
    state[at(4)] = early.add(a.rotate_left::<5>());
    state[at(1)] = b.rotate_left::<30>();
}
