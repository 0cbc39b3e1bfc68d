//! One, two or four interleaved streams of the SHA extensions: each instruction waits several cycles for its own
//! result, which other streams can use.

use std::arch::x86_64::*;

use crate::LANES;
use crate::kernel::{BLOCK_BYTES, Kernel, Words};
use crate::portable::SHA256_K;

pub(super) const SHA1_X1: Kernel<5> = Kernel { name: "shani", width: 1, run: sha1::<1> };
pub(super) const SHA1_X2: Kernel<5> = Kernel { name: "shani x2", width: 2, run: sha1::<2> };
pub(super) const SHA1_X4: Kernel<5> = Kernel { name: "shani x4", width: 4, run: sha1::<4> };
pub(super) const SHA256_X1: Kernel<8> = Kernel { name: "shani", width: 1, run: sha256::<1> };
pub(super) const SHA256_X2: Kernel<8> = Kernel { name: "shani x2", width: 2, run: sha256::<2> };
pub(super) const SHA256_X4: Kernel<8> = Kernel { name: "shani x4", width: 4, run: sha256::<4> };

/// How far ahead of the block in work its lane is fetched.
const PREFETCH_BYTES: usize = 512;

/// One register for each of the streams.
type Streams<const S: usize> = [__m128i; S];

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "sha,ssse3,sse4.1")]
unsafe fn sha1<const S: usize>(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    let mut abcd: Streams<S> = [_mm_setzero_si128(); S];
    let mut e = abcd;
    for s in 0..S {
        let state = words.lane(first + s).map(u32::cast_signed);
        abcd[s] = _mm_set_epi32(state[0], state[1], state[2], state[3]);
        e[s] = _mm_set_epi32(state[4], 0, 0, 0);
    }
    for block in 0..block_count {
        let (abcd_before, e_before) = (abcd, e);
        // SAFETY: the caller vouches for `block_count` readable blocks of the lanes `first..first + S`.
        let mut w: [Streams<S>; 4] = unsafe { load(data, first, block, sha1_byte_order()) };
        let mut r = Sha1Rounds { abcd, e };
        for s in 0..S {
            // The first four rounds take the fifth word as it is; later ones rotate it (`sha1nexte`).
            let sum = _mm_add_epi32(r.e[s], w[0][s]);
            r.e[s] = r.abcd[s];
            r.abcd[s] = _mm_sha1rnds4_epu32::<0>(r.abcd[s], sum);
        }
        r.quad::<0>(&w[1]);
        r.quad::<0>(&w[2]);
        r.quad::<0>(&w[3]);
        r.next_quad::<0, 0>(&mut w);
        r.next_quad::<1, 1>(&mut w);
        r.next_quad::<1, 2>(&mut w);
        r.next_quad::<1, 3>(&mut w);
        r.next_quad::<1, 0>(&mut w);
        r.next_quad::<1, 1>(&mut w);
        r.next_quad::<2, 2>(&mut w);
        r.next_quad::<2, 3>(&mut w);
        r.next_quad::<2, 0>(&mut w);
        r.next_quad::<2, 1>(&mut w);
        r.next_quad::<2, 2>(&mut w);
        r.next_quad::<3, 3>(&mut w);
        r.next_quad::<3, 0>(&mut w);
        r.next_quad::<3, 1>(&mut w);
        r.next_quad::<3, 2>(&mut w);
        r.next_quad::<3, 3>(&mut w);
        for s in 0..S {
            abcd[s] = _mm_add_epi32(r.abcd[s], abcd_before[s]);
            e[s] = _mm_sha1nexte_epu32(r.e[s], e_before[s]);
        }
    }
    for s in 0..S {
        let state = [
            _mm_extract_epi32::<3>(abcd[s]),
            _mm_extract_epi32::<2>(abcd[s]),
            _mm_extract_epi32::<1>(abcd[s]),
            _mm_extract_epi32::<0>(abcd[s]),
            _mm_extract_epi32::<3>(e[s]),
        ];
        words.set_lane(first + s, &state.map(i32::cast_unsigned));
    }
}

/// The state between two quads of SHA-1 rounds. `e` holds the `abcd` of before the last quad, of which `sha1nexte` makes
/// the fifth word.
struct Sha1Rounds<const S: usize> {
    abcd: Streams<S>,
    e: Streams<S>,
}

impl<const S: usize> Sha1Rounds<S> {
    /// Four rounds of the twenty numbered `F`.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn quad<const F: i32>(&mut self, w: &Streams<S>) {
        for s in 0..S {
            let sum = _mm_sha1nexte_epu32(self.e[s], w[s]);
            self.e[s] = self.abcd[s];
            self.abcd[s] = _mm_sha1rnds4_epu32::<F>(self.abcd[s], sum);
        }
    }

    /// Replaces the oldest four words of the schedule, those at `I`, by the next four, and does their rounds.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn next_quad<const F: i32, const I: usize>(&mut self, w: &mut [Streams<S>; 4]) {
        for s in 0..S {
            let sum = _mm_xor_si128(_mm_sha1msg1_epu32(w[I][s], w[(I + 1) % 4][s]), w[(I + 2) % 4][s]);
            w[I][s] = _mm_sha1msg2_epu32(sum, w[(I + 3) % 4][s]);
        }
        self.quad::<F>(&w[I]);
    }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "sha,ssse3,sse4.1")]
