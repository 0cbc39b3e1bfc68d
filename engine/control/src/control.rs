//! Control's loop: orders from the program, events from the shards, the clock. It composes; the registry, the trackers
//! and the split of the slots know how.

use crate::announcer::{AnnounceTorrent, Announcer, Totals};
use crate::balance::{self, Load};
use crate::bell::ControlBell;
use crate::measurements::Measurements;
use crate::registry::{Entry, NewTorrent, Registry};
use crate::slots;
use crate::status::{Status, TorrentStatus, UploadMeter};
use crate::tracker_service::TrackerService;
use hash::InfoHash;
use mesh::{Command, Event, EventMailbox, Full, Link, ShardHistograms, TorrentId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Seeded, StorageError};
use swarm::Terms;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracker::OwnSeed;

/// How often totals are taken and slots split anew.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the paths of all content are looked at. Shards look at the files that they send from by themselves, in
/// every turn; this is for the others, and for files that were replaced under their name.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How long a full mailbox of a shard is left alone before the next try.
const FULL_MAILBOX_PAUSE: Duration = Duration::from_millis(1);

/// How long, beyond the grace for sends, shards may take to end.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// The link between control and one shard.
pub type ShardLink = Link<Arc<Seeded>, Arc<Terms>, ()>;

/// What control works with.
pub struct ControlParts {
    /// Where time starts, the same as for the shards.
    pub start: Instant,
    /// One link a shard.
    pub links: Vec<Arc<ShardLink>>,
    /// Where the shards report.
    pub events: Arc<EventMailbox>,
    /// What they ring.
    pub bell: Arc<ControlBell>,
    /// What the program wants.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// The tracker client, if anything is announced.
    pub announcer: Option<Announcer>,
    /// Our own tracker, if there is one.
    pub tracker: Option<TrackerService>,
    /// Where our peers connect to, as our own tracker hands it out.
    pub own_seeds: Vec<OwnSeed>,
    /// Peers unchoked at once, on all shards together; `None` is without limit.
    pub slots: Option<u32>,
    /// Connections that each shard takes at most.
    pub connections_per_shard: usize,
}

/// What the program may want of control.
pub enum Order {
    /// Serve a torrent.
    Add {
        /// The torrent.
        torrent: NewTorrent,
        /// Its number, once all shards have been told.
        reply: oneshot::Sender<Result<TorrentId, AddError>>,
    },
    /// Serve it no longer.
    Remove {
        /// Its number.
        id: TorrentId,
    },
    /// Tell how things are.
    Status {
        /// Where to.
        reply: oneshot::Sender<Status>,
    },
    /// Tell what the shards have measured, all together.
    Measure {
        /// Where to.
        reply: oneshot::Sender<Box<ShardHistograms>>,
    },
    /// Stop everything.
    Stop {
        /// The longest wait for sends in flight and for the trackers.
        grace: Duration,
        /// Told when it is done: whether every shard has ended.
        reply: oneshot::Sender<bool>,
    },
}

/// A torrent could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// One of its info-hashes is served already.
    #[error("{name}: is already being served")]
    Duplicate {
        /// The torrent's name.
        name: String,
    },
}

/// The control shard at work.
pub struct Control {
    parts: ControlParts,
    registry: Registry,
    announced: HashMap<TorrentId, tracker::client::TorrentId>,
    meter: UploadMeter,
    measurements: Measurements,
    /// When shards were last compared, and for how long each had been at work.
    compared: (Duration, Vec<u64>),
    /// The look at all paths that is under way.
    watch: Option<JoinHandle<Vec<(TorrentId, StorageError)>>>,
    stopped_shards: usize,
    fatal: Option<String>,
}

impl Control {
    /// Control over shards that run, or are about to.
    pub fn new(parts: ControlParts) -> Control {
        Control {
            parts,
            registry: Registry::default(),
            announced: HashMap::new(),
            meter: UploadMeter::default(),
            measurements: Measurements::default(),
            compared: (Duration::ZERO, Vec::new()),
            watch: None,
            stopped_shards: 0,
            fatal: None,
        }
    }

