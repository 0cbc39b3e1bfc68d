//! What the disk, and whoever else uses it, may do to a download: escapes, longer files, no room, no rights.

use super::*;
use crate::testing::as_nobody;

/// Which path is a trap, and how it is set in the torrent's folder.
type Trap<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_link_that_leads_out_is_never_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let fates: [Trap; 4] = [
        // The folder of the torrent, of a deeper level, the file itself, and a file that is not there yet.
        ("deep", &|top| symlink(elsewhere.path(), top.join("deep")).unwrap()),
        ("deep/er", &|top| {
            fs::create_dir(top.join("deep")).unwrap();
            symlink("../..", top.join("deep/er")).unwrap();
        }),
        ("a", &|top| {
            fs::write(elsewhere.path().join("victim"), "old").unwrap();
            symlink(elsewhere.path().join("victim"), top.join("a")).unwrap();
        }),
        ("a", &|top| symlink(elsewhere.path().join("new"), top.join("a")).unwrap()),
    ];
    for (name, fate) in fates {
        let download = Download::new(Version::V1, &FILES);
        fs::create_dir(download.path("")).unwrap();
        fate(&download.path(""));
        let error = download.refusal();
        assert!(matches!(error, StorageError::LeadsOutside { .. }), "{name}: {error}");
        assert!(error.to_string().contains(&format!("release/{name}")), "{error}");
        let outside: Vec<_> = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(outside.is_empty() || outside == ["victim"], "{outside:?}");
        assert!(!download.target.path().join("b").exists());
    }
    assert_eq!(fs::read(elsewhere.path().join("victim")).unwrap(), b"old");
}

#[test]
fn a_folder_that_a_link_moves_within_the_content_is_used() {
    let download = Download::new(Version::V2, &FILES);
    fs::create_dir_all(download.path("elsewhere")).unwrap();
    symlink("elsewhere", download.path("deep")).unwrap();
    let (partial, mut have) = download.open().into_have();
    download.fetch(&partial, &download.pieces(), &mut have);
    assert_eq!(fs::metadata(download.path("elsewhere/er/b")).unwrap().len(), 100_000);
}

#[test]
fn a_file_longer_than_the_torrent_says_is_left_alone_and_nothing_is_made() {
    let download = Download::new(Version::V1, &FILES);
    fs::create_dir(download.path("")).unwrap();
    fs::write(download.path("tiny"), "somebody's diary").unwrap();
    let error = download.refusal().to_string();
    assert!(error.ends_with("release/tiny: is 16 bytes, the torrent says 5"), "{error}");
    assert_eq!(fs::read(download.path("tiny")).unwrap(), b"somebody's diary");
    assert!(!download.path("a").exists() && !download.path("deep").exists());
}

#[test]
fn two_names_of_one_file_are_refused() {
    let download = Download::new(Version::V1, &FILES);
    fs::create_dir_all(download.path("deep/er")).unwrap();
    fs::write(download.path("a"), "").unwrap();
    fs::hard_link(download.path("a"), download.path("z")).unwrap();
    let error = download.refusal();
    // The longer of the two makes the file too long for the other, or both are found to be one.
    assert!(matches!(error, StorageError::SharedFile { .. } | StorageError::WrongSize { .. }), "{error}");
}

#[test]
fn a_folder_in_the_way_of_a_file_and_a_file_in_the_way_of_a_folder_are_named() {
    let download = Download::new(Version::V1, &FILES);
    fs::create_dir_all(download.path("a")).unwrap();
    assert!(matches!(download.refusal(), StorageError::NotAFile { .. }));
    fs::remove_dir(download.path("a")).unwrap();
    fs::write(download.path("deep"), "").unwrap();
    let error = download.refusal();
    assert!(matches!(error, StorageError::NotAFolder { .. }), "{error}");
}

