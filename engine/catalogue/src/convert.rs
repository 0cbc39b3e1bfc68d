//! Between the types of the catalogue and the columns of its tables.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bencode::{KeyOrder, Limits, Value};
use hash::Sha256Digest;
use metainfo::limits::{MAX_TRACKERS, MAX_URL_BYTES};
use rusqlite::types::{FromSql, Type};
use rusqlite::{Row, RowIndex};
use swarm::SuperSeeding;

use crate::feed::ItemState;
use crate::release::ReleaseState;
use crate::torrent::{Origin, StopCause, Tiers, Wanted};

/// Reads the columns of a row in their order.
pub(crate) struct Columns<'a, 'statement> {
    row: &'a Row<'statement>,
    at: usize,
}

impl<'a, 'statement> Columns<'a, 'statement> {
    pub(crate) fn of(row: &'a Row<'statement>) -> Columns<'a, 'statement> {
        Columns { row, at: 0 }
    }

    /// The next column.
    pub(crate) fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let at = self.at;
        self.at += 1;
        self.row.get(at)
    }

    /// The next column, which must be one of few words.
    pub(crate) fn word<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
        let at = self.at;
        let word: String = self.take()?;
        read(&word).ok_or_else(|| unreadable(at, format!("{word:?} is not known here")))
    }

    /// The next column, which is a size or a duration.
    pub(crate) fn amount(&mut self) -> rusqlite::Result<u64> {
        let at = self.at;
        let value: i64 = self.take()?;
        u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
    }

    /// The same, or nothing.
    pub(crate) fn amount_if_any(&mut self) -> rusqlite::Result<Option<u64>> {
        let at = self.at;
        let value: Option<i64> = self.take()?;
        value.map(u64::try_from).transpose().map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, -1))
    }
}

/// A value that its column cannot have.
pub(crate) fn unreadable(column: usize, why: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, why.into().into())
}

/// SQLite's integers end at 2^63, far above what anything here counts to.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn path_bytes(path: &(impl AsRef<OsStr> + ?Sized)) -> &[u8] {
    path.as_ref().as_bytes()
}

pub(crate) fn os_str(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

pub(crate) fn digest_at(row: &Row<'_>, index: impl RowIndex) -> rusqlite::Result<Sha256Digest> {
    row.get(index).map(Sha256Digest)
}

impl Wanted {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Stopped(StopCause::Operator) => "stopped",
            Wanted::Stopped(StopCause::Ratio) => "stopped-by-ratio",
            Wanted::Stopped(StopCause::Time) => "stopped-by-time",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Wanted> {
        match word {
            "running" => Some(Wanted::Running),
            "stopped" => Some(Wanted::Stopped(StopCause::Operator)),
            "stopped-by-ratio" => Some(Wanted::Stopped(StopCause::Ratio)),
            "stopped-by-time" => Some(Wanted::Stopped(StopCause::Time)),
            _ => None,
        }
    }
}

impl ReleaseState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            ReleaseState::Preparing => "preparing",
            ReleaseState::Published => "published",
            ReleaseState::Withdrawn => "withdrawn",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<ReleaseState> {
        match word {
            "preparing" => Some(ReleaseState::Preparing),
            "published" => Some(ReleaseState::Published),
            "withdrawn" => Some(ReleaseState::Withdrawn),
            _ => None,
        }
    }
}

impl ItemState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            ItemState::Skipped => "skipped",
            ItemState::Waiting => "waiting",
            ItemState::Taken => "taken",
            ItemState::Failed => "failed",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<ItemState> {
        match word {
            "skipped" => Some(ItemState::Skipped),
            "waiting" => Some(ItemState::Waiting),
            "taken" => Some(ItemState::Taken),
            "failed" => Some(ItemState::Failed),
            _ => None,
        }
    }
}

impl Origin {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Origin::Added => "added",
            Origin::Published { .. } => "published",
            Origin::Subscribed { .. } => "subscribed",
        }
    }

    /// The label and the item, or nothing.
    pub(crate) fn parts(&self) -> (Option<&str>, Option<&[u8]>) {
        match self {
            Origin::Added => (None, None),
            Origin::Published { label, path } => (Some(label), Some(path_bytes(path))),
            Origin::Subscribed { label, item } => (Some(label), Some(item.as_bytes())),
        }
    }

    pub(crate) fn from_parts(word: &str, label: Option<&str>, item: Option<&[u8]>) -> Option<Origin> {
        match (word, label, item) {
            ("added", None, None) => Some(Origin::Added),
            ("published", Some(label), Some(path)) => {
                Some(Origin::Published { label: label.into(), path: os_str(path).into() })
            }
            ("subscribed", Some(label), Some(item)) => {
                Some(Origin::Subscribed { label: label.into(), item: std::str::from_utf8(item).ok()?.into() })
            }
            _ => None,
        }
    }
}

pub(crate) fn super_seeding_word(value: SuperSeeding) -> &'static str {
    match value {
        SuperSeeding::Auto => "auto",
        SuperSeeding::On => "on",
        SuperSeeding::Off => "off",
    }
}

pub(crate) fn super_seeding_from_word(word: &str) -> Option<SuperSeeding> {
    match word {
        "auto" => Some(SuperSeeding::Auto),
        "on" => Some(SuperSeeding::On),
        "off" => Some(SuperSeeding::Off),
        _ => None,
    }
}

/// Tiers as bytes: lists of strings, bencoded.
pub(crate) fn encode_tiers(tiers: &[Vec<String>]) -> Vec<u8> {
    bencode::encode(|out| {
        out.list(|out| {
            for tier in tiers {
                out.list(|out| {
                    for url in tier {
                        out.bytes(url);
                    }
                });
            }
        });
    })
}

/// What [`encode_tiers`] wrote.
pub(crate) fn decode_tiers(bytes: &[u8]) -> Option<Tiers> {
    let limits = Limits { input_bytes: MAX_TRACKERS * (MAX_URL_BYTES + 16), depth: 2, keys: KeyOrder::Sorted };
    let Ok(Value::List(tiers)) = bencode::decode(bytes, &limits) else { return None };
    let url = |url: Value<'_>| url.as_str().map(str::to_owned);
    tiers.iter().map(|tier| tier.as_list()?.iter().map(url).collect()).collect()
}
