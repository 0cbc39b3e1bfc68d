//! The task of one root: what it waits for, and what it does then. How a single action is carried out is in `carry_out`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalogue::TorrentNumber;
use publish::{Action, Fingerprint, Hold, Look, Rules, RulesError, Top, Tree};
use seedbox::Meter;
use settings::Publish;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use super::clock::Clock;
use super::knowledge::{Knowledge, Numbers};
use super::look::Eye;
use super::looker::Looker;
use super::watch::{Ear, Heard, Watch, is_told_of_all};
use super::{Order, PublisherWorld, TreeStatus, Trouble, is_to_be_watched, recipe, rules, timing};
use crate::desk::{DeskEvent, Happened};
use crate::outputs::{PrepareError, Prepared, Recipe};

/// What comes within so long is looked at together.
const GATHER: Duration = Duration::from_millis(300);

/// One root and all that is known of it.
pub(crate) struct Root {
    pub(super) world: PublisherWorld,
    pub(super) settings: Publish,
    pub(super) name: Arc<str>,
    pub(super) recipe: Arc<Recipe>,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: Clock,
    pub(super) tree: Tree,
    eye: Eye,
    looker: Option<Looker>,
    ear: Arc<Ear>,
    watched: Option<Watched>,
    pub(super) is_local: bool,
    watch_failure: Option<String>,
    next_scan: Instant,
    scan_count: u64,
    /// What an earlier run published has been told to the tree.
    is_restored: bool,
    /// Releases that the desk has, by path.
    pub(super) current: HashMap<Box<str>, Numbers>,
    /// Releases that were withdrawn since they changed: their hashes serve their successors.
    pub(super) former: HashMap<Box<str>, Numbers>,
    /// Releases that we have stopped until their content is back.
    pub(super) suspended: HashSet<Box<str>>,
    /// Releases that wait for another torrent to go.
    pub(super) twins: HashMap<TorrentNumber, BTreeSet<Box<str>>>,
    pub(super) knowledge: Knowledge,
    pub(super) job: Option<Job>,
    /// When what was heard is looked at.
    gathered: Option<Instant>,
    /// The device of what is published, as the catalogue has it.
    pub(super) kept_device: Option<u64>,
}

/// The watch over the directories of one root directory.
struct Watched {
    _watch: Watch,
    top: Top,
}

/// A release that is being hashed.
pub(super) struct Job {
    pub(super) path: Box<str>,
    pub(super) fingerprint: Fingerprint,
    pub(super) release_at: Option<i64>,
    pub(super) meter: Arc<Meter>,
    pub(super) done: JoinHandle<Result<Prepared, PrepareError>>,
}

/// Nobody waits for it any more, and the next one is to have its turn.
impl Drop for Job {
    fn drop(&mut self) {
        self.meter.cancel();
    }
}

/// What a root wakes up for.
enum Wake {
    Order(Option<Order>),
    /// Something happened in the tree.
    Heard,
    /// What happened was gathered for long enough.
    Gathered,
    Due,
    Done(Result<Result<Prepared, PrepareError>, JoinError>),
    Desk(Result<DeskEvent, broadcast::error::RecvError>),
}

