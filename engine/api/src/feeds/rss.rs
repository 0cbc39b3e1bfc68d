//! RSS 2.0 with torrents as enclosures (BEP 36), and what podcast clients look for beside.

use std::io;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::MAX_FEED_BYTES;
use super::item::{FeedHead, FeedItem, Podcast};
use super::xml::Xml;
use crate::releases::{ReleaseFile, ReleaseKey, path};

const ATOM: &str = "http://www.w3.org/2005/Atom";
/// The namespace that BEP 36 names.
const TORRENT: &str = "http://xmlns.ezrss.it/0.1/";
const ITUNES: &str = "http://www.itunes.com/dtds/podcast-1.0.dtd";
const GENERATOR: &str = concat!("Spillway ", env!("CARGO_PKG_VERSION"));

/// The feed's bytes and how many items they hold.
pub(super) fn render(
    head: &FeedHead,
    items: &[FeedItem],
    base_url: &str,
    self_url: &str,
) -> io::Result<(Vec<u8>, usize)> {
    let mut xml = Xml::new()?;
    let mut namespaces = vec![("version", "2.0"), ("xmlns:atom", ATOM), ("xmlns:torrent", TORRENT)];
    if head.podcast.is_some() {
        namespaces.push(("xmlns:itunes", ITUNES));
    }
    xml.open("rss", &namespaces)?;
    xml.open("channel", &[])?;
    channel(&mut xml, head, self_url)?;
    let mut item_count = 0;
    for one in items {
        if xml.size_bytes() > MAX_FEED_BYTES {
            break;
        }
        item(&mut xml, one, head.podcast.is_some(), base_url)?;
        item_count += 1;
    }
    xml.close("channel")?;
    xml.close("rss")?;
    Ok((xml.finish(), item_count))
}

fn channel(xml: &mut Xml, head: &FeedHead, self_url: &str) -> io::Result<()> {
    xml.text("title", &head.title)?;
    xml.text("link", head.page_url.as_deref().unwrap_or(self_url))?;
    xml.text("description", &head.description)?;
    if let Some(language) = &head.language {
        xml.text("language", language)?;
    }
    xml.empty("atom:link", &[("rel", "self"), ("href", self_url), ("type", "application/rss+xml")])?;
    xml.text("generator", GENERATOR)?;
    // In minutes, and none would mean "ask always".
    xml.text("ttl", &head.max_age_s.div_ceil(60).max(1).to_string())?;
    match &head.podcast {
        Some(podcast) => itunes(xml, head, podcast),
        None => Ok(()),
    }
}

fn itunes(xml: &mut Xml, head: &FeedHead, podcast: &Podcast) -> io::Result<()> {
    xml.text("itunes:author", head.author.as_deref().unwrap_or(&head.title))?;
    xml.text("itunes:explicit", if podcast.is_explicit { "true" } else { "false" })?;
    if let Some(category) = &podcast.category {
        xml.empty("itunes:category", &[("text", category)])?;
    }
    if let Some(image_url) = &podcast.image_url {
        xml.empty("itunes:image", &[("href", image_url)])?;
    }
    Ok(())
}

fn item(xml: &mut Xml, item: &FeedItem, is_podcast: bool, base_url: &str) -> io::Result<()> {
    let torrent_url = format!("{base_url}{}", path(item.key, &item.name, ReleaseFile::Torrent));
    xml.open("item", &[])?;
    xml.text("title", &item.title)?;
    xml.text("link", item.page_url.as_deref().unwrap_or(&torrent_url))?;
    if !item.description.is_empty() {
        xml.text("description", &item.description)?;
    }
    xml.exact("guid", &[("isPermaLink", "false")], &item.guid())?;
    if let Some(date) = date(item.published_at_s) {
        xml.exact("pubDate", &[], &date)?;
    }
    let length = item.torrent_bytes.to_string();
    let enclosure = [("url", torrent_url.as_str()), ("length", &length), ("type", "application/x-bittorrent")];
    xml.empty("enclosure", &enclosure)?;
    xml.exact("torrent:fileName", &[], &item.name)?;
    xml.exact("torrent:contentLength", &[], &item.content_bytes.to_string())?;
    // Readers take it for 40 digits.
    if let ReleaseKey::V1(hash) = item.key {
        xml.exact("torrent:infoHash", &[], &hash.to_string())?;
    }
    xml.exact("torrent:magnetURI", &[], &item.magnet)?;
    if is_podcast {
        xml.text("itunes:title", &item.title)?;
        if !item.description.is_empty() {
            xml.text("itunes:summary", &item.description)?;
        }
    }
    xml.close("item")
}

/// A time that has no year of four digits has no date.
fn date(at_s: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(at_s).ok()?.format(&Rfc2822).ok()
}
