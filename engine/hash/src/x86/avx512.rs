//! AVX-512: sixteen lanes in a `zmm` register, or eight in a `ymm` register (AVX-512VL).

use std::arch::asm;
use std::arch::x86_64::*;

use super::vector::Vector;
use super::{avx2, sha1_lanes, sha256_lanes};
use crate::LANES;
use crate::kernel::{Kernel, Words};

pub(super) const SHA1_X16: Kernel<5> = Kernel { name: "avx512 x16", width: 16, run: sha1_x16 };
pub(super) const SHA1_X8: Kernel<5> = Kernel { name: "avx512 x8", width: 8, run: sha1_x8 };
pub(super) const SHA256_X16: Kernel<8> = Kernel { name: "avx512 x16", width: 16, run: sha256_x16 };
pub(super) const SHA256_X8: Kernel<8> = Kernel { name: "avx512 x8", width: 8, run: sha256_x8 };

// The compiler ends functions that touched the upper halves of registers with `vzeroupper`, so that code after them, which
// knows only SSE, does not pay for it.

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
unsafe fn sha1_x16(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha1_lanes::fold::<Zmm>(words, first, data, block_count) }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
unsafe fn sha1_x8(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha1_lanes::fold::<Ymm>(words, first, data, block_count) }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
unsafe fn sha256_x16(words: &mut Words<8>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha256_lanes::fold::<Zmm>(words, first, data, block_count) }
}

/// # Safety
/// As for `kernel::Run`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
unsafe fn sha256_x8(words: &mut Words<8>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches for all that is asked, and the features are enabled here.
    unsafe { sha256_lanes::fold::<Ymm>(words, first, data, block_count) }
}

/// Sixteen lanes.
#[derive(Clone, Copy)]
struct Zmm(__m512i);

