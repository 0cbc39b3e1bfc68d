//! How fast and how long: `[limits]` with its groups, devices and schedule, and `[torrents]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::{Clock, Day, Period, Rate, TimeOfDay};

/// How fast. A rate is bytes a second ("100MB", "50MiB") or bits ("1Gbit"), or "unlimited".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What all peers get together.
    pub upload: Rate,
    /// What all peers and web seeds may send us together.
    pub download: Rate,
    /// Which clock the schedule goes by: "local" or "utc".
    pub clock: Clock,
    /// Limits of groups of torrents.
    pub groups: BTreeMap<String, Group>,
    /// Limits of disks.
    pub devices: Vec<Device>,
    /// Rates by the clock.
    pub schedule: Vec<ScheduleRule>,
}

/// What the torrents of one group get together; a torrent names its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// What their peers get together.
    pub upload: Rate,
    /// What their peers and web seeds may send us together.
    pub download: Rate,
    /// A torrent of the group stops when it has uploaded so many times its size. If unset, as `torrents.seed_ratio` says.
    pub seed_ratio: Option<f64>,
    /// A torrent of the group stops when it was seeded for so long. If unset, as `torrents.seed_time` says.
    pub seed_time: Option<Period>,
}

/// How hard one disk is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// A path on the disk that is meant.
    pub path: PathBuf,
    /// Reads that it is asked for at once. A single spinning disk likes few, flash many.
    pub reads_in_flight: u32,
}

/// Rates that hold at some time of the day. Of several rules that hold, the last one has its way, key by key; while none
/// holds, the rates are those of `[limits]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleRule {
    /// The days on which it begins: "mon", "tue", "wed", "thu", "fri", "sat", "sun". If empty, every day.
    pub days: Vec<Day>,
    /// When it begins.
    pub from: Option<TimeOfDay>,
    /// When it ends. If that is not after `from`, on the day after.
    pub to: Option<TimeOfDay>,
    /// The upload rate meanwhile. If unset, it is left alone.
    pub upload: Option<Rate>,
    /// The download rate meanwhile. If unset, it is left alone.
    pub download: Option<Rate>,
    /// The groups whose rates these are. If empty, they are those of all torrents together.
    pub groups: Vec<String>,
}

/// What holds for each torrent, unless its group, its publish root, its subscription or `spillway ctl limit` says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Torrents {
    /// The group of those that name none. If unset, they are in none.
    pub group: Option<String>,
    /// What the peers of one torrent get together.
    pub upload: Rate,
    /// What the peers and web seeds of one torrent may send us together.
    pub download: Rate,
    /// A torrent stops when it has uploaded so many times its size. If unset, never.
    pub seed_ratio: Option<f64>,
    /// A torrent stops when it was seeded for so long. If unset, never.
    pub seed_time: Option<Period>,
    /// A torrent that nobody is connected to for so long is let go from memory until somebody asks for it.
    pub rest_after: Period,
    /// Whether torrents are announced to the trackers that they name.
    pub announce: bool,
    /// Whether torrents that are fetched are fetched from their web seeds too.
    pub web_seeds: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            upload: Rate::UNLIMITED,
            download: Rate::UNLIMITED,
            clock: Clock::Local,
            groups: BTreeMap::new(),
            devices: Vec::new(),
            schedule: Vec::new(),
        }
    }
}

impl Default for Group {
    fn default() -> Group {
        Group { upload: Rate::UNLIMITED, download: Rate::UNLIMITED, seed_ratio: None, seed_time: None }
    }
}

impl Default for Device {
    fn default() -> Device {
        Device { path: PathBuf::new(), reads_in_flight: 32 }
    }
}

impl Default for Torrents {
    fn default() -> Torrents {
        Torrents {
            group: None,
            upload: Rate::UNLIMITED,
            download: Rate::UNLIMITED,
            seed_ratio: None,
            seed_time: None,
            rest_after: Period::from_secs(600),
            announce: true,
            web_seeds: true,
        }
    }
}

/// What the sample shows where a key is not set by default.
pub(crate) mod example {
    use std::num::NonZeroU64;

    use super::*;

    pub(crate) fn group() -> Group {
        Group {
            upload: Rate(NonZeroU64::new(50_000_000)),
            seed_ratio: Some(10.0),
            seed_time: Some(Period::from_secs(30 * 86_400)),
            ..Group::default()
        }
    }

    pub(crate) fn device() -> Device {
        Device { path: "/srv/disks".into(), ..Device::default() }
    }

    pub(crate) fn schedule() -> ScheduleRule {
        ScheduleRule {
            days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
            from: "08:00".parse().ok(),
            to: "18:30".parse().ok(),
            upload: Some(Rate(NonZeroU64::new(100_000_000))),
            download: Some(Rate::UNLIMITED),
            groups: Vec::new(),
        }
    }

    pub(crate) fn torrents() -> Torrents {
        Torrents {
            group: Some("releases".to_owned()),
            seed_ratio: Some(20.0),
            seed_time: Some(Period::from_secs(365 * 86_400)),
            ..Torrents::default()
        }
    }
}
