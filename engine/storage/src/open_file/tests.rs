use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::testing::{pattern, touch};

const SIZE: usize = 300_000;

/// A directory with the file `data` of [`SIZE`] bytes, written back so that it can be dropped from the cache.
fn data() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    fs::write(&path, pattern(0, SIZE)).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    (directory, path)
}

fn open_with(path: &Path, source: ResidencySource) -> OpenFile {
    let file = File::open(path).unwrap();
    let identity = status(&file).unwrap().identity;
    OpenFile::with_source(file, identity, path.to_path_buf(), source).unwrap()
}

fn open(path: &Path) -> OpenFile {
    open_with(path, ResidencySource::detect())
}

fn change(file: &OpenFile) -> Option<Change> {
    match file.check_unchanged() {
        Ok(()) => None,
        Err(StorageError::Changed { change, .. }) => Some(change),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_truncated_file_is_an_error_not_a_crash() {
    let (_directory, path) = data();
    let file = open(&path);
    assert_eq!(file.map().map(<[u8]>::len), Some(SIZE));
    assert_eq!(change(&file), None);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert_eq!(change(&file), Some(Change::Truncated { from_bytes: SIZE as u64, to_bytes: 1000 }));
    let mut bytes = [0; 4096];
    let error = file.read_at(&mut bytes, 8192).unwrap_err().to_string();
    assert!(error.ends_with("data: was truncated from 300000 to 1000 bytes while in use"), "{error}");
    assert!(file.read_nowait(&mut [IoSliceMut::new(&mut bytes)], 8192).is_err());
    assert_ne!(file.resident(8192, 4096), Some(true));
}

#[test]
fn a_send_from_the_map_of_a_truncated_file_fails_and_nothing_else() {
    let (_directory, path) = data();
    let file = open(&path);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let outcome = rustix::io::write(&writer, &file.map().unwrap()[8192..8200]);
    assert_eq!(outcome, Err(Errno::FAULT));
    drop(reader);
}

#[test]
fn growth_writes_replacement_and_deletion_are_told_apart() {
    let (directory, path) = data();
    touch(&path, 1000);
    let file = open(&path);
    touch(&path, 2000);
    assert_eq!(change(&file), Some(Change::Modified));

    let file = open(&path);
    let other = directory.path().join("other");
    fs::write(&other, pattern(0, SIZE)).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(change(&file), Some(Change::Deleted));

    let file = open(&path);
    let grown = (SIZE as u64, SIZE as u64 + 1);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(grown.1).unwrap();
    assert_eq!(change(&file), Some(Change::Grown { from_bytes: grown.0, to_bytes: grown.1 }));

    let file = open(&path);
    fs::remove_file(&path).unwrap();
    assert_eq!(change(&file), Some(Change::Deleted));
}

#[test]
fn rights_owners_and_links_may_change() {
    let (directory, path) = data();
    let file = open(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    fs::hard_link(&path, directory.path().join("second")).unwrap();
    assert_eq!(change(&file), None);
    fs::rename(&path, directory.path().join("moved")).unwrap();
    assert_eq!(change(&file), None);
}

#[test]
fn small_files_are_read_and_not_mapped() {
    let (_directory, path) = data();
    fs::write(&path, vec![1; MAP_MIN_BYTES as usize - 1]).unwrap();
    assert!(open(&path).map().is_none());
    fs::write(&path, vec![1; MAP_MIN_BYTES as usize]).unwrap();
    assert!(open(&path).map().is_some());
    fs::write(&path, []).unwrap();
    let file = open(&path);
    assert!(file.is_empty() && file.map().is_none());
}

#[test]
fn reads_that_may_not_wait_bring_cached_bytes() {
    let (_directory, path) = data();
    let file = open(&path);
    let (mut first, mut second) = ([0; 100], [0; 50]);
    file.read_at(&mut first, 1000).unwrap();
    let expected = pattern(0, SIZE);
    assert_eq!(first, expected[1000..1100]);
    let buffers = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    match file.read_nowait(buffers, 2000).unwrap() {
        ReadNow::Read(count) => assert_eq!(count, 150),
        ReadNow::Unsupported => return,
        ReadNow::Cold => panic!("the bytes were written a moment ago"),
    }
    assert_eq!(first, expected[2000..2100]);
    assert_eq!(second, expected[2100..2150]);
}

/// Drops the file from the page cache, as far as the file system lets go of it.
fn drop_from_cache(file: &OpenFile) {
    file.file.sync_all().unwrap();
    rustix::fs::fadvise(file.fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[test]
fn both_ways_to_ask_for_residency_agree() {
    let (_directory, path) = data();
    let by_stat = open_with(&path, ResidencySource::Cachestat);
    let by_core = open_with(&path, ResidencySource::Mincore);
    assert_eq!(by_core.residency_source(), ResidencySource::Mincore);
    if by_stat.residency_source() == ResidencySource::Unknown {
        assert_eq!(by_stat.resident(0, 1), None);
        return;
    }
    let pages = (SIZE as u64).div_ceil(crate::residency::page_bytes());
    let page = crate::residency::page_bytes();
    // Random access, so that the one read below brings one page and no read-ahead still in flight.
    rustix::fs::fadvise(by_stat.fd(), 0, None, rustix::fs::Advice::Random).unwrap();
    for (is_dropped, range) in [(false, 0), (true, 0), (true, 5)] {
        if is_dropped {
            drop_from_cache(&by_stat);
            by_stat.read_at(&mut [0; 10], range * page).unwrap();
        }
        for (offset, size) in [(0, SIZE as u64), (0, 1), (page - 1, 2), (page * 5, page), (page * 20 + 3, page * 7)] {
            let (stat, core) = (by_stat.residency(offset, size), by_core.residency(offset, size));
            assert_eq!(stat, core, "{offset} {size} {is_dropped}");
        }
        let whole = by_stat.residency(0, SIZE as u64).unwrap();
        assert_eq!(whole.total_pages, pages);
        assert_eq!(by_stat.resident(range * page, 10), Some(true));
        assert_eq!(by_stat.resident(0, 0), Some(true));
    }
}

#[test]
fn a_range_beyond_the_file_is_not_resident() {
    let (_directory, path) = data();
    for source in [ResidencySource::Cachestat, ResidencySource::Mincore] {
        let file = open_with(&path, source);
        assert_ne!(file.resident(SIZE as u64, 1 << 20), Some(true), "{source:?}");
        assert_ne!(file.resident(u64::MAX - 5, 100), Some(true), "{source:?}");
    }
    assert_eq!(open_with(&path, ResidencySource::Unknown).resident(0, 1), None);
}

#[test]
fn a_file_of_another_user_is_not_taken_for_resident() {
    let (directory, path) = data();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    drop_from_cache(&open(&path));
    crate::testing::as_nobody(|| {
        for source in [ResidencySource::Cachestat, ResidencySource::Mincore] {
            assert_ne!(open_with(&path, source).resident(0, SIZE as u64), Some(true), "{source:?}");
        }
    });
}

#[test]
fn reads_past_the_page_cache_bring_the_same_bytes_and_leave_no_pages() {
    let (_directory, path) = data();
    let file = open(&path);
    drop_from_cache(&file);
    let mut buffer = ReadBuffer::new(70_000);
    for (offset, size) in
        [(0, 70_000), (0, 1), (4095, 2), (4096, 4096), (5000, 60_000), (SIZE - 1, 1), (SIZE - 70_000, 70_000)]
    {
        if !file.read_direct(&mut buffer, offset as u64, size).unwrap() {
            return; // a file system without such reads
        }
        assert!(buffer[..] == pattern(0, SIZE)[offset..offset + size], "{size} bytes at {offset}");
    }
    assert!(file.residency(0, SIZE as u64).is_none_or(|residency| residency.resident_pages == 0));
}

#[test]
fn a_read_past_the_page_cache_meets_a_truncated_file_as_an_error() {
    let (_directory, path) = data();
    let file = open(&path);
    let mut buffer = ReadBuffer::new(70_000);
    for size in [100_000, 8192, 0] {
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
        match file.read_direct(&mut buffer, 60_000, 70_000) {
            Ok(false) => return,
            outcome => assert!(matches!(outcome, Err(StorageError::Changed { .. })), "{outcome:?} at {size}"),
        }
    }
}

/// A direct read of such a file ends on the alignment, and the next one brings nothing: neither is an error of its own.
#[test]
fn a_file_cut_at_a_page_ends_a_read_past_the_page_cache_and_does_not_hang_it() {
    let (_directory, path) = data();
    let file = open(&path);
    crate::testing::resize(&path, 8192);
    let mut buffer = ReadBuffer::new(70_000);
    for (offset, size) in [(0, 70_000), (5000, 60_000), (8192, 4096)] {
        let outcome = match file.read_direct(&mut buffer, offset, size) {
            // A file system without such reads; those that go instead end there too.
            Ok(false) => file.read_at(buffer.fill(size), offset).map(|()| true),
            outcome => outcome,
        };
        let expected = Change::Truncated { from_bytes: SIZE as u64, to_bytes: 8192 };
        assert!(
            matches!(outcome, Err(StorageError::Changed { change, .. }) if change == expected),
            "{outcome:?} at {offset}"
        );
    }
}

#[test]
fn a_read_past_the_page_cache_keeps_no_second_descriptor() {
    let (_directory, path) = data();
    let path = path.canonicalize().unwrap();
    let file = open(&path);
    let mut buffer = ReadBuffer::new(4096);
    // The file is this test's own, so that other tests' descriptors do not matter.
    let descriptors = || {
        let all = fs::read_dir("/proc/self/fd").unwrap();
        all.filter(|entry| entry.as_ref().is_ok_and(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path)))
            .count()
    };
    for offset in [0, 4096, 100_000] {
        file.read_direct(&mut buffer, offset, 4096).unwrap();
        assert_eq!(descriptors(), 1);
    }
}
