//! What the table is told at its start: its limits, its intervals, and what it counts.

use super::rate::RequestRate;

/// The named limits of a [`SwarmTable`](super::SwarmTable).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Swarms that an open tracker keeps; torrents on the allow-list are not counted against it.
    pub max_torrents: usize,
    /// Peers of one torrent and one address family.
    pub max_peers_per_torrent: usize,
    /// Peers of all torrents together, at about 50 bytes each with the index.
    pub max_peers: usize,
    /// Peers of one torrent at one IPv4 address or in one IPv6 /64: room for an office behind one router.
    pub max_peers_per_address: usize,
    /// Peers in a reply to a client that does not say how many it wants.
    pub default_want_count: usize,
    /// Peers in a reply, whatever the client wants.
    pub max_want_count: usize,
    /// Seconds until the next announce that peers of a large swarm are told.
    pub interval_s: u32,
    /// The same for a swarm of fewer than `small_swarm_peer_count`, whose peers find each other slowly.
    pub small_swarm_interval_s: u32,
    /// Where a swarm stops being small.
    pub small_swarm_peer_count: usize,
    /// Seconds before which peers are asked not to announce again.
    pub min_interval_s: u32,
    /// Seconds without an announce after which a peer is forgotten.
    pub peer_timeout_s: u32,
    /// Requests per address; `None` for no limit.
    pub request_rate: Option<RequestRate>,
    /// Whether `request_rate` holds for loopback addresses, too. A reverse proxy of
    /// this host and a load test ask from there.
    pub limit_loopback: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_torrents: 100_000,
            max_peers_per_torrent: 1_000_000,
            max_peers: 4_000_000,
            max_peers_per_address: 256,
            default_want_count: 50,
            max_want_count: 200,
            interval_s: 1800,
            small_swarm_interval_s: 300,
            small_swarm_peer_count: 50,
            min_interval_s: 60,
            peer_timeout_s: 2 * 1800 + 300,
            request_rate: Some(RequestRate { per_second: 50, burst: 1000, address_count: 65_536 }),
            limit_loopback: false,
        }
    }
}

/// Why an announce or a scrape is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The torrent is not on the allow-list.
    #[error("torrent is not registered with this tracker")]
    NotAllowed,
    /// An open tracker holds as many torrents as it may.
    #[error("this tracker is full")]
    TorrentsFull,
    /// The address asks too often.
    #[error("too many requests from your address")]
    TooManyRequests,
}

/// What happened, counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Announces that were answered.
    pub announces: u64,
    /// Scrapes that were answered.
    pub scrapes: u64,
    /// Refused: the torrent is not on the allow-list.
    pub not_allowed: u64,
    /// Refused: no room for another torrent.
    pub torrents_full: u64,
    /// Refused: the address asks too often.
    pub too_many_requests: u64,
    /// Peers that were answered but not kept: their torrent, or the table, is full.
    pub peers_full: u64,
    /// Peers that were answered but not kept: too many at their address.
    pub address_full: u64,
    /// Peers that left with `stopped`.
    pub stopped: u64,
    /// `stopped` that came with another key than the peer's own, and was ignored.
    pub stopped_by_stranger: u64,
    /// Peers that were forgotten for their silence.
    pub expired: u64,
}

impl Counters {
    pub(super) fn refused(&mut self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::NotAllowed => self.not_allowed += 1,
            Refusal::TorrentsFull => self.torrents_full += 1,
            Refusal::TooManyRequests => self.too_many_requests += 1,
        }
        refusal
    }
}
