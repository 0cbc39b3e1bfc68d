//! Reads a feed: RSS 2.0 (and its elders), Atom (RFC 4287), with torrents as enclosures or links, and magnet links wherever
//! they stand: in enclosures, links, ids, and in elements of the `torrent:` namespace (BEP 36, ezRSS).
//!
//! The bytes are a stranger's. quick-xml's reader gives one token after the other: entities that the document defines are
//! never expanded, nothing is fetched, nothing recurses; what is kept of a document is bounded below. Elements are told by
//! their names without prefixes, since feeds name their namespaces as they like.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use url::Url;

/// The longest feed that is read.
pub(super) const FEED_BYTES_MAX: usize = 8 << 20;

/// Items that are looked at; more are a feed's past.
pub(super) const ITEMS_MAX: usize = 5_000;

/// How deep elements may nest.
const DEPTH_MAX: usize = 64;

/// The longest text of an element; the rest is passed over. A magnet link is as long as it may be anywhere.
const TEXT_BYTES_MAX: usize = metainfo::limits::MAX_MAGNET_BYTES;

/// The longest title that is kept.
const TITLE_CHARS_MAX: usize = 500;

/// Links that are looked at in one item.
const LINKS_MAX: usize = 64;

const TORRENT_TYPE: &str = "application/x-bittorrent";

/// One item of a feed that names a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// What tells it from others of the feed: its guid or id, else its link, else where its torrent is.
    pub(super) id: String,
    /// Its title, in one line.
    pub(super) title: String,
    /// Where its torrent is.
    pub(super) source: Source,
    /// How large its content is, if the feed says.
    pub(super) content_bytes: Option<u64>,
}

/// Where a torrent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A torrent file.
    File(Url),
    /// A magnet link.
    Magnet(String),
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// Its items in its order, the newest first as a rule.
    pub(super) items: Vec<Item>,
    /// Items that name no torrent.
    pub(super) without_torrent: usize,
    /// There were more than are looked at.
    pub(super) is_cut: bool,
}

/// Why it is no feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DocumentError {
    /// Not well-formed.
    #[error("no XML: {0}")]
    Malformed(String),
    /// Neither RSS nor Atom.
    #[error("no feed: it begins with <{0}>")]
    NoFeed(String),
    /// Nothing but white space.
    #[error("the feed is empty")]
    Empty,
    /// Elements nest deeper than in any feed.
    #[error("elements nest deeper than {DEPTH_MAX}")]
    TooDeep,
}

/// Reads a feed that was found at `base`.
pub(super) fn read(bytes: &[u8], base: &Url) -> Result<Document, DocumentError> {
    // Titles of other encodings suffer; links are ASCII.
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut reading =
        Reading { base, open: Vec::new(), draft: None, text: String::new(), document: Document::default() };
    let mut has_root = false;
    loop {
        let event = reader.read_event().map_err(|error| DocumentError::Malformed(error.to_string()))?;
        match event {
            Event::Start(start) => {
                reading.handle_start(&start, &mut has_root)?;
            }
            Event::Empty(start) => {
                reading.handle_start(&start, &mut has_root)?;
                reading.handle_end();
            }
            Event::End(_) => reading.handle_end(),
            Event::Text(text) => reading.add_text(&text.xml10_content()),
            Event::CData(text) => reading.add_text(&text.xml10_content()),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(character)) => reading.add_text(character.encode_utf8(&mut [0; 4])),
                // What only the document itself defines is left out.
                _ => reading.add_text(resolve_predefined_entity(&name).unwrap_or_default()),
            },
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match (has_root, reading.open.is_empty()) {
        (false, _) => Err(DocumentError::Empty),
        (true, false) => Err(DocumentError::Malformed("it ends before its end".to_owned())),
        (true, true) => Ok(reading.document),
    }
}

/// Where the reading is.
struct Reading<'a> {
    base: &'a Url,
    /// The elements that are open, by their names.
    open: Vec<String>,
    /// The item that is open, and how many elements were when it began.
    draft: Option<(Draft, usize)>,
    /// Of the innermost element.
    text: String,
    document: Document,
}

/// An item as far as it was read.
#[derive(Default)]
struct Draft {
    id: String,
    title: String,
    link: String,
    /// Enclosures and links, with their types.
    links: Vec<(String, String)>,
    magnet: String,
    info_hash: String,
    content_bytes: Option<u64>,
}

