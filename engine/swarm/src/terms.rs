//! What the operator says of one torrent's traffic; all shards share it.

use crate::gate::Gate;
use crate::rate::{RateLimiter, RateLimits};
use crate::super_seeder::SuperSeeding;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

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
    /// Whether another peer has all of it, if somebody wants to know.
    first_copy: OnceLock<Arc<FirstCopy>>,
}

/// Limits that several torrents obey together, beside those of each and those of all.
#[derive(Debug)]
pub struct GroupLimits {
    /// What they send.
    pub upload: RateLimiter,
    /// What they are sent.
    pub download: RateLimiter,
}

/// Whether a peer has been met that has all of a torrent. Whoever meets one says so; who wants to know looks from time to time.
#[derive(Debug, Default)]
pub struct FirstCopy(AtomicBool);

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
            first_copy: OnceLock::new(),
        }
    }

    /// The same torrent under other limits; its embargo, and whoever waits for its first copy, stay.
    pub fn changed(&self, limits: TorrentLimits) -> Terms {
        let mode_stays = limits.super_seeding == self.super_seeding;
        let terms = Terms::with(limits, self.gate.clone());
        if mode_stays {
            terms.set_gathers(self.gathers());
        }
        if let Some(first_copy) = self.first_copy.get() {
            let _ = terms.first_copy.set(first_copy.clone());
        }
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

    /// Somebody wants to know of the first peer that has all of it.
    pub fn await_copy(&self) -> Arc<FirstCopy> {
        self.first_copy.get_or_init(Arc::default).clone()
    }

    /// Whether such a peer was met; `None` if nobody wants to know.
    pub fn first_copy(&self) -> Option<&Arc<FirstCopy>> {
        self.first_copy.get()
    }
}

impl FirstCopy {
    /// Such a peer is here.
    pub fn note(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether one was.
    pub fn is_met(&self) -> bool {
        self.0.load(Relaxed)
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
        assert!(size_of::<Terms>() <= 80, "{} bytes", size_of::<Terms>());
    }

    #[test]
    fn other_limits_leave_the_embargo_and_who_waits_for_a_copy() {
        let gate = Arc::new(Gate::new(None, Vec::new(), None).unwrap());
        let terms = Terms::with(TorrentLimits::default(), Some(gate));
        let first_copy = terms.await_copy();
        terms.set_gathers(false);
        let changed =
            terms.changed(TorrentLimits { download_bytes_per_s: NonZeroU64::new(7), ..TorrentLimits::default() });
        assert!(changed.shut_gate().is_some() && !changed.gathers());
        first_copy.note();
        assert!(changed.first_copy().is_some_and(|copy| copy.is_met()));
        assert_eq!(changed.limits().download_bytes_per_s, NonZeroU64::new(7));
        let on = changed.changed(TorrentLimits { super_seeding: SuperSeeding::On, ..TorrentLimits::default() });
        assert!(on.gathers(), "another mode begins anew");
    }
}
