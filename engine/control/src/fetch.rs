//! A torrent that is fetched, from the order to the moment when all shards serve it: its metainfo, its files, the home
//! shard's work, and the closing of the files. Each step that waits runs as a task, whose end brings the next one.

mod files;
mod tasks;

pub use self::files::{FetchError, FetchFiles, Prepared};
pub(crate) use self::tasks::{Done, Tasks};

use crate::announcer::Totals;
use crate::control::{Control, FilesUnderWay, ShardLink, post, tracked_names};
use crate::order::AddError;
use crate::progress::Progress;
use crate::registry::{Entry, Phase};
use crate::web_seed::{NearEnd, WebSeeds};
use mesh::{Command, Fetch, PeerOrigin, TorrentId};
use metainfo::Torrent;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::Seeded;
use swarm::Terms;

/// Addresses that are kept for a torrent whose files are not ready yet.
const WAITING_PEERS_MAX: usize = 1000;

/// Peers to ask a tracker for, as most clients do.
const WANTED_PEERS: u32 = 200;

/// A torrent to fetch, as the program orders it.
pub struct NewFetch {
    /// What it is.
    pub torrent: Arc<Torrent>,
    /// Its files.
    pub files: Arc<dyn FetchFiles>,
    /// How it is uploaded.
    pub terms: Arc<Terms>,
    /// Trackers to announce to, in tiers; empty for none.
    pub tiers: Vec<Vec<String>>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// URLs of web seeds.
    pub web_seeds: Vec<String>,
    /// Whether pieces are wanted in their order.
    pub sequential: bool,
}

/// A fetch that goes on.
pub(crate) struct Fetching {
    pub(crate) torrent: Arc<Torrent>,
    pub(crate) files: Arc<dyn FetchFiles>,
    pub(crate) stage: Stage,
    is_sequential: bool,
    web_seed_urls: Vec<String>,
    /// At work as long as something is lacking.
    pub(crate) web_seeds: Option<WebSeeds>,
    /// Peers that the home shard has not been told of, since it does not know the torrent yet.
    waiting: Vec<(PeerOrigin, Vec<SocketAddr>)>,
    left: Arc<Left>,
}

/// How far a fetch is.
pub(crate) enum Stage {
    /// Its files are being looked at, and read where nobody remembers what is in them.
    Preparing,
    /// The home shard works on it.
    UnderWay(UnderWay),
    /// All of it is there, and its files are being closed.
    Finishing(Arc<Seeded>),
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
    pub(crate) fn seeded(&self) -> Option<&Arc<Seeded>> {
        match &self.stage {
            Stage::Preparing => None,
            Stage::UnderWay(under_way) => Some(&under_way.seeded),
            Stage::Finishing(seeded) => Some(seeded),
        }
    }

    pub(crate) fn under_way(&mut self) -> Option<&mut UnderWay> {
        match &mut self.stage {
            Stage::UnderWay(under_way) => Some(under_way),
            Stage::Preparing | Stage::Finishing(_) => None,
        }
    }

    fn keep_waiting(&mut self, origin: PeerOrigin, mut addresses: Vec<SocketAddr>) {
        let waiting: usize = self.waiting.iter().map(|(_, addresses)| addresses.len()).sum();
        addresses.truncate(WAITING_PEERS_MAX.saturating_sub(waiting));
        if !addresses.is_empty() {
            self.waiting.push((origin, addresses));
        }
    }
}

