//! Reading a `.torrent` file that the user names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use metainfo::Torrent;
use metainfo::limits::MAX_TORRENT_BYTES;

use crate::failure::Failure;

/// Reads and parses the file; the failure names it, and the field that is wrong.
pub(crate) fn read(path: &Path) -> Result<Torrent, Failure> {
    Torrent::parse(&read_bytes(path)?).map_err(|error| Failure::from(error).context(path.display()))
}

/// Reads the file; the failure names it.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let named = |failure: Failure| failure.context(path.display());
    let mut bytes = Vec::new();
    let limit = MAX_TORRENT_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| named(Failure::from(error)))?;
    if bytes.len() > MAX_TORRENT_BYTES {
        return Err(named(Failure::new(format!("is larger than a torrent file may be ({MAX_TORRENT_BYTES} bytes)"))));
    }
    Ok(bytes)
}
