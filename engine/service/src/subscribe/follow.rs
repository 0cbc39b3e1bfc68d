//! One feed that is followed: asked for again and again, what is new in it kept, what waits of it taken.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalogue::{Catalogue, CatalogueError, Change, FeedItem, FeedState, ItemState, Origin, TorrentNumber, TorrentRow};
use control::web_client::{Scope, WebClients};
use hash::{Sha256Digest, sha256};
use settings::{Start, Subscribe};
use tokio::sync::watch;
use tokio::time::Instant;

use super::document::{Document, Item, Source};
use super::poll::{self, Polled, poll, wait};
use super::rules::{BEFORE, NoRoom, refusal, too_large};
use super::take::Taken;
use crate::clock::unix_s;
use crate::desk::{DeskError, DeskHandle};
use crate::webhooks::{Reporter, Trouble};

/// Items that are taken before the feed is looked at again.
const TAKEN_AT_ONCE: u64 = 16;

/// How often an item is tried before it is given up.
const ATTEMPTS_MAX: u32 = 12;

/// The longest wait after a failure of an item.
const LAST_RETRY_S: i64 = 6 * 3600;

/// How long items wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// After the first failure; each further one doubles it.
    pub(super) first_retry_s: i64,
    /// If it is nobody's fault: no room, a busy desk.
    pub(super) patience_s: i64,
}

/// Twelve tries last for a day.
pub(super) const PACE: Pace = Pace { first_retry_s: 30, patience_s: 60 };

/// How often links are looked at whose size is not known yet but limited.
const SIZE_PERIOD: Duration = Duration::from_secs(1);

/// How long the catalogue is left alone after an error.
const CATALOGUE_RETRY: Duration = Duration::from_secs(5);

/// The task of one feed.
pub(super) struct Follower {
    pub(super) settings: Arc<Subscribe>,
    pub(super) catalogue: Catalogue,
    pub(super) desk: DeskHandle,
    pub(super) reporter: Reporter,
    pub(super) clients: Arc<WebClients>,
    pub(super) pace: Pace,
}

/// What it knows between two looks.
struct State {
    /// Where the feed's server stands: what it names may lead no further in, and is not asked for until that is known.
    scope: Option<Scope>,
    /// The feed was read with these settings. Until then all of it is asked for: the rules may be others than before.
    has_read: bool,
    /// Until then nothing is tried, since there was no room for what was tried last.
    no_room_until: Option<Instant>,
    failures: u32,
    /// Links whose size is not known, but limited.
    unsized_links: HashSet<TorrentNumber>,
    /// Torrents that were not in the feed when it was read last, and are there still.
    gone_once: HashSet<TorrentNumber>,
}

/// Asks the catalogue off the runtime.
pub(super) async fn ask<T: Send + 'static>(
    catalogue: &Catalogue,
    question: impl FnOnce(&Catalogue) -> Result<T, CatalogueError> + Send + 'static,
) -> Result<T, CatalogueError> {
    let catalogue = catalogue.clone();
    tokio::task::spawn_blocking(move || question(&catalogue)).await.unwrap_or(Err(CatalogueError::Closed))
}

