//! Which path leads where, and what is refused whatever the path.

use std::net::IpAddr;
use std::sync::Arc;

use control::tracker_service::{TrackerService, read_path};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::connection::Answer;
use super::counters::{Count, Tally};
use super::limits::HttpLimits;
use crate::feeds::{self, Board};
use crate::releases::{self, ReleaseFiles, Shelf};
use crate::tracker_route;

/// What is answered on a listener. `/healthz` always is: status 200 and `ok`, for whoever watches from outside.
#[derive(Clone, Default)]
pub struct Routes {
    /// `/announce` and `/scrape`, and both behind a key: `/KEY/announce`.
    pub tracker: Option<TrackerService>,
    /// `/feeds/NAME.rss` and `/feeds/NAME.atom`.
    pub feeds: Option<Arc<Board>>,
    /// `/releases/INFO-HASH/NAME.torrent`, `.magnet`, `.meta4` and `.sha256`.
    pub releases: Option<Arc<dyn ReleaseFiles>>,
}

/// The routes of one listener.
pub(super) struct Site {
    tracker: Option<TrackerService>,
    feeds: Option<Arc<Board>>,
    releases: Option<Shelf>,
    tally: Tally,
    limits: HttpLimits,
}

/// A site as one client reaches it.
#[derive(Clone)]
pub(super) struct Visit {
    site: Arc<Site>,
    from: IpAddr,
    local: Option<IpAddr>,
}

impl Site {
    pub(super) fn new(routes: Routes, tally: Tally, limits: HttpLimits) -> Site {
        let Routes { tracker, feeds, releases } = routes;
        Site { tracker, feeds, releases: releases.map(Shelf::new), tally, limits }
    }

    pub(super) fn at(self: &Arc<Site>, from: IpAddr, local: Option<IpAddr>) -> Visit {
        Visit { site: Arc::clone(self), from, local }
    }
}

impl Answer for Visit {
    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let (response, count) = match refusal(&request) {
            Some(refused) => refused,
            None => self.route(&request).await,
        };
        self.site.tally.count(count);
        response
    }
}

impl Visit {
    async fn route(&self, request: &Request<Incoming>) -> (Response<Body>, Count) {
        let path = request.uri().path();
        if let Some(tracker) = &self.site.tracker
            && let Some(asked) = read_path(path)
        {
            let source = tracker_route::source(request, self.from, self.local, self.site.limits.trust_loopback);
            let query = request.uri().query().unwrap_or_default().as_bytes();
            return tracker_route::respond(asked, query, source, tracker);
        }
        if let Some(board) = &self.site.feeds
            && let Some(file_name) = path.strip_prefix("/feeds/")
            && let Some(answer) = feeds::respond(board, file_name, request.headers())
        {
            return answer;
        }
        if let Some(shelf) = &self.site.releases
            && let Some(rest) = path.strip_prefix("/releases/")
        {
            return releases::respond(shelf, rest, request.headers()).await;
        }
        match path {
            "/healthz" => (plain(StatusCode::OK, "ok\n"), Count::HealthChecks),
            _ => (plain(StatusCode::NOT_FOUND, self.what_there_is()), Count::NotFound),
        }
    }

    fn what_there_is(&self) -> &'static str {
        match (&self.site.tracker, &self.site.feeds) {
            (Some(_), None) => "This is a BitTorrent tracker: /announce and /scrape\n",
            (Some(_), Some(_)) => "This is a BitTorrent tracker with feeds: /announce, /scrape and /feeds/\n",
            (None, _) => "There is nothing here\n",
        }
    }
}

/// Why a request is not even looked at.
fn refusal(request: &Request<Incoming>) -> Option<(Response<Body>, Count)> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Some((response, Count::MethodRefused));
    }
    if !request.body().is_end_stream() {
        // It is not read: what follows on this connection would be taken for a request.
        let mut response = plain(StatusCode::PAYLOAD_TOO_LARGE, "A request has no body here\n");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Some((response, Count::BodyRefused));
    }
    None
}

/// An answer in plain text.
pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
