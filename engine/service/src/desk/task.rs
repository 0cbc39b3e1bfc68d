//! The desk's task: takes requests, starts the work of each, and applies what came of it. The only place that changes the
//! table. Whatever waits, waits in a job of its own; of one torrent there is one job at a time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalogue::{Catalogue, CatalogueError, TorrentNumber};
use control::EngineEvents;
use seedbox::StateDir;
use settings::Settings;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use super::books::Books;
use super::entry::{Entry, Live, Work};
use super::policy::Policy;
use super::reading::Snapshot;
use super::showing::Rendering;
use super::table::Table;
use super::watching::Unheard;
use super::{DeskError, DeskEvent, DeskHandle, Happened, Request};
use crate::feeds::{Feeds, Shelf};
use seedbox::EngineHandle;

/// Requests for one torrent that wait for the one under way; more are refused.
const WAITING_PER_TORRENT: usize = 16;

/// How often embargoes are looked at.
const SECOND: Duration = Duration::from_secs(1);

/// How often totals are kept: what a crash may cost.
const TOTALS_PERIOD: Duration = Duration::from_secs(30);

/// What jobs work with.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) catalogue: Catalogue,
    pub(crate) engine: EngineHandle,
    /// For those that ask the desk from elsewhere.
    pub(crate) desk: DeskHandle,
    /// Where fetches remember what they have.
    pub(crate) fetches: StateDir,
    /// The files of what everybody may have.
    pub(crate) shelf: Arc<Shelf>,
    /// Time since this.
    pub(crate) start: Instant,
}

/// What came of a job, applied to the desk.
type Apply = Box<dyn FnOnce(&mut Desk) + Send>;

/// The desk.
pub(crate) struct Desk {
    pub(crate) table: Table,
    pub(crate) policy: Policy,
    pub(crate) world: World,
    pub(crate) feeds: Feeds,
    pub(crate) rendering: Rendering,
    pub(crate) unheard: Unheard,
    pub(crate) books: Books,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Held while content is read as a whole: that takes all threads.
    pub(crate) checks: Arc<Semaphore>,
    /// Releases whose time has not come, by that time.
    pub(crate) shut: BTreeSet<(i64, TorrentNumber)>,
    requests: mpsc::Receiver<Request>,
    events: broadcast::Sender<DeskEvent>,
    jobs: JoinSet<Apply>,
    at_work: HashMap<Id, TorrentNumber>,
    waiting: HashMap<TorrentNumber, VecDeque<Request>>,
    /// What is done before that.
    deferred: HashMap<TorrentNumber, Vec<Apply>>,
    /// Somebody wants to know when the last job has ended; nothing new is taken.
    stopping: Option<oneshot::Sender<()>>,
}

