//! A torrent under way: its files are made, pieces are verified and written, and what was verified is remembered. Starts
//! no thread and reads no clock; which piece is fetched from whom is `swarm`'s, when what is called is the shard's.
//!
//! - [`Partial::open`] makes and finds the files (`open.rs`).
//! - [`Partial::check_and_write`] takes whole pieces, verifies them together in lanes (`check.rs`) and writes the good ones
//!   (`write.rs`); unverified bytes reach the disk by [`Partial::write_blocks`] only, where memory is short.
//! - [`Partial::checkpoint`] makes it durable and remembers what is verified (`checkpoint.rs`).
//! - [`Partial::recheck`] verifies what an earlier session left without a word (`recheck.rs`).
//! - [`Partial::finish`] closes what is complete (`finish.rs`).
//!
//! Descriptors for writing and the marks of what is not durable are in `files.rs`, which is locked for moments only:
//! any number of threads may work on pieces of their own.

mod check;
mod checkpoint;
mod files;
mod finish;
mod holes;
mod open;
mod recheck;
mod remembered;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use hash::Sha256Digest;
use metainfo::{FileLayout, PieceIndex, PieceSet, Torrent};

use crate::block_buffer::BlockBuffer;
use crate::content::Content;
use crate::error::StorageError;
use checkpoint::Keeper;
use files::Files;

pub use finish::Finished;
pub use open::{Allocation, Basis, PartialOptions, Resumed};
pub use recheck::RecheckPass;

/// The most pieces that are verified at once; more in one call go in groups of so many.
pub const CHECKED_AT_ONCE: usize = hash::LANES;

/// The files of a torrent that is being downloaded. `Send + Sync`.
#[derive(Debug)]
pub struct Partial {
    torrent: Arc<Torrent>,
    files: Files,
    keeper: Keeper,
    /// Pieces that are verified and written. A piece is added after its files were marked as dirty.
    verified: Mutex<PieceSet>,
    /// The pieces of the wanted files.
    wanted: PieceSet,
    /// For each file whether it is wanted; all of them if not given.
    wanted_files: Option<Vec<bool>>,
    allocate: Allocation,
}

/// A piece with all its blocks. One that is `None` is on disk already ([`Partial::write_blocks`]) or nothing but pad.
#[derive(Debug)]
pub struct PieceBuffers {
    /// Which piece.
    pub piece: PieceIndex,
    /// Its blocks of 16 KiB from the first to the last; of the last one the leading bytes count.
    pub blocks: Vec<Option<BlockBuffer>>,
    /// Whether [`Checked::block_hashes`] is wanted of a good piece too: it failed before, and somebody is looked for.
    pub wants_block_hashes: bool,
}

/// What became of a piece, with its buffers.
#[derive(Debug)]
pub struct Checked {
    /// The piece as it was given.
    pub buffers: PieceBuffers,
    /// Right, wrong or not written.
    pub verdict: Verdict,
    /// Of a bad piece, or where wanted, for each block a hash that tells two versions of the block apart. It is the block's
    /// merkle leaf where the torrent has v2 (BEP 52; zeros for a block of pad alone), so that proved leaves show which
    /// blocks are wrong.
    pub block_hashes: Vec<Sha256Digest>,
}

/// Whether a piece is what the torrent says.
#[derive(Debug)]
pub enum Verdict {
    /// It is, and it is written.
    Good,
    /// It is not. None of it was written now.
    Bad,
    /// It could not be written, or read back. It counts as missing; its buffers may be given again.
    Failed(Arc<StorageError>),
}

impl Partial {
    /// The torrent.
    pub fn torrent(&self) -> &Arc<Torrent> {
        &self.torrent
    }

    /// The pieces of the files that are wanted.
    pub fn wanted(&self) -> &PieceSet {
        &self.wanted
    }

    /// The pieces that are verified and written: those that were found, and those that came since.
    pub fn have(&self) -> PieceSet {
        self.mark_verified(|verified| verified.clone())
    }

    /// The files for reading while the download goes on, for [`crate::Seeded`]. Each call gives content of its own, which
    /// opens files of its own.
    pub fn content(&self) -> Content {
        Content::growing(self.layout(), &self.files.top, &self.files.identities)
    }

    /// Whether every path still names the file of the download, of its size. Three system calls a file, for a periodic
    /// watch off the executors. A file that another program writes into is not noticed.
    pub fn check_on_disk(&self) -> Result<(), StorageError> {
        self.content().check_on_disk()
    }

    /// Lets go of the descriptors for writing, which are opened again when needed. For a download that pauses.
    pub fn close_files(&self) {
        self.files.close();
    }

    fn mark_verified<T>(&self, change: impl FnOnce(&mut PieceSet) -> T) -> T {
        change(&mut self.verified.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn layout(&self) -> &FileLayout {
        self.torrent.layout()
    }
}

#[cfg(test)]
mod tests;
