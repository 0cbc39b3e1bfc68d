//! The messages that follow the handshake, and how they are written (BEP 3, 5, 6, 10, 52). Reading is in `parse`.

use crate::HashRequest;

/// Message ids on the wire.
pub mod id {
    #![allow(missing_docs)] // each is named as in its proposal
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
    pub const HASH_REQUEST: u8 = 21;
    pub const HASHES: u8 = 22;
    pub const HASH_REJECT: u8 = 23;
}

/// Bytes before the data of a PIECE: prefix, id, index, begin.
pub const PIECE_HEADER_SIZE: usize = 13;

/// One message, borrowed from the receive buffer or about to be written.
///
/// `index` counts pieces; `begin`, `length` and sizes are bytes. Nothing here is checked against a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// An empty message that says "still here".
    KeepAlive,
    /// Requests are not answered from now on.
    Choke,
    /// Requests are answered from now on.
    Unchoke,
    /// The sender wants pieces that the receiver has.
    Interested,
    /// The sender wants nothing any more.
    NotInterested,
    /// The sender now has this piece.
    Have {
        /// Piece index.
        index: u32,
    },
    /// The pieces that the sender has: the highest bit of the first byte is piece 0.
    Bitfield(&'a [u8]),
    /// Asks for a block.
    Request {
        /// Piece index.
        index: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes asked for.
        length: u32,
    },
    /// A block.
    Piece {
        /// Piece index.
        index: u32,
        /// First byte within the piece.
        begin: u32,
        /// The block; BitComet sends an empty one to say "rejected".
        data: &'a [u8],
    },
    /// Takes a request back.
    Cancel {
        /// Piece index.
        index: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes asked for.
        length: u32,
    },
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// A piece that is cheap for the sender to send (BEP 6).
    Suggest {
        /// Piece index.
        index: u32,
    },
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This request will not be answered (BEP 6).
    Reject {
        /// Piece index.
        index: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes asked for.
        length: u32,
    },
    /// This piece may be requested while choked (BEP 6).
    AllowedFast {
        /// Piece index.
        index: u32,
    },
    /// An extended message (BEP 10).
    Extended {
        /// 0 for the extension handshake, else as the receiver's `m` says.
        id: u8,
        /// The rest of the message.
        payload: &'a [u8],
    },
    /// Asks for merkle hashes (BEP 52).
    HashRequest(HashRequest),
    /// Merkle hashes, the proof after the base layer (BEP 52).
    Hashes {
        /// The request that is answered.
        request: HashRequest,
        /// Concatenated SHA-256 hashes: a multiple of 32 bytes.
        hashes: &'a [u8],
    },
    /// These hashes will not be sent (BEP 52).
    HashReject(HashRequest),
}

impl Message<'_> {
    /// Appends the message, with its prefix, to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Message::KeepAlive => out.extend_from_slice(&[0; 4]),
            Message::Choke => head(out, 0, id::CHOKE),
            Message::Unchoke => head(out, 0, id::UNCHOKE),
            Message::Interested => head(out, 0, id::INTERESTED),
            Message::NotInterested => head(out, 0, id::NOT_INTERESTED),
            Message::Have { index } => one(out, id::HAVE, index),
            Message::Bitfield(bits) => {
                head(out, bits.len(), id::BITFIELD);
                out.extend_from_slice(bits);
            }
            Message::Request { index, begin, length } => three(out, id::REQUEST, index, begin, length),
            Message::Piece { index, begin, data } => {
                out.extend_from_slice(&piece_header(index, begin, data.len() as u32));
                out.extend_from_slice(data);
            }
            Message::Cancel { index, begin, length } => three(out, id::CANCEL, index, begin, length),
            Message::Port(port) => {
                head(out, 2, id::PORT);
                out.extend_from_slice(&port.to_be_bytes());
            }
            Message::Suggest { index } => one(out, id::SUGGEST, index),
            Message::HaveAll => head(out, 0, id::HAVE_ALL),
            Message::HaveNone => head(out, 0, id::HAVE_NONE),
            Message::Reject { index, begin, length } => three(out, id::REJECT, index, begin, length),
            Message::AllowedFast { index } => one(out, id::ALLOWED_FAST, index),
            Message::Extended { id: extended_id, payload } => {
                head(out, 1 + payload.len(), id::EXTENDED);
                out.push(extended_id);
                out.extend_from_slice(payload);
            }
            Message::HashRequest(request) => {
                head(out, HashRequest::SIZE, id::HASH_REQUEST);
                request.encode(out);
            }
            Message::Hashes { request, hashes } => {
                head(out, HashRequest::SIZE + hashes.len(), id::HASHES);
                request.encode(out);
                out.extend_from_slice(hashes);
            }
            Message::HashReject(request) => {
                head(out, HashRequest::SIZE, id::HASH_REJECT);
                request.encode(out);
            }
        }
    }
}

/// What goes before a block of `size_bytes` in a gathered send: prefix, id, index, begin.
#[inline]
pub fn piece_header(index: u32, begin: u32, size_bytes: u32) -> [u8; PIECE_HEADER_SIZE] {
    let mut out = [0; PIECE_HEADER_SIZE];
    out[..4].copy_from_slice(&(9 + size_bytes).to_be_bytes());
    out[4] = id::PIECE;
    out[5..9].copy_from_slice(&index.to_be_bytes());
    out[9..].copy_from_slice(&begin.to_be_bytes());
    out
}

/// Prefix and id of a message with `body_size` bytes after the id.
#[inline]
fn head(out: &mut Vec<u8>, body_size: usize, id: u8) {
    let [a, b, c, d] = (1 + body_size as u32).to_be_bytes();
    out.extend_from_slice(&[a, b, c, d, id]);
}

fn one(out: &mut Vec<u8>, id: u8, field: u32) {
    head(out, 4, id);
    out.extend_from_slice(&field.to_be_bytes());
}

#[inline]
fn three(out: &mut Vec<u8>, id: u8, index: u32, begin: u32, length: u32) {
    let mut message = [0; 17];
    message[3] = 13;
    message[4] = id;
    message[5..9].copy_from_slice(&index.to_be_bytes());
    message[9..13].copy_from_slice(&begin.to_be_bytes());
    message[13..].copy_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&message);
}
