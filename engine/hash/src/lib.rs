//! SHA-1 and SHA-256, one stream or many lanes at once, the fastest path chosen at run time.
//!
//! - One message in memory: [`sha1`], [`sha256`]; one that arrives in parts: [`Sha1`], [`Sha256`].
//! - Many whole messages, of any lengths: [`sha1_many`], [`sha256_many`].
//! - Up to sixteen that arrive side by side, as the pieces of a group, or files, are read: [`Sha1Lanes`], [`Sha256Lanes`].
//! - A single pass for v1 and v2: give each buffer of the group to [`Sha1Lanes::update`], then its 16 KiB leaves to
//!   [`sha256_many`] while they are in the cache.
//!
//! All of them use the process-wide [`Engine`]; call [`self_test`] at start. Files, threads and what a digest means to a
//! torrent are not here.

mod digest;
mod engine;
mod kernel;
mod lanes;
mod many;
mod portable;
mod selftest;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use digest::{InfoHash, Sha1Digest, Sha256Digest};
pub use engine::{Engine, EngineError, PATH_VARIABLE, Path};
pub use lanes::{Sha1Lanes, Sha256Lanes};
pub use selftest::{SelfTestError, self_test};
pub use stream::{Sha1, Sha256};

/// The most lanes that one batch can hold: one AVX-512 register of 32-bit words.
pub const LANES: usize = 16;

/// The SHA-1 of one message.
pub fn sha1(data: &[u8]) -> Sha1Digest {
    Engine::current().sha1(data)
}

/// The SHA-256 of one message.
pub fn sha256(data: &[u8]) -> Sha256Digest {
    Engine::current().sha256(data)
}

/// The SHA-1 of each message, as many at once as the processor can. Panics unless `out` is as long as `messages`.
pub fn sha1_many(messages: &[&[u8]], out: &mut [Sha1Digest]) {
    Engine::current().sha1_many(messages, out);
}

/// The SHA-256 of each message, as many at once as the processor can. Panics unless `out` is as long as `messages`.
pub fn sha256_many(messages: &[&[u8]], out: &mut [Sha256Digest]) {
    Engine::current().sha256_many(messages, out);
}
