//! The piece layers of a v2 torrent (BEP 52): one for every file of more than one piece, each checked against its root.
//! They stand around `info`, or come from peers.

use bencode::{Dict, Value};
use hash::Sha256Digest;

use super::field::typed;
use crate::error::{Problem, Result, TorrentError};
use crate::layout::FileLayout;
use crate::merkle::root_of_piece_layer;
use crate::torrent::{NO_LAYER, PieceLayer, PieceLayers};

const FIELD: &str = "piece layers";

/// A layer as the torrent file has it, or as peers gave it.
struct Given<'a> {
    root: &'a [u8],
    hashes: &'a [u8],
    /// A file of the torrent has this root.
    is_known: bool,
    /// Where its hashes were put.
    start: Option<u32>,
}

/// Reads and checks the layers of all files.
pub(super) fn read(layout: &FileLayout, value: Option<Value<'_>>) -> Result<PieceLayers> {
    let dict: Dict<'_> = typed(FIELD, value, "a dictionary", |value| value.as_dict())?;
    let mut given = Vec::new();
    for (root, value) in dict {
        // Also keeps what is held here in proportion to the file.
        if root.len() != 32 {
            return Err(error(root, Problem::StrayLayer));
        }
        let hashes = value.as_bytes().ok_or_else(|| error(root, Problem::WrongType("a string")))?;
        given.push(Given { root, hashes, is_known: false, start: None });
    }
    gather(layout, given)
}

/// Checks layers that came from peers.
pub(crate) fn from_peers(layout: &FileLayout, layers: &[PieceLayer]) -> Result<PieceLayers> {
    let given =
        layers.iter().map(|PieceLayer { root, hashes }| Given { root: &root.0, hashes, is_known: false, start: None });
    gather(layout, given.collect())
}

/// The layers of all files in their order.
fn gather(layout: &FileLayout, mut given: Vec<Given<'_>>) -> Result<PieceLayers> {
    given.sort_by_key(|layer| layer.root);
    let mut layers = PieceLayers { hashes: Vec::new(), starts: Vec::with_capacity(layout.files().len()) };
    for index in layout.file_indices() {
        let Some(root) = layout.file(index).pieces_root else {
            layers.starts.push(NO_LAYER);
            continue;
        };
        let found = given.binary_search_by_key(&&root.0[..], |layer| layer.root).ok().map(|at| &mut given[at]);
        let needs_layer = layout.file(index).length > u64::from(layout.piece_length());
        let start = match found {
            Some(layer) => {
                layer.is_known = true;
                if needs_layer {
                    place(&mut layers.hashes, layer, layout, layout.file_pieces(index).len())?
                } else {
                    NO_LAYER
                }
            }
            None if needs_layer => return Err(error(&root.0, Problem::NoLayer)),
            None => NO_LAYER,
        };
        layers.starts.push(start);
    }
    match given.iter().find(|layer| !layer.is_known) {
        Some(stray) => Err(error(stray.root, Problem::StrayLayer)),
        None => Ok(layers),
    }
}

/// Checks a layer and appends it, once however many files share it.
fn place(
    hashes: &mut Vec<Sha256Digest>,
    layer: &mut Given<'_>,
    layout: &FileLayout,
    piece_count: usize,
) -> Result<u32> {
    let (found_bytes, needed_bytes) = (layer.hashes.len() as u64, piece_count as u64 * 32);
    if found_bytes != needed_bytes {
        return Err(error(layer.root, Problem::WrongSize { found_bytes, needed_bytes }));
    }
    if let Some(start) = layer.start {
        return Ok(start);
    }
    let start = hashes.len();
    hashes.extend(layer.hashes.as_chunks::<32>().0.iter().map(|bytes| Sha256Digest(*bytes)));
    if root_of_piece_layer(&hashes[start..], layout.piece_length()).0 != layer.root {
        return Err(error(layer.root, Problem::WrongRoot));
    }
    layer.start = Some(start as u32);
    Ok(start as u32)
}

fn error(root: &[u8], problem: Problem) -> TorrentError {
    let name: String = root.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    TorrentError::new(format!("{FIELD}[{name}]"), problem)
}
