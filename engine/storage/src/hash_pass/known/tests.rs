use std::fs;

use metainfo::{Builder, Version};
use proptest::prelude::*;

use super::*;
use crate::error::{Change, StorageError};
use crate::testing::{Tree, digests, naive, options, pattern, touch};
use crate::{HashPass, Hashed, Meter, Progress, ScanOptions, Wanted, scan};

const PIECE: u32 = 32 * 1024;
const BLOCK: usize = 16 * 1024;

/// Hashes the tree with what is known, and says how much of it was.
fn hashed(
    tree: &Tree,
    version: Version,
    piece_length: u32,
    known: Option<&KnownFiles>,
) -> (Arc<Torrent>, Hashed, Progress) {
    let builder = tree.builder(version, piece_length);
    let meter = Arc::new(Meter::new());
    let wanted = Wanted { digests: digests(version), file_sha256: true, known };
    let pass = HashPass::new(builder.layout(), &tree.place(), wanted, Arc::clone(&meter)).unwrap();
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| pass.work()))));
    let hashed = pass.finish().unwrap();
    let progress = meter.progress();
    assert_eq!(progress.hashed_bytes, progress.total_bytes);
    (Arc::new(Torrent::parse(&builder.finish(&hashed.hashes).unwrap()).unwrap()), hashed, progress)
}

/// What the tree says is right, read the plain way.
fn check(tree: &Tree, version: Version, torrent: &Torrent, hashed: &Hashed) {
    let layout = torrent.layout();
    assert_eq!(hashed.hashes, naive(layout, &tree.place(), digests(version)));
    for (file, digest) in layout.file_indices().zip(&hashed.file_sha256) {
        let entry = layout.file(file);
        let is_file = !entry.is_pad() && entry.symlink_target().is_none();
        let bytes = is_file.then(|| fs::read(tree.path(&entry.path().to_string())).unwrap());
        assert_eq!(*digest, bytes.map(|bytes| hash::sha256(&bytes)), "{:?}", entry.path());
    }
}

fn known(torrent: &Arc<Torrent>, hashed: &Hashed) -> KnownFiles {
    let mut known = KnownFiles::new();
    let record = VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &hashed.files);
    assert!(known.add(Arc::clone(torrent), &record, hashed.file_sha256.clone()));
    known
}

#[test]
fn only_what_changed_is_read_again() {
    for (version, border_bytes) in [(Version::Hybrid, 0), (Version::V2, 0), (Version::V1, 2 * u64::from(PIECE))] {
        let tree = Tree::new(&[("a", 10 * BLOCK + 7), ("b", 5 * BLOCK + 1), ("c", 10 * BLOCK + 3)]);
        let (torrent, first, progress) = hashed(&tree, version, PIECE, None);
        assert_eq!(progress.reused_bytes, 0);
        let known = known(&torrent, &first);
        let (_, again, progress) = hashed(&tree, version, PIECE, Some(&known));
        assert_eq!((progress.total_bytes, progress.reused_bytes), (0, torrent.layout().total_size()));
        assert_eq!((&again.hashes, &again.file_sha256), (&first.hashes, &first.file_sha256));

        fs::write(tree.path("b"), pattern(77, 5 * BLOCK + 1)).unwrap();
        let (torrent, changed, progress) = hashed(&tree, version, PIECE, Some(&known));
        check(&tree, version, &torrent, &changed);
        let b_bytes = 5 * BLOCK as u64 + 1;
        // As pieces and as a whole file; of v1 alone also the pieces at its borders.
        assert!(progress.total_bytes <= 2 * b_bytes + border_bytes, "{version:?} {progress:?}");
        assert!(progress.reused_bytes >= torrent.layout().total_size() - b_bytes - border_bytes, "{progress:?}");
    }
}

#[test]
fn a_file_that_was_moved_or_linked_keeps_its_hashes() {
    let tree = Tree::new(&[("old/image", 9 * BLOCK + 5), ("other", 100)]);
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let known = known(&torrent, &first);
    fs::create_dir(tree.path("new")).unwrap();
    fs::rename(tree.path("old/image"), tree.path("new/name")).unwrap();
    fs::hard_link(tree.path("new/name"), tree.path("latest")).unwrap();
    let (torrent, moved, progress) = hashed(&tree, Version::Hybrid, PIECE, Some(&known));
    check(&tree, Version::Hybrid, &torrent, &moved);
    // The last piece has another pad behind it now, or none, so that its SHA-1 is another; no byte else is read.
    assert!(progress.total_bytes < 2 * u64::from(PIECE) + 100, "{progress:?}");
}

