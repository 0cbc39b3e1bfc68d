//! New torrents: from names and lengths to the layout that is to be hashed, and from hashes to the bytes of the torrent file.
//! Who walks the folder and hashes the files is `storage`; the bytes are put together in `create/write.rs`.

mod write;

use std::collections::BTreeMap;

use hash::{Sha1Digest, Sha256Digest};

use crate::error::TorrentError;
use crate::file_list::{Attributes, FileList, Place};
use crate::geometry::FileIndex;
use crate::layout::{Arrangement, FileLayout, LayoutError};
use crate::limits::{MAX_CREATED_PIECE_LENGTH, MAX_DEPTH, MAX_TORRENT_BYTES, MIN_V2_PIECE_LENGTH};
use crate::limits::{MAX_TRACKERS, MAX_URL_BYTES, MAX_WEB_SEEDS};
use crate::parse::is_pad_path;
use crate::sanitize;
use crate::torrent::Version;

pub(crate) use write::sources as write_sources;

/// What a new torrent is to say. The file's bytes depend on nothing but this, the files and their hashes.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The torrent's name: that of its file, or of its folder.
    pub name: String,
    /// Which formats to write.
    pub version: Version,
    /// Bytes in a piece, a power of two; chosen by [`auto_piece_length`] if not given.
    pub piece_length: Option<u32>,
    /// Tracker URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Whether peers may come from trackers only (BEP 27).
    pub is_private: bool,
    /// A note for people.
    pub comment: Option<String>,
    /// A site's mark that gives the torrent its own info-hash.
    pub source: Option<String>,
    /// The program that makes the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970. Left out, or fixed, the same content gives the same file.
    pub creation_date: Option<i64>,
}

/// A file to put into a torrent, or a symbolic link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewFile {
    /// The path below the torrent's folder, outermost first. Empty if the torrent is this one file.
    pub components: Vec<String>,
    /// Bytes; zero for a link.
    pub length: u64,
    /// BEP 47 `x`.
    pub executable: bool,
    /// BEP 47 `h`.
    pub hidden: bool,
    /// Where a link points, from the torrent's folder (BEP 47 `l`).
    pub symlink_target: Option<Vec<String>>,
}

/// The hashes of everything in a layout. What the format does not have is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PieceHashes {
    /// The SHA-1 of every piece, in order.
    pub v1: Vec<Sha1Digest>,
    /// The trees of all files with content, in any order.
    pub v2: Vec<FileHashes>,
}

/// The tree of one file (BEP 52).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileHashes {
    /// Which file of the layout.
    pub file: FileIndex,
    /// Its root.
    pub root: Sha256Digest,
    /// One hash for every piece; the root alone for a file of at most one piece.
    pub layer: Vec<Sha256Digest>,
}

/// Why a torrent cannot be made. The fault is the operator's, unless it says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateError {
    /// No file has content; clients refuse such torrents.
    #[error("there is nothing to share: no file has any bytes")]
    Nothing,
    /// A name that is empty, too long, or has separators or control characters: other clients would rename it, and then not
    /// find it.
    #[error("{path}: a torrent cannot hold this name (it has a separator or a control character, or is too long)")]
    UnsafeName {
        /// The path of the file.
        path: String,
    },
    /// A link whose target is the torrent's folder itself, or has a name that a torrent cannot hold.
    #[error("{path}: a torrent cannot hold the target of this link")]
    UnsafeTarget {
        /// The path of the link.
        path: String,
    },
    /// A name that v1 clients take for padding.
    #[error("{path}: clients take a file of this name for padding")]
    PadName {
        /// The path of the file.
        path: String,
    },
    /// Two files of one path, or a file where another one has its folder.
    #[error("{path}: there are two files of this path")]
    TwoFiles {
        /// The path of the second one.
        path: String,
    },
    /// A path of too many bytes, or too many folders deep.
    #[error("{path}: the path is too long")]
    PathTooLong {
        /// The path.
        path: String,
    },
    /// A v2 torrent shows one file in a folder as one file alone (BEP 52).
    #[error("a v2 torrent cannot hold a folder with nothing in it but one file; publish the file, or use a hybrid")]
    FolderOfOne,
    /// A piece length that is not a power of two, or out of range.
    #[error("piece length {0}: must be a power of two from {MIN_V2_PIECE_LENGTH} to {MAX_CREATED_PIECE_LENGTH}")]
    PieceLength(u32),
    /// Too many files, pieces or bytes.
    #[error("{0}; choose longer pieces or less content")]
    Layout(LayoutError),
    /// Not an absolute URL.
    #[error("{url}: not a URL that a torrent can hold")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// More trackers or web seeds than any client reads.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be given.
        limit: usize,
    },
    /// The torrent file would be larger than what is read.
    #[error("the torrent file would be larger than {MAX_TORRENT_BYTES} bytes; choose longer pieces")]
    TooLarge,
    /// The hashes do not fit the layout. A fault of the program.
    #[error("internal fault: the hashes do not fit the files: {0}")]
    WrongHashes(&'static str),
    /// What was written does not read back. A fault of the program.
    #[error("internal fault: the new torrent does not read back: {0}")]
    Unreadable(TorrentError),
}