impl Reading<'_> {
    fn handle_start(&mut self, start: &BytesStart<'_>, has_root: &mut bool) -> Result<(), DocumentError> {
        let name = start.local_name().into_inner();
        if !std::mem::replace(has_root, true) && !matches!(name, "rss" | "RDF" | "feed") {
            return Err(DocumentError::NoFeed(name.chars().take(40).collect()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(DocumentError::TooDeep);
        }
        self.open.push(name.to_owned());
        self.text.clear();
        match &mut self.draft {
            None if matches!(name, "item" | "entry") => {
                if self.document.items.len() >= ITEMS_MAX {
                    self.document.is_cut = true;
                } else {
                    self.draft = Some((Draft::default(), self.open.len()));
                }
            }
            Some((draft, _)) if matches!(name, "enclosure" | "link" | "content") => draft.add_link(name, start),
            _ => {}
        }
        Ok(())
    }

    fn add_text(&mut self, text: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn handle_end(&mut self) {
        let Some(name) = self.open.pop() else { return };
        let text = std::mem::take(&mut self.text);
        let Some((draft, depth)) = &mut self.draft else { return };
        let (depth, open) = (*depth, self.open.len());
        if open == depth {
            draft.set(&name, text.trim());
        } else if open > depth {
            // Within `<torrent>` or an extension's own element: only what cannot be anything else.
            draft.set_extension(&name, text.trim());
        } else if let Some((draft, _)) = self.draft.take() {
            match draft.finish(self.base) {
                Some(item) => self.document.items.push(item),
                None => self.document.without_torrent += 1,
            }
        }
    }
}

impl Draft {
    fn add_link(&mut self, name: &str, start: &BytesStart<'_>) {
        // `url` in RSS and its media extension, `href` and `src` in Atom.
        let [url, href, src, rel, media] = attributes(start, ["url", "href", "src", "rel", "type"]);
        let Some(url) = url.or(href).or(src) else { return };
        let rel = rel.unwrap_or_default();
        if self.links.len() >= LINKS_MAX
            || url.len() > TEXT_BYTES_MAX
            || !matches!(&*rel, "" | "alternate" | "enclosure")
        {
            return;
        }
        if name == "link" && rel != "enclosure" && self.link.is_empty() {
            self.link.clone_from(&url);
        }
        self.links.push((url, media.unwrap_or_default()));
    }

    fn set(&mut self, name: &str, text: &str) {
        match name {
            "guid" | "id" => text.clone_into(&mut self.id),
            "title" if self.title.is_empty() => text.clone_into(&mut self.title),
            "link" if !text.is_empty() => {
                text.clone_into(&mut self.link);
                if self.links.len() < LINKS_MAX {
                    self.links.push((text.to_owned(), String::new()));
                }
            }
            _ => self.set_extension(name, text),
        }
    }

    fn set_extension(&mut self, name: &str, text: &str) {
        match name {
            "magnetURI" => text.clone_into(&mut self.magnet),
            "infoHash" => text.clone_into(&mut self.info_hash),
            "contentLength" => self.content_bytes = text.parse().ok(),
            _ => {}
        }
    }

    fn finish(self, base: &Url) -> Option<Item> {
        let source = self.source(base)?;
        let place = match &source {
            Source::File(url) => url.as_str(),
            Source::Magnet(link) => link,
        };
        let id = [&*self.id, &*self.link, place].into_iter().find(|id| !id.is_empty())?.to_owned();
        let title: Vec<&str> = self.title.split_whitespace().collect();
        let title: String = title.join(" ").chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
        Some(Item { id, title, source, content_bytes: self.content_bytes })
    }

    /// A torrent file if there is one: it says more than a link, and at once.
    fn source(&self, base: &Url) -> Option<Source> {
        let file = |(url, media): &(String, String)| {
            let url = base.join(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
            let is_torrent =
                media.eq_ignore_ascii_case(TORRENT_TYPE) || url.path().to_lowercase().ends_with(".torrent");
            is_torrent.then_some(Source::File(url))
        };
        let magnet = |link: &str| is_magnet(link).then(|| Source::Magnet(link.to_owned()));
        let links = || self.links.iter();
        let by_hash = || match self.info_hash.len() {
            40 if self.info_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Some(Source::Magnet(format!("magnet:?xt=urn:btih:{}", self.info_hash)))
            }
            _ => None,
        };
        links()
            .find_map(file)
            .or_else(|| magnet(&self.magnet))
            .or_else(|| links().find_map(|(url, _)| magnet(url)))
            .or_else(|| magnet(&self.id))
            .or_else(by_hash)
    }
}

/// The first attribute of each of these names, in one pass: an element may have a million. That no name comes twice is not
/// checked, since that compares each with all before it.
fn attributes<const COUNT: usize>(start: &BytesStart<'_>, wanted: [&str; COUNT]) -> [Option<String>; COUNT] {
    let mut found = [const { None }; COUNT];
    for attribute in start.attributes().with_checks(false).flatten() {
        let name = attribute.key.local_name().into_inner();
        if let Some(at) = wanted.iter().position(|wanted| *wanted == name).filter(|at| found[*at].is_none()) {
            found[at] = Some(attribute);
        }
    }
    found.map(|attribute| {
        let value = attribute?.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some(value.trim().to_owned())
    })
}

fn is_magnet(link: &str) -> bool {
    link.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:?"))
}

#[cfg(test)]
mod tests;