    /// Works until it is told to stop, or nobody is left who could.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.handle_events().await;
            let has_mail = !self.parts.events.prepare_to_sleep();
            tokio::select! {
                () = std::future::ready(()), if has_mail => {}
                () = self.parts.bell.rung() => {}
                order = self.parts.orders.recv() => match order {
                    Some(Order::Stop { grace, reply }) => {
                        let _ = reply.send(self.stop(grace).await);
                        return;
                    }
                    Some(order) => self.handle_order(order).await,
                    None => {
                        self.stop(Duration::ZERO).await;
                        return;
                    }
                },
                _ = tick.tick() => self.handle_tick().await,
                _ = watch.tick() => self.begin_watch().await,
                found = finished(&mut self.watch) => self.handle_watch(found).await,
            }
            self.parts.events.awake();
        }
    }

    async fn handle_order(&mut self, order: Order) {
        // Whoever asked may have gone; then nobody needs the answer.
        match order {
            Order::Add { torrent, reply } => drop(reply.send(self.add(torrent).await)),
            Order::Remove { id } => self.remove(id).await,
            Order::Status { reply } => drop(reply.send(self.status())),
            Order::Measure { reply } => self.measure(reply).await,
            Order::Stop { .. } => {}
        }
    }

    async fn add(&mut self, torrent: NewTorrent) -> Result<TorrentId, AddError> {
        if self.registry.holds(&torrent.seeded) {
            let name = torrent.seeded.torrent().layout().name().to_owned();
            return Err(AddError::Duplicate { name });
        }
        let tiers = torrent.tiers.clone();
        let (id, entry) = self.registry.add(torrent, self.parts.links.len());
        let (seeded, terms, counters) = (entry.seeded.clone(), entry.terms.clone(), entry.counters.clone());
        for link in &self.parts.links {
            let (torrent, terms, counters) = (seeded.clone(), terms.clone(), counters.clone());
            post(link, Command::Serve { id, torrent, terms, counters }).await;
        }
        let info_hashes: Vec<InfoHash> = seeded.torrent().info_hashes().collect();
        if let Some(tracker) = &self.parts.tracker {
            for info_hash in tracked_names(&seeded) {
                tracker.add_own_seed(info_hash, self.parts.own_seeds.clone());
            }
        }
        if let Some(announcer) = self.parts.announcer.as_ref().filter(|_| tiers.iter().any(|tier| !tier.is_empty())) {
            let totals = Arc::new(move || Totals {
                uploaded_bytes: counters.payload_sent_bytes(),
                downloaded_bytes: 0,
                left_bytes: Some(0),
            });
            let (announced, unused) = announcer.add(AnnounceTorrent { info_hashes, tiers, totals, want_count: 0 });
            for tracker in unused {
                let reason = tracker.error.map_or("there are too many trackers".to_owned(), |error| error.to_string());
                tracing::warn!(tracker = tracker.url, reason, "a tracker is left out");
            }
            self.announced.insert(id, announced);
        }
        Ok(id)
    }

    async fn remove(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.remove(id) else { return };
        self.withdraw(id, &entry.seeded).await;
    }

    /// Takes a torrent from the shards and from the trackers.
    async fn withdraw(&mut self, id: TorrentId, seeded: &Seeded) {
        for link in &self.parts.links {
            post(link, Command::Withdraw { id }).await;
        }
        if let Some(tracker) = &self.parts.tracker {
            tracked_names(seeded).for_each(|info_hash| tracker.remove_own_seed(info_hash));
        }
        if let (Some(announcer), Some(announced)) = (&self.parts.announcer, self.announced.remove(&id)) {
            announcer.remove(announced);
        }
    }

    async fn handle_events(&mut self) {
        while let Some(event) = self.parts.events.take() {
            match event {
                Event::TorrentFailed { id } => self.handle_failed(id).await,
                Event::Fetched { .. } | Event::FetchPaused { .. } | Event::FetchResumed { .. } => {}
                Event::Measured { ticket, histograms } => self.measurements.handle_measured(ticket, &histograms),
                Event::Stopped { .. } => self.handle_ended(),
                Event::ShardFailed { reason, .. } => {
                    tracing::error!("{reason}");
                    self.handle_ended();
                    self.fatal.get_or_insert(reason);
                }
            }
        }
    }

    fn handle_ended(&mut self) {
        self.stopped_shards += 1;
        self.measurements.handle_shard_ended();
    }

    async fn measure(&mut self, reply: oneshot::Sender<Box<ShardHistograms>>) {
        let live: Vec<Arc<ShardLink>> = self.parts.links.iter().filter(|link| !link.has_ended()).cloned().collect();
        let ticket = self.measurements.ask(self.parts.start.elapsed(), live.len(), reply);
        for link in &live {
            post(link, Command::Measure { ticket }).await;
        }
    }

    /// A torrent's content is not what it was: it is withdrawn, and its error stays to be read.
    async fn handle_failed(&mut self, id: TorrentId) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        if std::mem::replace(&mut entry.failed, true) {
            return;
        }
        let seeded = entry.seeded.clone();
        let name = seeded.torrent().layout().name();
        let reason = seeded.error().map_or_else(|| "unknown error".to_owned(), ToString::to_string);
        tracing::error!("torrent {name} is no longer served: {reason}");
        self.withdraw(id, &seeded).await;
    }

    async fn handle_tick(&mut self) {
        let total = self.parts.links.iter().map(|link| link.counters.payload_sent_bytes.get()).sum();
        self.meter.handle_total(self.parts.start.elapsed(), total);
        self.measurements.handle_tick(self.parts.start.elapsed());
        self.balance().await;
        let Some(slots) = self.parts.slots else { return };
        let interested: Vec<u64> = self.parts.links.iter().map(|link| link.counters.interested.get()).collect();
        for (link, part) in self.parts.links.iter().zip(slots::split(slots, &interested)) {
            post(link, Command::SetSlots { slots: Some(part) }).await;
        }
    }

    /// Evens out what the shards carry.
    async fn balance(&mut self) {
        let now = self.parts.start.elapsed();
        let busy_us: Vec<u64> = self.parts.links.iter().map(|link| link.counters.busy_us.get()).collect();
        let (then, before_us) = std::mem::replace(&mut self.compared, (now, busy_us.clone()));
        let passed_us = now.saturating_sub(then).as_micros().max(1) as f64;
        if self.parts.links.iter().any(|link| link.has_ended()) {
            // One that is gone looks idle, and would keep what it is given.
            return;
        }
        let limit = self.parts.connections_per_shard as u64;
        let load = |((link, busy), before): ((&Arc<ShardLink>, &u64), &u64)| Load {
            busy: busy.saturating_sub(*before) as f64 / passed_us,
            interested: link.counters.interested.get(),
            free: limit.saturating_sub(link.counters.connections.get()),
        };
        let loads: Vec<Load> = self.parts.links.iter().zip(&busy_us).zip(&before_us).map(load).collect();
        if let Some(step) = balance::plan(&loads) {
            tracing::debug!(?step, ?loads, "evening out shards");
            post(&self.parts.links[step.from], Command::Shed { to: step.to, count: step.count }).await;
        }
    }

    async fn begin_watch(&mut self) {
        // An event may have been lost to a full mailbox; the error itself is not.
        let failed = |(id, entry): (TorrentId, &Entry)| (!entry.failed && entry.seeded.error().is_some()).then_some(id);
        let failed: Vec<TorrentId> = self.registry.iter().filter_map(failed).collect();
        for id in failed {
            self.handle_failed(id).await;
        }
        if self.watch.is_some() {
            return;
        }
        let sound = self.registry.iter().filter(|(_, entry)| !entry.failed);
        let sound: Vec<(TorrentId, Arc<Seeded>)> = sound.map(|(id, entry)| (id, entry.seeded.clone())).collect();
        self.watch = Some(tokio::task::spawn_blocking(move || {
            let check = |(id, seeded): (TorrentId, Arc<Seeded>)| {
                let error = seeded.content().check_on_disk().err()?;
                // A shortage of ours says nothing of the content; the next look may be luckier.
                (!error.is_transient()).then_some((id, error))
            };
            sound.into_iter().filter_map(check).collect()
        }));
    }

    async fn handle_watch(&mut self, found: Vec<(TorrentId, StorageError)>) {
        for (id, error) in found {
            if let Some(entry) = self.registry.get_mut(id) {
                entry.seeded.fail(error);
                self.handle_failed(id).await;
            }
        }
    }

    fn status(&mut self) -> Status {
        let mut status = Status { fatal: self.fatal.clone(), ..Status::default() };
        self.parts.links.iter().for_each(|link| status.add_shard(&link.counters));
        status.upload_bytes_per_s = self.meter.rate(self.parts.start.elapsed());
        status.torrents = self.registry.iter().map(|(id, entry)| torrent_status(id, entry)).collect();
        if let Some(announcer) = &self.parts.announcer {
            status.trackers = announcer.status();
        }
        status.own_tracker = self.parts.tracker.as_ref().map(TrackerService::status);
        status
    }

    /// Stops the shards and tells the trackers, both at once. False if a shard did not end in time.
    async fn stop(&mut self, grace: Duration) -> bool {
        for link in &self.parts.links {
            post(link, Command::Stop { grace }).await;
        }
        let farewell = async {
            if let Some(announcer) = self.parts.announcer.take() {
                announcer.shutdown(grace).await;
            }
        };
        let bell = self.parts.bell.clone();
        let events = self.parts.events.clone();
        let (shard_count, mut stopped) = (self.parts.links.len(), self.stopped_shards);
        let shards_end = async {
            while stopped < shard_count {
                match events.take() {
                    Some(Event::Stopped { .. } | Event::ShardFailed { .. }) => stopped += 1,
                    Some(_) => {}
                    None if events.prepare_to_sleep() => bell.rung().await,
                    None => {}
                }
            }
        };
        let both = async { tokio::join!(farewell, shards_end) };
        let in_time = tokio::time::timeout(grace.saturating_add(STOP_SLACK), both).await.is_ok();
        if !in_time {
            tracing::error!("a shard did not end in time");
        }
        in_time
    }
}

