//! Whether an answer to a range request is what was asked for. Pure: status and headers in, verdict out.

use std::ops::Range;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};

/// How much of a whole file is thrown away to get at the bytes that were asked for, from a server that knows no ranges. So
/// small files are had, and the beginnings of large ones.
pub(super) const MAX_DISCARDED_BYTES: u64 = 1 << 20;

/// What the body holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Body {
    /// Bytes before those that were asked for.
    pub(super) discarded_bytes: u64,
    /// Bytes of those that were asked for: all, or the first of them.
    pub(super) wanted_bytes: u64,
    /// Whether nothing comes behind them, so that the connection can be used again.
    pub(super) ends_there: bool,
}

/// Why an answer is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The file is not there, is another one, or is sent in a way that nobody can use.
    File(String),
    /// The server may do better later.
    Later(String, Option<Duration>),
    /// The server will not do better.
    Server(String),
}

/// Judges the answer to a request for the bytes `wanted` (not none) of a file of `file_length` bytes.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: Range<u64>,
    file_length: u64,
) -> Result<Body, Refusal> {
    if status.is_success() {
        // Bytes that are packed are not the file's, and ranges of them are ranges of something else.
        let is_packed = |encoding: &HeaderValue| {
            let name = encoding.as_bytes().trim_ascii();
            !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")
        };
        if headers.get_all(CONTENT_ENCODING).iter().any(is_packed) {
            return Err(Refusal::File("the server packs the file".to_owned()));
        }
    }
    match status {
        StatusCode::PARTIAL_CONTENT => judge_range(headers, wanted, file_length),
        StatusCode::OK => judge_whole(headers, wanted, file_length),
        _ => Err(judge_failure(status, headers)),
    }
}

fn judge_range(headers: &HeaderMap, wanted: Range<u64>, file_length: u64) -> Result<Body, Refusal> {
    let wrong = |what: &str| Refusal::Later(format!("the server sent {what}"), None);
    let field = text(headers, CONTENT_RANGE).ok_or_else(|| wrong("a part of the file without saying which"))?;
    let (range, total) = parse_content_range(field).ok_or_else(|| wrong("a Content-Range that makes no sense"))?;
    if let Some(total) = total.filter(|total| *total != file_length) {
        return Err(Refusal::File(format!("the file has {total} bytes there, not {file_length}")));
    }
    // A server may send less than was asked for (RFC 9110, 15.3.7), but nothing else.
    if range.start != wanted.start || range.end > wanted.end {
        return Err(wrong("another part of the file than was asked for"));
    }
    let wanted_bytes = range.end - range.start;
    if content_length(headers).is_some_and(|length| length != wanted_bytes) {
        return Err(wrong("another number of bytes than its Content-Range says"));
    }
    Ok(Body { discarded_bytes: 0, wanted_bytes, ends_there: true })
}

fn judge_whole(headers: &HeaderMap, wanted: Range<u64>, file_length: u64) -> Result<Body, Refusal> {
    if let Some(length) = content_length(headers).filter(|length| *length != file_length) {
        return Err(Refusal::File(format!("the file has {length} bytes there, not {file_length}")));
    }
    if wanted.start > MAX_DISCARDED_BYTES {
        return Err(Refusal::File("the server knows no ranges".to_owned()));
    }
    Ok(Body {
        discarded_bytes: wanted.start,
        wanted_bytes: wanted.end - wanted.start,
        ends_there: wanted.end == file_length,
    })
}

fn judge_failure(status: StatusCode, headers: &HeaderMap) -> Refusal {
    let why = format!("HTTP status {}", status.as_u16());
    match status.as_u16() {
        401 | 407 => Refusal::Server(why),
        416 => Refusal::File("the file is shorter there".to_owned()),
        408 | 421 | 425 | 429 | 500.. => Refusal::Later(why, retry_after(headers)),
        300..=499 => Refusal::File(why),
        _ => Refusal::Later(why, None),
    }
}

/// `bytes 0-99/1234`, or with a `*` for a length that is not known.
fn parse_content_range(field: &str) -> Option<(Range<u64>, Option<u64>)> {
    let unit = field.get(..6).filter(|unit| unit.eq_ignore_ascii_case("bytes "));
    let (range, total) = unit.and(field.get(6..))?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let total = if total == "*" { None } else { Some(digits(total)?) };
    let end = last.checked_add(1)?;
    (first <= last && total.is_none_or(|total| end <= total)).then_some((first..end, total))
}

