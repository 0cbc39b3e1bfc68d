//! The fields that HASH REQUEST, HASHES and HASH REJECT share (BEP 52). Which hashes they name is for `metainfo`.

use hash::Sha256Digest;

/// The most base-layer hashes in one request (BEP 52: "should be at most 512").
const MAX_HASHES_PER_REQUEST: u32 = 512;

/// The most proof layers: no file has more layers than this, since a 64-bit size holds fewer blocks.
const MAX_PROOF_LAYERS: u32 = 64;

/// The longest body of HASHES.
pub(crate) const MAX_HASHES_BYTES: u32 = HashRequest::SIZE as u32 + 32 * (MAX_HASHES_PER_REQUEST + MAX_PROOF_LAYERS);

/// Which hashes of which file's merkle tree: asked for, sent or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashRequest {
    /// The file, by the root of its tree.
    pub pieces_root: Sha256Digest,
    /// The layer of the hashes, counted from the leaves.
    pub base_layer: u32,
    /// The first hash in that layer.
    pub index: u32,
    /// How many hashes of that layer.
    pub length: u32,
    /// How many layers above are to be proved with uncle hashes.
    pub proof_layers: u32,
}

impl HashRequest {
    /// Bytes on the wire.
    pub(crate) const SIZE: usize = 48;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pieces_root.0);
        for field in [self.base_layer, self.index, self.length, self.proof_layers] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    pub(crate) fn decode(body: &[u8; HashRequest::SIZE]) -> HashRequest {
        let mut pieces_root = [0; 32];
        pieces_root.copy_from_slice(&body[..32]);
        let field = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        HashRequest {
            pieces_root: Sha256Digest(pieces_root),
            base_layer: field(32),
            index: field(36),
            length: field(40),
            proof_layers: field(44),
        }
    }
}
