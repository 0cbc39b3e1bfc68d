//! What a pass has to do, and in which order: pieces that need the same hashes in groups of sixteen, and whole files. Who does it
//! is `group.rs` and `whole_files.rs`.

use arrayvec::ArrayVec;
use hash::{LANES, Sha1Digest, Sha256Digest};
use metainfo::{FileIndex, FileLayout, PieceIndex};

use super::group::content_in;
use super::{Digests, Found};

/// Files that one thread hashes side by side have at most so many bytes together; a larger one has its thread to itself. Lanes are
/// cheaper than single streams, but what a thread reads far ahead of the pieces may be gone from the page cache by then.
const FILE_JOB_BYTES: u64 = 1 << 30;

/// Files in one job, so that a tree of tiny ones is shared between threads.
const FILE_JOB_FILES: usize = 1024;

/// What to do. What is known already stands in [`Plan::found`].
pub(crate) struct Plan {
    pub(crate) found: Found,
    shares: Vec<Share>,
    jobs: Vec<FileJob>,
    reused_bytes: u64,
}

/// Pieces that need the same hashes, in order.
struct Share {
    digests: Digests,
    pieces: Vec<PieceIndex>,
}

/// Files for one thread, in order.
struct FileJob {
    files: Vec<FileIndex>,
    /// How far the pieces have to be until the files are read, so that both kinds of hashes find them in the page cache.
    due: Position,
}

/// The next piece to be taken: which share, and which of its pieces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Position {
    share: usize,
    piece: usize,
}

/// How much of a plan the threads took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    at: Position,
    jobs: usize,
}

/// What a thread does next.
pub(super) enum Task<'p> {
    Pieces(Digests, ArrayVec<PieceIndex, LANES>),
    Files(&'p [FileIndex]),
}

impl Plan {
    /// All of these pieces, or all pieces of the layout.
    pub(crate) fn of(layout: &FileLayout, pieces: Option<Vec<PieceIndex>>, digests: Digests) -> Plan {
        let pieces = pieces.unwrap_or_else(|| layout.pieces().collect());
        Plan {
            found: Found::nothing(layout, digests),
            shares: vec![Share { digests, pieces }],
            jobs: Vec::new(),
            reused_bytes: 0,
        }
    }

    /// What is left of `digests` of all pieces if `found` is known, and the SHA-256 of `files`, which are in order.
    pub(crate) fn rest(
        layout: &FileLayout,
        mut found: Found,
        known: &[Digests],
        digests: Digests,
        files: &[FileIndex],
    ) -> Plan {
        let kinds = [Digests { v1: true, v2: true }, Digests { v1: true, v2: false }, Digests { v1: false, v2: true }];
        let mut shares: Vec<Share> = kinds.map(|digests| Share { digests, pieces: Vec::new() }).into();
        let mut reused_bytes = 0;
        for (piece, known) in layout.pieces().zip(known) {
            let missing = Digests { v1: digests.v1 && !known.v1, v2: digests.v2 && !known.v2 };
            match shares.iter_mut().find(|share| share.digests == missing) {
                Some(share) => share.pieces.push(piece),
                None => {
                    found.is_read[piece.get() as usize] = true;
                    reused_bytes += content_in(layout, layout.whole_piece(piece));
                }
            }
        }
        shares.retain(|share| !share.pieces.is_empty());
        let jobs = file_jobs(layout, &shares, files);
        Plan { found, shares, jobs, reused_bytes }
    }

    /// Bytes to hash, and bytes whose pieces are known.
    pub(super) fn work_bytes(&self, layout: &FileLayout) -> (u64, u64) {
        let pieces = self.shares.iter().flat_map(|share| &share.pieces);
        let of_pieces: u64 = pieces.map(|piece| content_in(layout, layout.whole_piece(*piece))).sum();
        let of_files: u64 = self.jobs.iter().flat_map(|job| &job.files).map(|file| layout.file(*file).length()).sum();
        (of_pieces + of_files, self.reused_bytes)
    }

    /// What no thread has taken yet.
    pub(super) fn take(&self, taken: &mut Taken) -> Option<Task<'_>> {
        let is_over = taken.at.share >= self.shares.len();
        if let Some(job) = self.jobs.get(taken.jobs).filter(|job| is_over || job.due <= taken.at) {
            taken.jobs += 1;
            return Some(Task::Files(&job.files));
        }
        let share = self.shares.get(taken.at.share)?;
        let pieces: ArrayVec<PieceIndex, LANES> = share.pieces[taken.at.piece..].iter().copied().take(LANES).collect();
        taken.at.piece += pieces.len();
        if taken.at.piece >= share.pieces.len() {
            taken.at = Position { share: taken.at.share + 1, piece: 0 };
        }
        Some(Task::Pieces(share.digests, pieces))
    }

    /// Whether some thread has taken all of it.
    pub(super) fn is_all_taken(&self, taken: &Taken) -> bool {
        taken.at.share >= self.shares.len() && taken.jobs >= self.jobs.len()
    }

    /// Whether all that was to be done has its digests.
    pub(super) fn is_complete(&self, found: &Found) -> bool {
        let hashed = |file: &FileIndex| found.file_sha256[file.get() as usize].is_some();
        found.is_read.iter().all(|is_read| *is_read) && self.jobs.iter().flat_map(|job| &job.files).all(hashed)
    }
}

impl Found {
    /// No digests yet.
    pub(crate) fn nothing(layout: &FileLayout, digests: Digests) -> Found {
        let pieces = layout.piece_count() as usize;
        Found {
            v1: vec![Sha1Digest::default(); if digests.v1 { pieces } else { 0 }],
            v2: vec![Sha256Digest::default(); if digests.v2 { pieces } else { 0 }],
            is_read: vec![false; pieces],
            file_sha256: Vec::new(),
        }
    }
}

fn file_jobs(layout: &FileLayout, shares: &[Share], files: &[FileIndex]) -> Vec<FileJob> {
    let mut jobs: Vec<FileJob> = Vec::new();
    let mut job_bytes = 0;
    for file in files {
        let file_bytes = layout.file(*file).length();
        match jobs.last_mut().filter(|job| job.files.len() < FILE_JOB_FILES && job_bytes + file_bytes <= FILE_JOB_BYTES)
        {
            Some(job) => {
                job.files.push(*file);
                job_bytes += file_bytes;
            }
            None => {
                jobs.push(FileJob { files: vec![*file], due: due(layout, shares, *file) });
                job_bytes = file_bytes;
            }
        }
    }
    jobs
}

/// Where the pieces of the file begin; at once if none of them is hashed.
fn due(layout: &FileLayout, shares: &[Share], file: FileIndex) -> Position {
    let (first, last) = (layout.file_pieces(file).next(), layout.file_pieces(file).next_back());
    let (Some(first), Some(last)) = (first, last) else { return Position::default() };
    let positions = shares.iter().enumerate().map(|(share, of)| {
        let piece = of.pieces.partition_point(|piece| *piece < first);
        of.pieces.get(piece).filter(|piece| **piece <= last).map(|_| Position { share, piece })
    });
    positions.flatten().next().unwrap_or_default()
}
