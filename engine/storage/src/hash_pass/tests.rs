use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use metainfo::{Builder, NewFile, Version};
use proptest::prelude::*;

use super::*;
use crate::error::Change;
use crate::testing::{Tree, as_nobody, digests, hashed, naive, options, resize, touch};

const PIECE: u32 = 32 * 1024;

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let block = 16 * 1024usize;
    let near = (0..20usize, 0..3usize).prop_map(move |(blocks, more)| (blocks * block + more).saturating_sub(1));
    prop::collection::vec(prop_oneof![3 => 0..2000usize, 2 => near, 1 => 0..700_000usize], 1..40)
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2), Just(Version::Hybrid)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_pass_agrees_with_the_plain_way(sizes in sizes(), version in versions(), log in 14..19u32, threads in 1..4usize) {
        let names: Vec<String> = (0..sizes.len()).map(|index| format!("{}/{index}", index % 3)).collect();
        let files: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
        prop_assume!(sizes.iter().any(|size| *size > 0));
        let tree = Tree::new(&files);
        let builder = tree.builder(version, 1 << log);
        let found = hashed(builder.layout(), &tree.place(), digests(version), threads).unwrap();
        prop_assert_eq!(&found.hashes, &naive(builder.layout(), &tree.place(), digests(version)));
        prop_assert_eq!(found.files.len(), sizes.iter().filter(|size| **size > 0).count());
        prop_assert!(builder.finish(&found.hashes).is_ok());
    }
}

/// A pass over three files, the middle one of which meets `fate` between the first look and the reading.
fn after(version: Version, fate: impl FnOnce(&Tree)) -> Result<Hashed, StorageError> {
    let tree = Tree::new(&[("a", 100_000), ("b", 200_000), ("c", 100_000)]);
    let builder = tree.builder(version, PIECE);
    let pass = HashPass::new(builder.layout(), &tree.place(), digests(version).into(), Arc::new(Meter::new())).unwrap();
    fate(&tree);
    pass.work();
    pass.finish()
}

#[test]
fn a_file_that_changes_before_it_is_read_is_an_error_that_names_it() {
    let from_bytes = 200_000;
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        type Fate = fn(&Tree);
        let fates: [(Fate, Change); 4] = [
            (|tree| resize(&tree.path("b"), 150_000), Change::Truncated { from_bytes, to_bytes: 150_000 }),
            (|tree| resize(&tree.path("b"), 250_000), Change::Grown { from_bytes, to_bytes: 250_000 }),
            (|tree| touch(&tree.path("b"), 2_000_000), Change::Modified),
            (|tree| fs::rename(tree.path("c"), tree.path("b")).unwrap(), Change::Replaced),
        ];
        for (fate, expected) in fates {
            match after(version, fate).unwrap_err() {
                StorageError::Changed { path, change } => {
                    assert!(path.ends_with("release/b"), "{path:?}");
                    assert_eq!(change, expected);
                }
                other => panic!("{other}"),
            }
        }
        let error = after(version, |tree| fs::remove_file(tree.path("b")).unwrap()).unwrap_err();
        assert!(error.to_string().ends_with("release/b: no such file"), "{error}");
    }
}

