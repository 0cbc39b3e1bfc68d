//! SHA-1 and SHA-256, one stream or many lanes at once, the fastest path chosen at run time.

mod digest;
mod portable;

pub use digest::{InfoHash, Sha1Digest, Sha256Digest};

/// The most lanes that one batch can hold: one AVX-512 register of 32-bit words.
pub const LANES: usize = 16;

fn pad(data: &[u8]) -> Vec<u8> {
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    padded
}

/// The SHA-1 of one message.
pub fn sha1(data: &[u8]) -> Sha1Digest {
    let mut state = portable::SHA1_START;
    portable::sha1_blocks(&mut state, &pad(data));
    let mut out = [0; 20];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Sha1Digest(out)
}

/// The SHA-256 of one message.
pub fn sha256(data: &[u8]) -> Sha256Digest {
    let mut state = portable::SHA256_START;
    portable::sha256_blocks(&mut state, &pad(data));
    let mut out = [0; 32];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Sha256Digest(out)
}

/// The SHA-1 of each message, as many at once as the processor can. Panics unless `out` is as long as `messages`.
pub fn sha1_many(messages: &[&[u8]], out: &mut [Sha1Digest]) {
    assert_eq!(messages.len(), out.len(), "one digest per message");
    for (digest, message) in out.iter_mut().zip(messages) {
        *digest = sha1(message);
    }
}

/// The SHA-256 of each message, as many at once as the processor can. Panics unless `out` is as long as `messages`.
pub fn sha256_many(messages: &[&[u8]], out: &mut [Sha256Digest]) {
    assert_eq!(messages.len(), out.len(), "one digest per message");
    for (digest, message) in out.iter_mut().zip(messages) {
        *digest = sha256(message);
    }
}

/// Up to sixteen SHA-1 streams that advance together.
pub struct Sha1Lanes {
    data: Vec<Vec<u8>>,
}

impl Sha1Lanes {
    /// `lane_count` empty streams, at most [`LANES`].
    pub fn new(lane_count: usize) -> Sha1Lanes {
        assert!(lane_count <= LANES, "at most sixteen lanes");
        Sha1Lanes { data: vec![Vec::new(); lane_count] }
    }

    /// Appends `inputs[i]` to lane `i`; lengths may differ and be zero. Panics unless there is one input per lane.
    pub fn update(&mut self, inputs: &[&[u8]]) {
        assert_eq!(inputs.len(), self.data.len(), "one input per lane");
        for (lane, input) in self.data.iter_mut().zip(inputs) {
            lane.extend_from_slice(input);
        }
    }

    /// Writes each lane's digest and makes the lanes empty again.
    pub fn finish(&mut self, out: &mut [Sha1Digest]) {
        assert_eq!(out.len(), self.data.len(), "one digest per lane");
        for (digest, lane) in out.iter_mut().zip(&mut self.data) {
            *digest = sha1(lane);
            lane.clear();
        }
    }
}
