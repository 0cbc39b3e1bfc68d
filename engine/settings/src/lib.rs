//! The service's settings: the one TOML file, its sample, its errors, overrides by environment, and what of a change can be
//! applied live. Text and values only: which file is read, and what the settings do, is for others.
//!
//! The types are the manual. Each field's doc comment is what the sample file says of it ([`sample`]), so it speaks to
//! operators.
#![forbid(unsafe_code)]

#[macro_use]
mod text_form;

mod change;
mod check;
mod document;
mod error;
mod moment;
mod overrides;
mod pattern;
mod quantity;
mod sample;
mod schedule;
mod schema;
mod secret;
mod sections;
mod web_url;

pub use change::{Change, Live, Named};
pub use check::lists::FEED_ITEMS_MAX;
pub use document::MAX_FILE_BYTES;
pub use error::{Problem, SettingsError, Whereabouts};
pub use ipnet::IpNet;
pub use moment::{Clock, Day, Moment, TimeOfDay};
pub use overrides::PREFIX;
pub use pattern::{Glob, TitlePattern};
pub use quantity::{Period, Rate, Size, parse_rate, parse_size};
pub use sample::sample;
pub use schedule::Rates;
pub use secret::Secret;
pub use sections::{
    Control, Device, Engine, Feed, Format, Group, Http, Limits, Log, LogFormat, Mirror, Mode, Peers, Publish, Rule,
    ScheduleRule, Settings, Start, Subscribe, SuperSeed, Symlinks, Tls, Torrents, Tracker, TrackerClient, Watch,
    Webhook, WebhookEvent,
};
pub use web_url::WebUrl;
