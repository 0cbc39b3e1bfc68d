//! Asking for a feed: only for what is new since the last time, and less often while that fails.

use std::time::Duration;

use catalogue::FeedState;
use control::web_client::{Scope, WebAnswer, WebClients, WebRequest};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use reqwest::header::{LAST_MODIFIED, RETRY_AFTER};
use settings::Subscribe;

use super::document::{self, Document, FEED_BYTES_MAX};
use crate::clock::unix_s;

/// How long a feed may take to come.
const FEED_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the first wait after a failure is at most; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait after failures, unless the feed is read less often anyway.
const LAST_RETRY: Duration = Duration::from_secs(2 * 3600);

/// The longest mark of a server that is kept.
const MARK_BYTES_MAX: usize = 1024;

/// What a server said.
pub(super) enum Polled {
    /// Nothing is new.
    NotModified(Scope),
    /// A feed.
    Read {
        document: Document,
        /// To be kept with what is in it.
        state: FeedState,
        /// Where the server stands: what it names may lead no further in.
        scope: Scope,
    },
}

/// Why there is no feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PollError {
    pub(super) reason: String,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

/// Asks once. `state` is what was kept of the last time.
pub(super) async fn poll(
    clients: &WebClients,
    settings: &Subscribe,
    state: Option<&FeedState>,
) -> Result<Polled, PollError> {
    // Marks are of the URL that gave them.
    let state = state.filter(|state| state.url == key(settings));
    let request = WebRequest {
        url: settings.feed.url(),
        reach: Scope::Host,
        headers: headers(state),
        limit_bytes: FEED_BYTES_MAX,
        timeout: FEED_TIMEOUT,
    };
    let answer = clients.get(request).await.map_err(|error| PollError::because(&error))?;
    match answer.status {
        StatusCode::NOT_MODIFIED => Ok(Polled::NotModified(answer.scope)),
        status if status.is_success() => {
            let (state, scope) = (state_of(settings, &answer), answer.scope);
            // A large feed takes its time, of which a stranger decides; meanwhile the service does its work.
            let read = tokio::task::spawn_blocking(move || document::read(&answer.body, &answer.url));
            let document = read.await.map_err(|error| PollError::because(&error))?;
            let document = document.map_err(|error| PollError::because(&error))?;
            Ok(Polled::Read { document, state, scope })
        }
        status => Err(PollError { reason: format!("HTTP status {status}"), retry_after: retry_after(&answer.headers) }),
    }
}

/// What stands for a feed's URL in the catalogue: the URL itself may hold a password.
pub(super) fn key(settings: &Subscribe) -> String {
    hash::sha256(settings.feed.as_str().as_bytes()).to_string()
}

fn headers(state: Option<&FeedState>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let accepted = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5";
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    let mut insert = |name: HeaderName, mark: Option<&String>| {
        if let Some(value) = mark.and_then(|mark| HeaderValue::from_str(mark).ok()) {
            headers.insert(name, value);
        }
    };
    insert(IF_NONE_MATCH, state.and_then(|state| state.etag.as_ref()));
    insert(IF_MODIFIED_SINCE, state.and_then(|state| state.last_modified.as_ref()));
    headers
}

fn state_of(settings: &Subscribe, answer: &WebAnswer) -> FeedState {
    let mark = |name| {
        let value = answer.headers.get(name)?.to_str().ok()?;
        (value.len() <= MARK_BYTES_MAX).then(|| value.to_owned())
    };
    FeedState {
        name: settings.name.clone(),
        url: key(settings),
        etag: mark(ETAG),
        last_modified: mark(LAST_MODIFIED),
        polled_at_s: Some(unix_s()),
    }
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LAST_RETRY))
}

impl PollError {
    fn because(error: &dyn std::error::Error) -> PollError {
        PollError { reason: error.to_string(), retry_after: None }
    }
}

/// How long until the feed is asked for again, after so many failures in a row. `spread` is from 0 to 1: mirrors that were
/// started together do not ask together.
pub(super) fn wait(interval: Duration, failures: u32, retry_after: Option<Duration>, spread: f64) -> Duration {
    let base = match failures {
        0 => interval,
        _ => {
            let first = interval.min(FIRST_RETRY);
            first.saturating_mul(1 << (failures - 1).min(20)).min(LAST_RETRY.max(interval))
        }
    };
    base.max(retry_after.unwrap_or_default()).mul_f64(0.9 + 0.2 * spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_that_fails_is_asked_soon_again_and_then_less_and_less_often() {
        let half_an_hour = Duration::from_secs(1800);
        let waits: Vec<u64> = (0..10).map(|failures| wait(half_an_hour, failures, None, 0.5).as_secs()).collect();
        assert_eq!(waits, [1800, 60, 120, 240, 480, 960, 1920, 3840, 7200, 7200]);
        assert_eq!(wait(half_an_hour, u32::MAX, None, 0.5), LAST_RETRY);
        // One that is read once a day is not asked for more than that in the end.
        let day = Duration::from_secs(86_400);
        assert_eq!(wait(day, 30, None, 0.5), day);
        assert!(wait(half_an_hour, 0, None, 0.0) < wait(half_an_hour, 0, None, 1.0));
        assert_eq!(wait(half_an_hour, 1, Some(LAST_RETRY), 0.5), LAST_RETRY);
    }
}
