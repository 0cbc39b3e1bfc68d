//! What everybody may have: the feeds' items, made from the desk's table, and the files of releases, read for whoever asks
//! over HTTP. How a feed is written and a request answered is `api`'s.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use api::feeds::{Board, FeedHead, FeedItem, Podcast};
use api::releases::{MAX_FILE_BYTES, ReleaseBytes, ReleaseFile, ReleaseFiles, ReleaseKey};
use catalogue::{Catalogue, CatalogueError, Metainfo, Origin, ReleaseNumber, ReleaseOutput, TorrentNumber, TorrentRow};
use hash::InfoHash;
use metainfo::Torrent;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use settings::Settings;

use crate::desk::Entry;

/// Who may ask for more items than are written would have mirrors remove the rest.
const _: () = assert!(settings::FEED_ITEMS_MAX as usize == api::feeds::MAX_ITEMS);

/// The feeds as the settings have them.
#[derive(Clone)]
pub(crate) struct Feeds {
    board: Arc<Board>,
    catalogue: Catalogue,
    plans: Arc<[Plan]>,
    /// Items as they were rendered last: what they say does not change.
    items: Arc<Mutex<HashMap<TorrentNumber, FeedItem>>>,
}

/// One feed: how it is headed, and what is in it.
struct Plan {
    head: FeedHead,
    /// Trees of which it tells; all if there are none.
    publish: Vec<String>,
    /// Subscriptions of which it tells, too.
    republish: Vec<String>,
}

/// What is to be in a feed, before the catalogue was asked.
pub(crate) struct Selected {
    plan: usize,
    torrents: Vec<Chosen>,
}

#[derive(Clone)]
struct Chosen {
    number: TorrentNumber,
    release: Option<ReleaseNumber>,
    published_at_s: i64,
}

impl Feeds {
    pub(crate) fn new(board: Arc<Board>, catalogue: Catalogue, settings: &Settings) -> Feeds {
        Feeds { board, catalogue, plans: plans(settings), items: Arc::default() }
    }

    /// The same feeds by other settings.
    pub(crate) fn configured(&self, settings: &Settings) -> Feeds {
        Feeds { plans: plans(settings), ..self.clone() }
    }

    /// What is in the feeds, now. Quick: for the desk.
    pub(crate) fn select<'a, E: Iterator<Item = &'a Entry>>(&self, entries: impl Fn() -> E) -> Vec<Selected> {
        let select = |(number, plan): (usize, &Plan)| {
            let mut torrents: Vec<Chosen> = entries().filter_map(|entry| plan.choose(entry)).collect();
            // The newest; of the same second the youngest number.
            torrents.sort_unstable_by_key(|chosen| std::cmp::Reverse((chosen.published_at_s, chosen.number)));
            torrents.truncate(plan.head.max_items);
            Selected { plan: number, torrents }
        };
        self.plans.iter().enumerate().map(select).collect()
    }

    /// Writes the feeds anew. Reads the catalogue: for the blocking pool.
    pub(crate) fn render(&self, selected: Vec<Selected>) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::new();
        for Selected { plan, torrents } in selected {
            let Some(plan) = self.plans.get(plan) else { continue };
            let mut told = Vec::with_capacity(torrents.len());
            for chosen in torrents {
                let known = kept.get(&chosen.number).cloned().or_else(|| items.remove(&chosen.number));
                match known.map_or_else(|| item(&self.catalogue, &chosen), |known| Ok(Some(known))) {
                    Ok(Some(item)) => {
                        kept.insert(chosen.number, item.clone());
                        told.push(item);
                    }
                    // Removed since it was chosen: the desk has us render again.
                    Ok(None) => {}
                    Err(error) => tracing::warn!(torrent = chosen.number.0, %error, "left out of the feeds"),
                }
            }
            if let Err(error) = self.board.set(&plan.head, told) {
                tracing::error!("{error}");
            }
        }
        *items = kept;
        for name in self.board.names() {
            if !self.plans.iter().any(|plan| plan.head.name == name) {
                self.board.remove(&name);
            }
        }
    }
}

fn plans(settings: &Settings) -> Arc<[Plan]> {
    let republish = settings.subscribe.iter().filter(|from| from.republish).map(|from| from.name.clone());
    let republish: Vec<String> = republish.collect();
    let plan = |feed: &settings::Feed| Plan {
        head: head(feed, settings),
        publish: feed.publish.clone(),
        republish: republish.clone(),
    };
    settings.feed.iter().map(plan).collect()
}

