//! Reading messages from a receive buffer: no copies, no allocation, and a message that is too long or misshapen
//! is refused from its first five bytes, before the rest of it is waited for.

use crate::message::id;
use crate::{HashRequest, Limits, Message, PIECE_HEADER_SIZE, PieceBody, WireError};

/// What the beginning of the buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing can be said before the buffer holds `needed` bytes in all, counted from its beginning.
    /// Never more than [`Limits::longest_buffered`].
    Incomplete {
        /// More than the buffer holds now.
        needed: usize,
    },
    /// A message.
    Message {
        /// Borrows its payload from the buffer.
        message: Message<'a>,
        /// Bytes that it took; the next message begins behind them.
        consumed: usize,
    },
    /// A message whose body nobody reads. The next message begins `consumed + body_bytes` from here; the body may
    /// arrive and be dropped piecemeal.
    Skip {
        /// What is skipped.
        skipped: Skipped,
        /// Bytes of the buffer that were read.
        consumed: usize,
        /// Bytes behind them to drop, whether they have arrived or not.
        body_bytes: usize,
    },
}

/// A message whose body is dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// A PIECE that was never asked for, under [`PieceBody::Unwanted`].
    Piece {
        /// Piece index.
        index: u32,
        /// First byte within the piece.
        begin: u32,
    },
    /// A message of an unknown kind, or a BITFIELD that came before the piece count is known.
    Unknown {
        /// Its id.
        id: u8,
    },
}

/// A whole REQUEST: the prefix, id and three fields.
const REQUEST_SIZE: usize = 17;
const REQUEST_HEAD: [u8; 5] = [0, 0, 0, 13, id::REQUEST];

/// Reads the message at the beginning of `buffer`, which may hold less than one message or many.
#[inline]
pub fn parse<'a>(buffer: &'a [u8], limits: &Limits) -> Result<Parsed<'a>, WireError> {
    // Nearly all that a seed receives is this.
    if let Some(bytes) = buffer.first_chunk::<REQUEST_SIZE>()
        && bytes[..5] == REQUEST_HEAD
    {
        let message = Message::Request { index: be32(bytes, 5), begin: be32(bytes, 9), length: be32(bytes, 13) };
        return Ok(Parsed::Message { message, consumed: REQUEST_SIZE });
    }
    parse_any(buffer, limits)
}

fn parse_any<'a>(buffer: &'a [u8], limits: &Limits) -> Result<Parsed<'a>, WireError> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(Parsed::Incomplete { needed: 4 }) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Ok(Parsed::Message { message: Message::KeepAlive, consumed: 4 });
    }
    if length > limits.longest() {
        return Err(WireError::Oversized { length, limit: limits.longest() });
    }
    let Some(&id) = buffer.get(4) else { return Ok(Parsed::Incomplete { needed: 5 }) };
    check_length(id, length, limits)?;

    let body_bytes = length as usize - 1;
    if !is_known(id) {
        return Ok(Parsed::Skip { skipped: Skipped::Unknown { id }, consumed: 5, body_bytes });
    }
    if id == id::BITFIELD && limits.piece_count.is_none() {
        return Ok(Parsed::Skip { skipped: Skipped::Unknown { id }, consumed: 5, body_bytes });
    }
    if id == id::PIECE && limits.piece_body == PieceBody::Unwanted {
        let Some(head) = buffer.first_chunk::<PIECE_HEADER_SIZE>() else {
            return Ok(Parsed::Incomplete { needed: PIECE_HEADER_SIZE });
        };
        let skipped = Skipped::Piece { index: be32(head, 5), begin: be32(head, 9) };
        return Ok(Parsed::Skip { skipped, consumed: PIECE_HEADER_SIZE, body_bytes: body_bytes - 8 });
    }
    let whole = 5 + body_bytes;
    let Some(body) = buffer.get(5..whole) else { return Ok(Parsed::Incomplete { needed: whole }) };
    match message(id, body) {
        Some(message) => Ok(Parsed::Message { message, consumed: whole }),
        None => Err(WireError::WrongLength { id, length }),
    }
}

/// Whether a message of this kind may have this length (the id counts). Decided before the body has arrived.
fn check_length(id: u8, length: u32, limits: &Limits) -> Result<(), WireError> {
    let body = length - 1;
    let exactly = |due: u32| if body == due { Ok(()) } else { Err(WireError::WrongLength { id, length }) };
    let between = |least: u32, most: u32| match body {
        _ if body < least => Err(WireError::WrongLength { id, length }),
        _ if body > most => Err(WireError::TooLong { id, length, limit: most.saturating_add(1) }),
        _ => Ok(()),
    };
    match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => exactly(0),
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => exactly(4),
        id::REQUEST | id::CANCEL | id::REJECT => exactly(12),
        id::PORT => exactly(2),
        id::BITFIELD if limits.piece_count.is_none() => between(0, limits.bitfield_bytes()),
        id::BITFIELD if body == limits.bitfield_bytes() => Ok(()),
        id::BITFIELD => Err(WireError::BitfieldLength { length: body, expected: limits.bitfield_bytes() }),
        id::PIECE => between(8, limits.block_bytes.saturating_add(8)),
        id::EXTENDED => between(1, limits.extended_bytes),
        id::HASH_REQUEST | id::HASH_REJECT => exactly(HashRequest::SIZE as u32),
        id::HASHES if !(body.wrapping_sub(HashRequest::SIZE as u32)).is_multiple_of(32) => {
            Err(WireError::WrongLength { id, length })
        }
        id::HASHES => between(HashRequest::SIZE as u32, crate::hashes::MAX_HASHES_BYTES),
        _ => between(0, limits.unknown_bytes),
    }
}

fn is_known(id: u8) -> bool {
    matches!(id, id::CHOKE..=id::PORT | id::SUGGEST..=id::ALLOWED_FAST | id::EXTENDED..=id::HASH_REJECT)
}

/// A known message from its whole body; `None` if the body does not hold its fields, which `check_length` has
/// already excluded.
fn message(id: u8, body: &[u8]) -> Option<Message<'_>> {
    let field = |at: usize| body.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    let hash_request = || body.first_chunk().map(HashRequest::decode);
    Some(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have { index: field(0)? },
        id::BITFIELD => Message::Bitfield(body),
        id::REQUEST => Message::Request { index: field(0)?, begin: field(4)?, length: field(8)? },
        id::PIECE => Message::Piece { index: field(0)?, begin: field(4)?, data: body.get(8..)? },
        id::CANCEL => Message::Cancel { index: field(0)?, begin: field(4)?, length: field(8)? },
        id::PORT => Message::Port(u16::from_be_bytes(*body.first_chunk()?)),
        id::SUGGEST => Message::Suggest { index: field(0)? },
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject { index: field(0)?, begin: field(4)?, length: field(8)? },
        id::ALLOWED_FAST => Message::AllowedFast { index: field(0)? },
        id::EXTENDED => {
            let (id, payload) = body.split_first()?;
            Message::Extended { id: *id, payload }
        }
        id::HASH_REQUEST => Message::HashRequest(hash_request()?),
        id::HASHES => Message::Hashes { request: hash_request()?, hashes: body.get(HashRequest::SIZE..)? },
        id::HASH_REJECT => Message::HashReject(hash_request()?),
        _ => return None,
    })
}

/// The big-endian number at a place that the array's size proves to exist once this is inlined.
#[inline(always)]
fn be32<const SIZE: usize>(bytes: &[u8; SIZE], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
