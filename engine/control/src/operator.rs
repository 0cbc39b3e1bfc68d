//! What an operator orders of one torrent, and of all: to stop and go on, other limits, an announce, a look at its peers and
//! trackers. Nothing here waits for a disk or a peer.

mod trackers;

pub use trackers::{TrackerActivity, TrackerLine};

use crate::control::{Control, post};
use crate::fetch::{NewFetch, Stage};
use crate::news::EngineEvent;
use crate::order::OrderError;
use crate::rechecking::ContentCheck;
use crate::registry::{Entry, Phase};
use crate::rest::Nap;
use crate::status::TorrentStatus;
use crate::survey::PeerList;
use crate::torrents::Since;
use mesh::{Command, TorrentId};
use metainfo::Torrent;
use std::sync::Arc;
use swarm::TorrentLimits;
use tokio::sync::oneshot;

/// Where the answer to an order goes.
pub type Reply<T> = oneshot::Sender<Result<T, OrderError>>;

/// What may be wanted of one torrent.
pub enum TorrentOrder {
    /// Serve or fetch it no longer, and forget it.
    Remove {
        /// Told once trackers and shards have been.
        reply: Reply<()>,
    },
    /// Neither serve nor fetch nor announce it, until it is started. What is known of it stays.
    Stop {
        /// Told once trackers and shards have been.
        reply: Reply<()>,
    },
    /// Serve or fetch it again.
    Start {
        /// Told once shards have been.
        reply: Reply<()>,
    },
    /// Announce it now.
    Announce {
        /// How many lines of announces are on their way.
        reply: Reply<usize>,
    },
    /// Serve and fetch it under other limits.
    SetLimits {
        /// All of them.
        limits: TorrentLimits,
        /// Told once shards have been.
        reply: Reply<()>,
    },
    /// Tell how it is.
    Status {
        /// Where to.
        reply: Reply<TorrentStatus>,
    },
    /// Tell of its peers.
    Peers {
        /// Where to, when all shards have had a turn.
        reply: Reply<PeerList>,
    },
    /// Tell of its trackers.
    Trackers {
        /// Where to.
        reply: Reply<Vec<TrackerLine>>,
    },
    /// End its embargo now.
    Open {
        /// Told when it is open.
        reply: Reply<()>,
    },
    /// Put the end of its embargo off, or bring it forward.
    SetOpening {
        /// Seconds since 1970; `None` for only when somebody says so.
        opens_at_unix_s: Option<u64>,
        /// Told when it is noted.
        reply: Reply<()>,
    },
    /// Tell by [`EngineEvent::FirstCopy`] when another peer has all of it.
    AwaitCopy {
        /// Told when it is noted.
        reply: Reply<()>,
    },
    /// Serve nothing of it until its content was compared with the torrent.
    Recheck {
        /// The torrent.
        torrent: Arc<Torrent>,
        /// What compares it.
        check: Arc<dyn ContentCheck>,
        /// Told when it has begun; what was found is an event.
        reply: Reply<()>,
    },
    /// Fetch it anew, whatever became of it: what is there of its content is kept.
    Refetch {
        /// The same torrent; its terms stay as they are.
        fetch: Box<NewFetch>,
        /// Told when it has begun.
        reply: Reply<()>,
    },
}

impl Control {
    pub(crate) async fn handle_torrent_order(&mut self, id: TorrentId, order: TorrentOrder) {
        // Whoever asked may have gone; then nobody needs the answer.
        match order {
            TorrentOrder::Remove { reply } => drop(reply.send(self.remove_known(id).await)),
            TorrentOrder::Stop { reply } => drop(reply.send(self.stop_torrent(id).await)),
            TorrentOrder::Start { reply } => drop(reply.send(self.start_torrent(id).await)),
            TorrentOrder::Announce { reply } => drop(reply.send(self.announce_now(id))),
            TorrentOrder::SetLimits { limits, reply } => drop(reply.send(self.set_limits(id, limits).await)),
            TorrentOrder::Status { reply } => drop(reply.send(self.status_of(id))),
            TorrentOrder::Peers { reply } => self.list_peers(id, reply).await,
            TorrentOrder::Trackers { reply } => drop(reply.send(self.trackers_of(id))),
            TorrentOrder::Open { reply } => drop(reply.send(self.open_now(id))),
            TorrentOrder::SetOpening { opens_at_unix_s, reply } => {
                drop(reply.send(self.set_opening(id, opens_at_unix_s)));
            }
            TorrentOrder::AwaitCopy { reply } => drop(reply.send(self.await_copy(id))),
            TorrentOrder::Recheck { torrent, check, reply } => {
                drop(reply.send(self.recheck(id, torrent, check).await));
            }
            TorrentOrder::Refetch { fetch, reply } => drop(reply.send(self.refetch(id, *fetch).await)),
        }
    }