impl Plan {
    fn choose(&self, entry: &Entry) -> Option<Chosen> {
        if !entry.is_public() || !is_offered(&entry.row, entry.release.is_some(), &self.republish) {
            return None;
        }
        let published_at_s = match &entry.row.origin {
            Origin::Published { label, .. } if !self.covers(label) => return None,
            Origin::Published { .. } => {
                entry.release.as_deref()?.published_at_s?.max(entry.row.release_at_s.unwrap_or(0))
            }
            Origin::Added | Origin::Subscribed { .. } => entry.row.completed_at_s?,
        };
        let release = entry.release.as_deref().map(|release| release.number);
        Some(Chosen { number: entry.row.number, release, published_at_s })
    }

    fn covers(&self, label: &str) -> bool {
        self.publish.is_empty() || self.publish.iter().any(|name| name == label)
    }
}

/// Whether it is for others to know: releases, and what a subscription hands on.
fn is_offered(row: &TorrentRow, is_release: bool, republish: &[String]) -> bool {
    match &row.origin {
        Origin::Published { .. } => is_release,
        Origin::Subscribed { label, .. } => republish.iter().any(|name| **name == **label),
        Origin::Added => false,
    }
}

fn head(feed: &settings::Feed, settings: &Settings) -> FeedHead {
    let page = feed.link.as_ref().or(settings.http.base_url.as_ref());
    let mut head = FeedHead::new(&feed.name, feed.title.as_deref().unwrap_or(&feed.name));
    head.page_url = page.map(ToString::to_string);
    if let Some(description) = &feed.description {
        head.description.clone_from(description);
    }
    head.language.clone_from(&feed.language);
    head.podcast = feed.podcast.then(Podcast::default);
    head.max_items = feed.max_items as usize;
    head
}

/// What a feed says of a torrent; `None` if there is no such torrent any more.
fn item(catalogue: &Catalogue, chosen: &Chosen) -> Result<Option<FeedItem>, CatalogueError> {
    let Some(Metainfo::TorrentFile(bytes)) = catalogue.metainfo(chosen.number)? else { return Ok(None) };
    let Ok(torrent) = Torrent::parse(&bytes) else { return Ok(None) };
    let Some(key) = key(&torrent) else { return Ok(None) };
    let metalink = match chosen.release {
        Some(release) => output(catalogue, release, ReleaseFile::Metalink)?,
        None => None,
    };
    let layout = torrent.layout();
    let file_count = layout.files().iter().filter(|file| !file.is_pad()).count();
    let files = if layout.is_single_file() { String::new() } else { format!("{file_count} files. ") };
    Ok(Some(FeedItem {
        name: layout.name().to_owned(),
        title: layout.name().to_owned(),
        description: format!("{files}{}", torrent.comment().unwrap_or_default()).trim().to_owned(),
        page_url: None,
        key,
        magnet: torrent.magnet().to_string(),
        published_at_s: chosen.published_at_s,
        content_bytes: layout.total_size(),
        torrent_bytes: bytes.len() as u64,
        metalink_bytes: metalink
            .and_then(|output| output.path.symlink_metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|status| status.len()),
    }))
}

fn key(torrent: &Torrent) -> Option<ReleaseKey> {
    torrent.info_hash_v1().map(ReleaseKey::V1).or_else(|| torrent.info_hash_v2().map(ReleaseKey::V2))
}

/// A file that was written for a release: where it lies, and what we wrote.
fn output(
    catalogue: &Catalogue,
    release: ReleaseNumber,
    file: ReleaseFile,
) -> Result<Option<ReleaseOutput>, CatalogueError> {
    let is_it = |output: &ReleaseOutput| output.path.extension().is_some_and(|found| found == file.extension());
    Ok(catalogue.release_outputs(release)?.into_iter().find(is_it))
}

/// The files of what everybody may have. The desk says what that is.
pub(crate) struct Shelf {
    catalogue: Catalogue,
    public: RwLock<HashMap<InfoHash, (TorrentNumber, Option<ReleaseNumber>)>>,
    republish: RwLock<Vec<String>>,
}

