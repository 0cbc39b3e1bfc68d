//! Which files of a torrent are wanted, as people and magnet links say it.

use std::ops::RangeInclusive;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use metainfo::FileLayout;
use storage::StorageError;

/// The files of a torrent that are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// Those of which the name, or the path below the torrent's folder, or a folder on that path is meant by one of these
    /// globs; `*` stops at a slash and `**` does not.
    Globs(Vec<String>),
    /// Those with these numbers, from 0, as magnet links have them (BEP 53).
    Indices(Vec<RangeInclusive<u32>>),
}

impl Selection {
    /// For each file whether it is wanted; `None` for all of them.
    pub(crate) fn wanted_files(&self, layout: &FileLayout) -> Result<Option<Vec<bool>>, StorageError> {
        match self {
            Selection::All => Ok(None),
            Selection::Globs(patterns) => {
                let globs = compile(patterns)?;
                let files = layout.files().iter();
                Ok(Some(files.map(|file| !file.is_pad() && is_meant(&globs, &file.path().to_path_buf())).collect()))
            }
            Selection::Indices(ranges) => {
                let is_meant = |index: u32| ranges.iter().any(|range| range.contains(&index));
                Ok(Some((0..layout.files().len() as u32).map(is_meant).collect()))
            }
        }
    }

    /// What was asked for, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Selection::All => "all files".to_owned(),
            Selection::Globs(patterns) => patterns.join(", "),
            Selection::Indices(ranges) => {
                let range = |range: &RangeInclusive<u32>| format!("{}-{}", range.start(), range.end());
                format!("the numbers {}", ranges.iter().map(range).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Whether a glob means the file, or a folder that it is in.
fn is_meant(globs: &GlobSet, path: &Path) -> bool {
    let places = path.ancestors().filter(|place| !place.as_os_str().is_empty());
    places.into_iter().any(|place| globs.is_match(place) || place.file_name().is_some_and(|name| globs.is_match(name)))
}

fn compile(patterns: &[String]) -> Result<GlobSet, StorageError> {
    let bad = |pattern: &str, error: globset::Error| StorageError::BadPattern {
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build();
        set.add(glob.map_err(|error| bad(pattern, error))?);
    }
    set.build().map_err(|error| bad(&patterns.join(", "), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::Torrent;

    const PATHS: [&str; 4] = ["image.iso", "docs/a.txt", "docs/deep/b.txt", "sources/a.txt"];

    fn torrent() -> Torrent {
        let file = |path: &str| {
            let parts: String = path.split('/').map(|part| format!("{}:{part}", part.len())).collect();
            format!("d6:lengthi1e4:pathl{parts}ee")
        };
        let files: String = PATHS.into_iter().map(file).collect();
        let head = format!("d5:filesl{files}e4:name1:t12:piece lengthi16384e6:pieces20:");
        Torrent::from_info(&[head.as_bytes(), &[0; 20], b"e"].concat()).unwrap()
    }

    fn wanted(selection: &Selection) -> Vec<&'static str> {
        let wanted = selection.wanted_files(torrent().layout()).unwrap().unwrap();
        PATHS.into_iter().zip(wanted).filter_map(|(path, is_wanted)| is_wanted.then_some(path)).collect()
    }

    fn meant(pattern: &str) -> Vec<&'static str> {
        wanted(&Selection::Globs(vec![pattern.to_owned()]))
    }

    #[test]
    fn a_glob_means_names_paths_and_whole_folders() {
        assert_eq!(meant("a.txt"), ["docs/a.txt", "sources/a.txt"]);
        assert_eq!(meant("docs/a.txt"), ["docs/a.txt"]);
        assert_eq!(meant("docs"), ["docs/a.txt", "docs/deep/b.txt"]);
        assert_eq!(meant("docs/"), ["docs/a.txt", "docs/deep/b.txt"]);
        assert_eq!(meant("docs/*.txt"), ["docs/a.txt"]);
        assert_eq!(meant("docs/**"), ["docs/a.txt", "docs/deep/b.txt"]);
        assert_eq!(meant("*.iso"), ["image.iso"]);
        assert_eq!(meant("nothing"), [""; 0]);
    }

    #[test]
    fn numbers_mean_files_in_their_order_and_none_beyond_them() {
        assert_eq!(wanted(&Selection::Indices(vec![0..=0, 2..=9])), ["image.iso", "docs/deep/b.txt", "sources/a.txt"]);
    }

    #[test]
    fn a_broken_glob_is_an_error_that_quotes_it() {
        let globs = Selection::Globs(vec!["[a".to_owned()]);
        let error = globs.wanted_files(torrent().layout()).unwrap_err().to_string();
        assert!(error.contains("[a"), "{error}");
    }
}
