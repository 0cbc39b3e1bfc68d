//! A torrent's content goes to another folder. What is noted in the catalogue before each step says after a crash whether the
//! move is gone on with or taken back; at no moment does the only copy depend on something that is not on the disk.
//!
//! 1. The catalogue notes where it goes. A crash from here on: taken back, and what was copied is dropped; but if a rename has
//!    happened, its outcome is taken.
//! 2. It is renamed; or, between file systems, copied, compared with the torrent, and noted as whole.
//!    A crash from here on: gone on with, if the copy has its place already; else taken back.
//! 3. The copy gets its place, the original a name of ours, the catalogue the new folder, with a note that the original is
//!    left under that name. A crash from here on: what is there is deleted.
//! 4. Of the original goes what the torrent names, and the note. By the name that it had nothing is ever deleted: somebody
//!    else may have it by then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalogue::{Catalogue, Change, ContentPlace, TorrentChange, TorrentNumber, TorrentRow};
use storage::Meter;

use super::entry::Work;
use super::erase::erase;
use super::releases::refused;
use super::relocate::{RelocateError, Relocation};
use super::source::record_of;
use super::task::Desk;
use super::{Answer, DeskError, Moved};

/// The note that a copy is whole and may have its place.
const WHOLE: &str = "whole";
/// The note that the original is to be deleted, which lies aside: the row's other place is where it was.
const LEFT: &str = "left";

