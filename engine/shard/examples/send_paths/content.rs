//! What is served: one complete torrent of one file, mapped. Turns a request into the place of its bytes, or refuses it.

use memmap2::{Advice, Mmap};
use metainfo::Torrent;
use std::fs::File;
use std::io;
use std::path::Path;

/// The torrent and its data.
pub(crate) struct Content {
    torrent: Torrent,
    /// The data's file, for the paths that do not send from the map.
    pub(crate) file: File,
    map: Mmap,
}

/// A block that was asked for and that the torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) piece: u32,
    pub(crate) begin: u32,
    pub(crate) size: u32,
    /// Where it lies in the file.
    pub(crate) offset: u64,
}

impl Content {
    /// Opens the torrent's one file below `folder`.
    pub(crate) fn open(torrent: &Path, folder: &Path) -> io::Result<Content> {
        let torrent = Torrent::parse(&std::fs::read(torrent)?).map_err(io::Error::other)?;
        if !torrent.layout().is_single_file() {
            return Err(io::Error::other("this seeder serves torrents of one file only"));
        }
        let file = File::open(folder.join(torrent.layout().name()))?;
        if file.metadata()?.len() != torrent.layout().total_size() {
            return Err(io::Error::other("the file has not the size that the torrent says"));
        }
        // SAFETY: only the kernel reads the mapped bytes, as data of a send; nothing here makes a reference to a value
        // out of them, and a file that shrinks fails that send with EFAULT.
        let map = unsafe { Mmap::map(&file) }?;
        map.advise(Advice::PopulateRead)?;
        Ok(Content { torrent, file, map })
    }

    pub(crate) fn torrent(&self) -> &Torrent {
        &self.torrent
    }

    /// The block, if there are such bytes.
    pub(crate) fn block(&self, piece: u32, begin: u32, size: u32) -> Option<Block> {
        let range = self.torrent.layout().block(piece, begin, size)?;
        let offset = self.torrent.layout().piece_offset(range.piece()) + u64::from(begin);
        Some(Block { piece, begin, size, offset })
    }

    /// The mapped bytes of a block.
    pub(crate) fn bytes(&self, block: Block) -> &[u8] {
        let offset = block.offset as usize;
        &self.map[offset..offset + block.size as usize]
    }
}
