//! The named limits and times of the client's schedule.

use crate::Millis;
use crate::family::Family;

/// What a [`TrackerClient`](super::TrackerClient) is told at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The families in which this host can reach others; each announces on its own (BEP 7).
    pub families: Vec<Family>,
    /// Announces that one tracker is sent in a second, in one family.
    pub announces_per_s: u32,
    /// Announces under way at one HTTP tracker: as many connections as it has to keep for us.
    pub max_in_flight_per_http_host: usize,
    /// Announces under way at one UDP tracker.
    pub max_in_flight_per_udp_host: usize,
    /// Announces under way at all trackers: sockets that this host can spare. Trackers that have not answered yet take
    /// three quarters of them at most, so that the dead do not hold up the living.
    pub max_in_flight: usize,
    /// Over how long the first announces of torrents are spread that were announced by an earlier run already.
    pub start_spread_ms: Millis,
    /// Trackers of one torrent; more are passed over.
    pub max_trackers_per_torrent: usize,
    /// The interval where the tracker gives none.
    pub default_interval_ms: Millis,
    /// No interval is shorter, whatever the tracker says.
    pub min_interval_ms: Millis,
    /// No interval is longer, whatever the tracker says.
    pub max_interval_ms: Millis,
    /// The pause after a torrent's whole tier has failed, doubled each time.
    pub tier_retry_ms: Millis,
    /// The longest such pause.
    pub max_tier_retry_ms: Millis,
    /// The pause after a tracker's host has failed, doubled each time; it holds for all torrents.
    pub host_retry_ms: Millis,
    /// The longest such pause.
    pub max_host_retry_ms: Millis,
    /// How long a tracker may leave an announce unanswered before a torrent that is removed no longer waits for it: who
    /// has not heard that we start need not hear that we stop.
    pub hung_after_ms: Millis,
    /// The pause where a tracker has no address in a family.
    pub no_address_retry_ms: Millis,
}

impl Default for Config {
    fn default() -> Config {
        const MINUTE_MS: Millis = 60_000;
        Config {
            families: Family::ALL.to_vec(),
            announces_per_s: 500,
            max_in_flight_per_http_host: 32,
            max_in_flight_per_udp_host: 256,
            max_in_flight: 512,
            start_spread_ms: MINUTE_MS / 6,
            max_trackers_per_torrent: 100,
            default_interval_ms: 30 * MINUTE_MS,
            min_interval_ms: MINUTE_MS,
            max_interval_ms: 360 * MINUTE_MS,
            tier_retry_ms: MINUTE_MS / 2,
            max_tier_retry_ms: 30 * MINUTE_MS,
            host_retry_ms: MINUTE_MS / 4,
            max_host_retry_ms: 10 * MINUTE_MS,
            hung_after_ms: 2000,
            no_address_retry_ms: 60 * MINUTE_MS,
        }
    }
}