    pub(crate) fn entry(&mut self, id: TorrentId) -> Result<&mut Entry, OrderError> {
        self.registry.get_mut(id).ok_or(OrderError::Unknown { id })
    }

    async fn remove_known(&mut self, id: TorrentId) -> Result<(), OrderError> {
        self.entry(id)?;
        self.remove(id).await;
        Ok(())
    }

    async fn stop_torrent(&mut self, id: TorrentId) -> Result<(), OrderError> {
        let entry = self.entry(id)?;
        if std::mem::replace(&mut entry.is_stopped, true) {
            return Ok(());
        }
        let is_fetched = entry.fetching().is_some();
        if let Some(fetching) = entry.fetching() {
            fetching.web_seeds = None;
            if let Stage::Resolving(_) = fetching.stage {
                fetching.stage = Stage::Unresolved;
            }
        }
        self.registry.set_wakes(id, false);
        match is_fetched {
            // What its home shard has verified stays there.
            true => {
                self.hold(id, true).await;
                self.conceal(id);
            }
            false => self.withdraw(id).await,
        }
        if self.registry.get(id).is_some_and(|entry| matches!(entry.phase, Phase::AtRest(_))) {
            // If it is being loaded, that comes too late.
            self.registry.set_phase(id, Phase::AtRest(Nap::Asleep));
        }
        Ok(())
    }

    async fn start_torrent(&mut self, id: TorrentId) -> Result<(), OrderError> {
        let entry = self.entry(id)?;
        if let Some(refusal) = entry.refusal_to_start() {
            return Err(refusal);
        }
        if !entry.is_stopped && entry.failure.is_none() {
            return Ok(());
        }
        (entry.is_stopped, entry.failure) = (false, None);
        match entry.phase {
            Phase::Serving(_) => {
                self.watch_for_rest(id);
                self.serve(id).await;
                self.publicise(id, Since::Now);
            }
            Phase::AtRest(_) => {
                let is_embargoed = entry.is_embargoed();
                self.registry.set_phase(id, Phase::AtRest(Nap::Asleep));
                self.registry.set_wakes(id, !is_embargoed);
                self.publicise(id, Since::Now);
                if is_embargoed {
                    self.load(id).await;
                }
            }
            Phase::Fetching(_) => {
                self.hold(id, false).await;
                self.go_on_fetching(id);
            }
            // It is served when it was found to be right.
            Phase::Checking(_) => {}
        }
        Ok(())
    }

    /// The home shard leaves a torrent that is fetched alone, or goes on with it.
    async fn hold(&self, id: TorrentId, held: bool) {
        for link in &self.parts.links {
            // None but the home shard knows it as one that is fetched.
            post(link, Command::Hold { id, held }).await;
        }
    }

    fn announce_now(&mut self, id: TorrentId) -> Result<usize, OrderError> {
        self.entry(id)?;
        let (announcer, announced) = (self.parts.announcer.as_ref(), self.announced.get(&id));
        Ok(announcer.zip(announced).map_or(0, |(announcer, announced)| announcer.announce_now(*announced)))
    }

    async fn set_limits(&mut self, id: TorrentId, limits: TorrentLimits) -> Result<(), OrderError> {
        let entry = self.entry(id)?;
        entry.terms = Arc::new(entry.terms.changed(limits));
        let terms = entry.terms.clone();
        for link in &self.parts.links {
            // Shards that do not have the torrent pass it by.
            post(link, Command::SetTerms { id, terms: terms.clone() }).await;
        }
        Ok(())
    }

