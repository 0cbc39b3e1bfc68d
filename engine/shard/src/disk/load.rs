//! The reads themselves, on the blocking pool's threads.

use crate::limits::READER_NICENESS;
use hash::Sha256Digest;
use metainfo::{BlockRange, Extent, PieceIndex};
use std::cell::Cell;
use std::sync::Arc;
use storage::{ReadBuffer, Seeded, StorageError};

/// How a window is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Through the page cache: its pages stay there.
    Cached,
    /// Past the page cache, if the file system can.
    Direct,
}

/// Reads the bytes of `extents`, which lie in `piece` and are `size` in all, and says which way it went.
pub(super) fn window(
    seeded: &Arc<Seeded>,
    piece: PieceIndex,
    extents: &[Extent],
    size: usize,
    way: Way,
    mut buffer: ReadBuffer,
) -> Result<(ReadBuffer, Way), StorageError> {
    step_back();
    if let ([Extent::File { file, offset, .. }], Way::Direct) = (extents, way) {
        let open = seeded.content().file(*file)?;
        if open.read_direct(&mut buffer, *offset, size)? {
            // Bytes of a file that has changed meanwhile are not the torrent's.
            open.check_unchanged()?;
            return Ok((buffer, Way::Direct));
        }
    }
    let _filling = seeded.begin_filling(piece);
    read_extents(seeded, extents.iter().copied(), buffer.fill(size))?;
    Ok((buffer, Way::Cached))
}

/// Lets the shard go before this thread, which shares its core: those that wait for the disk have time.
fn step_back() {
    thread_local! {
        static IS_BACK: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_BACK.replace(true) {
        // Without the right to it things go on as they are.
        let _ = rustix::process::setpriority_process(None, READER_NICENESS);
    }
}

fn read_extents(seeded: &Seeded, extents: impl Iterator<Item = Extent>, bytes: &mut [u8]) -> Result<(), StorageError> {
    let mut at = 0;
    for extent in extents {
        match extent {
            Extent::File { file, offset, size } => {
                let end = at + size as usize;
                let open = seeded.content().file(file)?;
                open.read_at(&mut bytes[at..end], offset)?;
                open.check_unchanged()?;
                at = end;
            }
            Extent::Zeros { size } => {
                let end = at + size as usize;
                bytes[at..end].fill(0);
                at = end;
            }
        }
    }
    Ok(())
}

/// The merkle leaves of blocks, which are at most 16 KiB each (BEP 52).
///
/// These reads are in no device's budget: a shard makes few leaves in a second and reads one block at a time for each
/// request, while a permit held for all of a request's 512 blocks would keep its windows waiting.
pub(super) fn leaves(seeded: &Arc<Seeded>, blocks: &[BlockRange]) -> Result<Vec<Sha256Digest>, StorageError> {
    /// Blocks read and hashed together: as many as the widest hash has lanes.
    const TOGETHER: usize = hash::LANES;
    let layout = seeded.torrent().layout();
    let mut leaves = vec![Sha256Digest::default(); blocks.len()];
    for (blocks, leaves) in blocks.chunks(TOGETHER).zip(leaves.chunks_mut(TOGETHER)) {
        let mut data = Vec::with_capacity(TOGETHER);
        for block in blocks {
            let mut bytes = vec![0; block.size() as usize];
            let _filling = seeded.begin_filling(block.piece());
            read_extents(seeded, layout.extents(*block), &mut bytes)?;
            data.push(bytes);
        }
        let messages: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        hash::sha256_many(&messages, leaves);
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use storage::{Content, Place};

    /// The kernel may count a page as resident from the moment its read begins.
    #[test]
    fn a_piece_that_leaves_are_made_from_is_not_taken_for_resident_meanwhile() {
        const BLOCK: u32 = metainfo::BLOCK_SIZE;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), vec![1; BLOCK as usize]).unwrap();
        let hashes = "h".repeat(20);
        let info = format!("d6:lengthi{BLOCK}e4:name1:f12:piece lengthi{BLOCK}e6:pieces20:{hashes}e");
        let torrent = Arc::new(metainfo::Torrent::from_info(info.as_bytes()).unwrap());
        let content = Content::open(torrent.layout(), &Place::under(dir.path())).unwrap();
        let seeded = Arc::new(Seeded::new(torrent, content));
        let block = seeded.torrent().layout().block(0, 0, BLOCK).unwrap();
        let (was_seen, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100_000 {
                    if was_seen.load(Ordering::Relaxed) {
                        break;
                    }
                    leaves(&seeded, &[block]).unwrap();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                was_seen.fetch_or(seeded.is_filling(block.piece()), Ordering::Relaxed);
            }
        });
        assert!(was_seen.into_inner());
        assert!(!seeded.is_filling(block.piece()), "and no longer than that");
    }
}
