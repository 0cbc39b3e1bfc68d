//! The state directory: torrent files that were made here, and what was verified. Nothing in it is needed to serve; what
//! is missing or broken is made again.

use hash::InfoHash;
use metainfo::Torrent;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{KnownFiles, StorageError, VerifiedRecord, write_atomically};

/// The name of the record beside a torrent file.
const RECORD_NAME: &str = "verified";

/// Where an engine keeps what it remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The given directory, or the customary one: what systemd gives, what XDG says, or `~/.local/state/spillway`.
    pub fn choose(given: Option<&Path>) -> Option<StateDir> {
        let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        // systemd gives a list with colons where a unit has more than one; the first is ours (systemd.exec(5)).
        let first = |list: PathBuf| std::env::split_paths(&list).next();
        given
            .map(Path::to_path_buf)
            .or_else(|| from("STATE_DIRECTORY").and_then(first))
            .or_else(|| Some(from("XDG_STATE_HOME")?.join("spillway")))
            .or_else(|| Some(from("HOME")?.join(".local/state/spillway")))
            .map(StateDir)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the torrent of the content at `path` is kept: a folder of its own, so that its name stays what it is.
    pub(crate) fn release_dir(&self, path: &Path) -> PathBuf {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let digest = hash::sha256(path.as_os_str().as_encoded_bytes()).to_string();
        self.0.join("releases").join(&digest[..16])
    }

    /// Where it is kept that a torrent's content in `data_dir` was verified.
    pub(crate) fn record_path(&self, torrent: &Torrent, data_dir: &Path) -> Option<PathBuf> {
        Some(self.0.join("verified").join(copy_name(torrent, data_dir)?))
    }

    /// Where it is kept what of a torrent was fetched into `data_dir` so far.
    pub(crate) fn fetch_record_path(&self, torrent: &Torrent, data_dir: &Path) -> Option<PathBuf> {
        Some(self.0.join("fetching").join(copy_name(torrent, data_dir)?))
    }
}

impl StateDir {
    /// Keeps what a magnet link stands for.
    pub(crate) fn remember_metainfo(&self, torrent: &Torrent) -> Result<(), StorageError> {
        let Some(bytes) = torrent.to_file_bytes() else { return Ok(()) };
        for info_hash in torrent.info_hashes() {
            let path = self.metainfo_path(info_hash);
            make_dir(path.parent().unwrap_or(Path::new(".")))?;
            write_atomically(&path, &bytes)?;
        }
        Ok(())
    }

    /// What peers have told of the torrent of this name when it was fetched by a link.
    pub fn resolved(&self, info_hash: InfoHash) -> Option<Torrent> {
        self.recall_metainfo(info_hash)
    }

    /// Forgets what is remembered of a torrent that was fetched into `data_dir`: if it is fetched again, all that is there is
    /// looked at first.
    pub fn forget(&self, torrent: &Torrent, data_dir: &Path) {
        let metainfo = torrent.info_hashes().map(|info_hash| self.metainfo_path(info_hash));
        let records = [self.record_path(torrent, data_dir), self.fetch_record_path(torrent, data_dir)];
        for path in metainfo.chain(records.into_iter().flatten()) {
            // Most of these were never there.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The torrent of this name, if an earlier run kept it.
    pub(crate) fn recall_metainfo(&self, info_hash: InfoHash) -> Option<Torrent> {
        let torrent = Torrent::parse(&read_bounded(&self.metainfo_path(info_hash)).ok()?).ok()?;
        torrent.info_hashes().any(|own| own == info_hash).then_some(torrent)
    }

    /// Where our node of the DHT keeps what it knows, in a folder that is there.
    pub(crate) fn dht_path(&self) -> Result<PathBuf, StorageError> {
        make_dir(&self.0)?;
        Ok(self.0.join("dht"))
    }

    fn metainfo_path(&self, info_hash: InfoHash) -> PathBuf {
        self.0.join("metainfo").join(format!("{info_hash}.torrent"))
    }
}

/// A name for a torrent's content in one place: there may be copies in others.
fn copy_name(torrent: &Torrent, data_dir: &Path) -> Option<String> {
    let info_hash = torrent.info_hashes().next()?;
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_path_buf());
    let digest = hash::sha256(data_dir.as_os_str().as_encoded_bytes()).to_string();
    Some(format!("{info_hash}-{}", &digest[..16]))
}

/// What an earlier run left in a release's folder, if it can be read.
pub(crate) fn recall(release_dir: &Path, name: &str) -> Option<KnownFiles> {
    let torrent = Torrent::parse(&read_bounded(&torrent_path(release_dir, name)).ok()?).ok()?;
    let mut known = KnownFiles::new();
    known.add(Arc::new(torrent), &read_record(&release_dir.join(RECORD_NAME))?, Vec::new()).then_some(known)
}

/// Where the torrent file of a release lies.
pub(crate) fn torrent_path(release_dir: &Path, name: &str) -> PathBuf {
    /// File names end at 255 bytes, and a temporary name is longer than the one it stands for.
    const NAME_BYTES: usize = 200;
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    release_dir.join(format!("{}.torrent", &name[..end]))
}

/// Finds out before the hashing whether its result can be kept.
pub(crate) fn check_writable(release_dir: &Path) -> Result<(), StorageError> {
    make_dir(release_dir)?;
    rustix::fs::access(release_dir, rustix::fs::Access::WRITE_OK).map_err(|errno| StorageError::Io {
        path: release_dir.to_path_buf(),
        action: "write in the directory",
        source: errno.into(),
    })
}

/// A file's bytes. One that is longer than any torrent or record is read no further than what shows that.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = metainfo::limits::MAX_TORRENT_BYTES.max(storage::RECORD_BYTES_MAX) as u64;
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Keeps a torrent file and the record of its content.
pub(crate) fn remember(
    release_dir: &Path,
    name: &str,
    torrent_file: &[u8],
    record: &VerifiedRecord,
) -> Result<PathBuf, StorageError> {
    make_dir(release_dir)?;
    let path = torrent_path(release_dir, name);
    write_atomically(&path, torrent_file)?;
    write_atomically(&release_dir.join(RECORD_NAME), &record.encode())?;
    Ok(path)
}

/// A record that was kept, if it can be read.
pub(crate) fn read_record(path: &Path) -> Option<VerifiedRecord> {
    VerifiedRecord::parse(&read_bounded(path).ok()?).ok()
}

/// Keeps a record.
pub(crate) fn write_record(path: &Path, record: &VerifiedRecord) -> Result<(), StorageError> {
    make_dir(path.parent().unwrap_or(Path::new(".")))?;
    write_atomically(path, &record.encode())
}

pub(crate) fn make_dir(path: &Path) -> Result<(), StorageError> {
    let failed = |source| StorageError::Io { path: path.to_path_buf(), action: "make the directory", source };
    std::fs::create_dir_all(path).map_err(failed)
}
