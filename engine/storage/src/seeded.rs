//! A torrent whose content is complete, as it is given to all shards at once, and the one error that ends it for all.

use std::sync::{Arc, OnceLock};

use metainfo::Torrent;

use crate::content::Content;
use crate::error::StorageError;

/// A complete torrent. An `Arc` of it crosses shards.
#[derive(Debug)]
pub struct Seeded {
    torrent: Arc<Torrent>,
    content: Content,
    /// Set once: what is wrong with the content since it was verified.
    error: OnceLock<StorageError>,
}

impl Seeded {
    /// A torrent and its verified content.
    pub fn new(torrent: Arc<Torrent>, content: Content) -> Seeded {
        Seeded { torrent, content, error: OnceLock::new() }
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
}
