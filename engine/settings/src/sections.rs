//! The sections of the file, one type each. A field's doc comment is what the sample says of it.
//!
//! `[peers]`, `[engine]`, `[limits]` (`groups.NAME`, `devices`, `schedule`), `[torrents]`, `[tracker]` (`client`), `[http]`
//! (`tls`), `[control]`, `[log]`; and as lists `[[publish]]`, `[[feed]]`, `[[subscribe]]`, `[[webhook]]`.

mod following;
mod limits;
mod network;
mod process;
mod publish;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

pub use following::{Feed, Start, Subscribe, Webhook, WebhookEvent};
pub use limits::{Device, Group, Limits, ScheduleRule, Torrents};
pub use network::{Http, Peers, SuperSeed, Tls, Tracker, TrackerClient};
pub use process::{Control, Engine, Log, LogFormat, Mode};
pub use publish::{Format, Mirror, Publish, Rule, Symlinks, Watch};

/// All of the file. An empty one is the default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where peers reach us and how many are served.
    pub peers: Peers,
    /// Cores, state and the way of bytes.
    pub engine: Engine,
    /// How fast.
    pub limits: Limits,
    /// What holds for each torrent.
    pub torrents: Torrents,
    /// The tracker for what is served here, and how others' trackers are asked.
    pub tracker: Tracker,
    /// Feeds and release files over HTTP.
    pub http: Http,
    /// The socket of `spillway ctl`.
    pub control: Control,
    /// Log lines on stderr.
    pub log: Log,
    /// Trees that publish themselves.
    pub publish: Vec<Publish>,
    /// Feeds of what is published.
    pub feed: Vec<Feed>,
    /// Feeds of others that are followed.
    pub subscribe: Vec<Subscribe>,
    /// Who is told of what happens.
    pub webhook: Vec<Webhook>,
}

/// What the sample shows where a key is not set by default, section by section.
pub(crate) mod example {
    pub(crate) use super::following::example::{feed, plain_subscribe, plain_webhook, subscribe, webhook};
    pub(crate) use super::limits::example::{device, group, schedule, torrents};
    pub(crate) use super::network::example::{http, peers, tls, tracker};
    pub(crate) use super::process::example::{control, engine};
    pub(crate) use super::publish::example::publish;
}
