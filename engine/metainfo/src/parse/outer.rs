//! What stands around `info`: trackers, web seeds, notes for people. Nothing here makes a torrent unusable, so what is not
//! understood is left out.

use bencode::{Dict, Value};

use super::field::text;
use crate::limits::{MAX_TRACKERS, MAX_URL_BYTES, MAX_WEB_SEEDS};
use crate::torrent::Outer;

/// Reads the fields around `info`.
pub(super) fn read(top: Dict<'_>, is_single_file: bool) -> Outer {
    let [announce, announce_list, url_list, http_seeds, comment, comment_utf8, created_by, created_by_utf8, date] = top
        .get_all([
            "announce",
            "announce-list",
            "url-list",
            "httpseeds",
            "comment",
            "comment.utf-8",
            "created by",
            "created by.utf-8",
            "creation date",
        ]);
    Outer {
        trackers: trackers(announce, announce_list),
        web_seeds: web_seeds(url_list, is_single_file),
        http_seeds: urls(http_seeds, MAX_WEB_SEEDS),
        comment: text(comment_utf8).or_else(|| text(comment)),
        created_by: text(created_by_utf8).or_else(|| text(created_by)),
        creation_date: date.and_then(|value| value.as_int()).filter(|date| *date >= 0),
    }
}

/// The tiers of BEP 12 without duplicates and empty tiers; `announce` goes in front where no tier has it.
fn trackers(announce: Option<Value<'_>>, announce_list: Option<Value<'_>>) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    let mut tiers = Vec::new();
    for tier in announce_list.and_then(|value| value.as_list()).into_iter().flatten() {
        let mut urls = urls(Some(tier), MAX_TRACKERS - seen.len());
        urls.retain(|url| !seen.contains(url));
        seen.extend(urls.iter().cloned());
        if !urls.is_empty() {
            tiers.push(urls);
        }
        if seen.len() >= MAX_TRACKERS {
            break;
        }
    }
    let mut announce = urls(announce, MAX_TRACKERS);
    announce.retain(|url| !seen.contains(url));
    if !announce.is_empty() {
        tiers.insert(0, announce);
    }
    tiers
}

/// Web seeds; in a multi-file torrent the path of a file is appended to them, so they end in a slash (mktorrent leaves it
/// out).
fn web_seeds(url_list: Option<Value<'_>>, is_single_file: bool) -> Vec<String> {
    let mut urls = urls(url_list, MAX_WEB_SEEDS);
    for url in urls.iter_mut().filter(|url| !is_single_file && !url.ends_with('/')) {
        url.push('/');
    }
    urls
}

/// A string, or the strings of a list, as URLs: trimmed, each once, without empty ones and without those that are no text or
/// too long.
fn urls(value: Option<Value<'_>>, most: usize) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let Some(value) = value else { return urls };
    let one = value.as_bytes().is_some().then_some(value);
    for item in one.into_iter().chain(value.as_list().into_iter().flatten()) {
        let Some(url) = item.as_str().map(str::trim) else { continue };
        let is_usable = !url.is_empty() && url.len() <= MAX_URL_BYTES && !url.contains(char::is_control);
        if urls.len() < most && is_usable && !urls.iter().any(|known| known == url) {
            urls.push(url.to_owned());
        }
    }
    urls
}
