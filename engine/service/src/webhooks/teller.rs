//! Makes messages of what happens: one task that hears the desk and keeps in the catalogue what each URL is to be told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use catalogue::{Catalogue, CatalogueError, Change, Delivery, Origin};
use settings::WebhookEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use super::message::{Happening, name};
use super::told::{self, Told, untold};
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
}

impl Teller {
    pub(super) fn new(catalogue: Catalogue, counters: Arc<Counters>, bell: watch::Sender<()>) -> Teller {
        Teller { catalogue, counters, bell, told: Told::all_before(unix_s()) }
    }

    /// Works until it is stopped; what the desk had told by then is kept.
    pub(super) async fn run(mut self, mut from: ToTell) {
        // By then, all that the desk says is told as it says it.
        let started_at_s = unix_s();
        match self.recall(&mut from.stopped).await {
            Some(Some(told)) => {
                self.told = told;
                self.catch_up(&mut from, started_at_s).await;
            }
            // The very first start: from now on it is known what was told.
            Some(None) => self.keep(Vec::new(), &mut from.stopped).await,
            None => {}
        }
        while let Some(heard) = from.next().await {
            let happened = match heard {
                Heard::Event(event) => happening_of(&event),
                Heard::Trouble(trouble) => Some(Happening::of_trouble(trouble, unix_s())),
                Heard::Missed(count) => {
                    tracing::warn!(count, "webhooks fell behind; what was missed is found in the catalogue");
                    self.catch_up(&mut from, unix_s()).await;
                    None
                }
            };
            if let Some(happening) = happened {
                self.tell(vec![happening], &mut from).await;
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
    async fn catch_up(&mut self, from: &mut ToTell, now_s: i64) {
        let (catalogue, told) = (self.catalogue.clone(), self.told.clone());
        let found = tokio::task::spawn_blocking(move || {
            Ok::<_, CatalogueError>(untold(&told, &catalogue.releases()?, &catalogue.torrents()?, now_s))
        });
        match found.await {
            Ok(Ok(found)) => self.tell(found, from).await,
            Ok(Err(error)) => tracing::warn!(%error, "webhooks: cannot find what happened meanwhile"),
            Err(_) => {}
        }
    }

    /// Keeps messages in the catalogue, for as long as it takes.
    async fn tell(&mut self, mut happenings: Vec<Happening>, from: &mut ToTell) {
        happenings.retain(|happening| !self.told.has(happening));
        if happenings.is_empty() {
            return;
        }
        let (plan, now_s) = (Arc::clone(&from.plan.borrow()), unix_s());
        let mut changes = Vec::new();
        for happening in &happenings {
            self.told.note(happening, now_s);
            let body = happening.body(plan.base_url.as_deref());
            for (target, _) in plan.hooks.iter().filter(|(_, hook)| hook.events.contains(&happening.event)) {
                changes.push(Change::PutDelivery(Delivery {
                    number: self.catalogue.next_delivery(),
                    target: target.clone(),
                    event: name(happening.event).to_owned(),
                    body: body.clone(),
                    queued_at_s: now_s,
                    attempts: 0,
                    next_try_at_s: now_s,
                }));
            }
        }
        self.keep(changes, &mut from.stopped).await;
    }

    /// Keeps messages, and with them that they were told.
    async fn keep(&self, mut changes: Vec<Change>, stopped: &mut watch::Receiver<bool>) {
        let count = changes.len() as u64;
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
        Happened::Withdrawn { reason } => (WebhookEvent::Withdrawn, Some(reason.clone())),
        Happened::Completed if matches!(line.origin, Origin::Subscribed { .. }) => (WebhookEvent::Completed, None),
        Happened::FirstFullCopy => (WebhookEvent::FirstFullCopy, None),
        Happened::Failed { reason } => (WebhookEvent::Error, Some(reason.clone())),
        Happened::Completed | Happened::LimitReached { .. } | Happened::Removed => return None,
    };
    Some(Happening::of_line(event, line, now_s, reason))
}
