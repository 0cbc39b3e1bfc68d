//! What a session leaves to the next one, after a clean end and after a crash at any point.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// The time of the file system's clock, as a shard would give it.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Fetches the pieces with the real time, which the record compares with that of the files.
fn fetch(download: &Download, partial: &Partial, pieces: &[PieceIndex], have: &mut PieceSet) {
    let mut pool = BufferPool::new(16 << 20);
    let pieces = pieces.iter().map(|piece| download.piece(*piece, &mut pool)).collect();
    for checked in partial.check_and_write(pieces, now_ns()) {
        assert!(matches!(checked.verdict, Verdict::Good), "{:?}", checked.verdict);
        have.insert(checked.buffers.piece);
    }
}

#[test]
fn a_clean_end_is_trusted_without_a_look_at_the_bytes() {
    for version in VERSIONS {
        let download = Download::new(version, &FILES);
        let (partial, mut have) = download.open().into_have();
        fetch(&download, &partial, &download.pieces()[1..4], &mut have);
        partial.checkpoint(&have, now_ns(), true).unwrap();
        drop(partial);
        let (_, resumed) = download.open();
        assert_eq!(resumed.have, have);
        assert!(resumed.recheck.is_empty() && matches!(resumed.basis, Basis::Record), "{:?}", resumed.basis);
    }
}
