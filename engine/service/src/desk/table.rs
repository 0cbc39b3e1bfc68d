//! The torrents of the desk, and how one is found: by number, info-hash or its beginning, name, or its number in the engine.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use api::operator::types::{TorrentName, TorrentRef};
use catalogue::{ContentPlace, TorrentNumber, TorrentRow};
use data_encoding::HEXLOWER;
use hash::InfoHash;
use mesh::TorrentId;

use super::DeskError;
use super::entry::Entry;

/// All torrents.
#[derive(Default)]
pub(crate) struct Table {
    torrents: BTreeMap<TorrentNumber, Box<Entry>>,
    /// Each torrent by one or two info-hashes, v2 ones cut to 20 bytes as peers know them.
    by_hash: BTreeMap<InfoHash, TorrentNumber>,
    by_engine: HashMap<TorrentId, TorrentNumber>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Takes a torrent; refused if one of its info-hashes is there already.
    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), DeskError> {
        self.require_new(&entry.row)?;
        let number = entry.row.number;
        self.by_hash.extend(entry.row.info_hashes().map(|info_hash| (info_hash, number)));
        self.torrents.insert(number, Box::new(entry));
        Ok(())
    }

    /// Refuses a torrent of which one info-hash is there already.
    pub(crate) fn require_new(&self, row: &TorrentRow) -> Result<(), DeskError> {
        let Some(known) = row.info_hashes().find_map(|info_hash| self.by_hash.get(&info_hash)) else { return Ok(()) };
        let name = self.get(*known).map(|entry| entry.row.name.to_string()).unwrap_or_default();
        Err(DeskError::Duplicate { name, number: *known })
    }

    pub(crate) fn remove(&mut self, number: TorrentNumber) -> Option<Box<Entry>> {
        let entry = self.torrents.remove(&number)?;
        self.forget_names(&entry);
        if let Some(id) = entry.engine {
            self.by_engine.remove(&id);
        }
        Some(entry)
    }

    pub(crate) fn get(&self, number: TorrentNumber) -> Option<&Entry> {
        self.torrents.get(&number).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, number: TorrentNumber) -> Option<&mut Entry> {
        self.torrents.get_mut(&number).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.torrents.values().map(Box::as_ref)
    }

    /// The others whose content lies where this one's does, in it or around it, or is on its way there; and their places.
    pub(crate) fn beside(&self, one: &Entry) -> Vec<(TorrentNumber, ContentPlace)> {
        let own = one.row.content.path(&one.row.name);
        let places = |other: &Entry| {
            let row = &other.row;
            let both = [Some(row.content.clone()), row.moving_to.clone()].into_iter().flatten();
            let meets = |place: &ContentPlace| {
                let path = place.path(&row.name);
                path.starts_with(&own) || own.starts_with(&path)
            };
            both.filter(meets).map(|place| (row.number, place)).collect::<Vec<_>>()
        };
        self.iter().filter(|other| other.row.number != one.row.number).flat_map(places).collect()
    }

    /// Those after a number, in order.
    pub(crate) fn after(&self, number: Option<TorrentNumber>) -> impl Iterator<Item = &Entry> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        self.torrents.range((from, Bound::Unbounded)).map(|(_, entry)| entry.as_ref())
    }

    /// The engine has taken a torrent, or has it no longer.
    pub(crate) fn set_engine(&mut self, number: TorrentNumber, id: Option<TorrentId>) {
        let Some(entry) = self.torrents.get_mut(&number) else { return };
        if let Some(old) = std::mem::replace(&mut entry.engine, id) {
            self.by_engine.remove(&old);
        }
        if let Some(id) = id {
            self.by_engine.insert(id, number);
        }
    }

    /// The torrent that the engine calls this.
    pub(crate) fn of_engine(&self, id: TorrentId) -> Option<TorrentNumber> {
        self.by_engine.get(&id).copied()
    }

    /// Lets a link's torrent be known by all names that it turned out to have.
    pub(crate) fn rename(&mut self, number: TorrentNumber, rename: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.torrents.remove(&number) else { return };
        self.forget_names(&entry);
        rename(&mut entry);
        for info_hash in entry.row.info_hashes() {
            self.by_hash.entry(info_hash).or_insert(number);
        }
        self.torrents.insert(number, entry);
    }

    /// The torrent that an operator means.
    pub(crate) fn find(&self, asked: &TorrentRef) -> Result<TorrentNumber, DeskError> {
        for reading in asked.readings() {
            let found = match reading {
                TorrentName::Id(id) => self.numbered(id).into_iter().collect(),
                TorrentName::InfoHashPrefix(prefix) => self.with_prefix(&prefix),
                TorrentName::Name(name) => self.named(name),
            };
            match found[..] {
                [] => {}
                [number] => return Ok(number),
                _ => return Err(DeskError::Ambiguous { asked: asked.0.clone(), count: found.len() }),
            }
        }
        Err(DeskError::Unknown { asked: asked.0.clone() })
    }

    fn numbered(&self, id: u64) -> Option<TorrentNumber> {
        let number = TorrentNumber(i64::try_from(id).ok()?);
        self.torrents.contains_key(&number).then_some(number)
    }

    fn with_prefix(&self, prefix: &str) -> Vec<TorrentNumber> {
        let begins = |entry: &&Entry| {
            let v1 = entry.row.info_hash_v1.is_some_and(|hash| HEXLOWER.encode(&hash.0).starts_with(prefix));
            v1 || entry.row.info_hash_v2.is_some_and(|hash| HEXLOWER.encode(&hash.0).starts_with(prefix))
        };
        self.iter().filter(begins).map(|entry| entry.row.number).collect()
    }

    fn named(&self, name: &str) -> Vec<TorrentNumber> {
        self.iter().filter(|entry| &*entry.row.name == name).map(|entry| entry.row.number).collect()
    }

    fn forget_names(&mut self, entry: &Entry) {
        for info_hash in entry.row.info_hashes() {
            if self.by_hash.get(&info_hash) == Some(&entry.row.number) {
                self.by_hash.remove(&info_hash);
            }
        }
    }
}
