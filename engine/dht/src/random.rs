//! Numbers that nobody outside can guess, from the caller's seed: transaction ids and tokens stand on them.

/// SHA-256 of the seed and a counter, thirty-two bytes at a time.
#[derive(Clone)]
pub(crate) struct Random {
    /// The seed, then the counter.
    block: [u8; 40],
    counter: u64,
    bytes: [u8; 32],
    used: usize,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Random {
        let mut block = [0; 40];
        block[..32].copy_from_slice(&seed);
        Random { block, counter: 0, bytes: [0; 32], used: 32 }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| {
            if self.used == self.bytes.len() {
                self.refill();
            }
            self.used += 1;
            self.bytes[self.used - 1]
        })
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(u64::from_be_bytes(self.bytes())) * u128::from(bound)) >> 64) as u64
    }

    fn refill(&mut self) {
        self.block[32..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        self.bytes = hash::sha256(&self.block).0;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_another_does_not() {
        let draw = |seed: u8| -> [u8; 100] { Random::new([seed; 32]).bytes() };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[..32], draw(1)[32..64], "the counter counts");
    }

    #[test]
    fn a_number_stays_below_its_bound() {
        let mut random = Random::new([3; 32]);
        assert!((0..1_000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }
}
