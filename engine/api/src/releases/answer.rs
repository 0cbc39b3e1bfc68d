//! What a request for a release's file is answered.

use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::shelf::{Held, NotHeld, Shelf};
use super::{ReleaseFile, ReleaseKey};
use crate::etag;
use crate::server::{Body, Count};

/// What an extended parameter may say as it is (RFC 8187, section 3.2.1).
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A withdrawn release must not be handed out by caches for long.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Answers a request for `/releases/REST`.
pub(crate) async fn respond(shelf: &Shelf, rest: &str, headers: &HeaderMap) -> (Response<Body>, Count) {
    let Some((key, name, file)) = parse(rest) else { return not_found() };
    match shelf.take(key, file).await {
        // One URL for one thing.
        Ok(held) if held.name == name => found(&held, file, headers),
        Ok(_) | Err(NotHeld::NotFound) => not_found(),
        Err(NotHeld::Busy) => {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Too much is being sent; try again\n");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            (response, Count::ReleasesBusy)
        }
        Err(NotHeld::Failed(error)) => {
            tracing::warn!(release = %key, file = file.extension(), %error, "a file of a release cannot be handed out");
            (
                plain(StatusCode::INTERNAL_SERVER_ERROR, "This file cannot be read at the moment\n"),
                Count::ReleasesFailed,
            )
        }
    }
}

/// `INFO-HASH/NAME.EXTENSION` with the name unescaped.
fn parse(rest: &str) -> Option<(ReleaseKey, String, ReleaseFile)> {
    let (key, file_name) = rest.split_once('/')?;
    let (name, extension) = file_name.rsplit_once('.')?;
    let file = ReleaseFile::ALL.into_iter().find(|file| file.extension() == extension)?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    Some((key.parse().ok()?, name, file))
}

fn found(held: &std::sync::Arc<Held>, file: ReleaseFile, headers: &HeaderMap) -> (Response<Body>, Count) {
    let is_known = etag::is_known(headers, &held.etag, None);
    let mut response = Response::new(if is_known { Body::empty() } else { Body::whole(held.lend()) });
    let fields = response.headers_mut();
    fields.insert(ETAG, held.etag.clone());
    fields.insert(CACHE_CONTROL, CACHING);
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return (response, Count::NotModified);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::try_from(disposition(&format!("{}.{}", held.name, file.extension()))) {
        fields.insert(CONTENT_DISPOSITION, value);
    }
    (response, Count::Releases)
}

/// Under which name the file is saved (RFC 6266): for old clients what of it is plain ASCII, for others all of it.
fn disposition(file_name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '+');
    let plain: String = file_name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(file_name, PARAMETER))
}

fn not_found() -> (Response<Body>, Count) {
    (plain(StatusCode::NOT_FOUND, "There is no such file\n"), Count::NotFound)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    crate::server::plain(status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_leave_the_header_nor_the_folder_that_it_is_saved_in() {
        assert_eq!(
            disposition("../a\"; x=\r\nb é.torrent"),
            "attachment; filename=\".._a__ x___b _.torrent\"; \
             filename*=UTF-8''..%2Fa%22%3B%20x%3D%0D%0Ab%20%C3%A9.torrent"
        );
        assert!(HeaderValue::try_from(disposition("\u{0}\u{7f}\u{2028}.torrent")).is_ok());
    }

    #[test]
    fn what_is_no_file_of_a_release_is_no_path() {
        let hash = "ab".repeat(20);
        let parsed = parse(&format!("{hash}/a.b%2F%20.torrent")).unwrap();
        assert_eq!((parsed.1.as_str(), parsed.2), ("a.b/ ", ReleaseFile::Torrent));
        for rest in [
            hash.clone(),
            format!("{hash}/"),
            format!("{hash}/a"),
            format!("{hash}/a.iso"),
            format!("{hash}/%ff.torrent"),
            format!("x{hash}/a.torrent"),
            "/a.torrent".to_owned(),
        ] {
            assert_eq!(parse(&rest), None, "{rest}");
        }
    }
}
