//! Local service discovery (BEP 14): tells neighbours by multicast which swarms we take part in, and hears it from them. The
//! datagrams are `wire`'s, when to speak is in `schedule`, sockets are in `group`.
//!
//! It never leaves the link, speaks only on networks where we take connections, and knows no private torrent.

mod group;
mod interfaces;
mod schedule;

use self::group::Group;
use self::schedule::{Heard, Schedule};
use hash::InfoHash;
use metainfo::Torrent;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use wire::{LSD_DATAGRAM_BYTES, LsdAnnounce, encode_lsd};

/// The groups of BEP 14.
pub const GROUPS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), 6771),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)), 6771),
];

/// How long a socket is left alone that could not be read.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Where we announce ourselves.
#[derive(Debug, Clone)]
pub struct LsdConfig {
    /// The groups to speak to.
    pub groups: Vec<SocketAddr>,
    /// Where we take connections: an unspecified address stands for all networks of its family. A family without any is
    /// not announced in.
    pub listen: Vec<SocketAddr>,
}

impl LsdConfig {
    /// For who takes connections at these addresses.
    pub fn new(listen: Vec<SocketAddr>) -> LsdConfig {
        LsdConfig { groups: GROUPS.to_vec(), listen }
    }
}

/// A neighbour that takes part in one of our swarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsdFound {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Where it takes connections, as it says.
    pub address: SocketAddr,
}

/// Why there is no local service discovery. The fault is this host's.
#[derive(Debug, thiserror::Error)]
pub enum LsdError {
    /// No group can be spoken to.
    #[error("local service discovery at {group}: {error}")]
    NoSocket {
        /// The group.
        group: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    NoRandomness(String),
}

/// What has been sent and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LsdCounts {
    /// Datagrams sent, on all networks.
    pub sent: u64,
    /// Datagrams that could not be sent.
    pub not_sent: u64,
    /// Datagrams of others that were no announces.
    pub malformed: u64,
    /// Announces of others, one for each swarm.
    pub heard: u64,
    /// Those that were passed on.
    pub found: u64,
    /// Those that were not, since whoever takes them is behind.
    pub refused: u64,
    /// Swarms that are not announced, since there are too many.
    pub unannounced: u64,
}

/// Local service discovery at work. It ends when this is dropped.
pub struct Lsd {
    shared: Arc<Shared>,
    /// Dropped, it stops the task.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

struct Shared {
    started: Instant,
    schedule: Mutex<Schedule>,
    /// There may be something to announce sooner than was thought.
    changed: Notify,
    /// By which we know what we have sent ourselves.
    cookie: String,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    not_sent: AtomicU64,
    malformed: AtomicU64,
    heard: AtomicU64,
    found: AtomicU64,
    refused: AtomicU64,
    unannounced: AtomicU64,
}

impl Lsd {
    /// Begins to listen, and passes on whom it hears. One group that works is enough. Must be called on a tokio runtime; the
    /// other methods may be called from anywhere.
    ///
    /// # Errors
    /// An [`LsdError`].
    pub fn start(config: &LsdConfig, found: mpsc::Sender<LsdFound>) -> Result<Lsd, LsdError> {
        let (mut groups, mut failure) = (Vec::new(), None);
        for address in &config.groups {
            match Group::open(*address, &config.listen) {
                Ok(group) => groups.push(Arc::new(group)),
                Err(error) => failure = Some(LsdError::NoSocket { group: *address, error }),
            }
        }
        if let Some(failure) = failure {
            if groups.is_empty() {
                return Err(failure);
            }
            tracing::info!("{failure}");
        }
        let random = || getrandom::u64().map_err(|error| LsdError::NoRandomness(error.to_string()));
        let shared = Arc::new(Shared {
            started: Instant::now(),
            schedule: Mutex::new(Schedule::new(random()?)),
            changed: Notify::new(),
            cookie: format!("{:016x}", random()?),
            counters: Counters::default(),
        });
        // Joined before this returns, so that nothing is missed from here on.
        groups.iter().for_each(|group| _ = group.join());
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(run(shared.clone(), groups, found, stopped));
        Ok(Lsd { shared, stop, task })
    }

    /// Announces a torrent from now on. False if it is private, and so is not.
    pub fn add(&self, torrent: &Torrent) -> bool {
        if torrent.is_private() {
            return false;
        }
        self.add_unresolved(&names(torrent));
        true
    }

    /// Announces what a magnet link names, of which it is not known yet whether it is private.
    pub fn add_unresolved(&self, info_hashes: &[InfoHash]) {
        let now = self.shared.now();
        let mut schedule = self.shared.schedule();
        let refused = info_hashes.iter().filter(|info_hash| !schedule.add(now, **info_hash)).count();
        drop(schedule);
        self.shared.counters.unannounced.fetch_add(refused as u64, Relaxed);
        self.shared.changed.notify_one();
    }

