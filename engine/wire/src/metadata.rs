//! Metadata transfer (BEP 9, `ut_metadata`): `info` in pieces of 16 KiB, for peers that came by a magnet link.

use bencode::Value;

use crate::{Message, WireError};

/// Bytes in every metadata piece but the last.
pub const METADATA_PIECE_SIZE: usize = 16 * 1024;

/// The values of `msg_type`.
const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

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
        let (kind, piece, total_size, data) = match *self {
            MetadataMessage::Request { piece } => (REQUEST, piece, None, &[][..]),
            MetadataMessage::Data { piece, total_size, data } => (DATA, piece, Some(total_size), data),
            MetadataMessage::Reject { piece } => (REJECT, piece, None, &[][..]),
        };
        let mut payload = bencode::encode_dict(|dict| {
            dict.int("msg_type", kind).int("piece", piece.into());
            if let Some(size) = total_size {
                dict.int("total_size", size.into());
            }
        });
        payload.extend_from_slice(data);
        Message::Extended { id: extended_id, payload: &payload }.encode(out);
    }

    /// Reads the payload of an EXTENDED message that came under [`crate::UT_METADATA_ID`]. `None` is a `msg_type`
    /// that nobody has defined yet, which BEP 9 wants ignored.
    ///
    /// # Errors
    /// [`WireError::BadDictionary`] or [`WireError::BadMetadataMessage`].
    pub fn parse(payload: &'a [u8]) -> Result<Option<MetadataMessage<'a>>, WireError> {
        let Ok((Value::Dict(dict), data)) = bencode::decode_prefix(payload, &bencode::Limits::default()) else {
            return Err(WireError::BadDictionary);
        };
        let [kind, piece, total_size] = dict.get_all(["msg_type", "piece", "total_size"]);
        let kind = kind.and_then(|value| value.as_int()).ok_or(WireError::BadMetadataMessage { field: "msg_type" })?;
        if ![REQUEST, DATA, REJECT].contains(&kind) {
            return Ok(None);
        }
        let piece = number(piece).ok_or(WireError::BadMetadataMessage { field: "piece" })?;
        Ok(Some(match kind {
            REQUEST => MetadataMessage::Request { piece },
            REJECT => MetadataMessage::Reject { piece },
            _ => {
                let total_size = number(total_size).ok_or(WireError::BadMetadataMessage { field: "total_size" })?;
                MetadataMessage::Data { piece, total_size, data }
            }
        }))
    }
}

/// The metadata piece `piece` of `info`; `None` beyond the end.
pub fn metadata_piece(info: &[u8], piece: u32) -> Option<&[u8]> {
    info.chunks(METADATA_PIECE_SIZE).nth(piece as usize)
}

fn number(value: Option<Value<'_>>) -> Option<u32> {
    u32::try_from(value?.as_int()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_the_ones_that_bep_9_prints() {
        let parsed = |payload: &'static [u8]| MetadataMessage::parse(payload).unwrap();
        assert_eq!(parsed(b"d8:msg_typei0e5:piecei0ee"), Some(MetadataMessage::Request { piece: 0 }));
        let data = MetadataMessage::Data { piece: 0, total_size: 34_256, data: b"xxxxxxxx" };
        assert_eq!(parsed(b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx"), Some(data));
        assert_eq!(parsed(b"d8:msg_typei2e5:piecei0ee"), Some(MetadataMessage::Reject { piece: 0 }));
    }

    #[test]
    fn unknown_kinds_are_ignored_and_missing_fields_are_not() {
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei9ee"), Ok(None));
        let missing = |field| Err(WireError::BadMetadataMessage { field });
        assert_eq!(MetadataMessage::parse(b"d5:piecei0ee"), missing("msg_type"));
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei0e5:piecei-1ee"), missing("piece"));
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei1e5:piecei0ee"), missing("total_size"));
        assert_eq!(MetadataMessage::parse(b"le"), Err(WireError::BadDictionary));
    }

    #[test]
    fn info_is_cut_into_pieces_of_16_kib() {
        let info = vec![7; 2 * METADATA_PIECE_SIZE + 5];
        assert_eq!(metadata_piece(&info, 1).map(<[u8]>::len), Some(METADATA_PIECE_SIZE));
        assert_eq!(metadata_piece(&info, 2).map(<[u8]>::len), Some(5));
        assert_eq!(metadata_piece(&info, 3), None);
        assert_eq!(metadata_piece(&info, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn every_message_reads_back(kind in 0..3, piece: u32, total_size: u32, data in prop::collection::vec(any::<u8>(), 0..99)) {
            let sent = match kind {
                0 => MetadataMessage::Request { piece },
                1 => MetadataMessage::Data { piece, total_size, data: &data },
                _ => MetadataMessage::Reject { piece },
            };
            let mut out = Vec::new();
            sent.encode(42, &mut out);
            prop_assert_eq!(out[..4].to_vec(), (out.len() as u32 - 4).to_be_bytes().to_vec());
            prop_assert_eq!(&out[4..6], &[crate::id::EXTENDED, 42]);
            prop_assert_eq!(MetadataMessage::parse(&out[6..]), Ok(Some(sent)));
        }

        #[test]
        fn arbitrary_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = MetadataMessage::parse(&payload);
        }
    }
}
