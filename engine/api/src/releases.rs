//! The files that a release is handed out with, by HTTP: `/releases/INFO-HASH/NAME.torrent` and its siblings. Where they
//! lie is for whoever implements [`ReleaseFiles`].

mod answer;
mod shelf;

use std::fmt;
use std::io;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use hash::{Sha1Digest, Sha256Digest};
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use answer::respond;
pub(crate) use shelf::Shelf;

/// The largest file that is handed out; torrents are what grows (`metainfo::limits`).
pub const MAX_FILE_BYTES: usize = 64 << 20;

/// The info-hash that stands for a release in paths and ids: v1 if it has one, since every client knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReleaseKey {
    /// Of v1 and hybrid torrents.
    V1(Sha1Digest),
    /// Of torrents that are v2 only.
    V2(Sha256Digest),
}

/// The files of a release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReleaseFile {
    /// The torrent.
    Torrent,
    /// Magnet links, a line each.
    Magnet,
    /// Metalink 4 (RFC 5854).
    Metalink,
    /// Sums as `sha256sum` writes them.
    Sha256,
}

/// A file of a release, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseBytes {
    /// The torrent's name, which the path must show.
    pub name: String,
    /// The file.
    pub bytes: Bytes,
}

/// Who has the files of releases. Implemented by the service.
pub trait ReleaseFiles: Send + Sync {
    /// Reads a file, whole; `None` if there is no such release, if it is not for everybody yet, or if it has no such
    /// file. Called on the blocking pool; more than [`MAX_FILE_BYTES`] are not handed out and need not be read.
    fn read(&self, key: ReleaseKey, file: ReleaseFile) -> io::Result<Option<ReleaseBytes>>;
}

/// What stays itself in a part of a path (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of a release's file, beneath the base URL.
pub fn path(key: ReleaseKey, name: &str, file: ReleaseFile) -> String {
    format!("/releases/{key}/{}.{}", utf8_percent_encode(name, ESCAPED), file.extension())
}

impl ReleaseFile {
    /// All of them.
    pub const ALL: [ReleaseFile; 4] =
        [ReleaseFile::Torrent, ReleaseFile::Magnet, ReleaseFile::Metalink, ReleaseFile::Sha256];

    /// How its name ends.
    pub fn extension(self) -> &'static str {
        match self {
            ReleaseFile::Torrent => "torrent",
            ReleaseFile::Magnet => "magnet",
            ReleaseFile::Metalink => "meta4",
            ReleaseFile::Sha256 => "sha256",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            ReleaseFile::Torrent => "application/x-bittorrent",
            ReleaseFile::Magnet | ReleaseFile::Sha256 => "text/plain; charset=utf-8",
            ReleaseFile::Metalink => "application/metalink4+xml",
        }
    }
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseKey::V1(hash) => hash.fmt(f),
            ReleaseKey::V2(hash) => hash.fmt(f),
        }
    }
}

/// Neither 40 nor 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither 40 nor 64 hex digits")]
pub struct NoReleaseKey;

impl FromStr for ReleaseKey {
    type Err = NoReleaseKey;

    fn from_str(text: &str) -> Result<ReleaseKey, NoReleaseKey> {
        let mut bytes = [0; 32];
        let size = match text.len() {
            40 => 20,
            64 => 32,
            _ => return Err(NoReleaseKey),
        };
        let room = bytes.get_mut(..size).ok_or(NoReleaseKey)?;
        HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), room).map_err(|_| NoReleaseKey)?;
        match <[u8; 20]>::try_from(&*room) {
            Ok(hash) => Ok(ReleaseKey::V1(Sha1Digest(hash))),
            Err(_) => Ok(ReleaseKey::V2(Sha256Digest(bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_and_an_info_hash_is_read_back() {
        let v1 = ReleaseKey::V1(Sha1Digest([0xab; 20]));
        let v2 = ReleaseKey::V2(Sha256Digest([0xcd; 32]));
        let hash = "ab".repeat(20);
        assert_eq!(
            path(v1, "a b/../ü?#%.iso", ReleaseFile::Metalink),
            format!("/releases/{hash}/a%20b%2F..%2F%C3%BC%3F%23%25.iso.meta4")
        );
        for key in [v1, v2] {
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(key.to_string().to_uppercase().parse(), Ok(key));
        }
        for text in ["", "ab", &"zz".repeat(20), &"é".repeat(20), &"a".repeat(41)] {
            assert_eq!(text.parse::<ReleaseKey>(), Err(NoReleaseKey), "{text}");
        }
    }
}
