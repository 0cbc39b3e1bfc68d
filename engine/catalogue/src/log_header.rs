//! The head of the write-ahead log, looked at before SQLite is: it takes a log whose head is wrong for an empty one, and
//! with it everything that was committed since the database itself was last written.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::set_aside::with_suffix;

/// fileformat2, 4.1: magic, format, page size, checkpoint, two salts, two sums over what is before them.
const HEAD_BYTES: usize = 32;
const SUMMED_BYTES: usize = 24;
/// The lowest bit says in which order of bytes words are summed.
const MAGIC: u32 = 0x377f_0682;

/// Whether the log of the database at `path` begins like none. One of zeros is what a power failure leaves of a log that
/// nothing had been committed to.
pub(crate) fn is_damaged(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    match File::open(with_suffix(path, "-wal")) {
        Ok(log) => log.take(HEAD_BYTES as u64).read_to_end(&mut head)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(head.iter().any(|byte| *byte != 0) && !is_right(&head))
}

fn is_right(head: &[u8]) -> bool {
    let word = |at: usize| head[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if head.len() < HEAD_BYTES || word(0) & !1 != MAGIC {
        return false;
    }
    let is_big_endian = word(0) & 1 == 1;
    let summed = |at: usize| if is_big_endian { word(at) } else { word(at).swap_bytes() };
    let add = |(one, two): (u32, u32), at: usize| {
        let one = one.wrapping_add(summed(at)).wrapping_add(two);
        (one, two.wrapping_add(summed(at + 4)).wrapping_add(one))
    };
    (0..SUMMED_BYTES).step_by(8).fold((0, 0), add) == (word(SUMMED_BYTES), word(SUMMED_BYTES + 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn a_log_of_sqlites_is_right_and_no_flipped_byte_of_its_head_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        assert!(!is_damaged(&path).unwrap(), "there is none");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (a)").unwrap();
        let log = std::fs::read(with_suffix(&path, "-wal")).unwrap();
        assert!(!is_damaged(&path).unwrap());
        drop(connection);
        let is_damaged_as = |log: &[u8]| {
            std::fs::write(with_suffix(&path, "-wal"), log).unwrap();
            is_damaged(&path).unwrap()
        };
        for at in 0..HEAD_BYTES {
            let mut flipped = log.clone();
            flipped[at] ^= 0x10;
            assert!(is_damaged_as(&flipped), "{at}");
        }
        assert!(is_damaged_as(&log[..20]));
        assert!(!is_damaged_as(&[]) && !is_damaged_as(&[0; 4096]));
    }
}
