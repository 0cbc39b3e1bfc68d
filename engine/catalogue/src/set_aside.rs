//! A database that cannot be used is renamed, never deleted: somebody may still want what is in it.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::CatalogueError;

/// What SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// How many databases of one second are told apart.
const NAMES_MAX: u32 = 1000;

/// A database that was set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    /// What it is called now.
    pub path: PathBuf,
    /// Why it could not be used.
    pub why: String,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database could not be used ({}) and was kept as {}", self.why, self.path.display())
    }
}

/// Renames the database at `path` with what belongs to it. The database goes first: were its log gone before it, a crash in
/// between would leave one that looks whole and lacks the last changes.
pub(crate) fn set_aside(path: &Path, why: String) -> Result<SetAside, CatalogueError> {
    const SET_ASIDE: &str = "set it aside";
    let new = free_name(path);
    if path.exists() {
        std::fs::rename(path, &new).map_err(CatalogueError::io(path, SET_ASIDE))?;
    }
    for suffix in BESIDE {
        let (old, new) = (with_suffix(path, suffix), with_suffix(&new, suffix));
        if old.exists() {
            std::fs::rename(&old, new).map_err(CatalogueError::io(&old, SET_ASIDE))?;
        }
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(CatalogueError::io(dir, SET_ASIDE))?;
    Ok(SetAside { path: new, why })
}

/// A log without its database: what a crash while it was set aside leaves.
pub(crate) fn is_log_without_database(path: &Path) -> bool {
    let log_bytes = with_suffix(path, "-wal").metadata().map_or(0, |log| log.len());
    path.metadata().map_or(0, |database| database.len()) == 0 && log_bytes > 0
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn free_name(path: &Path) -> PathBuf {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = with_suffix(path, &format!(".damaged-{}", stamp(now_s)));
    let is_free = |name: &PathBuf| !name.exists() && BESIDE.iter().all(|suffix| !with_suffix(name, suffix).exists());
    (0..NAMES_MAX)
        .map(|number| if number == 0 { name.clone() } else { with_suffix(&name, &format!(".{number}")) })
        .find(is_free)
        .unwrap_or(name)
}

/// A time of the proleptic Gregorian calendar, UTC, as it may stand in a file's name.
fn stamp(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days count from 1 March of the year 0, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + u64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_date() {
        assert_eq!(stamp(0), "1970-01-01T000000Z");
        assert_eq!(stamp(951_782_399), "2000-02-28T235959Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T000000Z");
        assert_eq!(stamp(1_709_164_800), "2024-02-29T000000Z");
        assert_eq!(stamp(1_798_761_599), "2026-12-31T235959Z");
        assert_eq!(stamp(4_107_542_400), "2100-03-01T000000Z");
    }

    #[test]
    fn nothing_that_was_set_aside_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalogue.sqlite");
        let mut kept = Vec::new();
        for content in ["one", "two", "three"] {
            std::fs::write(&path, content).unwrap();
            std::fs::write(with_suffix(&path, "-wal"), "log").unwrap();
            let aside = set_aside(&path, "test".to_owned()).unwrap();
            kept.push((aside.path, content));
        }
        assert!(!path.exists() && !with_suffix(&path, "-wal").exists());
        for (path, content) in kept {
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert!(with_suffix(&path, "-wal").exists());
        }
    }

    #[test]
    fn a_log_that_lost_its_database_is_no_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalogue.sqlite");
        assert!(!is_log_without_database(&path));
        std::fs::write(with_suffix(&path, "-wal"), "log").unwrap();
        assert!(is_log_without_database(&path));
        std::fs::write(&path, "").unwrap();
        assert!(is_log_without_database(&path));
        std::fs::write(&path, "database").unwrap();
        assert!(!is_log_without_database(&path));
    }
}
