//! Torrents, read.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use hash::{InfoHash, Sha1Digest, Sha256Digest};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::content_place::ContentPlace;
use crate::convert::{Columns, decode_tiers, os_str, super_seeding_from_word, unreadable};
use crate::metainfo_row::Metainfo;
use crate::torrent::{Fault, Origin, Shape, Tiers, TorrentLimits, TorrentNumber, TorrentRow, TorrentTotals, Wanted};

/// The columns in the order in which [`Interned::torrent`] takes them.
const COLUMNS: &str = "id, info_hash_v1, info_hash_v2, info_hash_misread, name, size_bytes, piece_count, is_private, \
    origin, origin_label, origin_item, folder, own_name, follows_links, \
    moving_folder, moving_own_name, moving_follows_links, wanted, group_name, \
    upload_limit, download_limit, seed_ratio_permille, seed_time_s, super_seeding, tiers, \
    added_at_s, completed_at_s, first_copy_at_s, release_at_s, \
    uploaded_bytes, downloaded_bytes, seeded_s, fault, fault_at_s";

/// Every torrent, by its number.
pub(crate) fn each_torrent(connection: &Connection, mut each: impl FnMut(TorrentRow)) -> rusqlite::Result<()> {
    let mut interned = Interned::new(connection);
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM torrent ORDER BY id"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        each(interned.torrent(row)?);
    }
    Ok(())
}

/// One torrent.
pub(crate) fn one_torrent(connection: &Connection, number: TorrentNumber) -> rusqlite::Result<Option<TorrentRow>> {
    let mut interned = Interned::new(connection);
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM torrent WHERE id = ?1"))?;
    query.query_row([number.0], |row| interned.torrent(row)).optional()
}

/// The torrent of that name.
pub(crate) fn find(connection: &Connection, info_hash: InfoHash) -> rusqlite::Result<Option<TorrentNumber>> {
    let (least, most) = prefix(info_hash);
    let mut query = connection.prepare_cached(
        "SELECT id FROM torrent WHERE info_hash_v1 = ?1
         UNION ALL SELECT id FROM torrent WHERE info_hash_v2 BETWEEN ?2 AND ?3 LIMIT 1",
    )?;
    query.query_row((info_hash.0, least, most), |row| row.get(0).map(TorrentNumber)).optional()
}

/// The torrent whose second copy has that name: its first info-hash.
pub(crate) fn number_of_kept(connection: &Connection, name: InfoHash) -> rusqlite::Result<Option<TorrentNumber>> {
    let (least, most) = prefix(name);
    let mut query = connection.prepare_cached(
        "SELECT id FROM torrent WHERE info_hash_v1 = ?1
         UNION ALL SELECT id FROM torrent WHERE info_hash_v2 BETWEEN ?2 AND ?3 AND info_hash_v1 IS NULL LIMIT 1",
    )?;
    query.query_row((name.0, least, most), |row| row.get(0).map(TorrentNumber)).optional()
}

/// The v2 info-hashes that begin so.
fn prefix(info_hash: InfoHash) -> ([u8; 32], [u8; 32]) {
    let (mut least, mut most) = ([0; 32], [0xff; 32]);
    least[..20].copy_from_slice(&info_hash.0);
    most[..20].copy_from_slice(&info_hash.0);
    (least, most)
}

/// What a torrent is known by.
pub(crate) fn metainfo(connection: &Connection, number: TorrentNumber) -> rusqlite::Result<Option<Metainfo>> {
    let mut query = connection.prepare_cached("SELECT kind, bytes FROM metainfo WHERE torrent = ?1")?;
    let read = |row: &Row<'_>| {
        let kind: String = row.get(0)?;
        Metainfo::from_parts(&kind, row.get(1)?).ok_or_else(|| unreadable(1, "is not what its kind says"))
    };
    query.query_row([number.0], read).optional()
}

/// That a torrent's content was verified.
pub(crate) fn verified(connection: &Connection, number: TorrentNumber) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut query = connection.prepare_cached("SELECT record FROM verified WHERE torrent = ?1")?;
    query.query_row([number.0], |row| row.get(0)).optional()
}

/// What many torrents share, held once.
struct Interned<'a> {
    connection: &'a Connection,
    folders: HashMap<i64, Arc<Path>>,
    tiers: HashMap<i64, Tiers>,
    words: HashSet<Arc<str>>,
    no_tiers: Tiers,
}

