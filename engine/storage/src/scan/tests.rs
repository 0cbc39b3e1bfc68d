use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A directory with a file for each name; the contents are the name.
fn tree(names: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    directory
}

fn listed(directory: &tempfile::TempDir, options: &ScanOptions) -> Vec<String> {
    let files = scan(directory.path(), options).unwrap();
    files.iter().map(|file| file.components.join("/")).collect()
}

fn refused(directory: &tempfile::TempDir, options: &ScanOptions) -> String {
    scan(directory.path(), options).unwrap_err().to_string()
}

fn with(symlinks: Symlinks) -> ScanOptions {
    ScanOptions { symlinks, ..ScanOptions::default() }
}

#[test]
fn what_the_caller_does_not_take_is_left_out_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "sub/b", "sub/c", "out/d"] {
        std::fs::create_dir_all(directory.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(directory.path().join(name), "x").unwrap();
    }
    let asked = std::cell::RefCell::new(Vec::new());
    let is_content = |path: &Path, is_directory: bool| {
        asked.borrow_mut().push((path.to_str().unwrap().to_owned(), is_directory));
        path != Path::new("out") && path != Path::new("sub/c")
    };
    let files = scan_where(directory.path(), &ScanOptions::default(), &is_content).unwrap();
    let names: Vec<String> = files.iter().map(|file| file.components.join("/")).collect();
    assert_eq!(names, ["a", "sub/b"]);
    let asked = asked.into_inner();
    assert!(asked.contains(&("out".to_owned(), true)) && !asked.iter().any(|(path, _)| path == "out/d"), "{asked:?}");
}

#[test]
fn files_come_in_the_order_of_their_path_components() {
    let directory = tree(&["b", "a/z", "a.txt", "a/b/c", "A", "é", ".hidden/x", "a-b"]);
    let options = ScanOptions::default();
    assert_eq!(listed(&directory, &options), [".hidden/x", "A", "a/b/c", "a/z", "a-b", "a.txt", "b", "é"]);
}

#[test]
fn a_single_file_has_no_components_and_may_be_reached_by_a_link() {
    let directory = tree(&["image.iso"]);
    symlink("image.iso", directory.path().join("latest")).unwrap();
    for name in ["image.iso", "latest"] {
        let files = scan(&directory.path().join(name), &with(Symlinks::Refuse)).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].components.len(), files[0].length), (0, 9));
    }
}

#[test]
fn empty_files_are_kept_and_empty_directories_are_not() {
    let directory = tree(&["a"]);
    fs::write(directory.path().join("empty"), "").unwrap();
    fs::create_dir(directory.path().join("nothing")).unwrap();
    assert_eq!(listed(&directory, &ScanOptions::default()), ["a", "empty"]);
}

