//! The memory that content was verified: which state of which files had the torrent's bytes. Bytes in and out; who
//! keeps the record, and where, is the caller's business ([`crate::write_atomically`] is for it).

use bencode::{KeyOrder, Limits};
use hash::InfoHash;
use metainfo::limits::MAX_FILES;

use crate::identity::FileIdentity;

/// The form written by this version. Another one is not read: the content is then verified again.
const VERSION: i64 = 1;

/// Size, modification time and inode of one file, eight bytes each, big-endian.
pub(crate) const FILE_BYTES: usize = 24;

/// The largest record that is read, as many files as a torrent may have and room for the keys.
pub const RECORD_BYTES_MAX: usize = MAX_FILES * FILE_BYTES + 1024;

/// "These files, in this state, are this torrent's content." The device number is left out, since it may change when a
/// machine restarts; a size, a time in nanoseconds and an inode are not met again by chance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRecord {
    info_hash: InfoHash,
    files: Vec<[u8; FILE_BYTES]>,
}

/// Why bytes are not a record. Nobody's fault worth naming: it was written by another version or damaged, and the
/// content is verified again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Not bencoded.
    #[error("not bencoded: {0}")]
    Malformed(#[from] bencode::DecodeError),
    /// A key is missing or has a value of the wrong kind or size.
    #[error("key {0:?} is missing or wrong")]
    Key(&'static str),
    /// Written by another version.
    #[error("version {0} is not known")]
    Version(i64),
}

impl VerifiedRecord {
    /// Remembers that the torrent's files were found complete in these states ([`crate::Content::identity`]).
    pub fn new(info_hash: InfoHash, files: &[FileIdentity]) -> VerifiedRecord {
        VerifiedRecord { info_hash, files: files.iter().map(pack).collect() }
    }

    /// The torrent that the record is about.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Whether the torrent is the same and every one of its files is still in the state that was verified.
    pub fn matches(&self, info_hash: InfoHash, files: &[FileIdentity]) -> bool {
        self.info_hash == info_hash && self.files.iter().eq(files.iter().map(pack).collect::<Vec<_>>().iter())
    }

    /// Size, time and inode of each file that holds bytes, in the order of the torrent.
    pub(crate) fn states(&self) -> &[[u8; FILE_BYTES]] {
        &self.files
    }

    /// Size, modification time in nanoseconds and inode of each file, in the order of the torrent.
    pub fn files(&self) -> impl Iterator<Item = (u64, i64, u64)> {
        let field = |file: &[u8; FILE_BYTES], at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&file[at..at + 8]);
            bytes
        };
        self.files.iter().map(move |file| {
            let [size, mtime, inode] = [0, 8, 16].map(|at| field(file, at));
            (u64::from_be_bytes(size), i64::from_be_bytes(mtime), u64::from_be_bytes(inode))
        })
    }

    /// The record as bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        bencode::encode_dict(|dict| {
            dict.bytes("files", self.files.as_flattened());
            dict.bytes("info-hash", self.info_hash.0);
            dict.int("version", VERSION);
        })
    }

    /// Reads what [`VerifiedRecord::encode`] wrote. Any bytes are safe to give.
    pub fn parse(bytes: &[u8]) -> Result<VerifiedRecord, RecordError> {
        let limits = Limits { input_bytes: RECORD_BYTES_MAX, depth: 1, keys: KeyOrder::Sorted };
        let record = bencode::decode(bytes, &limits)?.as_dict().ok_or(RecordError::Key("version"))?;
        let [files, info_hash, version] = record.get_all(["files", "info-hash", "version"]);
        match version.and_then(|version| version.as_int()) {
            Some(VERSION) => {}
            Some(other) => return Err(RecordError::Version(other)),
            None => return Err(RecordError::Key("version")),
        }
        let info_hash = info_hash.and_then(|hash| hash.as_bytes()?.try_into().ok());
        let info_hash = InfoHash(info_hash.ok_or(RecordError::Key("info-hash"))?);
        let packed = files.and_then(|files| files.as_bytes()).ok_or(RecordError::Key("files"))?;
        match packed.as_chunks() {
            (files, []) => Ok(VerifiedRecord { info_hash, files: files.to_vec() }),
            _ => Err(RecordError::Key("files")),
        }
    }
}

pub(crate) fn pack(file: &FileIdentity) -> [u8; FILE_BYTES] {
    let mut packed = [0; FILE_BYTES];
    packed[..8].copy_from_slice(&file.size_bytes.to_be_bytes());
    packed[8..16].copy_from_slice(&file.mtime_ns.to_be_bytes());
    packed[16..].copy_from_slice(&file.inode.to_be_bytes());
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(size_bytes: u64, mtime_ns: i64, inode: u64) -> FileIdentity {
        FileIdentity { size_bytes, mtime_ns, inode, device: 1 }
    }

    #[test]
    fn another_size_time_inode_order_or_torrent_does_not_match() {
        let files = [identity(1, 2, 3), identity(4, 5, 6)];
        let torrent = InfoHash([7; 20]);
        let record = VerifiedRecord::new(torrent, &files);
        assert!(record.matches(torrent, &files));
        assert!(!record.matches(InfoHash([8; 20]), &files));
        let others = [identity(9, 5, 6), identity(4, 9, 6), identity(4, 5, 9)];
        for other in others {
            assert!(!record.matches(torrent, &[files[0], other]), "{other:?}");
        }
        assert!(!record.matches(torrent, &files[..1]));
        assert!(!record.matches(torrent, &[files[1], files[0]]));
    }

    #[test]
    fn a_device_that_was_renumbered_still_matches() {
        let before = identity(1, 2, 3);
        let record = VerifiedRecord::new(InfoHash([7; 20]), &[before]);
        assert!(record.matches(InfoHash([7; 20]), &[FileIdentity { device: 2, ..before }]));
    }

    #[test]
    fn a_record_of_another_version_or_with_torn_files_is_refused() {
        let encode = |files: &[u8], version| {
            bencode::encode_dict(|dict| {
                dict.bytes("files", files).bytes("info-hash", [7; 20]).int("version", version);
            })
        };
        assert!(VerifiedRecord::parse(&encode(&[0; 48], 1)).is_ok());
        assert_eq!(VerifiedRecord::parse(&encode(&[0; 48], 2)), Err(RecordError::Version(2)));
        assert_eq!(VerifiedRecord::parse(&encode(&[0; 47], 1)), Err(RecordError::Key("files")));
        assert!(matches!(VerifiedRecord::parse(b"d5:filesl"), Err(RecordError::Malformed(_))));
        assert_eq!(VerifiedRecord::parse(b"i1e"), Err(RecordError::Key("version")));
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(hash: [u8; 20], files: Vec<(u64, i64, u64)>) {
            let files: Vec<_> = files.into_iter().map(|(size, mtime, inode)| identity(size, mtime, inode)).collect();
            let record = VerifiedRecord::new(InfoHash(hash), &files);
            let read: Vec<_> = record.files().collect();
            let given: Vec<_> = files.iter().map(|file| (file.size_bytes, file.mtime_ns, file.inode)).collect();
            prop_assert_eq!(read, given);
            prop_assert_eq!(VerifiedRecord::parse(&record.encode()), Ok(record));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = VerifiedRecord::parse(&bytes);
        }
    }
}
