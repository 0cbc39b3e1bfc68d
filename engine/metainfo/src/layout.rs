//! Where the bytes of a torrent's pieces live: files, their places in the piece space, pads. Pure arithmetic; how
//! the list of files was read is in `parse`, who reads the files is `storage`.

use std::path::PathBuf;

use hash::Sha256Digest;

use crate::geometry::{BlockRange, Extent, FileIndex, PieceIndex};
use crate::limits::{MAX_FILES, MAX_PIECE_SPACE_BYTES, MAX_PIECES};
use crate::path::RelativePath;

/// The files of a torrent and how its pieces cover them. The *piece space* is what piece indices count through: for v1
/// and hybrid torrents all files end to end, pads included; for v2-only torrents every file with content starts at a
/// piece boundary and its last piece ends with it.
#[derive(Clone, Debug)]
pub struct FileLayout {
    name: String,
    is_single_file: bool,
    piece_length: u32,
    piece_count: u32,
    total_size: u64,
    piece_space_size: u64,
    file_aligned: bool,
    files: Vec<FileEntry>,
}

/// One file of a torrent, or a pad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub(crate) path: RelativePath,
    pub(crate) length: u64,
    pub(crate) offset: u64,
    pub(crate) is_pad: bool,
    pub(crate) executable: bool,
    pub(crate) hidden: bool,
    pub(crate) symlink_target: Option<RelativePath>,
    pub(crate) pieces_root: Option<Sha256Digest>,
}

/// How the files stand in the piece space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrangement {
    /// End to end, as v1 has it.
    EndToEnd,
    /// Each at a piece boundary, as v2 has it.
    FileAligned,
}

/// Why files do not make a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// Sizes add up to more than [`MAX_PIECE_SPACE_BYTES`].
    #[error("the sizes add up to more than {MAX_PIECE_SPACE_BYTES} bytes")]
    TooLarge,
    /// More pieces than [`MAX_PIECES`].
    #[error("the content has more than {MAX_PIECES} pieces")]
    TooManyPieces,
    /// More files than [`MAX_FILES`].
    #[error("there are more than {MAX_FILES} files")]
    TooManyFiles,
}

impl FileLayout {
    /// Places `files` (their `offset` is set here). `piece_length` is not zero.
    pub(crate) fn new(
        name: String,
        is_single_file: bool,
        piece_length: u32,
        arrangement: Arrangement,
        mut files: Vec<FileEntry>,
    ) -> Result<FileLayout, LayoutError> {
        if files.len() > MAX_FILES {
            return Err(LayoutError::TooManyFiles);
        }
        let file_aligned = arrangement == Arrangement::FileAligned;
        let (mut end, mut total_size) = (0u64, 0u64);
        for file in &mut files {
            if file_aligned && file.length > 0 {
                end = end.checked_next_multiple_of(u64::from(piece_length)).ok_or(LayoutError::TooLarge)?;
            }
            file.offset = end;
            end = end
                .checked_add(file.length)
                .filter(|end| *end <= MAX_PIECE_SPACE_BYTES)
                .ok_or(LayoutError::TooLarge)?;
            total_size += if file.is_pad { 0 } else { file.length };
        }
        let piece_count = u32::try_from(end.div_ceil(u64::from(piece_length)))
            .ok()
            .filter(|count| *count <= MAX_PIECES)
            .ok_or(LayoutError::TooManyPieces)?;
        Ok(FileLayout {
            name,
            is_single_file,
            piece_length,
            piece_count,
            total_size,
            piece_space_size: end,
            file_aligned,
            files,
        })
    }

    /// The torrent's name, safe as one path component: the file's name, or the folder's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the torrent is one file without a folder of its own.
    pub fn is_single_file(&self) -> bool {
        self.is_single_file
    }

    /// Bytes in every piece but a last one.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How many pieces there are; zero when no file has content.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Bytes of content, pads not counted.
    pub fn total_size(&self) -> u64 {
        self.total_size
    }

    /// Bytes from the start of the first piece to the end of the last one, pads and gaps included.
    pub fn piece_space_size(&self) -> u64 {
        self.piece_space_size
    }

    /// All files in the order of the torrent, pads included.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// The file at an index of this layout. Panics on an index that another layout made and this one does not have.
    pub fn file(&self, index: FileIndex) -> &FileEntry {
        &self.files[index.0 as usize]
    }

    /// `index` if there is such a file.
    pub fn file_index(&self, index: u32) -> Option<FileIndex> {
        ((index as usize) < self.files.len()).then_some(FileIndex(index))
    }

    /// The indices of all files, pads included.
    pub fn file_indices(&self) -> impl DoubleEndedIterator<Item = FileIndex> + ExactSizeIterator + use<> {
        (0..self.files.len() as u32).map(FileIndex)
    }

