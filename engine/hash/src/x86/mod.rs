//! The kernels of x86-64 processors and which of them are worth having for how many messages.

// A stream, a lane or a word is an index into several arrays of registers at once; zipped iterators would hide which.
#![allow(clippy::needless_range_loop)]

#[cfg(not(windows))]
mod asm;
mod avx2;
mod avx512;
mod sha1_lanes;
mod sha256_lanes;
mod shani;
mod vector;

use std::arch::x86_64::__cpuid;

use crate::engine::Path;
use crate::kernel::{Kernel, Tier};
use crate::portable;

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

/// The kernels of `path`, which is supported, and from how many messages each serves. Where they meet was measured
/// (engine/decisions/hash-paths.md).
pub(crate) fn tiers(path: Path) -> (Vec<Tier<5>>, Vec<Tier<8>>) {
    let (mut sha1, mut sha256) = streams(path);
    let sha_ni = has_sha_ni();
    match path {
        Path::Avx512 if !sha_ni => {
            sha1.extend(list(&[(2, avx512::SHA1_X8), (9, avx512::SHA1_X16)]));
            sha256.extend(list(&[(2, avx512::SHA256_X8), (9, avx512::SHA256_X16)]));
        }
        Path::Avx512 if streams_share_one_port() => {
            sha1 = list(&[(1, shani::SHA1_X1), (2, shani::SHA1_X2), (3, avx512::SHA1_X8), (9, avx512::SHA1_X16)]);
            sha256.extend(list(&[(6, avx512::SHA256_X8), (10, avx512::SHA256_X16)]));
        }
        Path::Avx512 => {
            sha1.extend(list(&[(5, avx512::SHA1_X16)]));
            sha256.extend(list(&[(9, avx512::SHA256_X16)]));
        }
        Path::Avx2 if !sha_ni => {
            sha1.extend(list(&[(3, avx2::SHA1_X8), (11, avx2::SHA1_X16)]));
            sha256.extend(list(&[(2, avx2::SHA256_X8)]));
        }
        // For SHA-256 the extension is the faster one at any number of messages.
        Path::Avx2 => sha1.extend(list(&[(5, avx2::SHA1_X8), (13, avx2::SHA1_X16)])),
        Path::ShaNi | Path::Asm | Path::Portable => {}
    }
    (sha1, sha256)
}

/// The best for few messages.
fn streams(path: Path) -> (Vec<Tier<5>>, Vec<Tier<8>>) {
    if !matches!(path, Path::Asm | Path::Portable) && has_sha_ni() {
        // A fourth stream that nobody asked for costs nothing where streams wait for results, a third where they do not.
        let four = if streams_share_one_port() { 4 } else { 3 };
        let sha1 = list(&[(1, shani::SHA1_X1), (2, shani::SHA1_X2), (four, shani::SHA1_X4)]);
        let sha256 = list(&[(1, shani::SHA256_X1), (2, shani::SHA256_X2), (four, shani::SHA256_X4)]);
        return (sha1, sha256);
    }
    #[cfg(not(windows))]
    if path != Path::Portable {
        return (list(&[(1, asm::SHA1)]), list(&[(1, portable::SHA256)]));
    }
    (list(&[(1, portable::SHA1)]), list(&[(1, portable::SHA256)]))
}

/// Whether the SHA extension gains next to nothing from interleaved streams, as on Intel, where one port does all of it and
/// a `sha1msg2` keeps it for four cycles. There, lanes pay from fewer messages.
pub(crate) fn streams_share_one_port() -> bool {
    let vendor = __cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

fn list<const N: usize>(tiers: &[(usize, Kernel<N>)]) -> Vec<Tier<N>> {
    tiers.iter().map(|&(from, kernel)| Tier { from, kernel }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LANES;
    use crate::kernel::{BLOCK_BYTES, Plan, Words};

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
