//! SHA-256 of several lanes at once (FIPS 180-4, 6.2.2), over any `Vector`.

use super::vector::Vector;
use crate::LANES;
use crate::kernel::{BLOCK_BYTES, Words};
use crate::portable::SHA256_K;

/// As for SHA-1; half of it would be as far ahead in time, and is no faster.
const PREFETCH_BYTES: usize = 512;

/// Folds `block_count` blocks into the lanes `first..first + V::WIDTH`.
///
/// # Safety
/// The processor has the features of `V`; otherwise as for `kernel::Run`. To be inlined into a function that enables them.
#[inline(always)]
pub(super) unsafe fn fold<V: Vector>(
    words: &mut Words<8>,
    first: usize,
    data: &[*const u8; LANES],
    block_count: usize,
) {
    let lanes = first..first + V::WIDTH;
    // SAFETY: the caller vouches for the features; the slice is as wide as the vector.
    let mut state: [V; 8] = std::array::from_fn(|word| unsafe { V::load(words.0[word][lanes.clone()].as_ptr()) });
    for block in 0..block_count {
        // SAFETY: the caller vouches for the features and for `block_count` readable blocks of these lanes.
        let mut w = unsafe { V::load_block(&data[lanes.clone()], block * BLOCK_BYTES, PREFETCH_BYTES) };
        let before = state;
        all_rounds(&mut state, &mut w);
        for (word, before) in state.iter_mut().zip(before) {
            *word = word.add(before);
        }
    }
    for (word, row) in state.iter().zip(&mut words.0) {
        // SAFETY: the slice is as wide as the vector.
        unsafe { word.store(row[lanes.clone()].as_mut_ptr()) };
    }
}

/// The 64 rounds of a block: a loop over four times sixteen, of which the first takes the words as they are.
#[inline(always)]
fn all_rounds<V: Vector>(state: &mut [V; 8], w: &mut [V; 16]) {
    macro_rules! rounds {
        ($($t:literal)*) => { $( round(state, w, $t); )* };
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    rounds!(16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    rounds!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    rounds!(48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
}

/// Round `t`. The eight words do not move: each round calls them by the next names.
#[inline(always)]
fn round<V: Vector>(state: &mut [V; 8], w: &mut [V; 16], t: usize) {
    if t >= 16 {
        w[t % 16] = next_word(w, t);
    }
    let at = |name: usize| (name + 64 - t) % 8;
    let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(|name| state[at(name)]);
    // SAFETY: a word of the state exists, so the processor has the features.
    let k = unsafe { V::splat(SHA256_K[t]) };
    let sum1 = e.rotate_right::<6>().xor3(e.rotate_right::<11>(), e.rotate_right::<25>());
    let sum0 = a.rotate_right::<2>().xor3(a.rotate_right::<13>(), a.rotate_right::<22>());
    // The sigma of the newest word is the latest term of each sum, so it is added last.
    let early = h.add(w[t % 16].add(k)).pin().add(e.choose(f, g)).pin();
    let t1 = early.add(sum1).pin();
    state[at(3)] = d.add(t1);
    state[at(7)] = t1.add(sum0.add(a.majority(b, c)).pin());
}

/// The word of round `t` of the message schedule.
#[inline(always)]
fn next_word<V: Vector>(w: &[V; 16], t: usize) -> V {
    let (w1, w14) = (w[(t + 1) % 16], w[(t + 14) % 16]);
    let sigma0 = w1.rotate_right::<7>().xor3(w1.rotate_right::<18>(), w1.shift_right::<3>());
    let sigma1 = w14.rotate_right::<17>().xor3(w14.rotate_right::<19>(), w14.shift_right::<10>());
    w[t % 16].add(w[(t + 9) % 16]).add(sigma0).pin().add(sigma1)
}
