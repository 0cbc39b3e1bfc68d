//! Known answers for every path that an engine may take: a processor, a hypervisor or a build that computes them wrongly
//! is found before a torrent is made or verified.

use thiserror::Error;

use crate::LANES;
use crate::digest::{Sha1Digest, Sha256Digest};
use crate::engine::{Engine, EngineError};

/// Why hashing cannot be trusted on this machine.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelfTestError {
    /// The operator asked for a path that does not exist or cannot run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The machine or the build computes wrongly.
    #[error(
        "{algorithm} of {message_count} messages at once came out wrong on the {engine} path: the processor or this build is faulty"
    )]
    WrongDigest {
        /// `SHA-1` or `SHA-256`.
        algorithm: &'static str,
        /// How many messages were hashed at once.
        message_count: usize,
        /// The name of the engine's path.
        engine: &'static str,
    },
}

/// Checks the engine that `SPILLWAY_HASH` asks for, or the detected one, against known answers. To be called at start.
pub fn self_test() -> Result<(), SelfTestError> {
    Engine::from_env()?.self_test()
}

/// The two digests of a message, in hexadecimal.
struct Answer {
    message: &'static [u8],
    sha1: &'static str,
    sha256: &'static str,
}

impl Engine {
    /// Hashes known messages, one to sixteen at a time, so that every kernel and every lane of the engine is asked.
    pub fn self_test(&self) -> Result<(), SelfTestError> {
        for message_count in 1..=LANES {
            // Each turn moves the messages by one lane, so that a lane sees all of them.
            for turn in 0..ANSWERS.len() {
                self.check(message_count, turn)?;
            }
        }
        Ok(())
    }

    fn check(&self, message_count: usize, turn: usize) -> Result<(), SelfTestError> {
        let answers: [&Answer; LANES] = std::array::from_fn(|lane| &ANSWERS[(lane + turn) % ANSWERS.len()]);
        let messages = answers.map(|answer| answer.message);
        let wrong = |algorithm| SelfTestError::WrongDigest { algorithm, message_count, engine: self.path().name() };

        let mut sha1 = [Sha1Digest::default(); LANES];
        self.sha1_many(&messages[..message_count], &mut sha1[..message_count]);
        if answers.iter().zip(&sha1).take(message_count).any(|(answer, digest)| digest.to_string() != answer.sha1) {
            return Err(wrong("SHA-1"));
        }
        let mut sha256 = [Sha256Digest::default(); LANES];
        self.sha256_many(&messages[..message_count], &mut sha256[..message_count]);
        if answers.iter().zip(&sha256).take(message_count).any(|(answer, digest)| digest.to_string() != answer.sha256) {
            return Err(wrong("SHA-256"));
        }
        Ok(())
    }
}

/// The messages of FIPS 180-2, appendices A and B, and all byte values in a row: empty, one block, one block that the
/// padding makes two, four blocks and more.
const ANSWERS: [Answer; 5] = [
    Answer {
        message: b"",
        sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    },
    Answer {
        message: b"abc",
        sha1: "a9993e364706816aba3e25717850c26c9cd0d89d",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    },
    Answer {
        message: b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        sha1: "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        sha256: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    },
    Answer {
        message: b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        sha1: "a49b2446a02c645bf419f995b67091253a04a259",
        sha256: "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
    },
    Answer { message: &ALL_BYTES, sha1: "4916d6bdb7f78e6803698cab32d1586ea457dfc8", sha256: "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880" },
];

/// The bytes 0 to 255 in order.
const ALL_BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut value = 0;
    while value < 256 {
        bytes[value] = value as u8;
        value += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Path;

    #[test]
    fn every_path_of_this_machine_gives_the_known_answers() {
        for path in Path::ALL {
            if let Ok(engine) = Engine::with_path(path) {
                assert_eq!(engine.self_test(), Ok(()), "{engine}");
            }
        }
    }
}