#[test]
fn a_file_of_two_names_is_read_once() {
    for (version, alone_bytes) in [(Version::Hybrid, 40_000), (Version::V2, 0)] {
        let tree = Tree::new(&[("a", 9 * BLOCK + 5), ("other", 100)]);
        fs::hard_link(tree.path("a"), tree.path("b")).unwrap();
        let (torrent, found, progress) = hashed(&tree, version, PIECE, None);
        check(&tree, version, &torrent, &found);
        // In pieces and as a whole; a last piece with another pad behind it has a SHA-1 of its own.
        let once_bytes = 2 * (9 * BLOCK as u64 + 5 + 100);
        assert!((once_bytes..=once_bytes + alone_bytes).contains(&progress.total_bytes), "{version:?} {progress:?}");
    }
}

#[test]
fn longer_pieces_take_their_merkle_hashes_from_shorter_ones() {
    let tree = Tree::new(&[("a", 11 * BLOCK + 7), ("b", 2 * BLOCK), ("c", 1), ("d", 40 * BLOCK)]);
    let (torrent, first, _) = hashed(&tree, Version::V2, 16 * 1024, None);
    let known = known(&torrent, &first);
    for piece_length in [32 * 1024, 64 * 1024, 512 * 1024, 4 << 20] {
        let (torrent, longer, progress) = hashed(&tree, Version::V2, piece_length, Some(&known));
        check(&tree, Version::V2, &torrent, &longer);
        assert_eq!(progress.total_bytes, 0, "{piece_length}");
    }
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, 64 * 1024, None);
    let known = self::known(&torrent, &first);
    let (torrent, shorter, progress) = hashed(&tree, Version::Hybrid, PIECE, Some(&known));
    check(&tree, Version::Hybrid, &torrent, &shorter);
    assert!(progress.total_bytes > 50 * BLOCK as u64, "{progress:?}");
}

#[test]
fn a_torrent_and_a_record_that_do_not_belong_together_are_not_believed() {
    let tree = Tree::new(&[("a", 100_000), ("b", 10)]);
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let info_hash = torrent.info_hashes().next().unwrap();
    let mut known = KnownFiles::new();
    let add = |known: &mut KnownFiles, info_hash, files: &[FileIdentity], sha256: Vec<_>| {
        known.add(Arc::clone(&torrent), &VerifiedRecord::new(info_hash, files), sha256)
    };
    assert!(!add(&mut known, hash::InfoHash([7; 20]), &first.files, Vec::new()));
    assert!(!add(&mut known, info_hash, &first.files[..1], Vec::new()));
    assert!(!add(&mut known, info_hash, &first.files, vec![None]));
    assert!(known.is_empty());
    // Sizes that are not the torrent's are left out by themselves.
    let swapped: Vec<FileIdentity> = first.files.iter().rev().copied().collect();
    assert!(add(&mut known, info_hash, &swapped, Vec::new()));
    assert!(known.is_empty());
}

#[test]
fn what_was_added_last_is_believed_first() {
    let tree = Tree::new(&[("a", 100_000)]);
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let mut known = known(&torrent, &first);
    // Other bytes that look the same: only a later look at them can tell.
    let before = fs::metadata(tree.path("a")).unwrap();
    fs::write(tree.path("a"), pattern(9, 100_000)).unwrap();
    touch(&tree.path("a"), 1_000_000);
    assert_eq!(before.modified().unwrap(), fs::metadata(tree.path("a")).unwrap().modified().unwrap());
    let (torrent, other, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let record = VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &other.files);
    assert!(known.add(Arc::clone(&torrent), &record, other.file_sha256.clone()));
    let (again, found, _) = hashed(&tree, Version::Hybrid, PIECE, Some(&known));
    check(&tree, Version::Hybrid, &again, &found);
}

#[test]
fn a_known_file_that_changes_during_the_pass_is_an_error_too() {
    let tree = Tree::new(&[("a", 100_000), ("b", 100_000)]);
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let known = known(&torrent, &first);
    let builder = tree.builder(Version::Hybrid, PIECE);
    let wanted = Wanted { digests: digests(Version::Hybrid), file_sha256: true, known: Some(&known) };
    let pass = HashPass::new(builder.layout(), &tree.place(), wanted, Arc::new(Meter::new())).unwrap();
    touch(&tree.path("b"), 2_000_000);
    pass.work();
    let error = pass.finish().unwrap_err();
    assert!(matches!(error, StorageError::Changed { change: Change::Modified, .. }), "{error}");
}

