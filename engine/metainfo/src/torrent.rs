//! A torrent as the rest of the engine knows it: what was parsed, and the questions it answers. How it is read is in
//! `parse`.

use std::ops::Range;
use std::sync::OnceLock;

use hash::{InfoHash, Sha1Digest, Sha256Digest};

use crate::error::TorrentError;
use crate::geometry::{FileIndex, PieceIndex};
use crate::layout::FileLayout;
use crate::magnet::Magnet;
use crate::parse;

/// Which formats a torrent is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// BEP 3: SHA-1 over the pieces of all files end to end.
    V1,
    /// BEP 52: a SHA-256 tree for every file.
    V2,
    /// Both, over the same files.
    Hybrid,
}

/// A parsed torrent. Nothing in it can be changed, and every index and path in it was checked.
#[derive(Clone, Debug)]
pub struct Torrent {
    pub(crate) info: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) info_hash_v1: Option<Sha1Digest>,
    pub(crate) info_hash_v2: Option<Sha256Digest>,
    pub(crate) layout: FileLayout,
    /// Where in `info` the v1 hashes are; twenty bytes for every piece, or empty.
    pub(crate) v1_hashes: Range<usize>,
    pub(crate) layers: PieceLayers,
    pub(crate) outer: Outer,
    pub(crate) source: Option<String>,
    pub(crate) is_private: bool,
    /// Found out when first asked for: it takes a hash of all of `info`.
    pub(crate) misnamed: OnceLock<Option<InfoHash>>,
}

/// What stands around `info`, and may be changed without making another torrent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outer {
    pub(crate) trackers: Vec<Vec<String>>,
    pub(crate) web_seeds: Vec<String>,
    pub(crate) http_seeds: Vec<String>,
    pub(crate) comment: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) creation_date: Option<i64>,
}

/// The piece layers of a v2 torrent (BEP 52), checked against the roots.
#[derive(Clone, Debug, Default)]
pub(crate) struct PieceLayers {
    /// The layers end to end; equal files share one.
    pub(crate) hashes: Vec<Sha256Digest>,
    /// For every file where its layer starts; [`NO_LAYER`] for files of at most one piece.
    pub(crate) starts: Vec<u32>,
}

/// The piece layer of one file as peers gave it (BEP 52).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceLayer {
    /// The root of the file's tree.
    pub root: Sha256Digest,
    /// The hash of every piece, 32 bytes each, end to end.
    pub hashes: Vec<u8>,
}

/// Marks a file that needs no layer.
pub(crate) const NO_LAYER: u32 = u32::MAX;

impl Torrent {
    /// Reads a torrent file. An error names the field that is at fault.
    pub fn parse(bytes: &[u8]) -> Result<Torrent, TorrentError> {
        parse::torrent(bytes)
    }

    /// Makes a torrent of an `info` dictionary that came from peers (BEP 9). The caller compares the info-hashes with those
    /// that were asked for. Such a torrent has no trackers, and a v2 one has no piece layers yet.
    pub fn from_info(info: &[u8]) -> Result<Torrent, TorrentError> {
        parse::bare_info(info)
    }

    /// Which formats the torrent is in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The SHA-1 of `info`, for v1 and hybrid torrents.
    pub fn info_hash_v1(&self) -> Option<Sha1Digest> {
        self.info_hash_v1
    }

    /// The SHA-256 of `info`, for v2 and hybrid torrents.
    pub fn info_hash_v2(&self) -> Option<Sha256Digest> {
        self.info_hash_v2
    }

    /// The names of the torrent's swarms, v1 first; two for a hybrid.
    pub fn info_hashes(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.info_hash_v1.map(InfoHash::from).into_iter().chain(self.info_hash_v2.map(InfoHash::from))
    }

    /// The bytes of `info` as they stood in the file: what the info-hashes are taken over, and what peers with a magnet are
    /// sent.
    pub fn info_bytes(&self) -> &[u8] {
        &self.info
    }

    /// Files and pieces.
    pub fn layout(&self) -> &FileLayout {
        &self.layout
    }

    /// The SHA-1 of a piece, for v1 and hybrid torrents.
    pub fn piece_hash_v1(&self, piece: PieceIndex) -> Option<Sha1Digest> {
        let start = self.v1_hashes.start + piece.get() as usize * 20;
        let bytes = self.info[..self.v1_hashes.end].get(start..start + 20)?;
        bytes.try_into().ok().map(Sha1Digest)
    }

    /// One merkle hash for every piece of a file (BEP 52); of a file of at most one piece its root. `None` for a file without
    /// a root, and where the layers are not known yet.
    pub fn piece_layer(&self, file: FileIndex) -> Option<&[Sha256Digest]> {
        let entry = self.layout.file(file);
        let root = entry.pieces_root.as_ref()?;
        if entry.length <= u64::from(self.layout.piece_length()) {
            return Some(std::slice::from_ref(root));
        }
        let start = *self.layers.starts.get(file.get() as usize)?;
        let count = self.layout.file_pieces(file).len();
        self.layers.hashes.get(start as usize..)?.get(..count)
    }

    /// The merkle hash of a piece (BEP 52): of one of several pieces of a file the node over its leaves, padded to a whole
    /// piece; of a file's only piece the file's root.
    pub fn piece_hash_v2(&self, piece: PieceIndex) -> Option<Sha256Digest> {
        let file = self.layout.file_index(self.layout.file_at(self.layout.piece_offset(piece)) as u32)?;
        let first = self.layout.file_pieces(file).next()?;
        let index = piece.get().checked_sub(first.get())?;
        self.piece_layer(file)?.get(index as usize).copied()
    }

    /// Whether [`Torrent::piece_layer`] answers for every file that has a root. False for v1, and for a v2 torrent that was
    /// made of its `info` alone.
    pub fn has_piece_layers(&self) -> bool {
        self.version != Version::V1 && self.layers.starts.len() == self.layout.files().len()
    }

    /// Tracker URLs in tiers (BEP 12), without empty tiers. `announce` is in front if no tier holds it.
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.outer.trackers
    }

    /// Web seeds (BEP 19) as the file has them, each ending in a slash for a multi-file torrent. A relative one counts from
    /// where the torrent file was found.
    pub fn web_seeds(&self) -> &[String] {
        &self.outer.web_seeds
    }

    /// What stands under `httpseeds`. BEP 17 means scripts; Debian puts plain URLs of the file here, which serve like those of
    /// [`Torrent::web_seeds`].
    pub fn http_seeds(&self) -> &[String] {
        &self.outer.http_seeds
    }

    /// The maker's comment.
    pub fn comment(&self) -> Option<&str> {
        self.outer.comment.as_deref()
    }

    /// The program that made the torrent.
    pub fn created_by(&self) -> Option<&str> {
        self.outer.created_by.as_deref()
    }

    /// When the torrent was made, in seconds since 1970.
    pub fn creation_date(&self) -> Option<i64> {
        self.outer.creation_date
    }

    /// The site that the torrent is from; part of `info`, so that equal content has another info-hash elsewhere.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether peers may come from trackers only (BEP 27).
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// The magnet link of this torrent, with both info-hashes of a hybrid.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            info_hash_v1: self.info_hash_v1,
            info_hash_v2: self.info_hash_v2,
            name: Some(self.layout.name().to_owned()),
            total_size: Some(self.layout.total_size()),
            trackers: self.outer.trackers.iter().flatten().cloned().collect(),
            web_seeds: self.outer.web_seeds.clone(),
            exact_sources: Vec::new(),
            peers: Vec::new(),
            select_only: Vec::new(),
        }
    }
}
