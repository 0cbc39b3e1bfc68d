//! Torrents at rest: announced, known by their names, and not loaded. The first handshake that names one has it loaded and
//! served by all shards; when nobody has been connected for a while, it goes back to rest. What a shard does meanwhile with
//! the connections that wait is its own affair.

use crate::control::{Control, post};
use crate::news::EngineEvent;
use crate::order::AddError;
use crate::registry::{Entry, InfoHashes, Phase, Tiers};
use crate::torrents::Since;
use hash::InfoHash;
use mesh::{Command, TorrentId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::{Seeded, StorageError};
use swarm::Terms;

/// How long a torrent that could not be loaded is left alone, whoever asks for it: content that is gone or has changed.
const BROKEN_PAUSE: Duration = Duration::from_secs(60);

/// The same where a shortage of ours was in the way.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Torrents that are kept loaded although nobody is connected for them. Whoever knows all our names may wake all; beyond this
/// those that were left alone the longest go to rest early, so that it costs us no more than this many.
const IDLE_LOADED_MAX: usize = 1024;

/// But none sooner than this: peers come back.
const EARLY_REST_LEAST: Duration = Duration::from_secs(5);

/// Torrents that are laid to rest in one tick (a second) at most: a quarter of a shard's mailbox.
const RESTS_PER_TICK: usize = 256;

/// Shards that have not answered after this long keep the torrent.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Torrents that are added between two looks of the runtime's thread at its other tasks.
const ADDS_AT_ONCE: usize = 256;

/// Where a torrent comes from when it is wanted. One of each torrent at rest: keep it small.
pub trait TorrentSource: Send + Sync {
    /// The torrent with its content, which must be as it was when it was verified. Called where waiting is allowed.
    fn load(&self) -> Result<Arc<Seeded>, LoadError>;
}

/// Why a torrent cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its files: the disk's fault, or that of whoever moved or changed them.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its files are not as they were when they were verified.
    #[error("{name}: changed since it was verified; recheck it")]
    Changed {
        /// The torrent's name.
        name: String,
    },
    /// Its metainfo is gone or broken: the fault of whoever keeps it.
    #[error("{name}: its metainfo cannot be had: {reason}; add it again")]
    Metainfo {
        /// The torrent's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever keeps the metainfo cannot give it just now.
    #[error("{name}: its metainfo cannot be had for now: {reason}")]
    Unavailable {
        /// The torrent's name.
        name: String,
        /// What is in the way.
        reason: String,
    },
    /// Our fault: what was loaded is another torrent.
    #[error("{name}: another torrent was loaded in its place")]
    Mistaken {
        /// The torrent's name.
        name: String,
    },
    /// Our fault: the thread that loaded it ended early.
    #[error("the loading broke off")]
    BrokeOff,
}

impl LoadError {
    /// Whether it says something of us and nothing of the torrent.
    pub fn is_transient(&self) -> bool {
        match self {
            LoadError::Storage(error) => error.is_transient(),
            LoadError::Unavailable { .. } | LoadError::BrokeOff => true,
            LoadError::Changed { .. } | LoadError::Metainfo { .. } | LoadError::Mistaken { .. } => false,
        }
    }
}

/// A torrent that is added without being loaded.
pub struct AtRest {
    /// Its name.
    pub name: String,
    /// Its info-hashes: one, or both of a hybrid.
    pub info_hashes: Vec<InfoHash>,
    /// The name that old clients make up for it ([`metainfo::Torrent::info_hash_without_empty_keys`]).
    pub misnamed: Option<InfoHash>,
    /// The bytes of its content.
    pub size_bytes: u64,
    /// Whether trackers alone may tell of it (BEP 27).
    pub is_private: bool,
    /// Trackers to announce to; empty for none.
    pub tiers: Tiers,
    /// How it is uploaded.
    pub terms: Arc<Terms>,
    /// Where it comes from.
    pub source: Arc<dyn TorrentSource>,
    /// Others were told of it by an earlier run: it can wait until they have been told of those that are new.
    pub is_restored: bool,
}

/// How far a torrent at rest is from being served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nap {
    /// Nobody wants it.
    Asleep,
    /// Somebody does: it is being loaded, or waits for its turn.
    Loading,
    /// It could not be loaded, and is not tried again before then.
    Refused {
        /// Since the engine's start.
        until: Duration,
    },
}

