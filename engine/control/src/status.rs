//! What the engine looks like from outside, read from the shards' counters without stopping any of them.

use crate::dht::DhtStatus;
use crate::fetch::Stage;
use crate::lsd::LsdCounts;
use crate::registry::{Entry, Phase};
use crate::resolve::ResolveProgress;
use crate::rest::{Nap, RestStatus};
use crate::tracker_service::ServiceStatus;
use crate::web_seed::WebSeedStatus;
use mesh::{DropReason, ShardCounters, TorrentId};
use std::time::Duration;
use swarm::RateEstimator;
use tracker::client::TrackerStatus;

/// The engine at one moment.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Connections that have a torrent.
    pub peers: u64,
    /// Peers that want something.
    pub interested: u64,
    /// Peers that may ask.
    pub unchoked: u64,
    /// Payload bytes sent since the start.
    pub payload_sent_bytes: u64,
    /// Payload bytes a second, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Bytes read from disk for blocks that were not in the page cache.
    pub disk_read_bytes: u64,
    /// Connections that ended, by reason; reasons that never occurred are left out.
    pub dropped: Vec<(DropReason, u64)>,
    /// Each shard.
    pub shards: Vec<ShardStatus>,
    /// Each torrent.
    pub torrents: Vec<TorrentStatus>,
    /// How torrents come from rest and go there.
    pub rest: RestStatus,
    /// Each line of announces.
    pub trackers: Vec<TrackerStatus>,
    /// Our own tracker, if there is one.
    pub own_tracker: Option<ServiceStatus>,
    /// Our node of the DHT, if there is one.
    pub dht: Option<DhtStatus>,
    /// Local service discovery, if it is done.
    pub lsd: Option<LsdCounts>,
    /// Addresses of peers that were told faster than they could be taken.
    pub addresses_refused: u64,
    /// Why the engine cannot go on, if so.
    pub fatal: Option<String>,
}

/// The engine at one moment, in what can be asked for every second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections that have a torrent.
    pub peers: u64,
    /// Payload bytes a second, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Why the engine cannot go on, if so.
    pub fatal: Option<String>,
}

/// The torrents that are at work, and those that went to rest or could not be loaded since this was asked last: what one who keeps
/// books has to look at.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// How each is.
    pub torrents: Vec<TorrentStatus>,
    /// More have gone to rest than are remembered: only a status of all tells of them.
    pub is_cut: bool,
}

/// One shard at one moment.
#[derive(Debug, Clone, Default)]
pub struct ShardStatus {
    /// Connections, those without a torrent yet included.
    pub connections: u64,
    /// Payload bytes sent since the start.
    pub payload_sent_bytes: u64,
    /// Blocks sent since the start.
    pub blocks_sent: u64,
    /// System calls that carried them.
    pub gathered_writes: u64,
    /// Turns that began late.
    pub late_turns: u64,
}

/// One torrent at one moment.
#[derive(Debug, Clone)]
pub struct TorrentStatus {
    /// Its number.
    pub id: TorrentId,
    /// Its name.
    pub name: String,
    /// What is being done with it.
    pub state: TorrentState,
    /// The bytes of its content, once they are known.
    pub size_bytes: Option<u64>,
    /// Why it is neither served nor fetched, if so. One at rest is tried again when somebody asks for it.
    pub error: Option<String>,
    /// How the fetch goes, or went, if it was one.
    pub fetch: Option<FetchStatus>,
    /// Its peers.
    pub peers: u64,
    /// Payload bytes sent since it was added.
    pub payload_sent_bytes: u64,
    /// Payload bytes received since it was added.
    pub payload_received_bytes: u64,
    /// Payload bytes sent in a second, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// The operator wants it neither served nor fetched; the state says what would be done else.
    pub is_stopped: bool,
    /// Its embargo, while it lasts.
    pub embargo: Option<EmbargoStatus>,
}

/// An embargo at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbargoStatus {
    /// When it ends, in seconds since 1970; `None` if only somebody's word ends it.
    pub opens_at_unix_s: Option<u64>,
    /// Addresses that have shown the key.
    pub guests: usize,
    /// How often there was no room for one.
    pub guests_refused: u64,
}

/// What is being done with a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorrentState {
    /// Peers are asked what the torrent is.
    Resolving {
        /// How far that is.
        progress: ResolveProgress,
    },
    /// Its files are looked at, and read where nobody remembers what is in them.
    Preparing {
        /// How far that is.
        progress: storage::Progress,
    },
    /// It is fetched.
    Fetching,
    /// It would be fetched, but the disk takes no more.
    Paused {
        /// The path and what the system said.
        reason: String,
    },
    /// All of it is there, and being made to last.
    Finishing,
    /// All that is wanted of it is there to last, though it is not the whole torrent.
    HasWanted,
    /// It is complete, and all shards serve it.
    Complete,
    /// It is complete, and loaded when somebody asks for it.
    AtRest,
    /// Somebody has asked for it: it is being loaded.
    Loading,
    /// Its content is being compared with it; nobody is served meanwhile.
    Checking {
        /// How far that is.
        progress: storage::Progress,
    },
}

