//! The feeds: what they say, rendered once for each change and handed out as it is. What is published, and when, is for
//! whoever sets them; requests are answered in `answer`.

mod answer;
mod atom;
mod item;
mod rss;
mod xml;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use hyper::header::HeaderValue;

pub(crate) use answer::respond;
pub use item::{FeedHead, FeedItem, Podcast};

use crate::etag;

/// Feeds at once; each costs its rendered bytes four times (RSS and Atom, packed and not).
pub const MAX_FEEDS: usize = 256;
/// Items of one feed, whatever its head says.
pub const MAX_ITEMS: usize = 1000;
/// One rendered feed. Items that would go beyond, the oldest, are left out.
pub const MAX_FEED_BYTES: usize = 8 << 20;
/// Smaller feeds fit one packet or two, packed or not.
const MIN_PACKED_BYTES: usize = 1024;

/// The feeds as they are handed out. Shared by whoever sets them and all listeners; neither waits for the other longer
/// than a pointer takes to be swapped.
pub struct Board {
    base_url: RwLock<Arc<str>>,
    feeds: RwLock<Arc<Feeds>>,
}

/// By the last part of their path, `NAME.rss` and `NAME.atom`.
type Feeds = HashMap<String, Arc<Rendered>>;

/// What setting a feed came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedUpdate {
    /// Items in the feed.
    pub item_count: usize,
    /// Older items that it has no room for.
    pub left_out_count: usize,
    /// Whether subscribers see any difference.
    pub is_changed: bool,
}

/// Why a feed cannot be set. The fault is that of the settings.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Its name is no part of a path.
    #[error("feed {0:?}: a name has letters, digits, '.', '_' and '-' and does not begin with '.'")]
    Name(String),
    /// There are too many.
    #[error("more than {MAX_FEEDS} feeds")]
    TooMany,
    /// It could not be rendered.
    #[error("feed {name:?} cannot be rendered: {source}")]
    Render {
        /// Which one.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// One feed in one format.
pub(crate) struct Rendered {
    plain: Variant,
    packed: Option<Variant>,
    content_type: &'static str,
    cache_control: HeaderValue,
    /// When the content became what it is, in whole seconds since 1970.
    changed_at_s: u64,
    last_modified: HeaderValue,
}

struct Variant {
    bytes: Bytes,
    etag: HeaderValue,
}

/// A feed's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedFormat {
    /// RSS 2.0.
    Rss,
    /// Atom (RFC 4287).
    Atom,
}

impl FeedFormat {
    const ALL: [FeedFormat; 2] = [FeedFormat::Rss, FeedFormat::Atom];

    fn extension(self) -> &'static str {
        match self {
            FeedFormat::Rss => "rss",
            FeedFormat::Atom => "atom",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            FeedFormat::Rss => "application/rss+xml; charset=utf-8",
            FeedFormat::Atom => "application/atom+xml; charset=utf-8",
        }
    }
}

impl Board {
    /// A board without feeds. `base_url` is where others reach the listener that shows it, for example
    /// `https://torrents.example.org`; every URL in the feeds begins with it.
    pub fn new(base_url: &str) -> Board {
        Board { base_url: RwLock::new(base_url.trim_end_matches('/').into()), feeds: RwLock::default() }
    }

