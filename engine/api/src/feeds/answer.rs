//! What a request for a feed is answered: all of it, packed or not, or that the reader has it.

use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, VARY,
};
use hyper::{Response, StatusCode};

use super::{Board, Rendered};
use crate::etag;
use crate::server::{Body, Count};

/// Answers a request for `/feeds/FILE_NAME`; `None` if there is no such feed.
pub(crate) fn respond(board: &Board, file_name: &str, headers: &HeaderMap) -> Option<(Response<Body>, Count)> {
    let feed = board.find(file_name)?;
    Some(feed.answer(headers, SystemTime::now()))
}

impl Rendered {
    /// Everything here is shared or static: an answer costs the table of its headers.
    pub(super) fn answer(&self, headers: &HeaderMap, now: SystemTime) -> (Response<Body>, Count) {
        let packed = self.packed.as_ref().filter(|_| etag::takes_gzip(headers));
        let variant = packed.unwrap_or(&self.plain);
        let changed_at_s = etag::settled(self.changed_at_s, now);
        let is_known = etag::is_known(headers, &variant.etag, changed_at_s);
        let mut response = Response::new(if is_known { Body::empty() } else { Body::whole(variant.bytes.clone()) });
        let fields = response.headers_mut();
        fields.insert(ETAG, variant.etag.clone());
        fields.insert(CACHE_CONTROL, self.cache_control.clone());
        if changed_at_s.is_some() {
            fields.insert(LAST_MODIFIED, self.last_modified.clone());
        }
        if self.packed.is_some() {
            fields.insert(VARY, ACCEPT_ENCODING.into());
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return (response, Count::NotModified);
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if packed.is_some() {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        (response, Count::Feeds)
    }
}
