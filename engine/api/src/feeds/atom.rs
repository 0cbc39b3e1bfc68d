//! Atom (RFC 4287) with torrents, and Metalink files where there are any, as enclosures.

use std::io;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::MAX_FEED_BYTES;
use super::item::{FeedHead, FeedItem};
use super::xml::Xml;
use crate::releases::{ReleaseFile, path};

const ATOM: &str = "http://www.w3.org/2005/Atom";

/// The feed's bytes and how many items they hold.
pub(super) fn render(
    head: &FeedHead,
    items: &[FeedItem],
    base_url: &str,
    self_url: &str,
) -> io::Result<(Vec<u8>, usize)> {
    let mut xml = Xml::new()?;
    let language = head.language.as_deref().map(|language| ("xml:lang", language));
    let attributes: Vec<_> = [("xmlns", ATOM)].into_iter().chain(language).collect();
    xml.open("feed", &attributes)?;
    // The address is the one thing of a feed that its readers must know again anyway.
    xml.text("id", self_url)?;
    xml.text("title", &head.title)?;
    xml.text("subtitle", &head.description)?;
    // The newest: a date that moves by itself would make every start a change.
    xml.exact("updated", &[], &date(items.first().map_or(0, |item| item.published_at_s)))?;
    xml.open("author", &[])?;
    xml.text("name", head.author.as_deref().unwrap_or(&head.title))?;
    xml.close("author")?;
    xml.empty("link", &[("rel", "self"), ("href", self_url), ("type", "application/atom+xml")])?;
    if let Some(page_url) = &head.page_url {
        xml.empty("link", &[("rel", "alternate"), ("href", page_url)])?;
    }
    xml.exact("generator", &[("version", env!("CARGO_PKG_VERSION"))], "Spillway")?;
    let mut item_count = 0;
    for item in items {
        if xml.size_bytes() > MAX_FEED_BYTES {
            break;
        }
        entry(&mut xml, item, base_url)?;
        item_count += 1;
    }
    xml.close("feed")?;
    Ok((xml.finish(), item_count))
}

fn entry(xml: &mut Xml, item: &FeedItem, base_url: &str) -> io::Result<()> {
    let torrent_url = format!("{base_url}{}", path(item.key, &item.name, ReleaseFile::Torrent));
    let published = date(item.published_at_s);
    xml.open("entry", &[])?;
    xml.text("id", &item.guid())?;
    xml.text("title", &item.title)?;
    xml.exact("updated", &[], &published)?;
    xml.exact("published", &[], &published)?;
    // An entry without content must have one (section 4.1.2).
    xml.empty("link", &[("rel", "alternate"), ("href", item.page_url.as_deref().unwrap_or(&torrent_url))])?;
    enclosure(xml, &torrent_url, ReleaseFile::Torrent, item.torrent_bytes)?;
    if let Some(size_bytes) = item.metalink_bytes {
        let url = format!("{base_url}{}", path(item.key, &item.name, ReleaseFile::Metalink));
        enclosure(xml, &url, ReleaseFile::Metalink, size_bytes)?;
    }
    xml.empty("link", &[("rel", "related"), ("href", &item.magnet), ("title", "magnet")])?;
    if !item.description.is_empty() {
        xml.text("summary", &item.description)?;
    }
    xml.close("entry")
}

fn enclosure(xml: &mut Xml, url: &str, file: ReleaseFile, size_bytes: u64) -> io::Result<()> {
    let length = size_bytes.to_string();
    xml.empty("link", &[("rel", "enclosure"), ("href", url), ("type", file.media_type()), ("length", &length)])
}

/// There must be a date; what has no year of four digits gets the first of all.
fn date(at_s: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}
