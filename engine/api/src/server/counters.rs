//! What a server has answered and refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use control::tracker_service::TrackerService;

/// One thing that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Count {
    Connections,
    Requests,
    Announces,
    Scrapes,
    Feeds,
    Releases,
    HealthChecks,
    NotModified,
    NotFound,
    TooManyConnections,
    TooManyFromAddress,
    AcceptFailed,
    HeadTooLong,
    NotHttp,
    NoRequestInTime,
    TlsFailed,
    Stalled,
    BodyRefused,
    MethodRefused,
    ReleasesBusy,
    ReleasesFailed,
}

/// In the order of the enum.
const NAMES: [&str; 21] = [
    "connections",
    "requests",
    "announces",
    "scrapes",
    "feeds",
    "releases",
    "health_checks",
    "not_modified",
    "not_found",
    "too_many_connections",
    "too_many_from_address",
    "accept_failed",
    "head_too_long",
    "not_http",
    "no_request_in_time",
    "tls_failed",
    "stalled",
    "body_refused",
    "method_refused",
    "releases_busy",
    "releases_failed",
];

/// What a server has answered and refused since it started; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct HttpCounters([AtomicU64; NAMES.len()]);

/// The counters at one moment: names that stay, and how often.
pub type HttpStatus = Vec<(&'static str, u64)>;

impl HttpCounters {
    /// All of them, those that are zero included.
    pub fn status(&self) -> HttpStatus {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Relaxed))).collect()
    }
}

/// Counts for one listener. What strangers do wrong where a tracker answers is counted there, too.
#[derive(Clone)]
pub(crate) struct Tally {
    counters: Arc<HttpCounters>,
    tracker: Option<TrackerService>,
}

impl Tally {
    pub(crate) fn new(counters: Arc<HttpCounters>, tracker: Option<TrackerService>) -> Tally {
        Tally { counters, tracker }
    }

    pub(crate) fn count(&self, count: Count) {
        let Some((counter, name)) = self.counters.0.get(count as usize).zip(NAMES.get(count as usize)) else { return };
        counter.fetch_add(1, Relaxed);
        if let Some(tracker) = self.tracker.as_ref().filter(|_| count.is_misconduct()) {
            tracker.count_malformed(name);
        }
    }
}

impl Count {
    /// Whether somebody, or the lack of room for him, ended a connection before there was a request.
    fn is_misconduct(self) -> bool {
        matches!(
            self,
            Count::TooManyConnections
                | Count::TooManyFromAddress
                | Count::AcceptFailed
                | Count::HeadTooLong
                | Count::NotHttp
                | Count::NoRequestInTime
                | Count::TlsFailed
                | Count::Stalled
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_belong_together() {
        let tally = Tally::new(Arc::default(), None);
        tally.count(Count::Connections);
        tally.count(Count::ReleasesFailed);
        tally.count(Count::NotHttp);
        let counted: Vec<_> = tally.counters.status().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("connections", 1), ("not_http", 1), ("releases_failed", 1)]);
        assert_eq!(Count::ReleasesFailed as usize + 1, NAMES.len());
    }
}
