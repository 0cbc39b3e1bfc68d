use std::fs;
use std::os::unix::fs::PermissionsExt;

use metainfo::Version;

use super::*;
use crate::testing::{Tree, as_nobody, resize};

const PIECE: u32 = 16 * 1024;
const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];

fn tree() -> Tree {
    Tree::new(&[("a", 50_000), ("b", 100_000), ("c", 40_000), ("empty", 0), ("tiny", 5)])
}

fn verify(torrent: &Torrent, place: &Place) -> VerifyReport {
    let meter = Arc::new(Meter::new());
    let pass = VerifyPass::new(torrent, place, Arc::clone(&meter)).unwrap();
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| pass.work()))));
    let progress = meter.progress();
    assert_eq!(progress.hashed_bytes, progress.total_bytes, "the bar ends full, whatever is missing");
    pass.finish().unwrap()
}

fn file(torrent: &Torrent, name: &str) -> FileIndex {
    let layout = torrent.layout();
    layout.file_indices().find(|file| layout.file(*file).path().to_string() == name).unwrap()
}

/// Verifies after `fate` and compares: bad is every piece of the file `name` that ends behind `from_byte`, nothing else.
/// Gives what was said of the files.
fn damaged(version: Version, name: &str, from_byte: u64, fate: impl FnOnce(&Tree)) -> Vec<String> {
    let tree = tree();
    let torrent = tree.torrent(version, PIECE);
    let layout = torrent.layout();
    assert!(verify(&torrent, &tree.place()).is_complete());
    fate(&tree);
    let report = verify(&torrent, &tree.place());
    let damaged = file(&torrent, name);
    let start = layout.file(damaged).offset() + from_byte;
    let reaches = |piece: &PieceIndex| layout.piece_offset(*piece) + u64::from(layout.piece_size(*piece)) > start;
    let expected: Vec<_> = layout.file_pieces(damaged).filter(reaches).collect();
    assert_eq!(report.bad_pieces, expected, "{version:?}");
    assert_eq!(report.bad_pieces_of(layout, damaged), expected.len());
    assert!(!report.is_complete() && report.verified_files().is_none());
    report.problems.iter().map(|problem| format!("{} {}", layout.file(problem.file).path(), problem.error)).collect()
}

#[test]
fn a_missing_file_spoils_its_own_pieces_only() {
    for version in VERSIONS {
        let said = damaged(version, "b", 0, |tree| fs::remove_file(tree.path("b")).unwrap());
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("b ") && said[0].ends_with("release/b: no such file"), "{said:?}");
    }
}

#[test]
fn a_short_file_is_verified_as_far_as_it_goes() {
    for version in VERSIONS {
        let said = damaged(version, "b", 60_000, |tree| resize(&tree.path("b"), 60_000));
        assert_eq!(said.len(), 1);
        assert!(said[0].ends_with("release/b: is 60000 bytes, the torrent says 100000"), "{said:?}");
    }
}

#[test]
fn a_long_file_is_named_though_its_pieces_are_right() {
    for version in VERSIONS {
        let tree = tree();
        let torrent = tree.torrent(version, PIECE);
        resize(&tree.path("c"), 40_001);
        let report = verify(&torrent, &tree.place());
        assert!(report.bad_pieces.is_empty() && !report.is_complete());
        assert!(report.problems[0].error.to_string().ends_with("release/c: is 40001 bytes, the torrent says 40000"));
    }
}

#[test]
fn one_wrong_byte_is_one_bad_piece() {
    for version in VERSIONS {
        let tree = tree();
        let torrent = tree.torrent(version, PIECE);
        let mut bytes = fs::read(tree.path("b")).unwrap();
        bytes[70_000] ^= 1;
        fs::write(tree.path("b"), bytes).unwrap();
        let report = verify(&torrent, &tree.place());
        let at = torrent.layout().file(file(&torrent, "b")).offset() + 70_000;
        let bad: Vec<u64> = report.bad_pieces.iter().map(|piece| u64::from(piece.get())).collect();
        assert_eq!(bad, [at / u64::from(PIECE)], "{version:?}");
        assert!(report.problems.is_empty());
    }
}

