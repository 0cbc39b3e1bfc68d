use metainfo::Version;
use proptest::prelude::*;

use super::*;
use crate::testing::Tree;

const SECOND_NS: u64 = 1_000_000_000;
/// When the record under test was written.
const WRITTEN_NS: u64 = 1_000 * SECOND_NS;

fn identity(size_bytes: u64, mtime_ns: u64, inode: u64) -> FileIdentity {
    FileIdentity { size_bytes, mtime_ns: mtime_ns as i64, inode, device: 1 }
}

fn torrent() -> std::sync::Arc<metainfo::Torrent> {
    Tree::new(&[("a", 300_000), ("b", 300_000)]).torrent(Version::V1, 16 * 1024)
}

fn record(is_clean: bool) -> PartialRecord {
    let files = [Some(identity(5, WRITTEN_NS - SECOND_NS, 7)), None];
    PartialRecord::new(InfoHash([1; 20]), &PieceSet::full(torrent().layout()), &files, WRITTEN_NS, is_clean)
}

#[test]
fn after_a_clean_end_no_other_time_is_trusted() {
    let trusts = |mtime_ns| record(true).trusts(0, &identity(5, mtime_ns, 7));
    assert!(trusts(WRITTEN_NS - SECOND_NS));
    assert!(!trusts(WRITTEN_NS - SECOND_NS - 1) && !trusts(WRITTEN_NS - SECOND_NS + 1));
}

#[test]
fn after_a_crash_our_own_last_writes_are_trusted_and_no_others() {
    let trusts = |mtime_ns| record(false).trusts(0, &identity(5, mtime_ns, 7));
    assert!(trusts(WRITTEN_NS - SECOND_NS) && trusts(WRITTEN_NS) && trusts(WRITTEN_NS + 9 * SECOND_NS));
    assert!(!trusts(WRITTEN_NS - SECOND_NS - 1) && !trusts(WRITTEN_NS + 60 * SECOND_NS));
}

#[test]
fn another_file_size_or_one_that_was_not_there_is_never_trusted() {
    for is_clean in [true, false] {
        let mtime_ns = WRITTEN_NS - SECOND_NS;
        assert!(!record(is_clean).trusts(0, &identity(5, mtime_ns, 8)));
        assert!(!record(is_clean).trusts(0, &identity(6, mtime_ns, 7)));
        assert!(!record(is_clean).trusts(1, &identity(0, 0, 0)) && !record(is_clean).knows(1));
        assert!(!record(is_clean).trusts(2, &identity(5, mtime_ns, 7)));
    }
}

#[test]
fn a_record_of_another_shape_has_no_pieces() {
    let other = Tree::new(&[("a", 1000), ("b", 10)]).torrent(Version::V1, 16 * 1024);
    assert_eq!(record(true).have(other.layout()), Err(RecordError::Key("have")));
    let other = Tree::new(&[("a", 1000)]).torrent(Version::V1, 16 * 1024);
    assert_eq!(record(true).have(other.layout()), Err(RecordError::Key("files")));
    assert!(record(true).have(torrent().layout()).unwrap().is_full());
}

#[test]
fn a_time_at_the_end_of_all_times_does_not_overflow() {
    let files = [Some(identity(5, 1, 7))];
    let layout = torrent();
    let record = PartialRecord::new(InfoHash([1; 20]), &PieceSet::empty(layout.layout()), &files, u64::MAX, false);
    assert!(record.trusts(0, &identity(5, 1 << 62, 7)));
    assert!(PartialRecord::parse(&record.encode()).is_ok());
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(
        hash: [u8; 20],
        have: Vec<u8>,
        files: Vec<Option<(u64, i64, u64)>>,
        written_ns in 0..i64::MAX as u64,
        is_clean: bool,
    ) {
        let pack_one = |file: Option<(u64, i64, u64)>| file.map_or([0; FILE_BYTES], |(size_bytes, mtime_ns, inode)| {
            pack(&FileIdentity { size_bytes, mtime_ns, inode, device: 0 })
        });
        let files = files.into_iter().map(pack_one).collect();
        let record = PartialRecord { info_hash: InfoHash(hash), have, files, written_ns, is_clean };
        prop_assert_eq!(PartialRecord::parse(&record.encode()), Ok(record));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = PartialRecord::parse(&bytes);
    }

    #[test]
    fn a_damaged_record_is_refused_or_of_another_torrent_but_never_a_panic(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = record(false).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(parsed) = PartialRecord::parse(&bytes) {
            let _ = (parsed.have(torrent().layout()), parsed.trusts(0, &identity(5, WRITTEN_NS, 7)));
        }
    }
}
