//! Answers to hash requests (BEP 52): from the piece layers that the torrent file holds, and for what lies below them
//! from leaves that the caller makes from the data.

use hash::Sha256Digest;
use metainfo::merkle::{self, LayerTree};
use metainfo::{BLOCK_SIZE, BlockRange, FileIndex, Torrent};
use std::collections::HashMap;
use wire::HashRequest;

/// Trees kept ready. A tree costs twice its file's piece layer; with more files than this, the trees are made again.
const TREES_LIMIT: usize = 64;

/// Leaves that are made for one request, 64 MiB of data: a peer that wants more asks again.
const LEAVES_LIMIT: usize = 4096;

/// The merkle trees of one torrent's files, as far as they were asked for.
#[derive(Debug, Default)]
pub struct HashTrees {
    /// Which file a root belongs to; made at the first request.
    by_root: Option<HashMap<Sha256Digest, FileIndex>>,
    trees: HashMap<FileIndex, LayerTree>,
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashAnswer {
    /// Nothing: these are the hashes, the proof behind them.
    Hashes(Vec<Sha256Digest>),
    /// The leaves of these blocks, in this order, for [`HashTrees::answer`].
    NeedsLeaves(Vec<BlockRange>),
    /// It asks for what is not there, or for too much at once.
    Refused,
}

impl HashTrees {
    /// What it takes to answer `request`.
    pub fn plan(&mut self, torrent: &Torrent, request: &HashRequest) -> HashAnswer {
        let Some((file, tree)) = self.tree(torrent, request.pieces_root) else { return HashAnswer::Refused };
        let request = for_tree(request);
        match tree.shape().needed_pieces(&request) {
            Ok(pieces) if pieces.is_empty() => {
                tree.answer(&request, &[]).map_or(HashAnswer::Refused, HashAnswer::Hashes)
            }
            Ok(pieces) => leaf_blocks(torrent, file, pieces).map_or(HashAnswer::Refused, HashAnswer::NeedsLeaves),
            Err(_) => HashAnswer::Refused,
        }
    }

    /// The answer to a request that needed leaves. `None` if they do not fit it.
    pub fn answer(
        &mut self,
        torrent: &Torrent,
        request: &HashRequest,
        leaves: &[Sha256Digest],
    ) -> Option<Vec<Sha256Digest>> {
        let (_, tree) = self.tree(torrent, request.pieces_root)?;
        tree.answer(&for_tree(request), leaves).ok()
    }

    fn tree(&mut self, torrent: &Torrent, root: Sha256Digest) -> Option<(FileIndex, &LayerTree)> {
        let layout = torrent.layout();
        let by_root = self.by_root.get_or_insert_with(|| {
            let roots = layout.file_indices().map(|index| (layout.file(index).pieces_root(), index));
            roots.filter_map(|(root, index)| Some((root?, index))).collect()
        });
        let file = *by_root.get(&root)?;
        if !self.trees.contains_key(&file) {
            let layer = torrent.piece_layer(file)?;
            let tree = LayerTree::new(layout.file(file).length(), layout.piece_length(), layer)?;
            if self.trees.len() >= TREES_LIMIT
                && let Some(any) = self.trees.keys().next().copied()
            {
                self.trees.remove(&any);
            }
            self.trees.insert(file, tree);
        }
        Some((file, self.trees.get(&file)?))
    }
}

/// A request as the wire has it, for the tree.
pub(crate) fn for_tree(request: &HashRequest) -> merkle::HashRequest {
    let HashRequest { pieces_root, base_layer, index, length, proof_layers } = *request;
    merkle::HashRequest { pieces_root, base_layer, index, length, proof_layers }
}

/// A request to the tree, for the wire.
pub(crate) fn for_wire(request: &merkle::HashRequest) -> HashRequest {
    let merkle::HashRequest { pieces_root, base_layer, index, length, proof_layers } = *request;
    HashRequest { pieces_root, base_layer, index, length, proof_layers }
}

/// The blocks of some of a file's pieces, counted from its first; the last one ends with the file.
fn leaf_blocks(torrent: &Torrent, file: FileIndex, pieces: std::ops::Range<u32>) -> Option<Vec<BlockRange>> {
    let layout = torrent.layout();
    let entry = layout.file(file);
    let first = u32::try_from(entry.offset() / u64::from(layout.piece_length())).ok()?;
    let mut blocks = Vec::new();
    for piece in pieces {
        let start = u64::from(piece) * u64::from(layout.piece_length());
        let size = entry.length().checked_sub(start)?.min(u64::from(layout.piece_length())) as u32;
        for begin in (0..size).step_by(BLOCK_SIZE as usize) {
            blocks.push(layout.block(first + piece, begin, BLOCK_SIZE.min(size - begin))?);
        }
        if blocks.len() > LEAVES_LIMIT {
            return None;
        }
    }
    Some(blocks)
}
