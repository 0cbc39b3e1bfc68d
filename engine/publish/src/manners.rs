//! The names that programs give to files which are not finished: rsync's first of all. Content is never among them.
//!
//! rsync writes `.NAME.XXXXXX` beside the file and renames it into place when it is whole and has its time; with
//! `--delay-updates` whole files wait in `.~tmp~/` for the end of the transfer; `--partial-dir` keeps what was interrupted.
//! `--inplace` and `--append` write under the final name, as curl and wget do: only time tells there.

use std::sync::LazyLock;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Globs over the name alone, for whoever scans by globs. The letters behind rsync's last dot are six of 62; one of them
/// has to be a digit or a capital, so that `.config.backup` is content. One name in two hundred is all small letters and
/// passes for a file, which then vanishes before it has settled.
pub const TEMPORARY: [&str; 27] = [
    ".*.[0-9A-Z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]",
    ".*.[0-9A-Za-z][0-9A-Z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]",
    ".*.[0-9A-Za-z][0-9A-Za-z][0-9A-Z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]",
    ".*.[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Z][0-9A-Za-z][0-9A-Za-z]",
    ".*.[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Z][0-9A-Za-z]",
    ".*.[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Z]",
    ".~tmp~",
    ".rsync-partial",
    ".rsync-tmp",
    // Downloads under way: Firefox and youtube-dl, browsers, aria2's control file, qBittorrent, WinSCP, lftp, wget2.
    "*.part",
    "*.partial",
    "*.crdownload",
    "*.aria2",
    "*.!qB",
    "*.!ut",
    "*.filepart",
    ".in.*.",
    "*.tmp",
    "*.temp",
    // Our own writes, and those of others with the same library.
    ".tmp[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]",
    // Editors, and files that were deleted while open, on NFS and FUSE.
    ".*.sw[a-p]",
    "*~",
    "#*#",
    ".#*",
    ".nfs[0-9a-f]*",
    ".fuse_hidden*",
    ".goutputstream-*",
];

/// What a program adds to the name of the file that it is writing, where the file itself may already be there: aria2
/// allocates all of it first, Firefox leaves an empty one.
const COMPANIONS: [&str; 9] =
    [".part", ".partial", ".crdownload", ".aria2", ".!qB", ".!ut", ".filepart", ".tmp", ".temp"];

static NAMES: LazyLock<GlobSet> = LazyLock::new(|| {
    let mut set = GlobSetBuilder::new();
    for pattern in TEMPORARY {
        if let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).build() {
            set.add(glob);
        }
    }
    // A test compiles each of them.
    set.build().unwrap_or_default()
});

/// Whether a file or directory of this name is not finished, or not meant to stay.
pub fn is_temporary(name: &str) -> bool {
    NAMES.is_match(name)
}

/// The file that is being written when a file of this temporary name is there.
pub fn stands_for(name: &str) -> Option<&str> {
    if let Some(stem) = COMPANIONS.iter().find_map(|suffix| name.strip_suffix(suffix)) {
        return Some(stem).filter(|stem| !stem.is_empty());
    }
    let (stem, suffix) = name.rsplit_once('.')?;
    if !is_temporary(name) || suffix.len() != 6 {
        return None;
    }
    stem.strip_prefix('.').filter(|stem| !stem.is_empty())
}

/// The names that would say of a file called `name` that it is being written: whole names, and the beginning of rsync's.
pub(crate) fn companions(name: &str) -> (impl Iterator<Item = String>, String) {
    // rsync puts no second dot before a name that begins with one.
    let rsync = if name.starts_with('.') { format!("{name}.") } else { format!(".{name}.") };
    (COMPANIONS.iter().map(move |suffix| format!("{name}{suffix}")), rsync)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_pattern_is_a_glob() {
        for pattern in TEMPORARY {
            GlobBuilder::new(pattern).literal_separator(true).build().unwrap();
        }
        assert_eq!(NAMES.len(), TEMPORARY.len());
    }

    #[test]
    fn what_programs_leave_while_they_write_is_temporary() {
        let names = [
            ".debian.iso.Xk3f9a",
            ".debian.iso.abcde1",
            "..hidden.Abcdef",
            ".~tmp~",
            ".rsync-partial",
            "a.iso.part",
            "a.iso.aria2",
            "a.iso.!qB",
            "a.iso.crdownload",
            ".a.txt.swp",
            "notes~",
            ".nfs000000000010a2b400000001",
            ".tmpAbC123",
            "a.iso.filepart",
            ".in.a.iso.",
            "a.tmp",
        ];
        for name in names {
            assert!(is_temporary(name), "{name}");
        }
    }

    #[test]
    fn content_with_a_dot_or_an_unusual_name_is_no_temporary_file() {
        let names = [
            "debian.iso",
            ".htaccess",
            ".config.backup",
            ".gitignore",
            "SHA256SUMS",
            "a.part1.rar",
            "linux-6.1.tar.xz",
            ".treeinfo",
            "a.torrent",
            "x.tmpl",
            ".disk",
            "parts",
            ".hidden.tar.gz",
        ];
        for name in names {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn a_temporary_name_says_which_file_it_stands_for() {
        for (name, file) in [
            (".a.iso.Xk3f9a", Some("a.iso")),
            ("a.iso.aria2", Some("a.iso")),
            ("a.iso.part", Some("a.iso")),
            (".~tmp~", None),
            ("notes~", None),
            (".part", None),
            (".config.backup", None),
        ] {
            assert_eq!(stands_for(name), file, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_names_that_mkstemp_makes_are_seen(stem in "[a-zA-Z0-9._-]{1,20}", random in "[a-zA-Z0-9]{6}") {
            prop_assume!(random.bytes().any(|byte| !byte.is_ascii_lowercase()));
            let name = format!(".{stem}.{random}");
            prop_assert!(is_temporary(&name));
        }

        #[test]
        fn companions_and_what_they_stand_for_agree(name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}") {
            let (whole, rsync) = companions(&name);
            for companion in whole {
                prop_assert_eq!(stands_for(&companion), Some(&*name));
            }
            let rsync = format!("{rsync}A1b2C3");
            prop_assert_eq!(stands_for(&rsync), Some(&*name));
        }
    }
}