impl Follower {
    pub(super) async fn run(self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.follow() => {}
            _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
        }
    }

    async fn follow(&self) {
        let mut state = State {
            scope: None,
            has_read: false,
            no_room_until: None,
            failures: 0,
            unsized_links: self.unsized_links().await,
            gone_once: HashSet::new(),
        };
        let mut next_poll = Instant::now();
        loop {
            if Instant::now() >= next_poll {
                let pause = self.look(&mut state).await;
                next_poll = Instant::now() + pause;
            }
            let next_item = self.take_due(&mut state).await;
            self.measure(&mut state).await;
            let mut wake = next_poll.min(Instant::now() + next_item);
            if !state.unsized_links.is_empty() {
                wake = wake.min(Instant::now() + SIZE_PERIOD);
            }
            tokio::time::sleep_until(wake).await;
        }
    }

    /// Reads the feed once, and says when to do so again.
    async fn look(&self, state: &mut State) -> Duration {
        let name = self.settings.name.clone();
        let kept = match ask(&self.catalogue, move |catalogue| catalogue.feed(&name)).await {
            Ok(kept) => kept,
            Err(error) => return self.complain(&error),
        };
        let interval = self.settings.interval.duration();
        let marks = kept.as_ref().filter(|_| state.has_read);
        match poll(&self.clients, &self.settings, marks).await {
            Ok(Polled::NotModified(scope)) => {
                (state.scope, state.failures) = (Some(scope), 0);
                // The feed is as it was, so that they are missing in it for the second time.
                self.remove_gone(state.gone_once.clone(), &mut state.gone_once).await;
            }
            Ok(Polled::Read { document, state: feed, scope }) => {
                state.scope = Some(scope);
                let is_first = kept.is_none_or(|kept| kept.url != poll::key(&self.settings));
                if let Err(error) = self.keep(document, feed, is_first, state).await {
                    self.complain(&error);
                    // The feed was fetched for nothing: not again at once, however long the disk stays full.
                    state.failures = state.failures.saturating_add(1);
                    return wait(interval, state.failures, None, random());
                }
                (state.has_read, state.failures) = (true, 0);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                let again = wait(interval, state.failures, error.retry_after, random());
                let (feed, reason) = (&self.settings.feed, &error.reason);
                tracing::warn!(subscription = self.settings.name, %feed, reason, again_in_s = again.as_secs(), "cannot read the feed");
                // The first time is news; that it goes on is not.
                if state.failures == 1 {
                    self.report(&feed.to_string(), reason);
                }
                return again;
            }
        }
        wait(interval, 0, None, random())
    }

    /// Keeps what is in a feed, and its mark with it: both or neither.
    async fn keep(
        &self,
        document: Document,
        feed: FeedState,
        is_first: bool,
        state: &mut State,
    ) -> Result<(), CatalogueError> {
        if document.is_cut {
            tracing::warn!(subscription = self.settings.name, "the feed has more items than are looked at");
        }
        let is_cut = document.is_cut;
        let keys: HashSet<Sha256Digest> = document.items.iter().map(key).collect();
        let (settings, now_s) = (Arc::clone(&self.settings), unix_s());
        let items = ask(&self.catalogue, move |catalogue| {
            // The newest is due now and each older one a second before it, so that they are taken in the order in which they
            // appeared. One that has to be tried again later has lost its turn.
            let mut due_s = now_s;
            let mut items = Vec::with_capacity(document.items.len());
            for item in &document.items {
                items.push(met(catalogue, &settings, item, is_first, (now_s, &mut due_s))?);
            }
            // Of two by one id the newer counts.
            items.reverse();
            Ok(items)
        });
        let items = items.await?;
        let named: HashSet<TorrentNumber> = items.iter().filter_map(|item| item.torrent).collect();
        self.catalogue.apply(vec![Change::PutFeed(feed), Change::PutItems(items)]).await?;
        if is_cut {
            // What is missing may be in the rest.
            state.gone_once.clear();
        } else if !self.settings.keep {
            self.drop_gone(&keys, &named, &mut state.gone_once).await?;
        }
        Ok(())
    }

    /// Takes some of what is due, and says how long nothing is; none if there may be more.
    async fn take_due(&self, state: &mut State) -> Duration {
        let Some(scope) = state.scope else { return Duration::from_secs(LAST_RETRY_S.unsigned_abs()) };
        let left = state.no_room_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if !left.is_zero() {
            return left;
        }
        let name = self.settings.name.clone();
        let waiting = ask(&self.catalogue, move |catalogue| catalogue.waiting_items(&name, TAKEN_AT_ONCE)).await;
        let waiting = match waiting {
            Ok(waiting) => waiting,
            Err(error) => return self.complain(&error),
        };
        let now_s = unix_s();
        let due: Vec<FeedItem> =
            waiting.iter().filter(|item| item.next_try_at_s.unwrap_or(0) <= now_s).cloned().collect();
        if due.is_empty() {
            let next_s = waiting.iter().map(|item| item.next_try_at_s.unwrap_or(0) - now_s).min();
            let next_s = next_s.map_or(LAST_RETRY_S, |next_s| next_s.clamp(0, LAST_RETRY_S));
            return Duration::from_secs(next_s.unsigned_abs());
        }
        for item in due {
            let taken = self.take(&item, scope, &mut state.gone_once).await;
            let has_no_room = matches!(taken, Taken::NoRoom(_));
            let Some(item) = self.after(item, taken, state) else { return CATALOGUE_RETRY };
            if let Err(error) = self.catalogue.apply(vec![Change::PutItems(vec![item])]).await {
                return self.complain(&error);
            }
            if has_no_room {
                // The others would be told the same, each with a write; or this one goes behind them, as it is too large.
                let pause = Duration::from_secs(self.pace.patience_s.unsigned_abs());
                state.no_room_until = Some(Instant::now() + pause);
                return pause;
            }
        }
        Duration::ZERO
    }

    /// What is to be kept of an item after it was tried; nothing if the service is stopping.
    fn after(&self, mut item: FeedItem, taken: Taken, state: &mut State) -> Option<FeedItem> {
        let (subscription, title, now_s) = (&*self.settings.name, item.title.clone(), unix_s());
        item.reason = None;
        let due_s = item.next_try_at_s.take();
        match taken {
            Taken::As(number, size_bytes) => {
                tracing::info!(subscription, title, torrent = number.0, "taken from the feed");
                (item.state, item.torrent, item.url) = (ItemState::Taken, Some(number), None);
                item.size_bytes = size_bytes.unwrap_or(0);
                // It may have come by another item, which is gone.
                state.gone_once.remove(&number);
                if size_bytes.is_none() && self.has_size_limits() {
                    state.unsized_links.insert(number);
                }
            }
            Taken::Unwanted(why) => {
                tracing::info!(subscription, title, why, "not taken from the feed");
                // Without its URL, it is not looked at again.
                (item.state, item.reason, item.url) = (ItemState::Skipped, Some(why), None);
            }
            Taken::NoRoom(NoRoom { why, is_full: true }) => {
                tracing::debug!(subscription, title, why, "not taken from the feed yet");
                // The first place that is free is its own.
                (item.reason, item.next_try_at_s) = (Some(why), due_s);
            }
            Taken::NoRoom(NoRoom { why, is_full: false }) | Taken::NotNow(why) => {
                tracing::debug!(subscription, title, why, "not taken from the feed yet");
                (item.reason, item.next_try_at_s) = (Some(why), Some(now_s + self.pace.patience_s));
            }
            Taken::Failed(why) => {
                item.attempts = item.attempts.saturating_add(1);
                if item.attempts >= ATTEMPTS_MAX {
                    tracing::error!(subscription, title, why, attempts = item.attempts, "given up");
                    self.report(&title, &why);
                    item.state = ItemState::Failed;
                } else {
                    let again_s = retry_s(self.pace, item.attempts);
                    tracing::warn!(subscription, title, why, again_in_s = again_s, "cannot be taken from the feed");
                    item.next_try_at_s = Some(now_s + again_s);
                }
                item.reason = Some(why);
            }
            Taken::Stopping => return None,
        }
        Some(item)
    }

    /// Drops links that turned out to be larger than anything that is wanted.
    async fn measure(&self, state: &mut State) {
        for number in state.unsized_links.clone() {
            match self.desk.line(number).await {
                Ok(line) if line.size_bytes > 0 => {
                    state.unsized_links.remove(&number);
                    let Some(why) = self.too_large_now(line.size_bytes).await else { continue };
                    tracing::warn!(subscription = self.settings.name, torrent = number.0, why, "removed");
                    self.report(&line.name, &why);
                    if let Err(error) = self.desk.remove(number, true).await {
                        tracing::warn!(torrent = number.0, %error, "cannot be removed");
                    }
                }
                Ok(_) => {}
                Err(DeskError::Unknown { .. }) => drop(state.unsized_links.remove(&number)),
                Err(_) => return,
            }
        }
    }

    async fn too_large_now(&self, size_bytes: u64) -> Option<String> {
        if let Some(why) = too_large(&self.settings, size_bytes) {
            return Some(why);
        }
        let most = self.settings.max_total_size?.bytes();
        let name = self.settings.name.clone();
        let (_, bytes) = ask(&self.catalogue, move |catalogue| catalogue.feed_taken(&name)).await.ok()?;
        // The catalogue may know of it already, or not yet.
        (bytes.max(size_bytes) > most).then(|| format!("it is more than max_total_size ({most} bytes)"))
    }

    /// Those of an earlier run.
    async fn unsized_links(&self) -> HashSet<TorrentNumber> {
        if !self.has_size_limits() {
            return HashSet::new();
        }
        self.torrents(|row| row.shape.is_none()).await.unwrap_or_default().into_iter().collect()
    }

    /// Torrents of this feed.
    pub(super) async fn torrents(
        &self,
        is_wanted: impl Fn(&TorrentRow) -> bool + Send + 'static,
    ) -> Result<Vec<TorrentNumber>, CatalogueError> {
        let name = self.settings.name.clone();
        ask(&self.catalogue, move |catalogue| {
            let mut found = Vec::new();
            catalogue.each_torrent(|row| {
                if matches!(&row.origin, Origin::Subscribed { label, .. } if **label == *name) && is_wanted(&row) {
                    found.push(row.number);
                }
            })?;
            Ok(found)
        })
        .await
    }

    fn has_size_limits(&self) -> bool {
        self.settings.max_item_size.is_some() || self.settings.max_total_size.is_some()
    }

    fn report(&self, what: &str, reason: &str) {
        let label = self.settings.name.as_str().into();
        self.reporter.report(Trouble { label, what: what.to_owned(), reason: reason.to_owned() });
    }

    fn complain(&self, error: &CatalogueError) -> Duration {
        tracing::warn!(subscription = self.settings.name, %error, "the catalogue takes nothing");
        CATALOGUE_RETRY
    }
}

