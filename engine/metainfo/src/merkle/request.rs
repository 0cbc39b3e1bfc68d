//! BEP 52 hash requests: what they may ask for, what must be read to answer, the answer, and whether an answer is true.

use std::ops::Range;

use hash::Sha256Digest;

use super::{height_of_piece, height_over, pad_hash, parent, parents};
use crate::geometry::BLOCK_SIZE;

/// The most hashes of the base layer in one request: the leaves of a piece of 128 MiB, as libtorrent has it.
pub const MAX_HASHES: u32 = 8192;

/// How many hashes of a piece layer are asked for at once: the most that BEP 52 wants, and what others ask for.
pub const LAYER_RUN: u32 = 512;

/// Which hashes of which file's tree a peer asks for (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashRequest {
    /// The file's root.
    pub pieces_root: Sha256Digest,
    /// Levels above the leaves that the hashes stand at.
    pub base_layer: u32,
    /// The first hash in that layer; a multiple of `length`.
    pub index: u32,
    /// How many hashes; a power of two, unless the layer ends before.
    pub length: u32,
    /// How many levels above the base layer the proof reaches.
    pub proof_layers: u32,
}

/// Why a request cannot be answered. The peer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The root is not that of the file.
    #[error("the root is not that of the file")]
    WrongFile,
    /// The base layer is the root or above it.
    #[error("the base layer is not below the root")]
    NoSuchLayer,
    /// Fewer than two hashes, more than [`MAX_HASHES`], or beyond the layer.
    #[error("the hashes are not in the layer, or too many or too few")]
    BadRange,
    /// The index is not a multiple of the length.
    #[error("the index is not a multiple of the length")]
    Unaligned,
    /// The proof would reach the root or beyond.
    #[error("the proof reaches beyond the tree")]
    ProofTooHigh,
    /// The leaves that the answer needs are not those that were given.
    #[error("the leaves do not cover the request")]
    MissingLeaves,
}

/// The measures of one file's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeShape {
    leaf_count: u64,
    /// Levels between leaves and root.
    height: u32,
    /// Levels between leaves and piece layer; `height` for a file of at most one piece.
    piece_level: u32,
}

impl TreeShape {
    /// The tree of a file with content. `piece_length` is a power of two of at least 16 KiB.
    pub fn new(file_length: u64, piece_length: u32) -> TreeShape {
        let leaf_count = file_length.div_ceil(u64::from(BLOCK_SIZE)).max(1);
        let height = height_over(leaf_count);
        TreeShape { leaf_count, height, piece_level: height_of_piece(piece_length).min(height) }
    }

    /// How many leaves are hashes of blocks, and not padding.
    pub fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// The requests that together bring the file's piece layer, each with a proof up to `pieces_root`: runs of
    /// [`LAYER_RUN`] hashes, or of the whole layer where it is shorter. A run may end in pads. None for a file of one
    /// piece, whose layer is its root.
    pub fn layer_requests(&self, pieces_root: Sha256Digest) -> impl ExactSizeIterator<Item = HashRequest> + use<> {
        let above = self.height - self.piece_level;
        let length = LAYER_RUN.min(1 << above.min(31));
        let count = if above == 0 { 0 } else { self.piece_count().div_ceil(u64::from(length)) as u32 };
        let (base_layer, proof_layers) = (self.piece_level, above.saturating_sub(1));
        (0..count).map(move |run| HashRequest { pieces_root, base_layer, index: run * length, length, proof_layers })
    }

    /// The pieces of the file, counted from its first, whose leaves must be read to answer `request`; empty where the piece
    /// layer suffices. An error is a request that must be rejected.
    pub fn needed_pieces(&self, request: &HashRequest) -> Result<Range<u32>, RequestError> {
        self.check(request)?;
        if request.base_layer >= self.piece_level {
            return Ok(0..0);
        }
        let shift = self.piece_level - request.base_layer;
        let end = (u64::from(request.index) + u64::from(request.length)).div_ceil(1 << shift);
        let end = end.min(self.piece_count());
        let start = u64::from(request.index >> shift).min(end);
        Ok(start as u32..end as u32)
    }

    fn check(&self, request: &HashRequest) -> Result<(), RequestError> {
        if request.base_layer >= self.height {
            return Err(RequestError::NoSuchLayer);
        }
        let layer_size = 1u64 << (self.height - request.base_layer);
        let end = u64::from(request.index) + u64::from(request.length);
        // BEP 52 asks for two at least; libtorrent asks for one where a layer ends with it, and again and again if it is
        // refused.
        if !(1..=MAX_HASHES).contains(&request.length) || end > layer_size {
            return Err(RequestError::BadRange);
        }
        if !request.index.is_multiple_of(request.length.next_power_of_two()) {
            return Err(RequestError::Unaligned);
        }
        if request.proof_layers >= self.height - request.base_layer {
            return Err(RequestError::ProofTooHigh);
        }
        Ok(())
    }

    /// How many pieces the file has.
    pub fn piece_count(&self) -> u64 {
        self.leaf_count.div_ceil(1 << self.piece_level)
    }

