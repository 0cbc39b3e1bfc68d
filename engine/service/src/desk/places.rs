//! Whose content lies where: nothing is written where the content of another torrent lies, nor deleted there.

use std::path::Path;

use catalogue::{ContentPlace, Origin, TorrentNumber, TorrentRow};
use data_encoding::HEXLOWER;
use hash::InfoHash;
use seedbox::Admission;

use super::DeskError;
use super::table::Table;
use super::task::{Desk, World};

/// Hex digits of the info-hash that name a torrent's own folder.
const OWN_FOLDER_DIGITS: usize = 12;

impl Table {
    /// Another torrent whose content lies at this path, in it or around it, or is on its way there.
    pub(crate) fn overlaps(&self, number: TorrentNumber, path: &Path) -> Option<&TorrentRow> {
        let meets = |place: &ContentPlace, name: &str| {
            let other = place.path(name);
            other.starts_with(path) || path.starts_with(&other)
        };
        let mut rows = self.iter().map(|entry| &entry.row).filter(|row| row.number != number);
        rows.find(|row| {
            meets(&row.content, &row.name) || row.moving_to.as_ref().is_some_and(|place| meets(place, &row.name))
        })
    }

    /// Refuses a torrent that would be written where another's content lies. What is only read may share it.
    pub(crate) fn require_room(&self, row: &TorrentRow) -> Result<(), DeskError> {
        if row.content.own_name.is_some() {
            return Ok(());
        }
        self.require_free(row, &row.content)
    }

    /// Refuses to move a torrent's content to where another's lies, or is going to be written.
    pub(crate) fn require_place(&self, number: TorrentNumber, to: &ContentPlace) -> Result<(), DeskError> {
        self.get(number).map_or(Ok(()), |entry| self.require_free(&entry.row, to))
    }

    fn require_free(&self, row: &TorrentRow, place: &ContentPlace) -> Result<(), DeskError> {
        let path = place.path(&row.name);
        let Some(other) = self.overlaps(row.number, &path) else { return Ok(()) };
        let (path, name, number) = (path.display(), &other.name, other.number.0);
        let reason = format!("{path} meets the content of {name}, torrent {number}: choose another folder");
        Err(DeskError::Refused { name: row.name.to_string(), reason })
    }

    /// Where a new torrent is written. A feed's item gets a folder of its own where it would meet another's content; so does
    /// each link of a feed, of which nobody knows yet what its content will be called.
    pub(crate) fn place(&self, row: &mut TorrentRow) -> Result<(), DeskError> {
        let is_from_feed = matches!(row.origin, Origin::Subscribed { .. });
        if is_from_feed && (row.shape.is_none() || self.require_room(row).is_err()) {
            row.content.folder = row.content.folder.join(own_folder(row.info_hashes().next())).into();
        }
        self.require_room(row)
    }
}

impl Desk {
    /// The same as [`Table::require_room`] for a torrent that is in the table.
    pub(crate) fn check_room(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.table.get(number).map_or(Ok(()), |entry| self.table.require_room(&entry.row))
    }
}

impl Desk {
    /// Peers have told what a link's content is called: nothing is written yet.
    pub(crate) fn admit(&mut self, number: TorrentNumber, name: Box<str>) -> Result<(), DeskError> {
        let Some(entry) = self.table.get_mut(number) else { return Ok(()) };
        let before = std::mem::replace(&mut entry.row.name, name);
        let admitted = self.check_room(number);
        if admitted.is_err()
            && let Some(entry) = self.table.get_mut(number)
        {
            entry.row.name = before;
        }
        admitted
    }
}

impl World {
    /// Has the desk asked before a link's torrent is written.
    pub(crate) fn admission(&self, number: TorrentNumber) -> Admission {
        let desk = self.desk.clone();
        Admission::new(move |torrent| desk.admit(number, torrent.layout().name()).map_err(|error| error.to_string()))
    }
}

/// Deletes the folder that a torrent got for itself, if it did and nothing is in it any more.
pub(crate) fn remove_own_folder(info_hash: Option<InfoHash>, content: &ContentPlace) {
    if content.own_name.is_none() && content.folder.ends_with(own_folder(info_hash)) {
        // Something else in it is no error.
        let _ = std::fs::remove_dir(&content.folder);
    }
}

fn own_folder(info_hash: Option<InfoHash>) -> String {
    let mut digits = HEXLOWER.encode(&info_hash.unwrap_or_default().0);
    digits.truncate(OWN_FOLDER_DIGITS);
    digits
}
