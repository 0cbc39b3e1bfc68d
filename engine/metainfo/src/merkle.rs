//! Merkle trees of BEP 52: roots, piece layers, pads. Answers to hash requests are in `merkle/request.rs`. A node is the
//! SHA-256 of its two children; leaves are the SHA-256 of 16 KiB blocks; leaves beyond the end of a file are zero bytes.

mod request;

use hash::{LANES, Sha256Digest, sha256, sha256_many};

use crate::geometry::BLOCK_SIZE;

pub use request::{HashRequest, LAYER_RUN, LayerTree, MAX_HASHES, RequestError, TreeShape};

/// The root of the smallest tree that has room for `leaves`. Of no leaves: zero bytes.
pub fn root_of_leaves(leaves: &[Sha256Digest]) -> Sha256Digest {
    root(leaves.to_vec(), height_over(leaves.len() as u64), 0)
}

/// The hash of one piece of a file that has more than one: the root of its leaves, padded to a whole piece.
/// `piece_length` is a power of two of at least 16 KiB.
pub fn piece_root(leaves: &[Sha256Digest], piece_length: u32) -> Sha256Digest {
    root(leaves.to_vec(), height_of_piece(piece_length), 0)
}

/// One hash for every piece of a file. A file of at most one piece has its root here and nothing else.
pub fn piece_layer_from_leaves(leaves: &[Sha256Digest], piece_length: u32) -> Vec<Sha256Digest> {
    let leaves_per_piece = 1usize << height_of_piece(piece_length);
    if leaves.len() <= leaves_per_piece {
        return vec![root_of_leaves(leaves)];
    }
    leaves.chunks(leaves_per_piece).map(|piece| piece_root(piece, piece_length)).collect()
}

/// The root of a file from its piece layer. A layer of one hash is the root itself.
pub fn root_of_piece_layer(layer: &[Sha256Digest], piece_length: u32) -> Sha256Digest {
    root(layer.to_vec(), height_over(layer.len() as u64), height_of_piece(piece_length))
}

/// The piece layer of the same file for longer pieces: `layer` is that of a file of `file_bytes` for pieces of `from` bytes, which
/// are no longer than the new ones of `to` bytes. Both are powers of two of at least 16 KiB.
pub fn piece_layer_for_longer_pieces(layer: &[Sha256Digest], file_bytes: u64, from: u32, to: u32) -> Vec<Sha256Digest> {
    if file_bytes <= u64::from(to) {
        // A single hash is the root already, of a tree that may be lower than a piece's.
        return vec![root_of_piece_layer(layer, from)];
    }
    let (level, height) = (height_of_piece(from), height_of_piece(to).saturating_sub(height_of_piece(from)));
    layer.chunks(1 << height).map(|nodes| root(nodes.to_vec(), height, level)).collect()
}

/// What stands for a node whose leaves all lie beyond the end of the file, `level` levels above the leaves.
pub fn pad_hash(level: u32) -> Sha256Digest {
    (0..level).fold(Sha256Digest::default(), |pad, _| sha256(&join(pad, pad)))
}

/// How many levels lie between leaves and root of the smallest tree over so many leaves.
pub(crate) fn height_over(leaf_count: u64) -> u32 {
    leaf_count.max(1).next_power_of_two().trailing_zeros()
}

/// How many levels above its leaves the hash of a whole piece stands.
pub(crate) fn height_of_piece(piece_length: u32) -> u32 {
    height_over(u64::from(piece_length.div_ceil(BLOCK_SIZE)))
}

/// The root `height` levels above `nodes`, which stand `level` levels above the leaves.
fn root(mut nodes: Vec<Sha256Digest>, height: u32, level: u32) -> Sha256Digest {
    let mut pad = pad_hash(level);
    for _ in 0..height {
        nodes = parents(&nodes, pad);
        pad = sha256(&join(pad, pad));
    }
    nodes.first().copied().unwrap_or(pad)
}

/// The parents of neighbouring nodes; `pad` stands for a last one without a neighbour.
fn parents(nodes: &[Sha256Digest], pad: Sha256Digest) -> Vec<Sha256Digest> {
    let mut parents = vec![Sha256Digest::default(); nodes.len().div_ceil(2)];
    for (out, children) in parents.chunks_mut(LANES).zip(nodes.chunks(2 * LANES)) {
        let mut pairs = [[0; 64]; LANES];
        for (pair, children) in pairs.iter_mut().zip(children.chunks(2)) {
            *pair = join(children[0], children.get(1).copied().unwrap_or(pad));
        }
        let messages: [&[u8]; LANES] = std::array::from_fn(|lane| &pairs[lane][..]);
        sha256_many(&messages[..out.len()], out);
    }
    parents
}

/// A parent of two nodes.
fn parent(left: Sha256Digest, right: Sha256Digest) -> Sha256Digest {
    sha256(&join(left, right))
}

fn join(left: Sha256Digest, right: Sha256Digest) -> [u8; 64] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&left.0);
    both[32..].copy_from_slice(&right.0);
    both
}

#[cfg(test)]
mod tests;
