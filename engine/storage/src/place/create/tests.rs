use std::os::unix::fs::symlink;

use metainfo::{FileLayout, Version};

use super::*;
use crate::Place;
use crate::testing::Tree;

/// The layout of a torrent with these files, and an empty directory to make them in.
fn target(files: &[(&str, usize)]) -> (FileLayout, tempfile::TempDir, Root) {
    let layout = Tree::new(files).builder(Version::V1, 16 * 1024).layout().clone();
    let directory = tempfile::tempdir().unwrap();
    let root = Place::under(directory.path().join("new/place")).top(&layout).enter_or_create().unwrap();
    (layout, directory, root)
}

#[test]
fn folders_are_made_on_the_way_and_found_the_second_time() {
    let (layout, directory, root) = target(&[("x/y/z", 5), ("x/w", 5)]);
    for _ in 0..2 {
        for entry in layout.files() {
            root.open_or_create(entry.path()).unwrap();
        }
    }
    assert!(directory.path().join("new/place/release/x/y/z").is_file());
}

#[test]
fn every_folder_with_a_new_name_is_synced_up_to_the_one_that_holds_the_top() {
    let (layout, directory, root) = target(&[("x/y/z", 5)]);
    let place = directory.path().join("new/place");
    let folders: Vec<PathBuf> = root.top.folders_to(layout.files()[0].path()).collect();
    let expected = ["release/x/y", "release/x", "release", ""].map(|folder| place.join(folder));
    assert_eq!(folders, expected);
}

#[test]
fn a_link_within_the_content_points_from_where_it_stands() {
    let (layout, directory, root) = target(&[("x/y/link", 5), ("z/file", 5)]);
    let [link, file] = [0, 1].map(|index: usize| layout.files()[index].path());
    root.open_or_create(file).unwrap();
    assert!(root.link(link, file).unwrap());
    let path = directory.path().join("new/place/release/x/y/link");
    assert_eq!(std::fs::read_link(&path).unwrap(), PathBuf::from("../../z/file"));
    assert!(path.is_file());
    assert!(!root.link(link, file).unwrap(), "what is there is left alone");
}

#[test]
fn a_link_that_another_one_turns_outwards_is_taken_away_again() {
    let (layout, directory, root) = target(&[("x/y/link", 5), ("z/file", 5)]);
    let top = directory.path().join("new/place/release");
    std::fs::write(directory.path().join("new/place/z"), "secret").unwrap();
    // The folder x/y is the top itself, so that `../../z/file` leads out of it.
    std::fs::create_dir(top.join("x")).unwrap();
    symlink("..", top.join("x/y")).unwrap();
    let [link, file] = [0, 1].map(|index: usize| layout.files()[index].path());
    assert!(!root.link(link, file).unwrap());
    assert!(top.join("link").symlink_metadata().is_err());
}

#[test]
fn a_pipe_in_the_way_does_not_make_anybody_wait() {
    let (layout, directory, root) = target(&[("a", 5)]);
    let path = directory.path().join("new/place/release/a");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let error = root.open_or_create(layout.files()[0].path()).unwrap_err();
    assert!(matches!(error, StorageError::NotAFile { .. }), "{error}");
}
