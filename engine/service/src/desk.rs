//! The desk: the one task that owns the service's torrents, and how everybody else speaks to it. What the catalogue
//! holds, what the engine serves and what the feeds name changes here only, one operation of a torrent at a time.

mod adding;
mod books;
mod checking;
mod entry;
mod erase;
mod error;
mod handle;
mod moving;
mod operations;
mod places;
mod policy;
mod reading;
mod releases;
mod relocate;
mod restore;
mod showing;
mod source;
mod table;
mod task;
mod torrent;
mod watching;

#[cfg(test)]
mod tests;

pub use error::DeskError;
pub use handle::{Answer, DeskHandle, Request};
pub use torrent::{
    DeskEvent, FetchSource, Happened, LimitChange, Moved, NewRelease, NewTorrent, Page, Recorded, Sums, TorrentLine,
};

pub(crate) use entry::Entry;
pub(crate) use policy::Policy;
pub(crate) use restore::restore;
pub(crate) use task::{Desk, World};
