//! The control shard: which torrents there are, what the shards are told and what they tell, announces to trackers and
//! in the DHT, the tracker's table and its UDP end, web seeds, magnet links. One thread with a runtime of its own, off
//! the shards' cores where there is one to spare. HTTP is spoken here as a client only; what serves HTTP is in `api`.
#![forbid(unsafe_code)]

pub mod announcer;
mod balance;
mod bell;
mod control;
pub mod dht;
mod discovery;
mod fetch;
mod found;
pub mod lsd;
mod measurements;
mod order;
mod progress;
mod registry;
pub mod resolve;
mod rest;
mod slots;
mod status;
mod tally;
mod torrents;
pub mod tracker_service;
pub mod udp_tracker;
mod watch;
pub mod web_client;
pub mod web_seed;

pub use bell::ControlBell;
pub use control::{Control, FilesUnderWay, ShardLink};
pub use discovery::Discovery;
pub use fetch::{FetchError, FetchFiles, FetchSource, NewFetch, Prepared};
pub use order::{AddError, ControlParts, Order};
pub use registry::{NewTorrent, Tiers};
pub use rest::{AtRest, LoadError, RestStatus, TorrentSource};
pub use status::{FetchStatus, ShardStatus, Status, TorrentState, TorrentStatus};
