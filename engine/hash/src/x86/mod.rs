//! The kernels of x86-64 processors and which of them are worth having for how many messages.

// A stream, a lane or a word is an index into several arrays of registers at once; zipped iterators would hide which.
#![allow(clippy::needless_range_loop)]

mod avx2;
mod avx512;
mod sha1_lanes;
mod sha256_lanes;
mod shani;
mod vector;

use std::arch::x86_64::__cpuid;

use crate::engine::Path;
use crate::kernel::{Kernel, Tier};

pub(crate) fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(crate) fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// Adds the tiers of `path`, which is supported, above the single stream that is there already. Where they meet was measured
/// (engine/decisions/hash-paths.md).
pub(crate) fn add_tiers(path: Path, sha1: &mut Vec<Tier<5>>, sha256: &mut Vec<Tier<8>>) {
    if matches!(path, Path::Asm | Path::Portable) {
        return;
    }
    let sha_ni = has_sha_ni();
    if sha_ni {
        // A fourth stream that nobody asked for costs nothing where streams wait for results, a third where they do not.
        let four = if streams_share_one_port() { 4 } else { 3 };
        *sha1 = tiers(&[(1, shani::SHA1_X1), (2, shani::SHA1_X2), (four, shani::SHA1_X4)]);
        *sha256 = tiers(&[(1, shani::SHA256_X1), (2, shani::SHA256_X2), (four, shani::SHA256_X4)]);
    }
    match path {
        Path::Avx512 if !sha_ni => {
            sha1.extend(tiers(&[(2, avx512::SHA1_X8), (9, avx512::SHA1_X16)]));
            sha256.extend(tiers(&[(2, avx512::SHA256_X8), (9, avx512::SHA256_X16)]));
        }
        Path::Avx512 if streams_share_one_port() => {
            sha1.pop();
            sha1.extend(tiers(&[(3, avx512::SHA1_X8), (9, avx512::SHA1_X16)]));
            sha256.extend(tiers(&[(6, avx512::SHA256_X8), (10, avx512::SHA256_X16)]));
        }
        Path::Avx512 => {
            sha1.extend(tiers(&[(5, avx512::SHA1_X16)]));
            sha256.extend(tiers(&[(9, avx512::SHA256_X16)]));
        }
        Path::Avx2 if !sha_ni => {
            sha1.extend(tiers(&[(3, avx2::SHA1_X8), (11, avx2::SHA1_X16)]));
            sha256.extend(tiers(&[(2, avx2::SHA256_X8)]));
        }
        // For SHA-256 the extension is the faster one at any number of messages.
        Path::Avx2 => sha1.extend(tiers(&[(5, avx2::SHA1_X8), (13, avx2::SHA1_X16)])),
        Path::ShaNi | Path::Asm | Path::Portable => {}
    }
}

/// Whether the SHA extension gains next to nothing from interleaved streams, as on Intel, where one port does all of it and
/// a `sha1msg2` keeps it for four cycles. There, lanes pay from fewer messages.
pub(crate) fn streams_share_one_port() -> bool {
    let vendor = __cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

fn tiers<const N: usize>(list: &[(usize, Kernel<N>)]) -> Vec<Tier<N>> {
    list.iter().map(|&(from, kernel)| Tier { from, kernel }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LANES;
    use crate::kernel::{BLOCK_BYTES, Plan, Words};
    use crate::portable;

    const SHA1: [(fn() -> bool, Kernel<5>); 7] = [
        (has_sha_ni, shani::SHA1_X1),
        (has_sha_ni, shani::SHA1_X2),
        (has_sha_ni, shani::SHA1_X4),
        (has_avx2, avx2::SHA1_X8),
        (has_avx2, avx2::SHA1_X16),
        (has_avx512, avx512::SHA1_X8),
        (has_avx512, avx512::SHA1_X16),
    ];

    const SHA256: [(fn() -> bool, Kernel<8>); 6] = [
        (has_sha_ni, shani::SHA256_X1),
        (has_sha_ni, shani::SHA256_X2),
        (has_sha_ni, shani::SHA256_X4),
        (has_avx2, avx2::SHA256_X8),
        (has_avx512, avx512::SHA256_X8),
        (has_avx512, avx512::SHA256_X16),
    ];

    /// From any state, for any number of lanes and blocks: the plans of this machine may leave a kernel out.
    fn check<const N: usize>(kernel: Kernel<N>, twin: Kernel<N>) {
        let plan = |kernel| Plan::new([0; N], &[Tier { from: 1, kernel }]);
        let (ours, naive) = (plan(kernel), plan(twin));
        let word = |seed: usize| (seed as u32).wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b);
        let bytes: Vec<u8> = (0..LANES * 6 * BLOCK_BYTES + 3).map(|at| word(at) as u8).collect();
        for lane_count in 1..=LANES {
            for block_count in 0..6 {
                let inputs: Vec<&[u8]> = (0..lane_count).map(|lane| &bytes[lane * 6 * BLOCK_BYTES + 3..]).collect();
                let start = Words(std::array::from_fn(|row| std::array::from_fn(|lane| word(row * LANES + lane))));
                let (mut got, mut want) = (start.clone(), start);
                ours.advance(&mut got, &inputs, block_count);
                naive.advance(&mut want, &inputs, block_count);
                for lane in 0..lane_count {
                    assert_eq!(got.lane(lane), want.lane(lane), "{} lane {lane} of {lane_count}", kernel.name);
                }
            }
        }
    }

    #[test]
    fn every_kernel_agrees_with_its_naive_twin() {
        for (supported, kernel) in SHA1 {
            if supported() {
                check(kernel, portable::SHA1);
            }
        }
        for (supported, kernel) in SHA256 {
            if supported() {
                check(kernel, portable::SHA256);
            }
        }
    }
}