/// What the look at all paths found, when it ends; never while none is under way.
async fn finished(watch: &mut Option<JoinHandle<Vec<(TorrentId, StorageError)>>>) -> Vec<(TorrentId, StorageError)> {
    match watch {
        Some(handle) => {
            let found = handle.await.unwrap_or_default();
            *watch = None;
            found
        }
        None => std::future::pending().await,
    }
}

/// The names under which clients ask our own tracker for a torrent: its own, and the one that old ones make up.
fn tracked_names(seeded: &Seeded) -> impl Iterator<Item = InfoHash> {
    seeded.torrent().info_hashes().chain(seeded.torrent().info_hash_without_empty_keys())
}

/// Leaves a command, waiting while the shard's mailbox is full, unless nobody reads it any more.
async fn post(link: &ShardLink, mut command: Command<Arc<Seeded>, Arc<Terms>, ()>) {
    while let Err(Full(back)) = link.commands.post(command) {
        if link.has_ended() {
            return;
        }
        command = back;
        tokio::time::sleep(FULL_MAILBOX_PAUSE).await;
    }
}

fn torrent_status(id: TorrentId, entry: &Entry) -> TorrentStatus {
    TorrentStatus {
        id,
        name: entry.seeded.torrent().layout().name().to_owned(),
        error: entry.seeded.error().map(ToString::to_string),
        peers: entry.counters.peers(),
        payload_sent_bytes: entry.counters.payload_sent_bytes(),
    }
}