/// What is kept of an item that is in the feed. One that is to be taken from now on is due at `due_s`, the one before it a
/// second earlier.
fn met(
    catalogue: &Catalogue,
    settings: &Subscribe,
    item: &Item,
    is_first: bool,
    (now_s, due_s): (i64, &mut i64),
) -> Result<FeedItem, CatalogueError> {
    let key = key(item);
    if let Some(known) = catalogue.feed_item(&settings.name, &key)? {
        let is_judged_again = known.state == ItemState::Skipped && known.reason.as_deref() != Some(BEFORE);
        if !is_judged_again {
            return Ok(FeedItem { met_at_s: now_s, ..known });
        }
        if known.url.is_none() {
            // The torrent itself was too large: the feed did not say so.
            return Ok(FeedItem { met_at_s: now_s, ..known });
        }
    }
    let is_before = is_first && settings.start == Start::New;
    let reason = match is_before {
        true => Some(BEFORE.to_owned()),
        false => refusal(settings, &item.title, item.content_bytes),
    };
    let next_try_at_s = reason.is_none().then_some(*due_s);
    *due_s -= i64::from(reason.is_none());
    let url = match &item.source {
        Source::File(url) => url.to_string(),
        Source::Magnet(link) => link.clone(),
    };
    Ok(FeedItem {
        feed: settings.name.clone(),
        item: key,
        state: if reason.is_some() { ItemState::Skipped } else { ItemState::Waiting },
        title: item.title.clone(),
        url: Some(url),
        torrent: None,
        size_bytes: item.content_bytes.unwrap_or(0),
        attempts: 0,
        next_try_at_s,
        met_at_s: now_s,
        reason,
    })
}

