//! How a torrent comes to be served and known, and how that ends: what the shards are told, our own tracker, other trackers, the
//! DHT and the local network.

use crate::announcer::{AnnounceTorrent, Totals};
use crate::control::{Control, post};
use crate::news::EngineEvent;
use crate::order::AddError;
use crate::registry::{Entry, InfoHashes, NewTorrent, Phase};
use crate::tally::Tally;
use mesh::{Command, PeerOrigin, TorrentId};
use std::sync::Arc;

/// Since when others may know of a torrent: those that come with a start can wait, so that their announces are no storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// It is new to them.
    Now,
    /// An earlier run told them.
    EarlierRun,
}

impl Control {
    pub(crate) async fn add(&mut self, torrent: NewTorrent) -> Result<TorrentId, AddError> {
        let metainfo = torrent.seeded.torrent();
        let name = metainfo.layout().name().to_owned();
        let info_hashes = InfoHashes::of(metainfo);
        if self.registry.holds(info_hashes.own()) {
            return Err(AddError::Duplicate { name });
        }
        let id = self.registry.add(Entry {
            name,
            info_hashes,
            size_bytes: Some(metainfo.layout().total_size()),
            is_private: metainfo.is_private(),
            tiers: torrent.tiers,
            terms: torrent.terms,
            tally: Arc::new(Tally::awake(self.parts.links.len())),
            phase: Phase::Serving(torrent.seeded),
            is_stopped: false,
            source: None,
            progress: None,
            sent: None,
            failure: None,
        });
        self.watch_gate(id);
        self.look_out_for_copy(id);
        // Before any shard: a stranger must meet a shut gate everywhere.
        self.serve(id).await;
        self.publicise(id, Since::Now);
        Ok(id)
    }

    /// Has all shards serve a torrent.
    pub(crate) async fn serve(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get(id) else { return };
        let Some(seeded) = entry.seeded() else { return };
        let counters = entry.tally.counters();
        for link in &self.parts.links {
            let (torrent, terms, counters) = (seeded.clone(), entry.terms.clone(), counters.clone());
            post(link, Command::Serve { id, torrent, terms, counters }).await;
        }
    }

    /// Lets everybody know of a torrent that is served, or will be when somebody asks, as far as they do not know yet.
    pub(crate) fn publicise(&mut self, id: TorrentId, since: Since) {
        let Some(entry) = self.registry.get(id) else { return };
        self.tell_own_tracker(entry);
        if entry.is_embargoed() {
            // Only who comes with the key, or from a listed network, hears of it: from our own tracker.
            return;
        }
        let (tally, is_private) = (entry.tally.clone(), entry.is_private);
        if !self.announced.contains_key(&id) {
            let totals = move || Totals {
                uploaded_bytes: tally.sent_bytes(),
                downloaded_bytes: tally.received_bytes(),
                left_bytes: Some(0),
            };
            self.announce(id, Arc::new(totals), 0, since);
        }
        if let Some(entry) = self.registry.get(id).filter(|_| !is_private && !self.discovered.knows(id)) {
            self.discovered.begin(id, entry.info_hashes.own(), None, since);
        }
    }

    /// Our own tracker sends its peers to us.
    pub(crate) fn tell_own_tracker(&self, entry: &Entry) {
        if let Some(tracker) = &self.parts.tracker {
            for info_hash in entry.info_hashes.all() {
                tracker.set_gate(*info_hash, entry.terms.gate.clone());
                tracker.add_own_seed(*info_hash, self.parts.own_seeds.clone());
            }
        }
    }

