//! The desk: the one task that owns the service's torrents, and how everybody else speaks to it. What the catalogue
//! holds, what the engine serves and what the feeds name changes here only, one operation of a torrent at a time.

mod error;
mod handle;
mod torrent;

pub use error::DeskError;
pub use handle::{Answer, DeskHandle, Request};
pub use torrent::{
    DeskEvent, FetchSource, Happened, LimitChange, Moved, NewRelease, NewTorrent, Page, Recorded, TorrentLine,
};
