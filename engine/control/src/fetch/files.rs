//! The files of a fetch as control sees them: it knows when something has to be done with them, somebody else what.

use crate::control::FilesUnderWay;
use metainfo::Torrent;
use std::sync::Arc;
use storage::{Progress, Seeded, StorageError};

/// The files of one torrent that is fetched. Everything here but [`FetchFiles::progress`] and [`FetchFiles::cancel`] may wait
/// for the disk, and is called where that is allowed.
pub trait FetchFiles: Send + Sync {
    /// Makes them ready, and finds out what is in them.
    fn prepare(&self, torrent: &Arc<Torrent>) -> Result<Prepared, FetchError>;

    /// How far that is.
    fn progress(&self) -> Progress;

    /// Makes it end soon.
    fn cancel(&self);

    /// All that is wanted is there, though it is not the whole torrent: makes it last.
    fn keep(&self) -> Result<(), FetchError>;

    /// Whether every path still names the file that is written to.
    fn check_on_disk(&self) -> Result<(), StorageError>;

    /// All of it is there: makes it last, and opens it as content that never changes again.
    fn finish(&self, torrent: &Arc<Torrent>) -> Result<Arc<Seeded>, FetchError>;
}

/// Files that a fetch can begin with.
pub struct Prepared {
    /// The torrent, and its content as far as it is there.
    pub seeded: Arc<Seeded>,
    /// The files under way.
    pub partial: FilesUnderWay,
    /// The pieces that are there, as on the wire: the highest bit of the first byte is piece 0.
    pub have: Box<[u8]>,
    /// The pieces that are wanted, in the same form.
    pub wanted: Box<[u8]>,
}

/// Why a fetch cannot begin or end.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The files; the disk's fault, or that of whoever changed them.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Nothing of the torrent is wanted.
    #[error("no file of the torrent {name} is meant by {wanted}")]
    NothingWanted {
        /// The torrent's name.
        name: String,
        /// What was asked for.
        wanted: String,
    },
    /// Whoever wants it has no place for its files.
    #[error("{reason}")]
    Refused {
        /// Why not, and what helps.
        reason: String,
    },
    /// The processor, or the build, computes wrong digests.
    #[error(transparent)]
    SelfTest(#[from] hash::SelfTestError),
    /// Our fault: the thread that worked on the files ended early.
    #[error("the work on the files broke off")]
    BrokeOff,
}