impl Control {
    /// Begins a fetch: looks at the files, and tells the trackers.
    pub(crate) fn fetch(&mut self, fetch: NewFetch) -> Result<TorrentId, AddError> {
        let name = fetch.torrent.layout().name().to_owned();
        let info_hashes: Vec<_> = fetch.torrent.info_hashes().collect();
        if self.registry.holds(&info_hashes) {
            return Err(AddError::Duplicate { name });
        }
        let left = Arc::new(Left(AtomicU64::new(u64::MAX)));
        let mut fetching = Fetching {
            torrent: fetch.torrent,
            files: fetch.files,
            stage: Stage::Preparing,
            is_sequential: fetch.sequential,
            web_seed_urls: fetch.web_seeds,
            web_seeds: None,
            waiting: Vec::new(),
            left,
        };
        fetching.keep_waiting(PeerOrigin::Given, fetch.peers);
        let (torrent, files, left) = (fetching.torrent.clone(), fetching.files.clone(), fetching.left.clone());
        let phase = Phase::Fetching(Box::new(fetching));
        let mut entry = Entry::new((name, info_hashes), fetch.terms, self.parts.links.len(), phase);
        entry.progress = Some(Box::default());
        let counters = entry.counters.clone();
        let id = self.registry.add(entry);
        let totals = move || Totals {
            uploaded_bytes: counters.payload_sent_bytes(),
            downloaded_bytes: counters.payload_received_bytes(),
            left_bytes: left.bytes(counters.verified_bytes()),
        };
        self.announce(id, fetch.tiers, Arc::new(totals), WANTED_PEERS);
        self.tasks.prepare(id, files, torrent);
        Ok(id)
    }