/// The piece length for so many bytes of content: a power of two from 16 KiB to 16 MiB that makes between 1,000 and about
/// 2,000 pieces where it can.
pub fn auto_piece_length(total_size: u64) -> u32 {
    /// Twice 1,024, so that a step between powers of two never leaves the wanted range.
    const MOST_PIECES: u64 = 2048;
    let lengths = (14..=24).map(|log| 1u32 << log);
    lengths.into_iter().find(|length| total_size.div_ceil(u64::from(*length)) <= MOST_PIECES).unwrap_or(1 << 24)
}

/// A torrent that waits for its hashes.
#[derive(Clone, Debug)]
pub struct Builder {
    options: CreateOptions,
    layout: FileLayout,
}

impl Builder {
    /// Checks names and options, sorts the files (by the bytes of their components, as the v2 tree has them) and puts in the
    /// pads of a hybrid.
    pub fn new(mut options: CreateOptions, mut files: Vec<NewFile>) -> Result<Builder, CreateError> {
        check_urls(&mut options)?;
        files.sort_by(|left, right| left.components.cmp(&right.components));
        for link in files.iter_mut().filter(|file| file.symlink_target.is_some()) {
            link.length = 0;
        }
        let is_single_file = files.len() == 1 && files[0].components.is_empty();
        check_names(&options, &files, is_single_file)?;
        let total_size = files.iter().fold(0u64, |total, file| total.saturating_add(file.length));
        if total_size == 0 {
            return Err(CreateError::Nothing);
        }
        if options.version == Version::V2 && !is_single_file && files.len() == 1 && files[0].components.len() == 1 {
            return Err(CreateError::FolderOfOne);
        }
        let piece_length = options.piece_length.unwrap_or_else(|| auto_piece_length(total_size));
        if !piece_length.is_power_of_two() || !(MIN_V2_PIECE_LENGTH..=MAX_CREATED_PIECE_LENGTH).contains(&piece_length)
        {
            return Err(CreateError::PieceLength(piece_length));
        }
        let pad_to = (options.version == Version::Hybrid).then_some(piece_length);
        let entries = list_files(&options.name, &files, pad_to).and_then(FileList::into_entries);
        let entries = entries.map_err(CreateError::Unreadable)?;
        let arrangement = match options.version {
            Version::V2 => Arrangement::FileAligned,
            Version::V1 | Version::Hybrid => Arrangement::EndToEnd,
        };
        let layout = FileLayout::new(options.name.clone(), is_single_file, piece_length, arrangement, entries)
            .map_err(CreateError::Layout)?;
        Ok(Builder { options, layout })
    }

    /// The files and pieces to hash, pads included.
    pub fn layout(&self) -> &FileLayout {
        &self.layout
    }

    /// The bytes of the torrent file. They are read back before they are handed out.
    pub fn finish(&self, hashes: &PieceHashes) -> Result<Vec<u8>, CreateError> {
        write::torrent(&self.options, &self.layout, hashes)
    }
}

