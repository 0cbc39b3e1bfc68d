//! Makes messages of what happens: one task that hears the desk and keeps in the catalogue what each URL is to be told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use catalogue::{Catalogue, CatalogueError, Change, Delivery, DeliveryNumber, Origin};
use settings::WebhookEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use super::message::{Happening, name};
use super::told::{self, Told, untold};
use super::withdrawn::BOX;
use super::{Counters, Plan, Trouble};
use crate::clock::unix_s;
use crate::desk::{DeskEvent, Happened};

/// How long the catalogue is left alone after it took nothing.
const CATALOGUE_RETRY: Duration = Duration::from_secs(5);

/// Where what is to be told comes from.
pub(super) struct ToTell {
    pub(super) events: broadcast::Receiver<DeskEvent>,
    pub(super) troubles: mpsc::Receiver<Trouble>,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) stopped: watch::Receiver<bool>,
}

enum Heard {
    Event(DeskEvent),
    /// So many events came too fast.
    Missed(u64),
    Trouble(Trouble),
}

/// What is to be told.
enum Due {
    Happening(Happening),
    /// A message from the box of withdrawals.
    Withdrawal(Delivery),
}

impl ToTell {
    /// What comes next; nothing any more when it is time to stop and all that the desk had told is heard.
    async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            event = self.events.recv() => match event {
                Ok(event) => Some(Heard::Event(event)),
                Err(RecvError::Lagged(count)) => Some(Heard::Missed(count)),
                Err(RecvError::Closed) => None,
            },
            Some(trouble) = self.troubles.recv() => Some(Heard::Trouble(trouble)),
            _ = self.stopped.wait_for(|is_stopped| *is_stopped) => None,
        }
    }
}

/// The task.
pub(super) struct Teller {
    catalogue: Catalogue,
    counters: Arc<Counters>,
    bell: watch::Sender<()>,
    told: Told,
    /// Messages of withdrawals up to this one are an earlier run's.
    first: DeliveryNumber,
    /// Some events were lost: once all others are heard, what is left in the box is told.
    is_behind: bool,
}

impl Teller {
    pub(super) fn new(catalogue: Catalogue, counters: Arc<Counters>, bell: watch::Sender<()>) -> Teller {
        let (told, first) = (Told::all_before(unix_s()), catalogue.next_delivery());
        Teller { catalogue, counters, bell, told, first, is_behind: false }
    }

    /// Works until it is stopped; what the desk had told by then is kept.
    pub(super) async fn run(mut self, mut from: ToTell) {
        // By then, all that the desk says is told as it says it.
        let started_at_s = unix_s();
        match self.recall(&mut from.stopped).await {
            Some(Some(told)) => {
                self.told = told;
                let withdrawals = self.withdrawals(self.first, &mut from.stopped).await;
                self.catch_up(withdrawals, &mut from, started_at_s).await;
            }
            // The very first start: from now on it is known what was told.
            Some(None) => self.keep(Vec::new(), &mut from.stopped).await,
            None => {}
        }
        loop {
            self.empty_box(&mut from).await;
            let Some(heard) = from.next().await else { return };
            let due = match heard {
                Heard::Event(event) => self.due(&event, &mut from.stopped).await,
                Heard::Trouble(trouble) => vec![Due::Happening(Happening::of_trouble(trouble, unix_s()))],
                Heard::Missed(count) => {
                    tracing::warn!(count, "webhooks fell behind; what was missed is found in the catalogue");
                    self.catch_up(Vec::new(), &mut from, unix_s()).await;
                    self.is_behind = true;
                    continue;
                }
            };
            self.tell(due, &mut from).await;
        }
    }

    async fn due(&self, event: &DeskEvent, stopped: &mut watch::Receiver<bool>) -> Vec<Due> {
        match event.what {
            Happened::Withdrawn { message: Some(message) } => self.withdrawals(message, stopped).await,
            _ => happening_of(event).map(Due::Happening).into_iter().collect(),
        }
    }

    /// After events were lost: a release whose publishing was not heard of yet must not be told of as withdrawn.
    async fn empty_box(&mut self, from: &mut ToTell) {
        if self.is_behind && from.events.is_empty() {
            let left = self.withdrawals(DeliveryNumber(i64::MAX), &mut from.stopped).await;
            if from.events.is_empty() {
                self.is_behind = false;
                self.tell(left, from).await;
            }
        }
    }

    /// The messages in the box up to this one.
    async fn withdrawals(&self, last: DeliveryNumber, stopped: &mut watch::Receiver<bool>) -> Vec<Due> {
        loop {
            let catalogue = self.catalogue.clone();
            match tokio::task::spawn_blocking(move || catalogue.deliveries(BOX)).await {
                Ok(Ok(waiting)) => {
                    return waiting.into_iter().filter(|kept| kept.number <= last).map(Due::Withdrawal).collect();
                }
                Ok(Err(error)) => tracing::warn!(%error, "webhooks: cannot read what was withdrawn"),
                Err(_) => return Vec::new(),
            }
            if !rest(stopped).await {
                return Vec::new();
            }
        }
    }