    /// Where others reach the listener that shows it, without a slash at the end.
    pub fn base_url(&self) -> Arc<str> {
        Arc::clone(&self.base_url.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where others reach it from now on: in each feed that is set after this.
    pub fn set_base_url(&self, base_url: &str) {
        *self.base_url.write().unwrap_or_else(PoisonError::into_inner) = base_url.trim_end_matches('/').into();
    }

    /// Where others find a feed.
    pub fn url(&self, name: &str, format: FeedFormat) -> String {
        format!("{}/feeds/{name}.{}", self.base_url(), format.extension())
    }

    /// Makes `items`, in any order, what the feed says. Costs a rendering of all of them; not for the thread that
    /// answers requests if they are many. What subscribers see stays untouched, validators and all, if the result is the same.
    pub fn set(&self, head: &FeedHead, mut items: Vec<FeedItem>) -> Result<FeedUpdate, FeedError> {
        if !is_name(&head.name) {
            return Err(FeedError::Name(head.name.clone()));
        }
        items.sort_by(|a, b| b.published_at_s.cmp(&a.published_at_s).then_with(|| a.guid().cmp(&b.guid())));
        let given_count = items.len();
        items.truncate(head.max_items.min(MAX_ITEMS));
        let old = self.feeds();
        let mut update = FeedUpdate { item_count: items.len(), left_out_count: 0, is_changed: false };
        let mut rendered = Vec::new();
        for format in FeedFormat::ALL {
            let render = || self.render(head, &items, format);
            let (body, item_count) =
                render().map_err(|source| FeedError::Render { name: head.name.clone(), source })?;
            update.item_count = update.item_count.min(item_count);
            let path = format!("{}.{}", head.name, format.extension());
            let before = old.get(&path);
            let now = Rendered::new(body, head, format, before)
                .map_err(|source| FeedError::Render { name: head.name.clone(), source })?;
            update.is_changed |= before.is_none_or(|before| before.plain.etag != now.plain.etag);
            rendered.push((path, Arc::new(now)));
        }
        update.left_out_count = given_count - update.item_count;
        self.swap(|feeds| {
            feeds.extend(rendered);
            if feeds.len() > MAX_FEEDS * FeedFormat::ALL.len() { Err(FeedError::TooMany) } else { Ok(()) }
        })?;
        Ok(update)
    }

    /// Takes a feed away; says whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let mut was_there = false;
        let removed: Result<(), FeedError> = self.swap(|feeds| {
            for format in FeedFormat::ALL {
                was_there |= feeds.remove(&format!("{name}.{}", format.extension())).is_some();
            }
            Ok(())
        });
        removed.is_ok() && was_there
    }

    /// The names of the feeds, sorted.
    pub fn names(&self) -> Vec<String> {
        let feeds = self.feeds();
        let mut names: Vec<String> =
            feeds.keys().filter_map(|path| path.strip_suffix(".rss")).map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// The feed whose path ends like this.
    pub(crate) fn find(&self, file_name: &str) -> Option<Arc<Rendered>> {
        self.feeds.read().unwrap_or_else(PoisonError::into_inner).get(file_name).cloned()
    }

    fn feeds(&self) -> Arc<Feeds> {
        Arc::clone(&self.feeds.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the feeds by a changed copy. The map holds pointers: copying it is little.
    fn swap(&self, change: impl FnOnce(&mut Feeds) -> Result<(), FeedError>) -> Result<(), FeedError> {
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Feeds::clone(&feeds);
        change(&mut changed)?;
        *feeds = Arc::new(changed);
        Ok(())
    }

    /// The feed's bytes and how many items they hold.
    fn render(&self, head: &FeedHead, items: &[FeedItem], format: FeedFormat) -> io::Result<(Vec<u8>, usize)> {
        let (base_url, self_url) = (self.base_url(), self.url(&head.name, format));
        match format {
            FeedFormat::Rss => rss::render(head, items, &base_url, &self_url),
            FeedFormat::Atom => atom::render(head, items, &base_url, &self_url),
        }
    }
}

impl Rendered {
    fn new(body: Vec<u8>, head: &FeedHead, format: FeedFormat, before: Option<&Arc<Rendered>>) -> io::Result<Rendered> {
        let (tag, packed_tag) = (etag::of(&body, ""), etag::of(&body, "-gzip"));
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let changed_at_s = match before {
            Some(before) if before.plain.etag == tag => before.changed_at_s,
            // A clock that went back must not make what is new look older than what it replaces.
            Some(before) => now_s.max(before.changed_at_s),
            None => now_s,
        };
        let packed = if body.len() < MIN_PACKED_BYTES { None } else { Some(pack(&body)?) };
        Ok(Rendered {
            plain: Variant { bytes: body.into(), etag: tag },
            packed: packed.map(|bytes| Variant { bytes, etag: packed_tag }),
            content_type: format.content_type(),
            cache_control: header(format!("public, max-age={}", head.max_age_s)),
            changed_at_s,
            last_modified: header(httpdate::fmt_http_date(UNIX_EPOCH + std::time::Duration::from_secs(changed_at_s))),
        })
    }
}

/// What we spell ourselves, in ASCII, is a header's value.
fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn pack(body: &[u8]) -> io::Result<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::best());
    packer.write_all(body)?;
    Ok(packer.finish()?.into())
}

/// Whether it can be a part of a path without being escaped.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests;
