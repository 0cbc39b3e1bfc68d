//! A database that was lost, made anew from the second copies.

use std::fmt;
use std::path::{Path, PathBuf};

use metainfo::{Magnet, Torrent};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::change::Change;
use crate::error::CatalogueError;
use crate::kept::KeptFolder;
use crate::kept::form::{self, Kept};
use crate::metainfo_row::Metainfo;
use crate::set_aside::SetAside;
use crate::torrent::NewTorrent;
use crate::write::{Counts, WriteError, apply};

/// Unreadable copies that are named; more are counted.
const NAMED_MAX: usize = 5;

/// A database was made anew. Its text is the one message for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The database that was there, unless it was missing.
    pub set_aside: Option<SetAside>,
    /// Torrents that are back.
    pub torrents: usize,
    /// Copies of torrents that cannot be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set_aside {
            Some(set_aside) => write!(f, "{set_aside}; ")?,
            None => f.write_str("the database was missing; ")?,
        }
        let torrents = self.torrents;
        write!(
            f,
            "a new one holds the {torrents} torrents that are in the state directory, with totals as of their last \
            change; lost are settings made at run time, waiting webhooks, and what was seen in feeds"
        )?;
        if !self.unreadable.is_empty() {
            write!(f, "; {} could not be read:", self.unreadable.len())?;
            for (path, why) in self.unreadable.iter().take(NAMED_MAX) {
                write!(f, " {} ({why})", path.display())?;
            }
        }
        Ok(())
    }
}

/// Fills a new database from the copies in `kept`. Those that cannot be read are passed over, and stay.
pub(crate) fn rebuild(
    connection: &mut Connection,
    database: &Path,
    kept: &KeptFolder,
    set_aside: Option<SetAside>,
) -> Result<Rebuilt, CatalogueError> {
    let mut rebuilt = Rebuilt { set_aside, torrents: 0, unreadable: Vec::new() };
    let states = kept.states().map_err(CatalogueError::io(kept.path(), "list"))?;
    let asked = CatalogueError::sqlite(database);
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&asked)?;
    let mut counts = Counts::default();
    for path in states {
        match read_one(kept, &path).and_then(|changes| bring_back(&mut transaction, &mut counts, &changes)) {
            Ok(()) => rebuilt.torrents += 1,
            Err(why) => rebuilt.unreadable.push((path, why)),
        }
    }
    // The copies are as the database is.
    transaction.execute("DELETE FROM unkept", []).map_err(&asked)?;
    transaction.commit().map_err(&asked)?;
    Ok(rebuilt)
}

/// Makes all changes of one copy or none: no torrent is back without its release.
fn bring_back(transaction: &mut Transaction<'_>, counts: &mut Counts, changes: &[Change]) -> Result<(), String> {
    // What is not committed is rolled back.
    let savepoint = transaction.savepoint().map_err(|error| error.to_string())?;
    let mut after = *counts;
    for change in changes {
        apply(&savepoint, &mut after, change).map_err(|error| match error {
            WriteError::Refused(why) => why,
            WriteError::Sqlite(error) => error.to_string(),
        })?;
    }
    savepoint.commit().map_err(|error| error.to_string())?;
    *counts = after;
    Ok(())
}

/// Whether a copy can be brought back.
pub(crate) fn is_readable(kept: &KeptFolder, path: &Path) -> bool {
    read_one(kept, path).is_ok()
}

/// The changes that bring one torrent back. The metainfo must be that of the info-hash in the state.
fn read_one(kept: &KeptFolder, path: &Path) -> Result<Vec<Change>, String> {
    let state = kept.read_state(path).map_err(|error| error.to_string())?;
    let Kept { row, verified, release } = form::decode(&state)?;
    let name = row.info_hashes().next().ok_or("no info-hash")?;
    let metainfo = kept.metainfo(name).map_err(|error| format!("its metainfo: {error}"))?;
    let info_hashes: Vec<_> = match &metainfo {
        Metainfo::TorrentFile(bytes) => {
            Torrent::parse(bytes).map_err(|error| error.to_string())?.info_hashes().collect()
        }
        Metainfo::Magnet(link) => link.parse::<Magnet>().map_err(|error| error.to_string())?.info_hashes().collect(),
    };
    if !row.info_hashes().eq(info_hashes) {
        return Err("its metainfo is another torrent's".to_owned());
    }
    let mut changes = vec![Change::AddTorrent(Box::new(NewTorrent { row, metainfo, verified }))];
    if let Some(form::KeptRelease { release, sums, outputs }) = release {
        let number = release.number;
        changes.push(Change::PutRelease(release));
        changes.push(Change::ReleaseSums(number, sums));
        changes.push(Change::ReleaseOutputs(number, outputs));
    }
    Ok(changes)
}
