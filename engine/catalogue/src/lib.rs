//! The catalogue: what a service must still know after a restart. Torrents and their metainfo, totals, what was verified,
//! releases, feeds and what was seen in them, deliveries that wait, settings changed at run time. One SQLite database in
//! the state directory, one thread that writes it, and a second copy of each torrent in plain files, from which a damaged
//! database is made anew. What any of it means is the service's business; nothing here knows of sockets or peers.
//! Reasons and figures: engine/decisions/catalogue.md.
#![forbid(unsafe_code)]

mod catalogue;
mod change;
mod content_place;
mod convert;
mod delivery;
mod error;
mod feed;
mod kept;
pub mod limits;
mod lock;
mod log_header;
mod metainfo_row;
mod open;
mod read;
mod rebuild;
mod release;
mod schema;
mod set_aside;
mod torrent;
mod write;
mod writer;

pub use catalogue::{Catalogue, CatalogueCounters, Receipt};
pub use change::{Change, TorrentChange};
pub use content_place::ContentPlace;
pub use delivery::{Delivery, DeliveryNumber};
pub use error::CatalogueError;
pub use feed::{FeedItem, FeedState, ItemState};
pub use metainfo_row::Metainfo;
pub use rebuild::Rebuilt;
pub use release::{Release, ReleaseNumber, ReleaseOutput, ReleaseState};
pub use set_aside::SetAside;
pub use torrent::{
    Fault, NewTorrent, Origin, Shape, StopCause, Tiers, TorrentLimits, TorrentNumber, TorrentRow, TorrentTotals, Wanted,
};