    /// The levels at which an answer carries the sibling of the tree above the requested hashes. The first stands beside
    /// their common ancestor; what lies below follows from the hashes themselves.
    fn proof_levels(request: &HashRequest) -> Range<u32> {
        let first = request.base_layer + request.length.next_power_of_two().trailing_zeros();
        first..(request.base_layer + request.proof_layers + 1).max(first)
    }
}

/// A file's piece layer and everything above it, so that no request costs more than it asks for. Twice the layer's size.
#[derive(Clone, Debug)]
pub struct LayerTree {
    shape: TreeShape,
    /// The piece layer first, the root alone last; without pads.
    levels: Vec<Vec<Sha256Digest>>,
}

impl LayerTree {
    /// The tree over a file's piece layer (its root alone, if the file has at most one piece). `None` if the layer has not
    /// one hash for each piece.
    pub fn new(file_length: u64, piece_length: u32, layer: &[Sha256Digest]) -> Option<LayerTree> {
        let shape = TreeShape::new(file_length, piece_length);
        if layer.len() as u64 != shape.piece_count() {
            return None;
        }
        let mut levels = vec![layer.to_vec()];
        for level in shape.piece_level..shape.height {
            let above = parents(levels.last()?, pad_hash(level));
            levels.push(above);
        }
        Some(LayerTree { shape, levels })
    }

    /// The file's root.
    pub fn root(&self) -> Sha256Digest {
        self.node(self.shape.height, 0)
    }

    /// The measures of the tree.
    pub fn shape(&self) -> TreeShape {
        self.shape
    }

    /// The hashes that `request` asks for: those of the base layer, then the proof, the uncle nearest to the root last.
    /// `leaves` are the leaves of [`TreeShape::needed_pieces`], in order, without padding.
    pub fn answer(&self, request: &HashRequest, leaves: &[Sha256Digest]) -> Result<Vec<Sha256Digest>, RequestError> {
        if request.pieces_root != self.root() {
            return Err(RequestError::WrongFile);
        }
        let pieces = self.shape.needed_pieces(request)?;
        let lower = self.lower_tree(pieces, request.base_layer, leaves)?;
        let node = |level: u32, index: u64| match &lower {
            Some(lower) if level < self.shape.piece_level => lower.node(level, index),
            _ => self.node(level, index),
        };
        let first = u64::from(request.index);
        let mut hashes: Vec<Sha256Digest> =
            (first..first + u64::from(request.length)).map(|index| node(request.base_layer, index)).collect();
        for level in TreeShape::proof_levels(request) {
            hashes.push(node(level, (first >> (level - request.base_layer)) ^ 1));
        }
        Ok(hashes)
    }

    /// A node at or above the piece layer, a pad where no piece is.
    fn node(&self, level: u32, index: u64) -> Sha256Digest {
        let held = level.checked_sub(self.shape.piece_level).and_then(|above| self.levels.get(above as usize));
        held.and_then(|nodes| nodes.get(index as usize)).copied().unwrap_or_else(|| pad_hash(level))
    }

    fn lower_tree(
        &self,
        pieces: Range<u32>,
        base_layer: u32,
        leaves: &[Sha256Digest],
    ) -> Result<Option<LowerTree>, RequestError> {
        if base_layer >= self.shape.piece_level {
            return Ok(None);
        }
        let first_leaf = u64::from(pieces.start) << self.shape.piece_level;
        let end_leaf = (u64::from(pieces.end) << self.shape.piece_level).min(self.shape.leaf_count);
        if leaves.len() as u64 != end_leaf.saturating_sub(first_leaf) {
            return Err(RequestError::MissingLeaves);
        }
        let mut levels = vec![leaves.to_vec()];
        for level in 0..self.shape.piece_level {
            let above = parents(levels.last().map_or(&[], Vec::as_slice), pad_hash(level));
            levels.push(above);
        }
        Ok(Some(LowerTree { first_leaf, levels }))
    }
}

/// What stands below the piece layer, over whole pieces.
struct LowerTree {
    first_leaf: u64,
    levels: Vec<Vec<Sha256Digest>>,
}

impl LowerTree {
    fn node(&self, level: u32, index: u64) -> Sha256Digest {
        let held = index.checked_sub(self.first_leaf >> level);
        let held = held.and_then(|index| self.levels.get(level as usize)?.get(index as usize));
        held.copied().unwrap_or_else(|| pad_hash(level))
    }
}

impl HashRequest {
    /// Whether `hashes` answer this request truthfully. Only an answer whose proof reaches the root can be checked (or
    /// one that covers the whole layer); any other is not believed.
    pub fn verify(&self, shape: &TreeShape, hashes: &[Sha256Digest]) -> bool {
        if shape.check(self).is_err() {
            return false;
        }
        let levels = TreeShape::proof_levels(self);
        let count = self.length as usize;
        if hashes.len() != count + levels.len() || levels.end != shape.height {
            return false;
        }
        let mut nodes = hashes[..count].to_vec();
        for level in self.base_layer..levels.start {
            nodes = parents(&nodes, pad_hash(level));
        }
        let Some(mut node) = nodes.first().copied() else { return false };
        for (level, uncle) in levels.zip(&hashes[count..]) {
            let is_right = self.index >> (level - self.base_layer) & 1 == 1;
            node = if is_right { parent(*uncle, node) } else { parent(node, *uncle) };
        }
        node == self.pieces_root
    }
}
