//! Torrents that other programs made, beside a listing that libtorrent made of them: what we read must be what they read.
//! The samples are in `tests/vectors/torrents` at the root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use metainfo::{Torrent, Version};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/torrents")
}

fn listing(torrent: &Torrent) -> String {
    let mut text = String::new();
    let hash = |hash: Option<String>| hash.unwrap_or("-".into());
    let layout = torrent.layout();
    writeln!(text, "v1 {}", hash(torrent.info_hash_v1().map(|hash| hash.to_string()))).unwrap();
    writeln!(text, "v2 {}", hash(torrent.info_hash_v2().map(|hash| hash.to_string()))).unwrap();
    writeln!(text, "piece length {}", layout.piece_length()).unwrap();
    for (tier, urls) in torrent.trackers().iter().enumerate() {
        urls.iter().for_each(|url| writeln!(text, "tracker {tier} {url}").unwrap());
    }
    torrent.web_seeds().iter().for_each(|url| writeln!(text, "web seed {url}").unwrap());
    for index in layout.file_indices() {
        let file = layout.file(index);
        let letters = [(file.is_pad(), 'p'), (file.executable(), 'x'), (file.symlink_target().is_some(), 'l')];
        let letters: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
        let letters = if letters.is_empty() { "-" } else { &letters };
        writeln!(text, "file {} {letters} {}", file.length(), layout.disk_path(index).display()).unwrap();
    }
    text
}

fn samples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "torrent")).collect();
    samples.sort();
    samples
}

#[test]
fn torrents_of_other_programs_read_as_libtorrent_reads_them() {
    let samples = samples();
    assert!(samples.len() >= 7);
    for sample in samples {
        #[expect(clippy::disallowed_methods, reason = "a test reads its samples")]
        let torrent = Torrent::parse(&std::fs::read(&sample).unwrap()).unwrap();
        let expected = std::fs::read_to_string(sample.with_extension("listing")).unwrap();
        assert_eq!(listing(&torrent), expected, "{}", sample.display());
        assert_eq!(torrent.has_piece_layers(), torrent.version() != Version::V1);
        for piece in torrent.layout().pieces() {
            assert_eq!(torrent.piece_hash_v1(piece).is_some(), torrent.version() != Version::V2);
            assert_eq!(torrent.piece_hash_v2(piece).is_some(), torrent.version() != Version::V1);
        }
    }
}

#[test]
fn no_cut_and_no_flipped_bit_of_a_real_torrent_makes_the_parser_panic() {
    for sample in samples() {
        #[expect(clippy::disallowed_methods, reason = "a test reads its samples")]
        let bytes = std::fs::read(&sample).unwrap();
        for size in 0..bytes.len() {
            assert!(Torrent::parse(&bytes[..size]).is_err());
            let mut damaged = bytes.clone();
            damaged[size] ^= 1 << (size % 8);
            let _ = Torrent::parse(&damaged);
        }
    }
}
