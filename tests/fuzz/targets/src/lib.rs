//! What the fuzzers run on their input, one function per target. A body must never panic, and checks what must hold
//! of whatever it could read. libFuzzer calls these from `fuzz_targets/`; the tests of this crate replay the saved
//! corpus and mutations of it where no nightly toolchain is at hand.
// A broken promise is to stop the fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![forbid(unsafe_code)]

mod bencode_values;
mod dht_bytes;
mod torrents;
mod tracker_bytes;
mod wire_bytes;

pub use bencode_values::bencode;
pub use dht_bytes::{dht_datagram, dht_state};
pub use torrents::{magnet, torrent};
pub use tracker_bytes::{tracker_query, tracker_reply, tracker_udp};
pub use wire_bytes::{wire_extended, wire_handshake, wire_lsd, wire_messages};

/// A target's name, which is also its corpus folder's, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: &[Target] = &[
    ("bencode", bencode),
    ("dht_datagram", dht_datagram),
    ("dht_state", dht_state),
    ("magnet", magnet),
    ("torrent", torrent),
    ("tracker_query", tracker_query),
    ("tracker_reply", tracker_reply),
    ("tracker_udp", tracker_udp),
    ("wire_extended", wire_extended),
    ("wire_handshake", wire_handshake),
    ("wire_lsd", wire_lsd),
    ("wire_messages", wire_messages),
];