/// A fetch at one moment.
#[derive(Debug, Clone, Default)]
pub struct FetchStatus {
    /// Pieces of the torrent.
    pub total_pieces: u64,
    /// Pieces that are wanted.
    pub wanted_pieces: u64,
    /// Of those, how many are verified and written.
    pub verified_pieces: u64,
    /// Bytes of the wanted pieces.
    pub wanted_bytes: u64,
    /// Of those, how many are lacking.
    pub left_bytes: u64,
    /// Bytes that were there when the fetch began.
    pub resumed_bytes: u64,
    /// Payload bytes received since then.
    pub received_bytes: u64,
    /// Payload bytes received that were of no use.
    pub wasted_bytes: u64,
    /// Pieces that failed their hash.
    pub failed_pieces: u64,
    /// Peers that are known and not connected.
    pub known_peers: u64,
    /// Payload bytes received in a second, over the last seconds.
    pub download_bytes_per_s: u64,
    /// Payload bytes sent in a second, over the last seconds.
    pub upload_bytes_per_s: u64,
    /// Web seeds, while they are asked.
    pub web_seeds: Vec<WebSeedStatus>,
}

impl Entry {
    /// How the torrent is.
    pub(crate) fn status(&mut self, id: TorrentId, now: Duration) -> TorrentStatus {
        let shared_error = self.seeded().and_then(|seeded| seeded.error()).map(ToString::to_string);
        TorrentStatus {
            id,
            name: self.name.clone(),
            state: self.state(),
            size_bytes: self.size_bytes,
            error: self.failure.clone().or(shared_error),
            fetch: self.fetch_status(now),
            peers: self.tally.counters().peers(),
            payload_sent_bytes: self.tally.sent_bytes(),
            payload_received_bytes: self.tally.received_bytes(),
            upload_bytes_per_s: self.sent.as_mut().map_or(0, |sent| sent.rate(now)),
            is_stopped: self.is_stopped,
            embargo: self.terms.shut_gate().map(|gate| EmbargoStatus {
                opens_at_unix_s: gate.opens_at_unix_s(),
                guests: gate.guest_count(),
                guests_refused: gate.guests_refused(),
            }),
        }
    }

    /// A second has passed, in which shards may have had the torrent.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        let counters = self.tally.counters();
        if let Some(progress) = &mut self.progress {
            progress.handle_tick(now, &counters);
        }
        self.sent.get_or_insert_default().handle_total(now, counters.payload_sent_bytes());
    }

    fn fetch_status(&mut self, now: Duration) -> Option<FetchStatus> {
        let status = self.progress.as_mut()?.status(now, &self.tally.counters());
        let web_seeds = self.fetching().and_then(|fetching| Some(fetching.web_seeds.as_ref()?.status()));
        let web_seeds = web_seeds.unwrap_or_default();
        Some(FetchStatus { web_seeds, ..status })
    }

    fn state(&self) -> TorrentState {
        let fetching = match &self.phase {
            Phase::Serving(_) => return TorrentState::Complete,
            Phase::AtRest(Nap::Loading) => return TorrentState::Loading,
            Phase::AtRest(Nap::Asleep | Nap::Refused { .. }) => return TorrentState::AtRest,
            Phase::Checking(checking) => return TorrentState::Checking { progress: checking.check.progress() },
            Phase::Fetching(fetching) => fetching,
        };
        match &fetching.stage {
            Stage::Resolving(resolving) => TorrentState::Resolving { progress: resolving.progress() },
            Stage::Unresolved => TorrentState::Resolving { progress: ResolveProgress::default() },
            Stage::NoRoom(reason) => TorrentState::Paused { reason: reason.clone() },
            Stage::Preparing => TorrentState::Preparing { progress: fetching.files.progress() },
            Stage::UnderWay(under_way) => match &under_way.pause {
                Some(reason) => TorrentState::Paused { reason: reason.clone() },
                None if under_way.has_wanted => TorrentState::HasWanted,
                None => TorrentState::Fetching,
            },
            Stage::Finishing(_) => TorrentState::Finishing,
        }
    }
}

impl Status {
    /// Adds what one shard counts.
    pub(crate) fn add_shard(&mut self, counters: &ShardCounters) {
        self.peers += counters.peers.get();
        self.interested += counters.interested.get();
        self.unchoked += counters.unchoked.get();
        self.payload_sent_bytes += counters.payload_sent_bytes.get();
        self.disk_read_bytes += counters.disk_read_bytes.get();
        for reason in DropReason::ALL {
            let count = counters.dropped(reason);
            match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, total)) => *total += count,
                None if count > 0 => self.dropped.push((reason, count)),
                None => {}
            }
        }
        self.shards.push(ShardStatus {
            connections: counters.connections.get(),
            payload_sent_bytes: counters.payload_sent_bytes.get(),
            blocks_sent: counters.blocks_sent.get(),
            gathered_writes: counters.gathered_writes.get(),
            late_turns: counters.late_turns.get(),
        });
    }
}

/// Turns totals into a rate.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    estimator: RateEstimator,
    last_total_bytes: u64,
}

impl RateMeter {
    pub(crate) fn handle_total(&mut self, now: Duration, total_bytes: u64) {
        self.estimator.add(now, total_bytes.saturating_sub(self.last_total_bytes));
        self.last_total_bytes = total_bytes;
    }

    pub(crate) fn rate(&mut self, now: Duration) -> u64 {
        self.estimator.rate(now)
    }
}
