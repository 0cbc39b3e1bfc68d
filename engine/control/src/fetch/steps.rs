//! The way of a torrent that is fetched, from the order to the moment when all shards serve it: its metainfo, its files, the
//! home shard's work, and the closing of the files. Each step that waits runs as a task, whose end brings the next one.

use super::{FetchError, FetchFiles, FetchSource, Fetching, NewFetch, Prepared, Resolving, Stage, UnderWay};
use crate::announcer::Totals;
use crate::control::{Control, FilesUnderWay, ShardLink, post};
use crate::news::EngineEvent;
use crate::order::AddError;
use crate::progress::Progress;
use crate::registry::{Entry, InfoHashes, Phase};
use crate::resolve::{FoundPeers, ResolveError, Resolved};
use crate::tally::Tally;
use crate::torrents::Since;
use crate::web_seed::{NearEnd, WebSeeds};
use mesh::{Command, Fetch, PeerOrigin, TorrentId};
use metainfo::{Magnet, Torrent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use storage::Seeded;
use swarm::Terms;
use tokio::sync::mpsc;

/// Peers to ask a tracker for, as most clients do.
const WANTED_PEERS: u32 = 200;

/// Answers with peers that wait for a link's resolver at most. One that finds no room is lost to it, not to the fetch.
const FOUND_CAPACITY: usize = 64;

impl Control {
    /// Begins a fetch: asks what the torrent is, or looks at the files, and tells the trackers.
    pub(crate) fn fetch(&mut self, fetch: NewFetch) -> Result<TorrentId, AddError> {
        let (name, info_hashes) = fetch.source.named();
        if self.registry.holds(info_hashes.own()) {
            return Err(AddError::Duplicate { name });
        }
        let torrent = match &fetch.source {
            FetchSource::Torrent(torrent) => Some(torrent),
            FetchSource::Magnet(_) => None,
        };
        let id = self.registry.add(Entry {
            name,
            info_hashes,
            size_bytes: torrent.map(|torrent| torrent.layout().total_size()),
            is_private: torrent.is_some_and(|torrent| torrent.is_private()),
            tiers: fetch.source.tiers().into(),
            terms: fetch.terms.clone(),
            tally: Arc::new(Tally::awake(self.parts.links.len())),
            phase: Phase::Fetching(Box::new(Fetching::new(&fetch))),
            is_stopped: false,
            source: None,
            progress: Some(Box::default()),
            sent: None,
            failure: None,
        });
        self.watch_gate(id);
        self.announce_fetch(id);
        self.discover(id);
        match fetch.source {
            FetchSource::Torrent(torrent) => self.prepare(id, torrent),
            FetchSource::Magnet(magnet) => self.resolve(id, *magnet, fetch.peers),
        }
        Ok(id)
    }

    /// The same for a torrent that the registry has, and that nobody works on.
    pub(crate) fn fetch_known(&mut self, id: TorrentId, fetch: &NewFetch, torrent: Arc<Torrent>) {
        self.registry.set_phase(id, Phase::Fetching(Box::new(Fetching::new(fetch))));
        if let Some(entry) = self.registry.get_mut(id) {
            entry.progress = Some(Box::default());
        }
        self.go_on_fetching(id);
        self.prepare(id, torrent);
    }

    /// Looks for peers again for a fetch that was stopped, or that nobody was to hear of.
    pub(crate) fn go_on_fetching(&mut self, id: TorrentId) {
        self.announce_fetch(id);
        self.discover(id);
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        match (&fetching.stage, fetching.magnet.clone()) {
            (Stage::Unresolved, Some(magnet)) => self.resolve(id, *magnet, Vec::new()),
            (Stage::UnderWay(under_way), _) if !under_way.has_wanted => {
                let seeded = under_way.seeded.clone();
                self.ask_web_seeds(id, &seeded);
            }
            _ => {}
        }
    }

    /// Whether the torrent is fetched into these files.
    pub(crate) fn works_with(&self, id: TorrentId, files: &Arc<dyn FetchFiles>) -> bool {
        let phase = self.registry.get(id).map(|entry| &entry.phase);
        matches!(phase, Some(Phase::Fetching(fetching)) if Arc::ptr_eq(&fetching.files, files))
    }

    fn announce_fetch(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get_mut(id).filter(|entry| entry.may_be_told_of()) else { return };
        let tally = entry.tally.clone();
        let Some(left) = entry.fetching().map(|fetching| fetching.left.clone()) else { return };
        let totals = move || Totals {
            uploaded_bytes: tally.sent_bytes(),
            downloaded_bytes: tally.received_bytes(),
            left_bytes: left.bytes(tally.counters().verified_bytes()),
        };
        self.announce(id, Arc::new(totals), WANTED_PEERS, Since::Now);
    }

    /// Has the DHT and the local network asked for peers, unless the torrent is private.
    fn discover(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get(id) else { return };
        if entry.is_private || !entry.may_be_told_of() {
            return self.discovered.end(id, entry.info_hashes.own());
        }
        let finder = self.finder.clone();
        let found = Arc::new(move |addresses| finder.tell(id, PeerOrigin::Dht, addresses));
        self.discovered.begin(id, entry.info_hashes.own(), Some(found), Since::Now);
    }

    /// Asks peers what the torrent of a link is.
    fn resolve(&mut self, id: TorrentId, magnet: Magnet, peers: Vec<SocketAddr>) {
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        let (found, receiver) = mpsc::channel(FOUND_CAPACITY);
        // There is room in a new channel.
        let _ = found.try_send(FoundPeers { origin: PeerOrigin::Given, addresses: peers });
        fetching.magnet = Some(Box::new(magnet.clone()));
        let resolving = self.parts.resolver.resolve(magnet, receiver, getrandom::u64().unwrap_or(u64::from(id.0)));
        let progress = resolving.progress();
        let task = self.tasks.resolve(id, resolving);
        fetching.stage = Stage::Resolving(Resolving { found, progress, task });
    }

    /// Peers have told what the torrent is, or it cannot be known.
    pub(crate) async fn handle_resolved(&mut self, id: TorrentId, resolved: Result<Box<Resolved>, ResolveError>) {
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(error) => return self.fail(id, error.to_string()).await,
        };
        let Some(entry) = self.registry.get_mut(id) else { return };
        if !entry.fetching().is_some_and(|fetching| matches!(fetching.stage, Stage::Resolving(_))) {
            // It was stopped meanwhile, or begins anew.
            return;
        }
        let torrent = Arc::new(resolved.torrent);
        let (name, info_hashes) = FetchSource::Torrent(torrent.clone()).named();
        // The link of a hybrid may name one of its two swarms.
        let known = entry.info_hashes.own();
        let news: Vec<_> = info_hashes.own().iter().copied().filter(|hash| !known.contains(hash)).collect();
        if self.registry.holds(&news) {
            return self.fail(id, AddError::Duplicate { name }.to_string()).await;
        }
        self.registry.rename(id, name, info_hashes);
        let Some(entry) = self.registry.get_mut(id) else { return };
        entry.size_bytes = Some(torrent.layout().total_size());
        entry.is_private = torrent.is_private();
        let Some(fetching) = entry.fetching() else { return };
        match torrent.is_private() {
            // Nobody knows any more who told of them.
            true => fetching.forget_hearsay(),
            false => fetching.keep_waiting(PeerOrigin::Given, resolved.peers),
        }
        fetching.stage = Stage::Preparing;
        if !news.is_empty() {
            if let (Some(announcer), Some(announced)) = (&self.parts.announcer, self.announced.remove(&id)) {
                announcer.remove(announced);
            }
            if let Some(entry) = self.registry.get_mut(id) {
                entry.tiers = torrent.trackers().into();
            }
            self.announce_fetch(id);
        }
        if torrent.is_private() || !news.is_empty() {
            self.discover(id);
        }
        self.prepare(id, torrent);
    }

    /// Looks at the files.
    fn prepare(&mut self, id: TorrentId, torrent: Arc<Torrent>) {
        if let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) {
            self.tasks.prepare(id, fetching.files.clone(), torrent, Duration::ZERO);
        }
    }

    /// The disk has no room for the files: tries again later, as it would for blocks.
    fn wait_for_room(&mut self, id: TorrentId, torrent: Arc<Torrent>, reason: String) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let name = entry.name.clone();
        let Some(fetching) = entry.fetching() else { return };
        if !matches!(fetching.stage, Stage::NoRoom(_)) {
            tracing::warn!("{name}: paused, and tried again from time to time: {reason}");
            self.parts.news.tell(EngineEvent::FetchPaused { id, reason: reason.clone() });
        }
        fetching.stage = Stage::NoRoom(reason);
        self.tasks.prepare(id, fetching.files.clone(), torrent, self.tasks.room_interval);
    }

    /// The files are ready, or cannot be used.
    pub(crate) async fn handle_prepared(
        &mut self,
        id: TorrentId,
        torrent: Arc<Torrent>,
        prepared: Result<Prepared, FetchError>,
    ) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(FetchError::Storage(error)) if error.is_full() => {
                return self.wait_for_room(id, torrent, error.to_string());
            }
            Err(error) => return self.fail(id, error.to_string()).await,
        };
        self.parts.news.tell(EngineEvent::Prepared { id });
        let mut progress = Progress::default();
        progress.begin(prepared.seeded.torrent().layout(), &prepared.have, &prepared.wanted);
        let counters = entry.tally.counters();
        let (left_bytes, unwanted_bytes) = (progress.left_bytes(&counters), progress.unwanted_bytes());
        entry.progress = Some(Box::new(progress));
        let (terms, is_stopped) = (entry.terms.clone(), entry.is_stopped);
        let Some(fetching) = entry.fetching() else { return };
        fetching.left.set(left_bytes + unwanted_bytes);
        if left_bytes + unwanted_bytes == 0 {
            let torrent = prepared.seeded.torrent().clone();
            fetching.stage = Stage::Finishing(prepared.seeded);
            return self.tasks.finish(id, fetching.files.clone(), torrent);
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
        if is_stopped {
            // It was while its files were being looked at.
            return post(self.home(id), Command::Hold { id, held: true }).await;
        }
        self.ask_web_seeds(id, &torrent);
    }

    fn ask_web_seeds(&mut self, id: TorrentId, seeded: &Seeded) {
        let fetching = self.registry.get_mut(id).and_then(Entry::fetching);
        if let (Some(clients), Some(fetching)) = (&self.parts.web_seeds, fetching) {
            let torrent = seeded.torrent();
            let web_seeds = WebSeeds::start(clients, (id, torrent), torrent.web_seeds(), &self.near_ends);
            fetching.web_seeds = Some(web_seeds);
        }
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
        let info_hashes = InfoHashes::of(seeded.torrent()).all().to_vec();
        for link in self.parts.links.iter().enumerate().filter(|(shard, _)| *shard != home).map(|(_, link)| link) {
            post(link, Command::Forward { id, info_hashes: info_hashes.clone(), home }).await;
        }
    }

    /// Somebody told of peers.
    pub(crate) async fn handle_found(&mut self, id: TorrentId, origin: PeerOrigin, addresses: Vec<SocketAddr>) {
        let running = self.registry.get_mut(id).filter(|entry| !entry.is_stopped);
        let Some(fetching) = running.and_then(Entry::fetching) else { return };
        match &fetching.stage {
            Stage::Resolving(resolving) => {
                // One who is asked what the torrent is may have it too.
                let _ = resolving.found.try_send(FoundPeers { origin, addresses: addresses.clone() });
                fetching.keep_waiting(origin, addresses);
            }
            Stage::Unresolved | Stage::Preparing | Stage::NoRoom(_) => fetching.keep_waiting(origin, addresses),
            Stage::UnderWay(_) => post(self.home(id), Command::Peers { id, origin, addresses }).await,
            Stage::Finishing(_) => {}
        }
    }

    /// The home shard has all that was wanted.
    pub(crate) fn handle_fetched(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let is_whole = entry.progress.as_ref().is_some_and(|progress| progress.unwanted_bytes() == 0);
        let Some(fetching) = entry.fetching() else { return };
        let files = fetching.files.clone();
        fetching.web_seeds = None;
        let Some(under_way) = fetching.under_way() else { return };
        if !is_whole {
            // The home shard goes on serving what there is.
            return self.tasks.keep(id, files);
        }
        let seeded = under_way.seeded.clone();
        self.tasks.finish(id, files, seeded.torrent().clone());
        fetching.stage = Stage::Finishing(seeded);
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
            self.parts.news.tell(EngineEvent::Completed { id });
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
        let is_stopped = entry.is_stopped;
        if !entry.is_private && entry.may_be_told_of() {
            // From now on nobody wants to hear of other peers.
            self.discovered.begin(id, entry.info_hashes.own(), None, Since::Now);
        }
        self.registry.set_phase(id, Phase::Serving(seeded));
        self.parts.news.tell(EngineEvent::Completed { id });
        if is_stopped {
            return self.withdraw(id).await;
        }
        self.watch_for_rest(id);
        self.serve(id).await;
        if let Some(entry) = self.registry.get(id) {
            self.tell_own_tracker(entry);
        }
    }

    /// The disk takes no more of a torrent, or takes it again.
    pub(crate) fn handle_pause(&mut self, id: TorrentId, pause: Option<String>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        let name = entry.name.clone();
        let Some(under_way) = entry.fetching().and_then(Fetching::under_way) else { return };
        under_way.pause.clone_from(&pause);
        match pause {
            Some(reason) => {
                tracing::warn!("{name}: paused, and tried again from time to time: {reason}");
                self.parts.news.tell(EngineEvent::FetchPaused { id, reason });
            }
            None => {
                tracing::info!("{name}: goes on");
                self.parts.news.tell(EngineEvent::FetchResumed { id });
            }
        }
    }

    /// At the end: what is being looked at need not be any more.
    pub(crate) fn cancel_preparing(&mut self) {
        let fetching = self.registry.iter_mut().filter_map(|(_, entry)| entry.fetching());
        fetching
            .filter(|fetching| matches!(fetching.stage, Stage::Preparing | Stage::NoRoom(_)))
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