impl Root {
    pub(super) fn new(world: PublisherWorld, settings: &Publish) -> Result<Root, RulesError> {
        let rules = Arc::new(rules(settings, &world.reserved)?);
        // Until it was asked, by the task: a file system that is not there may never answer.
        let is_local = false;
        let recipe = Arc::new(recipe(&world, settings));
        Ok(Root {
            name: settings.name.as_str().into(),
            recipe,
            clock: Clock::new(),
            tree: Tree::new(Arc::clone(&rules), timing(settings, is_local)),
            eye: Eye::new(&settings.root, Arc::clone(&rules), settings.symlinks),
            rules,
            looker: None,
            ear: Arc::default(),
            watched: None,
            is_local,
            watch_failure: None,
            next_scan: Instant::now(),
            scan_count: 0,
            is_restored: false,
            current: HashMap::new(),
            former: HashMap::new(),
            suspended: HashSet::new(),
            twins: HashMap::new(),
            knowledge: Knowledge::default(),
            job: None,
            gathered: None,
            kept_device: None,
            settings: settings.clone(),
            world,
        })
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        match Looker::start(self.eye.clone(), self.clock) {
            Ok(looker) => self.looker = Some(looker),
            Err(error) => return self.trouble(None, format!("cannot start a thread: {error}")),
        }
        let root = self.settings.root.clone();
        self.is_local = tokio::task::spawn_blocking(move || is_told_of_all(&root)).await.unwrap_or(false);
        self.tree.set_timing(timing(&self.settings, self.is_local), self.clock.now());
        let mut events = self.world.desk.events();
        // Whoever asks is told of what was seen.
        self.scan().await;
        self.work().await;
        loop {
            let wake = self.wake(&mut orders, &mut events).await;
            match wake {
                Wake::Order(None | Some(Order::Stop)) => break,
                Wake::Order(Some(Order::Rescan(done))) => {
                    self.scan().await;
                    self.work().await;
                    let _ = done.send(());
                }
                Wake::Order(Some(Order::Status(answer))) => self.answer(answer),
                // Meanwhile everything else goes on: our own output files are heard of, too.
                Wake::Heard => self.gathered = Some(Instant::now() + GATHER),
                Wake::Gathered => {
                    self.gathered = None;
                    let heard = self.ear.take();
                    self.follow(heard).await;
                }
                Wake::Due if self.next_scan <= Instant::now() => self.scan().await,
                Wake::Due => {}
                Wake::Done(done) => self.end_job(done).await,
                Wake::Desk(event) => self.handle_desk(event).await,
            }
            self.work().await;
        }
    }

    async fn wake(&mut self, orders: &mut mpsc::Receiver<Order>, events: &mut broadcast::Receiver<DeskEvent>) -> Wake {
        let due = self.tree.next_due_ms().map_or(self.next_scan, |due_ms| {
            // Before the first look is taken in there is nothing to be due.
            self.clock.instant(due_ms).min(self.next_scan)
        });
        let (job, ear, gathered) = (&mut self.job, &self.ear, self.gathered);
        let done = async move {
            match job {
                Some(job) => (&mut job.done).await,
                None => std::future::pending().await,
            }
        };
        let heard = async move {
            match gathered {
                Some(gathered) => {
                    tokio::time::sleep_until(gathered.into()).await;
                    Wake::Gathered
                }
                None => {
                    ear.rung().await;
                    Wake::Heard
                }
            }
        };
        tokio::select! {
            order = orders.recv() => Wake::Order(order),
            done = done => Wake::Done(done),
            heard = heard => heard,
            event = events.recv() => Wake::Desk(event),
            () = tokio::time::sleep_until(due.into()) => Wake::Due,
        }
    }

    /// Does what the tree asks for until it asks for nothing more.
    async fn work(&mut self) {
        if !self.is_restored {
            return;
        }
        loop {
            let actions = self.tree.poll(self.clock.now());
            if actions.is_empty() {
                return self.forget_lost().await;
            }
            let mut looks = BTreeSet::new();
            for action in actions {
                match action {
                    Action::Look { path } => drop(looks.insert(path.into_string())),
                    action => self.carry_out(action).await,
                }
            }
            self.look_at(looks).await;
        }
    }

    async fn follow(&mut self, heard: Heard) {
        if let Some(failure) = heard.failure {
            self.watched = None;
            self.fail_watch(failure);
        }
        if heard.is_all {
            self.scan().await;
        } else {
            self.look_at(heard.paths).await;
        }
    }

    async fn look_at(&mut self, paths: BTreeSet<String>) {
        let mut last: Option<String> = None;
        for path in paths {
            let is_covered = last.as_ref().is_some_and(|last| path.starts_with(&format!("{last}/")));
            if !is_covered {
                self.look(&path).await;
                last = Some(path);
            }
        }
    }

    /// One look, which the tree takes in.
    pub(super) async fn look(&mut self, under: &str) {
        if let Some(look) = self.see(under).await {
            self.tree.handle_look(look);
        }
    }

    async fn see(&mut self, under: &str) -> Option<Look> {
        let look = match &self.looker {
            Some(looker) => looker.look(under).await,
            None => None,
        };
        if look.is_none() {
            self.trouble(None, "the thread that looks at the tree broke off; a restart begins anew".to_owned());
        }
        look
    }

