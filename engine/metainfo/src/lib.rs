//! What a torrent is: torrent files v1, v2 and hybrid (BEP 3, 12, 19, 27, 47, 52), magnet links (BEP 9, 53), the layout
//! of files and pieces, merkle trees, and creation. Pure: bytes and numbers in, bytes and numbers out. Files are
//! read by `storage`.
#![forbid(unsafe_code)]

pub mod limits;
pub mod merkle;

mod complete;
mod create;
mod error;
mod file_list;
mod geometry;
mod layout;
mod magnet;
mod old_clients;
mod parse;
mod path;
mod piece_set;
mod sanitize;
mod torrent;

pub use create::{Builder, CreateError, CreateOptions, FileHashes, NewFile, PieceHashes, auto_piece_length};
pub use error::{Problem, TorrentError};
pub use geometry::{BLOCK_SIZE, BlockRange, BlockRun, Extent, FileIndex, PieceIndex};
pub use layout::{FileEntry, FileLayout, LayoutError};
pub use magnet::{Magnet, MagnetError, MagnetPeer, MagnetProblem};
pub use path::RelativePath;
pub use piece_set::PieceSet;
pub use torrent::{PieceLayer, Torrent, Version};
