//! One URL: its messages, one after the other, each tried until it is taken or given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use catalogue::{Catalogue, CatalogueError, Change, Delivery};
use control::web_client::{Scope, WebClients, WebRequest};
use hash::sha256;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue, RETRY_AFTER};
use settings::Webhook;
use tokio::sync::watch;

use super::signature::sign;
use super::withdrawn::BOX;
use super::{Counters, Pace};
use crate::clock::unix_s;

/// What is read of an answer: its status is what counts.
const ANSWER_BYTES: usize = 4096;

/// The longest secret in a file.
const SECRET_BYTES: usize = 4096;

/// How long the catalogue is left alone after an error.
const CATALOGUE_RETRY: Duration = Duration::from_secs(5);

/// Shown of an answer's body when it is no success.
const SHOWN_CHARS: usize = 120;

/// The task of one URL.
pub(super) struct Target {
    pub(super) key: String,
    pub(super) hook: Webhook,
    pub(super) catalogue: Catalogue,
    pub(super) clients: Arc<WebClients>,
    pub(super) counters: Arc<Counters>,
    pub(super) pace: Pace,
}

/// A try that was not taken.
#[derive(Debug)]
struct Failed {
    reason: String,
    /// When the target wants to be asked again.
    retry_after: Option<Duration>,
}

/// What a URL is called in the catalogue: the URL itself may hold a password.
pub(super) fn key(hook: &Webhook) -> String {
    sha256(hook.url.as_str().as_bytes()).to_string()[..32].to_owned()
}

/// Drops the messages to URLs that are not among these any more.
pub(super) async fn forget_others(catalogue: Catalogue, keys: Vec<String>) {
    let reader = catalogue.clone();
    let forgotten = tokio::task::spawn_blocking(move || {
        let counts = reader.delivery_counts()?;
        let others =
            counts.into_iter().map(|(target, _)| target).filter(|target| target != BOX && !keys.contains(target));
        Ok::<Vec<String>, CatalogueError>(others.collect())
    });
    let Ok(Ok(forgotten)) = forgotten.await else { return };
    let changes: Vec<Change> = forgotten.into_iter().map(Change::RemoveTarget).collect();
    if !changes.is_empty()
        && let Err(error) = catalogue.apply(changes).await
    {
        tracing::warn!(%error, "webhooks: messages to URLs that are gone stay");
    }
}

impl Target {
    pub(super) async fn run(self, mut bell: watch::Receiver<()>, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.deliver_all(&mut bell) => {}
            _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
        }
    }

    async fn deliver_all(&self, bell: &mut watch::Receiver<()>) {
        loop {
            // Marked before it is looked, so that a bell in between is heard.
            bell.mark_unchanged();
            match self.first().await {
                Ok(Some(delivery)) => {
                    self.wait_for_turn(&delivery).await;
                    self.deliver(&delivery).await;
                }
                Ok(None) => {
                    if bell.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(url = %self.hook.url, %error, "webhook: cannot read what waits");
                    tokio::time::sleep(CATALOGUE_RETRY).await;
                }
            }
        }
    }

    async fn first(&self) -> Result<Option<Delivery>, CatalogueError> {
        let (catalogue, key) = (self.catalogue.clone(), self.key.clone());
        tokio::task::spawn_blocking(move || catalogue.first_delivery(&key)).await.unwrap_or(Ok(None))
    }

    /// Waits as long as was said when the last try failed, but not for a clock that was set back.
    async fn wait_for_turn(&self, delivery: &Delivery) {
        let wait_s = u64::try_from(delivery.next_try_at_s - unix_s()).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(wait_s).min(self.pace.longest * 2)).await;
    }

    /// Tries once, and notes what came of it.
    async fn deliver(&self, delivery: &Delivery) {
        let (counter, change) = match self.attempt(delivery).await {
            Ok(()) => (&self.counters.delivered, Change::RemoveDeliveries(vec![delivery.number])),
            Err(failed) => self.handle_failed(delivery, &failed),
        };
        while let Err(error) = self.catalogue.apply(vec![change.clone()]).await {
            tracing::warn!(%error, "webhook: cannot keep what became of a message");
            if !error.may_pass() {
                return tokio::time::sleep(CATALOGUE_RETRY).await;
            }
            tokio::time::sleep(CATALOGUE_RETRY).await;
        }
        counter.fetch_add(1, Relaxed);
    }

    fn handle_failed(&self, delivery: &Delivery, failed: &Failed) -> (&AtomicU64, Change) {
        let attempts = delivery.attempts.saturating_add(1);
        let (url, reason, event) = (&self.hook.url, &failed.reason, &delivery.event);
        if attempts >= self.hook.attempts {
            tracing::error!(%url, attempts, event, reason, "webhook: a message was given up");
            return (&self.counters.given_up, Change::RemoveDeliveries(vec![delivery.number]));
        }
        let wait = failed.retry_after.unwrap_or_else(|| back_off(self.pace, attempts, random_half()));
        tracing::warn!(%url, attempts, event, reason, again_in_s = wait.as_secs(), "webhook: not taken");
        let next_try_at_s = unix_s().saturating_add(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
        (&self.counters.failed_tries, Change::DeliveryFailed { number: delivery.number, attempts, next_try_at_s })
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), Failed> {
        let failed = |reason: String| Failed { reason, retry_after: None };
        let secret = self.secret().await.map_err(failed)?;
        let headers = headers(delivery, secret.as_deref()).map_err(|error| failed(error.to_string()))?;
        let request = WebRequest {
            url: self.hook.url.url(),
            // The operator wrote it: it may well be a program on this host.
            reach: Scope::Host,
            headers,
            limit_bytes: ANSWER_BYTES,
            timeout: self.hook.timeout.duration(),
        };
        let answer = self.clients.post(request, delivery.body.clone()).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        let said: String =
            String::from_utf8_lossy(&answer.body).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
        let retry_after = match answer.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => self.asked_for(&answer.headers),
            _ => None,
        };
        Err(Failed { reason: format!("HTTP status {} {said}", answer.status).trim_end().to_owned(), retry_after })
    }

    /// The wait that the target asks for, within what we would wait at most.
    fn asked_for(&self, headers: &HeaderMap) -> Option<Duration> {
        let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(self.pace.longest))
    }

    /// Read for every try, so that it can be changed without a reload; nothing goes out unsigned that should be signed.
    async fn secret(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(path) = &self.hook.secret_file {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
            return read.map_err(|_| "stopped".to_owned())?.map(Some);
        }
        Ok(self.hook.secret.as_ref().map(|secret| secret.expose().as_bytes().to_vec()))
    }
}

