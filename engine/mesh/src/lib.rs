//! What crosses shards: the closed enums of commands and events, the lock-free mailboxes that carry them, the
//! counters that each shard writes and everybody may read, and the names of all torrents.
//!
//! Nothing here knows a socket, a file or a thread; how a sleeping reader is woken is the reader's own business
//! ([`Doorbell`]).
#![forbid(unsafe_code)]

mod counters;
mod histograms;
mod link;
mod mailbox;
mod message;
mod names;
mod peer_report;

pub use counters::{Counter, DropReason, ShardCounters, TorrentCounters, TorrentShardCounters};
pub use histograms::{ShardHistograms, record_time};
pub use link::{EventMailbox, Link, event_mailbox};
pub use mailbox::{Doorbell, Full, Mailbox};
pub use message::{Command, Event, Fetch, PeerOrigin, TorrentId};
pub use names::{TorrentNames, Wakes};
pub use peer_report::{Direction, PEERS_PER_REPORT, PeerReport};