/// How many torrents are at rest, and how they come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestStatus {
    /// At rest now.
    pub at_rest: usize,
    /// Connections that wait for one of them now.
    pub parked: u64,
    /// Being loaded now.
    pub loading: usize,
    /// Loaded now, and ready to rest when nobody is connected.
    pub awake: usize,
    /// Times that a torrent was loaded.
    pub loads: u64,
    /// Times that one could not be.
    pub failed_loads: u64,
    /// Times that one went back to rest.
    pub rests: u64,
    /// Times that one would have, but somebody came at that moment.
    pub kept: u64,
}

/// The torrents that come from rest and go there.
pub(crate) struct Sleep {
    /// How long nobody must be connected.
    rest_after: Duration,
    /// How long one that is broken is left alone.
    broken_pause: Duration,
    /// Those that are loaded and may rest.
    awake: BTreeMap<TorrentId, Idle>,
    /// Those that the shards have been told to let go.
    leaving: BTreeMap<TorrentId, Leaving>,
    loading_count: usize,
    last_ticket: u32,
    counts: RestStatus,
}

/// Since when nobody is connected for a torrent.
#[derive(Default)]
struct Idle {
    since: Option<Duration>,
    /// What had been sent at the last look: somebody may have come and gone since.
    sent_bytes: u64,
}

/// A torrent that the shards have been told to let go.
struct Leaving {
    ticket: u32,
    awaited_count: usize,
    is_kept: bool,
    due: Duration,
}

impl Sleep {
    pub(crate) fn new(rest_after: Duration) -> Sleep {
        Sleep {
            rest_after,
            broken_pause: BROKEN_PAUSE,
            awake: BTreeMap::new(),
            leaving: BTreeMap::new(),
            loading_count: 0,
            last_ticket: 0,
            counts: RestStatus::default(),
        }
    }

    /// From now on somebody looks whether the torrent can rest.
    pub(crate) fn watch(&mut self, id: TorrentId) {
        self.awake.insert(id, Idle::default());
    }

    /// The torrent is served no longer, or not as one that may rest.
    pub(crate) fn forget(&mut self, id: TorrentId) {
        self.awake.remove(&id);
        self.leaving.remove(&id);
    }

    pub(crate) fn status(&self, at_rest: usize, parked: u64) -> RestStatus {
        RestStatus { at_rest, parked, loading: self.loading_count, awake: self.awake.len(), ..self.counts }
    }

    /// Notes who is connected; gives those that are to go to rest now, the longest idle first.
    fn look(&mut self, now: Duration, mut used: impl FnMut(TorrentId) -> Option<(u64, u64)>) -> Vec<TorrentId> {
        let mut idle: Vec<(Duration, TorrentId)> = Vec::new();
        self.awake.retain(|id, line| {
            let Some((peers, sent_bytes)) = used(*id) else { return false };
            if peers > 0 || sent_bytes != line.sent_bytes {
                *line = Idle { since: None, sent_bytes };
            } else {
                idle.push((*line.since.get_or_insert(now), *id));
            }
            true
        });
        idle.sort_unstable();
        let spare = idle.len().saturating_sub(IDLE_LOADED_MAX);
        let goes = |(n, (since, _)): &(usize, (Duration, TorrentId))| {
            let least = if *n < spare { self.rest_after.min(EARLY_REST_LEAST) } else { self.rest_after };
            now.saturating_sub(*since) >= least
        };
        let going = idle.into_iter().enumerate().filter(goes).map(|(_, (_, id))| id);
        going.filter(|id| !self.leaving.contains_key(id)).take(RESTS_PER_TICK).collect()
    }

    fn late(&self, now: Duration) -> Vec<TorrentId> {
        self.leaving.iter().filter(|(_, leaving)| leaving.due <= now).map(|(id, _)| *id).collect()
    }
}