impl Desk {
    pub(crate) fn move_to(&mut self, number: TorrentNumber, folder: &Path, answer: Answer<Moved>) {
        let Some(entry) = self.table.get(number) else { return };
        if entry.release.is_some() {
            let reason = "it is published from a tree, and lies where the tree has it";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        if entry.row.completed_at_s.is_none() {
            let reason = "it is not complete: wait, or stop and remove it and add it with its new folder";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        let to = ContentPlace { folder: folder.into(), ..entry.row.content.clone() };
        if to == entry.row.content {
            let moved = Moved { content_path: to.path(&entry.row.name), copied_bytes: 0 };
            return drop(answer.send(Ok(moved)));
        }
        if let Some((other, _)) = self.table.beside(entry).first() {
            let reason =
                format!("torrent {} has content there too, which would go with it: remove that one first", other.0);
            return drop(answer.send(Err(refused(entry, &reason))));
        }
        if let Err(error) = self.table.require_place(number, &to) {
            return drop(answer.send(Err(error)));
        }
        let Some(entry) = self.table.get_mut(number) else { return };
        entry.row.moving_to = Some(to.clone());
        let meter = Arc::new(Meter::new());
        entry.work = Work::Moving(meter.clone());
        self.leave_engine(number, beginning(number, to), move |desk, left| match left {
            Ok(()) => desk.relocate(number, meter, answer),
            Err(error) => desk.end_move(number, Err(error), answer),
        });
    }

    fn relocate(&mut self, number: TorrentNumber, meter: Arc<Meter>, answer: Answer<Moved>) {
        let Some(entry) = self.table.get(number) else { return };
        let (catalogue, row, checks) = (self.world.catalogue.clone(), entry.row.clone(), self.checks.clone());
        let job = async move {
            let _turn = checks.acquire_owned().await;
            let moved = tokio::task::spawn_blocking(move || move_content(&catalogue, &row, &meter));
            moved.await.unwrap_or(Err(DeskError::Stopping))
        };
        self.work(number, job, move |desk, moved| desk.end_move(number, moved, answer));
    }

    fn end_move(&mut self, number: TorrentNumber, moved: Result<Moved, DeskError>, answer: Answer<Moved>) {
        if let Some(entry) = self.table.get_mut(number) {
            entry.work = Work::None;
            let to = entry.row.moving_to.take();
            if let (Ok(_), Some(to)) = (&moved, to) {
                entry.row.content = to;
            }
        }
        let _ = answer.send(moved);
        self.bring_back(number);
    }
}

/// Step 1. What an earlier move noted is not about this one.
fn beginning(number: TorrentNumber, to: ContentPlace) -> Vec<Change> {
    vec![Change::Torrent(number, TorrentChange::MovingTo(Some(to))), Change::Setting { key: key(number), value: None }]
}

/// Steps 2 to 4. On an error the content is where it was.
fn move_content(catalogue: &Catalogue, row: &TorrentRow, meter: &Arc<Meter>) -> Result<Moved, DeskError> {
    let Some(to) = &row.moving_to else { return Err(DeskError::Stopping) };
    let from_path = row.content.path(&row.name);
    let moved =
        Relocation::into_folder(&from_path, &to.folder).map_err(DeskError::from).and_then(
            |relocation| match relocation.rename().map_err(DeskError::from)? {
                true => keep_renamed(catalogue, row, to, &relocation).map(|()| 0),
                false => copy(catalogue, row, to, &relocation, meter),
            },
        );
    if moved.is_err() {
        forget_move(catalogue, row.number);
    }
    moved.map(|copied_bytes| Moved { content_path: to.path(&row.name), copied_bytes })
}

fn keep_renamed(
    catalogue: &Catalogue,
    row: &TorrentRow,
    to: &ContentPlace,
    relocation: &Relocation,
) -> Result<(), DeskError> {
    // The files are the same ones: what is known of them holds.
    settle(catalogue, row, to, None, false).inspect_err(|_| {
        if let Err(back) = relocation.rename_back() {
            tracing::error!(torrent = row.number.0, error = %back, "the next start finds the content where it was moved");
        }
    })
}

fn copy(
    catalogue: &Catalogue,
    row: &TorrentRow,
    to: &ContentPlace,
    relocation: &Relocation,
    meter: &Arc<Meter>,
) -> Result<u64, DeskError> {
    let copied = relocation.copy(meter).map_err(DeskError::from);
    let whole = copied.and_then(|copied_bytes| {
        compare(catalogue, row, to, relocation.copy_path(), meter)?;
        note(catalogue, row.number, Some(WHOLE))?;
        relocation.place_copy().map_err(DeskError::from)?;
        Ok(copied_bytes)
    });
    let whole = whole.inspect_err(|_| {
        // As long as it is noted as whole, what is in its place counts as the copy once that is gone.
        if note(catalogue, row.number, None).is_ok() {
            report(relocation.drop_copy());
        }
    })?;
    settle_copy(catalogue, row, to, relocation).inspect_err(|_| {
        if relocation.has_original() {
            report(relocation.drop_placed());
        }
    })?;
    drop_original(catalogue, row.number, relocation);
    Ok(whole)
}

/// What was copied and is of no use stays where it cannot be removed.
fn report(dropped: Result<(), RelocateError>) {
    if let Err(error) = dropped {
        tracing::warn!(%error, "a copy that is of no use is left");
    }
}

/// Whether the copy is the torrent's content, read back from its disk.
fn compare(
    catalogue: &Catalogue,
    row: &TorrentRow,
    to: &ContentPlace,
    copy: PathBuf,
    meter: &Arc<Meter>,
) -> Result<(), DeskError> {
    let torrent = catalogue.torrent(row.number)?.ok_or_else(lost)?;
    let place = ContentPlace { follows_links: to.follows_links, ..ContentPlace::at(copy) };
    let report = seedbox::verify(&torrent, &place.place(), None, meter);
    let report = report.map_err(|error| DeskError::Content { reason: error.to_string() })?;
    match report.verified_files() {
        Some(_) => Ok(()),
        None => {
            let missing = seedbox::what_is_missing(&torrent, &report);
            Err(DeskError::Content { reason: format!("the copy is not what it should be: {missing}") })
        }
    }
}

/// The copy's files are others than the original's: what was verified is noted for them. On an error the original has its
/// name again.
fn settle_copy(
    catalogue: &Catalogue,
    row: &TorrentRow,
    to: &ContentPlace,
    relocation: &Relocation,
) -> Result<(), DeskError> {
    let torrent = catalogue.torrent(row.number)?.ok_or_else(lost)?;
    let record = record_of(&torrent, to).map_err(|error| DeskError::Content { reason: error.to_string() })?;
    if relocation.has_original()
        && !relocation.is_aside()
        && let Err(error) = relocation.set_aside()
    {
        tracing::warn!(torrent = row.number.0, %error, "the content is copied; its old copy stays, delete it by hand");
    }
    let verified = TorrentChange::Verified(Some(record.encode()));
    settle(catalogue, row, to, Some(verified), relocation.is_aside())
        .inspect_err(|_| report(relocation.restore_original()))
}

fn lost() -> DeskError {
    DeskError::Torrent { reason: "what it is was lost from the catalogue".to_owned() }
}

/// The catalogue has the new place and, if so, a note that the original is left aside.
fn settle(
    catalogue: &Catalogue,
    row: &TorrentRow,
    to: &ContentPlace,
    verified: Option<TorrentChange>,
    is_left: bool,
) -> Result<(), DeskError> {
    let number = row.number;
    let left = is_left.then(|| row.content.clone());
    let place = [TorrentChange::Content(to.clone()), TorrentChange::MovingTo(left)];
    let mut changes: Vec<Change> =
        verified.into_iter().chain(place).map(|change| Change::Torrent(number, change)).collect();
    changes.push(Change::Setting { key: key(number), value: is_left.then(|| LEFT.to_owned()) });
    Ok(catalogue.apply_blocking(changes)?)
}

/// The last step; what fails here is tried again at the next start.
fn drop_original(catalogue: &Catalogue, number: TorrentNumber, relocation: &Relocation) {
    let aside = relocation.aside_path();
    let erased = catalogue.torrent(number).map_err(|error| error.to_string()).and_then(|torrent| match torrent {
        // What is no folder, whatever the torrent is, was moved as the one thing that it is.
        Some(_) if aside.is_symlink() => std::fs::remove_file(&aside).map_err(|error| error.to_string()),
        Some(torrent) => {
            erase(&torrent, &ContentPlace::at(aside.clone()), &BTreeSet::new()).map_err(|error| error.to_string())
        }
        None => Ok(()),
    });
    if let Err(reason) = erased {
        let aside = aside.display();
        return tracing::warn!(torrent = number.0, %aside, reason, "the content was moved, but its old copy is left");
    }
    if relocation.is_aside() {
        report(relocation.restore_original());
        tracing::info!(torrent = number.0, "what is not the torrent's stays where its content was");
    }
    forget_move(catalogue, number);
}

fn forget_move(catalogue: &Catalogue, number: TorrentNumber) {
    let changes =
        vec![Change::Torrent(number, TorrentChange::MovingTo(None)), Change::Setting { key: key(number), value: None }];
    if let Err(error) = catalogue.apply_blocking(changes) {
        tracing::warn!(torrent = number.0, %error, "that a move has ended is not kept; the next start finds out again");
    }
}

/// Ends a move that an earlier run began: the row as it is afterwards. Blocks.
pub(crate) fn recover(catalogue: &Catalogue, mut row: TorrentRow, note: Option<&str>) -> TorrentRow {
    let Some(other) = row.moving_to.take() else { return row };
    let (here, there) = (row.content.path(&row.name), other.path(&row.name));
    if note == Some(LEFT) {
        // The new place is in the catalogue; the other one is where it was.
        let relocation = Relocation::between(there, here);
        if relocation.has_arrived() {
            drop_original(catalogue, row.number, &relocation);
        }
        return row;
    }
    let relocation = Relocation::between(here, there);
    let is_placed = note == Some(WHOLE) && relocation.has_arrived() && !relocation.has_copy();
    let settled = match (is_placed, relocation.has_original()) {
        (true, _) => settle_copy(catalogue, &row, &other, &relocation),
        (false, false) if relocation.has_arrived() => settle(catalogue, &row, &other, None, false),
        _ => {
            if !relocation.has_original() {
                report(relocation.restore_original());
            }
            report(relocation.drop_copy());
            forget_move(catalogue, row.number);
            return row;
        }
    };
    match settled {
        Ok(()) => {
            drop_original(catalogue, row.number, &relocation);
            row.content = other;
        }
        Err(error) => tracing::warn!(torrent = row.number.0, %error, "a move cannot be ended yet"),
    }
    row
}

/// Where the note of a move stands.
pub(crate) fn key(number: TorrentNumber) -> String {
    format!("move.{}", number.0)
}

fn note(catalogue: &Catalogue, number: TorrentNumber, note: Option<&str>) -> Result<(), DeskError> {
    let value = note.map(str::to_owned);
    Ok(catalogue.apply_blocking(vec![Change::Setting { key: key(number), value }])?)
}

impl From<RelocateError> for DeskError {
    fn from(error: RelocateError) -> DeskError {
        DeskError::Content { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests;
