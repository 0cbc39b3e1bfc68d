//! What a lane kernel asks of a vector register: the 32-bit operations of SHA-1 and SHA-256 on several lanes at once. The
//! registers themselves are in `avx512.rs` and `avx2.rs`, the algorithms in `sha1_lanes.rs` and `sha256_lanes.rs`.

/// A register of `WIDTH` words, one a lane.
///
/// A value is the proof that the processor has the register's features: whatever makes one out of nothing is unsafe and
/// asks for them, so the operations on values are safe. All of them are to be inlined into a function that enables the
/// features; without that they are slow, not wrong.
pub(super) trait Vector: Copy {
    /// How many lanes.
    const WIDTH: usize;

    /// The same word in every lane.
    ///
    /// # Safety
    /// The processor has the register's features.
    unsafe fn splat(word: u32) -> Self;

    /// One word of the state for each lane.
    ///
    /// # Safety
    /// The processor has the register's features, and `row` is readable for `WIDTH` words.
    unsafe fn load(row: *const u32) -> Self;

    /// The opposite of `load`.
    ///
    /// # Safety
    /// `row` is writable for `WIDTH` words.
    unsafe fn store(self, row: *mut u32);

    /// The sixteen words of the block at `offset` of every lane: a load, a transposition and a byte swap. The block
    /// `ahead_bytes` further on is fetched into the cache.
    ///
    /// # Safety
    /// The processor has the register's features, and the first `WIDTH` pointers are readable for 64 bytes at `offset`.
    unsafe fn load_block(data: &[*const u8], offset: usize, ahead_bytes: usize) -> [Self; 16];

    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// `self ^ b ^ c`: SHA-1's parity, and the sum of three rotations.
    fn xor3(self, b: Self, c: Self) -> Self;
    /// `self` chooses, bit by bit, between `yes` and `no`.
    fn choose(self, yes: Self, no: Self) -> Self;
    /// What at least two of the three say, bit by bit.
    fn majority(self, b: Self, c: Self) -> Self;
    fn rotate_left<const BITS: i32>(self) -> Self;
    fn rotate_right<const BITS: i32>(self) -> Self;
    fn shift_right<const BITS: u32>(self) -> Self;

    /// The same value, of which the compiler knows nothing: it cannot re-associate a sum across it, which would put the
    /// late term first and so lengthen the chain from round to round.
    fn pin(self) -> Self;
}