fn headers(delivery: &Delivery, secret: Option<&[u8]>) -> Result<HeaderMap, InvalidHeaderValue> {
    let timestamp_s = unix_s();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-spillway-event", HeaderValue::from_str(&delivery.event)?);
    headers.insert("x-spillway-delivery", HeaderValue::from(delivery.number.0));
    headers.insert("x-spillway-timestamp", HeaderValue::from(timestamp_s));
    if let Some(signature) = secret.and_then(|secret| sign(secret, timestamp_s, &delivery.body)) {
        headers.insert("x-spillway-signature", HeaderValue::from_str(&signature)?);
    }
    Ok(headers)
}

fn read_secret(path: &std::path::Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| format!("secret_file {}: {error}", path.display());
    let mut secret = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut secret).map_err(failed)?;
    // Editors end a file with a line's end.
    let length = secret.trim_ascii_end().len();
    secret.truncate(length);
    match secret.len() {
        1..=SECRET_BYTES => Ok(secret),
        0 => Err(format!("secret_file {}: is empty", path.display())),
        _ => Err(format!("secret_file {}: is longer than {SECRET_BYTES} bytes", path.display())),
    }
}

/// The wait after so many tries in a row: doubled each time, and spread by a quarter to each side, so that targets which
/// failed together are not asked together.
fn back_off(pace: Pace, attempts: u32, half: f64) -> Duration {
    let doubled = pace.first.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    doubled.min(pace.longest).mul_f64(0.75 + half)
}

/// From 0 to a half.
fn random_half() -> f64 {
    let mut byte = [0];
    // Without randomness the waits are not spread, which is all.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 512.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_tries_last_for_hours_and_are_spread() {
        let total =
            |half: f64| -> u64 { (1..12).map(|attempt| back_off(super::super::PACE, attempt, half).as_secs()).sum() };
        assert!((3 * 3600..5 * 3600).contains(&total(0.25)), "{}", total(0.25));
        assert!(total(0.0) < total(0.5));
        assert_eq!(back_off(super::super::PACE, u32::MAX, 0.25), Duration::from_secs(2 * 3600));
    }

    #[test]
    fn a_secret_ends_where_its_line_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hush hush\n").unwrap();
        assert_eq!(read_secret(&path).unwrap(), b"hush hush");
        for bad in [&b"\n"[..], &[b'x'; SECRET_BYTES + 1]] {
            std::fs::write(&path, bad).unwrap();
            assert!(read_secret(&path).is_err());
        }
    }
}
