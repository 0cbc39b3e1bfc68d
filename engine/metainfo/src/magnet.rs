//! Magnet links (BEP 9, BEP 53): a torrent's info-hashes and where to find peers.

mod read;
mod write;

use std::ops::RangeInclusive;

use hash::{InfoHash, Sha1Digest, Sha256Digest};

/// What a magnet link holds. Parse with [`str::parse`], write with `to_string`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Magnet {
    /// `xt=urn:btih:`, the SHA-1 of `info`.
    pub info_hash_v1: Option<Sha1Digest>,
    /// `xt=urn:btmh:`, the SHA-256 of `info`.
    pub info_hash_v2: Option<Sha256Digest>,
    /// `dn`, a name to show until the torrent is known.
    pub name: Option<String>,
    /// `xl`, bytes of content.
    pub total_size: Option<u64>,
    /// `tr`, tracker URLs.
    pub trackers: Vec<String>,
    /// `ws`, web seeds.
    pub web_seeds: Vec<String>,
    /// `xs`, where the torrent file itself can be had.
    pub exact_sources: Vec<String>,
    /// `x.pe`, peers to ask first.
    pub peers: Vec<MagnetPeer>,
    /// `so`, indices of the files that are wanted (BEP 53); empty for all.
    pub select_only: Vec<RangeInclusive<u32>>,
}

/// A peer that a magnet link names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MagnetPeer {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// A magnet link that is refused: which parameter, and why. The fault is the link's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{parameter}: {problem}")]
pub struct MagnetError {
    /// The parameter, such as `xt`; `magnet` for the link as a whole.
    pub parameter: &'static str,
    /// What is wrong with it.
    pub problem: MagnetProblem,
}

/// What can be wrong with a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MagnetProblem {
    /// The text does not start with `magnet:?`.
    #[error("does not start with magnet:?")]
    NotAMagnet,
    /// Longer than [`crate::limits::MAX_MAGNET_BYTES`].
    #[error("is too long")]
    TooLong,
    /// More of one parameter than is kept.
    #[error("appears more than {0} times")]
    TooMany(usize),
    /// Neither `btih` nor `btmh`.
    #[error("names no info-hash (urn:btih: or urn:btmh:)")]
    NoInfoHash,
    /// An info-hash of another length, or of other digits.
    #[error("is not an info-hash of 40 hexadecimal or 32 base32 digits")]
    BadInfoHash,
    /// A multihash that is not a whole SHA-256.
    #[error("is not 1220 and 64 hexadecimal digits")]
    BadMultihash,
    /// Two different info-hashes of one kind.
    #[error("names two different info-hashes")]
    TwoInfoHashes,
    /// Percent signs without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("is not percent-encoded UTF-8")]
    BadEncoding,
    /// Not a number that fits.
    #[error("is not a number")]
    NotANumber,
    /// Not a host and a port.
    #[error("is not a host and a port")]
    BadPeer,
    /// Not indices and ranges of indices with commas between them.
    #[error("is not a list of file indices")]
    BadSelection,
}

impl Magnet {
    /// The names of the swarms, v1 first.
    pub fn info_hashes(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.info_hash_v1.map(InfoHash::from).into_iter().chain(self.info_hash_v2.map(InfoHash::from))
    }
}

#[cfg(test)]
mod tests;
