use proptest::prelude::*;

use super::*;

/// The safe paths of files given as raw components.
fn safe<P: AsRef<[u8]>>(paths: &[Vec<P>]) -> Vec<String> {
    let mut list = FileList::default();
    for path in paths {
        let (name, folders) = path.split_last().unwrap();
        let mut place = Place::TOP;
        for folder in folders {
            place = list.folder(place, folder.as_ref()).unwrap();
        }
        list.file(place, name.as_ref(), 1, Attributes::default()).unwrap();
    }
    list.into_entries().unwrap().iter().map(|file| file.path().to_string()).collect()
}

fn check(paths: &[&str], expected: &[&str]) {
    let paths: Vec<Vec<&str>> = paths.iter().map(|path| path.split('|').collect()).collect();
    assert_eq!(safe(&paths), expected);
}

#[test]
fn a_path_never_leaves_its_folder() {
    check(&["..|..|etc|passwd"], &["__/__/etc/passwd"]);
    check(&["|etc|passwd"], &["etc/passwd"]);
    check(&["/etc/passwd"], &["_etc_passwd"]);
    check(&["a|.|.|b", "c|..|d"], &["a/b", "c/__/d"]);
    check(&["", "|", "."], &["_", "_.1", "_.2"]);
    check(&["a\\..\\b|c"], &["a_.._b/c"]);
}

#[test]
fn the_first_of_equal_files_keeps_its_name() {
    check(&["a.txt", "b", "a.txt", "a.txt"], &["a.txt", "b", "a.1.txt", "a.2.txt"]);
    // A name that somebody has is not given out, wherever it stands.
    check(&["a", "a", "a.1", "a"], &["a", "a.2", "a.1", "a.3"]);
    check(&["a\0", "a_", "a/"], &["a_", "a_.1", "a_.2"]);
    check(&[".x", ".x"], &[".x", ".x.1"]);
}

#[test]
fn names_that_differ_in_case_are_different_files() {
    check(&["README", "readme", "ReadMe|x"], &["README", "readme", "ReadMe/x"]);
}

#[test]
fn a_file_gives_way_to_a_folder() {
    check(&["a", "a|b", "a|c"], &["a.1", "a/b", "a/c"]);
    check(&["d|a|b", "e", "d|a"], &["d/a/b", "e", "d/a.1"]);
}

#[test]
fn folders_of_one_name_are_one_folder() {
    check(&["a\0|x", "b|y", "a_|x", "a_|z"], &["a_/x", "b/y", "a_/x.1", "a_/z"]);
    check(&["a\0|b|x", "a_|b|x"], &["a_/b/x", "a_/b/x.1"]);
}

#[test]
fn a_path_that_is_too_long_loses_folders_and_stays_distinct() {
    let folder = "f".repeat(200);
    let path = |name: &'static str| std::iter::repeat_n(folder.as_str(), 100).chain([name]).collect::<Vec<_>>();
    let paths = safe(&[path("a"), path("b"), path("a")]);
    assert!(paths.iter().all(|path| path.len() <= MAX_PATH_BYTES));
    assert!(paths[0].ends_with("/a") && paths[1].ends_with("/b") && paths[2].ends_with("/a.1"));
}

#[test]
fn cut_names_that_collide_are_numbered_within_the_limit() {
    let names: Vec<Vec<String>> = (0..3).map(|index| vec![format!("{}{index}.iso", "é".repeat(200))]).collect();
    let safe = safe(&names);
    assert!(safe.iter().all(|name| name.len() <= MAX_NAME_BYTES && name.ends_with(".iso")));
    assert!(safe[0] != safe[1] && safe[1] != safe[2]);
}

proptest! {
    #[test]
    fn paths_are_safe_and_distinct_and_no_file_is_a_folder(
        paths in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    4 => prop::sample::select(vec![&b"a"[..], b"b", b"a.1", b"..", b".", b"", b"/", b"_", b"a\0", b"a_", b"A"])
                        .prop_map(<[u8]>::to_vec),
                    1 => prop::collection::vec(any::<u8>(), 0..300),
                ],
                1..5,
            ),
            1..24,
        ),
    ) {
        let safe = safe(&paths);
        prop_assert_eq!(safe.len(), paths.len());
        let mut sorted: Vec<Vec<&str>> = safe.iter().map(|path| path.split('/').collect()).collect();
        sorted.sort();
        for name in sorted.iter().flatten() {
            prop_assert!(!name.is_empty() && *name != "." && *name != ".." && name.len() <= MAX_NAME_BYTES);
            prop_assert!(!name.contains(|c: char| c.is_control() || c == '\\'));
        }
        for pair in sorted.windows(2) {
            prop_assert!(!pair[1].starts_with(&pair[0]), "{:?}", pair);
        }
    }
}