/// The list of what goes into the torrent. Every file that would end within a piece is followed by a pad, but for the last
/// one with content (BEP 52: the end of the content needs none).
fn list_files(name: &str, files: &[NewFile], pad_to: Option<u32>) -> Result<FileList, TorrentError> {
    let mut list = FileList::default();
    let mut pads = BTreeMap::new();
    let mut offset = 0u64;
    let last = files.iter().rposition(|file| file.length > 0);
    for (index, file) in files.iter().enumerate() {
        let (file_name, folders) = match file.components.split_last() {
            Some((file_name, folders)) => (file_name.as_str(), folders),
            None => (name, &[][..]),
        };
        let mut place = Place::TOP;
        for folder in folders {
            place = list.folder(place, folder.as_bytes())?;
        }
        let attributes = Attributes {
            executable: file.executable,
            hidden: file.hidden,
            is_symlink: file.symlink_target.is_some(),
            is_pad: false,
        };
        list.file(place, file_name.as_bytes(), file.length, attributes)?;
        if let Some(target) = &file.symlink_target {
            list.link(target.iter().map(String::as_bytes))?;
        }
        offset = offset.saturating_add(file.length);
        let end = pad_to.and_then(|piece_length| offset.checked_next_multiple_of(u64::from(piece_length)));
        if let Some(end) = end.filter(|end| file.length > 0 && *end > offset && last != Some(index)) {
            let length = end - offset;
            let count = pads.entry(length).or_insert(0u32);
            *count += 1;
            list.pad([b".pad".as_slice(), pad_name(length, *count).as_bytes()].into_iter(), length)?;
            offset = end;
        }
    }
    Ok(list)
}

/// BEP 47 names a pad by its length. Of pads of one length all but the first get a number too: rtorrent 0.9.8 does not know
/// pads and opens no torrent that has a path twice.
fn pad_name(length: u64, count: u32) -> String {
    if count == 1 { length.to_string() } else { format!("{length}.{count}") }
}

/// Names must come out of a torrent as they went in, or nobody could seed it.
fn check_names(options: &CreateOptions, files: &[NewFile], is_single_file: bool) -> Result<(), CreateError> {
    /// Levels of a v2 torrent around and below the folders: the file, `info`, the tree, the file's own two.
    const OTHER_LEVELS: usize = 5;
    if !is_safe(&options.name) {
        return Err(CreateError::UnsafeName { path: options.name.clone() });
    }
    let mut before: Option<&NewFile> = None;
    for file in files.iter().filter(|_| !is_single_file) {
        let path = file.components.join("/");
        let names = || file.components.iter().map(String::as_bytes);
        let target_is_safe = |target: &Vec<String>| !target.is_empty() && target.iter().all(|name| is_safe(name));
        if file.components.is_empty() || !file.components.iter().all(|name| is_safe(name)) {
            return Err(CreateError::UnsafeName { path });
        }
        if !file.symlink_target.as_ref().is_none_or(target_is_safe) {
            return Err(CreateError::UnsafeTarget { path });
        }
        if options.version != Version::V2 && is_pad_path(names(), file.length) {
            return Err(CreateError::PadName { path });
        }
        // Sorted, a file comes just before what a folder of its name would hold.
        if before.is_some_and(|before| file.components.starts_with(&before.components)) {
            return Err(CreateError::TwoFiles { path });
        }
        if !FileList::fits(names()) || file.components.len() + OTHER_LEVELS > MAX_DEPTH {
            return Err(CreateError::PathTooLong { path });
        }
        before = Some(file);
    }
    Ok(())
}

fn is_safe(name: &str) -> bool {
    sanitize::component(name.as_bytes()).is_some_and(|safe| safe == name)
}

fn check_urls(options: &mut CreateOptions) -> Result<(), CreateError> {
    for urls in &mut options.trackers {
        urls.retain(|url| !url.is_empty());
    }
    options.trackers.retain(|tier| !tier.is_empty());
    let tracker_count: usize = options.trackers.iter().map(Vec::len).sum();
    if tracker_count > MAX_TRACKERS {
        return Err(CreateError::TooMany { what: "trackers", limit: MAX_TRACKERS });
    }
    if options.web_seeds.len() > MAX_WEB_SEEDS {
        return Err(CreateError::TooMany { what: "web seeds", limit: MAX_WEB_SEEDS });
    }
    for url in options.trackers.iter().flatten().chain(&options.web_seeds) {
        let is_clean = url.len() < MAX_URL_BYTES && !url.contains(|c: char| c.is_control() || c.is_whitespace());
        if !is_clean || !url::Url::parse(url).is_ok_and(|url| url.has_host()) {
            return Err(CreateError::BadUrl { url: url.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