impl Control {
    /// Adds a torrent that is loaded when somebody asks for it.
    pub(crate) async fn add_at_rest(&mut self, torrent: AtRest) -> Result<TorrentId, AddError> {
        if self.registry.holds(&torrent.info_hashes) {
            return Err(AddError::Duplicate { name: torrent.name });
        }
        let AtRest { name, info_hashes, misnamed, size_bytes, is_private, tiers, terms, source, is_restored } = torrent;
        let id = self.registry.add(Entry {
            name,
            info_hashes: InfoHashes::new(info_hashes, misnamed),
            size_bytes: Some(size_bytes),
            is_private,
            tiers,
            terms,
            tally: Arc::default(),
            phase: Phase::AtRest(Nap::Asleep),
            is_stopped: false,
            source: Some(source),
            progress: None,
            sent: None,
            failure: None,
        });
        self.look_out_for_copy(id);
        self.publicise(id, if is_restored { Since::EarlierRun } else { Since::Now });
        if self.registry.get(id).is_some_and(Entry::is_embargoed) {
            // Those stay awake until their time has come.
            self.watch_gate(id);
            self.load(id).await;
        }
        Ok(id)
    }

    /// The same for many: no shard hears of any of them.
    pub(crate) async fn add_many(&mut self, torrents: Vec<AtRest>) -> Vec<Result<TorrentId, AddError>> {
        let mut added = Vec::with_capacity(torrents.len());
        for torrent in torrents {
            added.push(self.add_at_rest(torrent).await);
            if added.len() % ADDS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        added
    }

    /// A torrent that is served, or is going to be, may rest from then on.
    pub(crate) fn let_rest(&mut self, id: TorrentId, source: Arc<dyn TorrentSource>) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        entry.source = Some(source);
        self.watch_for_rest(id);
    }

    /// A torrent is served from now on: it rests again if it may.
    pub(crate) fn watch_for_rest(&mut self, id: TorrentId) {
        if self.registry.get(id).is_some_and(Entry::may_rest) {
            self.registry.set_wakes(id, true);
            self.sleep.watch(id);
        }
    }

    /// Somebody asks a shard for a torrent that it has not.
    pub(crate) async fn handle_wanted(&mut self, id: TorrentId) {
        let now = self.parts.start.elapsed();
        let Some(entry) = self.registry.get(id) else { return self.refuse(id).await };
        match entry.phase {
            Phase::AtRest(Nap::Loading) => {}
            Phase::AtRest(Nap::Refused { until }) if now < until => self.refuse(id).await,
            Phase::AtRest(_) => self.load(id).await,
            // One shard has let go of it already. That it comes again is a later command than that it may go.
            Phase::Serving(_) if self.sleep.leaving.contains_key(&id) => self.keep_awake(id).await,
            // It is on its way to that shard.
            Phase::Serving(_) if entry.failure.is_none() => {}
            Phase::Serving(_) | Phase::Fetching(_) | Phase::Checking(_) => self.refuse(id).await,
        }
    }

    pub(crate) async fn load(&mut self, id: TorrentId) {
        let Some(source) = self.registry.get(id).and_then(|entry| entry.source.clone()) else {
            return self.refuse(id).await;
        };
        self.registry.set_phase(id, Phase::AtRest(Nap::Loading));
        self.sleep.loading_count += 1;
        self.tasks.load(id, source);
    }

    /// A torrent is loaded, or cannot be.
    pub(crate) async fn handle_loaded(&mut self, id: TorrentId, loaded: Result<Arc<Seeded>, LoadError>) {
        self.sleep.loading_count -= 1;
        let Some(entry) = self.registry.get_mut(id) else { return };
        if !matches!(entry.phase, Phase::AtRest(Nap::Loading)) {
            // It was stopped meanwhile.
            return;
        }
        let is_it = |seeded: &Arc<Seeded>| InfoHashes::of(seeded.torrent()).own() == entry.info_hashes.own();
        let mistaken = || LoadError::Mistaken { name: entry.name.clone() };
        match loaded.and_then(|seeded| if is_it(&seeded) { Ok(seeded) } else { Err(mistaken()) }) {
            Ok(seeded) => {
                self.sleep.counts.loads += 1;
                entry.tally.wake(self.parts.links.len());
                entry.failure = None;
                self.registry.set_phase(id, Phase::Serving(seeded));
                self.watch_for_rest(id);
                self.serve(id).await;
                // Where it could not be loaded before, nobody was told of it any more.
                self.publicise(id, Since::Now);
            }
            Err(error) => self.handle_not_loaded(id, &error).await,
        }
    }