#[test]
fn the_execute_bit_is_seen() {
    let directory = tree(&["run", "text"]);
    fs::set_permissions(directory.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let files = scan(directory.path(), &ScanOptions::default()).unwrap();
    assert_eq!(files.iter().map(|file| file.executable).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn excludes_match_names_and_paths_and_prune_directories() {
    let directory = tree(&["a.tmp", "keep", "sub/a.tmp", "sub/keep", "sub/deep/x", ".git/config", "docs/a/b"]);
    let excluding = |patterns: &[&str]| {
        let exclude = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        listed(&directory, &ScanOptions { exclude, ..ScanOptions::default() })
    };
    assert_eq!(excluding(&["*.tmp", ".git/"]), ["docs/a/b", "keep", "sub/deep/x", "sub/keep"]);
    assert_eq!(excluding(&["sub/*", ".git"]), ["a.tmp", "docs/a/b", "keep"]);
    assert_eq!(excluding(&["**/b", "sub", ".*"]), ["a.tmp", "keep"]);
}

#[test]
fn a_bad_exclude_pattern_is_named() {
    let directory = tree(&["a"]);
    let error = refused(&directory, &ScanOptions { exclude: vec!["a[".into()], ..ScanOptions::default() });
    assert!(error.starts_with("pattern \"a[\": "), "{error}");
}

#[test]
fn a_scan_without_files_is_an_error() {
    let directory = tree(&["a"]);
    let error = refused(&directory, &ScanOptions { exclude: vec!["*".into()], ..ScanOptions::default() });
    assert!(error.ends_with("holds no files"), "{error}");
    assert!(matches!(scan(&directory.path().join("no"), &ScanOptions::default()), Err(StorageError::Missing { .. })));
}

#[test]
fn links_are_kept_with_their_targets_counted_from_the_top() {
    let directory = tree(&["lib/one", "other/two"]);
    symlink("one", directory.path().join("lib/alias")).unwrap();
    symlink("../other", directory.path().join("lib/directory")).unwrap();
    let files = scan(directory.path(), &with(Symlinks::Keep)).unwrap();
    let targets: Vec<_> = files.into_iter().filter_map(|file| file.symlink_target).collect();
    assert_eq!(targets, [vec!["lib".to_owned(), "one".into()], vec!["other".into()]]);
}

#[test]
fn a_kept_link_may_not_lead_outside() {
    for target in ["../x", "/etc/passwd", "a/../../x", "."] {
        let directory = tree(&["a"]);
        symlink(target, directory.path().join("link")).unwrap();
        let error = refused(&directory, &with(Symlinks::Keep));
        assert!(error.contains("/link: the symbolic link points to"), "{error}");
    }
}

#[test]
fn links_are_followed_or_refused_on_demand() {
    let outside = tree(&["far/away"]);
    let directory = tree(&["a"]);
    symlink(outside.path().join("far"), directory.path().join("link")).unwrap();
    assert_eq!(listed(&directory, &with(Symlinks::Follow)), ["a", "link/away"]);
    assert!(refused(&directory, &with(Symlinks::Refuse)).contains("/link: is a symbolic link"));
}

#[test]
fn a_loop_of_links_is_an_error_with_its_path() {
    let directory = tree(&["sub/a"]);
    symlink("..", directory.path().join("sub/up")).unwrap();
    let error = refused(&directory, &with(Symlinks::Follow));
    assert!(error.contains("sub/up: cannot follow the link"), "{error}");
}

#[test]
fn a_pipe_is_refused_unless_excluded() {
    let directory = tree(&["a"]);
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(refused(&directory, &ScanOptions::default()).ends_with("/pipe: not a regular file"));
    let options = ScanOptions { exclude: vec!["pipe".into()], ..ScanOptions::default() };
    assert_eq!(listed(&directory, &options), ["a"]);
}

#[test]
fn a_name_that_is_not_utf8_is_refused_unless_excluded() {
    let directory = tree(&["a"]);
    fs::write(directory.path().join(OsStr::from_bytes(b"\xff.txt")), "").unwrap();
    let error = refused(&directory, &ScanOptions::default());
    assert!(error.contains(".txt: the name is not UTF-8"), "{error}");
    let options = ScanOptions { exclude: vec!["*.txt".into()], ..ScanOptions::default() };
    assert_eq!(listed(&directory, &options), ["a"]);
}

#[test]
fn what_may_not_be_read_is_an_error_with_its_path() {
    let directory = tree(&["secret", "locked/x"]);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(directory.path().join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = crate::testing::as_nobody(|| refused(&directory, &ScanOptions::default()));
    assert!(error.contains("/secret: cannot read: Permission denied"), "{error}");
    fs::remove_file(directory.path().join("secret")).unwrap();
    fs::set_permissions(directory.path().join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = crate::testing::as_nobody(|| refused(&directory, &ScanOptions::default()));
    assert!(error.contains("/locked: cannot look at: Permission denied"), "{error}");
    fs::set_permissions(directory.path().join("locked"), fs::Permissions::from_mode(0o755)).unwrap();
}