    /// Where the file lives below the folder that holds the content: `name`, or `name/path`.
    pub fn disk_path(&self, index: FileIndex) -> PathBuf {
        let path = self.file(index).path.components();
        // A single file of v2 is called what its tree calls it, which need not be the torrent's name (BEP 52).
        if self.is_single_file { path.collect() } else { std::iter::once(self.name()).chain(path).collect() }
    }

    /// `index` if there is such a piece.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// Where the piece starts in the piece space.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes in the piece, never zero: `piece_length`, or less where the content (v2-only: the file) ends.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let start = self.piece_offset(piece);
        let end = if self.file_aligned {
            self.files.get(self.file_at(start)).map_or(start, FileEntry::end)
        } else {
            self.piece_space_size
        };
        end.saturating_sub(start).min(u64::from(self.piece_length)) as u32
    }

    /// The first piece that holds bytes of the file, and how many pieces do. Zero pieces for an empty file.
    pub fn file_pieces(
        &self,
        index: FileIndex,
    ) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        let file = self.file(index);
        let length = u64::from(self.piece_length);
        let start = file.offset / length;
        let end = if file.length == 0 { start } else { file.end().div_ceil(length) };
        (start as u32..end as u32).map(PieceIndex)
    }

    /// The bytes `begin .. begin + size` of piece `index`, if there are such bytes: at least one, none beyond the
    /// piece. Any alignment.
    pub fn block(&self, index: u32, begin: u32, size: u32) -> Option<BlockRange> {
        let piece = self.piece(index)?;
        let end = begin.checked_add(size)?;
        (size > 0 && end <= self.piece_size(piece)).then_some(BlockRange { piece, begin, size })
    }

    /// All bytes of a piece.
    pub fn whole_piece(&self, piece: PieceIndex) -> BlockRange {
        BlockRange { piece, begin: 0, size: self.piece_size(piece) }
    }

    /// Where the bytes of `block` live, in order; the sizes add up to the block's. Allocates nothing.
    pub fn extents(&self, block: BlockRange) -> impl Iterator<Item = Extent> + '_ {
        let start = self.piece_offset(block.piece) + u64::from(block.begin);
        Extents { files: &self.files, next: self.file_at(start), position: start, left: u64::from(block.size) }
    }

    /// The first file that ends behind `position`; the number of files if none does.
    pub(crate) fn file_at(&self, position: u64) -> usize {
        self.files.partition_point(|file| file.end() <= position)
    }
}

impl FileEntry {
    /// A file without attributes whose place is still open.
    pub(crate) fn new(path: RelativePath, length: u64) -> FileEntry {
        FileEntry {
            path,
            length,
            offset: 0,
            is_pad: false,
            executable: false,
            hidden: false,
            symlink_target: None,
            pieces_root: None,
        }
    }

    /// The path below the torrent's folder; of a single-file torrent its name.
    pub fn path(&self) -> &RelativePath {
        &self.path
    }

    /// Bytes in the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the file starts in the piece space.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the file ends in the piece space.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// Whether these are zero bytes for alignment that are never stored (BEP 47).
    pub fn is_pad(&self) -> bool {
        self.is_pad
    }

    /// Whether the file is a program (BEP 47 `x`).
    pub fn executable(&self) -> bool {
        self.executable
    }

    /// Whether the file is hidden (BEP 47 `h`).
    pub fn hidden(&self) -> bool {
        self.hidden
    }

    /// What a symbolic link points to, from the torrent's folder (BEP 47 `l`); such an entry has no bytes.
    pub fn symlink_target(&self) -> Option<&RelativePath> {
        self.symlink_target.as_ref()
    }

    /// The root of the file's merkle tree (BEP 52); `None` for v1, pads, links and empty files.
    pub fn pieces_root(&self) -> Option<Sha256Digest> {
        self.pieces_root
    }
}

/// Walks files from where a block starts to where it ends.
struct Extents<'a> {
    files: &'a [FileEntry],
    next: usize,
    position: u64,
    left: u64,
}

impl Iterator for Extents<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        while self.left > 0 {
            let index = self.next;
            let file = self.files.get(index)?;
            self.next += 1;
            let size = file.end().saturating_sub(self.position).min(self.left);
            if size == 0 {
                continue;
            }
            let offset = self.position.checked_sub(file.offset)?;
            self.position += size;
            self.left -= size;
            return Some(match file.is_pad {
                true => Extent::Zeros { size },
                false => Extent::File { file: FileIndex(index as u32), offset, size },
            });
        }
        None
    }
}

#[cfg(test)]
mod tests;