    async fn handle_not_loaded(&mut self, id: TorrentId, error: &LoadError) {
        let now = self.parts.start.elapsed();
        self.sleep.counts.failed_loads += 1;
        let Some(entry) = self.registry.get_mut(id) else { return };
        let reason = error.to_string();
        let is_news = entry.failure.as_ref() != Some(&reason);
        if is_news {
            tracing::error!("torrent {} is asked for and cannot be served: {reason}", entry.name);
        }
        entry.failure = Some(reason.clone());
        // A shortage of ours is in the status as long as it lasts: nobody shall give up the torrent for it.
        if is_news && !error.is_transient() {
            self.parts.news.tell(EngineEvent::Failed { id, reason });
        }
        let pause = if error.is_transient() { SHORTAGE_PAUSE } else { self.sleep.broken_pause };
        self.registry.set_phase(id, Phase::AtRest(Nap::Refused { until: now + pause }));
        if !error.is_transient() {
            self.conceal(id);
        }
        self.refuse(id).await;
    }

    /// A torrent that may rest has failed while it was served. It is tried again when somebody asks for it, and not at once.
    pub(crate) fn rest_failed(&mut self, id: TorrentId) {
        let until = self.parts.start.elapsed() + self.sleep.broken_pause;
        self.lay_to_rest(id, Nap::Refused { until });
    }

    async fn refuse(&self, id: TorrentId) {
        for link in &self.parts.links {
            post(link, Command::Refuse { id }).await;
        }
    }

    /// Lays those to rest that nobody has been connected for.
    pub(crate) async fn tick_sleep(&mut self) {
        let now = self.parts.start.elapsed();
        let registry = &self.registry;
        let going = self.sleep.look(now, |id| {
            let counters = registry.get(id).filter(|entry| entry.may_rest())?.tally.counters();
            Some((counters.peers(), counters.payload_sent_bytes()))
        });
        for id in self.sleep.late(now) {
            self.keep_awake(id).await;
        }
        for id in going {
            self.sleep.last_ticket = self.sleep.last_ticket.wrapping_add(1);
            let ticket = self.sleep.last_ticket;
            let awaited_count = self.parts.links.len();
            self.sleep.leaving.insert(id, Leaving { ticket, awaited_count, is_kept: false, due: now + ANSWER_LIMIT });
            for link in &self.parts.links {
                post(link, Command::Rest { id, ticket }).await;
            }
        }
    }

    /// A shard has let go of a torrent, or somebody is connected there.
    pub(crate) async fn handle_rested(&mut self, id: TorrentId, ticket: u32, is_kept: bool) {
        let Some(leaving) = self.sleep.leaving.get_mut(&id).filter(|leaving| leaving.ticket == ticket) else { return };
        leaving.is_kept |= is_kept;
        leaving.awaited_count -= 1;
        if leaving.awaited_count > 0 {
            return;
        }
        if leaving.is_kept {
            return self.keep_awake(id).await;
        }
        self.sleep.counts.rests += 1;
        self.lay_to_rest(id, Nap::Asleep);
    }

    /// Somebody has come at the last moment: shards that have let go of the torrent get it again, the same that the others
    /// have kept.
    async fn keep_awake(&mut self, id: TorrentId) {
        self.sleep.counts.kept += 1;
        self.sleep.forget(id);
        self.watch_for_rest(id);
        self.serve(id).await;
    }

    /// No shard has the torrent any more: neither have we.
    fn lay_to_rest(&mut self, id: TorrentId, nap: Nap) {
        self.sleep.forget(id);
        let Some(entry) = self.registry.get_mut(id) else { return };
        entry.tally.rest();
        (entry.progress, entry.sent) = (None, None);
        self.registry.set_phase(id, Phase::AtRest(nap));
    }
}

#[cfg(test)]
mod tests;
