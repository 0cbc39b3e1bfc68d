use std::fs;

use storage::Content;

use super::*;
use crate::verify::verify;

fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("release");
    fs::create_dir_all(top.join("sub")).unwrap();
    for (name, size) in [("image.iso", 700_000), ("empty", 0), ("sub/a", 1), ("sub/b", 50_000)] {
        let bytes: Vec<u8> = (0..size as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(top.join(name), bytes).unwrap();
    }
    directory
}

fn options(version: Version) -> CreateOptions {
    CreateOptions { version, piece_length: Some(32 * 1024), ..CreateOptions::default() }
}

fn two() -> Option<NonZeroUsize> {
    NonZeroUsize::new(2)
}

#[test]
fn what_was_created_verifies_in_every_format_and_the_meter_ends_full() {
    let directory = tree();
    let path = directory.path().join("release");
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let meter = Arc::new(Meter::new());
        let created = create(&path, &options(version), two(), &meter).unwrap();
        assert_eq!(created.torrent.layout().name(), "release");
        assert_eq!(meter.progress().hashed_bytes, 750_001);
        assert_eq!(meter.progress().total_bytes, 750_001);
        let place = Place::under(directory.path());
        let report = verify(&created.torrent, &place, None, &meter).unwrap();
        assert!(report.is_complete(), "{version:?} {report:?}");
        assert_eq!(report.verified_files(), Some(&created.files[..]));
        let content = Content::open(created.torrent.layout(), &place).unwrap();
        let info_hash = created.torrent.info_hashes().next().unwrap();
        assert!(created.record().unwrap().matches(info_hash, &content.identity()));
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let directory = tree();
    let path = directory.path().join("release");
    let bytes = |threads| create(&path, &options(Version::Hybrid), threads, &Arc::new(Meter::new())).unwrap().bytes;
    assert_eq!(bytes(NonZeroUsize::new(1)), bytes(NonZeroUsize::new(7)));
}

#[test]
fn a_given_name_does_not_have_to_be_that_of_the_path() {
    let directory = tree();
    for path in ["release", "release/image.iso"] {
        let options = CreateOptions { name: Some("other".into()), ..options(Version::Hybrid) };
        let path = directory.path().join(path);
        let created = create(&path, &options, two(), &Arc::new(Meter::new())).unwrap();
        assert_eq!(created.torrent.layout().name(), "other");
        assert!(Content::open(created.torrent.layout(), &created.place).is_ok());
    }
}

#[test]
fn the_current_directory_has_a_name_too() {
    let directory = tree();
    assert_eq!(own_name(&directory.path().join("release/.")).as_deref(), Some("release"));
    assert_eq!(own_name(&directory.path().join("release/sub/..")).as_deref(), Some("release"));
    assert_eq!(own_name(Path::new("/")), None);
}

#[test]
fn a_cancelled_creation_ends_with_an_error() {
    let directory = tree();
    let meter = Arc::new(Meter::new());
    meter.cancel();
    let error = create(&directory.path().join("release"), &options(Version::V1), two(), &meter).unwrap_err();
    assert!(matches!(error, CreateError::Storage(StorageError::Cancelled)), "{error}");
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = create(Path::new("no/such/path"), &options(Version::V1), two(), &Arc::new(Meter::new())).unwrap_err();
    assert_eq!(error.to_string(), "no/such/path: no such file");
}

#[test]
fn a_torrent_of_a_tree_where_one_file_changed_reads_that_file() {
    let directory = tree();
    let path = directory.path().join("release");
    let options = CreateOptions { file_sha256: true, ..options(Version::Hybrid) };
    let meter = || Arc::new(Meter::new());
    let first = create(&path, &options, two(), &meter()).unwrap();
    let again = recreate(&path, &options, Some(&first.known_files()), two(), &meter()).unwrap();
    assert!(again.is_recalled && again.reused_bytes == 750_001);
    assert_eq!((again.bytes, &again.file_sha256), (first.bytes.clone(), &first.file_sha256));

    fs::write(path.join("sub/b"), vec![7; 60_000]).unwrap();
    let watched = meter();
    let changed = recreate(&path, &options, Some(&first.known_files()), two(), &watched).unwrap();
    assert!(!changed.is_recalled);
    // In pieces, as a whole, and the piece before it, whose pad is behind another file now.
    assert!((120_000..=120_000 + 32 * 1024).contains(&watched.progress().hashed_bytes), "{:?}", watched.progress());
    let full = create(&path, &options, two(), &meter()).unwrap();
    assert_eq!((changed.bytes, changed.file_sha256), (full.bytes, full.file_sha256));
}

#[test]
fn the_sha256_of_every_file_is_that_of_its_bytes() {
    let directory = tree();
    for path in ["release", "release/image.iso"] {
        let path = directory.path().join(path);
        let options = CreateOptions { file_sha256: true, ..options(Version::Hybrid) };
        let created = create(&path, &options, two(), &Arc::new(Meter::new())).unwrap();
        let layout = created.torrent.layout();
        for (file, digest) in layout.file_indices().zip(&created.file_sha256) {
            let entry = layout.file(file);
            let on_disk = if layout.is_single_file() { path.clone() } else { path.join(entry.path().to_path_buf()) };
            let expected = (!entry.is_pad()).then(|| hash::sha256(&fs::read(on_disk).unwrap()));
            assert_eq!(*digest, expected, "{:?}", entry.path());
        }
    }
}
