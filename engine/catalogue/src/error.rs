//! Why the catalogue did not do what was asked, and whose fault that is.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// An error of the catalogue. Its message is one line that says what to change, where anything can be.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Another process has the state directory.
    #[error(
        "{}: in use by process {pid}; stop that one, or give this one a state directory of its own", .dir.display()
    )]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// The other process.
        pid: u32,
    },
    /// The database was written by a newer version.
    #[error(
        "{}: written by a newer version (schema {found}, this version knows {known}); install that version again, or \
         move the file away", .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// There is no room on the disk. May pass.
    #[error("{}: the disk is full; make room, nothing that was kept is lost", .path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// The database or its directory cannot be written. May pass.
    #[error("{}: cannot be written (read-only, or another owner): {reason}", .path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What was refused.
        reason: String,
    },
    /// The system refused something. May pass.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the database for too long: a backup, or a shell. May pass.
    #[error("{}: locked by another process (a backup, or sqlite3?); let it finish", .path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// What stands in the database is not what was written. The next start sets it aside.
    #[error("{}: damaged ({what}); a restart sets it aside and goes on from the torrents at hand", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The change contradicts what is there: the same info-hash twice, a torrent that is gone, a limit that is reached.
    #[error("refused: {0}")]
    Refused(String),
    /// The catalogue was closed.
    #[error("the catalogue is closed")]
    Closed,
    /// SQLite said something that has no name here: our own mistake.
    #[error("{}: {source}", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl CatalogueError {
    /// Whether the same may succeed later without anybody changing it: the disk has room again, the lock is gone.
    pub fn may_pass(&self) -> bool {
        use CatalogueError as E;
        matches!(self, E::DiskFull { .. } | E::ReadOnly { .. } | E::Io { .. } | E::Busy { .. })
    }

    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> CatalogueError {
        move |source| explain(path, source)
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl Fn(io::Error) -> CatalogueError {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CatalogueError::DiskFull { path },
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    CatalogueError::ReadOnly { path, reason: format!("{action}: {source}") }
                }
                _ => CatalogueError::Io { path, action, source },
            }
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> CatalogueError {
        CatalogueError::Damaged { path: path.to_path_buf(), what: what.into() }
    }
}

fn explain(path: &Path, source: rusqlite::Error) -> CatalogueError {
    use rusqlite::Error as E;
    let path = path.to_path_buf();
    match &source {
        E::SqliteFailure(error, message) => {
            let said = message.clone().unwrap_or_else(|| error.to_string());
            match error.code {
                ErrorCode::DiskFull => CatalogueError::DiskFull { path },
                ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    CatalogueError::ReadOnly { path, reason: said }
                }
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => CatalogueError::Busy { path },
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => CatalogueError::Damaged { path, what: said },
                ErrorCode::ConstraintViolation => CatalogueError::Refused(said),
                ErrorCode::SystemIoFailure => {
                    CatalogueError::Io { path, action: "read or write it", source: io::Error::other(said) }
                }
                _ => CatalogueError::Sqlite { path, source },
            }
        }
        // A value of another kind than the column has: SQLite's checks do not look so deep.
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..)
        | E::InvalidColumnType(..) => CatalogueError::Damaged { path, what: source.to_string() },
        _ => CatalogueError::Sqlite { path, source },
    }
}
