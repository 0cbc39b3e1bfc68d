//! One message that arrives in parts. Many messages at once live in `lanes.rs` and `many.rs`.

use crate::digest::{Sha1Digest, Sha256Digest};
use crate::engine::Engine;
use crate::kernel::{BLOCK_BYTES, Plan, Words};

/// An incremental SHA-1.
#[derive(Clone)]
pub struct Sha1(Stream<5>);

impl Sha1 {
    /// An empty message, hashed by the process-wide engine.
    pub fn new() -> Sha1 {
        Sha1::with_engine(Engine::current())
    }

    /// An empty message, hashed by `engine`.
    pub fn with_engine(engine: &Engine) -> Sha1 {
        Sha1(Stream::new(&engine.sha1))
    }

    /// Appends to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of everything appended.
    pub fn finish(self) -> Sha1Digest {
        Sha1Digest::from_state(&self.0.finish())
    }
}

impl Default for Sha1 {
    fn default() -> Sha1 {
        Sha1::new()
    }
}

/// An incremental SHA-256.
#[derive(Clone)]
pub struct Sha256(Stream<8>);

impl Sha256 {
    /// An empty message, hashed by the process-wide engine.
    pub fn new() -> Sha256 {
        Sha256::with_engine(Engine::current())
    }

    /// An empty message, hashed by `engine`.
    pub fn with_engine(engine: &Engine) -> Sha256 {
        Sha256(Stream::new(&engine.sha256))
    }

    /// Appends to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of everything appended.
    pub fn finish(self) -> Sha256Digest {
        Sha256Digest::from_state(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256::new()
    }
}

/// Part of a block that waits for the rest, and the length so far.
#[derive(Clone)]
pub(crate) struct Pending {
    bytes: [u8; BLOCK_BYTES],
    total_bytes: u64,
}

impl Pending {
    pub(crate) fn new() -> Pending {
        Pending { bytes: [0; BLOCK_BYTES], total_bytes: 0 }
    }

    /// How many bytes wait.
    pub(crate) fn size(&self) -> usize {
        (self.total_bytes % BLOCK_BYTES as u64) as usize
    }

    /// Takes from `data` what completes the waiting block. If it became whole, it is `true` and `block()` is to be
    /// folded before the next call.
    pub(crate) fn top_up(&mut self, data: &mut &[u8]) -> bool {
        let held = self.size();
        if held == 0 {
            return false;
        }
        let (taken, rest) = data.split_at(data.len().min(BLOCK_BYTES - held));
        self.bytes[held..held + taken.len()].copy_from_slice(taken);
        self.total_bytes += taken.len() as u64;
        *data = rest;
        held + taken.len() == BLOCK_BYTES
    }

    /// The block that `top_up` made whole.
    pub(crate) fn block(&self) -> &[u8; BLOCK_BYTES] {
        &self.bytes
    }

    /// Splits `data` into whole blocks, counted as taken, and keeps the rest. Nothing may be waiting, or `data` must
    /// be empty.
    pub(crate) fn keep_rest<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (whole, rest) = data.split_at(data.len() / BLOCK_BYTES * BLOCK_BYTES);
        if !data.is_empty() {
            self.bytes[..rest.len()].copy_from_slice(rest);
            self.total_bytes += data.len() as u64;
        }
        whole
    }

    /// The padded end of the message.
    pub(crate) fn tail(&self) -> Tail {
        Tail::new(&self.bytes[..self.size()], self.total_bytes)
    }
}

/// The last one or two blocks of a message: what is left of it, one bit, zeros, its length in bits (FIPS 180-4, 5.1.1).
pub(crate) struct Tail {
    bytes: [u8; 2 * BLOCK_BYTES],
    size: usize,
}

impl Tail {
    /// `rest` is what follows the last whole block of a message of `total_bytes`.
    pub(crate) fn new(rest: &[u8], total_bytes: u64) -> Tail {
        let mut bytes = [0; 2 * BLOCK_BYTES];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let size = if rest.len() + 9 <= BLOCK_BYTES { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        // The standard ends at 2^64 bits; a message that long does not exist.
        bytes[size - 8..size].copy_from_slice(&total_bytes.wrapping_mul(8).to_be_bytes());
        Tail { bytes, size }
    }

    pub(crate) fn blocks(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// One message of either algorithm.
#[derive(Clone)]
struct Stream<const N: usize> {
    plan: Plan<N>,
    words: Words<N>,
    pending: Pending,
}

impl<const N: usize> Stream<N> {
    fn new(plan: &Plan<N>) -> Stream<N> {
        let mut words = Words::zeroed();
        words.set_lane(0, plan.start());
        Stream { plan: plan.clone(), words, pending: Pending::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        if self.pending.top_up(&mut data) {
            self.plan.advance(&mut self.words, &[self.pending.block()], 1);
        }
        let whole = self.pending.keep_rest(data);
        if !whole.is_empty() {
            self.plan.advance(&mut self.words, &[whole], whole.len() / BLOCK_BYTES);
        }
    }

    fn finish(mut self) -> [u32; N] {
        let tail = self.pending.tail();
        self.plan.advance(&mut self.words, &[tail.blocks()], tail.blocks().len() / BLOCK_BYTES);
        self.words.lane(0)
    }
}
