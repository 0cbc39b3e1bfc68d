//! Which files of a torrent somebody means: by globs, as people write them, or by the ranges of a magnet (BEP 53).

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use metainfo::FileLayout;

use crate::error::StorageError;
use crate::scan::compile;

/// For each file of the layout whether one of the globs means it. As with [`crate::ScanOptions::exclude`] each glob is
/// compared with the file's name and with its path below the torrent's folder, and with those of the folders that it lies in;
/// `*` stops at `/` and `**` does not. Pads are never meant.
pub fn select_files(layout: &FileLayout, globs: &[String]) -> Result<Vec<bool>, StorageError> {
    let globs = compile(globs)?;
    let is_meant = |entry: &metainfo::FileEntry| {
        let mut reached = PathBuf::new();
        !entry.is_pad()
            && entry.path().components().any(|name| {
                reached.push(name);
                globs.is_match(Path::new(name)) || globs.is_match(&reached)
            })
    };
    Ok(layout.files().iter().map(is_meant).collect())
}

/// For each file of the layout whether its number, counted from 0 with pads, is in one of the ranges. Pads are never meant.
pub fn select_numbers(layout: &FileLayout, ranges: &[RangeInclusive<u32>]) -> Vec<bool> {
    let is_meant = |(number, entry): (usize, &metainfo::FileEntry)| {
        !entry.is_pad() && ranges.iter().any(|range| range.contains(&(number as u32)))
    };
    layout.files().iter().enumerate().map(is_meant).collect()
}

#[cfg(test)]
mod tests {
    use metainfo::Version;

    use super::*;
    use crate::testing::Tree;

    fn chosen(globs: &[&str]) -> Vec<String> {
        let files = [("a.iso", 40_000), ("doc/a.txt", 5), ("doc/deep/b.txt", 5), ("src/b.iso", 50_000)];
        let torrent = Tree::new(&files).torrent(Version::Hybrid, 32 * 1024);
        let globs: Vec<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
        let chosen = select_files(torrent.layout(), &globs).unwrap();
        let files = torrent.layout().files().iter().zip(chosen).filter(|(_, is_chosen)| *is_chosen);
        files.map(|(entry, _)| entry.path().to_string()).collect()
    }

    #[test]
    fn a_glob_means_names_paths_and_whole_folders_but_never_pads() {
        assert_eq!(chosen(&["*.iso"]), ["a.iso", "src/b.iso"]);
        assert_eq!(chosen(&["doc/*.txt"]), ["doc/a.txt"]);
        assert_eq!(chosen(&["doc/"]), ["doc/a.txt", "doc/deep/b.txt"]);
        assert_eq!(chosen(&["deep", "a.iso"]), ["a.iso", "doc/deep/b.txt"]);
        assert_eq!(chosen(&["**"]).len(), 4);
        assert!(chosen(&["nothing"]).is_empty() && chosen(&[]).is_empty());
    }

    #[test]
    fn a_broken_glob_is_an_error_that_shows_it() {
        let torrent = Tree::new(&[("a", 1)]).torrent(Version::V1, 32 * 1024);
        let error = select_files(torrent.layout(), &["[".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("\"[\""), "{error}");
    }

    #[test]
    fn a_magnets_ranges_count_pads_and_choose_none() {
        let torrent = Tree::new(&[("a", 10), ("b", 10), ("c", 10)]).torrent(Version::Hybrid, 32 * 1024);
        let layout = torrent.layout();
        let pads: Vec<bool> = layout.files().iter().map(metainfo::FileEntry::is_pad).collect();
        assert_eq!(pads, [false, true, false, true, false]);
        assert_eq!(select_numbers(layout, &[0..=1, 4..=9]), [true, false, false, false, true]);
        assert_eq!(select_numbers(layout, &[]), [false; 5]);
    }
}
