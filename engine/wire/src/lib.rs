//! The peer wire as bytes: handshake (BEP 3), messages (BEP 3, 6, 10, 52), extension handshake (BEP 10, 21),
//! metadata transfer (BEP 9), peer exchange (BEP 11), local service discovery (BEP 14) and peer ids (BEP 20).
//!
//! Everything here is a pure function of bytes. What a message means for a torrent, when it may be sent and who
//! pays for it is for `swarm`; sockets are for `shard`. Message stream encryption is not spoken: a handshake that
//! does not begin in the clear is refused at its first wrong byte, so that such a peer falls back to plaintext.
#![forbid(unsafe_code)]

mod allowed_fast;
mod error;
mod extension;
mod handshake;
mod hashes;
mod limits;
mod lsd;
mod message;
mod metadata;
mod parse;
mod peer_id;
mod pex;

pub use allowed_fast::{ALLOWED_FAST_COUNT, allowed_fast_set};
pub use error::WireError;
pub use extension::{ExtensionHandshake, MAX_CLIENT_NAME_BYTES, MAX_EXTENSION_HANDSHAKE_BYTES, PeerExtensions};
pub use handshake::{HANDSHAKE_SIZE, Handshake, Reserved, parse_handshake};
pub use hashes::HashRequest;
pub use limits::{Limits, MAX_BITFIELD_BYTES, MAX_BLOCK_BYTES, MAX_EXTENDED_BYTES, MAX_UNKNOWN_BYTES, PieceBody};
pub use lsd::{LSD_COOKIE_BYTES, LSD_DATAGRAM_BYTES, LSD_INFO_HASHES_LIMIT, LsdAnnounce, LsdError, encode_lsd};
pub use message::{Message, PIECE_HEADER_SIZE, id, piece_header};
pub use metadata::{METADATA_PIECE_SIZE, MetadataMessage, metadata_piece};
pub use parse::{Parsed, Skipped, parse};
pub use peer_id::{ClientName, PeerId};
pub use pex::{PEX_LIST_LIMIT, PexFlags, PexMessage, encode_pex};

/// The extended message id under which we take `ut_metadata` messages (our own `m`, BEP 10).
pub const UT_METADATA_ID: u8 = 1;

/// The extended message id under which we take `ut_pex` messages (our own `m`, BEP 10).
pub const UT_PEX_ID: u8 = 2;
