//! Web seeds over real sockets on loopback: a web server that can misbehave on one side, a scripted peer in the shard's place
//! on the other.

mod fetching;
mod misbehaviour;
mod peer_end;
mod redirects;
mod roster;
mod server;
mod throughput;
mod tls;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hash::{Sha1Digest, sha256};
use metainfo::{
    BLOCK_SIZE, BlockRange, Builder, CreateOptions, Extent, FileHashes, FileIndex, FileLayout, NewFile, PieceHashes,
    Torrent, Version, merkle,
};
use proptest::prelude::*;

use super::*;

/// Fails rather than hangs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes forever")
}

pub(super) fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2), Just(Version::Hybrid)]
}

/// A layout of files of these sizes, v1.
pub(super) fn layout_of(piece_length: u32, sizes: &[u64]) -> FileLayout {
    torrent_of(Version::V1, piece_length, sizes).layout().clone()
}

/// A torrent called `rel 1` of files of these sizes, or of one file of that name. There is a byte at least.
pub(super) fn torrent_of(version: Version, piece_length: u32, sizes: &[u64]) -> Torrent {
    let mut files: Vec<NewFile> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| NewFile {
            components: vec![format!("dir {}", index % 3), format!("file#{index}")],
            length: *size,
            ..NewFile::default()
        })
        .collect();
    if let [file] = &mut files[..] {
        file.components = Vec::new();
    }
    files[0].length += u64::from(sizes.iter().all(|size| *size == 0));
    let options = CreateOptions {
        name: "rel 1".to_owned(),
        version,
        piece_length: Some(piece_length),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let builder = Builder::new(options, files).unwrap();
    let layout = builder.layout();
    // Nobody looks at the v1 hashes here.
    let v1 = match version {
        Version::V2 => Vec::new(),
        Version::V1 | Version::Hybrid => vec![Sha1Digest([0; 20]); layout.piece_count() as usize],
    };
    let has_tree =
        |file: &FileIndex| version != Version::V1 && !layout.file(*file).is_pad() && layout.file(*file).length() > 0;
    let tree = |file| {
        let content = file_content(layout, file);
        let leaves: Vec<_> = content.chunks(BLOCK_SIZE as usize).map(sha256).collect();
        let root = merkle::root_of_leaves(&leaves);
        FileHashes { file, root, layer: merkle::piece_layer_from_leaves(&leaves, piece_length) }
    };
    let v2 = layout.file_indices().filter(has_tree).map(tree).collect();
    Torrent::parse(&builder.finish(&PieceHashes { v1, v2 }).unwrap()).unwrap()
}

/// Bytes that tell where they are from.
fn file_content(layout: &FileLayout, file: FileIndex) -> Vec<u8> {
    file_range(file, 0..layout.file(file).length())
}

fn file_range(file: FileIndex, range: Range<u64>) -> Vec<u8> {
    let seed = u64::from(file.get()) * 7919;
    range.map(|at| ((at + seed) * 31 + (at >> 8) * 17 + (at >> 16)) as u8).collect()
}

/// The bytes of a block, put together from the files.
fn block_content(layout: &FileLayout, block: BlockRange) -> Vec<u8> {
    layout
        .extents(block)
        .flat_map(|extent| match extent {
            Extent::File { file, offset, size } => file_range(file, offset..offset + size),
            Extent::Zeros { size } => vec![0; size as usize],
        })
        .collect()
}

/// All blocks of a torrent as peers ask for them.
fn all_blocks(layout: &FileLayout) -> Vec<BlockRange> {
    let blocks = |piece| {
        let size = layout.piece_size(piece);
        (0..size)
            .step_by(BLOCK_SIZE as usize)
            .filter_map(move |begin| layout.block(piece.get(), begin, BLOCK_SIZE.min(size - begin)))
    };
    layout.pieces().flat_map(blocks).collect()
}

/// Short waits, since the servers here are near.
fn quick() -> WebSeedConfig {
    WebSeedConfig {
        first_back_off: Duration::from_millis(20),
        longest_back_off: Duration::from_millis(100),
        ..WebSeedConfig::default()
    }
}

fn clients(config: WebSeedConfig) -> Arc<WebSeedClients> {
    Arc::new(WebSeedClients::new(config).unwrap())
}

fn seed_at(clients: &Arc<WebSeedClients>, torrent: Arc<Torrent>, url: &str) -> Arc<WebSeed> {
    Arc::new(WebSeed::new(clients, torrent, url).unwrap())
}