    /// What an earlier run had told, if there was one; nothing if it is stopped before the catalogue says.
    async fn recall(&self, stopped: &mut watch::Receiver<bool>) -> Option<Option<Told>> {
        loop {
            let catalogue = self.catalogue.clone();
            let settings = tokio::task::spawn_blocking(move || catalogue.settings()).await;
            match settings {
                Ok(Ok(settings)) => {
                    let kept = settings.iter().find(|(key, _)| key == told::KEY).map(|(_, value)| value);
                    return Some(kept.map(|kept| Told::read(kept, unix_s())));
                }
                Ok(Err(error)) => tracing::warn!(%error, "webhooks: cannot read what was told"),
                Err(_) => return None,
            }
            if !rest(stopped).await {
                return None;
            }
        }
    }

    /// Tells what happened while nobody listened.
    async fn catch_up(&mut self, mut due: Vec<Due>, from: &mut ToTell, now_s: i64) {
        let (catalogue, told) = (self.catalogue.clone(), self.told.clone());
        let found = tokio::task::spawn_blocking(move || {
            Ok::<_, CatalogueError>(untold(&told, &catalogue.releases()?, &catalogue.torrents()?, now_s))
        });
        match found.await {
            Ok(Ok(found)) => due.extend(found.into_iter().map(Due::Happening)),
            Ok(Err(error)) => tracing::warn!(%error, "webhooks: cannot find what happened meanwhile"),
            Err(_) => {}
        }
        due.sort_by_key(Due::at_s);
        self.tell(due, from).await;
    }

    /// Keeps messages in the catalogue, for as long as it takes.
    async fn tell(&mut self, due: Vec<Due>, from: &mut ToTell) {
        let (plan, now_s) = (Arc::clone(&from.plan.borrow()), unix_s());
        let mut changes = Vec::new();
        let mut is_news = false;
        for due in due {
            let (event, body) = match due {
                Due::Happening(happening) if self.told.has(&happening) => continue,
                Due::Happening(happening) => {
                    self.told.note(&happening, now_s);
                    (happening.event, happening.body(plan.base_url.as_deref()))
                }
                Due::Withdrawal(kept) => {
                    changes.push(Change::RemoveDeliveries(vec![kept.number]));
                    (WebhookEvent::Withdrawn, kept.body)
                }
            };
            is_news = true;
            for (target, _) in plan.hooks.iter().filter(|(_, hook)| hook.events.contains(&event)) {
                changes.push(Change::PutDelivery(Delivery {
                    number: self.catalogue.next_delivery(),
                    target: target.clone(),
                    event: name(event).to_owned(),
                    body: body.clone(),
                    queued_at_s: now_s,
                    attempts: 0,
                    next_try_at_s: now_s,
                }));
            }
        }
        if is_news {
            self.keep(changes, &mut from.stopped).await;
        }
    }

    /// Keeps messages, and with them that they were told.
    async fn keep(&self, mut changes: Vec<Change>, stopped: &mut watch::Receiver<bool>) {
        let count = changes.iter().filter(|change| matches!(change, Change::PutDelivery(_))).count() as u64;
        changes.push(self.told.keep());
        while let Err(error) = self.catalogue.apply(changes.clone()).await {
            tracing::warn!(%error, "webhooks: messages cannot be kept");
            if !error.may_pass() || !rest(stopped).await {
                self.counters.lost.fetch_add(count, Relaxed);
                return;
            }
        }
        self.counters.queued.fetch_add(count, Relaxed);
        self.bell.send_replace(());
    }
}

impl Due {
    fn at_s(&self) -> i64 {
        match self {
            Due::Happening(happening) => happening.at_s,
            Due::Withdrawal(kept) => kept.queued_at_s,
        }
    }
}

/// Waits before the catalogue is asked again; false if it is time to stop.
async fn rest(stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(CATALOGUE_RETRY, stopped.wait_for(|is_stopped| *is_stopped)).await.is_err()
}

/// What somebody may want to be told of an event.
fn happening_of(event: &DeskEvent) -> Option<Happening> {
    let (line, now_s) = (&*event.torrent, unix_s());
    let (event, reason) = match &event.what {
        // One under embargo is published when it opens.
        Happened::Published if line.opens_at_s.is_some_and(|opens_at_s| opens_at_s > now_s) => return None,
        Happened::Published | Happened::Opened => (WebhookEvent::Published, None),
        Happened::Completed if matches!(line.origin, Origin::Subscribed { .. }) => (WebhookEvent::Completed, None),
        Happened::FirstFullCopy => (WebhookEvent::FirstFullCopy, None),
        Happened::Failed { reason } => (WebhookEvent::Error, Some(reason.clone())),
        // The message of a withdrawal is in the box.
        Happened::Withdrawn { .. } | Happened::Completed | Happened::LimitReached { .. } | Happened::Removed => {
            return None;
        }
    };
    Some(Happening::of_line(event, line, now_s, reason))
}
