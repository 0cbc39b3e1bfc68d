//! The second copy of each torrent: plain files in `torrents/` of the state directory, from which a lost database is made
//! anew. `HASH.torrent` (or `HASH.magnet`) is what the torrent is, as it came, and of use to any other program;
//! `HASH.state` is the rest. They follow the database and are never read while it is well.

pub(crate) mod form;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hash::InfoHash;
use metainfo::limits::MAX_TORRENT_BYTES;
use rusqlite::Connection;
use storage::{RECORD_BYTES_MAX, StorageError, write_whole};

use crate::error::CatalogueError;
use crate::metainfo_row::Metainfo;
use crate::read;
use crate::torrent::TorrentNumber;
use form::Kept;

/// The longest state that is read: a record of every file, its SHA-256, and room for the rest.
const STATE_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;

/// What a torrent's metainfo is called after its info-hash, by kind; and its state.
const TORRENT: &str = "torrent";
const MAGNET: &str = "magnet";
const STATE: &str = "state";

/// The folder of second copies.
#[derive(Clone, Debug)]
pub(crate) struct KeptFolder(PathBuf);

impl KeptFolder {
    pub(crate) fn of(state_dir: &Path) -> KeptFolder {
        KeptFolder(state_dir.join("torrents"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn make(&self) -> Result<(), CatalogueError> {
        std::fs::create_dir_all(&self.0).map_err(CatalogueError::io(&self.0, "make the folder"))
    }

    /// Makes the copy of that name what the database says, or removes it with its torrent. [`KeptFolder::sync`] makes it last.
    pub(crate) fn follow(
        &self,
        connection: &Connection,
        database: &Path,
        name: InfoHash,
    ) -> Result<(), CatalogueError> {
        let asked = CatalogueError::sqlite(database);
        let Some(number) = read::number_of_kept(connection, name).map_err(&asked)? else { return self.remove(name) };
        let (Some(row), Some(metainfo)) = (
            read::one_torrent(connection, number).map_err(&asked)?,
            read::metainfo(connection, number).map_err(&asked)?,
        ) else {
            return self.remove(name);
        };
        self.write_metainfo(name, &metainfo)?;
        let release = release_of(connection, number).map_err(&asked)?;
        let verified = read::verified(connection, number).map_err(&asked)?;
        self.write(&self.file(name, STATE), &form::encode(&Kept { row, verified, release }))
    }

    /// A torrent file never changes under its info-hash in what matters, but its trackers may.
    fn write_metainfo(&self, name: InfoHash, metainfo: &Metainfo) -> Result<(), CatalogueError> {
        let (kind, other) = match metainfo {
            Metainfo::TorrentFile(_) => (TORRENT, MAGNET),
            Metainfo::Magnet(_) => (MAGNET, TORRENT),
        };
        let path = self.file(name, kind);
        if read_bounded(&path, MAX_TORRENT_BYTES).ok().as_deref() != Some(metainfo.bytes()) {
            self.write(&path, metainfo.bytes())?;
        }
        remove_if_there(&self.file(name, other))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CatalogueError> {
        write_whole(path, bytes).map_err(|error| match error {
            StorageError::Io { path, action, source } => CatalogueError::io(&path, action)(source),
            other => CatalogueError::Refused(other.to_string()),
        })
    }

    /// The state goes first: without it the rest is no torrent of ours.
    fn remove(&self, name: InfoHash) -> Result<(), CatalogueError> {
        [STATE, TORRENT, MAGNET].into_iter().try_for_each(|kind| remove_if_there(&self.file(name, kind)))
    }

    /// Returns when what was written and removed would stay so after a power failure.
    pub(crate) fn sync(&self) -> Result<(), CatalogueError> {
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(CatalogueError::io(&self.0, "sync the folder"))
    }

    fn file(&self, name: InfoHash, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    /// The metainfo of that name.
    pub(crate) fn metainfo(&self, name: InfoHash) -> io::Result<Metainfo> {
        match read_bounded(&self.file(name, TORRENT), MAX_TORRENT_BYTES) {
            Ok(bytes) => Ok(Metainfo::TorrentFile(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let link = read_bounded(&self.file(name, MAGNET), metainfo::limits::MAX_MAGNET_BYTES)?;
                Ok(Metainfo::Magnet(String::from_utf8(link).map_err(|_| io::ErrorKind::InvalidData)?))
            }
            Err(error) => Err(error),
        }
    }

    /// Every state in the folder, with its name.
    pub(crate) fn states(&self) -> io::Result<Vec<PathBuf>> {
        let mut states = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            // What is hidden is a file that was being written.
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.extension().is_some_and(|extension| extension == STATE) {
                states.push(path);
            }
        }
        states.sort();
        Ok(states)
    }

    pub(crate) fn read_state(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_bounded(path, STATE_BYTES_MAX)
    }
}

fn release_of(connection: &Connection, number: TorrentNumber) -> rusqlite::Result<Option<form::KeptRelease>> {
    let Some(release) = read::release_of_torrent(connection, number)? else { return Ok(None) };
    let sums = read::release_sums(connection, release.number)?.unwrap_or_default();
    let outputs = read::release_outputs(connection, release.number)?;
    Ok(Some(form::KeptRelease { release, sums, outputs }))
}

fn remove_if_there(path: &Path) -> Result<(), CatalogueError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CatalogueError::io(path, "remove")(error)),
        _ => Ok(()),
    }
}

fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
