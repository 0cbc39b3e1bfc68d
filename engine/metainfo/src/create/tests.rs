use proptest::prelude::*;

use super::*;
use crate::geometry::{BLOCK_SIZE, Extent};
use crate::merkle;
use crate::torrent::Torrent;

fn options(version: Version) -> CreateOptions {
    CreateOptions {
        name: "release".into(),
        version,
        piece_length: Some(BLOCK_SIZE),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    }
}

fn file(path: &str, length: u64) -> NewFile {
    let components = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    NewFile { components, length, ..NewFile::default() }
}

fn link(path: &str, target: &[&str]) -> NewFile {
    let target = target.iter().map(|name| (*name).to_owned()).collect();
    NewFile { symlink_target: Some(target), ..file(path, 0) }
}

/// The byte at an offset of a file.
fn content(index: FileIndex, offset: u64) -> u8 {
    (offset ^ u64::from(index.get()).wrapping_mul(7) ^ (offset >> 8)) as u8
}

/// Hashes the made-up content of a layout the plain way.
fn hash(layout: &FileLayout) -> PieceHashes {
    let bytes = |file: FileIndex, offset: u64, size: u64| (offset..offset + size).map(move |at| content(file, at));
    let v1 = layout.pieces().map(|piece| {
        let mut data = Vec::new();
        for extent in layout.extents(layout.whole_piece(piece)) {
            match extent {
                Extent::File { file, offset, size } => data.extend(bytes(file, offset, size)),
                Extent::Zeros { size } => data.resize(data.len() + size as usize, 0),
            }
        }
        hash::sha1(&data)
    });
    let v2 = layout.file_indices().filter(|file| layout.file(*file).length() > 0 && !layout.file(*file).is_pad());
    let v2 = v2.map(|file| {
        let data: Vec<u8> = bytes(file, 0, layout.file(file).length()).collect();
        let leaves: Vec<_> = data.chunks(BLOCK_SIZE as usize).map(hash::sha256).collect();
        let layer = merkle::piece_layer_from_leaves(&leaves, layout.piece_length());
        FileHashes { file, root: merkle::root_of_leaves(&leaves), layer }
    });
    PieceHashes { v1: v1.collect(), v2: v2.collect() }
}

fn create(options: CreateOptions, files: Vec<NewFile>) -> Torrent {
    let builder = Builder::new(options, files).unwrap();
    let bytes = builder.finish(&hash(builder.layout())).unwrap();
    Torrent::parse(&bytes).unwrap()
}

fn refused(version: Version, files: Vec<NewFile>) -> CreateError {
    Builder::new(options(version), files).unwrap_err()
}

/// Path, length and whether it is a pad, of every file.
fn listing(torrent: &Torrent) -> Vec<(String, u64, bool)> {
    torrent.layout().files().iter().map(|file| (file.path().to_string(), file.length(), file.is_pad())).collect()
}

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];

#[test]
fn no_two_pads_have_one_path() {
    let torrent =
        create(options(Version::Hybrid), vec![file("a", 4), file("b", 4), file("c", 5), file("d", 4), file("e", 4)]);
    let pads: Vec<String> =
        listing(&torrent).into_iter().filter(|(_, _, is_pad)| *is_pad).map(|(path, ..)| path).collect();
    assert_eq!(pads, [".pad/16380", ".pad/16380.2", ".pad/16379", ".pad/16380.3"]);
}

#[test]
fn a_hybrid_pads_between_files_but_not_behind_the_last() {
    let torrent = create(
        options(Version::Hybrid),
        vec![file("b", 20_000), file("a/x", 5), file("c", 0), file("a/empty", 0), file("z", 16_384), file("zz", 1)],
    );
    let names = listing(&torrent);
    let expected = [
        ("a/empty", 0, false),
        ("a/x", 5, false),
        (".pad/16379", 16_379, true),
        ("b", 20_000, false),
        (".pad/12768", 12_768, true),
        ("c", 0, false),
        ("z", 16_384, false),
        ("zz", 1, false),
    ];
    assert_eq!(names, expected.map(|(path, length, pad)| (path.to_owned(), length, pad)));
    assert_eq!(torrent.version(), Version::Hybrid);
    assert_eq!(torrent.layout().total_size(), 36_390);
    assert!(torrent.has_piece_layers());
}

