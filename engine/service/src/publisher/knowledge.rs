//! Which release knows the hashes of a file: by size, time and inode, so that what was moved, linked or is one of many in a
//! changed directory is not read again.

use std::collections::{BTreeSet, HashMap};

use catalogue::{Catalogue, CatalogueError, ReleaseNumber, TorrentNumber};
use publish::ContentFile;
use seedbox::KnownFiles;
use storage::VerifiedRecord;

use crate::outputs::add_known;

/// The most files that are remembered, about 64 bytes each; others are hashed again.
const FILES: usize = 1_000_000;

/// The most releases of which one new release takes hashes.
const SOURCES: usize = 64;

/// A release as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Numbers {
    pub(crate) torrent: TorrentNumber,
    pub(crate) release: ReleaseNumber,
}

/// Size, modification time and inode.
type State = (u64, i64, u64);

/// What is known, of all releases of a tree.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    files: HashMap<State, Numbers>,
}

impl Knowledge {
    pub(crate) fn learn(&mut self, numbers: Numbers, record: &VerifiedRecord) {
        for state in record.files() {
            if self.files.len() < FILES || self.files.contains_key(&state) {
                self.files.insert(state, numbers);
            }
        }
    }

    pub(crate) fn forget(&mut self, numbers: Numbers) {
        self.files.retain(|_, known| *known != numbers);
    }

    /// The releases that know some of these files.
    pub(crate) fn sources(&self, files: &[ContentFile]) -> BTreeSet<Numbers> {
        let state = |file: &ContentFile| (file.size_bytes, file.mtime_ns, file.inode);
        let mut sources = BTreeSet::new();
        for numbers in files.iter().filter_map(|file| self.files.get(&state(file))) {
            if sources.len() < SOURCES {
                sources.insert(*numbers);
            }
        }
        sources
    }
}

/// Reads what these releases know. Blocks. What cannot be read is hashed again.
pub(crate) fn recall(catalogue: &Catalogue, sources: &BTreeSet<Numbers>) -> KnownFiles {
    let mut known = KnownFiles::new();
    for numbers in sources {
        if let Err(error) = recall_one(catalogue, *numbers, &mut known) {
            tracing::warn!(torrent = numbers.torrent.0, "its hashes are not reused: {error}");
        }
    }
    known
}

fn recall_one(catalogue: &Catalogue, numbers: Numbers, known: &mut KnownFiles) -> Result<(), CatalogueError> {
    let (torrent, record) = (catalogue.torrent(numbers.torrent)?, catalogue.verified(numbers.torrent)?);
    let sums = catalogue.release_sums(numbers.release)?.unwrap_or_default();
    if let (Some(torrent), Some(record)) = (torrent, record) {
        add_known(known, torrent.into(), &record, &sums);
    }
    Ok(())
}