#[test]
fn a_whole_file_that_is_cut_while_it_is_hashed_is_an_error() {
    let tree = Tree::new(&[("a", 300_000), ("b", 100_000)]);
    let (torrent, first, _) = hashed(&tree, Version::Hybrid, PIECE, None);
    let mut known = KnownFiles::new();
    let record = VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &first.files);
    assert!(known.add(torrent, &record, Vec::new()));
    let builder = tree.builder(Version::Hybrid, PIECE);
    let wanted = Wanted { digests: digests(Version::Hybrid), file_sha256: true, known: Some(&known) };
    let meter = Arc::new(Meter::new());
    let pass = HashPass::new(builder.layout(), &tree.place(), wanted, Arc::clone(&meter)).unwrap();
    assert_eq!(meter.progress(), Progress { hashed_bytes: 0, total_bytes: 400_000, reused_bytes: 400_000 });
    crate::testing::resize(&tree.path("a"), 200_000);
    pass.work();
    let error = pass.finish().unwrap_err();
    assert!(matches!(error, StorageError::Changed { change: Change::Truncated { .. }, .. }), "{error}");
}

/// What may happen to a tree between two torrents.
#[derive(Clone, Debug)]
enum Step {
    Write { name: u8, size: usize, seed: u32 },
    Append { name: u8, size: usize },
    Rename { from: u8, to: u8 },
    Link { from: u8, to: u8 },
    Remove { name: u8 },
}

fn path_of(name: u8) -> String {
    format!("{}/{name}", name % 3)
}

fn apply(tree: &Tree, step: &Step, clock: i64) {
    let path = |name: u8| tree.path(&path_of(name));
    let make_room = |name: u8| {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        let _ = fs::remove_file(path(name));
    };
    match step {
        Step::Write { name, size, seed } => {
            make_room(*name);
            fs::write(path(*name), pattern(*seed, *size)).unwrap();
            touch(&path(*name), clock);
        }
        Step::Append { name, size } if path(*name).exists() => {
            let mut bytes = fs::read(path(*name)).unwrap();
            bytes.extend(pattern(clock as u32, *size));
            // In place, so that links of it change too.
            fs::write(path(*name), bytes).unwrap();
            touch(&path(*name), clock);
        }
        Step::Rename { from, to } if from != to && path(*from).exists() => {
            make_room(*to);
            fs::rename(path(*from), path(*to)).unwrap();
        }
        Step::Link { from, to } if from != to && path(*from).exists() => {
            make_room(*to);
            fs::hard_link(path(*from), path(*to)).unwrap();
        }
        Step::Remove { name } => drop(fs::remove_file(path(*name))),
        Step::Append { .. } | Step::Rename { .. } | Step::Link { .. } => {}
    }
}

fn size() -> impl Strategy<Value = usize> {
    let near = (0..8usize, 0..3usize).prop_map(|(blocks, more)| (blocks * BLOCK + more).saturating_sub(1));
    prop_oneof![2 => 0..3000usize, 3 => near, 1 => 0..200_000usize]
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..8u8;
    prop_oneof![
        3 => (name(), size(), any::<u32>()).prop_map(|(name, size, seed)| Step::Write { name, size, seed }),
        1 => (name(), size()).prop_map(|(name, size)| Step::Append { name, size }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Link { from, to }),
        1 => name().prop_map(|name| Step::Remove { name }),
    ]
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2), Just(Version::Hybrid)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_tree_that_changed_is_hashed_as_if_nothing_were_known(
        rounds in prop::collection::vec((prop::collection::vec(step(), 1..12), versions(), 14..18u32), 2..5),
    ) {
        let tree = Tree::new(&[]);
        let mut known = KnownFiles::new();
        let mut clock = 2_000_000;
        for (steps, version, log) in rounds {
            for step in &steps {
                clock += 1;
                apply(&tree, step, clock);
            }
            let is_empty = |files: Vec<metainfo::NewFile>| files.iter().all(|file| file.length == 0);
            let top = tree.path("");
            // A v2 torrent cannot hold a folder of one file; the others are as good for the next round.
            let files = scan(&top, &ScanOptions::default());
            if files.map_or(true, is_empty) || Builder::new(options(version, 1 << log), scan(&top, &ScanOptions::default()).unwrap()).is_err() {
                continue;
            }
            let (torrent, found, progress) = hashed(&tree, version, 1 << log, Some(&known));
            check(&tree, version, &torrent, &found);
            prop_assert!(progress.reused_bytes <= torrent.layout().total_size());
            let record = VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &found.files);
            prop_assert!(known.add(torrent, &record, found.file_sha256));
        }
    }
}
