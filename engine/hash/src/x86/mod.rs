//! The kernels of x86-64 processors and which of them are worth having for how many messages.

// A stream, a lane or a word is an index into several arrays of registers at once; zipped iterators would hide which.
#![allow(clippy::needless_range_loop)]

mod avx2;
mod avx512;
mod sha1_lanes;
mod sha256_lanes;
mod shani;
mod vector;

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

/// Adds the tiers of `path`, which is supported, above the single stream that is there already.
pub(crate) fn add_tiers(path: Path, sha1: &mut Vec<Tier<5>>, sha256: &mut Vec<Tier<8>>) {
    if !matches!(path, Path::Asm | Path::Portable) && has_sha_ni() {
        *sha1 = tiers(&[(1, shani::SHA1_X1), (2, shani::SHA1_X2), (3, shani::SHA1_X4)]);
        *sha256 = tiers(&[(1, shani::SHA256_X1), (2, shani::SHA256_X2), (3, shani::SHA256_X4)]);
    }
    match path {
        Path::Avx512 => {
            sha1.extend(tiers(&[(5, avx512::SHA1_X16)]));
            sha256.extend(tiers(&[(9, avx512::SHA256_X16)]));
        }
        Path::Avx2 => {
            sha1.extend(tiers(&[(5, avx2::SHA1_X8), (9, avx2::SHA1_X16)]));
            sha256.extend(tiers(&[(5, avx2::SHA256_X8), (9, avx2::SHA256_X16)]));
        }
        Path::ShaNi | Path::Asm | Path::Portable => {}
    }
}

fn tiers<const N: usize>(list: &[(usize, Kernel<N>)]) -> Vec<Tier<N>> {
    list.iter().map(|&(from, kernel)| Tier { from, kernel }).collect()
}
