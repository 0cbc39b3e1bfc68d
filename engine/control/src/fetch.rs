//! A torrent that is fetched: what was ordered, and how far it is. The way from one stage to the next is in `fetch/steps.rs`.

mod files;
mod steps;
mod tasks;

pub use self::files::{FetchError, FetchFiles, Prepared};
pub(crate) use self::tasks::{Done, Tasks};

use crate::registry::InfoHashes;
use crate::resolve::{FoundPeers, ResolveProgress};
use crate::web_seed::WebSeeds;
use mesh::PeerOrigin;
use metainfo::{Magnet, Torrent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::Seeded;
use swarm::Terms;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// Addresses that are kept for a torrent whose files are not ready yet.
const WAITING_PEERS_MAX: usize = 1000;

/// A torrent to fetch, as the program orders it.
pub struct NewFetch {
    /// What it is known by.
    pub source: FetchSource,
    /// Its files.
    pub files: Arc<dyn FetchFiles>,
    /// How it is uploaded.
    pub terms: Arc<Terms>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Whether pieces are wanted in their order.
    pub sequential: bool,
}

/// What a torrent to fetch is known by.
pub enum FetchSource {
    /// Its metainfo.
    Torrent(Arc<Torrent>),
    /// A link, by which peers give the metainfo.
    Magnet(Box<Magnet>),
}

/// A fetch that goes on.
pub(crate) struct Fetching {
    pub(crate) files: Arc<dyn FetchFiles>,
    pub(crate) stage: Stage,
    /// The link that it was known by, as long as it is known by nothing else.
    magnet: Option<Box<Magnet>>,
    is_sequential: bool,
    /// At work as long as something is lacking.
    pub(crate) web_seeds: Option<WebSeeds>,
    /// Peers that the home shard has not been told of, since it does not know the torrent yet.
    waiting: Vec<(PeerOrigin, Vec<SocketAddr>)>,
    left: Arc<Left>,
}

/// How far a fetch is.
pub(crate) enum Stage {
    /// It was stopped before it was known what it is.
    Unresolved,
    /// Peers are asked what the torrent is.
    Resolving(Resolving),
    /// Its files are being looked at, and read where nobody remembers what is in them.
    Preparing,
    /// The disk has no room for its files; they are tried again from time to time. Holds what the disk said.
    NoRoom(String),
    /// The home shard works on it.
    UnderWay(UnderWay),
    /// All of it is there, and its files are being closed.
    Finishing(Arc<Seeded>),
}

/// A link that is being resolved.
pub(crate) struct Resolving {
    /// Takes peers to ask.
    found: mpsc::Sender<FoundPeers>,
    progress: watch::Receiver<ResolveProgress>,
    /// Ends the task in the end.
    task: AbortHandle,
}

/// What the home shard works on.
pub(crate) struct UnderWay {
    seeded: Arc<Seeded>,
    /// What the disk said, while it takes no more.
    pub(crate) pause: Option<String>,
    /// What is wanted is there to last, though it is not the whole torrent.
    pub(crate) has_wanted: bool,
}

/// Bytes that the whole torrent lacks, as trackers are told. The largest number stands for "not known yet".
struct Left(AtomicU64);

impl Fetching {
    /// One whose files are about to be looked at.
    pub(crate) fn new(fetch: &NewFetch) -> Fetching {
        let mut fetching = Fetching {
            files: fetch.files.clone(),
            stage: Stage::Preparing,
            magnet: None,
            is_sequential: fetch.sequential,
            web_seeds: None,
            waiting: Vec::new(),
            left: Arc::new(Left(AtomicU64::new(u64::MAX))),
        };
        fetching.keep_waiting(PeerOrigin::Given, fetch.peers.clone());
        fetching
    }

    pub(crate) fn seeded(&self) -> Option<&Arc<Seeded>> {
        match &self.stage {
            Stage::Unresolved | Stage::Resolving(_) | Stage::Preparing | Stage::NoRoom(_) => None,
            Stage::UnderWay(under_way) => Some(&under_way.seeded),
            Stage::Finishing(seeded) => Some(seeded),
        }
    }

    pub(crate) fn under_way(&mut self) -> Option<&mut UnderWay> {
        match &mut self.stage {
            Stage::UnderWay(under_way) => Some(under_way),
            Stage::Unresolved | Stage::Resolving(_) | Stage::Preparing | Stage::NoRoom(_) | Stage::Finishing(_) => None,
        }
    }

    /// Forgets peers that a private torrent may not have (BEP 27): a link does not say that its torrent is one.
    fn forget_hearsay(&mut self) {
        self.waiting.retain(|(origin, _)| matches!(origin, PeerOrigin::Given | PeerOrigin::Tracker));
    }

    fn keep_waiting(&mut self, origin: PeerOrigin, mut addresses: Vec<SocketAddr>) {
        let waiting: usize = self.waiting.iter().map(|(_, addresses)| addresses.len()).sum();
        addresses.truncate(WAITING_PEERS_MAX.saturating_sub(waiting));
        if !addresses.is_empty() {
            self.waiting.push((origin, addresses));
        }
    }
}

impl FetchSource {
    fn named(&self) -> (String, InfoHashes) {
        match self {
            FetchSource::Torrent(torrent) => (torrent.layout().name().to_owned(), InfoHashes::of(torrent)),
            FetchSource::Magnet(magnet) => {
                let info_hashes: Vec<_> = magnet.info_hashes().collect();
                let number = info_hashes.first().map(ToString::to_string).unwrap_or_default();
                (magnet.name.clone().unwrap_or(number), InfoHashes::new(info_hashes, None))
            }
        }
    }

    fn tiers(&self) -> Vec<Vec<String>> {
        match self {
            FetchSource::Torrent(torrent) => torrent.trackers().to_vec(),
            // As the resolved torrent will have them.
            FetchSource::Magnet(magnet) => magnet.trackers.iter().map(|tracker| vec![tracker.clone()]).collect(),
        }
    }
}

impl Resolving {
    /// How far it is.
    pub(crate) fn progress(&self) -> ResolveProgress {
        *self.progress.borrow()
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Left {
    fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// What is lacking after so many bytes more were verified.
    fn bytes(&self, verified_bytes: u64) -> Option<u64> {
        match self.0.load(Ordering::Relaxed) {
            u64::MAX => None,
            at_first => Some(at_first.saturating_sub(verified_bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