unsafe fn sha256<const S: usize>(words: &mut Words<8>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    let mut abef: Streams<S> = [_mm_setzero_si128(); S];
    let mut cdgh = abef;
    for s in 0..S {
        let [a, b, c, d, e, f, g, h] = words.lane(first + s).map(u32::cast_signed);
        abef[s] = _mm_set_epi32(a, b, e, f);
        cdgh[s] = _mm_set_epi32(c, d, g, h);
    }
    for block in 0..block_count {
        // SAFETY: the caller vouches for `block_count` readable blocks of the lanes `first..first + S`.
        let mut w: [Streams<S>; 4] = unsafe { load(data, first, block, sha256_byte_order()) };
        let mut r = Sha256Rounds { abef, cdgh };
        r.quad::<0>(&w[0]);
        r.quad::<1>(&w[1]);
        r.quad::<2>(&w[2]);
        r.quad::<3>(&w[3]);
        r.next_quad::<4, 0>(&mut w);
        r.next_quad::<5, 1>(&mut w);
        r.next_quad::<6, 2>(&mut w);
        r.next_quad::<7, 3>(&mut w);
        r.next_quad::<8, 0>(&mut w);
        r.next_quad::<9, 1>(&mut w);
        r.next_quad::<10, 2>(&mut w);
        r.next_quad::<11, 3>(&mut w);
        r.next_quad::<12, 0>(&mut w);
        r.next_quad::<13, 1>(&mut w);
        r.next_quad::<14, 2>(&mut w);
        r.next_quad::<15, 3>(&mut w);
        for s in 0..S {
            abef[s] = _mm_add_epi32(abef[s], r.abef[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], r.cdgh[s]);
        }
    }
    for s in 0..S {
        let state = [
            _mm_extract_epi32::<3>(abef[s]),
            _mm_extract_epi32::<2>(abef[s]),
            _mm_extract_epi32::<3>(cdgh[s]),
            _mm_extract_epi32::<2>(cdgh[s]),
            _mm_extract_epi32::<1>(abef[s]),
            _mm_extract_epi32::<0>(abef[s]),
            _mm_extract_epi32::<1>(cdgh[s]),
            _mm_extract_epi32::<0>(cdgh[s]),
        ];
        words.set_lane(first + s, &state.map(i32::cast_unsigned));
    }
}

/// The state between two quads of SHA-256 rounds, as `sha256rnds2` wants it.
struct Sha256Rounds<const S: usize> {
    abef: Streams<S>,
    cdgh: Streams<S>,
}

impl<const S: usize> Sha256Rounds<S> {
    /// The rounds `4 * Q..4 * Q + 4`.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn quad<const Q: usize>(&mut self, w: &Streams<S>) {
        let k = SHA256_K.map(u32::cast_signed);
        let k = _mm_set_epi32(k[4 * Q + 3], k[4 * Q + 2], k[4 * Q + 1], k[4 * Q]);
        for s in 0..S {
            let sum = _mm_add_epi32(w[s], k);
            self.cdgh[s] = _mm_sha256rnds2_epu32(self.cdgh[s], self.abef[s], sum);
            let sum = _mm_shuffle_epi32::<0b00_00_11_10>(sum);
            self.abef[s] = _mm_sha256rnds2_epu32(self.abef[s], self.cdgh[s], sum);
        }
    }

    /// Replaces the oldest four words of the schedule, those at `I`, by the next four, and does their rounds.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn next_quad<const Q: usize, const I: usize>(&mut self, w: &mut [Streams<S>; 4]) {
        for s in 0..S {
            let (w1, w2, w3) = (w[(I + 1) % 4][s], w[(I + 2) % 4][s], w[(I + 3) % 4][s]);
            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[I][s], w1), _mm_alignr_epi8::<4>(w3, w2));
            w[I][s] = _mm_sha256msg2_epu32(sum, w3);
        }
        self.quad::<Q>(&w[I]);
    }
}

/// One block of each stream, its words in the order of the extension.
///
/// # Safety
/// The pointers of the lanes `first..first + S` are readable up to the end of block number `block`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
unsafe fn load<const S: usize>(
    data: &[*const u8; LANES],
    first: usize,
    block: usize,
    byte_order: __m128i,
) -> [Streams<S>; 4] {
    let mut w = [[_mm_setzero_si128(); S]; 4];
    for s in 0..S {
        // SAFETY: within the block for which the caller vouches; the loads ask for no alignment.
        unsafe {
            let at = data[first + s].add(block * BLOCK_BYTES);
            // A prefetch beyond the end of the message is a hint for an address that is never read.
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH_BYTES).cast());
            for (quarter, w) in w.iter_mut().enumerate() {
                w[s] = _mm_shuffle_epi8(_mm_loadu_si128(at.add(quarter * 16).cast()), byte_order);
            }
        }
    }
    w
}

/// Big-endian words, the first of them in the highest place.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sha1_byte_order() -> __m128i {
    _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f)
}

/// Big-endian words, the first of them in the lowest place.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sha256_byte_order() -> __m128i {
    _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203)
}