    /// A look at all of it, with a watch that has begun before.
    pub(super) async fn scan(&mut self) {
        self.scan_count += 1;
        self.watch().await;
        if let Some(look) = self.see("").await {
            let top = look.top.clone();
            self.tree.handle_look(look);
            match &top {
                Top::There { .. } if !self.is_restored => self.is_restored = self.restore().await,
                Top::Gone(reason) if !self.is_restored && self.scan_count == 1 => {
                    self.trouble(None, Hold::RootGone(reason.clone()).to_string());
                }
                Top::There { .. } | Top::Gone(_) => {}
            }
            // The watch is on another directory when something was mounted meanwhile: the next scan begins one.
            if self.watched.as_ref().is_some_and(|watched| watched.top != top) {
                self.watched = None;
            }
        }
        let is_seen = self.watched.is_some() && self.is_restored;
        let pause = if is_seen { self.settings.rescan } else { self.settings.poll };
        self.next_scan = Instant::now() + pause.duration();
    }

    async fn watch(&mut self) {
        if self.watched.is_some() || self.watch_failure.is_some() || !is_to_be_watched(&self.settings, self.is_local) {
            return;
        }
        let (root, ear, eye) = (self.settings.root.clone(), Arc::clone(&self.ear), self.eye.clone());
        let begun = tokio::task::spawn_blocking(move || {
            let top = eye.top();
            let is_there = matches!(top, Top::There { .. });
            let watch =
                is_there.then(|| Watch::begin(&root, &ear).map(|watch| Watched { _watch: watch, top: top.clone() }));
            // What cannot be watched since it is just going is no failure.
            watch.filter(|watch| watch.is_ok() || eye.top() == top)
        });
        match begun.await {
            Ok(Some(Ok(watched))) => self.watched = Some(watched),
            Ok(Some(Err(failure))) => self.fail_watch(failure),
            // Nothing to watch yet, or the runtime ends.
            Ok(None) | Err(_) => {}
        }
    }

    fn fail_watch(&mut self, failure: String) {
        if self.watch_failure.as_ref() != Some(&failure) {
            self.trouble(None, failure.clone());
            self.watch_failure = Some(failure);
        }
    }

    /// A torrent that went may be another release's, too. One whose content is not what it was is looked at: no watch tells of
    /// what is done to a file by a name that lies elsewhere.
    async fn handle_desk(&mut self, event: Result<DeskEvent, broadcast::error::RecvError>) {
        let freed = match event {
            Ok(DeskEvent { torrent, what: Happened::Removed }) => self.twins.remove(&torrent.number),
            Ok(DeskEvent { torrent, what: Happened::Failed { .. } }) => {
                let is_it = |numbers: &Numbers| numbers.torrent == torrent.number;
                let failed = self.current.iter().find(|(_, numbers)| is_it(numbers)).map(|(path, _)| path.clone());
                if let Some(path) = failed {
                    self.look(&path).await;
                }
                None
            }
            Ok(_) => None,
            Err(_) => Some(std::mem::take(&mut self.twins).into_values().flatten().collect()),
        };
        for path in freed.into_iter().flatten() {
            self.tree.retry(&path, self.clock.now());
        }
    }

    fn answer(&self, answer: oneshot::Sender<TreeStatus>) {
        let status = TreeStatus {
            name: Arc::clone(&self.name),
            releases: self.tree.releases().collect(),
            hold: self.tree.hold().map(ToString::to_string),
            watch_failure: self.watch_failure.clone(),
            is_watched: self.watched.is_some(),
            entry_count: self.tree.entry_count(),
            scan_count: self.scan_count,
        };
        // Who asked may have gone.
        let _ = answer.send(status);
    }

    /// Says what goes wrong to whoever listens.
    pub(super) fn trouble(&self, path: Option<&str>, reason: String) {
        tracing::warn!(tree = &*self.name, path, "{reason}");
        let trouble = Trouble { tree: Arc::clone(&self.name), path: path.map(Box::from), reason };
        // Nobody has to listen.
        let _ = self.world.troubles.send(trouble);
    }
}