impl Shelf {
    pub(crate) fn new(catalogue: Catalogue) -> Shelf {
        Shelf { catalogue, public: RwLock::default(), republish: RwLock::default() }
    }

    /// Lets the files of these subscriptions' torrents be for everybody, too.
    pub(crate) fn configure(&self, settings: &Settings) {
        let republish = settings.subscribe.iter().filter(|from| from.republish).map(|from| from.name.clone());
        *self.republish.write().unwrap_or_else(PoisonError::into_inner) = republish.collect();
    }

    /// Shows a torrent's files, or shows them no longer, as its entry has it.
    pub(crate) fn set(&self, entry: &Entry) {
        let republish = self.republish.read().unwrap_or_else(PoisonError::into_inner);
        let is_shown = entry.is_public() && is_offered(&entry.row, entry.release.is_some(), &republish);
        let release = entry.release.as_deref().map(|release| release.number);
        let mut public = self.public.write().unwrap_or_else(PoisonError::into_inner);
        for info_hash in entry.row.info_hashes() {
            match is_shown {
                true => drop(public.insert(info_hash, (entry.row.number, release))),
                false => drop(public.remove(&info_hash)),
            }
        }
    }

    fn find(&self, key: ReleaseKey) -> Option<(TorrentNumber, Option<ReleaseNumber>)> {
        let name = match key {
            ReleaseKey::V1(hash) => InfoHash::from(hash),
            ReleaseKey::V2(hash) => InfoHash::from(hash),
        };
        self.public.read().unwrap_or_else(PoisonError::into_inner).get(&name).copied()
    }
}

impl ReleaseFiles for Shelf {
    fn read(&self, key: ReleaseKey, file: ReleaseFile) -> io::Result<Option<ReleaseBytes>> {
        let Some((number, release)) = self.find(key) else { return Ok(None) };
        let Some(row) = self.catalogue.row(number).map_err(io::Error::other)? else { return Ok(None) };
        let bytes = match (file, release) {
            (ReleaseFile::Torrent, _) => match self.catalogue.metainfo(number).map_err(io::Error::other)? {
                Some(Metainfo::TorrentFile(bytes)) => Some(bytes),
                _ => None,
            },
            (_, Some(release)) => match output(&self.catalogue, release, file).map_err(io::Error::other)? {
                Some(output) => read_ours(&output)?,
                None => None,
            },
            (ReleaseFile::Magnet, None) => {
                let torrent = self.catalogue.torrent(number).map_err(io::Error::other)?;
                torrent.map(|torrent| format!("{}\n", torrent.magnet()).into_bytes())
            }
            (ReleaseFile::Metalink | ReleaseFile::Sha256, None) => None,
        };
        Ok(bytes.map(|bytes| ReleaseBytes { name: row.name.into(), bytes: bytes.into() }))
    }
}

/// What we wrote, if it is still there. Others may write in that folder: what they put in its place, a link to a secret or a
/// pipe that nobody writes to, is handed out to nobody and waited for by nobody.
fn read_ours(output: &ReleaseOutput) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_file(&output.path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((hash::sha256(&bytes) == output.sha256).then_some(bytes))
}

/// Opens a plain file that is no larger than what is handed out.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    let is_plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok((is_plain && stat.st_size <= MAX_FILE_BYTES as i64).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_wrote_is_handed_out_whatever_somebody_puts_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, secret) = (dir.path().join("live.iso.meta4"), dir.path().join("key.pem"));
        let output = ReleaseOutput { path: path.clone(), sha256: hash::sha256(b"<metalink/>") };
        assert_eq!(read_ours(&output).unwrap(), None);
        std::fs::write(&path, "<metalink/>").unwrap();
        assert_eq!(read_ours(&output).unwrap().as_deref(), Some(b"<metalink/>".as_slice()));
        std::fs::write(&path, "another").unwrap();
        assert_eq!(read_ours(&output).unwrap(), None);

        let again = || std::fs::remove_file(&path).unwrap();
        again();
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert_eq!(read_ours(&output).unwrap(), None);
        assert_eq!(read_ours(&ReleaseOutput { sha256: hash::sha256(b"secret"), ..output.clone() }).unwrap(), None);

        again();
        // Nobody ever writes to it.
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read_ours(&output).unwrap(), None);
        again();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(read_ours(&output).unwrap(), None);
    }
}
