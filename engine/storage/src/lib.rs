//! Between a torrent and the files that hold its bytes: finding and opening them, maps and their residency, hashing
//! passes, and the memory of what was verified. Touches files, but starts no threads and reads no clock: threads are
//! the caller's. Nothing here knows of peers or sockets.

mod atomically;
mod block_buffer;
mod content;
mod error;
mod hash_pass;
mod identity;
mod meter;
mod open_file;
mod partial;
mod partial_record;
mod pass;
mod piece_tree;
mod place;
mod read_buffer;
mod record;
mod residency;
mod scan;
mod seeded;
mod select;
mod verify;
mod window;

#[cfg(test)]
mod testing;

pub use atomically::{write_atomically, write_whole};
pub use block_buffer::{BlockBuffer, BufferPool};
pub use content::Content;
pub use error::{Change, StorageError};
pub use hash_pass::{HashPass, Hashed, KnownFiles, Wanted};
pub use identity::FileIdentity;
pub use meter::{Meter, Progress};
pub use open_file::{MAP_MIN_BYTES, OpenFile, ReadNow};
pub use partial::{
    Allocation, Basis, CHECKED_AT_ONCE, Checked, Finished, Partial, PartialOptions, PieceBuffers, RecheckPass, Resumed,
    Verdict,
};
pub use pass::Digests;
pub use place::Place;
pub use read_buffer::ReadBuffer;
pub use record::{RECORD_BYTES_MAX, RecordError, VerifiedRecord};
pub use residency::{Residency, ResidencySource};
pub use scan::{SCAN_FILES_MAX, ScanOptions, Symlinks, scan, scan_where};
pub use seeded::{Filling, Seeded};
pub use select::{select_files, select_numbers};
pub use verify::{FileProblem, VerifyPass, VerifyReport};