#[test]
fn what_is_said_about_a_torrent_comes_back() {
    let all = CreateOptions {
        trackers: vec![
            vec!["http://a.example/announce".into(), "udp://b.example:80".into()],
            vec![],
            vec![String::new(), "https://c.example/announce?key=1".into()],
        ],
        web_seeds: vec!["https://mirror.example/pub".into(), "https://other.example/pub/".into()],
        is_private: true,
        comment: Some("naïve".into()),
        source: Some("SRC".into()),
        created_by: Some("Spillway".into()),
        creation_date: Some(0),
        piece_length: None,
        ..options(Version::Hybrid)
    };
    let torrent = create(all, vec![file("a", 40_000), file("b", 1)]);
    assert_eq!(torrent.trackers()[0], ["http://a.example/announce", "udp://b.example:80"]);
    assert_eq!(torrent.trackers()[1..], [["https://c.example/announce?key=1"]]);
    assert_eq!(torrent.web_seeds(), ["https://mirror.example/pub/", "https://other.example/pub/"]);
    assert!(torrent.is_private());
    assert_eq!(torrent.comment(), Some("naïve"));
    assert_eq!(torrent.source(), Some("SRC"));
    assert_eq!(torrent.created_by(), Some("Spillway"));
    assert_eq!(torrent.creation_date(), Some(0));
    assert_eq!(torrent.layout().piece_length(), 16_384);
    let magnet = torrent.magnet();
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn a_single_file_is_itself_in_every_format() {
    for version in VERSIONS {
        let new = NewFile { executable: true, ..file("", 50_000) };
        let torrent = create(options(version), vec![new]);
        assert!(torrent.layout().is_single_file());
        assert_eq!(listing(&torrent), [("release".to_owned(), 50_000, false)]);
        assert!(torrent.layout().files()[0].executable());
        let index = torrent.layout().file_index(0).unwrap();
        assert_eq!(torrent.layout().disk_path(index), std::path::PathBuf::from("release"));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_whatever_its_order() {
    let files = vec![file("b", 3), file("a/c", 4), file("a-b", 5), file("a/b", 6)];
    let reversed = files.iter().rev().cloned().collect();
    let make = |files| {
        let builder = Builder::new(options(Version::Hybrid), files).unwrap();
        builder.finish(&hash(builder.layout())).unwrap()
    };
    assert_eq!(make(files), make(reversed));
}

#[test]
fn links_and_attributes_survive_every_format() {
    for version in VERSIONS {
        let hidden = NewFile { hidden: true, executable: true, ..file(".run", 9) };
        let torrent = create(
            options(version),
            vec![hidden, link("d/latest", &["d", "v1"]), file("d/v1", 70_000), link("e", &["d"])],
        );
        let files: Vec<_> = torrent.layout().files().iter().filter(|file| !file.is_pad()).collect();
        assert!(files[0].hidden() && files[0].executable());
        assert_eq!(files[1].symlink_target().unwrap().to_string(), "d/v1");
        assert_eq!(files[3].symlink_target().unwrap().to_string(), "d");
        assert_eq!(files[2].length(), 70_000);
    }
}

#[test]
fn what_no_client_could_seed_is_refused_by_name() {
    let unsafe_names = ["a\\b", "a\nb", "..", "\u{7f}"];
    for name in unsafe_names {
        let new = NewFile { components: vec!["d".into(), name.into()], length: 1, ..NewFile::default() };
        assert!(matches!(refused(Version::V1, vec![new]), CreateError::UnsafeName { .. }), "{name:?}");
        let renamed = CreateOptions { name: name.into(), ..options(Version::V1) };
        assert!(matches!(Builder::new(renamed, vec![file("", 1)]), Err(CreateError::UnsafeName { .. })));
    }
    let long = "x".repeat(256);
    assert!(matches!(refused(Version::V1, vec![file(&long, 1)]), CreateError::UnsafeName { .. }));
    let deep = ["d"; 250].join("/");
    assert!(matches!(refused(Version::V2, vec![file(&deep, 1)]), CreateError::PathTooLong { .. }));
    let long = [&long[..255]; 12].join("/");
    assert!(matches!(refused(Version::V2, vec![file(&long, 1)]), CreateError::PathTooLong { .. }));
    let two = |path: &str| CreateError::TwoFiles { path: path.into() };
    assert_eq!(refused(Version::V1, vec![file("a", 1), file("a", 2)]), two("a"));
    assert_eq!(refused(Version::V1, vec![file("a", 1), file("a-", 1), file("a/b", 2)]), two("a/b"));
    assert_eq!(
        refused(Version::Hybrid, vec![file(".pad/7", 7), file("a", 2)]),
        CreateError::PadName { path: ".pad/7".into() }
    );
    assert!(Builder::new(options(Version::V2), vec![file(".pad/7", 7), file("a", 2)]).is_ok());
    for target in [&[][..], &["..", "etc"]] {
        let error = refused(Version::V1, vec![file("a", 1), link("l", target)]);
        assert_eq!(error, CreateError::UnsafeTarget { path: "l".into() });
    }
}

#[test]
fn what_a_format_cannot_say_is_refused() {
    for version in VERSIONS {
        assert_eq!(refused(version, vec![]), CreateError::Nothing);
        assert_eq!(refused(version, vec![file("", 0)]), CreateError::Nothing);
        assert_eq!(refused(version, vec![file("a", 0), link("b", &["a"])]), CreateError::Nothing);
    }
    assert_eq!(refused(Version::V2, vec![file("a", 1)]), CreateError::FolderOfOne);
    assert!(!create(options(Version::Hybrid), vec![file("a", 1)]).layout().is_single_file());
    assert!(!create(options(Version::V2), vec![file("d/a", 1)]).layout().is_single_file());
    let total = refused(Version::V1, vec![file("a", u64::MAX), file("b", u64::MAX)]);
    assert_eq!(total, CreateError::Layout(LayoutError::TooLarge));
}

#[test]
fn bad_options_are_refused_by_name() {
    for length in [0, 1, 8192, 16_385, 1 << 28, u32::MAX] {
        let bad = CreateOptions { piece_length: Some(length), ..options(Version::V1) };
        assert_eq!(Builder::new(bad, vec![file("", 1)]).unwrap_err(), CreateError::PieceLength(length));
    }
    for url in ["tracker.example", "http://", "http://a b", "/x", "mailto:a@b"] {
        let bad = CreateOptions { trackers: vec![vec![url.into()]], ..options(Version::V1) };
        assert_eq!(Builder::new(bad, vec![file("", 1)]).unwrap_err(), CreateError::BadUrl { url: url.into() });
    }
    let many = CreateOptions { web_seeds: vec!["http://a".into(); MAX_WEB_SEEDS + 1], ..options(Version::V1) };
    assert!(matches!(Builder::new(many, vec![file("", 1)]), Err(CreateError::TooMany { .. })));
}

#[test]
fn hashes_that_do_not_fit_make_no_torrent() {
    let builder = Builder::new(options(Version::Hybrid), vec![file("a", 40_000), file("b", 5)]).unwrap();
    let good = hash(builder.layout());
    assert!(builder.finish(&good).is_ok());
    let breaks: [fn(&mut PieceHashes); 4] = [
        |hashes| hashes.v1.truncate(1),
        |hashes| hashes.v2.truncate(1),
        |hashes| hashes.v2[0].layer.truncate(1),
        |hashes| hashes.v2[0].root.0[0] ^= 1,
    ];
    for make_bad in breaks {
        let mut bad = good.clone();
        make_bad(&mut bad);
        assert!(matches!(builder.finish(&bad), Err(CreateError::WrongHashes(_))));
    }
}

#[test]
fn automatic_pieces_number_between_a_thousand_and_two_thousand() {
    for size in [40 << 20, 700 << 20, 4 << 30, (4 << 30) + 1, 30 << 30, 1u64 << 34] {
        let count = size.div_ceil(u64::from(auto_piece_length(size)));
        assert!((1000..=2500).contains(&count), "{size}: {count}");
    }
    assert_eq!(auto_piece_length(0), 16 << 10);
    assert_eq!(auto_piece_length(u64::MAX), 16 << 20);
}

fn trees() -> impl Strategy<Value = Vec<NewFile>> {
    let name = prop::sample::select(vec!["a", "b", "a b", "ä", "日本", ".x", "CON", "A"]);
    let new = (
        prop::collection::vec(name, 1..4),
        prop_oneof![Just(0u64), 1u64..100, 16_000u64..70_000],
        any::<(bool, bool)>(),
    )
        .prop_map(|(path, length, (executable, hidden))| NewFile {
            executable,
            hidden,
            ..file(&path.join("/"), length)
        });
    prop::collection::vec(new, 1..8).prop_map(|mut files| {
        // Of files that collide the first stays.
        let mut kept: Vec<NewFile> = Vec::new();
        files.retain(|new| {
            let collides = |other: &NewFile| {
                new.components.starts_with(&other.components) || other.components.starts_with(&new.components)
            };
            let is_new = !kept.iter().any(collides);
            if is_new {
                kept.push(new.clone());
            }
            is_new
        });
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_created_reads_back_the_same(files in trees(), version in prop::sample::select(VERSIONS.to_vec()), log in 14u32..17) {
        let options = CreateOptions { piece_length: Some(1 << log), ..options(version) };
        let Ok(builder) = Builder::new(options, files) else { return Ok(()) };
        let hashes = hash(builder.layout());
        let bytes = builder.finish(&hashes).unwrap();
        let torrent = Torrent::parse(&bytes).unwrap();
        let (made, read) = (builder.layout(), torrent.layout());
        prop_assert_eq!(torrent.version(), version);
        prop_assert_eq!(made.files().len(), read.files().len());
        for (made, read) in made.files().iter().zip(read.files()) {
            prop_assert_eq!(made.path(), read.path());
            prop_assert_eq!(
                (made.length(), made.offset(), made.is_pad(), made.executable(), made.hidden()),
                (read.length(), read.offset(), read.is_pad(), read.executable(), read.hidden())
            );
        }
        prop_assert_eq!(
            (made.piece_count(), made.total_size(), made.piece_space_size(), made.is_single_file()),
            (read.piece_count(), read.total_size(), read.piece_space_size(), read.is_single_file())
        );
        for piece in read.pieces() {
            prop_assert_eq!(made.piece_size(piece), read.piece_size(piece));
            if version != Version::V2 {
                prop_assert_eq!(torrent.piece_hash_v1(piece), Some(hashes.v1[piece.get() as usize]));
            }
            prop_assert_eq!(torrent.piece_hash_v2(piece).is_some(), version != Version::V1);
        }
        for tree in hashes.v2.iter().filter(|_| version != Version::V1) {
            prop_assert_eq!(torrent.piece_layer(tree.file), Some(&tree.layer[..]));
            let first = read.file_pieces(tree.file).next().unwrap();
            prop_assert_eq!(torrent.piece_hash_v2(first), Some(tree.layer[0]));
        }
        // Canonical: strict key order, and the oracle writes the same bytes.
        let strict = bencode::Limits { keys: bencode::KeyOrder::Sorted, ..bencode::Limits::default() };
        prop_assert!(bencode::decode(&bytes, &strict).is_ok());
        prop_assert_eq!(bencode_oracle::from_vec(bytes.clone()).unwrap().to_bytes().unwrap(), bytes);
    }
}