    /// The files are ready, or cannot be used.
    pub(crate) async fn handle_prepared(&mut self, id: TorrentId, prepared: Result<Prepared, FetchError>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.fail(id, error.to_string()).await,
        };
        let mut progress = Progress::default();
        progress.begin(prepared.seeded.torrent().layout(), &prepared.have, &prepared.wanted);
        let (left_bytes, unwanted_bytes) = (progress.left_bytes(&entry.counters), progress.unwanted_bytes());
        entry.progress = Some(Box::new(progress));
        let (terms, counters) = (entry.terms.clone(), entry.counters.clone());
        let Some(fetching) = entry.fetching() else { return };
        fetching.left.set(left_bytes + unwanted_bytes);
        if left_bytes + unwanted_bytes == 0 {
            fetching.stage = Stage::Finishing(prepared.seeded);
            let (files, torrent) = (fetching.files.clone(), fetching.torrent.clone());
            return self.tasks.finish(id, files, torrent);
        }
        let seeded = prepared.seeded.clone();
        fetching.stage = Stage::UnderWay(UnderWay { seeded, pause: None, has_wanted: false });
        let sequential = fetching.is_sequential;
        let waiting = std::mem::take(&mut fetching.waiting);
        let torrent = prepared.seeded;
        let (partial, have, wanted) = (prepared.partial, prepared.have, prepared.wanted);
        let order = Fetch { id, torrent: torrent.clone(), partial, have, wanted, sequential, terms, counters };
        self.send_home(id, &torrent, order).await;
        for (origin, addresses) in waiting {
            post(self.home(id), Command::Peers { id, origin, addresses }).await;
        }
        let (Some(clients), Some(fetching)) =
            (&self.parts.web_seeds, self.registry.get_mut(id).and_then(Entry::fetching))
        else {
            return;
        };
        let urls = std::mem::take(&mut fetching.web_seed_urls);
        fetching.web_seeds = Some(WebSeeds::start(clients, (id, &fetching.torrent), &urls, &self.near_ends));
    }

    /// The home shard gets its end of a web seed.
    pub(crate) async fn handle_near_end(&mut self, NearEnd { id, socket, address }: NearEnd) {
        let fetching = self.registry.get_mut(id).and_then(Entry::fetching);
        if fetching.is_some_and(|fetching| fetching.web_seeds.is_some()) {
            post(self.home(id), Command::Attach { id, socket, address }).await;
        }
    }

    /// Gives the torrent to its home shard, and tells the others where that is.
    async fn send_home(&self, id: TorrentId, seeded: &Seeded, order: Fetch<Arc<Seeded>, Arc<Terms>, FilesUnderWay>) {
        let home = self.home_index(id);
        // The home shard first: a connection that is handed over meanwhile would be turned away there.
        post(self.home(id), Command::Fetch(Box::new(order))).await;
        let info_hashes: Vec<_> = tracked_names(seeded).collect();
        for link in self.parts.links.iter().enumerate().filter(|(shard, _)| *shard != home).map(|(_, link)| link) {
            post(link, Command::Forward { id, info_hashes: info_hashes.clone(), home }).await;
        }
    }

    /// Somebody told of peers.
    pub(crate) async fn handle_found(&mut self, id: TorrentId, origin: PeerOrigin, addresses: Vec<SocketAddr>) {
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        match &fetching.stage {
            Stage::Preparing => fetching.keep_waiting(origin, addresses),
            Stage::UnderWay(_) => post(self.home(id), Command::Peers { id, origin, addresses }).await,
            Stage::Finishing(_) => {}
        }
    }

    /// The home shard has all that was wanted.
    pub(crate) fn handle_fetched(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let is_whole = entry.progress.as_ref().is_some_and(|progress| progress.unwanted_bytes() == 0);
        let Some(fetching) = entry.fetching() else { return };
        let (files, torrent) = (fetching.files.clone(), fetching.torrent.clone());
        fetching.web_seeds = None;
        let Some(under_way) = fetching.under_way() else { return };
        if !is_whole {
            // The home shard goes on serving what there is.
            return self.tasks.keep(id, files);
        }
        let seeded = under_way.seeded.clone();
        fetching.stage = Stage::Finishing(seeded);
        self.tasks.finish(id, files, torrent);
        if let (Some(announcer), Some(announced)) = (&self.parts.announcer, self.announced.get(&id)) {
            announcer.completed(*announced);
        }
    }

    /// What was wanted is there to last, or is not.
    pub(crate) async fn handle_kept(&mut self, id: TorrentId, kept: Result<(), FetchError>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        if let Err(error) = kept {
            return self.fail(id, error.to_string()).await;
        }
        let name = entry.name.clone();
        if let Some(under_way) = entry.fetching().and_then(Fetching::under_way) {
            under_way.has_wanted = true;
            tracing::info!("{name}: all that is wanted is there");
        }
    }

    /// The files are closed: from now on all shards serve the torrent.
    pub(crate) async fn handle_finished(&mut self, id: TorrentId, finished: Result<Arc<Seeded>, FetchError>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let seeded = match finished {
            Ok(seeded) => seeded,
            Err(error) => return self.fail(id, error.to_string()).await,
        };
        if let Some(fetching) = entry.fetching() {
            fetching.left.set(0);
        }
        tracing::info!("{}: complete", entry.name);
        entry.phase = Phase::Serving(seeded);
        self.serve(id).await;
    }

    /// The disk takes no more of a torrent, or takes it again.
    pub(crate) fn handle_pause(&mut self, id: TorrentId, pause: Option<String>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let name = entry.name.clone();
        let Some(under_way) = entry.fetching().and_then(Fetching::under_way) else { return };
        match &pause {
            Some(reason) => tracing::warn!("{name}: paused, and tried again from time to time: {reason}"),
            None => tracing::info!("{name}: goes on"),
        }
        under_way.pause = pause;
    }

    /// At the end: what is being looked at need not be any more.
    pub(crate) fn cancel_preparing(&mut self) {
        let fetching = self.registry.iter_mut().filter_map(|(_, entry)| entry.fetching());
        fetching
            .filter(|fetching| matches!(fetching.stage, Stage::Preparing))
            .for_each(|fetching| fetching.files.cancel());
    }

    /// The shard that fetches the torrent.
    fn home(&self, id: TorrentId) -> &ShardLink {
        &self.parts.links[self.home_index(id)]
    }

    fn home_index(&self, id: TorrentId) -> usize {
        // As the shards reckon.
        id.0 as usize % self.parts.links.len().max(1)
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
