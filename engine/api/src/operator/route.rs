//! From a request line and a body to what the operator asks for: pure.

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::types::{
    AddTorrent, ErrorCode, ListTorrents, OperatorError, OperatorRequest, Paging, Remove, TorrentFilter, TorrentRef,
};

/// What a path leads to, before the body is read.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Route {
    /// All is said.
    Ready(OperatorRequest),
    /// A list, by pages.
    List(Listing, Paging),
    /// The body says what.
    Body(Verb),
}

/// What can be listed by pages.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Listing {
    Torrents(TorrentFilter),
    Files(TorrentRef),
    Releases,
}

/// What is done with a body.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Verb {
    Add,
    Recheck(TorrentRef),
    Limit(TorrentRef),
    Move(TorrentRef),
    Rescan,
}

impl Listing {
    /// The request for one page.
    pub(super) fn page(&self, paging: Paging) -> OperatorRequest {
        match self {
            Listing::Torrents(filter) => OperatorRequest::List(ListTorrents { filter: filter.clone(), paging }),
            Listing::Files(torrent) => OperatorRequest::Files(torrent.clone(), paging),
            Listing::Releases => OperatorRequest::Releases(paging),
        }
    }
}

impl Verb {
    /// The request that the body makes of it. A body that is left out is an empty object.
    pub(super) fn read(self, body: &[u8]) -> Result<OperatorRequest, OperatorError> {
        Ok(match self {
            Verb::Add => OperatorRequest::Add(Box::new(json::<AddTorrent>(body)?)),
            Verb::Recheck(torrent) => OperatorRequest::Recheck(torrent, json(body)?),
            Verb::Limit(torrent) => OperatorRequest::Limit(torrent, json(body)?),
            Verb::Move(torrent) => OperatorRequest::Move(torrent, json(body)?),
            Verb::Rescan => OperatorRequest::Rescan(json(body)?),
        })
    }
}

/// Finds out what is asked for; the error of a wrong method names those that are right.
pub(super) fn route(method: &Method, path: &str, query: &str) -> Result<Route, OperatorError> {
    let mut query = Query::new(query);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let route = match parts.as_slice() {
        ["v1", "torrents"] => match *method {
            Method::GET => {
                let filter = TorrentFilter {
                    state: query.word("state")?,
                    group: query.take("group"),
                    origin: query.take("origin"),
                    name: query.take("name"),
                    active: query.word("active")?,
                };
                Route::List(Listing::Torrents(filter), query.paging()?)
            }
            Method::POST => Route::Body(Verb::Add),
            _ => return Err(wrong_method(method, "GET, POST")),
        },
        ["v1", "torrents", id] => match *method {
            Method::GET => Route::Ready(OperatorRequest::Show(torrent(id)?)),
            Method::DELETE => {
                let delete_content = query.word("delete_content")?.unwrap_or(false);
                Route::Ready(OperatorRequest::Remove(torrent(id)?, Remove { delete_content }))
            }
            _ => return Err(wrong_method(method, "GET, DELETE")),
        },
        ["v1", "torrents", id, what @ ("peers" | "trackers" | "files")] => {
            allow(method, &Method::GET)?;
            match *what {
                "peers" => Route::Ready(OperatorRequest::Peers(torrent(id)?)),
                "trackers" => Route::Ready(OperatorRequest::Trackers(torrent(id)?)),
                _ => Route::List(Listing::Files(torrent(id)?), query.paging()?),
            }
        }
        ["v1", "torrents", id, verb] => {
            let torrent = torrent(id)?;
            let route = match *verb {
                "start" => Route::Ready(OperatorRequest::Start(torrent)),
                "stop" => Route::Ready(OperatorRequest::Stop(torrent)),
                "announce" => Route::Ready(OperatorRequest::Announce(torrent)),
                "recheck" => Route::Body(Verb::Recheck(torrent)),
                "limit" => Route::Body(Verb::Limit(torrent)),
                "move" => Route::Body(Verb::Move(torrent)),
                _ => return Err(no_path(path)),
            };
            allow(method, &Method::POST)?;
            route
        }
        ["v1", "stats"] => only(method, &Method::GET, Route::Ready(OperatorRequest::Stats))?,
        ["v1", "version"] => only(method, &Method::GET, Route::Ready(OperatorRequest::Version))?,
        ["v1", "reload"] => only(method, &Method::POST, Route::Ready(OperatorRequest::Reload))?,
        ["v1", "releases"] => only(method, &Method::GET, Route::List(Listing::Releases, query.paging()?))?,
        ["v1", "releases", "rescan"] => only(method, &Method::POST, Route::Body(Verb::Rescan))?,
        _ => return Err(no_path(path)),
    };
    query.finish()?;
    Ok(route)
}

fn only(method: &Method, right: &Method, route: Route) -> Result<Route, OperatorError> {
    allow(method, right).map(|()| route)
}

fn allow(method: &Method, right: &Method) -> Result<(), OperatorError> {
    if method == right { Ok(()) } else { Err(wrong_method(method, right.as_str())) }
}

fn wrong_method(method: &Method, right: &str) -> OperatorError {
    OperatorError::new(ErrorCode::MethodNotAllowed, format!("this path does not take {method}"))
        .hint(format!("it takes {right}"))
}

fn no_path(path: &str) -> OperatorError {
    OperatorError::new(ErrorCode::NotFound, format!("there is no {path}"))
        .hint("paths begin with /v1/torrents, /v1/releases, /v1/stats, /v1/reload or /v1/version")
}

fn torrent(part: &str) -> Result<TorrentRef, OperatorError> {
    let text = percent_decode_str(part).decode_utf8();
    let text = text.map_err(|_| OperatorError::new(ErrorCode::Malformed, "a torrent's name is not UTF-8"))?;
    Ok(TorrentRef(text.into_owned()))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, OperatorError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| OperatorError::new(ErrorCode::Malformed, format!("the body: {error}")))
}

/// What stands behind the `?`. A key that nobody takes is a mistake that somebody should know of.
struct Query {
    pairs: Vec<(String, String)>,
}

/// More keys than there are.
const MAX_PAIRS: usize = 32;

impl Query {
    fn new(text: &str) -> Query {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned().take(MAX_PAIRS).collect();
        Query { pairs }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// A number or one of a few words, as JSON would have it.
    fn word<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, OperatorError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let value = serde_json::from_str(&text).or_else(|_| serde_json::from_value(text.as_str().into()));
        let wrong = |error| OperatorError::new(ErrorCode::Malformed, format!("{name}={text}: {error}"));
        value.map(Some).map_err(wrong)
    }

    fn paging(&mut self) -> Result<Paging, OperatorError> {
        Ok(Paging { after: self.word("after")?, limit: self.word("limit")? })
    }

    fn finish(self) -> Result<(), OperatorError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => {
                Err(OperatorError::new(ErrorCode::Malformed, format!("{key}: this path has no such key")))
            }
        }
    }
}

#[cfg(test)]
mod tests;
