//! Control's loop: orders from the program, events from the shards, the clock. It composes; the registry, the trackers
//! and the split of the slots know how.

use crate::balance::{self, Load};
use crate::discovery::Discovered;
use crate::fetch::{Done, Tasks};
use crate::found::{Finder, Found};
use crate::order::{ControlParts, Order};
use crate::registry::Registry;
use crate::rest::Sleep;
use crate::slots;
use crate::status::{RateMeter, Status, Summary};
use crate::survey::{Measured, PeerList, Survey};
use crate::tracker_service::TrackerService;
use crate::watch::Watch;
use crate::web_seed::NearEnd;
use mesh::{Command, Event, Full, Link, PeerOrigin, TorrentId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use storage::{Partial, Seeded};
use swarm::Terms;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often totals are taken and slots split anew.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the paths of all content are looked at. Shards look at the files that they send from by themselves, in
/// every turn; this is for the others, and for files that were replaced under their name.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Ends of web seeds that wait to be given to shards at most; then web seeds wait.
const NEAR_ENDS_CAPACITY: usize = 64;

/// How long a full mailbox of a shard is left alone before the next try.
const FULL_MAILBOX_PAUSE: Duration = Duration::from_millis(1);

/// How long, beyond the grace for sends, shards may take to end.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// The files of a torrent that is fetched, as its home shard works with them.
pub type FilesUnderWay = Arc<Partial>;

/// The link between control and one shard.
pub type ShardLink = Link<Arc<Seeded>, Arc<Terms>, FilesUnderWay>;

/// The control shard at work.
pub struct Control {
    pub(crate) parts: ControlParts,
    pub(crate) registry: Registry,
    pub(crate) announced: HashMap<TorrentId, tracker::client::TorrentId>,
    /// The torrents that come from rest and go there.
    pub(crate) sleep: Sleep,
    meter: RateMeter,
    measurements: Survey<Measured>,
    pub(crate) peer_lists: Survey<PeerList>,
    /// Torrents that nobody may hear of yet.
    pub(crate) embargoed: BTreeSet<TorrentId>,
    /// Torrents of which somebody wants to know when another peer has all.
    pub(crate) awaiting_copy: BTreeSet<TorrentId>,
    /// When shards were last compared, and for how long each had been at work.
    compared: (Duration, Vec<u64>),
    pub(crate) watch: Watch,
    /// What is done for fetches where waiting is allowed.
    pub(crate) tasks: Tasks,
    /// What those who look for peers have found.
    found: mpsc::Receiver<Found>,
    pub(crate) finder: Finder,
    pub(crate) discovered: Discovered,
    /// The home shards' ends of web seeds.
    pub(crate) near_ends: mpsc::Sender<NearEnd>,
    near_ends_made: mpsc::Receiver<NearEnd>,
    stopped_shards: usize,
    fatal: Option<String>,
}

impl Control {
    /// Control over shards that run, or are about to.
    pub fn new(mut parts: ControlParts) -> Control {
        let discovered = Discovered::new(std::mem::take(&mut parts.discovery));
        let (finder, found) = Finder::new();
        let (near_ends, near_ends_made) = mpsc::channel(NEAR_ENDS_CAPACITY);
        Control {
            registry: Registry::new(parts.names.clone()),
            sleep: Sleep::new(parts.rest_after),
            announced: HashMap::new(),
            meter: RateMeter::default(),
            measurements: Survey::default(),
            peer_lists: Survey::default(),
            embargoed: BTreeSet::new(),
            awaiting_copy: BTreeSet::new(),
            compared: (Duration::ZERO, Vec::new()),
            watch: Watch::default(),
            tasks: Tasks::default(),
            found,
            finder,
            discovered,
            near_ends,
            near_ends_made,
            stopped_shards: 0,
            fatal: None,
            parts,
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
                found = self.watch.found() => self.handle_watch(found).await,
                Some(found) = self.found.recv() => self.handle_found(found.id, found.origin, found.addresses).await,
                Some(near_end) = self.near_ends_made.recv() => self.handle_near_end(near_end).await,
                (address, info_hash) = self.discovered.neighbour() => if let Some(id) = self.registry.find(info_hash) {
                    self.handle_found(id, PeerOrigin::Lsd, vec![address]).await;
                },
                done = self.tasks.next() => self.handle_done(done).await,
            }
            self.parts.events.awake();
        }
    }

    async fn handle_order(&mut self, order: Order) {
        // Whoever asked may have gone; then nobody needs the answer.
        match order {
            Order::Add { torrent, reply } => drop(reply.send(self.add(torrent).await)),
            Order::AddMany { torrents, reply } => drop(reply.send(self.add_many(torrents).await)),
            Order::LetRest { id, source } => self.let_rest(id, source),
            Order::Fetch { fetch, reply } => drop(reply.send(self.fetch(*fetch))),
            Order::About { id, order } => self.handle_torrent_order(id, order).await,
            Order::SetShare { slots, connections_per_shard } => self.set_share(slots, connections_per_shard).await,
            Order::SetAnnouncing { announces_per_s, connections_per_host } => {
                if let Some(announcer) = &self.parts.announcer {
                    announcer.set_pace(announces_per_s, connections_per_host);
                }
            }
            Order::Summary { reply } => drop(reply.send(self.summary())),
            Order::Recent { reply } => drop(reply.send(self.registry.recent(self.parts.start.elapsed()))),
            Order::Overview { reply } => drop(reply.send(self.overview())),
            Order::Status { reply } => drop(reply.send(self.status())),
            Order::Measure { reply } => self.measure(|measured| drop(reply.send(measured.histograms))).await,
            Order::Pulse { reply } => {
                self.measure(|measured| reply.send(measured.shard_count).unwrap_or_default()).await;
            }
            Order::Stop { .. } => {}
        }
    }

    async fn handle_done(&mut self, done: Done) {
        match done {
            Done::Resolved { id, result } => self.handle_resolved(id, result).await,
            Done::Prepared { id, files, torrent, result } if self.works_with(id, &files) => {
                self.handle_prepared(id, torrent, result).await;
            }
            Done::Kept { id, files, result } if self.works_with(id, &files) => self.handle_kept(id, result).await,
            Done::Finished { id, files, result } if self.works_with(id, &files) => {
                self.handle_finished(id, result).await;
            }
            // It has begun anew with other files.
            Done::Prepared { .. } | Done::Kept { .. } | Done::Finished { .. } => {}
            Done::Rechecked { id, check, result } => self.handle_rechecked(id, &check, result).await,
            Done::Loaded { id, result } => self.handle_loaded(id, result).await,
        }
    }

    async fn handle_events(&mut self) {
        while let Some(event) = self.parts.events.take() {
            match event {
                Event::TorrentFailed { id } => self.handle_failed(id).await,
                Event::Fetched { id } => self.handle_fetched(id),
                Event::FetchPaused { id, reason } => self.handle_pause(id, Some(reason)),
                Event::FetchResumed { id } => self.handle_pause(id, None),
                Event::DhtNode { address } => self.discovered.add_dht_node(address),
                Event::Wanted { id } => self.handle_wanted(id).await,
                Event::Rested { id, ticket, is_kept } => self.handle_rested(id, ticket, is_kept).await,
                Event::Measured { ticket, histograms } => {
                    self.measurements.handle_answer(ticket, Measured::of_one(histograms));
                }
                Event::Peers { ticket, peers, left_out } => {
                    self.peer_lists.handle_answer(ticket, PeerList { peers, left_out });
                }
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
        self.peer_lists.handle_shard_ended();
    }

    /// Whoever asked may have gone.
    async fn measure(&mut self, answer: impl FnOnce(Measured) + Send + Sync + 'static) {
        let live: Vec<Arc<ShardLink>> = self.parts.links.iter().filter(|link| !link.has_ended()).cloned().collect();
        let now = self.parts.start.elapsed();
        let Some(ticket) = self.measurements.ask(now, live.len(), answer) else { return };
        for link in &live {
            post(link, Command::Measure { ticket }).await;
        }
    }

    async fn handle_tick(&mut self) {
        let total = self.parts.links.iter().map(|link| link.counters.payload_sent_bytes.get()).sum();
        self.meter.handle_total(self.parts.start.elapsed(), total);
        self.measurements.handle_tick(self.parts.start.elapsed());
        self.peer_lists.handle_tick(self.parts.start.elapsed());
        for id in self.registry.active_ids() {
            if let Some(entry) = self.registry.get_mut(id) {
                entry.handle_tick(self.parts.start.elapsed());
            }
        }
        self.look_at_gates().await;
        self.look_for_copies();
        self.tick_sleep().await;
        self.balance().await;
        self.share_slots().await;
    }

    /// Gives each shard its part of the slots, if they are limited.
    pub(crate) async fn share_slots(&self) {
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

    fn summary(&mut self) -> Summary {
        Summary {
            peers: self.parts.links.iter().map(|link| link.counters.peers.get()).sum(),
            upload_bytes_per_s: self.meter.rate(self.parts.start.elapsed()),
            fatal: self.fatal.clone(),
        }
    }

    fn status(&mut self) -> Status {
        let mut status = self.overview();
        let now = self.parts.start.elapsed();
        status.torrents = self.registry.iter_mut().map(|(id, entry)| entry.status(id, now)).collect();
        if let Some(announcer) = &self.parts.announcer {
            status.trackers = announcer.status();
        }
        status
    }

    /// What does not take longer for more torrents.
    fn overview(&mut self) -> Status {
        let mut status = Status { fatal: self.fatal.clone(), ..Status::default() };
        self.parts.links.iter().for_each(|link| status.add_shard(&link.counters));
        status.upload_bytes_per_s = self.meter.rate(self.parts.start.elapsed());
        let parked = self.parts.links.iter().map(|link| link.counters.parked.get()).sum();
        status.rest = self.sleep.status(self.registry.at_rest_count(), parked);
        status.addresses_refused = self.finder.refused();
        status.dht = self.discovered.dht_status();
        status.lsd = self.discovered.lsd_counts();
        status.own_tracker = self.parts.tracker.as_ref().map(TrackerService::status);
        status
    }

    /// Stops the shards and tells the trackers, both at once. False if a shard did not end in time.
    async fn stop(&mut self, grace: Duration) -> bool {
        self.cancel_preparing();
        for link in &self.parts.links {
            post(link, Command::Stop { grace }).await;
        }
        let farewell = async {
            if let Some(announcer) = self.parts.announcer.take() {
                announcer.shutdown(grace).await;
            }
            self.discovered.stop().await;
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

/// Leaves a command, waiting while the shard's mailbox is full, unless nobody reads it any more.
pub(crate) async fn post(link: &ShardLink, mut command: Command<Arc<Seeded>, Arc<Terms>, FilesUnderWay>) {
    while let Err(Full(back)) = link.commands.post(command) {
        if link.has_ended() {
            return;
        }
        command = back;
        tokio::time::sleep(FULL_MAILBOX_PAUSE).await;
    }
}
