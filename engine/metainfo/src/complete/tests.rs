use std::collections::HashMap;

use hash::{Sha256Digest, sha256};
use proptest::prelude::*;

use super::*;
use crate::create::{Builder, CreateOptions, FileHashes, NewFile, PieceHashes};
use crate::geometry::BLOCK_SIZE;
use crate::layout::FileLayout;
use crate::merkle;

/// A torrent of files of these many blocks; files of equal length have equal content.
fn create(version: Version, blocks: &[u64]) -> Torrent {
    let options = CreateOptions {
        name: "release".into(),
        version,
        piece_length: Some(BLOCK_SIZE),
        trackers: vec![vec!["http://a.example/announce".into()], vec!["udp://b.example:80".into()]],
        web_seeds: vec!["http://w.example/pub".into()],
        is_private: false,
        comment: Some("a note".into()),
        source: None,
        created_by: Some("tests".into()),
        creation_date: Some(77),
    };
    let file = |(index, count): (usize, &u64)| {
        let length = count * u64::from(BLOCK_SIZE);
        NewFile { components: vec![format!("file {index}")], length, ..NewFile::default() }
    };
    let builder = Builder::new(options, blocks.iter().enumerate().map(file).collect()).unwrap();
    let bytes = builder.finish(&hashes(builder.layout())).unwrap();
    Torrent::parse(&bytes).unwrap()
}

/// Hashes of content that exists nowhere.
fn hashes(layout: &FileLayout) -> PieceHashes {
    let files = layout.file_indices().filter(|file| layout.file(*file).length() > 0 && !layout.file(*file).is_pad());
    let tree = |file| {
        let count = layout.file(file).length() / u64::from(BLOCK_SIZE);
        let leaves: Vec<_> = (0..count).map(|leaf| sha256(&leaf.to_be_bytes())).collect();
        let layer = merkle::piece_layer_from_leaves(&leaves, layout.piece_length());
        FileHashes { file, root: merkle::root_of_leaves(&leaves), layer }
    };
    PieceHashes { v1: vec![hash::Sha1Digest::default(); layout.piece_count() as usize], v2: files.map(tree).collect() }
}

/// The layers of a whole torrent as peers would give them.
fn layers_of(torrent: &Torrent) -> Vec<PieceLayer> {
    let layout = torrent.layout();
    let by_root: HashMap<Sha256Digest, Vec<u8>> = layout
        .file_indices()
        .filter(|file| layout.file_pieces(*file).len() > 1)
        .filter_map(|file| {
            let hashes = torrent.piece_layer(file)?.iter().flat_map(|digest| digest.0).collect();
            Some((layout.file(file).pieces_root()?, hashes))
        })
        .collect();
    by_root.into_iter().map(|(root, hashes)| PieceLayer { root, hashes }).collect()
}

#[test]
fn layers_that_are_missing_wrong_or_of_no_file_are_refused_by_name() {
    let whole = create(Version::V2, &[3, 1, 3, 5]);
    let bare = || Torrent::from_info(whole.info_bytes()).unwrap();
    let layers = layers_of(&whole);
    assert_eq!(layers.len(), 2);
    let problem = |layers: &[PieceLayer]| bare().with_piece_layers(layers).unwrap_err().problem();
    assert_eq!(problem(&layers[..1]), Problem::NoLayer);
    let mut short = layers.clone();
    short[0].hashes.pop();
    assert!(matches!(problem(&short), Problem::WrongSize { .. }));
    let mut wrong = layers.clone();
    wrong[1].hashes[40] ^= 1;
    assert_eq!(problem(&wrong), Problem::WrongRoot);
    let mut stray = layers.clone();
    stray.push(PieceLayer { root: sha256(b"x"), hashes: vec![0; 64] });
    assert_eq!(problem(&stray), Problem::StrayLayer);
    assert!(!bare().has_piece_layers());
    assert!(bare().with_piece_layers(&layers).unwrap().has_piece_layers());
    let v1 = create(Version::V1, &[3]);
    assert_eq!(v1.with_piece_layers(&[]).unwrap_err().problem(), Problem::StrayLayer);
}

#[test]
fn a_torrent_of_small_files_needs_no_layers_but_to_be_told_so() {
    let whole = create(Version::V2, &[1, 1, 0]);
    let bare = Torrent::from_info(whole.info_bytes()).unwrap();
    assert!(!bare.has_piece_layers() && bare.to_file_bytes().is_none());
    let complete = bare.with_piece_layers(&[]).unwrap();
    assert!(complete.has_piece_layers() && complete.to_file_bytes().is_some());
}

#[test]
fn the_web_seeds_of_a_folder_end_in_a_slash() {
    let torrent = create(Version::V1, &[1, 1]);
    let torrent = torrent.with_sources(Vec::new(), vec!["http://a.example/x".into(), "http://b.example/".into()]);
    assert_eq!(torrent.web_seeds(), ["http://a.example/x/", "http://b.example/"]);
    assert!(torrent.trackers().is_empty());
}

proptest! {
    #[test]
    fn what_came_in_parts_is_the_torrent_that_was_made(
        version in prop::sample::select(vec![Version::V1, Version::V2, Version::Hybrid]),
        blocks in prop::collection::vec(0u64..9, 2..6),
    ) {
        prop_assume!(blocks.iter().any(|count| *count > 0));
        let whole = create(version, &blocks);
        let bare = Torrent::from_info(whole.info_bytes()).unwrap();
        let bare = bare.with_sources(whole.trackers().to_vec(), whole.web_seeds().to_vec());
        let complete = if version == Version::V1 { bare } else { bare.with_piece_layers(&layers_of(&whole)).unwrap() };
        let again = Torrent::parse(&complete.to_file_bytes().unwrap()).unwrap();
        let full = Torrent::parse(&whole.to_file_bytes().unwrap()).unwrap();
        prop_assert_eq!(full.comment(), whole.comment());
        prop_assert_eq!((full.created_by(), full.creation_date()), (whole.created_by(), whole.creation_date()));
        for torrent in [&complete, &again, &full] {
            prop_assert_eq!(torrent.info_bytes(), whole.info_bytes());
            prop_assert_eq!(torrent.trackers(), whole.trackers());
            prop_assert_eq!(torrent.web_seeds(), whole.web_seeds());
            for file in whole.layout().file_indices() {
                prop_assert_eq!(torrent.piece_layer(file), whole.piece_layer(file));
            }
        }
    }
}
