//! The one swarm table of this program, shared by the HTTP tracker, the UDP tracker and whoever publishes. It gives the
//! table its clock, its seed and its lock, and stands before it where a torrent is under embargo; what an announce does is the
//! table's own affair.

mod first_copies;
mod gates;
mod paths;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::first_copies::FirstCopies;
use self::gates::Gates;
pub(crate) use self::paths::key_of_url_data;
pub use self::paths::{Asked, read_path};
use hash::InfoHash;
use swarm::{FirstCopy, Gate};
use tokio::sync::watch;
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
    table: Mutex<Guarded>,
    /// Requests that could not be read, by reason. The reasons are fixed words, so they are few.
    malformed: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether UDP trackers leave what comes in their sockets.
    is_held: watch::Sender<bool>,
}

/// The table, and what is looked at before and after it.
struct Guarded {
    table: SwarmTable,
    gates: Gates,
    first_copies: FirstCopies,
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
        TrackerService::since(Instant::now(), access, limits)
    }

    /// The same, with the clock of those who share its torrents' embargoes.
    pub fn since(started: Instant, access: Access, limits: Limits) -> Result<TrackerService, getrandom::Error> {
        let guarded = Guarded {
            table: SwarmTable::new(access, limits, getrandom::u64()?),
            gates: Gates::new(getrandom::u64()?),
            first_copies: FirstCopies::default(),
        };
        Ok(TrackerService {
            shared: Arc::new(Shared {
                started,
                table: Mutex::new(guarded),
                malformed: Mutex::default(),
                is_held: watch::Sender::new(false),
            }),
        })
    }

    /// See [`SwarmTable::announce`]. `key` is what the asker shows before the time of a torrent under embargo; of others it
    /// says nothing. To who may not have the torrent yet, the answer is that of one that is not listed here.
    pub fn announce(
        &self,
        request: &AnnounceRequest,
        source: Source,
        key: Option<&str>,
        max_peer_count: usize,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        let now = self.since_start();
        let mut guarded = self.guarded();
        let Guarded { table, gates, first_copies } = &mut *guarded;
        let admission = gates.admission(request.info_hash, source.ip, key, now);
        if admission.is_refused() {
            let stand_in = AnnounceRequest { info_hash: gates.stand_in(request.info_hash), ..request.clone() };
            return match table.access() {
                Access::Listed => Err(table.deny(millis(now), source)),
                // Strangers may have a swarm of any name here, and meet in this one none but each other.
                Access::Open => table.announce(millis(now), &stand_in, source, max_peer_count, answer),
            };
        }
        table.announce(millis(now), request, source, max_peer_count, answer)?;
        admission.admit(source.ip, now, answer.interval_s);
        first_copies.note(request);
        Ok(())
    }

    /// See [`SwarmTable::scrape`]. Torrents that the asker may not have yet are unknown to it.
    pub fn scrape(
        &self,
        info_hashes: &[InfoHash],
        source: Source,
        key: Option<&str>,
    ) -> Result<Vec<Option<SwarmStats>>, Refusal> {
        let now = self.since_start();
        let mut guarded = self.guarded();
        let Guarded { table, gates, .. } = &mut *guarded;
        let mut swarms = table.scrape(millis(now), info_hashes, source)?;
        for (info_hash, swarm) in info_hashes.iter().zip(&mut swarms) {
            if gates.admission(*info_hash, source.ip, key, now).is_refused() {
                *swarm = table.stats(gates.stand_in(*info_hash));
            }
        }
        Ok(swarms)
    }

    /// Puts a torrent under embargo, or takes it from there. Before anybody can hear of it, to be of use.
    pub fn set_gate(&self, info_hash: InfoHash, gate: Option<Arc<Gate>>) {
        self.guarded().gates.set(info_hash, gate);
    }

    /// A torrent is not here any more, but may come back: its embargo goes on for those who come in the meantime.
    pub fn keep_gate(&self, info_hash: InfoHash) {
        self.guarded().gates.keep(info_hash);
    }

    /// Says in `first_copy` when somebody else announces that it has all of a torrent of these names. `own` is the id under
    /// which we announce.
    pub fn await_copy(&self, info_hashes: &[InfoHash], own: [u8; 20], first_copy: &Arc<FirstCopy>) {
        self.guarded().first_copies.await_one(info_hashes, own, first_copy);
    }

    /// Nobody waits for that any more.
    pub fn forget_copy(&self, info_hashes: &[InfoHash]) {
        self.guarded().first_copies.forget(info_hashes);
    }

    /// The size of one swarm, if it is here.
    pub fn stats(&self, info_hash: InfoHash) -> Option<SwarmStats> {
        self.guarded().table.stats(info_hash)
    }

    /// Puts a torrent on the allow-list.
    pub fn allow(&self, info_hash: InfoHash) {
        self.guarded().table.allow(info_hash);
    }

    /// Takes a torrent off the allow-list.
    pub fn disallow(&self, info_hash: InfoHash) {
        self.guarded().table.disallow(info_hash);
    }

    /// Makes `info_hashes` the allow-list, all at once.
    pub fn set_allowed(&self, info_hashes: impl IntoIterator<Item = InfoHash>) {
        self.guarded().table.set_allowed(info_hashes);
    }

    /// Makes `own_seeds` the publisher's own seeds of a torrent, which is served from then on.
    pub fn add_own_seed(&self, info_hash: InfoHash, own_seeds: impl Into<Arc<[OwnSeed]>>) {
        self.guarded().table.add_own_seed(info_hash, own_seeds);
    }

    /// Forgets a torrent's own seeds.
    pub fn remove_own_seed(&self, info_hash: InfoHash) {
        self.guarded().table.remove_own_seed(info_hash);
    }

    /// Lets UDP trackers leave in their sockets what comes until [`TrackerService::release`]: who is listed here, and who is
    /// under embargo, is not known yet. HTTP is for whoever opens the listeners.
    pub fn hold(&self) {
        self.shared.is_held.send_replace(true);
    }

    /// Everything is known: what waits is answered.
    pub fn release(&self) {
        self.shared.is_held.send_replace(false);
    }

    /// Comes true when datagrams may be answered.
    pub(crate) async fn released(&self) {
        // The sender lives as long as we do, so this cannot fail.
        let _ = self.shared.is_held.subscribe().wait_for(|is_held| !is_held).await;
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
        let guarded = self.guarded();
        let table = &guarded.table;
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
            let now = self.since_start();
            let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let mut guarded = self.guarded();
            guarded.table.sweep(millis(now), SWEEP_VISITS);
            guarded.gates.sweep(unix_s);
        }
    }

    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        // The table is whole between any two of its calls, so one that panicked elsewhere leaves it usable.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_start(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

fn millis(time: Duration) -> Millis {
    time.as_millis() as Millis
}

#[cfg(test)]
mod tests;
