//! What the disk may do to a catalogue: be full, be read-only. It says so, keeps what it had, and goes on when the disk does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use catalogue::{Catalogue, CatalogueError, Change};
use support::{add, new_torrent, open};

/// A small disk, for as long as the test runs.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing where this process may not mount.
    fn mount(at: &Path) -> Option<SmallDisk> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk(at.to_path_buf()))
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_written_again_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path()) else {
        return println!("skipped: no disk can be mounted here");
    };
    let state = dir.path().join("state");
    let catalogue = open(&state);
    let first = add(&catalogue);
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 900 << 10]).unwrap();
    let mut added = vec![first];
    let error = loop {
        let number = catalogue.next_torrent();
        match catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new_torrent(number)))]) {
            Ok(()) => added.push(number),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CatalogueError::DiskFull { .. }), "{error}");
    assert!(error.may_pass());
    let held = |catalogue: &Catalogue| catalogue.torrents().unwrap().iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(held(&catalogue), added);
    std::fs::remove_file(&ballast).unwrap();
    added.push(add(&catalogue));
    assert_eq!(held(&catalogue), added);
    catalogue.close();
    let catalogue = open(&state);
    assert_eq!(held(&catalogue), added);
    catalogue.close();
}

#[test]
fn a_disk_that_turned_read_only_is_told_and_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        return println!("skipped: no disk can be mounted here");
    };
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    catalogue.close();
    disk.remount("ro");
    let Err(error) = Catalogue::open(dir.path()) else { panic!("it was opened") };
    assert!(matches!(error, CatalogueError::ReadOnly { .. }), "{error}");
    assert!(error.may_pass() && error.to_string().lines().count() == 1);
    disk.remount("rw");
    let catalogue = open(dir.path());
    assert!(catalogue.torrent(number).unwrap().is_some());
    catalogue.close();
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(error) = Catalogue::open(&file.join("state")) else { panic!("it was opened") };
    assert!(error.to_string().contains("file/state"), "{error}");
}