impl Vector for Zmm {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Zmm {
        // SAFETY: the caller vouches for the features.
        Zmm(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn load(row: *const u32) -> Zmm {
        // SAFETY: the caller vouches for the features and for sixteen readable words.
        Zmm(unsafe { _mm512_loadu_si512(row.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, row: *mut u32) {
        // SAFETY: the caller vouches for sixteen writable words; `self` proves the features.
        unsafe { _mm512_storeu_si512(row.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn load_block(data: &[*const u8], offset: usize, ahead_bytes: usize) -> [Zmm; 16] {
        // SAFETY: the caller vouches for the features.
        let mut w = [unsafe { Zmm::splat(0) }; 16];
        for half in 0..2 {
            let start = offset + 32 * half;
            // SAFETY: the caller vouches for the features and for the 64 bytes of which these are one half.
            let rows = |lane: usize| unsafe { Zmm::load_halves(data[lane].add(start), data[lane + 4].add(start)) };
            let near = Zmm::transpose_quarters([rows(0), rows(1), rows(2), rows(3)]);
            let far = Zmm::transpose_quarters([rows(8), rows(9), rows(10), rows(11)]);
            for word in 0..4 {
                // The even quarters hold the first four words of the half, the odd ones the next four.
                w[8 * half + word] = near[word].even_quarters(far[word]).swap_bytes();
                w[8 * half + 4 + word] = near[word].odd_quarters(far[word]).swap_bytes();
            }
        }
        for pointer in &data[..16] {
            // A prefetch beyond the end of the message is a hint for an address that is never read.
            // SAFETY: the processor has SSE; a hint reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer.wrapping_add(offset + ahead_bytes).cast()) };
        }
        w
    }

    #[inline(always)]
    fn add(self, other: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn xor3(self, b: Zmm, c: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_ternarylogic_epi32::<XOR3>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn choose(self, yes: Zmm, no: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_ternarylogic_epi32::<CHOOSE>(self.0, yes.0, no.0) })
    }

    #[inline(always)]
    fn majority(self, b: Zmm, c: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_ternarylogic_epi32::<MAJORITY>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_rol_epi32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn rotate_right<const BITS: i32>(self) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_ror_epi32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_srli_epi32::<BITS>(self.0) })
    }

    #[inline(always)]
    fn pin(self) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { pin_x16(self.0) })
    }
}

/// Eight lanes: AVX2 with the three-input logic and the rotations of AVX-512.
#[derive(Clone, Copy)]
struct Ymm(avx2::Ymm);

impl Vector for Ymm {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Ymm {
        // SAFETY: the caller vouches for the features, of which AVX2 is one.
        Ymm(unsafe { avx2::Ymm::splat(word) })
    }

    #[inline(always)]
    unsafe fn load(row: *const u32) -> Ymm {
        // SAFETY: the caller vouches for the features, of which AVX2 is one, and for eight readable words.
        Ymm(unsafe { avx2::Ymm::load(row) })
    }

    #[inline(always)]
    unsafe fn store(self, row: *mut u32) {
        // SAFETY: the caller vouches for eight writable words.
        unsafe { self.0.store(row) }
    }

    #[inline(always)]
    unsafe fn load_block(data: &[*const u8], offset: usize, ahead_bytes: usize) -> [Ymm; 16] {
        // SAFETY: the caller vouches for the features, of which AVX2 is one, and for 64 readable bytes of each lane.
        unsafe { avx2::Ymm::load_block(data, offset, ahead_bytes) }.map(Ymm)
    }

    #[inline(always)]
    fn add(self, other: Ymm) -> Ymm {
        Ymm(self.0.add(other.0))
    }

    #[inline(always)]
    fn xor(self, other: Ymm) -> Ymm {
        Ymm(self.0.xor(other.0))
    }

    #[inline(always)]
    fn xor3(self, b: Ymm, c: Ymm) -> Ymm {
        self.logic::<XOR3>(b, c)
    }

    #[inline(always)]
    fn choose(self, yes: Ymm, no: Ymm) -> Ymm {
        self.logic::<CHOOSE>(yes, no)
    }

    #[inline(always)]
    fn majority(self, b: Ymm, c: Ymm) -> Ymm {
        self.logic::<MAJORITY>(b, c)
    }

    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Ymm {
        // SAFETY: `self` proves the features.
        Ymm(avx2::Ymm(unsafe { _mm256_rol_epi32::<BITS>(self.0.0) }))
    }

    #[inline(always)]
    fn rotate_right<const BITS: i32>(self) -> Ymm {
        // SAFETY: `self` proves the features.
        Ymm(avx2::Ymm(unsafe { _mm256_ror_epi32::<BITS>(self.0.0) }))
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Ymm {
        Ymm(self.0.shift_right::<BITS>())
    }

    #[inline(always)]
    fn pin(self) -> Ymm {
        Ymm(self.0.pin())
    }
}

impl Ymm {
    #[inline(always)]
    fn logic<const TABLE: i32>(self, b: Ymm, c: Ymm) -> Ymm {
        // SAFETY: `self` proves the features.
        Ymm(avx2::Ymm(unsafe { _mm256_ternarylogic_epi32::<TABLE>(self.0.0, b.0.0, c.0.0) }))
    }
}

/// Truth tables of `vpternlogd`: bit `4a + 2b + c` is the answer for the inputs a, b, c.
const XOR3: i32 = 0b1001_0110;
const CHOOSE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

impl Zmm {
    /// Two half blocks in one register. The second is an insertion from memory, which any vector port does, where a shuffle
    /// of two whole blocks would ask for the one port that shuffles.
    ///
    /// # Safety
    /// The processor has the features, and both pointers are readable for 32 bytes.
    #[inline(always)]
    unsafe fn load_halves(low: *const u8, high: *const u8) -> Zmm {
        // SAFETY: the caller vouches for the features and the bytes; the loads ask for no alignment.
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(low.cast()));
            Zmm(_mm512_inserti64x4::<1>(low, _mm256_loadu_si256(high.cast())))
        }
    }

    /// Transposes four rows of four words in each quarter of the registers.
    #[inline(always)]
    fn transpose_quarters(rows: [Zmm; 4]) -> [Zmm; 4] {
        let [a, b, c, d] = rows.map(|row| row.0);
        // SAFETY: a `Zmm` proves the features.
        let rows = unsafe {
            let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(low_ab, low_cd),
                _mm512_unpackhi_epi64(low_ab, low_cd),
                _mm512_unpacklo_epi64(high_ab, high_cd),
                _mm512_unpackhi_epi64(high_ab, high_cd),
            ]
        };
        rows.map(Zmm)
    }

    /// The even quarters of `self`, then those of `other`.
    #[inline(always)]
    fn even_quarters(self, other: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_shuffle_i32x4::<0b10_00_10_00>(self.0, other.0) })
    }

    /// The odd quarters of `self`, then those of `other`.
    #[inline(always)]
    fn odd_quarters(self, other: Zmm) -> Zmm {
        // SAFETY: `self` proves the features.
        Zmm(unsafe { _mm512_shuffle_i32x4::<0b11_01_11_01>(self.0, other.0) })
    }

    /// Big-endian words from little-endian ones.
    #[inline(always)]
    fn swap_bytes(self) -> Zmm {
        // SAFETY: `self` proves the features.
        unsafe {
            let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            Zmm(_mm512_shuffle_epi8(self.0, _mm512_broadcast_i32x4(order)))
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn pin_x16(mut value: __m512i) -> __m512i {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(zmm_reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}
