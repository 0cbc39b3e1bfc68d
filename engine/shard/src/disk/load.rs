//! The reads themselves: through the executor's ring where one file holds the window, on the blocking pool where many
//! do.

use hash::Sha256Digest;
use metainfo::{BlockRange, Extent};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use storage::{OpenFile, Seeded, StorageError};

/// The bytes of a window, wherever they were read to.
pub(crate) enum WindowBytes {
    /// By the ring, into memory of glommio's.
    Ring(glommio::io::ReadResult),
    /// By the blocking pool.
    Pool(Vec<u8>),
}

impl Deref for WindowBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            WindowBytes::Ring(bytes) => bytes,
            WindowBytes::Pool(bytes) => bytes,
        }
    }
}

/// Reads the bytes of `extents`, which are `size` in all.
pub(crate) async fn window(
    seeded: Arc<Seeded>,
    extents: Vec<Extent>,
    size: usize,
) -> Result<WindowBytes, StorageError> {
    if let [Extent::File { file, offset, .. }] = extents[..] {
        let content = seeded.clone();
        let open = glommio::executor().spawn_blocking(move || content.content().file(file)).await?;
        if let Some(bytes) = by_ring(&open, offset, size).await {
            // Bytes of a file that has changed meanwhile are not the torrent's.
            open.check_unchanged()?;
            return Ok(WindowBytes::Ring(bytes));
        }
    }
    let read = move || read_extents(&seeded, extents.into_iter(), size);
    Ok(WindowBytes::Pool(glommio::executor().spawn_blocking(read).await?))
}

/// Reads through the executor's ring. `None` where that does not bring all of it; the pool then finds out why.
async fn by_ring(open: &OpenFile, offset: u64, size: usize) -> Option<glommio::io::ReadResult> {
    // glommio takes paths only. This one names the very file that is open, whatever its name means by now.
    let path = format!("/proc/self/fd/{}", open.fd().as_raw_fd());
    let file = glommio::io::BufferedFile::open(path).await.ok()?;
    let bytes = file.read_at(offset, size).await.ok().filter(|bytes| bytes.len() == size);
    // A close that fails loses nothing: the file was only read.
    let _ = file.close().await;
    bytes
}

fn read_extents(seeded: &Seeded, extents: impl Iterator<Item = Extent>, size: usize) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; size];
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
            Extent::Zeros { size } => at += size as usize,
        }
    }
    Ok(bytes)
}

/// The merkle leaves of blocks, which are at most 16 KiB each (BEP 52).
pub(crate) fn leaves(seeded: &Seeded, blocks: &[BlockRange]) -> Result<Vec<Sha256Digest>, StorageError> {
    /// Blocks read and hashed together: as many as the widest hash has lanes.
    const TOGETHER: usize = hash::LANES;
    let layout = seeded.torrent().layout();
    let mut leaves = vec![Sha256Digest::default(); blocks.len()];
    for (blocks, leaves) in blocks.chunks(TOGETHER).zip(leaves.chunks_mut(TOGETHER)) {
        let data = blocks
            .iter()
            .map(|block| read_extents(seeded, layout.extents(*block), block.size() as usize))
            .collect::<Result<Vec<_>, _>>()?;
        let messages: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        hash::sha256_many(&messages, leaves);
    }
    Ok(leaves)
}
