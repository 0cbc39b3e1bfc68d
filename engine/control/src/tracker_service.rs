//! The one swarm table of this program, shared by the HTTP tracker, the UDP tracker and whoever publishes. It gives the
//! table its clock, its seed and its lock; what an announce does is the table's own affair.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hash::InfoHash;
use tracker::table::{Access, Answer, Counters, Limits, Refusal, Source};
use tracker::{AnnounceRequest, Millis, OwnSeed, SwarmStats, SwarmTable};

/// How often the table is swept for peers that have gone silent.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// How many peers one sweep looks at: about a millisecond's work under the lock, and a million peers in a minute.
const SWEEP_VISITS: usize = 20_000;

/// A handle to the shared table; clones are the same table.
#[derive(Clone)]
pub struct TrackerService {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    /// Held for one announce at a time and never across an await: a microsecond each.
    table: Mutex<SwarmTable>,
    /// Requests that could not be read, by reason. The reasons are fixed words, so they are few.
    malformed: Mutex<BTreeMap<&'static str, u64>>,
}

/// What a tracker is doing, for the log and the metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceStatus {
    /// Torrents in the table.
    pub torrent_count: usize,
    /// Peers in the table, own seeds apart.
    pub peer_count: usize,
    /// What the table has done so far.
    pub counters: Counters,
    /// Requests that could not be read, by reason.
    pub malformed: Vec<(&'static str, u64)>,
}

impl TrackerService {
    /// An empty table.
    pub fn new(access: Access, limits: Limits) -> Result<TrackerService, getrandom::Error> {
        Ok(TrackerService {
            shared: Arc::new(Shared {
                started: Instant::now(),
                table: Mutex::new(SwarmTable::new(access, limits, getrandom::u64()?)),
                malformed: Mutex::default(),
            }),
        })
    }

    /// See [`SwarmTable::announce`].
    pub fn announce(
        &self,
        request: &AnnounceRequest,
        source: Source,
        max_peer_count: usize,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.table().announce(self.now(), request, source, max_peer_count, answer)
    }

    /// See [`SwarmTable::scrape`].
    pub fn scrape(&self, info_hashes: &[InfoHash], source: Source) -> Result<Vec<Option<SwarmStats>>, Refusal> {
        self.table().scrape(self.now(), info_hashes, source)
    }

    /// The size of one swarm, if it is here.
    pub fn stats(&self, info_hash: InfoHash) -> Option<SwarmStats> {
        self.table().stats(info_hash)
    }

    /// Puts a torrent on the allow-list.
    pub fn allow(&self, info_hash: InfoHash) {
        self.table().allow(info_hash);
    }

    /// Takes a torrent off the allow-list.
    pub fn disallow(&self, info_hash: InfoHash) {
        self.table().disallow(info_hash);
    }

    /// Makes `info_hashes` the allow-list, all at once.
    pub fn set_allowed(&self, info_hashes: impl IntoIterator<Item = InfoHash>) {
        self.table().set_allowed(info_hashes);
    }

    /// Makes `own_seeds` the publisher's own seeds of a torrent, which is served from then on.
    pub fn add_own_seed(&self, info_hash: InfoHash, own_seeds: Vec<OwnSeed>) {
        self.table().add_own_seed(info_hash, own_seeds);
    }

    /// Forgets a torrent's own seeds.
    pub fn remove_own_seed(&self, info_hash: InfoHash) {
        self.table().remove_own_seed(info_hash);
    }

    /// Counts a request that could not be read.
    pub fn count_malformed(&self, reason: &'static str) {
        let mut malformed = self.shared.malformed.lock().unwrap_or_else(PoisonError::into_inner);
        *malformed.entry(reason).or_insert(0) += 1;
    }

    /// What the tracker is doing.
    pub fn status(&self) -> ServiceStatus {
        let malformed = self.shared.malformed.lock().unwrap_or_else(PoisonError::into_inner);
        let malformed = malformed.iter().map(|(reason, count)| (*reason, *count)).collect();
        let table = self.table();
        ServiceStatus {
            torrent_count: table.torrent_count(),
            peer_count: table.peer_count(),
            counters: table.counters(),
            malformed,
        }
    }

    /// Forgets silent peers bit by bit, for as long as it is polled.
    pub async fn sweep_forever(&self) {
        let mut ticks = tokio::time::interval(SWEEP_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.table().sweep(self.now(), SWEEP_VISITS);
        }
    }

    fn table(&self) -> MutexGuard<'_, SwarmTable> {
        // The table is whole between any two of its calls, so one that panicked elsewhere leaves it usable.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.shared.started.elapsed().as_millis() as Millis
    }
}
