//! What an earlier run published, told to the tree after its first look: ten thousand releases cost a row, a record and a
//! comparison each, and no reading of content. What it left half done is taken back.

use std::collections::HashSet;
use std::path::Path;

use catalogue::{Catalogue, CatalogueError, Release, ReleaseState};
use metainfo::Torrent;
use publish::{Becomes, ContentFile, Fingerprint, Known};
use storage::VerifiedRecord;

use super::knowledge::Numbers;
use super::root::Root;
use crate::outputs::Recipe;

/// A release that was published, with what the catalogue keeps of its files.
struct Remembered {
    path: Box<str>,
    numbers: Numbers,
    becomes: Becomes,
    fingerprint: Fingerprint,
    release_at: Option<i64>,
    record: Option<VerifiedRecord>,
}

/// All that the catalogue keeps of a tree.
#[derive(Default)]
struct Before {
    published: Vec<Remembered>,
    unfinished: Vec<(Box<str>, Numbers)>,
    suspended: HashSet<String>,
    device: Option<u64>,
}

impl Root {
    /// Whether all of it was told.
    pub(super) async fn restore(&mut self) -> bool {
        let (catalogue, name) = (self.world.catalogue.clone(), self.name.clone());
        let rows = tokio::task::spawn_blocking(move || releases_of(&catalogue, &name)).await;
        let rows = match rows {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                self.trouble(None, error.to_string());
                return false;
            }
            Err(_) => return false,
        };
        let is_file = |row: &Release| row.path.to_str().and_then(|path| self.tree.is_directory(path)) == Some(false);
        let with_kind = |row: Release| {
            let is_file = is_file(&row);
            (row, is_file)
        };
        let rows: Vec<(Release, bool)> = rows.into_iter().map(with_kind).collect();
        let (catalogue, name, recipe) = (self.world.catalogue.clone(), self.name.clone(), self.recipe.clone());
        let read = tokio::task::spawn_blocking(move || read(&catalogue, &name, &recipe, rows)).await;
        let before = match read {
            Ok(Ok(before)) => before,
            Ok(Err(error)) => {
                self.trouble(None, error.to_string());
                return false;
            }
            Err(_) => return false,
        };
        self.take_back(before.unfinished).await;
        self.tell(before.published, &before.suspended, before.device);
        self.stop_suspended().await;
        true
    }

    /// The note that a release is suspended comes before its stop: a process that ended between the two left it running.
    async fn stop_suspended(&self) {
        for path in &self.suspended {
            let Some(numbers) = self.current.get(path) else { continue };
            if self.world.desk.line(numbers.torrent).await.is_ok_and(|line| line.stopped.is_none()) {
                let stopped = self.world.desk.stop(numbers.torrent).await;
                self.tell_failure(path, stopped);
            }
        }
    }

    /// What was not open, or not any more, when the process ended: its files go, and what is known of its content serves the
    /// next try.
    async fn take_back(&mut self, unfinished: Vec<(Box<str>, Numbers)>) {
        for (path, numbers) in unfinished {
            // Whatever else has their names was there before, or came since: not ours to judge.
            let _ = self.remove_outputs(&path, numbers).await;
            if self.tree.is_directory(&path).is_some() && !self.former.contains_key(&path) {
                self.learn(numbers).await;
                self.former.insert(path, numbers);
            } else {
                self.forget(&path, numbers).await;
            }
        }
    }

    async fn learn(&mut self, numbers: Numbers) {
        let catalogue = self.world.catalogue.clone();
        let record = tokio::task::spawn_blocking(move || catalogue.verified(numbers.torrent)).await;
        if let Ok(Ok(Some(record))) = record {
            self.knowledge.learn(numbers, &record);
        }
    }

    fn tell(&mut self, published: Vec<Remembered>, suspended: &HashSet<String>, kept_device: Option<u64>) {
        // Devices may have other numbers since the machine started; one release that is there tells the one of all.
        let seen = published.iter().find_map(|release| self.tree.device_of(&release.path));
        let device = seen.or(kept_device);
        self.kept_device = kept_device;
        let now = self.clock.now();
        for release in published {
            let Remembered { path, numbers, becomes, fingerprint, release_at, record } = release;
            if let Some(record) = record {
                self.knowledge.learn(numbers, &record);
            }
            let is_suspended = suspended.contains(&suspended_key(&self.name, &path));
            if is_suspended {
                self.suspended.insert(path.clone());
            }
            self.current.insert(path.clone(), numbers);
            let device = self.tree.device_of(&path).or(device).unwrap_or(u64::MAX);
            self.tree.restore(Known { path, becomes, fingerprint, device, release_at, is_suspended }, now);
        }
    }

    /// Keeps the device of what is published: when all of it is gone at the next start, that tells a disk that is not
    /// mounted from a tree that was emptied.
    pub(super) async fn keep_device(&mut self, device: u64) {
        if self.kept_device != Some(device) {
            self.kept_device = Some(device);
            self.keep(device_key(&self.name), Some(device.to_string())).await;
        }
    }
}