/// Seconds. A date, which RFC 9110 allows too, is as good as nothing: our own back-off serves.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, RETRY_AFTER).and_then(digits).map(Duration::from_secs)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH).and_then(digits)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number without a sign, which `parse` would take.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 10_000_000;

    fn judged(status: u16, headers: &[(&'static str, &str)], wanted: Range<u64>) -> Result<Body, Refusal> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        judge(StatusCode::from_u16(status).unwrap(), &headers, wanted, LENGTH)
    }

    fn partial(field: &str) -> Result<Body, Refusal> {
        judged(206, &[("content-range", field)], 100..200)
    }

    #[test]
    fn the_range_that_was_asked_for_is_taken_and_so_is_its_beginning() {
        let body = |wanted_bytes| Ok(Body { discarded_bytes: 0, wanted_bytes, ends_there: true });
        assert_eq!(partial("bytes 100-199/10000000"), body(100));
        assert_eq!(partial("Bytes 100-199/*"), body(100));
        assert_eq!(partial("bytes 100-100/10000000"), body(1));
        let headers = [("content-range", "bytes 100-199/*"), ("content-length", "100")];
        assert_eq!(judged(206, &headers, 100..200), body(100));
    }

    #[test]
    fn another_range_is_not_taken() {
        for field in [
            "bytes 0-199/10000000",
            "bytes 101-199/10000000",
            "bytes 100-200/10000000",
            "bytes 199-100/10000000",
            "bytes 100-199/150",
            "bytes 100-18446744073709551615/*",
            "bytes +100-199/*",
            "bytes */10000000",
            "100-199/10000000",
            "octets 100-199/*",
            "",
        ] {
            assert!(matches!(partial(field), Err(Refusal::Later(..))), "{field}");
        }
        assert!(matches!(judged(206, &[], 100..200), Err(Refusal::Later(..))));
        let short = [("content-range", "bytes 100-199/*"), ("content-length", "99")];
        assert!(matches!(judged(206, &short, 100..200), Err(Refusal::Later(..))));
    }

    #[test]
    fn a_file_of_another_length_is_another_file() {
        assert!(matches!(partial("bytes 100-199/10000001"), Err(Refusal::File(_))));
        assert!(matches!(judged(200, &[("content-length", "512")], 0..100), Err(Refusal::File(_))));
        assert!(matches!(judged(416, &[], 0..100), Err(Refusal::File(_))));
    }

    #[test]
    fn a_whole_file_serves_if_little_of_it_is_in_the_way() {
        let whole = |wanted| judged(200, &[], wanted);
        let body = |discarded_bytes, wanted_bytes, ends_there| Ok(Body { discarded_bytes, wanted_bytes, ends_there });
        assert_eq!(whole(0..LENGTH), body(0, LENGTH, true));
        assert_eq!(whole(0..100), body(0, 100, false));
        assert_eq!(whole(MAX_DISCARDED_BYTES..LENGTH), body(MAX_DISCARDED_BYTES, LENGTH - MAX_DISCARDED_BYTES, true));
        assert!(matches!(whole(MAX_DISCARDED_BYTES + 1..LENGTH), Err(Refusal::File(_))));
    }

    #[test]
    fn packed_bytes_are_not_the_files() {
        for status in [200, 206] {
            let headers = [("content-encoding", "gzip"), ("content-range", "bytes 0-99/*")];
            assert!(matches!(judged(status, &headers, 0..100), Err(Refusal::File(_))));
        }
        assert!(judged(200, &[("content-encoding", "Identity")], 0..100).is_ok());
    }

    #[test]
    fn a_status_says_whether_the_file_the_moment_or_the_server_is_wrong() {
        let failed = |status, headers: &[(&'static str, &str)]| judged(status, headers, 0..100).unwrap_err();
        for status in [400, 403, 404, 410, 451, 304] {
            assert_eq!(failed(status, &[]), Refusal::File(format!("HTTP status {status}")));
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 204, 599] {
            assert_eq!(failed(status, &[]), Refusal::Later(format!("HTTP status {status}"), None));
        }
        assert_eq!(failed(401, &[]), Refusal::Server("HTTP status 401".into()));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(failed(503, &[("retry-after", "60")]), Refusal::Later("HTTP status 503".into(), minute));
        for unclear in ["-1", "soon", "Sun, 06 Nov 1994 08:49:37 GMT", "99999999999999999999999"] {
            assert_eq!(failed(429, &[("retry-after", unclear)]), Refusal::Later("HTTP status 429".into(), None));
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_more_of_a_body_than_was_asked_for(
            status in 200u16..600, field in "bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20}|\\*)", length in "[ -~]{0,20}",
            start in 0..LENGTH, size in 1..LENGTH,
        ) {
            let wanted = start..(start + size).min(LENGTH);
            let headers = [("content-range", field.as_str()), ("content-length", length.as_str())];
            if let Ok(body) = judged(status, &headers, wanted.clone()) {
                prop_assert!(body.wanted_bytes >= 1 && body.wanted_bytes <= wanted.end - wanted.start);
                prop_assert!(body.discarded_bytes <= MAX_DISCARDED_BYTES);
            }
        }
    }
}
