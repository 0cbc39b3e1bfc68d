//! Torrents, written.

use metainfo::Torrent;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{Counts, WriteError, bounded, bounded_bytes};
use crate::change::TorrentChange;
use crate::content_place::ContentPlace;
use crate::convert::{encode_tiers, int, path_bytes, super_seeding_word};
use crate::limits::TORRENTS_MAX;
use crate::metainfo_row::Metainfo;
use crate::read::{find, one_torrent};
use crate::torrent::{NewTorrent, Tiers, TorrentNumber, TorrentRow, TorrentTotals};

const INSERT: &str = "INSERT INTO torrent VALUES (:id, :info_hash_v1, :info_hash_v2, :info_hash_misread, :name, \
    :size_bytes, :piece_count, :is_private, :origin, :origin_label, :origin_item, :folder, :own_name, :follows_links, \
    :moving_folder, :moving_own_name, :moving_follows_links, :wanted, :group_name, :upload_limit, :download_limit, \
    :seed_ratio_permille, :seed_time_s, :super_seeding, :tiers, :added_at_s, :completed_at_s, :first_copy_at_s, \
    :release_at_s, :uploaded_bytes, :downloaded_bytes, :seeded_s, :fault, :fault_at_s)";

pub(super) fn add(connection: &Connection, counts: &mut Counts, new: &NewTorrent) -> Result<(), WriteError> {
    if counts.torrents >= TORRENTS_MAX {
        return Err(WriteError::Refused(format!("there are {TORRENTS_MAX} torrents already")));
    }
    for info_hash in new.row.info_hashes() {
        if let Some(number) = find(connection, info_hash)? {
            let name = &new.row.name;
            return Err(WriteError::Refused(format!("{name}: is torrent {} already ({info_hash})", number.0)));
        }
    }
    insert(connection, &new.row)?;
    put_metainfo(connection, new.row.number, &new.metainfo)?;
    put_verified(connection, new.row.number, new.verified.as_deref())?;
    counts.torrents += 1;
    mark_unkept(connection, new.row.number)
}

fn insert(connection: &Connection, row: &TorrentRow) -> Result<(), WriteError> {
    let (label, item) = row.origin.parts();
    let place = Columns::of(connection, &row.content)?;
    let moving = row.moving_to.as_ref().map(|to| Columns::of(connection, to)).transpose()?;
    let limits = &row.limits;
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":id": row.number.0,
        ":info_hash_v1": row.info_hash_v1.map(|hash| hash.0),
        ":info_hash_v2": row.info_hash_v2.map(|hash| hash.0),
        ":info_hash_misread": row.info_hash_misread.map(|hash| hash.0),
        ":name": bounded("a name", &row.name)?,
        ":size_bytes": row.shape.map(|shape| int(shape.size_bytes)),
        ":piece_count": row.shape.map(|shape| shape.piece_count),
        ":is_private": row.shape.map(|shape| shape.is_private),
        ":origin": row.origin.word(),
        ":origin_label": label,
        ":origin_item": item.map(|item| bounded_bytes("an origin", item)).transpose()?,
        ":folder": place.folder,
        ":own_name": place.own_name,
        ":follows_links": place.follows_links,
        ":moving_folder": moving.as_ref().map(|to| to.folder),
        ":moving_own_name": moving.as_ref().and_then(|to| to.own_name),
        ":moving_follows_links": moving.as_ref().map(|to| to.follows_links),
        ":wanted": row.wanted.word(),
        ":group_name": row.group.as_deref(),
        ":upload_limit": limits.upload_bytes_per_s.map(int),
        ":download_limit": limits.download_bytes_per_s.map(int),
        ":seed_ratio_permille": limits.seed_ratio_permille.map(int),
        ":seed_time_s": limits.seed_time_s.map(int),
        ":super_seeding": limits.super_seeding.map(super_seeding_word),
        ":tiers": tiers_id(connection, &row.tiers)?,
        ":added_at_s": row.added_at_s,
        ":completed_at_s": row.completed_at_s,
        ":first_copy_at_s": row.first_copy_at_s,
        ":release_at_s": row.release_at_s,
        ":uploaded_bytes": int(row.totals.uploaded_bytes),
        ":downloaded_bytes": int(row.totals.downloaded_bytes),
        ":seeded_s": int(row.totals.seeded_s),
        ":fault": row.fault.as_ref().map(|fault| &fault.text),
        ":fault_at_s": row.fault.as_ref().map(|fault| fault.at_s),
    })?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, counts: &mut Counts, number: TorrentNumber) -> Result<(), WriteError> {
    mark_unkept(connection, number)?;
    let removed = connection.prepare_cached("DELETE FROM torrent WHERE id = ?1")?.execute([number.0])?;
    counts.torrents = counts.torrents.saturating_sub(removed as u64);
    Ok(())
}

