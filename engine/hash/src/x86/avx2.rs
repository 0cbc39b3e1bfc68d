//! AVX2: eight lanes in a `ymm` register, or twice eight interleaved.

use std::arch::asm;
use std::arch::x86_64::*;

use super::vector::Vector;
use super::{sha1_lanes, sha256_lanes};
use crate::LANES;
use crate::kernel::{Kernel, Words};

pub(super) const SHA1_X8: Kernel<5> = Kernel { name: "avx2 x8", width: 8, run: sha1_x8 };
pub(super) const SHA256_X8: Kernel<8> = Kernel { name: "avx2 x8", width: 8, run: sha256_x8 };
pub(super) const SHA1_X16: Kernel<5> = Kernel { name: "avx2 2x8", width: 16, run: sha1_x16 };

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx2")]
unsafe fn sha1_x8(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha1_lanes::fold::<Ymm>(words, first, data, block_count) }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx2")]
unsafe fn sha256_x8(words: &mut Words<8>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha256_lanes::fold::<Ymm>(words, first, data, block_count) }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx2")]
unsafe fn sha1_x16(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha1_lanes::fold::<Pair>(words, first, data, block_count) }
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Ymm(pub(super) __m256i);

impl Vector for Ymm {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Ymm {
        // SAFETY: the caller vouches for AVX2.
        Ymm(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn load(row: *const u32) -> Ymm {
        // SAFETY: the caller vouches for AVX2 and for eight readable words.
        Ymm(unsafe { _mm256_loadu_si256(row.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, row: *mut u32) {
        // SAFETY: the caller vouches for eight writable words; `self` proves AVX2.
        unsafe { _mm256_storeu_si256(row.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn load_block(data: &[*const u8], offset: usize, ahead_bytes: usize) -> [Ymm; 16] {
        // SAFETY: the caller vouches for AVX2.
        let mut w = [unsafe { Ymm::splat(0) }; 16];
        for quarter in 0..4 {
            let start = offset + 16 * quarter;
            // SAFETY: the caller vouches for AVX2 and for the 64 bytes of which these are a quarter.
            let rows = |lane: usize| unsafe { Ymm::load_quarters(data[lane].add(start), data[lane + 4].add(start)) };
            let columns = Ymm::transpose_halves([rows(0), rows(1), rows(2), rows(3)]);
            for word in 0..4 {
                w[4 * quarter + word] = columns[word].swap_bytes();
            }
        }
        for pointer in &data[..8] {
            // A prefetch beyond the end of the message is a hint for an address that is never read.
            // SAFETY: the processor has AVX2, and so SSE; a hint reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(offset + ahead_bytes).cast()) };
        }
        w
    }

    #[inline(always)]
    fn add(self, other: Ymm) -> Ymm {
        // SAFETY: `self` proves AVX2.
        Ymm(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Ymm) -> Ymm {
        // SAFETY: `self` proves AVX2.
        Ymm(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor3(self, b: Ymm, c: Ymm) -> Ymm {
        self.xor(b).xor(c)
    }

    #[inline(always)]
    fn choose(self, yes: Ymm, no: Ymm) -> Ymm {
        yes.xor(no).and(self).xor(no)
    }

    #[inline(always)]
    fn majority(self, b: Ymm, c: Ymm) -> Ymm {
        self.xor(c).and(b.xor(c)).xor(c)
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Ymm {
        self.rotate(BITS, 32 - BITS)
    }

    #[inline(always)]
    fn rotate_right<const BITS: i32>(self) -> Ymm {
        self.rotate(32 - BITS, BITS)
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Ymm {
        // SAFETY: `self` proves AVX2.
        Ymm(unsafe { _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS.cast_signed())) })
    }

    #[inline(always)]
    fn pin(self) -> Ymm {
        // SAFETY: `self` proves AVX2.
        Ymm(unsafe { pin_x8(self.0) })
    }
}

impl Ymm {
    /// Two quarter blocks in one register, the second by an insertion from memory.
    ///
    /// # Safety
    /// The processor has AVX2, and both pointers are readable for 16 bytes.
    #[inline(always)]
    unsafe fn load_quarters(low: *const u8, high: *const u8) -> Ymm {
        // SAFETY: the caller vouches for AVX2 and the bytes; the loads ask for no alignment.
        Ymm(unsafe { _mm256_loadu2_m128i(high.cast(), low.cast()) })
    }

    /// Transposes four rows of four words in each half of the registers.
    #[inline(always)]
    fn transpose_halves(rows: [Ymm; 4]) -> [Ymm; 4] {
        let [a, b, c, d] = rows.map(|row| row.0);
        // SAFETY: a `Ymm` proves AVX2.
        let columns = unsafe {
            let (low_ab, high_ab) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (low_cd, high_cd) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(low_ab, low_cd),
                _mm256_unpackhi_epi64(low_ab, low_cd),
                _mm256_unpacklo_epi64(high_ab, high_cd),
                _mm256_unpackhi_epi64(high_ab, high_cd),
            ]
        };
        columns.map(Ymm)
    }

    /// Big-endian words from little-endian ones.
    #[inline(always)]
    fn swap_bytes(self) -> Ymm {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            Ymm(_mm256_shuffle_epi8(self.0, _mm256_broadcastsi128_si256(order)))
        }
    }

    #[inline(always)]
    fn and(self, other: Ymm) -> Ymm {
        // SAFETY: `self` proves AVX2.
        Ymm(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    /// Both counts are constants after inlining, which the compiler turns into shifts by an immediate.
    #[inline(always)]
    fn rotate(self, left: i32, right: i32) -> Ymm {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let high = _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(left));
            let low = _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(right));
            Ymm(_mm256_or_si256(high, low))
        }
    }
}

/// Twice eight lanes, whose instructions interleave: while one half waits for a result, the other has work. SHA-256 has too
/// many words for sixteen registers to gain from it.
#[derive(Clone, Copy)]
struct Pair(Ymm, Ymm);

impl Vector for Pair {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Pair {
        // SAFETY: the caller vouches for AVX2.
        let half = unsafe { Ymm::splat(word) };
        Pair(half, half)
    }

    #[inline(always)]
    unsafe fn load(row: *const u32) -> Pair {
        // SAFETY: the caller vouches for AVX2 and for sixteen readable words.
        unsafe { Pair(Ymm::load(row), Ymm::load(row.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, row: *mut u32) {
        // SAFETY: the caller vouches for sixteen writable words.
        unsafe {
            self.0.store(row);
            self.1.store(row.add(8));
        }
    }

    #[inline(always)]
    unsafe fn load_block(data: &[*const u8], offset: usize, ahead_bytes: usize) -> [Pair; 16] {
        let (low, high) = data.split_at(8);
        // SAFETY: the caller vouches for AVX2 and for 64 readable bytes of each lane.
        let (low, high) =
            unsafe { (Ymm::load_block(low, offset, ahead_bytes), Ymm::load_block(high, offset, ahead_bytes)) };
        std::array::from_fn(|word| Pair(low[word], high[word]))
    }

    #[inline(always)]
    fn add(self, other: Pair) -> Pair {
        Pair(self.0.add(other.0), self.1.add(other.1))
    }

    #[inline(always)]
    fn xor(self, other: Pair) -> Pair {
        Pair(self.0.xor(other.0), self.1.xor(other.1))
    }

    #[inline(always)]
    fn xor3(self, b: Pair, c: Pair) -> Pair {
        Pair(self.0.xor3(b.0, c.0), self.1.xor3(b.1, c.1))
    }

    #[inline(always)]
    fn choose(self, yes: Pair, no: Pair) -> Pair {
        Pair(self.0.choose(yes.0, no.0), self.1.choose(yes.1, no.1))
    }

    #[inline(always)]
    fn majority(self, b: Pair, c: Pair) -> Pair {
        Pair(self.0.majority(b.0, c.0), self.1.majority(b.1, c.1))
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Pair {
        Pair(self.0.rotate_left::<BITS>(), self.1.rotate_left::<BITS>())
    }

    #[inline(always)]
    fn rotate_right<const BITS: i32>(self) -> Pair {
        Pair(self.0.rotate_right::<BITS>(), self.1.rotate_right::<BITS>())
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Pair {
        Pair(self.0.shift_right::<BITS>(), self.1.shift_right::<BITS>())
    }

    #[inline(always)]
    fn pin(self) -> Pair {
        Pair(self.0.pin(), self.1.pin())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pin_x8(mut value: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(ymm_reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}
