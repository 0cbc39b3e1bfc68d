//! Between a torrent and the files that hold its bytes: finding and opening them, maps and their residency, hashing
//! passes, and the memory of what was verified. Touches files, but starts no threads and reads no clock: threads are
//! the caller's. Nothing here knows of peers or sockets.

mod atomically;
mod content;
mod error;
mod identity;
mod open_file;
mod place;
mod record;
mod residency;
mod scan;
#[cfg(test)]
mod testing;

pub use atomically::write_atomically;
pub use content::Content;
pub use error::{Change, StorageError};
pub use identity::FileIdentity;
pub use open_file::{MAP_MIN_BYTES, OpenFile, ReadNow};
pub use place::Place;
pub use record::{RECORD_BYTES_MAX, RecordError, VerifiedRecord};
pub use residency::{Residency, ResidencySource};
pub use scan::{SCAN_FILES_MAX, ScanOptions, ScannedFile, Symlinks, scan};
