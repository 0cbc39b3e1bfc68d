//! Opening the database: whose it is, which version, whether it is whole; and what happens if not.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::CatalogueError;
use crate::kept::KeptFolder;
use crate::limits::{BUSY_MS, LOG_BYTES, WHOLE_CHECK_BYTES};
use crate::lock::Lock;
use crate::log_header;
use crate::read::each_torrent;
use crate::rebuild::{Rebuilt, is_readable, rebuild};
use crate::schema::{self, APPLICATION_ID, STEPS, migrate};
use crate::set_aside::{is_log_without_database, set_aside};

const NAME: &str = "catalogue.sqlite";

/// What every database of SQLite starts with, and where its header holds our two numbers (fileformat2, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

/// Tables that are always checked: all but the metainfo, which is large and proved by its info-hash.
const CHECKED_TABLES: [&str; 12] = [
    "folder",
    "tiers",
    "torrent",
    "verified",
    "unkept",
    "release",
    "release_sums",
    "release_output",
    "setting",
    "feed",
    "feed_item",
    "delivery",
];

/// A database that is well, and held.
pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) reader: Connection,
    pub(crate) lock: Lock,
    pub(crate) path: PathBuf,
    pub(crate) kept: KeptFolder,
    pub(crate) rebuilt: Option<Rebuilt>,
}

/// Opens the database of a state directory. One that cannot be used is set aside, and a new one filled.
pub(crate) fn open(dir: &Path) -> Result<Opened, CatalogueError> {
    // What is in it names places, and may name keys of embargoes: nobody else's business.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(CatalogueError::io(dir, "make the state directory"))?;
    let lock = Lock::take(dir)?;
    let kept = KeptFolder::of(dir);
    kept.make()?;
    let path = dir.join(NAME);

    let mut aside = None;
    if is_log_without_database(&path) {
        aside = Some(set_aside(&path, "its log was there without it".to_owned())?);
    } else if log_header::is_damaged(&path).map_err(CatalogueError::io(&path, "look at the log of"))? {
        aside = Some(set_aside(&path, "its log is damaged".to_owned())?);
    }
    let was_missing = path.metadata().map_or(true, |database| database.len() == 0);
    let opened = open_writer(&path, lock.was_closed).and_then(|writer| {
        if !was_missing && !lock.was_closed {
            look_for_lost(&writer, &path, &kept)?;
        }
        Ok(writer)
    });
    let (mut writer, is_lost) = match opened {
        Ok(writer) => (writer, was_missing),
        Err(CatalogueError::Damaged { what, .. }) => {
            aside = Some(set_aside(&path, what)?);
            (open_writer(&path, true)?, true)
        }
        Err(error) => return Err(error),
    };
    let has_copies = is_lost && !kept.states().map_err(CatalogueError::io(kept.path(), "list"))?.is_empty();
    let rebuilt = match has_copies || aside.is_some() {
        true => Some(rebuild(&mut writer, &path, &kept, aside)?),
        false => None,
    };
    let reader = open_reader(&path)?;
    Ok(Opened { writer, reader, lock, path, kept, rebuilt })
}

fn open_writer(path: &Path, was_closed: bool) -> Result<Connection, CatalogueError> {
    look_at_header(path)?;
    // SQLite gives its other files the mode of this one.
    let made = File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(CatalogueError::io(path, "open"))?;
    let asked = CatalogueError::sqlite(path);
    let mut connection = connect(path).map_err(&asked)?;
    configure(&connection).map_err(&asked)?;
    let found = schema::version(&connection).map_err(&asked)?;
    look_at_owner(&connection, path, found)?;
    migrate(&mut connection, STEPS).map_err(&asked)?;
    check(&connection, path, was_closed)?;
    // What no torrent uses any more goes, so that years of changing trees leave nothing behind.
    connection
        .execute_batch(
            "DELETE FROM folder WHERE id NOT IN (SELECT folder FROM torrent
                 UNION ALL SELECT moving_folder FROM torrent WHERE moving_folder IS NOT NULL);
             DELETE FROM tiers WHERE id NOT IN (SELECT tiers FROM torrent WHERE tiers IS NOT NULL);",
        )
        .map_err(&asked)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, CatalogueError> {
    let asked = CatalogueError::sqlite(path);
    let reader = connect(path).map_err(&asked)?;
    configure(&reader).map_err(&asked)?;
    reader.pragma_update(None, "query_only", true).map_err(&asked)?;
    Ok(reader)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, and a path is no URI.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS))?;
    Ok(connection)
}

