//! Publishing a tree: one task a root that hears and looks at what changes, asks [`publish::Tree`] what to do, and does it
//! through `outputs` and the desk. In an order that keeps what is announced and what is served the same: hash, catalogue,
//! output files, engine and feeds; withdrawn backwards. What an end of the process leaves half done the next start goes on
//! with.

mod carry_out;
mod clock;
mod knowledge;
mod look;
mod looker;
mod release;
mod restore;
mod root;
mod set;
mod watch;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalogue::Catalogue;
use publish::{Becomes, ReleaseLine, Rule, Rules, RulesError, Timing};
use settings::{Publish, Watch};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::desk::DeskHandle;
use crate::outputs::Recipe;
pub use set::Publishers;

/// Orders that wait for a publisher; whoever gives more waits.
const WAITING_ORDERS: usize = 16;

/// How long a publisher may take to end what it is at, before it is broken off. Its file system may never answer.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Troubles that a listener may be behind; it loses the oldest.
const UNREAD_TROUBLES: usize = 256;

/// What all publishers of a service share.
#[derive(Clone)]
pub struct PublisherWorld {
    /// Who has the torrents.
    pub desk: DeskHandle,
    /// What is known of releases.
    pub catalogue: Catalogue,
    /// The announce URLs of our own tracker, in tiers.
    pub own_trackers: Vec<Vec<String>>,
    /// The URL beneath which our server hands out `/releases/…`.
    pub files_url: Option<String>,
    /// Paths that are never content, wherever they lie: the state directory.
    pub reserved: Vec<PathBuf>,
    /// One release of all trees is hashed at a time, on so many threads; on all cores if nothing is said.
    pub threads: Option<NonZeroUsize>,
    /// Whose turn it is to hash.
    pub turn: Arc<Semaphore>,
    /// Where is told what goes wrong.
    pub troubles: broadcast::Sender<Trouble>,
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The name of the tree.
    pub tree: Arc<str>,
    /// The release's path in it, if it is about one.
    pub path: Option<Box<str>>,
    /// One line.
    pub reason: String,
}

/// How a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeStatus {
    /// Its name.
    pub name: Arc<str>,
    /// All of its releases, by path.
    pub releases: Vec<ReleaseLine>,
    /// Why what is gone is not withdrawn, if so.
    pub hold: Option<String>,
    /// Why changes are not told of, if so.
    pub watch_failure: Option<String>,
    /// The kernel tells of changes; else the tree is looked at again and again.
    pub is_watched: bool,
    /// Files and directories that are remembered.
    pub entry_count: usize,
    /// Looks at all of the tree since the start.
    pub scan_count: u64,
}

/// What a publisher is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Look at all of it now.
    Rescan(oneshot::Sender<()>),
    /// Say how it is.
    Status(oneshot::Sender<TreeStatus>),
    /// End.
    Stop,
}

/// A tree that publishes itself. Dropped, it ends without waiting for what is under way.
#[derive(Debug)]
pub struct Publisher {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl PublisherWorld {
    /// For publishers of one service. The receiver is of what goes wrong in any of them.
    pub fn new(desk: DeskHandle, catalogue: Catalogue) -> (PublisherWorld, broadcast::Receiver<Trouble>) {
        let (troubles, told) = broadcast::channel(UNREAD_TROUBLES);
        let (own_trackers, files_url, reserved, threads) = (Vec::new(), None, Vec::new(), None);
        let turn = Arc::new(Semaphore::new(1));
        (PublisherWorld { desk, catalogue, own_trackers, files_url, reserved, threads, turn, troubles }, told)
    }
}

impl Publisher {
    /// Begins to publish a tree, on the runtime of the caller. What an earlier run published from it goes on. To publish by
    /// other settings stop it and start another: nothing is read again for that.
    pub fn start(world: PublisherWorld, settings: &Publish) -> Result<Publisher, RulesError> {
        let (orders, inbox) = mpsc::channel(WAITING_ORDERS);
        let root = root::Root::new(world, settings)?;
        let task = tokio::spawn(root.run(inbox));
        Ok(Publisher { orders, task })
    }

    /// Looks at all of the tree; comes back when that was done. What follows from it may take longer.
    pub async fn rescan(&self) {
        self.asker().rescan().await;
    }

    /// How the tree is; nothing when the publisher has ended.
    pub async fn status(&self) -> Option<TreeStatus> {
        self.asker().status().await
    }

    /// For whoever asks without holding it.
    pub(crate) fn asker(&self) -> Asker {
        Asker(self.orders.clone())
    }

    /// Ends it. What was being hashed is broken off, and begun anew by the next one; so is whatever does not end in time.
    pub async fn stop(mut self) {
        let (orders, task) = (&self.orders, &mut self.task);
        let ended = async {
            // One that has ended by itself is stopped.
            let _ = orders.send(Order::Stop).await;
            let _ = task.await;
        };
        if timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::warn!("a tree has not ended within {STOP_LIMIT:?}, and is broken off");
            self.task.abort();
            let _ = self.task.await;
        }
    }
}

/// Asks a publisher of its tree.
pub(crate) struct Asker(mpsc::Sender<Order>);

impl Asker {
    pub(crate) async fn rescan(self) {
        let (done, is_done) = oneshot::channel();
        if self.0.send(Order::Rescan(done)).await.is_ok() {
            // A publisher that ends has nothing to rescan.
            let _ = is_done.await;
        }
    }

    pub(crate) async fn status(self) -> Option<TreeStatus> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Order::Status(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// What settings say of a tree's rules.
fn rules(settings: &Publish, reserved: &[PathBuf]) -> Result<Rules, RulesError> {
    let rule = |rule: &settings::Rule| {
        let (glob, becomes) = match rule {
            settings::Rule::File(glob) => (glob, Becomes::File),
            settings::Rule::Directory(glob) => (glob, Becomes::Directory),
            settings::Rule::Ignore(glob) => (glob, Becomes::Ignored),
        };
        Rule { glob: glob.as_str().to_owned(), becomes }
    };
    let globs = |globs: &[settings::Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect::<Vec<_>>();
    let rules: Vec<Rule> = settings.releases.iter().map(rule).collect();
    let rules = Rules::new(&rules)?.including(&globs(&settings.include))?.excluding(&globs(&settings.exclude))?;
    let below = |path: &PathBuf| path.strip_prefix(&settings.root).ok()?.to_str().map(str::to_owned);
    let reserved = reserved.iter().chain(&settings.output).filter_map(below).filter(|path| !path.is_empty());
    let rules = rules.reserving(reserved.collect());
    Ok(if settings.output.is_none() { rules.with_outputs_beside() } else { rules })
}

/// What settings say of times and limits.
fn timing(settings: &Publish, is_local: bool) -> Timing {
    let ms = |period: settings::Period| i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX / 4);
    Timing {
        settle_ms: ms(settings.settle),
        grace_ms: ms(settings.grace),
        max_withdraw_percent: settings.max_withdraw_percent,
        release_at: settings.release_at.map(settings::Moment::unix_s),
        trusts_clock: is_local,
    }
}

/// Whether the kernel is asked to tell of changes.
fn is_to_be_watched(settings: &Publish, is_local: bool) -> bool {
    match settings.watch {
        Watch::Auto => is_local,
        Watch::Inotify => true,
        Watch::Poll => false,
    }
}

fn recipe(world: &PublisherWorld, settings: &Publish) -> Recipe {
    Recipe::new(settings, &world.own_trackers, world.files_url.as_deref())
}

#[cfg(test)]
mod tests;
