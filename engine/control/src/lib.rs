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
mod embargo;
mod fetch;
mod found;
pub mod lsd;
mod news;
mod operator;
mod order;
mod progress;
mod rechecking;
mod registry;
pub mod resolve;
mod rest;
mod slots;
mod status;
mod survey;
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
pub use news::{EngineEvent, EngineEvents, NEWS_LIMIT, News, WeakNews};
pub use operator::{Reply, TorrentOrder, TrackerActivity, TrackerLine};
pub use order::{AddError, ControlParts, ORDERS_LIMIT, Order, OrderError};
pub use rechecking::{CheckError, Checked, ContentCheck, PROBLEMS_LIMIT, RecheckReport};
pub use registry::{NewTorrent, Tiers};
pub use rest::{AtRest, LoadError, RestStatus, TorrentSource};
pub use status::{EmbargoStatus, FetchStatus, Recent, ShardStatus, Status, Summary, TorrentState, TorrentStatus};
pub use survey::PeerList;
