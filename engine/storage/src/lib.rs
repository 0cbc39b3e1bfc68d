//! Between a torrent and the files that hold its bytes: finding and opening them, maps and their residency, hashing
//! passes, and the memory of what was verified. Touches files, but starts no threads and reads no clock: threads are
//! the caller's. Nothing here knows of peers or sockets.

mod content;
mod error;
mod identity;
mod open_file;
mod place;
mod residency;

pub use content::Content;
pub use error::{Change, StorageError};
pub use identity::FileIdentity;
pub use open_file::{MAP_MIN_BYTES, OpenFile, ReadNow};
pub use place::Place;
pub use residency::{Residency, ResidencySource};
