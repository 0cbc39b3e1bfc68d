//! What a scrape is answered (BEP 48, BEP 15), whichever wire carries it.

use hash::InfoHash;

/// The size of one swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SwarmStats {
    /// Peers that have everything.
    pub seed_count: u32,
    /// Peers that do not.
    pub leech_count: u32,
    /// How often a download became complete.
    pub completed_count: u32,
}

/// A tracker's good answer to a scrape.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrapeReply {
    /// The swarms that the tracker knows, by info-hash.
    pub swarms: Vec<(InfoHash, SwarmStats)>,
    /// Seconds before which no further scrape is welcome (`flags` / `min_request_interval`).
    pub min_interval_s: Option<u32>,
}
