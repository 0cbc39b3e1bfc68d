//! A keyed hash for the table's maps. Their keys come from strangers, so the hash must not be guessable; its key comes
//! with the table's seed, so that a run can be repeated.

use std::hash::{BuildHasher, Hasher};

/// Makes hashers that share one secret.
#[derive(Clone, Debug)]
pub(super) struct KeyedState {
    secret: [u64; 2],
}

impl KeyedState {
    pub(super) fn new(secret: [u64; 2]) -> KeyedState {
        KeyedState { secret }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.secret[0], secret: self.secret[1] | 1 }
    }
}

/// Folded 64 by 64 bit multiplication, eight bytes a step.
pub(super) struct KeyedHasher {
    state: u64,
    secret: u64,
}

impl KeyedHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.secret ^ 0x2d35_8dcc_aa6c_78a5);
        self.state = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(29);
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.secret);
        (product as u64) ^ ((product >> 64) as u64)
    }
}
