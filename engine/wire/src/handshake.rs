//! The handshake (BEP 3) and its reserved bits (BEP 5, 6, 10, 52).

use hash::InfoHash;

use crate::{PeerId, WireError};

/// Bytes of a whole handshake.
pub const HANDSHAKE_SIZE: usize = 68;

/// The length byte and the protocol string that every plain handshake begins with.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// The eight reserved bytes, in which each side says which extensions it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// Nothing beyond BEP 3.
    pub const NONE: Reserved = Reserved([0; 8]);
    /// Speaks the extension protocol (BEP 10).
    pub const EXTENDED: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
    /// Speaks the fast extension (BEP 6).
    pub const FAST: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 0x04]);
    /// Has a DHT node and sends PORT (BEP 5).
    pub const DHT: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 0x01]);
    /// Speaks BitTorrent v2, so that a v1 handshake of a hybrid may be answered with the v2 info-hash (BEP 52).
    pub const V2: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 0x10]);

    /// These bits and `other`'s.
    #[must_use]
    pub const fn with(self, other: Reserved) -> Reserved {
        Reserved((u64::from_be_bytes(self.0) | u64::from_be_bytes(other.0)).to_be_bytes())
    }

    /// The bits that both sides have.
    #[must_use]
    pub const fn shared(self, other: Reserved) -> Reserved {
        Reserved((u64::from_be_bytes(self.0) & u64::from_be_bytes(other.0)).to_be_bytes())
    }

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Reserved) -> bool {
        let other = u64::from_be_bytes(other.0);
        u64::from_be_bytes(self.0) & other == other
    }
}

/// The first 68 bytes that each side sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Extensions the sender speaks.
    pub reserved: Reserved,
    /// The swarm.
    pub info_hash: InfoHash,
    /// The sender.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The handshake as it goes over the wire.
    pub fn encode(&self) -> [u8; HANDSHAKE_SIZE] {
        let mut out = [0; HANDSHAKE_SIZE];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved.0);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }
}

/// Reads a handshake from the beginning of `received`, which may still grow: `None` until all
/// [`HANDSHAKE_SIZE`] bytes are there. What follows them is not looked at.
///
/// The protocol string is compared as far as it has arrived, so that a peer that speaks something else (an
/// encrypted handshake, HTTP, TLS) is refused at its first wrong byte.
pub fn parse_handshake(received: &[u8]) -> Result<Option<Handshake>, WireError> {
    if let Some(offset) = received.iter().zip(PROTOCOL).position(|(ours, theirs)| ours != theirs) {
        return Err(WireError::NotBitTorrent { offset });
    }
    let Some(bytes) = received.first_chunk::<HANDSHAKE_SIZE>() else { return Ok(None) };
    let mut reserved = [0; 8];
    reserved.copy_from_slice(&bytes[20..28]);
    let mut info_hash = [0; 20];
    info_hash.copy_from_slice(&bytes[28..48]);
    let mut peer_id = [0; 20];
    peer_id.copy_from_slice(&bytes[48..]);
    Ok(Some(Handshake { reserved: Reserved(reserved), info_hash: InfoHash(info_hash), peer_id: PeerId(peer_id) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::EXTENDED.with(Reserved::FAST).with(Reserved::V2),
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId::ours([9; 12]),
        }
    }

    #[test]
    fn a_handshake_survives_the_wire_however_it_is_split() {
        let bytes = sample().encode();
        for cut in 0..HANDSHAKE_SIZE {
            assert_eq!(parse_handshake(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parse_handshake(&bytes), Ok(Some(sample())));
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"what follows");
        assert_eq!(parse_handshake(&longer), Ok(Some(sample())));
    }

    #[test]
    fn a_foreign_protocol_is_refused_at_its_first_wrong_byte() {
        assert_eq!(parse_handshake(b"G"), Err(WireError::NotBitTorrent { offset: 0 }));
        assert_eq!(parse_handshake(b"\x13BitTorrent Protocol"), Err(WireError::NotBitTorrent { offset: 12 }));
        assert_eq!(parse_handshake(b"\x13BitTorrent protoco"), Ok(None));
        let mut bytes = sample().encode();
        for at in 0..20 {
            bytes[at] ^= 0x80;
            assert_eq!(parse_handshake(&bytes[..=at]), Err(WireError::NotBitTorrent { offset: at }));
            bytes[at] ^= 0x80;
        }
    }

    #[test]
    fn reserved_bits_sit_where_the_proposals_put_them() {
        let all = Reserved::EXTENDED.with(Reserved::FAST).with(Reserved::DHT).with(Reserved::V2);
        assert_eq!(all.0, [0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        assert!(all.has(Reserved::V2) && all.has(Reserved::EXTENDED.with(Reserved::FAST)));
        assert!(!Reserved::FAST.has(Reserved::EXTENDED.with(Reserved::FAST)));
        assert_eq!(all.shared(Reserved([0xff, 0, 0, 0, 0, 0, 0, 0x04])), Reserved::FAST);
    }
}