#[test]
fn an_unreadable_file_does_not_stop_the_others() {
    for version in VERSIONS {
        let tree = tree();
        let torrent = tree.torrent(version, PIECE);
        for path in [tree.data_dir().to_path_buf(), tree.path("")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(tree.path("a"), fs::Permissions::from_mode(0o000)).unwrap();
        let report = as_nobody(|| verify(&torrent, &tree.place()));
        assert_eq!(report.problems.len(), 1);
        assert!(report.problems[0].error.to_string().contains("release/a: cannot open: Permission denied"));
        assert_eq!(report.bad_pieces.len(), 4);
    }
}

#[test]
fn a_missing_empty_file_is_named_and_no_piece_is_bad() {
    let tree = tree();
    let torrent = tree.torrent(Version::Hybrid, PIECE);
    fs::remove_file(tree.path("empty")).unwrap();
    let report = verify(&torrent, &tree.place());
    assert!(report.bad_pieces.is_empty() && !report.is_complete());
    assert!(report.problems[0].error.to_string().ends_with("release/empty: no such file"));
}

#[test]
fn a_missing_directory_is_every_file_missing() {
    let (tree, elsewhere) = (tree(), tempfile::tempdir().unwrap());
    for version in VERSIONS {
        let torrent = tree.torrent(version, PIECE);
        let report = verify(&torrent, &Place::under(elsewhere.path()));
        assert_eq!(report.problems.len(), 5);
        assert_eq!(report.bad_pieces.len() as u32, report.piece_count);
    }
}

#[test]
fn a_file_written_while_it_is_verified_is_named() {
    let tree = tree();
    let torrent = tree.torrent(Version::V1, PIECE);
    let pass = VerifyPass::new(&torrent, &tree.place(), Arc::new(Meter::new())).unwrap();
    pass.work();
    crate::testing::touch(&tree.path("c"), 2_000_000);
    let report = pass.finish().unwrap();
    assert!(report.problems[0].error.to_string().ends_with("release/c: was modified while in use"));
}

#[test]
fn without_piece_layers_whole_files_are_compared() {
    let tree = tree();
    let torrent = Torrent::from_info(tree.torrent(Version::V2, PIECE).info_bytes()).unwrap();
    assert!(!torrent.has_piece_layers());
    assert!(verify(&torrent, &tree.place()).is_complete());
    let mut bytes = fs::read(tree.path("b")).unwrap();
    bytes[70_000] ^= 1;
    fs::write(tree.path("b"), bytes).unwrap();
    let report = verify(&torrent, &tree.place());
    assert_eq!(report.bad_pieces, torrent.layout().file_pieces(file(&torrent, "b")).collect::<Vec<_>>());
}

#[test]
fn content_is_found_under_its_name_or_at_the_path_itself() {
    let tree = tree();
    let torrent = tree.torrent(Version::V1, PIECE);
    for path in [tree.data_dir().to_path_buf(), tree.path("")] {
        assert!(verify(&torrent, &Place::find(torrent.layout(), path)).is_complete());
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_hashed_in_place_is_no_crash_and_never_complete() {
    // Large enough to be hashed without a copy, where the kernel tells what is in the page cache.
    let tree = Tree::new(&[("a", 4 << 20), ("b", 5)]);
    let whole = fs::read(tree.path("a")).unwrap();
    for version in VERSIONS {
        let torrent = tree.torrent(version, 256 * 1024);
        assert!(verify(&torrent, &tree.place()).is_complete());
        for round in 0..20 {
            let pass = VerifyPass::new(&torrent, &tree.place(), Arc::new(Meter::new())).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| pass.work());
                // Sometimes before, sometimes under, sometimes after the hash.
                std::iter::repeat_n((), round * 50).for_each(|()| std::thread::yield_now());
                resize(&tree.path("a"), 1 << 20);
            });
            let report = pass.finish().unwrap();
            assert!(!report.is_complete() && report.problems.len() == 1, "{:?}", report.problems);
            fs::write(tree.path("a"), &whole).unwrap();
        }
    }
}
