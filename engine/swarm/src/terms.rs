//! What the operator says of one torrent's traffic; all shards share it.

use crate::gate::Gate;
use crate::rate::{RateLimiter, RateLimits};
use crate::super_seeder::SuperSeeding;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// How one torrent is served and fetched. What can change is changed by another value in its place ([`Terms::changed`]);
/// limiters alone may be set as they are.
#[derive(Debug)]
pub struct Terms {
    /// Its own upload limit.
    pub upload: RateLimiter,
    /// Its own download limit.
    pub download: RateLimiter,
    /// When it is super-seeded.
    pub super_seeding: SuperSeeding,
    /// The limits that it shares with others, if it is in a group.
    pub group: Option<Arc<GroupLimits>>,
    /// Its embargo, if it has or had one.
    pub gate: Option<Arc<Gate>>,
    /// Newcomers go to the torrent's home shard, which must see the whole swarm to super-seed it.
    gathers: AtomicBool,
    /// Somebody wants to hear of the first peer that has all of it.
    awaits_copy: AtomicBool,
}

/// Limits that several torrents obey together, beside those of each and those of all.
#[derive(Debug)]
pub struct GroupLimits {
    /// What they send.
    pub upload: RateLimiter,
    /// What they are sent.
    pub download: RateLimiter,
}

/// What an operator can change of a torrent that is at work.
#[derive(Debug, Clone, Default)]
pub struct TorrentLimits {
    /// Payload and protocol bytes a second that its peers get; `None` is without limit.
    pub upload_bytes_per_s: Option<NonZeroU64>,
    /// Payload and protocol bytes a second that its peers and web seeds may send; `None` is without limit.
    pub download_bytes_per_s: Option<NonZeroU64>,
    /// When it is super-seeded.
    pub super_seeding: SuperSeeding,
    /// The limits that it shares with others, if it is in a group.
    pub group: Option<Arc<GroupLimits>>,
}

impl Terms {
    /// At most so many bytes per second up; `None` limits nothing. Without a limit down, group or embargo.
    pub fn new(upload_bytes_per_s: Option<NonZeroU64>, super_seeding: SuperSeeding) -> Terms {
        Terms::with(TorrentLimits { upload_bytes_per_s, super_seeding, ..TorrentLimits::default() }, None)
    }

    /// With these limits, and under this embargo.
    pub fn with(limits: TorrentLimits, gate: Option<Arc<Gate>>) -> Terms {
        Terms {
            upload: RateLimiter::new(limits.upload_bytes_per_s),
            download: RateLimiter::new(limits.download_bytes_per_s),
            super_seeding: limits.super_seeding,
            group: limits.group,
            gate,
            gathers: AtomicBool::new(limits.super_seeding != SuperSeeding::Off),
            awaits_copy: AtomicBool::new(false),
        }
    }

    /// The same torrent under other limits; its embargo, and whoever waits for its first copy, stay.
    pub fn changed(&self, limits: TorrentLimits) -> Terms {
        let mode_stays = limits.super_seeding == self.super_seeding;
        let terms = Terms::with(limits, self.gate.clone());
        if mode_stays {
            terms.set_gathers(self.gathers());
        }
        terms.awaits_copy.store(self.awaits_copy(), Relaxed);
        terms
    }

    /// The limits as they are now.
    pub fn limits(&self) -> TorrentLimits {
        TorrentLimits {
            upload_bytes_per_s: self.upload.rate(),
            download_bytes_per_s: self.download.rate(),
            super_seeding: self.super_seeding,
            group: self.group.clone(),
        }
    }

    /// All limits of what is sent, with those of the engine.
    pub fn upload_limits<'a>(&'a self, global: &'a RateLimiter) -> RateLimits<'a> {
        RateLimits { global, group: self.group.as_ref().map(|group| &group.upload), torrent: &self.upload }
    }

    /// All limits of what is received, with those of the engine.
    pub fn download_limits<'a>(&'a self, global: &'a RateLimiter) -> RateLimits<'a> {
        RateLimits { global, group: self.group.as_ref().map(|group| &group.download), torrent: &self.download }
    }

    /// The embargo, as long as it lasts.
    pub fn shut_gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref().filter(|gate| !gate.is_open())
    }

    /// Whether newcomers go to the torrent's home shard.
    pub fn gathers(&self) -> bool {
        self.gathers.load(Relaxed)
    }

    /// Says whether newcomers go to the torrent's home shard. For that shard; one that comes a moment too early or too late
    /// is served where it is.
    pub fn set_gathers(&self, gathers: bool) {
        self.gathers.store(gathers, Relaxed);
    }

    /// Wants to hear of the first peer that has all of it.
    pub fn await_copy(&self) {
        self.awaits_copy.store(true, Relaxed);
    }

    /// Whether somebody wants to.
    pub fn awaits_copy(&self) -> bool {
        self.awaits_copy.load(Relaxed)
    }

    /// Such a peer is here. True for the first who says so, if somebody wants to hear it.
    pub fn take_copy(&self) -> bool {
        self.awaits_copy() && self.awaits_copy.swap(false, Relaxed)
    }
}

impl Default for Terms {
    fn default() -> Terms {
        Terms::new(None, SuperSeeding::default())
    }
}

impl GroupLimits {
    /// At most so many bytes per second each way; `None` limits nothing.
    pub fn new(upload_bytes_per_s: Option<NonZeroU64>, download_bytes_per_s: Option<NonZeroU64>) -> GroupLimits {
        GroupLimits { upload: RateLimiter::new(upload_bytes_per_s), download: RateLimiter::new(download_bytes_per_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_torrents_at_rest_do_not_pay_for_limits_that_they_do_not_have() {
        assert!(size_of::<Terms>() <= 64, "{} bytes", size_of::<Terms>());
    }

    #[test]
    fn other_limits_leave_the_embargo_and_who_waits_for_a_copy() {
        let gate = Arc::new(Gate::new(None, Vec::new(), None).unwrap());
        let terms = Terms::with(TorrentLimits::default(), Some(gate));
        terms.await_copy();
        terms.set_gathers(false);
        let changed =
            terms.changed(TorrentLimits { download_bytes_per_s: NonZeroU64::new(7), ..TorrentLimits::default() });
        assert!(changed.shut_gate().is_some() && changed.awaits_copy() && !changed.gathers());
        assert_eq!(changed.limits().download_bytes_per_s, NonZeroU64::new(7));
        let on = changed.changed(TorrentLimits { super_seeding: SuperSeeding::On, ..TorrentLimits::default() });
        assert!(on.gathers(), "another mode begins anew");
    }

    #[test]
    fn the_first_copy_is_told_once_and_only_to_who_waits() {
        let terms = Terms::default();
        assert!(!terms.take_copy());
        terms.await_copy();
        assert!(terms.take_copy());
        assert!(!terms.take_copy());
    }
}
