//! The folder of small torrents: made once, listed by an index of one line each, loaded as a service would.

use hash::InfoHash;
use metainfo::Torrent;
use seedbox::{CreateOptions, LoadError, TorrentSource};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Content, Meter, Place, Seeded, VerifiedRecord};

/// The content of each.
pub(crate) const SIZE_BYTES: usize = 48 * 1024;

const PIECE_LENGTH: u32 = 16 * 1024;

/// What of a torrent is known without loading it.
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) info_hashes: Vec<InfoHash>,
    pub(crate) misnamed: InfoHash,
}

/// Where one torrent comes from.
pub(crate) struct Kept {
    pub(crate) folder: Arc<Path>,
    pub(crate) number: u32,
}

/// Makes `count` torrents, unless they are there.
pub(crate) fn make(folder: &Path, count: usize) {
    let is_made = |index: String| index.lines().count() >= count;
    if std::fs::read_to_string(folder.join("index")).is_ok_and(is_made) {
        return;
    }
    for part in ["data", "torrents", "records"] {
        std::fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    let options = CreateOptions { piece_length: Some(PIECE_LENGTH), ..CreateOptions::default() };
    let mut index = String::new();
    for number in 0..count as u32 {
        let name = format!("release-{number:07}.iso");
        let path = folder.join("data").join(&name);
        let bytes: Vec<u8> =
            (0..SIZE_BYTES as u32).map(|n| (n.wrapping_add(number).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&path, bytes).expect("a file");
        let created = seedbox::create(&path, &options, std::num::NonZeroUsize::new(1), &Arc::new(Meter::new()));
        let created = created.expect("a torrent");
        std::fs::write(part(folder, "torrents", number), &created.bytes).expect("a torrent file");
        let record = created.record().expect("a record").encode();
        std::fs::write(part(folder, "records", number), record).expect("a record");
        let misnamed = created.torrent.info_hash_without_empty_keys().expect("a hybrid");
        let mut names = created.torrent.info_hashes().chain([misnamed]).map(|name| name.to_string());
        writeln!(index, "{number} {name} {}", names.by_ref().collect::<Vec<_>>().join(" ")).expect("a string");
    }
    std::fs::write(folder.join("index"), index).expect("the index");
}

/// The first `count` torrents of the folder. Where there are fewer, the others are made up.
pub(crate) fn entries(folder: &Path, count: usize) -> impl Iterator<Item = Entry> + use<> {
    let index = std::fs::read_to_string(folder.join("index")).unwrap_or_default();
    let lines: Vec<String> = index.lines().take(count).map(str::to_owned).collect();
    let there = lines.len() as u32;
    let listed = lines.into_iter().map(|line| {
        let mut words = line.split(' ');
        let number = words.next().and_then(|word| word.parse().ok()).expect("a number");
        let name = words.next().expect("a name").to_owned();
        let mut info_hashes: Vec<InfoHash> = words.map(parse).collect();
        let misnamed = info_hashes.pop().expect("a name of old clients");
        Entry { number, name, info_hashes, misnamed }
    });
    listed.chain((there..count as u32).map(invented))
}

/// A torrent that nobody has: it can be known, and not be woken.
fn invented(number: u32) -> Entry {
    let name = |kind: u8| InfoHash::from(hash::sha1(&[&number.to_be_bytes()[..], &[kind]].concat()));
    let (info_hashes, misnamed) = (vec![name(1), name(2)], name(3));
    Entry { number, name: format!("release-{number:07}.iso"), info_hashes, misnamed }
}

impl Kept {
    /// The torrent as its file has it.
    pub(crate) fn torrent(&self) -> Torrent {
        let bytes = std::fs::read(part(&self.folder, "torrents", self.number)).expect("a torrent file");
        Torrent::parse(&bytes).expect("a torrent")
    }
}

impl TorrentSource for Kept {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        let torrent = self.torrent();
        let content = Content::open(torrent.layout(), &Place::under(self.folder.join("data")))?;
        let record = std::fs::read(part(&self.folder, "records", self.number)).expect("a record");
        let record = VerifiedRecord::parse(&record).expect("a record");
        let info_hash = torrent.info_hashes().next().unwrap_or_default();
        match record.matches(info_hash, &content.identity()) {
            true => Ok(Arc::new(Seeded::new(Arc::new(torrent), content))),
            false => Err(LoadError::Changed { name: torrent.layout().name().to_owned() }),
        }
    }
}

/// An info-hash in hexadecimal digits.
fn parse(digits: &str) -> InfoHash {
    let mut info_hash = InfoHash::default();
    for (n, byte) in info_hash.0.iter_mut().enumerate() {
        *byte = digits.get(2 * n..2 * n + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).expect("an info-hash");
    }
    info_hash
}

fn part(folder: &Path, part: &str, number: u32) -> PathBuf {
    folder.join(part).join(number.to_string())
}
