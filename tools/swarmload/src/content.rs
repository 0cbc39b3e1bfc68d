//! The torrent under load: which blocks there are to ask for, and what the pieces must hash to.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hash::{InfoHash, Sha1Digest, Sha256Digest};
use metainfo::limits::MAX_TORRENT_BYTES;
use metainfo::{BLOCK_SIZE, Torrent, Version, merkle};
use wire::Reserved;

use crate::asked::Address;
use crate::failure::Failure;
use crate::order::PieceOrder;

/// A torrent with at least one block.
#[derive(Debug)]
pub(crate) struct Content {
    torrent: Torrent,
    info_hash: InfoHash,
    /// The one size of the blocks that discarding connections ask for.
    block_bytes: u32,
    block_count: u64,
}

/// What one piece must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceHash {
    /// SHA-1 of its bytes.
    V1(Sha1Digest),
    /// The merkle root over its leaves, padded to so many; a file of one piece is padded to a power of two only.
    V2 { root: Sha256Digest, padded_to_piece: bool },
}

impl Content {
    /// Reads a torrent file.
    pub(crate) fn open(path: &Path) -> Result<Content, Failure> {
        let named = |failure: Failure| failure.context(path.display());
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_TORRENT_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| named(error.into()))?;
        Torrent::parse(&bytes).map_err(Failure::from).and_then(Content::new).map_err(named)
    }

    /// A load over this torrent.
    pub(crate) fn new(torrent: Torrent) -> Result<Content, Failure> {
        let layout = torrent.layout();
        let largest = layout.pieces().map(|piece| layout.piece_size(piece)).max().unwrap_or(0);
        let info_hash = torrent.info_hashes().next();
        let (Some(info_hash), 1..) = (info_hash, largest) else {
            return Err(Failure::new("the torrent has no content to ask for; take one with at least one byte"));
        };
        let block_bytes = largest.min(BLOCK_SIZE);
        let block_count = layout.pieces().map(|piece| u64::from(layout.piece_size(piece) / block_bytes)).sum();
        Ok(Content { info_hash, block_bytes, block_count, torrent })
    }

    /// The swarm's name: the v1 info-hash if there is one.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The extensions that a leech of this torrent announces.
    pub(crate) fn reserved(&self) -> Reserved {
        let reserved = Reserved::EXTENDED.with(Reserved::FAST);
        if self.torrent.version() == Version::V2 { reserved.with(Reserved::V2) } else { reserved }
    }

    /// Piece count.
    pub(crate) fn piece_count(&self) -> u32 {
        self.torrent.layout().piece_count()
    }

    /// Bytes in every block that a discarding connection asks for.
    pub(crate) fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// How many such blocks there are.
    pub(crate) fn block_count(&self) -> u64 {
        self.block_count
    }

    /// `info` as magnet users fetch it.
    pub(crate) fn info_size(&self) -> u32 {
        self.torrent.info_bytes().len() as u32
    }

    /// Whether these bytes are the torrent's `info`, judged by their hash.
    pub(crate) fn is_info(&self, bytes: &[u8]) -> bool {
        match self.torrent.info_hash_v1() {
            Some(digest) => hash::sha1(bytes) == digest,
            None => Some(hash::sha256(bytes)) == self.torrent.info_hash_v2(),
        }
    }

    /// Bytes in a piece; zero if there is no such piece.
    pub(crate) fn piece_size(&self, index: u32) -> u32 {
        let layout = self.torrent.layout();
        layout.piece(index).map_or(0, |piece| layout.piece_size(piece))
    }

    /// What a piece must hash to, by v1 if the torrent has it. `None` if the torrent does not say.
    pub(crate) fn piece_hash(&self, index: u32) -> Option<PieceHash> {
        let layout = self.torrent.layout();
        let piece = layout.piece(index)?;
        if let Some(digest) = self.torrent.piece_hash_v1(piece) {
            return Some(PieceHash::V1(digest));
        }
        let start = layout.piece_offset(piece);
        let files = layout.files();
        let file = files.get(files.partition_point(|file| file.end() <= start))?;
        let padded_to_piece = file.length() > u64::from(layout.piece_length());
        Some(PieceHash::V2 { root: self.torrent.piece_hash_v2(piece)?, padded_to_piece })
    }

    /// The root of a piece's leaves, as [`PieceHash::V2`] has it.
    pub(crate) fn piece_root(&self, leaves: &[Sha256Digest], padded_to_piece: bool) -> Sha256Digest {
        match padded_to_piece {
            true => merkle::piece_root(leaves, self.torrent.layout().piece_length()),
            false => merkle::root_of_leaves(leaves),
        }
    }
}

/// The blocks that one connection asks for: piece after piece in its order, each from its beginning.
#[derive(Debug)]
pub(crate) struct Blocks {
    order: PieceOrder,
    /// The end of pieces is asked for as well, where it is shorter than a block.
    with_tails: bool,
    index: u32,
    begin: u32,
    end: u32,
}

impl Blocks {
    /// From the beginning of the order's first piece.
    pub(crate) fn new(order: PieceOrder, with_tails: bool) -> Blocks {
        Blocks { order, with_tails, index: 0, begin: 0, end: 0 }
    }

    /// The next block.
    pub(crate) fn next(&mut self, content: &Content) -> Address {
        // Ends: some piece holds a whole block, since the largest one set the block's size.
        while self.begin >= self.end {
            self.index = self.order.next();
            self.begin = 0;
            let size = content.piece_size(self.index);
            self.end = if self.with_tails { size } else { size - size % content.block_bytes };
        }
        let length = (self.end - self.begin).min(content.block_bytes);
        let address = Address { index: self.index, begin: self.begin, length };
        self.begin += length;
        address
    }
}

#[cfg(test)]
impl Content {
    /// So many whole pieces of one file, of whatever bytes.
    pub(crate) fn sample(piece_count: u32, piece_length: u32) -> Content {
        let options = metainfo::CreateOptions {
            name: "content".into(),
            version: Version::V1,
            piece_length: Some(piece_length),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            is_private: false,
            comment: None,
            source: None,
            created_by: None,
            creation_date: None,
        };
        let length = u64::from(piece_count) * u64::from(piece_length);
        let file = metainfo::NewFile { length, ..metainfo::NewFile::default() };
        let hashes = metainfo::PieceHashes {
            v1: vec![hash::sha1(b""); piece_count as usize],
            ..metainfo::PieceHashes::default()
        };
        let bytes = metainfo::Builder::new(options, vec![file]).unwrap().finish(&hashes).unwrap();
        Content::new(Torrent::parse(&bytes).unwrap()).unwrap()
    }
}