pub(super) fn add_up(connection: &Connection, totals: &[(TorrentNumber, TorrentTotals)]) -> Result<(), WriteError> {
    let mut update = connection
        .prepare_cached("UPDATE torrent SET uploaded_bytes = ?2, downloaded_bytes = ?3, seeded_s = ?4 WHERE id = ?1")?;
    for (number, totals) in totals {
        let TorrentTotals { uploaded_bytes, downloaded_bytes, seeded_s } = *totals;
        update.execute((number.0, int(uploaded_bytes), int(downloaded_bytes), int(seeded_s)))?;
    }
    Ok(())
}

pub(super) fn change(connection: &Connection, number: TorrentNumber, change: &TorrentChange) -> Result<(), WriteError> {
    let id = number.0;
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(values);
    let changed = match change {
        TorrentChange::Metainfo(metainfo) => return resolve(connection, number, metainfo),
        TorrentChange::Verified(record) => {
            require(connection, number)?;
            put_verified(connection, number, record.as_deref())?;
            1
        }
        TorrentChange::Wanted(wanted) => run("UPDATE torrent SET wanted = ?2 WHERE id = ?1", &[&id, &wanted.word()])?,
        TorrentChange::Group(group) => {
            run("UPDATE torrent SET group_name = ?2 WHERE id = ?1", &[&id, &group.as_deref()])?
        }
        TorrentChange::Limits(limits) => run(
            "UPDATE torrent SET upload_limit = ?2, download_limit = ?3, seed_ratio_permille = ?4, seed_time_s = ?5,
             super_seeding = ?6 WHERE id = ?1",
            &[
                &id,
                &limits.upload_bytes_per_s.map(int),
                &limits.download_bytes_per_s.map(int),
                &limits.seed_ratio_permille.map(int),
                &limits.seed_time_s.map(int),
                &limits.super_seeding.map(super_seeding_word),
            ],
        )?,
        TorrentChange::Tiers(tiers) => {
            run("UPDATE torrent SET tiers = ?2 WHERE id = ?1", &[&id, &tiers_id(connection, tiers)?])?
        }
        TorrentChange::Content(place) => {
            let place = Columns::of(connection, place)?;
            run(
                "UPDATE torrent SET folder = ?2, own_name = ?3, follows_links = ?4, moving_folder = NULL,
                 moving_own_name = NULL, moving_follows_links = NULL WHERE id = ?1",
                &[&id, &place.folder, &place.own_name, &place.follows_links],
            )?
        }
        TorrentChange::MovingTo(place) => {
            let place = place.as_ref().map(|place| Columns::of(connection, place)).transpose()?;
            let (folder, own_name) = (place.as_ref().map(|to| to.folder), place.as_ref().and_then(|to| to.own_name));
            let follows_links = place.as_ref().map(|to| to.follows_links);
            run(
                "UPDATE torrent SET moving_folder = ?2, moving_own_name = ?3, moving_follows_links = ?4 WHERE id = ?1",
                &[&id, &folder, &own_name, &follows_links],
            )?
        }
        TorrentChange::Completed(at_s) => run("UPDATE torrent SET completed_at_s = ?2 WHERE id = ?1", &[&id, at_s])?,
        TorrentChange::FirstCopy(at_s) => run("UPDATE torrent SET first_copy_at_s = ?2 WHERE id = ?1", &[&id, at_s])?,
        TorrentChange::ReleaseAt(at_s) => run("UPDATE torrent SET release_at_s = ?2 WHERE id = ?1", &[&id, at_s])?,
        TorrentChange::Fault(fault) => {
            let (text, at_s) = (fault.as_ref().map(|fault| &fault.text), fault.as_ref().map(|fault| fault.at_s));
            run("UPDATE torrent SET fault = ?2, fault_at_s = ?3 WHERE id = ?1", &[&id, &text, &at_s])?
        }
    };
    if changed == 0 {
        return Err(gone(number));
    }
    mark_unkept(connection, number)
}

