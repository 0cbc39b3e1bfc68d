//! From the catalogue to a desk that goes on where the last one was: rows, releases, moves that were broken off. What is to
//! run goes to the engine, all at rest in one order; fetches one by one.

use std::collections::HashMap;

use catalogue::{Release, ReleaseState, TorrentNumber, TorrentRow};
use seedbox::AtRest;

use super::DeskError;
use super::entry::Entry;
use super::moving;
use super::table::Table;
use super::task::{Desk, World};

/// What the catalogue had.
pub(crate) struct Restored {
    pub(crate) table: Table,
    /// Releases that were being published when the last run ended: their publisher goes on with them.
    pub(crate) unfinished: usize,
}

/// Reads the catalogue and ends what a crash broke off. Blocks.
pub(crate) fn restore(world: &World) -> Result<Restored, DeskError> {
    let mut rows = world.catalogue.torrents()?;
    let notes: HashMap<String, String> = world.catalogue.settings()?.into_iter().collect();
    for row in rows.iter_mut().filter(|row| row.moving_to.is_some()) {
        let note = notes.get(&moving::key(row.number)).map(String::as_str);
        *row = moving::recover(&world.catalogue, row.clone(), note);
    }
    let mut releases: HashMap<TorrentNumber, Release> = HashMap::new();
    for release in world.catalogue.releases()? {
        if let Some(number) = release.torrent {
            releases.insert(number, release);
        }
    }
    let mut restored = Restored { table: Table::default(), unfinished: 0 };
    for row in rows {
        let release = releases.remove(&row.number);
        restored.unfinished += usize::from(is_unfinished(release.as_ref()));
        restored.take(row, release);
    }
    Ok(restored)
}

fn is_unfinished(release: Option<&Release>) -> bool {
    release.is_some_and(|release| release.state == ReleaseState::Preparing)
}

impl Restored {
    fn take(&mut self, row: TorrentRow, release: Option<Release>) {
        let mut entry = Entry::new(row);
        entry.release = release.map(Box::new);
        let number = entry.row.number;
        if let Err(error) = self.table.insert(entry) {
            // The catalogue holds each info-hash once.
            tracing::error!(torrent = number.0, %error, "left out");
        }
    }
}

impl Desk {
    /// Gives the engine all that is to run. Those that are complete are there when this returns, and in the feeds when its
    /// result comes true.
    pub(crate) async fn begin(&mut self) -> Result<impl Future<Output = ()> + Send + 'static, DeskError> {
        let due: Vec<TorrentNumber> =
            self.table.iter().filter(|entry| entry.may_run()).map(|entry| entry.row.number).collect();
        let (mut numbers, mut torrents) = (Vec::new(), Vec::new());
        for number in due {
            let is_complete = self.table.get(number).is_some_and(|entry| entry.row.completed_at_s.is_some());
            match if is_complete { self.at_rest(number) } else { None } {
                Some(torrent) => {
                    numbers.push(number);
                    torrents.push(AtRest { is_restored: true, ..torrent });
                }
                None => self.bring_back(number),
            }
        }
        let added = self.world.engine.add_many(torrents).await?;
        for (number, added) in numbers.into_iter().zip(added) {
            match added {
                Ok(id) => {
                    self.set_engine(number, Some(id));
                    self.show(number);
                }
                Err(error) => self.fail(number, error.to_string()),
            }
        }
        Ok(self.feeds_follow())
    }
}
