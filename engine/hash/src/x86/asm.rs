//! The `sha1-asm` crate as a kernel: one stream of scalar code, for x86-64 without SHA-NI.

use crate::LANES;
use crate::kernel::{BLOCK_BYTES, Kernel, Words};

pub(crate) const SHA1: Kernel<5> = Kernel { name: "asm", width: 1, run: sha1 };

/// # Safety
/// As for `kernel::Run`; plain x86-64 suffices.
unsafe fn sha1(words: &mut Words<5>, first: usize, data: &[*const u8; LANES], block_count: usize) {
    // SAFETY: the caller vouches that the pointer is readable for so many blocks, and an array of bytes has no alignment.
    let blocks = unsafe { std::slice::from_raw_parts(data[first].cast::<[u8; BLOCK_BYTES]>(), block_count) };
    let mut state = words.lane(first);
    sha1_asm::compress(&mut state, blocks);
    words.set_lane(first, &state);
}
