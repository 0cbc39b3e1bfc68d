//! Strong validators, and the conditions that requests make on them (RFC 9110, sections 8.8 and 13): pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};

/// Half of a SHA-256 is plenty where nobody gains by a collision of his own making.
const TAG_BYTES: usize = 16;

/// The strong tag of what has these bytes, or of another form of it that `suffix` tells apart.
pub(crate) fn of(bytes: &[u8], suffix: &str) -> HeaderValue {
    let digest = hash::sha256(bytes).to_string();
    let text = format!("\"{}{suffix}\"", digest.get(..2 * TAG_BYTES).unwrap_or(&digest));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client has what we would send: 304 (RFC 9110, section 13.2.2). `changed_at_s` is when it became what it is,
/// `None` if that must not be relied upon.
pub(crate) fn is_known(headers: &HeaderMap, etag: &HeaderValue, changed_at_s: Option<u64>) -> bool {
    let mut tags = headers.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        // A date beside it is for those who know no tags.
        return tags.any(|list| lists(list.as_bytes(), etag.as_bytes()));
    }
    let since = headers.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
    match (since, changed_at_s) {
        (Some(since), Some(changed_at_s)) => UNIX_EPOCH + Duration::from_secs(changed_at_s) <= since,
        _ => false,
    }
}

/// A change may be followed by another in the same second, and both would have one date. Until that second is over there
/// is no date to rely upon.
pub(crate) fn settled(changed_at_s: u64, now: SystemTime) -> Option<u64> {
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (changed_at_s < now_s).then_some(changed_at_s)
}

/// Whether a list of tags, or `*`, names this one by weak comparison (RFC 9110, section 8.8.3.2).
fn lists(mut list: &[u8], etag: &[u8]) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    loop {
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let Some(start) = list.iter().position(|byte| !is_between(byte)) else { return false };
        let tag = list.get(start..).unwrap_or_default();
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        // What is no tag ends the list: nothing behind it can be told apart.
        let Some(opaque) = tag.strip_prefix(b"\"") else { return false };
        let Some(size) = opaque.iter().position(|byte| *byte == b'"') else { return false };
        let (tag, rest) = tag.split_at(size + 2);
        if tag == etag {
            return true;
        }
        list = rest;
    }
}

/// Whether the client takes gzip (RFC 9110, section 12.5.3).
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let (name, takes) = (name.trim(), !is_zero(parameters));
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                return takes;
            }
            any |= name == "*" && takes;
        }
    }
    any
}

/// `q=0`, `q=0.`, `q=0.000`: not wanted.
fn is_zero(parameters: &str) -> bool {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    weight.is_some_and(|weight| weight.starts_with('0') && weight.bytes().all(|digit| matches!(digit, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(hyper::header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_list_of_tags_is_compared_weakly() {
        let etag = HeaderValue::from_static("\"ab\"");
        let known = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
            is_known(&headers(&lines), &etag, None)
        };
        for lines in [
            &["\"ab\""][..],
            &["W/\"ab\""],
            &["*"],
            &[" * "],
            &["\"x\", \"ab\""],
            &["W/\"a,b\",W/\"ab\" , \"y\""],
            &["\"x\"", "\"ab\""],
            &[",, \"ab\""],
        ] {
            assert!(known(lines), "{lines:?}");
        }
        for lines in [&["\"abc\""][..], &["ab"], &["\"ab"], &[""], &["w/\"ab\""], &["\"x\" ab \"ab\""], &["\"*\""]] {
            assert!(!known(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_date_counts_only_without_tags_and_when_it_can_be_relied_upon() {
        let etag = HeaderValue::from_static("\"ab\"");
        let date = |value| ("if-modified-since", value);
        let at_784111777 = "Sun, 06 Nov 1994 08:49:37 GMT";
        let known = |lines: &[(&str, &str)], changed_at_s| is_known(&headers(lines), &etag, changed_at_s);
        assert!(known(&[date(at_784111777)], Some(784_111_777)));
        assert!(known(&[date("Sunday, 06-Nov-94 08:49:37 GMT")], Some(784_111_777)), "the old form of RFC 850");
        assert!(known(&[date(at_784111777)], Some(784_111_000)));
        assert!(!known(&[date(at_784111777)], Some(784_111_778)));
        assert!(!known(&[date(at_784111777)], None));
        assert!(!known(&[date("yesterday")], Some(0)));
        assert!(!known(&[date(at_784111777), ("if-none-match", "\"x\"")], Some(0)));
        assert!(known(&[date("yesterday"), ("if-none-match", "\"ab\"")], None));
        assert!(!known(&[], Some(0)));
    }

    #[test]
    fn a_second_that_is_not_over_has_no_date() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(settled(5, at(5_999)), None);
        assert_eq!(settled(5, at(6_000)), Some(5));
        assert_eq!(settled(9, at(6_000)), None, "a clock that went back");
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |value: &str| takes_gzip(&headers(&[("accept-encoding", value)]));
        for value in
            ["gzip", "GZIP", "deflate, gzip;q=0.5", "br;q=1, x-gzip", "*", "identity, *;q=0.1", "gzip; Q=0.001"]
        {
            assert!(takes(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip;q=0.000, *", "identity", "*;q=0", "gzipped"] {
            assert!(!takes(value), "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
