//! Announce and scrape, both ends of the wire: what is said over HTTP (BEP 3, 7, 23, 31, 48) and over UDP (BEP 15, 41),
//! the server's swarm table that keeps addresses only, and the client's schedule of tiers, intervals and back-off.
//!
//! Pure: bytes and time come in as arguments, randomness as a seed. Sockets, TLS and DNS live in `control`, the HTTP
//! server in `api`.
#![forbid(unsafe_code)]

mod announce;
pub mod client;
mod family;
pub mod http;
mod random;
mod scrape;
pub mod table;
pub mod udp;
mod url;

pub use announce::{AnnounceReply, AnnounceRequest, Event, Failure, PeerId, Retry};
pub use client::{AnnounceAction, TrackerClient};
pub use family::{Family, pack_into, unpack};
pub use scrape::{ScrapeReply, SwarmStats};
pub use table::{OwnSeed, SwarmTable};
pub use url::{MAX_URL_BYTES, Scheme, TrackerUrl, UrlError};

/// Milliseconds on a clock that only goes forward; where it starts is the caller's affair.
pub type Millis = u64;
