//! The memory of a download: which pieces were verified and durable, and in which states the files were then. Bytes in and
//! out; when it is written is `partial/checkpoint.rs`'s.

use bencode::{KeyOrder, Limits};
use hash::InfoHash;
use metainfo::limits::{MAX_FILES, MAX_PIECES};
use metainfo::{FileLayout, PieceSet};

use crate::identity::FileIdentity;
use crate::record::{FILE_BYTES, RecordError, pack};

/// The form written by this version. Another one is not read: the content is then checked again.
const VERSION: i64 = 1;

/// The largest record that is read: as many files and pieces as a torrent may have, and room for the keys.
pub(crate) const PARTIAL_RECORD_BYTES_MAX: usize = MAX_FILES * FILE_BYTES + MAX_PIECES as usize / 8 + 1024;

/// Before a write the record must be younger than this, so that a crash leaves file times close to the record's.
pub(crate) const STAMP_AGE_MAX_NS: u64 = 4_000_000_000;

/// How long after an unclean record was written its files may have been written to for the last time by ourselves:
/// [`STAMP_AGE_MAX_NS`], and a write that was on its way while the disk was slow.
const OWN_WRITES_NS: u64 = 10_000_000_000;

/// "These pieces are on disk, in files of these states."
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PartialRecord {
    pub(crate) info_hash: InfoHash,
    /// A bitfield.
    have: Vec<u8>,
    /// One for each entry of the layout; zeros for what has no file.
    files: Vec<[u8; FILE_BYTES]>,
    /// When the record was written, in nanoseconds since 1970.
    written_ns: u64,
    /// Whether nothing was written to the files after the record.
    is_clean: bool,
}

impl PartialRecord {
    pub(crate) fn new(
        info_hash: InfoHash,
        have: &PieceSet,
        files: &[Option<FileIdentity>],
        written_ns: u64,
        is_clean: bool,
    ) -> PartialRecord {
        let files = files.iter().map(|file| file.as_ref().map_or([0; FILE_BYTES], pack)).collect();
        PartialRecord { info_hash, have: have.as_bytes().to_vec(), files, written_ns, is_clean }
    }

    /// The pieces, if the record's shape is that of the torrent.
    pub(crate) fn have(&self, layout: &FileLayout) -> Result<PieceSet, RecordError> {
        if self.files.len() != layout.files().len() {
            return Err(RecordError::Key("files"));
        }
        PieceSet::from_bytes(layout, &self.have).ok_or(RecordError::Key("have"))
    }

    /// The same record without a word on files that are not as it says, and with no pieces but `have`.
    pub(crate) fn without(&self, is_changed: impl Fn(usize) -> bool, have: &PieceSet) -> PartialRecord {
        let keep =
            |(file, packed): (usize, &[u8; FILE_BYTES])| if is_changed(file) { [0; FILE_BYTES] } else { *packed };
        let files = self.files.iter().enumerate().map(keep).collect();
        PartialRecord { have: have.as_bytes().to_vec(), files, ..self.clone() }
    }

    /// Whether the record says anything of the file.
    pub(crate) fn knows(&self, file: usize) -> bool {
        self.files.get(file).is_some_and(|packed| *packed != [0; FILE_BYTES])
    }

    /// Whether the file, found in the state `found`, holds what the record says of it. After a clean end nothing may have
    /// moved. After a crash our own last writes may have: the time then lies between that of the record's files, which was
    /// durable before the record was, and a little after the record.
    pub(crate) fn trusts(&self, file: usize, found: &FileIdentity) -> bool {
        let Some(packed) = self.files.get(file) else { return false };
        let before = unpack(packed);
        let own_writes_end = i64::try_from(self.written_ns.saturating_add(OWN_WRITES_NS)).unwrap_or(i64::MAX);
        let latest = if self.is_clean { before.mtime_ns } else { own_writes_end.max(before.mtime_ns) };
        (before.inode, before.size_bytes) == (found.inode, found.size_bytes)
            && self.knows(file)
            && (before.mtime_ns..=latest).contains(&found.mtime_ns)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        bencode::encode_dict(|dict| {
            dict.int("clean", i64::from(self.is_clean));
            dict.bytes("files", self.files.as_flattened());
            dict.bytes("have", &self.have);
            dict.bytes("info-hash", self.info_hash.0);
            dict.int("version", VERSION);
            dict.int("written", i64::try_from(self.written_ns).unwrap_or(i64::MAX));
        })
    }

    /// Reads what [`PartialRecord::encode`] wrote. Any bytes are safe to give.
    pub(crate) fn parse(bytes: &[u8]) -> Result<PartialRecord, RecordError> {
        let limits = Limits { input_bytes: PARTIAL_RECORD_BYTES_MAX, depth: 1, keys: KeyOrder::Sorted };
        let record = bencode::decode(bytes, &limits)?.as_dict().ok_or(RecordError::Key("version"))?;
        let [clean, files, have, info_hash, version, written] =
            record.get_all(["clean", "files", "have", "info-hash", "version", "written"]);
        match version.and_then(|version| version.as_int()) {
            Some(VERSION) => {}
            Some(other) => return Err(RecordError::Version(other)),
            None => return Err(RecordError::Key("version")),
        }
        let info_hash = info_hash.and_then(|hash| hash.as_bytes()?.try_into().ok());
        let clean = clean.and_then(|clean| clean.as_int()).ok_or(RecordError::Key("clean"))?;
        let written = written.and_then(|written| u64::try_from(written.as_int()?).ok());
        let packed = files.and_then(|files| files.as_bytes()).ok_or(RecordError::Key("files"))?;
        let (files, []) = packed.as_chunks() else { return Err(RecordError::Key("files")) };
        Ok(PartialRecord {
            info_hash: InfoHash(info_hash.ok_or(RecordError::Key("info-hash"))?),
            have: have.and_then(|have| have.as_bytes()).ok_or(RecordError::Key("have"))?.to_vec(),
            files: files.to_vec(),
            written_ns: written.ok_or(RecordError::Key("written"))?,
            is_clean: clean == 1,
        })
    }
}

/// The state that was packed, on a device that is not known.
fn unpack(packed: &[u8; FILE_BYTES]) -> FileIdentity {
    let word = |index: usize| u64::from_be_bytes(std::array::from_fn(|byte| packed[8 * index + byte]));
    FileIdentity { size_bytes: word(0), mtime_ns: word(1) as i64, inode: word(2), device: 0 }
}

#[cfg(test)]
mod tests;
