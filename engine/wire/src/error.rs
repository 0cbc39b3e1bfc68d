//! What a peer can do wrong on the wire. Every variant is the peer's fault; none is worth a retry.

/// A peer broke the protocol; the connection is to be closed and counted under [`WireError::reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first bytes are not the BitTorrent handshake (BEP 3): another protocol, or an encrypted handshake.
    #[error("the peer does not speak plain BitTorrent: byte {offset} of the protocol string is wrong")]
    NotBitTorrent {
        /// The first byte that differs.
        offset: usize,
    },
    /// The length prefix alone is above everything that the limits allow.
    #[error("the peer announced a message of {length} bytes, above the limit of {limit}")]
    Oversized {
        /// The announced length, without the prefix itself.
        length: u32,
        /// The longest message that is taken.
        limit: u32,
    },
    /// The message is longer than this kind of message may be.
    #[error("the peer announced a message {id} of {length} bytes, above the limit of {limit}")]
    TooLong {
        /// The message id.
        id: u8,
        /// The announced length, without the prefix itself.
        length: u32,
        /// The longest message of this kind that is taken.
        limit: u32,
    },
    /// The length does not fit the message's fixed fields.
    #[error("the peer announced a message {id} of {length} bytes, which does not fit its fields")]
    WrongLength {
        /// The message id.
        id: u8,
        /// The announced length, without the prefix itself.
        length: u32,
    },
    /// The bitfield does not have one bit per piece, rounded up to whole bytes.
    #[error("the peer sent a bitfield of {length} bytes where {expected} were due")]
    BitfieldLength {
        /// Bytes of bits that the peer announced.
        length: u32,
        /// Bytes of bits that the torrent's piece count asks for.
        expected: u32,
    },
    /// The payload of an extended message is not a bencoded dictionary.
    #[error("the peer sent an extended message that is no bencoded dictionary")]
    BadDictionary,
    /// The extension handshake is longer than [`crate::MAX_EXTENSION_HANDSHAKE_BYTES`].
    #[error("the peer sent an extension handshake of {size} bytes")]
    ExtensionHandshakeTooLong {
        /// Its size.
        size: usize,
    },
    /// A `ut_metadata` message lacks `msg_type` or `piece`, or they are not numbers in range.
    #[error("the peer sent a ut_metadata message without a valid {field}")]
    BadMetadataMessage {
        /// The dictionary key.
        field: &'static str,
    },
}

impl WireError {
    /// A short, stable word to count by.
    pub fn reason(&self) -> &'static str {
        match self {
            WireError::NotBitTorrent { .. } => "not-bittorrent",
            WireError::Oversized { .. } | WireError::TooLong { .. } => "message-too-long",
            WireError::WrongLength { .. } => "message-length",
            WireError::BitfieldLength { .. } => "bitfield-length",
            WireError::BadDictionary | WireError::ExtensionHandshakeTooLong { .. } => "extended-message",
            WireError::BadMetadataMessage { .. } => "ut-metadata",
        }
    }
}
