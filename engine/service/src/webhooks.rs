//! Who wants to be told of what happens: messages by HTTP POST, kept in the catalogue before they are tried, and tried
//! until they are taken or given up. What a message says is in `webhooks/message.rs`, what becomes one in `teller.rs`, how
//! it gets there in `target.rs`.
//!
//! Each message arrives at least once, those to one URL in the order in which things happened. What happened while the
//! service was down, or between a change and its message, is found in the catalogue at the next start; a withdrawal keeps its
//! message with it (`withdrawn.rs`). Errors are told only while they happen.

mod message;
mod signature;
mod target;
mod teller;
mod told;
mod withdrawn;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use catalogue::Catalogue;
use control::web_client::WebClients;
use settings::{Settings, Webhook};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::desk::DeskEvent;
use target::Target;
use teller::{Teller, ToTell};

pub(crate) use withdrawn::note as withdrawal_note;

/// Errors of others that wait to be told; more are counted and dropped.
const WAITING_ERRORS: usize = 256;

/// How long a connection to a target may take to be made; the settings bound all of a try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How far apart tries are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// After the first that failed; each further one doubles it.
    pub(crate) first: Duration,
    /// At most.
    pub(crate) longest: Duration,
}

/// Twelve tries last for about five hours.
const PACE: Pace = Pace { first: Duration::from_secs(10), longest: Duration::from_secs(2 * 3600) };

/// Tells of what happens until it is stopped.
pub struct Webhooks {
    catalogue: Catalogue,
    clients: Arc<WebClients>,
    pace: Pace,
    counters: Arc<Counters>,
    plan: watch::Sender<Arc<Plan>>,
    targets: HashMap<String, Running>,
    teller: JoinHandle<()>,
    errors: mpsc::Sender<Trouble>,
    /// Rung when messages were kept.
    bell: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

/// The task of one URL.
struct Running {
    hook: Webhook,
    task: JoinHandle<()>,
}

/// Tells of errors that no torrent of the desk has: a release that cannot be made, a feed that cannot be read.
#[derive(Debug, Clone)]
pub struct Reporter {
    errors: mpsc::Sender<Trouble>,
    counters: Arc<Counters>,
}

/// Something went wrong with a tree or a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the settings call it.
    pub label: Arc<str>,
    /// What of it: a path in the tree, an item's title.
    pub what: String,
    /// What is wrong.
    pub reason: String,
}

/// What became of messages since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that were kept, once for each URL.
    pub queued: AtomicU64,
    /// Those that were taken.
    pub delivered: AtomicU64,
    /// Tries that failed, but the last of a message.
    pub failed_tries: AtomicU64,
    /// Messages that were tried as often as they may be.
    pub given_up: AtomicU64,
    /// What could not be kept, or came too fast.
    pub lost: AtomicU64,
}

/// Who is told of what, by the settings.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) hooks: Vec<(String, Webhook)>,
    /// Where files of releases are reached, without a slash at its end.
    pub(crate) base_url: Option<String>,
}

/// The clients cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("webhooks: {0}")]
pub struct WebhookError(#[from] control::announcer::AnnouncerError);

impl Webhooks {
    /// Starts on this runtime: with what the catalogue knows and nobody was told, then with what happens. `events` were
    /// asked for before the desk began.
    pub fn start(
        catalogue: Catalogue,
        events: broadcast::Receiver<DeskEvent>,
        settings: &Settings,
    ) -> Result<Webhooks, WebhookError> {
        Webhooks::start_at(PACE, catalogue, events, Plan::of(settings))
    }

    fn start_at(
        pace: Pace,
        catalogue: Catalogue,
        events: broadcast::Receiver<DeskEvent>,
        plan: Plan,
    ) -> Result<Webhooks, WebhookError> {
        let clients = Arc::new(WebClients::new(CONNECT_TIMEOUT, &[])?);
        let counters = Arc::new(Counters::default());
        let (stop, bell) = (watch::channel(false).0, watch::channel(()).0);
        let (errors, troubles) = mpsc::channel(WAITING_ERRORS);
        let plan = watch::channel(Arc::new(plan)).0;
        let to_tell = ToTell { events, troubles, plan: plan.subscribe(), stopped: stop.subscribe() };
        let teller = Teller::new(catalogue.clone(), Arc::clone(&counters), bell.clone());
        let teller = tokio::spawn(teller.run(to_tell));
        let targets = HashMap::new();
        let mut webhooks = Webhooks { catalogue, clients, pace, counters, plan, targets, teller, errors, bell, stop };
        webhooks.set_targets();
        Ok(webhooks)
    }

    /// Goes by other settings. Messages to URLs that are no longer in them are dropped.
    pub fn configure(&mut self, settings: &Settings) {
        self.plan.send_replace(Arc::new(Plan::of(settings)));
        self.set_targets();
    }

    /// What others tell of their errors by.
    pub fn reporter(&self) -> Reporter {
        Reporter { errors: self.errors.clone(), counters: Arc::clone(&self.counters) }
    }

    /// What became of messages since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends. What happened until now is kept, and tried again at the next start; a try under way is broken off.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that panicked has said so.
        let _ = self.teller.await;
        for (_, target) in self.targets {
            let _ = target.task.await;
        }
    }

    /// One task for each URL of the plan.
    fn set_targets(&mut self) {
        let plan = Arc::clone(&self.plan.borrow());
        self.targets.retain(|key, target| {
            let hook = plan.hooks.iter().find(|(other, _)| other == key).map(|(_, hook)| hook);
            let is_same = hook.is_some_and(|hook| *hook == target.hook);
            if !is_same {
                target.task.abort();
            }
            is_same
        });
        for (key, hook) in &plan.hooks {
            self.targets.entry(key.clone()).or_insert_with(|| {
                let target = Target {
                    key: key.clone(),
                    hook: hook.clone(),
                    catalogue: self.catalogue.clone(),
                    clients: Arc::clone(&self.clients),
                    counters: Arc::clone(&self.counters),
                    pace: self.pace,
                };
                let task = tokio::spawn(target.run(self.bell.subscribe(), self.stop.subscribe()));
                Running { hook: hook.clone(), task }
            });
        }
        let keys: Vec<String> = plan.hooks.iter().map(|(key, _)| key.clone()).collect();
        tokio::spawn(target::forget_others(self.catalogue.clone(), keys));
    }
}

impl Reporter {
    /// Tells of an error, if there is room; nobody waits for webhooks.
    pub fn report(&self, trouble: Trouble) {
        if self.errors.try_send(trouble).is_err() {
            self.counters.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Plan {
    fn of(settings: &Settings) -> Plan {
        let base_url = settings.http.base_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        Plan { hooks: settings.webhook.iter().map(|hook| (target::key(hook), hook.clone())).collect(), base_url }
    }
}

#[cfg(test)]
mod tests;