/// Takes over what a link stands for.
fn resolve(connection: &Connection, number: TorrentNumber, metainfo: &Metainfo) -> Result<(), WriteError> {
    let Metainfo::TorrentFile(bytes) = metainfo else {
        return Err(WriteError::Refused("a link does not resolve to a link".to_owned()));
    };
    let torrent = Torrent::parse(bytes).map_err(|error| WriteError::Refused(error.to_string()))?;
    let mut row = one_torrent(connection, number)?.ok_or_else(|| gone(number))?;
    if !row.info_hashes().any(|known| torrent.info_hashes().any(|own| own == known)) {
        return Err(WriteError::Refused(format!("torrent {}: the metainfo is another torrent's", number.0)));
    }
    // The second copy is called by the first info-hash, which may be another one now.
    mark_unkept(connection, number)?;
    let link_tiers = Tiers::clone(&row.tiers);
    row.is_of(&torrent);
    connection
        .prepare_cached(
            "UPDATE torrent SET info_hash_v1 = ?2, info_hash_v2 = ?3, info_hash_misread = ?4, name = ?5, size_bytes = ?6,
             piece_count = ?7, is_private = ?8, tiers = ?9 WHERE id = ?1",
        )?
        .execute((
            number.0,
            row.info_hash_v1.map(|hash| hash.0),
            row.info_hash_v2.map(|hash| hash.0),
            row.info_hash_misread.map(|hash| hash.0),
            bounded("a name", &row.name)?,
            row.shape.map(|shape| int(shape.size_bytes)),
            row.shape.map(|shape| shape.piece_count),
            row.shape.map(|shape| shape.is_private),
            // Metainfo from peers has no trackers; the link's are then kept.
            tiers_id(connection, if row.tiers.is_empty() { &link_tiers } else { &row.tiers })?,
        ))?;
    put_metainfo(connection, number, metainfo)?;
    mark_unkept(connection, number)
}

fn put_metainfo(connection: &Connection, number: TorrentNumber, metainfo: &Metainfo) -> Result<(), WriteError> {
    connection.prepare_cached("INSERT OR REPLACE INTO metainfo VALUES (?1, ?2, ?3)")?.execute((
        number.0,
        metainfo.kind(),
        metainfo.bytes(),
    ))?;
    Ok(())
}

fn put_verified(connection: &Connection, number: TorrentNumber, record: Option<&[u8]>) -> Result<(), WriteError> {
    match record {
        Some(record) => {
            connection.prepare_cached("INSERT OR REPLACE INTO verified VALUES (?1, ?2)")?.execute((number.0, record))?
        }
        None => connection.prepare_cached("DELETE FROM verified WHERE torrent = ?1")?.execute([number.0])?,
    };
    Ok(())
}

fn require(connection: &Connection, number: TorrentNumber) -> Result<(), WriteError> {
    let mut query = connection.prepare_cached("SELECT id FROM torrent WHERE id = ?1")?;
    let found: Option<i64> = query.query_row([number.0], |row| row.get(0)).optional()?;
    found.map(|_| ()).ok_or_else(|| gone(number))
}

fn gone(number: TorrentNumber) -> WriteError {
    WriteError::Refused(format!("there is no torrent {}", number.0))
}

/// Notes that a torrent's second copy is behind.
pub(super) fn mark_unkept(connection: &Connection, number: TorrentNumber) -> Result<(), WriteError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO unkept
             SELECT lower(hex(coalesce(info_hash_v1, substr(info_hash_v2, 1, 20)))) FROM torrent WHERE id = ?1",
        )?
        .execute([number.0])?;
    Ok(())
}

fn tiers_id(connection: &Connection, tiers: &Tiers) -> Result<Option<i64>, WriteError> {
    if tiers.is_empty() {
        return Ok(None);
    }
    let urls = encode_tiers(tiers);
    interned(
        connection,
        "INSERT OR IGNORE INTO tiers (urls) VALUES (?1)",
        "SELECT id FROM tiers WHERE urls = ?1",
        &urls,
    )
    .map(Some)
}

fn interned(connection: &Connection, insert: &str, select: &str, value: &[u8]) -> Result<i64, WriteError> {
    let mut select = connection.prepare_cached(select)?;
    if let Some(id) = select.query_row([value], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached(insert)?.execute([value])?;
    Ok(select.query_row([value], |row| row.get(0))?)
}

/// A place as its columns hold it.
struct Columns<'a> {
    folder: i64,
    own_name: Option<&'a [u8]>,
    follows_links: bool,
}

impl Columns<'_> {
    fn of<'a>(connection: &Connection, place: &'a ContentPlace) -> Result<Columns<'a>, WriteError> {
        let folder = bounded_bytes("a path", path_bytes(&*place.folder))?;
        let (insert, select) =
            ("INSERT OR IGNORE INTO folder (path) VALUES (?1)", "SELECT id FROM folder WHERE path = ?1");
        Ok(Columns {
            folder: interned(connection, insert, select, folder)?,
            own_name: place.own_name.as_deref().map(|name| bounded_bytes("a name", path_bytes(name))).transpose()?,
            follows_links: place.follows_links,
        })
    }
}
