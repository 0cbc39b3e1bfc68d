//! The closed list of what control says to shards and shards say to control. No message waits for a reply to a reply.

use crate::{ShardHistograms, TorrentCounters};
use std::sync::Arc;
use std::time::Duration;

/// A torrent as control numbers it: never used twice in the life of one engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentId(pub u32);

/// What control tells a shard. `T` is a torrent with its content and `U` what the operator says of it;
/// mesh passes them by.
#[derive(Debug)]
pub enum Command<T, U> {
    /// Serve this torrent from now on.
    Serve {
        /// Its number.
        id: TorrentId,
        /// Metainfo and content.
        torrent: T,
        /// How it is uploaded.
        terms: U,
        /// Where its traffic is counted.
        counters: Arc<TorrentCounters>,
    },
    /// Serve this torrent no longer and end its connections.
    Withdraw {
        /// Its number.
        id: TorrentId,
    },
    /// How many peers this shard may keep unchoked at once; `None` is without limit.
    SetSlots {
        /// This shard's part of the engine's slots.
        slots: Option<u32>,
    },
    /// Hand up to `count` peers that are being served to another shard, which carries less.
    Shed {
        /// The other shard.
        to: usize,
        /// How many.
        count: u32,
    },
    /// Report what the shard has measured so far.
    Measure {
        /// Comes back with the report.
        ticket: u32,
    },
    /// Accept nothing more, let what is queued go out for at most `grace`, then end.
    Stop {
        /// The longest wait for sends in flight.
        grace: Duration,
    },
}

/// What a shard tells control.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The torrent's content can no longer be served; the reason stands in what they share.
    TorrentFailed {
        /// Its number.
        id: TorrentId,
    },
    /// What the shard has measured since its start.
    Measured {
        /// That of the command.
        ticket: u32,
        /// A copy.
        histograms: Box<ShardHistograms>,
    },
    /// The shard has ended all its connections and returns.
    Stopped {
        /// Which shard.
        shard: usize,
    },
    /// The shard cannot go on.
    ShardFailed {
        /// Which shard.
        shard: usize,
        /// What the operator should read.
        reason: String,
    },
}
