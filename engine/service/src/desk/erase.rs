//! Deleting a torrent's content: the files that it names, and the folders that are empty then. Nothing else that lies there,
//! and nothing that a link leads to.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use catalogue::ContentPlace;
use metainfo::Torrent;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, open, openat2, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Deletes the content, but for the files at the paths of `spared`, which are other torrents' too; what is gone already is no
/// error.
pub(crate) fn erase(torrent: &Torrent, content: &ContentPlace, spared: &BTreeSet<PathBuf>) -> io::Result<()> {
    let layout = torrent.layout();
    let top = content.path(layout.name());
    if layout.is_single_file() {
        return if spared.contains(&top) { Ok(()) } else { gone(unlinkat(CWD, &top, AtFlags::empty())) };
    }
    let root = match open(&top, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut folders = BTreeSet::new();
    for file in layout.files().iter().filter(|file| !file.is_pad()) {
        let path = file.path().to_path_buf();
        if !spared.contains(&top.join(&path)) {
            erase_file(&root, &path)?;
        }
        folders.extend(path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_path_buf));
    }
    // The deepest first; one that holds something else stays.
    for folder in folders.iter().rev() {
        remove_if_empty(&root, folder)?;
    }
    match unlinkat(CWD, &top, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The paths of a torrent's files in this place.
pub(crate) fn files_at(torrent: &Torrent, content: &ContentPlace) -> Vec<PathBuf> {
    let layout = torrent.layout();
    let top = content.path(layout.name());
    match layout.is_single_file() {
        true => vec![top],
        false => {
            let files = layout.files().iter().filter(|file| !file.is_pad());
            files.map(|file| top.join(file.path().to_path_buf())).collect()
        }
    }
}

fn erase_file(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let Some(folder) = folder_of(root, path)? else { return Ok(()) };
    gone(unlinkat(&folder, path.file_name().unwrap_or_default(), AtFlags::empty()))
}

fn remove_if_empty(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let Some(folder) = folder_of(root, path)? else { return Ok(()) };
    match unlinkat(&folder, path.file_name().unwrap_or_default(), AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The folder that holds `path`, reached without a link; `None` if there is none.
fn folder_of(root: &OwnedFd, path: &Path) -> io::Result<Option<OwnedFd>> {
    let folder: PathBuf = Path::new(".").join(path.parent().unwrap_or(Path::new("")));
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(root, folder, FOLDER, Mode::empty(), resolve) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn torrent() -> Torrent {
        let info = b"d5:filesld6:lengthi1e4:pathl1:a1:beed6:lengthi1e4:pathl4:link1:ceee4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        Torrent::from_info(info).unwrap()
    }

    #[test]
    fn only_what_the_torrent_names_goes_and_no_link_leads_out() {
        let dir = TempDir::new().unwrap();
        let (top, outside) = (dir.path().join("t"), dir.path().join("outside"));
        fs::create_dir_all(top.join("a")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(top.join("a/b"), "x").unwrap();
        fs::write(top.join("mine"), "x").unwrap();
        fs::write(outside.join("c"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        erase(&torrent(), &ContentPlace::under(dir.path()), &BTreeSet::new()).unwrap();
        assert!(!top.join("a").exists());
        assert!(top.join("mine").exists() && outside.join("c").exists());
    }

    #[test]
    fn what_another_torrent_has_at_the_same_place_stays() {
        let dir = TempDir::new().unwrap();
        let top = dir.path().join("t");
        fs::create_dir_all(top.join("a")).unwrap();
        fs::create_dir(top.join("link")).unwrap();
        fs::write(top.join("a/b"), "x").unwrap();
        fs::write(top.join("link/c"), "x").unwrap();
        let info =
            b"d5:filesld6:lengthi2e4:pathl1:a1:beee4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let other = Torrent::from_info(info).unwrap();
        let here = ContentPlace::under(dir.path());
        erase(&torrent(), &here, &BTreeSet::from_iter(files_at(&other, &here))).unwrap();
        assert!(top.join("a/b").exists() && !top.join("link").exists());
        let single = |bytes: u8| {
            let info = format!("d6:lengthi{bytes}e4:name1:s12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
            Torrent::from_info(info.as_bytes()).unwrap()
        };
        fs::write(dir.path().join("s"), "x").unwrap();
        erase(&single(1), &here, &BTreeSet::from_iter(files_at(&single(2), &here))).unwrap();
        assert!(dir.path().join("s").exists());
    }

    #[test]
    fn what_another_torrent_has_in_a_folder_of_this_one_stays_and_the_other_way_round() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("t/a")).unwrap();
        fs::write(dir.path().join("t/a/b"), "x").unwrap();
        let single = b"d6:lengthi1e4:name1:b12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let inner = (Torrent::from_info(single).unwrap(), ContentPlace::under(dir.path().join("t/a")));
        let outer = (torrent(), ContentPlace::under(dir.path()));
        for (erased, other) in [(&outer, &inner), (&inner, &outer)] {
            erase(&erased.0, &erased.1, &BTreeSet::from_iter(files_at(&other.0, &other.1))).unwrap();
            assert!(dir.path().join("t/a/b").exists());
        }
        erase(&inner.0, &inner.1, &BTreeSet::new()).unwrap();
        assert!(!dir.path().join("t/a/b").exists());
    }

    #[test]
    fn content_that_is_gone_already_is_no_error() {
        let dir = TempDir::new().unwrap();
        erase(&torrent(), &ContentPlace::under(dir.path()), &BTreeSet::new()).unwrap();
        fs::create_dir_all(dir.path().join("t/a")).unwrap();
        erase(&torrent(), &ContentPlace::under(dir.path()), &BTreeSet::new()).unwrap();
        assert!(!dir.path().join("t").exists());
    }
}