impl Desk {
    pub(crate) fn new(
        table: Table,
        policy: Policy,
        world: World,
        feeds: Feeds,
        requests: mpsc::Receiver<Request>,
        events: broadcast::Sender<DeskEvent>,
    ) -> Desk {
        Desk {
            table,
            policy,
            world,
            feeds,
            rendering: Rendering::default(),
            unheard: Unheard::default(),
            books: Books::default(),
            snapshot: None,
            checks: Arc::new(Semaphore::new(1)),
            shut: BTreeSet::new(),
            requests,
            events,
            jobs: JoinSet::new(),
            at_work: HashMap::new(),
            waiting: HashMap::new(),
            deferred: HashMap::new(),
            stopping: None,
        }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, mut engine_events: EngineEvents) {
        let mut second = tokio::time::interval(SECOND);
        let mut totals = tokio::time::interval(TOTALS_PERIOD);
        for period in [&mut second, &mut totals] {
            period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let mut is_ending = false;
        loop {
            if self.stopping.is_some() && !is_ending {
                is_ending = true;
                // A job may outlast the time that we are given.
                self.keep_all_totals().await;
            }
            if self.jobs.is_empty()
                && let Some(stopped) = self.stopping.take()
            {
                self.keep_all_totals().await;
                let _ = stopped.send(());
                return;
            }
            tokio::select! {
                Some(done) = self.jobs.join_next_with_id(), if !self.jobs.is_empty() => self.handle_done(done),
                Some(event) = engine_events.next() => self.handle_engine_event(event),
                Some(request) = self.requests.recv() => self.handle_request(request),
                _ = second.tick() => self.handle_second(),
                _ = totals.tick() => self.handle_totals_tick(),
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        // A fetch that was not admitted would fail for good.
        if self.stopping.is_some() && !matches!(request, Request::Admit { .. }) {
            // Dropping the answer says it.
            return;
        }
        let Some(number) = request.number() else { return self.take_request(request) };
        let Some(entry) = self.table.get(number) else {
            return request.refuse(DeskError::Unknown { asked: number.0.to_string() });
        };
        if !entry.is_busy || request.only_reads() {
            return self.take_request(request);
        }
        let waiting = self.waiting.entry(number).or_default();
        if waiting.len() >= WAITING_PER_TORRENT {
            return request.refuse(DeskError::Busy);
        }
        if ends_checks(&request, entry) && matches!(entry.work, Work::Checking(_)) {
            // It need not wait until all of the content was read.
            entry.work.cancel();
        }
        waiting.push_back(request);
    }

    /// Whether the service is stopping, or a torrent is going to be: then its content need not be compared.
    pub(crate) fn makes_checks_needless(&self, number: TorrentNumber) -> bool {
        let ends = |entry| self.waiting.get(&number)?.iter().find(|request| ends_checks(request, entry));
        self.stopping.is_some() || self.table.get(number).and_then(ends).is_some()
    }

    fn take_request(&mut self, request: Request) {
        match request {
            Request::Record { release, answer } => self.record(*release, answer),
            Request::Open { number, answer } => self.open(number, answer),
            Request::Withdraw { number, reason, answer } => self.withdraw(number, &reason, answer),
            Request::Forget { number, answer } => self.forget(number, answer),
            Request::SetEmbargo { number, opens_at_s, answer } => self.set_embargo(number, opens_at_s, answer),
            Request::Add { torrent, answer } => self.add(*torrent, answer),
            Request::Admit { number, name, answer } => drop(answer.send(self.admit(number, name))),
            Request::Remove { number, deletes_content, answer } => self.remove(number, deletes_content, answer),
            Request::Start { number, answer } => self.start(number, answer),
            Request::Stop { number, answer } => self.stop(number, answer),
            Request::Recheck { number, fetches, answer } => self.recheck(number, fetches, answer),
            Request::Announce { number, answer } => self.announce(number, answer),
            Request::Limit { number, change, answer } => self.limit(number, &change, answer),
            Request::Move { number, folder, answer } => self.move_to(number, &folder, answer),
            Request::Find { asked, answer } => drop(answer.send(self.table.find(&asked))),
            Request::Line { number, answer } => self.tell_line(number, answer),
            Request::List { after, limit, answer } => self.tell_page(after, limit, answer),
            Request::Sums { answer } => self.tell_sums(answer),
            Request::Engine { number, answer } => self.tell_engine_number(number, answer),
            Request::Configure { settings, answer } => self.configure(&settings, answer),
            Request::SetRates { rates, answer } => {
                self.policy.set_rates(&rates);
                let _ = answer.send(Ok(()));
            }
            Request::Count { answer } => drop(answer.send(Ok(self.table.len()))),
            Request::Ping { answer } => drop(answer.send(Ok(()))),
            Request::End { answer } => self.end(answer),
        }
    }

    /// Does `job` for a torrent, and then `apply` with what came of it. Meanwhile other requests for it wait.
    pub(crate) fn work<T: Send + 'static>(
        &mut self,
        number: TorrentNumber,
        job: impl Future<Output = T> + Send + 'static,
        apply: impl FnOnce(&mut Desk, T) + Send + 'static,
    ) {
        if let Some(entry) = self.table.get_mut(number) {
            entry.is_busy = true;
        }
        let task = self.jobs.spawn(async move {
            let done = job.await;
            Box::new(move |desk: &mut Desk| apply(desk, done)) as Apply
        });
        self.at_work.insert(task.id(), number);
    }

    /// The same for what is about no torrent that is in the table.
    pub(crate) fn work_apart<T: Send + 'static>(
        &mut self,
        job: impl Future<Output = T> + Send + 'static,
        apply: impl FnOnce(&mut Desk, T) + Send + 'static,
    ) {
        self.jobs.spawn(async move {
            let done = job.await;
            Box::new(move |desk: &mut Desk| apply(desk, done)) as Apply
        });
    }

    fn handle_done(&mut self, done: Result<(Id, Apply), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let number = self.at_work.remove(&id);
        if let Some(entry) = number.and_then(|number| self.table.get_mut(number)) {
            entry.is_busy = false;
        }
        match done {
            Ok((_, apply)) => apply(self),
            Err(error) => tracing::error!(%error, "a job of the desk broke off"),
        }
        if let Some(number) = number {
            self.take_deferred(number);
            self.take_waiting(number);
        }
    }

    /// Does something to a torrent when nothing else is under way.
    pub(crate) fn when_idle(&mut self, number: TorrentNumber, apply: impl FnOnce(&mut Desk) + Send + 'static) {
        match self.table.get(number) {
            Some(entry) if entry.is_busy => self.deferred.entry(number).or_default().push(Box::new(apply)),
            Some(_) => apply(self),
            None => {}
        }
    }

    fn take_deferred(&mut self, number: TorrentNumber) {
        for apply in self.deferred.remove(&number).unwrap_or_default() {
            self.when_idle(number, apply);
        }
    }

    /// Takes requests for a torrent that waited, until one of them is work.
    fn take_waiting(&mut self, number: TorrentNumber) {
        while let Some(mut waiting) = self.waiting.remove(&number) {
            if self.table.get(number).is_some_and(|entry| entry.is_busy) {
                self.waiting.insert(number, waiting);
                return;
            }
            let next = waiting.pop_front();
            if !waiting.is_empty() {
                self.waiting.insert(number, waiting);
            }
            if let Some(request) = next {
                self.handle_request(request);
            }
        }
    }

    /// Tells everybody what happened to a torrent.
    pub(crate) fn tell(&self, number: TorrentNumber, what: Happened) {
        if let Some(entry) = self.table.get(number) {
            self.tell_of(entry, what);
        }
    }

    pub(crate) fn tell_of(&self, entry: &Entry, what: Happened) {
        let torrent = Arc::new(entry.line(&Live::default(), self.now()));
        // Nobody may be listening.
        let _ = self.events.send(DeskEvent { torrent, what });
    }

    /// Since the start of the service.
    pub(crate) fn now(&self) -> Duration {
        self.world.start.elapsed()
    }

    /// Lets what is under way end and takes nothing more.
    fn end(&mut self, answer: super::Answer<()>) {
        let (stopped, ended) = oneshot::channel();
        self.stopping = Some(stopped);
        self.waiting.clear();
        self.cancel_work();
        tokio::spawn(async move {
            let _ = ended.await;
            let _ = answer.send(Ok(()));
        });
    }

    /// Goes by other settings: limits of all torrents at work, and the feeds.
    fn configure(&mut self, settings: &Settings, answer: super::Answer<()>) {
        self.policy = Policy::new(settings, Some(&self.policy));
        self.world.shelf.configure(settings);
        self.feeds = self.feeds.configured(settings);
        let limits: Vec<_> =
            self.table.iter().filter_map(|entry| Some((entry.engine?, self.policy.limits(&entry.row)))).collect();
        self.table.iter().for_each(|entry| self.world.shelf.set(entry));
        for entry in self.table.iter() {
            if let Some(gate) = &entry.gate {
                self.policy.set_early(&entry.row, gate);
            }
        }
        let (followed, engine) = (self.feeds_follow(), self.world.engine.clone());
        let job = async move {
            for (id, limits) in limits {
                // One that has left meanwhile needs none.
                let _ = engine.set_limits(id, limits).await;
            }
            followed.await;
        };
        self.work_apart(job, |_, ()| drop(answer.send(Ok(()))));
    }

    fn cancel_work(&self) {
        for entry in self.table.iter() {
            entry.work.cancel();
        }
    }
}

/// Whether it is in vain to compare a torrent's content before this is done. What is published from a tree is not removed
/// by request, and nobody would go on with a check that was cancelled for that.
fn ends_checks(request: &Request, entry: &Entry) -> bool {
    match request {
        Request::Stop { .. } | Request::Withdraw { .. } => true,
        Request::Remove { .. } => entry.release.is_none(),
        _ => false,
    }
}

impl From<CatalogueError> for DeskError {
    fn from(error: CatalogueError) -> DeskError {
        DeskError::Catalogue { reason: error.to_string() }
    }
}

impl From<seedbox::EngineError> for DeskError {
    fn from(error: seedbox::EngineError) -> DeskError {
        DeskError::Engine { reason: error.to_string() }
    }
}