    /// Announces a torrent no longer.
    pub fn remove(&self, torrent: &Torrent) {
        if !torrent.is_private() {
            self.remove_unresolved(&names(torrent));
        }
    }

    /// Announces what a magnet link names no longer, unless it was added as a torrent as well.
    pub fn remove_unresolved(&self, info_hashes: &[InfoHash]) {
        let mut schedule = self.shared.schedule();
        info_hashes.iter().for_each(|info_hash| schedule.remove(*info_hash));
    }

    /// What has been sent and heard so far.
    pub fn counts(&self) -> LsdCounts {
        let counters = &self.shared.counters;
        LsdCounts {
            sent: counters.sent.load(Relaxed),
            not_sent: counters.not_sent.load(Relaxed),
            malformed: counters.malformed.load(Relaxed),
            heard: counters.heard.load(Relaxed),
            found: counters.found.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unannounced: counters.unannounced.load(Relaxed),
        }
    }

    /// Says and hears nothing more, and closes the sockets.
    pub async fn stop(self) {
        drop(self.stop);
        // It returns only when it is stopped; if it panicked, that was told where it happened.
        let _ = self.task.await;
    }
}

fn names(torrent: &Torrent) -> Vec<InfoHash> {
    torrent.info_hashes().collect()
}

impl Shared {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // No method of the schedule leaves it half changed.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is due to all groups, on all networks.
    fn announce(&self, groups: &[Arc<Group>]) {
        let Some(info_hashes) = self.schedule().poll(self.now()) else { return };
        for group in groups {
            let Some(port) = group.port() else { continue };
            let datagram = encode_lsd(group.address, port, &info_hashes, &self.cookie);
            // Networks come and go.
            for way in group.join().unwrap_or_default() {
                match group.send(way, &datagram) {
                    Ok(()) => self.counters.sent.fetch_add(1, Relaxed),
                    Err(error) => {
                        tracing::debug!(%error, ?way, group = %group.address, "local service discovery: not sent");
                        self.counters.not_sent.fetch_add(1, Relaxed)
                    }
                };
            }
        }
    }

    /// Takes in what a neighbour says. True if there was news in it.
    fn hear(&self, datagram: &[u8], from: SocketAddr, found: &mpsc::Sender<LsdFound>) -> bool {
        let announce = match LsdAnnounce::parse(datagram) {
            Ok(announce) => announce,
            Err(_) => {
                self.counters.malformed.fetch_add(1, Relaxed);
                return false;
            }
        };
        if announce.cookie == Some(self.cookie.as_bytes()) {
            return false;
        }
        let mut was_news = false;
        let mut address = from;
        address.set_port(announce.port);
        for info_hash in announce.info_hashes {
            self.counters.heard.fetch_add(1, Relaxed);
            if self.schedule().handle_heard(self.now(), info_hash, address) == Heard::News {
                let counter = match found.try_send(LsdFound { info_hash, address }) {
                    Ok(()) => &self.counters.found,
                    Err(_) => &self.counters.refused,
                };
                counter.fetch_add(1, Relaxed);
                was_news = true;
            }
        }
        was_news
    }
}

/// Announces what is due until it is stopped, while a task for each group listens.
async fn run(
    shared: Arc<Shared>,
    groups: Vec<Arc<Group>>,
    found: mpsc::Sender<LsdFound>,
    mut stopped: watch::Receiver<()>,
) {
    let mut listeners = JoinSet::new();
    for group in &groups {
        listeners.spawn(listen(shared.clone(), group.clone(), found.clone()));
    }
    loop {
        let next = shared.schedule().next_at();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until((shared.started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stopped.changed() => break,
            () = shared.changed.notified() => {}
            () = due => shared.announce(&groups),
        }
    }
    listeners.shutdown().await;
}

async fn listen(shared: Arc<Shared>, group: Arc<Group>, found: mpsc::Sender<LsdFound>) {
    // One byte more than an announce may have, so that a longer one is not taken for one that fits.
    let mut buffer = [0; LSD_DATAGRAM_BYTES + 1];
    loop {
        match group.receive(&mut buffer).await {
            Ok((size, from)) => {
                let was_news = shared.hear(&buffer[..size], from, &found);
                if was_news {
                    // An answer may be due.
                    shared.changed.notify_one();
                }
            }
            Err(error) => {
                tracing::debug!(%error, group = %group.address, "local service discovery: cannot listen");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
