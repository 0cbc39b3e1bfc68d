//! Comparing a torrent's content with the torrent, off the shards: because somebody asks, or because nobody remembers that it
//! was done.

use std::sync::Arc;

use catalogue::{Catalogue, Change, ContentPlace, TorrentChange, TorrentNumber};
use metainfo::Torrent;
use storage::{Meter, VerifiedRecord, VerifyReport};

use super::Answer;
use super::entry::{Check, Work};
use super::releases::refused;
use super::task::Desk;
use crate::clock::unix_s;

impl Desk {
    pub(crate) fn recheck(&mut self, number: TorrentNumber, fetches: bool, answer: Answer<()>) {
        let Some(entry) = self.table.get(number) else { return };
        if entry.row.shape.is_none() {
            return drop(answer.send(Err(refused(entry, "peers have not told yet what the link stands for"))));
        }
        if fetches && entry.release.is_some() {
            let reason = "it is published from a tree, which is not written to; put the right files there";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        if fetches && entry.row.content.own_name.is_some() {
            let reason = "its content is called otherwise than the torrent, and is not written to";
            return drop(answer.send(Err(refused(entry, reason))));
        }
        if fetches && let Err(error) = self.table.require_room(&entry.row) {
            return drop(answer.send(Err(error)));
        }
        if !fetches && entry.row.completed_at_s.is_none() && entry.row.content.own_name.is_none() {
            return drop(answer.send(Err(refused(entry, "it is not complete; recheck it with fetching"))));
        }
        // What is fetched is checked first, if nobody remembers what was.
        let mut changes = vec![TorrentChange::Verified(None), TorrentChange::Fault(None)];
        if fetches {
            changes.push(TorrentChange::Completed(None));
        }
        let changes = changes.into_iter().map(|change| Change::Torrent(number, change)).collect();
        let _ = answer.send(Ok(()));
        self.leave_engine(number, changes, move |desk, left| {
            let Some(entry) = desk.table.get_mut(number) else { return };
            if let Err(error) = left {
                return desk.fail(number, error.to_string());
            }
            entry.row.fault = None;
            match fetches {
                true => desk.fetch_again(number),
                false => desk.check(number),
            }
        });
    }

    /// Has all of a torrent looked at by the engine, and what is wrong fetched.
    fn fetch_again(&mut self, number: TorrentNumber) {
        let Some(entry) = self.table.get_mut(number) else { return };
        entry.row.completed_at_s = None;
        let (world, folder) = (self.world.clone(), entry.row.content.folder.clone());
        let forget = tokio::task::spawn_blocking(move || {
            if let Ok(Some(torrent)) = world.catalogue.torrent(number) {
                world.fetches.forget(&torrent, &folder);
            }
        });
        self.work(number, async move { drop(forget.await) }, move |desk, ()| desk.bring_back(number));
    }

    /// Takes a torrent from the engine of which nobody remembers that it was verified, and verifies it.
    pub(crate) fn leave_and_check(&mut self, number: TorrentNumber) {
        self.leave_engine(number, Vec::new(), move |desk, left| match left {
            Ok(()) => desk.check(number),
            Err(error) => desk.fail(number, error.to_string()),
        });
    }

    /// Reads all of a torrent's content off the shards, and serves it again if it is right.
    pub(crate) fn check(&mut self, number: TorrentNumber) {
        let needless = self.makes_checks_needless(number);
        let Some(entry) = self.table.get_mut(number) else { return };
        let check = Check::default();
        entry.work = Work::Checking(check.clone());
        let completed_at_s = entry.row.completed_at_s.unwrap_or_else(unix_s);
        if needless {
            check.cancel();
        }
        let (content, catalogue, checks) =
            (entry.row.content.clone(), self.world.catalogue.clone(), self.checks.clone());
        let job = async move {
            // One at a time: each takes all threads that there are for it.
            let Some(_turn) = check.turn(checks).await else { return Ok(false) };
            let (read, meter) = (catalogue.clone(), check.meter.clone());
            let checked = tokio::task::spawn_blocking(move || verify(&read, number, &content, &meter));
            let record = match checked.await.map_err(|_| "the check broke off".to_owned())? {
                Err(_) if check.meter.is_cancelled() => return Ok(false),
                checked => checked?,
            };
            let changes = [TorrentChange::Verified(Some(record)), TorrentChange::Completed(Some(completed_at_s))];
            let changes = changes.map(|change| Change::Torrent(number, change)).to_vec();
            catalogue.apply(changes).await.map(|()| true).map_err(|error| error.to_string())
        };
        self.work(number, job, move |desk, checked: Result<bool, String>| {
            let Some(entry) = desk.table.get_mut(number) else { return };
            entry.work = Work::None;
            match checked {
                Ok(true) => {
                    entry.row.completed_at_s = Some(completed_at_s);
                    desk.bring_back(number);
                }
                // Whoever cancelled it goes on; the next start finds that nobody remembers its content.
                Ok(false) => {}
                Err(reason) => desk.fail(number, reason),
            }
        });
    }
}

/// Compares all of a torrent's content; the record of that, or what is wrong.
fn verify(
    catalogue: &Catalogue,
    number: TorrentNumber,
    content: &ContentPlace,
    meter: &Arc<Meter>,
) -> Result<Vec<u8>, String> {
    let torrent = catalogue.torrent(number).map_err(|error| error.to_string())?.ok_or("only a link is known")?;
    let report = seedbox::verify(&torrent, &content.place(), None, meter).map_err(|error| error.to_string())?;
    record_of_report(&torrent, content, &report)
}

/// The files as they were while they were compared: what they are by now was perhaps never read.
fn record_of_report(torrent: &Torrent, content: &ContentPlace, report: &VerifyReport) -> Result<Vec<u8>, String> {
    let name = torrent.info_hashes().next().unwrap_or_default();
    match report.verified_files() {
        Some(files) => Ok(VerifiedRecord::new(name, files).encode()),
        None => {
            let path = content.path(torrent.layout().name());
            Err(format!("{}: {}", path.display(), seedbox::what_is_missing(torrent, report)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use storage::Content;

    #[test]
    fn a_file_that_is_replaced_right_after_it_was_read_does_not_pass_for_verified() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 100]).unwrap();
        let pieces = hash::sha1(&[7; 100]).0;
        let info = [b"d6:lengthi100e4:name1:a12:piece lengthi16384e6:pieces20:".as_slice(), &pieces, b"e"].concat();
        let torrent = Torrent::from_info(&info).unwrap();
        let content = ContentPlace::under(dir.path());
        let report = seedbox::verify(&torrent, &content.place(), None, &Arc::new(Meter::new())).unwrap();
        let is_verified = || {
            let record = record_of_report(&torrent, &content, &report).unwrap();
            let files = Content::open(torrent.layout(), &content.place()).unwrap().identity();
            record == VerifiedRecord::new(torrent.info_hashes().next().unwrap(), &files).encode()
        };
        assert!(is_verified());
        fs::write(dir.path().join("b"), [8; 100]).unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(!is_verified());
    }
}