impl<'a> Interned<'a> {
    fn new(connection: &'a Connection) -> Interned<'a> {
        Interned {
            connection,
            folders: HashMap::new(),
            tiers: HashMap::new(),
            words: HashSet::new(),
            no_tiers: Arc::from([]),
        }
    }

    fn torrent(&mut self, row: &Row<'_>) -> rusqlite::Result<TorrentRow> {
        let mut columns = Columns::of(row);
        Ok(TorrentRow {
            number: TorrentNumber(columns.take()?),
            info_hash_v1: columns.take::<Option<_>>()?.map(Sha1Digest),
            info_hash_v2: columns.take::<Option<_>>()?.map(Sha256Digest),
            info_hash_misread: columns.take::<Option<_>>()?.map(InfoHash),
            name: columns.take::<String>()?.into(),
            shape: shape(&mut columns)?,
            origin: self.origin(&mut columns)?,
            content: self.content(&mut columns)?.ok_or_else(|| unreadable(11, "no folder"))?,
            moving_to: self.content(&mut columns)?,
            wanted: columns.word(Wanted::from_word)?,
            group: columns.take::<Option<String>>()?.map(|group| self.word(&group)),
            limits: limits(&mut columns)?,
            tiers: self.tiers(columns.take()?)?,
            added_at_s: columns.take()?,
            completed_at_s: columns.take()?,
            first_copy_at_s: columns.take()?,
            release_at_s: columns.take()?,
            totals: TorrentTotals {
                uploaded_bytes: columns.amount()?,
                downloaded_bytes: columns.amount()?,
                seeded_s: columns.amount()?,
            },
            fault: match (columns.take()?, columns.take()?) {
                (Some(text), Some(at_s)) => Some(Fault { text, at_s }),
                _ => None,
            },
        })
    }

    fn origin(&mut self, columns: &mut Columns<'_, '_>) -> rusqlite::Result<Origin> {
        let (word, label, item): (String, Option<String>, Option<Vec<u8>>) =
            (columns.take()?, columns.take()?, columns.take()?);
        let origin = Origin::from_parts(&word, label.as_deref(), item.as_deref());
        let mut origin = origin.ok_or_else(|| unreadable(8, format!("the origin {word:?} lacks something")))?;
        if let Origin::Published { label, .. } | Origin::Subscribed { label, .. } = &mut origin {
            *label = self.word(label);
        }
        Ok(origin)
    }

    fn content(&mut self, columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<ContentPlace>> {
        let (folder, own_name, follows_links): (Option<i64>, Option<Vec<u8>>, Option<bool>) =
            (columns.take()?, columns.take()?, columns.take()?);
        let Some(folder) = folder else { return Ok(None) };
        Ok(Some(ContentPlace {
            folder: self.folder(folder)?,
            own_name: own_name.map(|name| Arc::<OsStr>::from(os_str(&name))),
            follows_links: follows_links.unwrap_or(false),
        }))
    }

    fn folder(&mut self, id: i64) -> rusqlite::Result<Arc<Path>> {
        if let Some(folder) = self.folders.get(&id) {
            return Ok(Arc::clone(folder));
        }
        let mut query = self.connection.prepare_cached("SELECT path FROM folder WHERE id = ?1")?;
        let path: Option<Vec<u8>> = query.query_row([id], |row| row.get(0)).optional()?;
        let path = path.ok_or_else(|| unreadable(11, "a folder that is not there"))?;
        let folder: Arc<Path> = Path::new(os_str(&path)).into();
        self.folders.insert(id, Arc::clone(&folder));
        Ok(folder)
    }

    fn tiers(&mut self, id: Option<i64>) -> rusqlite::Result<Tiers> {
        let Some(id) = id else { return Ok(Arc::clone(&self.no_tiers)) };
        if let Some(tiers) = self.tiers.get(&id) {
            return Ok(Arc::clone(tiers));
        }
        let mut query = self.connection.prepare_cached("SELECT urls FROM tiers WHERE id = ?1")?;
        let urls: Option<Vec<u8>> = query.query_row([id], |row| row.get(0)).optional()?;
        let tiers = urls.and_then(|urls| decode_tiers(&urls)).ok_or_else(|| unreadable(24, "unreadable tiers"))?;
        self.tiers.insert(id, Arc::clone(&tiers));
        Ok(tiers)
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.words.insert(Arc::clone(&word));
        word
    }
}

fn shape(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Shape>> {
    let (size_bytes, piece_count, is_private) = (columns.amount_if_any()?, columns.take()?, columns.take()?);
    Ok(match (size_bytes, piece_count, is_private) {
        (Some(size_bytes), Some(piece_count), Some(is_private)) => Some(Shape { size_bytes, piece_count, is_private }),
        _ => None,
    })
}

fn limits(columns: &mut Columns<'_, '_>) -> rusqlite::Result<TorrentLimits> {
    Ok(TorrentLimits {
        upload_bytes_per_s: columns.amount_if_any()?,
        download_bytes_per_s: columns.amount_if_any()?,
        seed_ratio_permille: columns.amount_if_any()?,
        seed_time_s: columns.amount_if_any()?,
        super_seeding: match columns.take::<Option<String>>()? {
            None => None,
            Some(word) => {
                Some(super_seeding_from_word(&word).ok_or_else(|| unreadable(23, format!("{word:?} is not known")))?)
            }
        },
    })
}