/// What an item is known by here.
fn key(item: &Item) -> Sha256Digest {
    sha256(item.id.as_bytes())
}

/// How long until an item is tried again, after so many failures.
fn retry_s(pace: Pace, attempts: u32) -> i64 {
    let doubled = pace.first_retry_s.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LAST_RETRY_S);
    (doubled as f64 * (0.75 + 0.5 * random())) as i64
}

/// From 0 to 1.
fn random() -> f64 {
    let mut byte = [0];
    // Without randomness the waits are not spread, which is all.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscribe::tests::stand::{Upstream, subscribe};
    use crate::webhooks::Webhooks;
    use rusqlite::Connection;
    use settings::{Period, Settings};

    #[tokio::test]
    async fn a_feed_that_cannot_be_kept_is_asked_for_less_and_less_often_and_read_in_the_end() {
        let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
        upstream.publish(&[1]);
        let (catalogue, _) = Catalogue::open(dir.path()).unwrap();
        let (desk, _requests, events) = DeskHandle::new();
        let webhooks = Webhooks::start(catalogue.clone(), events.subscribe(), &Settings::default()).unwrap();
        let interval = Period(Duration::from_secs(3600));
        let follower = Follower {
            settings: Arc::new(Subscribe { interval, ..subscribe(&format!("{}/feed", upstream.url)) }),
            catalogue: catalogue.clone(),
            desk,
            reporter: webhooks.reporter(),
            clients: Arc::new(WebClients::new(Duration::from_secs(10), &[]).unwrap()),
            pace: PACE,
        };
        let mut state = State {
            scope: None,
            has_read: false,
            no_room_until: None,
            failures: 0,
            unsized_links: HashSet::new(),
            gone_once: HashSet::new(),
        };
        let full = "CREATE TRIGGER full BEFORE INSERT ON feed BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
        let other = Connection::open(dir.path().join("catalogue.sqlite")).unwrap();
        other.execute_batch(full).unwrap();
        let pauses = [follower.look(&mut state).await, follower.look(&mut state).await];
        // By how much they are spread: a tenth.
        assert!(pauses[0] >= Duration::from_secs(54) && pauses[1] >= Duration::from_secs(108), "{pauses:?}");
        assert!(!state.has_read && catalogue.feed("upstream").unwrap().is_none());
        other.execute_batch("DROP TRIGGER full").unwrap();
        let pause = follower.look(&mut state).await;
        assert!(pause >= Duration::from_secs(3240) && state.has_read && state.failures == 0, "{pause:?}");
        assert!(catalogue.feed("upstream").unwrap().is_some());
        webhooks.stop().await;
    }
}