    fn status_of(&mut self, id: TorrentId) -> Result<TorrentStatus, OrderError> {
        let now = self.parts.start.elapsed();
        Ok(self.entry(id)?.status(id, now))
    }

    async fn list_peers(&mut self, id: TorrentId, reply: Reply<PeerList>) {
        if let Err(error) = self.entry(id).map(|_| ()) {
            return drop(reply.send(Err(error)));
        }
        if !self.peer_lists.has_room() {
            return drop(reply.send(Err(OrderError::Busy)));
        }
        let live: Vec<_> = self.parts.links.iter().filter(|link| !link.has_ended()).cloned().collect();
        let now = self.parts.start.elapsed();
        let ticket = self.peer_lists.ask(now, live.len(), |peers| drop(reply.send(Ok(peers))));
        for link in live.iter().filter(|_| ticket.is_some()) {
            post(link, Command::ListPeers { ticket: ticket.unwrap_or_default(), id }).await;
        }
    }

    fn await_copy(&mut self, id: TorrentId) -> Result<(), OrderError> {
        self.entry(id)?.terms.await_copy();
        self.look_out_for_copy(id);
        Ok(())
    }

    /// Tells of the first copy of a torrent if its terms say that somebody waits for it.
    pub(crate) fn look_out_for_copy(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get(id) else { return };
        let Some(first_copy) = entry.terms.first_copy().filter(|copy| !copy.is_met()) else { return };
        self.awaiting_copy.insert(id);
        if let Some(tracker) = &self.parts.tracker {
            tracker.await_copy(entry.info_hashes.all(), self.parts.peer_id, first_copy);
        }
    }

    /// Tells of the torrents that somebody else has all of by now.
    pub(crate) fn look_for_copies(&mut self) {
        let is_met = |id: &TorrentId| {
            let terms = self.registry.get(*id).map(|entry| &entry.terms);
            terms.and_then(|terms| terms.first_copy()).is_some_and(|copy| copy.is_met())
        };
        let met: Vec<TorrentId> = self.awaiting_copy.iter().copied().filter(is_met).collect();
        for id in met {
            self.forget_copy(id);
            self.parts.news.tell(EngineEvent::FirstCopy { id });
        }
    }

    /// Nobody waits for the first copy of a torrent any more.
    pub(crate) fn forget_copy(&mut self, id: TorrentId) {
        if self.awaiting_copy.remove(&id)
            && let (Some(tracker), Some(entry)) = (&self.parts.tracker, self.registry.get(id))
        {
            tracker.forget_copy(entry.info_hashes.all());
        }
    }

    /// Other numbers of peers for all torrents together.
    pub(crate) async fn set_share(&mut self, slots: Option<u32>, connections_per_shard: usize) {
        let had_slots = std::mem::replace(&mut self.parts.slots, slots).is_some();
        self.parts.connections_per_shard = connections_per_shard;
        for link in &self.parts.links {
            post(link, Command::SetConnections { limit: connections_per_shard }).await;
            if slots.is_none() && had_slots {
                post(link, Command::SetSlots { slots: None }).await;
            }
        }
        self.share_slots().await;
    }
}

impl Entry {
    /// Why it cannot be started as it is.
    fn refusal_to_start(&self) -> Option<OrderError> {
        let name = || self.name.clone();
        let dead = self.seeded().and_then(|seeded| seeded.error()).map(ToString::to_string);
        match (&self.phase, dead, &self.failure) {
            (Phase::Serving(_), Some(reason), _) => Some(OrderError::Changed { name: name(), reason }),
            (Phase::Checking(checking), _, Some(reason)) if checking.is_done => {
                Some(OrderError::Changed { name: name(), reason: reason.clone() })
            }
            (Phase::Fetching(_), _, Some(reason)) => {
                Some(OrderError::FetchFailed { name: name(), reason: reason.clone() })
            }
            _ => None,
        }
    }
}