/// The note that a release is suspended.
pub(super) fn suspended_key(name: &str, path: &str) -> String {
    format!("publish/{name}/suspended/{path}")
}

fn device_key(name: &str) -> String {
    format!("publish/{name}/device")
}

fn releases_of(catalogue: &Catalogue, name: &str) -> Result<Vec<Release>, CatalogueError> {
    let mut rows = catalogue.releases()?;
    rows.retain(|row| &*row.label == name && row.torrent.is_some());
    Ok(rows)
}

fn read(
    catalogue: &Catalogue,
    name: &str,
    recipe: &Recipe,
    rows: Vec<(Release, bool)>,
) -> Result<Before, CatalogueError> {
    let mut before = Before::default();
    for (row, is_file) in rows {
        // A path that is not text was never published.
        let (Some(path), Some(torrent)) = (row.path.to_str(), row.torrent) else { continue };
        let numbers = Numbers { torrent, release: row.number };
        if row.state == ReleaseState::Published {
            before.published.push(remember(catalogue, path, &recipe.content_path(path), numbers, is_file)?);
        } else {
            before.unfinished.push((path.into(), numbers));
        }
    }
    let notes = catalogue.settings()?;
    let suspended = suspended_key(name, "");
    let device = device_key(name);
    for (key, value) in notes {
        if key == device {
            before.device = value.parse().ok();
        } else if key.starts_with(&suspended) {
            before.suspended.insert(key);
        }
    }
    Ok(before)
}

/// The fingerprint of a release that is still one file needs no torrent; that of a directory, or of what is gone, does. One
/// that was published from another root than `content` lies in is served from there: here it is something else.
fn remember(
    catalogue: &Catalogue,
    path: &str,
    content: &Path,
    numbers: Numbers,
    is_file: bool,
) -> Result<Remembered, CatalogueError> {
    let record = catalogue.verified(numbers.torrent)?;
    let row = catalogue.row(numbers.torrent)?;
    let has_moved = row.as_ref().is_some_and(|row| content.parent() != Some(&*row.content.folder));
    let release_at = row.and_then(|row| row.release_at_s);
    let torrent = if is_file { None } else { catalogue.torrent(numbers.torrent)? };
    let is_single = torrent.as_ref().map_or(is_file, |torrent| torrent.layout().is_single_file());
    let files = match (&record, &torrent) {
        (Some(record), Some(torrent)) => files_of(torrent, record),
        (Some(record), None) => Some(record.files().map(|state| content_file(String::new(), state)).collect()),
        (None, _) => None,
    };
    let becomes = if is_single { Becomes::File } else { Becomes::Directory };
    let fingerprint = files.filter(|_| !has_moved).map_or(Fingerprint::NONE, Fingerprint::of);
    Ok(Remembered { path: path.into(), numbers, becomes, fingerprint, release_at, record })
}

/// The files of a torrent in the states that were recorded; nothing if the two do not belong together.
fn files_of(torrent: &Torrent, record: &VerifiedRecord) -> Option<Vec<ContentFile>> {
    let layout = torrent.layout();
    let mut states = record.files();
    let mut files = Vec::new();
    for file in layout.files().iter().filter(|file| !file.is_pad()) {
        let path = if layout.is_single_file() { String::new() } else { file.path().to_string() };
        files.push(match file.symlink_target() {
            Some(target) => ContentFile { link_target: Some(target.to_string()), ..content_file(path, (0, 0, 0)) },
            None if file.length() == 0 => content_file(path, (0, 0, 0)),
            None => content_file(path, states.next()?),
        });
    }
    states.next().is_none().then_some(files)
}

fn content_file(path: String, (size_bytes, mtime_ns, inode): (u64, i64, u64)) -> ContentFile {
    ContentFile { path, link_target: None, size_bytes, mtime_ns, inode }
}
