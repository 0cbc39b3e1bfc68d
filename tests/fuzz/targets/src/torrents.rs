//! Torrent files and magnet links: what is accepted names no path outside its folder, and answers every question.

use std::collections::HashSet;
use std::path::Component;

use metainfo::{Extent, FileLayout, Magnet, PieceIndex, Torrent, Version};

/// How many pieces at either end of a torrent are looked at.
const PIECES_LOOKED_AT: usize = 64;

/// A torrent file from a stranger.
pub fn torrent(input: &[u8]) {
    let Ok(torrent) = Torrent::parse(input) else { return };
    let layout = torrent.layout();
    check_hashes(&torrent);
    check_paths(layout);
    check_pieces(&torrent);

    let magnet = torrent.magnet();
    assert!(magnet.info_hashes().eq(torrent.info_hashes()));
    let bare = Torrent::from_info(torrent.info_bytes()).expect("info stands on its own");
    assert_eq!(bare.version(), torrent.version());
    assert_eq!(bare.layout().piece_space_size(), layout.piece_space_size());
    check_file_bytes(&torrent);
}

/// A link from a stranger.
pub fn magnet(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    assert!(magnet.info_hashes().count() > 0);
    assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
}

/// What is kept of a torrent reads back as the same.
fn check_file_bytes(torrent: &Torrent) {
    let Some(bytes) = torrent.to_file_bytes() else { return };
    let again = Torrent::parse(&bytes).expect("what was written can be read");
    assert_eq!(again.info_bytes(), torrent.info_bytes());
    assert_eq!(again.trackers(), torrent.trackers());
    for file in torrent.layout().file_indices() {
        assert_eq!(again.piece_layer(file), torrent.piece_layer(file));
    }
}

fn check_hashes(torrent: &Torrent) {
    let version = torrent.version();
    let v1 = (version != Version::V2).then(|| hash::sha1(torrent.info_bytes()));
    let v2 = (version != Version::V1).then(|| hash::sha256(torrent.info_bytes()));
    assert_eq!((torrent.info_hash_v1(), torrent.info_hash_v2()), (v1, v2));
}

fn check_paths(layout: &FileLayout) {
    let mut seen = HashSet::new();
    for index in layout.file_indices() {
        let file = layout.file(index);
        let path = layout.disk_path(index);
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
        assert!(!path.as_os_str().is_empty() && !path.as_os_str().as_encoded_bytes().contains(&0));
        assert!(file.is_pad() || seen.insert(path.clone()), "{} twice", path.display());
        assert!(file.end() <= layout.piece_space_size());
    }
}

fn check_pieces(torrent: &Torrent) {
    let layout = torrent.layout();
    let ends = layout.pieces().take(PIECES_LOOKED_AT).chain(layout.pieces().rev().take(PIECES_LOOKED_AT));
    for piece in ends {
        check_extents(layout, piece);
        if torrent.version() != Version::V2 {
            assert!(torrent.piece_hash_v1(piece).is_some());
        }
        let size = layout.piece_size(piece);
        assert!(size > 0 && size <= layout.piece_length());
        assert!(layout.block(piece.get(), size, 1).is_none() && layout.block(piece.get(), 1, u32::MAX).is_none());
    }
    assert!(layout.block(layout.piece_count(), 0, 1).is_none());
}

/// The extents of a piece cover it, in order and within their files.
fn check_extents(layout: &FileLayout, piece: PieceIndex) {
    let mut covered = 0;
    for extent in layout.extents(layout.whole_piece(piece)) {
        let size = match extent {
            Extent::File { file, offset, size } => {
                let end = offset.checked_add(size).expect("an extent ends");
                assert!(end <= layout.file(file).length() && !layout.file(file).is_pad());
                size
            }
            Extent::Zeros { size } => size,
        };
        assert!(size > 0);
        covered += size;
    }
    assert_eq!(covered, u64::from(layout.piece_size(piece)));
}
