//! Bytes that look random and are the same every time, so that a failed attack can be repeated.

/// A source of bytes that look random.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// The same `seed` gives the same bytes.
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number (xorshift64).
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}

/// `size` bytes that look random.
pub fn noise(size: usize) -> Vec<u8> {
    Noise::new(1).bytes(size)
}
