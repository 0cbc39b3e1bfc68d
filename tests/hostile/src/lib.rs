//! What the attacks have in common: an engine with a release on loopback to attack, a peer that says whatever it is
//! told to, and an honest download that must come to its verified end whatever the others do.
//!
//! The attacks themselves are in `tests/`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "only tests call this, and a panic is how a test fails"
)]

mod download;
mod noise;
mod peer;
mod target;

pub use download::Download;
pub use noise::{Noise, noise};
pub use peer::{FAST, Peer, connect, connect_from, reset};
pub use target::{PIECE_LENGTH, RELEASE_SIZE, Target};

use std::time::Duration;

/// Long enough for the slowest machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);
