//! Who follows and who is followed: `[[feed]]`, `[[subscribe]]`, `[[webhook]]`.

use std::path::PathBuf;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::pattern::{Glob, TitlePattern};
use crate::{Period, Secret, Size, WebUrl};

/// A feed of what is published, as RSS 2.0 at /feeds/NAME.rss and as Atom at /feeds/NAME.atom. Once for each feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Its name in URLs: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Its title for people. If unset, its name.
    pub title: Option<String>,
    /// The web page that it belongs to. If unset, `http.base_url`.
    pub link: Option<WebUrl>,
    /// What it is about.
    pub description: Option<String>,
    /// Its language, as in "en" or "pt-BR".
    pub language: Option<String>,
    /// The names of the `[[publish]]` trees that it tells of. If empty, all.
    pub publish: Vec<String>,
    /// Items, the newest first; older ones fall out.
    pub max_items: u32,
    /// Whether it is written for podcast programs, with the torrent as the enclosure.
    pub podcast: bool,
}

/// A feed of another server that is followed: what appears in it is fetched, checked and seeded. Once for each feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// What it is called here. Keep it: what was seen goes by it.
    pub name: String,
    /// The feed's URL: RSS or Atom with torrents or magnet links.
    pub feed: WebUrl,
    /// The directory that content goes into.
    pub output: PathBuf,
    /// How often the feed is read.
    #[serde(default = "half_an_hour")]
    pub interval: Period,
    /// Regular expressions; an item is fetched if one of them is found in its title, whatever the letters' case. If empty, all
    /// are.
    #[serde(default)]
    pub accept: Vec<TitlePattern>,
    /// Regular expressions of titles that are not fetched, whatever `accept` says.
    #[serde(default)]
    pub reject: Vec<TitlePattern>,
    /// Of items that are larger, none is fetched. If unset, any size.
    #[serde(default)]
    pub max_item_size: Option<Size>,
    /// What all items kept may take together; beyond it none is fetched. If unset, any size.
    #[serde(default)]
    pub max_total_size: Option<Size>,
    /// Items kept at most; beyond it none is fetched. If unset, any number.
    #[serde(default)]
    pub max_items: Option<u32>,
    /// What of the feed's items at the first reading is fetched: "all", or only what is "new" after it.
    #[serde(default)]
    pub start: Start,
    /// Files of each torrent that are fetched, as globs. If empty, all.
    #[serde(default)]
    pub files: Vec<Glob>,
    /// More roots that the feed's certificate may go back to, as PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether what goes from the feed is kept. Else it is removed, with its content. Nothing is overwritten: as long as
    /// an old version of a name is there, a new one gets a folder of its own below `output`.
    #[serde(default = "yes")]
    pub keep: bool,
    /// Whether what was fetched is seeded.
    #[serde(default = "yes")]
    pub seed: bool,
    /// Whether it is listed in our own feeds, and served by our own tracker.
    #[serde(default)]
    pub republish: bool,
    /// The group of the torrents in `[limits.groups]`. If unset, as `torrents.group` says.
    #[serde(default)]
    pub group: Option<String>,
}

/// What of a feed is fetched at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// All that is in it.
    #[default]
    All,
    /// What appears later.
    New,
}

/// Somebody who is told of what happens: JSON by HTTP POST, signed, tried again until it is taken. Once for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is sent.
    pub url: WebUrl,
    /// The secret that signs it (HMAC-SHA256 in X-Spillway-Signature). If neither this nor `secret_file` is set, it goes
    /// unsigned.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A file that holds the secret; used instead of `secret`.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Of what: "published", "first_full_copy", "withdrawn", "completed", "error".
    #[serde(default = "every_event")]
    pub events: Vec<WebhookEvent>,
    /// How long one try may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Period,
    /// Tries before it is given up; they are further and further apart.
    #[serde(default = "twelve")]
    pub attempts: u32,
}

/// What somebody may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// A release is served, announced and in the feed.
    Published,
    /// Somebody else has all of it.
    FirstFullCopy,
    /// A release is gone.
    Withdrawn,
    /// What was subscribed to is fetched.
    Completed,
    /// Something went wrong with a torrent, a release or a subscription.
    Error,
}

impl WebhookEvent {
    /// Each of them.
    pub const ALL: [WebhookEvent; 5] = [
        WebhookEvent::Published,
        WebhookEvent::FirstFullCopy,
        WebhookEvent::Withdrawn,
        WebhookEvent::Completed,
        WebhookEvent::Error,
    ];
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            name: String::new(),
            title: None,
            link: None,
            description: None,
            language: None,
            publish: Vec::new(),
            max_items: 100,
            podcast: false,
        }
    }
}

impl Subscribe {
    /// Follows a feed into a directory; all else as it is by default.
    pub fn new(name: impl Into<String>, feed: WebUrl, output: impl Into<PathBuf>) -> Subscribe {
        Subscribe {
            name: name.into(),
            feed,
            output: output.into(),
            interval: half_an_hour(),
            accept: Vec::new(),
            reject: Vec::new(),
            max_item_size: None,
            max_total_size: None,
            max_items: None,
            start: Start::All,
            files: Vec::new(),
            ca_file: None,
            keep: yes(),
            seed: yes(),
            republish: false,
            group: None,
        }
    }
}

impl Webhook {
    /// Tells a URL of everything; all else as it is by default.
    pub fn new(url: WebUrl) -> Webhook {
        Webhook {
            url,
            secret: None,
            secret_file: None,
            events: every_event(),
            timeout: ten_seconds(),
            attempts: twelve(),
        }
    }
}

fn half_an_hour() -> Period {
    Period::from_secs(1800)
}

fn yes() -> bool {
    true
}

fn every_event() -> Vec<WebhookEvent> {
    WebhookEvent::ALL.to_vec()
}

fn ten_seconds() -> Period {
    Period::from_secs(10)
}

fn twelve() -> u32 {
    12
}

/// What the sample shows where a key is not set by default.
pub(crate) mod example {
    use super::*;

    pub(crate) fn feed() -> Feed {
        Feed {
            name: "releases".to_owned(),
            title: Some("Releases of example.org".to_owned()),
            link: "https://example.org/".parse().ok(),
            description: Some("Disk images, as they come out".to_owned()),
            language: Some("en".to_owned()),
            publish: vec!["images".to_owned()],
            ..Feed::default()
        }
    }

    /// What is required, and the rest by default.
    pub(crate) fn plain_subscribe() -> Option<Subscribe> {
        let feed = "https://download.example.net/feeds/releases.rss".parse().ok()?;
        Some(Subscribe::new("upstream", feed, "/srv/mirror"))
    }

    pub(crate) fn subscribe() -> Option<Subscribe> {
        Some(Subscribe {
            accept: "amd64".parse().into_iter().collect(),
            reject: "-rc[0-9]+".parse().into_iter().collect(),
            max_item_size: Some(Size(20_000_000_000)),
            max_total_size: Some(Size(1_000_000_000_000)),
            max_items: Some(100),
            files: "**/*.iso".parse().into_iter().collect(),
            ca_file: Some("/etc/spillway/upstream-ca.pem".into()),
            group: Some("releases".to_owned()),
            ..plain_subscribe()?
        })
    }

    pub(crate) fn plain_webhook() -> Option<Webhook> {
        "https://hooks.example.org/spillway".parse().ok().map(Webhook::new)
    }

    pub(crate) fn webhook() -> Option<Webhook> {
        Some(Webhook {
            secret: Some(Secret::new("hidden in the sample")),
            secret_file: Some("/etc/spillway/webhook.secret".into()),
            ..plain_webhook()?
        })
    }
}