/// Reasons: engine/decisions/catalogue.md.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))
}

/// Refuses a newer version's database before anything touches it, and says what is no database at all.
fn look_at_header(path: &Path) -> Result<(), CatalogueError> {
    let mut header = [0; HEADER_BYTES];
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CatalogueError::io(path, "open")(error)),
        Ok(mut file) => match file.metadata().map(|file| file.len()).map_err(CatalogueError::io(path, "look at"))? {
            0 => return Ok(()),
            1..100 => return Err(CatalogueError::damaged(path, "too short for a database")),
            _ => file.read_exact(&mut header).map_err(CatalogueError::io(path, "read"))?,
        },
    }
    if header[..16] != *MAGIC {
        return Err(CatalogueError::damaged(path, "not a database"));
    }
    let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    if number(APPLICATION_ID_AT) == APPLICATION_ID {
        refuse_newer(path, number(USER_VERSION_AT).into())?;
    }
    Ok(())
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), CatalogueError> {
    let known = STEPS.len() as i64;
    if found > known {
        return Err(CatalogueError::Newer { path: path.to_path_buf(), found, known });
    }
    Ok(())
}

/// The same through the log, which may be newer than the header.
fn look_at_owner(connection: &Connection, path: &Path, found: i64) -> Result<(), CatalogueError> {
    let asked = CatalogueError::sqlite(path);
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&asked)?;
    if application_id == APPLICATION_ID && found > 0 {
        return refuse_newer(path, found);
    }
    // A crash while it was made leaves one without tables.
    let is_empty = schema::statements(connection).map_err(&asked)?.is_empty();
    match is_empty && application_id == 0 && found == 0 {
        true => Ok(()),
        false => Err(CatalogueError::damaged(path, "another program's database")),
    }
}

/// Whether the database is whole. SQLite's check takes time by size, so that much of it is left out where nothing says that
/// something may be wrong; each torrent is read in any case.
fn check(connection: &Connection, path: &Path, was_closed: bool) -> Result<(), CatalogueError> {
    let asked = CatalogueError::sqlite(path);
    let tables = schema::statements(connection).map_err(&asked)?;
    if tables != schema::expected_statements(STEPS).map_err(&asked)? {
        return Err(CatalogueError::damaged(path, "its tables are not those of its version"));
    }
    let size_bytes = path.metadata().map_or(0, |database| database.len());
    if !was_closed && size_bytes <= WHOLE_CHECK_BYTES {
        ask_sqlite(connection, path, "PRAGMA quick_check(1)")?;
    }
    // That their indexes hold what they hold, too: an index that does not finds torrents that are not there.
    for table in CHECKED_TABLES {
        ask_sqlite(connection, path, &format!("PRAGMA integrity_check({table})"))?;
    }
    each_torrent(connection, drop).map_err(&asked)
}

/// After an end that was none: whether there are torrents of which only the second copies know. The database knows of each
/// before its copy is written, and until it is removed; where it does not, its log was lost.
fn look_for_lost(connection: &Connection, path: &Path, kept: &KeptFolder) -> Result<(), CatalogueError> {
    let asked = CatalogueError::sqlite(path);
    let known: HashSet<String> = names_of_copies(connection).map_err(&asked)?;
    let is_lost = |state: &&PathBuf| {
        let name = state.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        // One that cannot be read was passed over before.
        !known.contains(name) && is_readable(kept, state)
    };
    let states = kept.states().map_err(CatalogueError::io(kept.path(), "list"))?;
    let lost = states.iter().filter(is_lost).count();
    match lost {
        0 => Ok(()),
        _ => Err(CatalogueError::damaged(path, format!("{lost} torrents are not in it that have second copies"))),
    }
}

/// The names of all copies that there may be: of torrents, and of those whose copies are still to go.
fn names_of_copies(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut query = connection.prepare(
        "SELECT lower(hex(coalesce(info_hash_v1, substr(info_hash_v2, 1, 20)))) FROM torrent
         UNION ALL SELECT name FROM unkept",
    )?;
    query.query_map([], |row| row.get(0))?.collect()
}

fn ask_sqlite(connection: &Connection, path: &Path, question: &str) -> Result<(), CatalogueError> {
    let answer: String = connection.query_row(question, [], |row| row.get(0)).map_err(CatalogueError::sqlite(path))?;
    if answer == "ok" {
        Ok(())
    } else {
        Err(CatalogueError::damaged(path, answer.lines().next().unwrap_or("no answer")))
    }
}

#[cfg(test)]
mod tests;
