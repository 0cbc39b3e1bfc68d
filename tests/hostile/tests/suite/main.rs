//! Attacks on a running engine, family by family. In each a good peer's download goes on to its verified end, the
//! counters name what was done, and nothing is left of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod connections;
mod floods;
mod handshakes;
mod messages;
mod patience;
mod requests;
mod tracker;