    /// Announces a torrent from now on, if it has trackers and anything is announced.
    pub(crate) fn announce(
        &mut self,
        id: TorrentId,
        totals: Arc<dyn Fn() -> Totals + Send + Sync>,
        want_count: u32,
        since: Since,
    ) {
        let Some(entry) = self.registry.get(id) else { return };
        let has_trackers = entry.tiers.iter().any(|tier| !tier.is_empty());
        let Some(announcer) = self.parts.announcer.as_ref().filter(|_| has_trackers) else { return };
        let (info_hashes, tiers) = (entry.info_hashes.own().to_vec(), entry.tiers.to_vec());
        let finder = self.finder.clone();
        let found = Arc::new(move |addresses| finder.tell(id, PeerOrigin::Tracker, addresses));
        let torrent = AnnounceTorrent { info_hashes, tiers, totals, want_count, found };
        let (announced, unused) = match since {
            Since::Now => announcer.add(torrent),
            Since::EarlierRun => announcer.add_restored(torrent),
        };
        for tracker in unused {
            let reason = tracker.error.map_or("there are too many trackers".to_owned(), |error| error.to_string());
            tracing::warn!(tracker = tracker.url, reason, "a tracker is left out");
        }
        self.announced.insert(id, announced);
    }

    pub(crate) async fn remove(&mut self, id: TorrentId) {
        if self.registry.get(id).is_none() {
            return;
        }
        // No shard parks anybody for it any more once its names are gone, and whoever is parked hears of the end.
        self.registry.set_wakes(id, false);
        self.withdraw(id).await;
        self.forget_copy(id);
        self.embargoed.remove(&id);
        let Some(entry) = self.registry.remove(id) else { return };
        match entry.phase {
            Phase::Fetching(fetching) => fetching.files.cancel(),
            Phase::Checking(checking) => checking.check.cancel(),
            Phase::Serving(_) | Phase::AtRest(_) => {}
        }
        self.parts.news.tell(EngineEvent::Removed { id });
    }

    /// Takes a torrent from the shards, and tells nobody of it any more.
    pub(crate) async fn withdraw(&mut self, id: TorrentId) {
        self.sleep.forget(id);
        for link in &self.parts.links {
            post(link, Command::Withdraw { id }).await;
        }
        self.conceal(id);
    }

    /// Tells nobody of a torrent any more.
    pub(crate) fn conceal(&mut self, id: TorrentId) {
        if let (Some(tracker), Some(entry)) = (&self.parts.tracker, self.registry.get(id)) {
            for info_hash in entry.info_hashes.all() {
                tracker.remove_own_seed(*info_hash);
                // It may come back before its time, checked or elsewhere, and those who have it meanwhile are still there.
                tracker.keep_gate(*info_hash);
            }
        }
        if let (Some(announcer), Some(announced)) = (&self.parts.announcer, self.announced.remove(&id)) {
            announcer.remove(announced);
        }
        if let Some(entry) = self.registry.get(id) {
            self.discovered.end(id, entry.info_hashes.own());
        }
    }

    /// A torrent's content is not what it was: it is withdrawn, and its error stays to be read.
    pub(crate) async fn handle_failed(&mut self, id: TorrentId) {
        let error = self.registry.get(id).and_then(Entry::seeded).and_then(|seeded| seeded.error());
        // Where there is none, a shard has told of content that is not served any more.
        if let Some(reason) = error.map(ToString::to_string) {
            self.fail(id, reason).await;
        }
    }

    /// Ends what is done for a torrent; the reason stays to be read.
    pub(crate) async fn fail(&mut self, id: TorrentId, reason: String) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        if entry.failure.is_some() {
            return;
        }
        match entry.phase {
            // Whoever ordered it reads why in the status, and says it.
            Phase::Fetching(_) => tracing::debug!("torrent {} is no longer fetched: {reason}", entry.name),
            Phase::Serving(_) | Phase::AtRest(_) | Phase::Checking(_) => {
                tracing::error!("torrent {} is no longer served: {reason}", entry.name);
            }
        }
        if let Some(fetching) = entry.fetching() {
            fetching.web_seeds = None;
        }
        let comes_back = entry.may_rest();
        entry.failure = Some(reason.clone());
        self.parts.news.tell(EngineEvent::Failed { id, reason });
        self.withdraw(id).await;
        if comes_back {
            self.rest_failed(id);
        }
    }
}
