//! In which order a connection asks for the pieces. The random order is a permutation made of arithmetic: it needs no
//! memory, and no piece comes twice before all others came once, since some seeders drop a request that they already hold.

/// An endless walk over the pieces of a torrent.
#[derive(Clone, Debug)]
pub(crate) struct PieceOrder {
    count: u32,
    position: u32,
    /// Keys of the permutation's rounds; `None` walks from piece to piece.
    keys: Option<[u32; ROUNDS]>,
    half_bits: u32,
}

/// Four rounds of a Feistel network are a good shuffle; nobody attacks it.
const ROUNDS: usize = 4;

impl PieceOrder {
    /// A walk over `count` pieces, at least one, in an order of its own for every seed.
    pub(crate) fn random(count: u32, seed: u64) -> PieceOrder {
        let mut random = Random::new(seed);
        let keys = std::array::from_fn(|_| random.next() as u32);
        let bits = 32 - count.saturating_sub(1).leading_zeros();
        PieceOrder { count, position: random.below(count), keys: Some(keys), half_bits: bits.div_ceil(2).max(1) }
    }

    /// A walk from `start` on, in the order of the torrent, round and round.
    pub(crate) fn sequential(count: u32, start: u32) -> PieceOrder {
        PieceOrder { count, position: start % count, keys: None, half_bits: 0 }
    }

    /// The next piece.
    pub(crate) fn next(&mut self) -> u32 {
        let position = self.position;
        self.position = if position + 1 == self.count { 0 } else { position + 1 };
        let Some(keys) = self.keys else { return position };
        // Walk the cycle of the larger power of two until it leads back below the count.
        let mut value = self.shuffle(position, keys);
        while value >= self.count {
            value = self.shuffle(value, keys);
        }
        value
    }

    fn shuffle(&self, value: u32, keys: [u32; ROUNDS]) -> u32 {
        let mask = (1u32 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in keys {
            let mixed = (right ^ key).wrapping_mul(0x9E37_79B1);
            (left, right) = (right, left ^ ((mixed >> 15) & mask));
        }
        left << self.half_bits | right
    }
}

/// A small source of numbers that need only look random (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_piece_comes_once_before_any_comes_twice() {
        for count in [1, 2, 3, 7, 64, 100, 1025] {
            for seed in 0..20 {
                let mut order = PieceOrder::random(count, seed);
                let first: Vec<u32> = (0..count).map(|_| order.next()).collect();
                assert_eq!(first.iter().collect::<HashSet<_>>().len(), count as usize, "{count} {seed}");
                assert!(first.iter().all(|piece| *piece < count));
                let again: Vec<u32> = (0..count).map(|_| order.next()).collect();
                assert_eq!(first, again);
            }
        }
    }

    #[test]
    fn two_connections_walk_differently() {
        let walk = |seed| {
            let mut order = PieceOrder::random(1000, seed);
            (0..10).map(|_| order.next()).collect::<Vec<_>>()
        };
        assert_ne!(walk(1), walk(2));
        let mut sequential = PieceOrder::sequential(3, 5);
        assert_eq!([sequential.next(), sequential.next(), sequential.next()], [2, 0, 1]);
    }
}
