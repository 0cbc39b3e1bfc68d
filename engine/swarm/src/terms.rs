//! What the operator says of one torrent's uploads; all shards share it.

use crate::rate::RateLimiter;
use crate::super_seeder::SuperSeeding;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// How one torrent is uploaded.
#[derive(Debug)]
pub struct Terms {
    /// Its own upload limit.
    pub upload: RateLimiter,
    /// When it is super-seeded.
    pub super_seeding: SuperSeeding,
    /// Newcomers go to the torrent's home shard, which must see the whole swarm to super-seed it.
    gathers: AtomicBool,
}

impl Terms {
    /// At most so many bytes per second; `None` limits nothing.
    pub fn new(upload_bytes_per_s: Option<NonZeroU64>, super_seeding: SuperSeeding) -> Terms {
        let gathers = AtomicBool::new(super_seeding != SuperSeeding::Off);
        Terms { upload: RateLimiter::new(upload_bytes_per_s), super_seeding, gathers }
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
}

impl Default for Terms {
    fn default() -> Terms {
        Terms::new(None, SuperSeeding::default())
    }
}