#[test]
fn a_folder_that_may_not_be_written_is_an_error_with_its_name() {
    let download = Download::new(Version::V1, &FILES);
    let options = PartialOptions::default();
    let (torrent, place) = (download.torrent.clone(), download.place());
    fs::set_permissions(download.target.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let error = as_nobody(move || Partial::open(torrent, &place, &options).map(drop).unwrap_err());
    fs::set_permissions(download.target.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(error.to_string().contains("release: cannot make"), "{error}");
    assert!(!error.is_full());
}

#[test]
fn only_wanted_files_and_their_neighbours_are_made() {
    let files = [("a", 50_000), ("b", 10_000), ("c", 200_000), ("d", 50_000), ("e", 0)];
    for version in VERSIONS {
        let download = Download::new(version, &files);
        let c = file(&download.torrent, "c").get() as usize;
        let mut wanted = vec![false; download.torrent.layout().files().len()];
        wanted[c] = true;
        let options = PartialOptions { wanted_files: Some(wanted), ..PartialOptions::default() };
        let (partial, _) = Partial::open(download.torrent.clone(), &download.place(), &options).unwrap();
        // In v1 the first piece of `c` begins in `a` (bytes 32,768 on), and its last one ends in `d`.
        let neighbours = version == Version::V1;
        let made = ["a", "b", "d", "e"].map(|name| download.path(name).exists());
        assert_eq!(made, [neighbours, neighbours, neighbours, false], "{version:?}");
        let mut have = PieceSet::empty(download.torrent.layout());
        let wanted: Vec<PieceIndex> = partial.wanted().iter().collect();
        download.fetch(&partial, &wanted, &mut have);
        assert_eq!(fs::read(download.path("c")).unwrap(), fs::read(download.source.path("c")).unwrap());
        if neighbours {
            assert_eq!(fs::metadata(download.path("a")).unwrap().len(), 50_000);
        }
    }
}

/// Runs `act` where a file system of `bytes` is mounted at `path`, on a thread with mounts of its own. False where that is
/// not allowed.
fn with_small_disk(path: &Path, bytes: u64, act: impl FnOnce() + Send) -> bool {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::UnshareFlags;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread leaves the mounts of the process; it shares no file table that others count on.
            let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) };
            let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
            let mounted = unshared
                .and_then(|()| mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))
                .and_then(|()| mount("none", path, "tmpfs", MountFlags::empty(), Some(size.as_c_str())));
            mounted.map(|()| act()).is_ok()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_disk_that_fills_up_fails_its_pieces_and_goes_on_when_there_is_room() {
    let download = Download::new(Version::V1, &[("a", 200_000), ("b", 200_000)]);
    let pieces = download.pieces();
    let is_tried = with_small_disk(download.target.path(), 256 * 1024, || {
        let ballast = download.target.path().join("ballast");
        fs::write(&ballast, vec![1; 100_000]).unwrap();
        let error = download.refusal();
        assert!(error.is_full() && error.to_string().contains("release/"), "{error}");
        let sparse = PartialOptions { allocate: Allocation::Sparse, ..download.options() };
        let (partial, resumed) = Partial::open(download.torrent.clone(), &download.place(), &sparse).unwrap();
        let mut have = resumed.have;
        let mut pool = BufferPool::new(16 << 20);
        let buffers = pieces.iter().map(|piece| download.piece(*piece, &mut pool)).collect();
        let mut failed = Vec::new();
        for checked in partial.check_and_write(buffers, SECOND_NS) {
            match checked.verdict {
                Verdict::Good => have.insert(checked.buffers.piece),
                Verdict::Failed(error) => {
                    assert!(error.is_full() && error.path().is_some(), "{error}");
                    failed.push(checked.buffers);
                }
                Verdict::Bad => panic!("a full disk does not make a piece wrong"),
            }
        }
        assert!(!failed.is_empty());
        let bad: Vec<PieceIndex> = failed.iter().map(|buffers| buffers.piece).collect();
        assert_eq!(download.bad_pieces(), bad, "what was called good is on disk");
        fs::remove_file(&ballast).unwrap();
        // There still is no room for everything, but for some more.
        failed.truncate(2);
        let written = partial.check_and_write(failed, SECOND_NS);
        assert!(written.iter().all(|checked| matches!(checked.verdict, Verdict::Good)), "{written:?}");
    });
    if !is_tried {
        eprintln!("not tried: this user may not mount a small disk");
    }
}
