use std::fs;
use std::os::unix::fs::symlink;

use metainfo::Version;

use super::*;
use crate::error::Change;
use crate::seeded::Seeded;
use crate::testing::{Tree, resize, touch};

const PIECE: u32 = 32 * 1024;

fn tree() -> Tree {
    Tree::new(&[("a", 100_000), ("empty", 0), ("small", 100)])
}

fn opened(tree: &Tree) -> (FileLayout, Content) {
    let layout = tree.builder(Version::Hybrid, PIECE).layout().clone();
    let content = Content::open(&layout, &tree.place()).unwrap();
    (layout, content)
}

fn index(layout: &FileLayout, name: &str) -> FileIndex {
    layout.file_indices().find(|file| layout.file(*file).path().to_string() == name).unwrap()
}

#[test]
fn content_crosses_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Content>();
    is_shared::<Seeded>();
    is_shared::<OpenFile>();
}

#[test]
fn a_file_is_opened_once_and_closed_with_its_last_user() {
    let tree = tree();
    let (layout, content) = opened(&tree);
    let first = content.file(index(&layout, "a")).unwrap();
    let second = content.file(index(&layout, "a")).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((first.len(), first.map().map(<[u8]>::len)), (100_000, Some(100_000)));
    let watch = Arc::downgrade(&first);
    drop((first, second));
    assert!(watch.upgrade().is_none());
    assert_eq!(content.file(index(&layout, "small")).unwrap().len(), 100);
}

#[test]
fn what_has_no_bytes_and_what_is_of_another_torrent_is_not_opened() {
    let tree = tree();
    let (layout, content) = opened(&tree);
    let many: Vec<String> = (0..9).map(|name| name.to_string()).collect();
    let larger = Tree::new(&many.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    let stranger = larger.builder(Version::V1, PIECE).layout().file_indices().next_back().unwrap();
    let pad = layout.file_indices().find(|file| layout.file(*file).is_pad()).unwrap();
    for file in [stranger, pad, index(&layout, "empty")] {
        assert!(matches!(content.file(file), Err(StorageError::NoSuchFile { .. })));
    }
}

#[test]
fn a_file_of_another_size_is_refused_at_once() {
    let tree = tree();
    let (layout, _) = opened(&tree);
    resize(&tree.path("small"), 99);
    let error = Content::open(&layout, &tree.place()).unwrap_err();
    assert!(error.to_string().ends_with("release/small: is 99 bytes, the torrent says 100"), "{error}");
    fs::remove_file(tree.path("small")).unwrap();
    assert!(matches!(Content::open(&layout, &tree.place()), Err(StorageError::Missing { .. })));
}

#[test]
fn a_file_that_changed_before_it_was_first_used_is_refused() {
    let tree = tree();
    let (layout, content) = opened(&tree);
    touch(&tree.path("a"), 2_000_000);
    let error = content.file(index(&layout, "a")).unwrap_err();
    assert!(matches!(error, StorageError::Changed { change: Change::Modified, .. }), "{error}");
}

#[test]
fn the_watch_sees_what_the_open_file_cannot() {
    let tree = tree();
    let (layout, content) = opened(&tree);
    assert!(content.check_on_disk().is_ok());
    // With a second name the old inode keeps a link when its first name goes to another file.
    fs::hard_link(tree.path("a"), tree.path("second name")).unwrap();
    let open = content.file(index(&layout, "a")).unwrap();
    fs::write(tree.path("new"), vec![1; 100_000]).unwrap();
    fs::rename(tree.path("new"), tree.path("a")).unwrap();
    assert!(open.check_unchanged().is_ok());
    let error = content.check_on_disk().unwrap_err();
    assert!(error.to_string().ends_with("release/a: was replaced by another file while in use"), "{error}");
}

#[test]
fn the_watch_sees_deletion_and_a_directory_that_went_away() {
    let tree = tree();
    let (_, content) = opened(&tree);
    fs::rename(tree.path(""), tree.data_dir().join("elsewhere")).unwrap();
    assert!(content.check_on_disk().unwrap_err().to_string().ends_with("release: no such file"));
    fs::rename(tree.data_dir().join("elsewhere"), tree.data_dir().join("release")).unwrap();
    assert!(content.check_on_disk().is_ok());
    fs::remove_file(tree.path("small")).unwrap();
    assert!(content.check_on_disk().unwrap_err().to_string().ends_with("release/small: no such file"));
}

#[test]
fn the_top_may_be_a_link_to_anywhere() {
    let tree = tree();
    let (layout, _) = opened(&tree);
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(tree.path(""), elsewhere.path().join("release")).unwrap();
    let content = Content::open(&layout, &crate::Place::under(elsewhere.path())).unwrap();
    assert!(content.file(index(&layout, "a")).is_ok());
}

#[test]
fn the_first_error_ends_the_seeding_for_everyone() {
    let tree = tree();
    let (_, content) = opened(&tree);
    let seeded = Seeded::new(tree.torrent(Version::Hybrid, PIECE), content);
    assert!(seeded.error().is_none());
    assert!(seeded.fail(StorageError::Cancelled));
    assert!(!seeded.fail(StorageError::NoSuchFile { index: 1 }));
    assert!(matches!(seeded.error(), Some(StorageError::Cancelled)));
    assert_eq!(seeded.torrent().layout().name(), "release");
    assert_eq!(seeded.content().identity().len(), 2);
}
