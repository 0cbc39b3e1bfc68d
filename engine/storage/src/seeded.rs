//! A torrent whose content is complete, as it is given to all shards at once, and the one error that ends it for all.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};

use metainfo::{PieceIndex, Torrent};

use crate::content::Content;
use crate::error::StorageError;

/// A complete torrent. An `Arc` of it crosses shards.
#[derive(Debug)]
pub struct Seeded {
    torrent: Arc<Torrent>,
    content: Content,
    /// Set once: what is wrong with the content since it was verified.
    error: OnceLock<StorageError>,
    /// For each piece how many reads are bringing parts of it into the page cache.
    fillings: Box<[AtomicU16]>,
}

/// A read that brings a part of a piece into the page cache, for as long as this lives.
#[derive(Debug)]
pub struct Filling {
    seeded: Arc<Seeded>,
    piece: PieceIndex,
}

impl Seeded {
    /// A torrent and its verified content.
    pub fn new(torrent: Arc<Torrent>, content: Content) -> Seeded {
        let fillings = (0..torrent.layout().piece_count()).map(|_| AtomicU16::new(0)).collect();
        Seeded { torrent, content, error: OnceLock::new(), fillings }
    }

    /// The torrent.
    pub fn torrent(&self) -> &Arc<Torrent> {
        &self.torrent
    }

    /// Its files.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What ended the seeding of this torrent, if something did. Then no more of it may be sent.
    pub fn error(&self) -> Option<&StorageError> {
        self.error.get()
    }

    /// Ends the seeding of this torrent on all shards. True for the first caller, whose error it is.
    pub fn fail(&self, error: StorageError) -> bool {
        self.error.set(error).is_ok()
    }

    /// Tells all shards that parts of the piece are on their way into the page cache.
    pub fn begin_filling(self: &Arc<Seeded>, piece: PieceIndex) -> Filling {
        if let Some(count) = self.fillings.get(piece.get() as usize) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Filling { seeded: self.clone(), piece }
    }

    /// Whether parts of the piece are on their way into the page cache: the kernel may count their pages as resident
    /// (`cachestat(2)` does from the moment the read begins), but who sends them waits for the disk.
    pub fn is_filling(&self, piece: PieceIndex) -> bool {
        self.fillings.get(piece.get() as usize).is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(count) = self.seeded.fillings.get(self.piece.get() as usize) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
