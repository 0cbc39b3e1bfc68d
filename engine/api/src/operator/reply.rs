//! Answers and errors as HTTP and JSON, and long lists that are written page by page as the service tells them.

use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::queue::Queue;
use super::route::Listing;
use super::types::{Caller, ErrorCode, OperatorAnswer, OperatorError, OperatorReply, Paging};
use crate::server::{Body, Broken};

/// Rows that are asked of the service at once: a few hundred kilobytes, and a millisecond of its time.
pub(super) const PAGE_ROWS: usize = 500;
/// Pages that wait for a client that reads slowly.
const PAGES_AHEAD: usize = 1;

/// An answer of one piece.
pub(super) fn answer(reply: OperatorReply) -> Response<Body> {
    match reply.and_then(|answer| json(&answer)) {
        Ok(body) => respond(StatusCode::OK, body),
        Err(error) => refusal(&error),
    }
}

/// An error with its status.
pub(super) fn refusal(error: &OperatorError) -> Response<Body> {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        error: &'a OperatorError,
    }
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, line(&Wrapped { error }).unwrap_or_default());
    let headers = response.headers_mut();
    match (error.code, error.hint.as_deref().and_then(|hint| hint.strip_prefix("it takes "))) {
        (ErrorCode::MethodNotAllowed, Some(methods)) => {
            headers.extend(HeaderValue::from_str(methods).ok().map(|value| (ALLOW, value)));
        }
        // What is left of the request is not read.
        (ErrorCode::TooLarge, _) => _ = headers.insert(CONNECTION, HeaderValue::from_static("close")),
        _ => {}
    }
    response
}

/// A list, as one object with all its rows or as many as were asked for. The first page decides the status; if a later one
/// fails, the connection is cut, so that nobody takes the list for whole.
pub(super) async fn list(queue: Queue, caller: Caller, listing: Listing, paging: Paging) -> Response<Body> {
    let mut pages = Pages {
        queue,
        caller,
        listing,
        after: paging.after,
        rows_left: paging.limit,
        is_begun: false,
        has_rows: false,
    };
    let mut first = match pages.next().await {
        Ok(page) => page,
        Err(error) => return refusal(&error),
    };
    if first.is_last {
        return respond(StatusCode::OK, std::mem::take(&mut first.bytes));
    }
    let (sender, body) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let mut page = Ok(first);
        loop {
            let (part, is_last) = match page {
                Ok(page) => (Ok(Bytes::from(page.bytes)), page.is_last),
                Err(error) => {
                    tracing::warn!(%error, "a list could not be finished");
                    (Err(Broken), true)
                }
            };
            // Whoever hung up wants no more pages.
            if sender.send(part).await.is_err() || is_last {
                return;
            }
            page = pages.next().await;
        }
    });
    respond(StatusCode::OK, Body::Stream(body))
}

struct Pages {
    queue: Queue,
    caller: Caller,
    listing: Listing,
    after: Option<u64>,
    rows_left: Option<usize>,
    is_begun: bool,
    has_rows: bool,
}

struct Page {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Pages {
    /// The next piece of the object.
    async fn next(&mut self) -> Result<Page, OperatorError> {
        let limit = self.rows_left.unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        let request = self.listing.page(Paging { after: self.after, limit: Some(limit) });
        let (key, rows, next_after) = rows(self.queue.ask(request, self.caller).await?)?;
        if rows.len() > limit || next_after.is_some_and(|next| self.after.is_some_and(|after| next <= after)) {
            return Err(OperatorError::new(ErrorCode::Failed, "the service told a page that was not asked for"));
        }
        self.after = next_after;
        self.rows_left = self.rows_left.map(|left| left - rows.len());
        let is_last = next_after.is_none() || self.rows_left == Some(0);
        let mut bytes = Vec::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            bytes.extend(format!("{{\"{key}\":[").as_bytes());
        }
        for row in rows {
            if std::mem::replace(&mut self.has_rows, true) {
                bytes.extend(b",\n");
            }
            bytes.extend(row);
        }
        if is_last {
            let next = next_after.map_or_else(|| "null".to_owned(), |next| next.to_string());
            bytes.extend(format!("],\"next_after\":{next}}}\n").as_bytes());
        }
        Ok(Page { bytes, is_last })
    }
}

type Rows = (&'static str, Vec<Vec<u8>>, Option<u64>);

/// The rows of a page, each as JSON, and the name of their list.
fn rows(answer: OperatorAnswer) -> Result<Rows, OperatorError> {
    Ok(match answer {
        OperatorAnswer::Torrents(page) => ("torrents", each(&page.torrents)?, page.next_after),
        OperatorAnswer::Releases(page) => ("releases", each(&page.releases)?, page.next_after),
        OperatorAnswer::Files(page) => ("files", each(&page.files)?, page.next_after),
        _ => return Err(OperatorError::new(ErrorCode::Failed, "the service answered something else")),
    })
}

fn each<T: Serialize>(rows: &[T]) -> Result<Vec<Vec<u8>>, OperatorError> {
    rows.iter().map(|row| serde_json::to_vec(row).map_err(failed)).collect()
}

fn json(answer: &OperatorAnswer) -> Result<Vec<u8>, OperatorError> {
    match answer {
        OperatorAnswer::Torrents(page) => line(page),
        OperatorAnswer::Torrent(torrent) => line(torrent),
        OperatorAnswer::Peers(page) => line(page),
        OperatorAnswer::Trackers(page) => line(page),
        OperatorAnswer::Files(page) => line(page),
        OperatorAnswer::Done(done) => line(done),
        OperatorAnswer::Stats(stats) => line(stats),
        OperatorAnswer::Reloaded(reloaded) => line(reloaded),
        OperatorAnswer::Releases(page) => line(page),
        OperatorAnswer::Rescanning(rescanning) => line(rescanning),
        OperatorAnswer::Version(version) => line(version),
    }
}

/// JSON with a line feed, for terminals.
fn line(value: &impl Serialize) -> Result<Vec<u8>, OperatorError> {
    let mut bytes = serde_json::to_vec(value).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: serde_json::Error) -> OperatorError {
    OperatorError::new(ErrorCode::Failed, format!("the answer cannot be written: {error}"))
}

fn respond(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