#[test]
fn a_file_that_changes_after_it_was_read_is_an_error_too() {
    let tree = Tree::new(&[("a", 100_000), ("empty", 0)]);
    for (name, fate) in [("a", Change::Modified), ("empty", Change::Grown { from_bytes: 0, to_bytes: 9 })] {
        let builder = tree.builder(Version::Hybrid, PIECE);
        let digests = digests(Version::Hybrid);
        let pass = HashPass::new(builder.layout(), &tree.place(), digests.into(), Arc::new(Meter::new())).unwrap();
        pass.work();
        fs::write(tree.path(name), if name == "a" { vec![1; 100_000] } else { vec![1; 9] }).unwrap();
        match pass.finish().unwrap_err() {
            StorageError::Changed { change, .. } => assert_eq!(change, fate),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_file_that_may_not_be_read_is_an_error_that_names_it() {
    let tree = Tree::new(&[("a", 100_000), ("b", 10)]);
    let builder = tree.builder(Version::V1, PIECE);
    for path in [tree.data_dir().to_path_buf(), tree.path("")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(tree.path("a"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = as_nobody(|| hashed(builder.layout(), &tree.place(), digests(Version::V1), 1)).unwrap_err();
    assert!(error.to_string().ends_with("release/a: cannot open: Permission denied (os error 13)"), "{error}");
}

#[test]
fn what_is_there_from_the_start_must_fit_the_layout() {
    let tree = Tree::new(&[("a", 100_000), ("b", 10)]);
    let builder = tree.builder(Version::V1, PIECE);
    let refused = || hashed(builder.layout(), &tree.place(), digests(Version::V1), 1).unwrap_err().to_string();
    resize(&tree.path("b"), 11);
    assert!(refused().ends_with("release/b: is 11 bytes, the torrent says 10"));
    fs::remove_file(tree.path("b")).unwrap();
    fs::create_dir(tree.path("b")).unwrap();
    assert!(refused().ends_with("release/b: not a regular file"));
    fs::remove_dir(tree.path("b")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, tree.path("b"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(refused().ends_with("release/b: not a regular file"));
}

#[test]
fn links_are_followed_only_inside_unless_asked() {
    let outside = Tree::new(&[("far", 50_000)]);
    let tree = Tree::new(&[("a", 50_000)]);
    symlink("a", tree.path("inside")).unwrap();
    symlink(outside.path("far"), tree.path("outside")).unwrap();
    let file = |name: &str| NewFile { components: vec![name.into()], length: 50_000, ..NewFile::default() };
    let hash = |names: &[&str], place: &Place| {
        let files = names.iter().map(|name| file(name)).collect();
        let builder = Builder::new(options(Version::V1, PIECE), files).unwrap();
        hashed(builder.layout(), place, digests(Version::V1), 1)
    };
    assert!(hash(&["a", "inside"], &tree.place()).is_ok());
    let error = hash(&["a", "outside"], &tree.place()).unwrap_err();
    assert!(
        error.to_string().ends_with("release/outside: a symbolic link on the way leads out of the torrent's content")
    );
    assert!(hash(&["a", "outside"], &tree.place().following_links()).is_ok());
}

#[test]
fn progress_counts_content_once_and_no_pads() {
    let tree = Tree::new(&[("a", 100_000), ("b", 3), ("c", 70_000)]);
    let builder = tree.builder(Version::Hybrid, PIECE);
    let meter = Arc::new(Meter::new());
    let pass =
        HashPass::new(builder.layout(), &tree.place(), digests(Version::Hybrid).into(), Arc::clone(&meter)).unwrap();
    assert_eq!(pass.progress(), Progress { hashed_bytes: 0, total_bytes: 170_003, reused_bytes: 0 });
    pass.work();
    assert_eq!(meter.progress(), Progress { hashed_bytes: 170_003, total_bytes: 170_003, reused_bytes: 0 });
}

#[test]
fn a_cancelled_or_unfinished_pass_gives_no_hashes() {
    let tree = Tree::new(&[("a", 100_000)]);
    let builder = tree.builder(Version::V1, PIECE);
    let pass =
        || HashPass::new(builder.layout(), &tree.place(), digests(Version::V1).into(), Arc::new(Meter::new())).unwrap();
    let cancelled = pass();
    cancelled.cancel();
    cancelled.work();
    assert!(matches!(cancelled.finish(), Err(StorageError::Cancelled)));
    assert!(matches!(pass().finish(), Err(StorageError::Cancelled)));
}

#[test]
fn a_sparse_file_larger_than_any_buffer_is_hashed_as_zeros() {
    let tree = Tree::new(&[("a", 1), ("hole", 0)]);
    resize(&tree.path("hole"), 40 << 20);
    let builder = tree.builder(Version::Hybrid, 1 << 20);
    let found = hashed(builder.layout(), &tree.place(), digests(Version::Hybrid), 2).unwrap().hashes;
    let zeros = vec![0; 1 << 20];
    assert_eq!(found.v1.len(), 41);
    assert!(found.v1[1..].iter().all(|hash| *hash == hash::sha1(&zeros)));
    let hole = found.v2.iter().find(|file| file.layer.len() == 40).unwrap();
    assert!(hole.layer.iter().all(|piece| *piece == hole.layer[0]));
}

#[test]
fn bytes_that_are_not_in_the_page_cache_are_waited_for() {
    let tree = Tree::new(&[("a", 3_000_000), ("b", 100_000)]);
    for name in ["a", "b"] {
        let file = fs::File::open(tree.path(name)).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let builder = tree.builder(version, PIECE);
        let found = hashed(builder.layout(), &tree.place(), digests(version), 2).unwrap();
        assert_eq!(found.hashes, naive(builder.layout(), &tree.place(), digests(version)));
    }
}
