//! How an engine is found and finds others: its tracker, what it announces, and what looks for peers. What each of them does is
//! control's.

use crate::config::{Config, TrackerConfig};
use crate::engine::StartError;
use crate::preflight::Budget;
use api::HttpLimits;
use api::TrackerServer;
use control::Discovery;
use control::announcer::AnnouncerConfig;
use control::dht::{DhtConfig, DhtNode};
use control::lsd::{Lsd, LsdConfig};
use control::resolve::ResolveConfig;
use control::tracker_service::TrackerService;
use control::web_seed::WebSeedConfig;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::sync::mpsc;
use tracker::OwnSeed;
use tracker::table::{Access, Limits};
use wire::PeerId;

/// Neighbours that were heard of and wait for control at most; more are counted and lost.
const NEIGHBOURS_CAPACITY: usize = 256;

/// Starts what finds peers beside trackers, where it is wanted. Must be called on a tokio runtime.
pub(crate) fn discovery(config: &Config, listen: &[SocketAddr]) -> Result<Discovery, StartError> {
    let node = |settings: &crate::config::DhtSettings| -> Result<DhtNode, StartError> {
        let state_path = settings.state.as_ref().and_then(|state| match state.dht_path() {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::warn!(%error, "what the DHT tells is not kept");
                None
            }
        });
        let (addresses, bootstrap) = (listen.to_vec(), settings.bootstrap.clone());
        Ok(DhtNode::start(DhtConfig { addresses, bootstrap, state_path, ..DhtConfig::default() })?)
    };
    let dht = config.dht.as_ref().map(node).transpose()?;
    let lsd = config.lsd.then(|| {
        let (sender, found) = mpsc::channel(NEIGHBOURS_CAPACITY);
        // A host without multicast can do without.
        let started = Lsd::start(&LsdConfig::new(listen.to_vec()), sender);
        started.inspect_err(|error| tracing::warn!("{error}")).ok().map(|lsd| (lsd, found))
    });
    Ok(Discovery { dht, lsd: lsd.flatten(), port: listen.first().map_or(0, SocketAddr::port) })
}

pub(crate) fn start_tracker(
    config: &TrackerConfig,
    budget: &Budget,
    start: Instant,
) -> Result<(TrackerServer, TrackerService), StartError> {
    let access = if config.open { Access::Open } else { Access::Listed };
    let mut limits = Limits::default();
    if let Some(interval) = config.interval {
        limits.interval_s = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX).max(1);
        limits.small_swarm_interval_s = limits.small_swarm_interval_s.min(limits.interval_s);
        limits.min_interval_s = limits.min_interval_s.min(limits.interval_s);
        limits.peer_timeout_s = limits.peer_timeout_s.max(limits.interval_s.saturating_mul(2));
    }
    let service = TrackerService::since(start, access, limits)
        .map_err(|error| StartError::System { action: "draw random bytes", source: std::io::Error::other(error) })?;
    if config.udp_only {
        service.hold();
        let server = TrackerServer::start_udp(&config.listen, &service)?;
        return Ok((server, service));
    }
    let mut limits = HttpLimits::default();
    limits.max_connections = limits.max_connections.min(budget.tracker_connections.max(1));
    let server = TrackerServer::start(&config.listen, &service, limits)?;
    Ok((server, service))
}

/// Announces come from the addresses that peers reach us at, where those were given.
pub(crate) fn announcer_config(
    config: &Config,
    budget: &Budget,
    peer_id: PeerId,
    listen: &[SocketAddr],
) -> AnnouncerConfig {
    let (announces_per_s, per_host) = (config.announces_per_s, config.announce_connections);
    let mut config = AnnouncerConfig::new(peer_id.0, listen.first().map_or(0, SocketAddr::port));
    config.schedule.announces_per_s = announces_per_s;
    config.schedule.max_in_flight_per_http_host = per_host.max(1);
    config.schedule.max_in_flight = budget.announces.max(1);
    config.bind = listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    config
}

/// Those who are asked what a link stands for are dialled from where we listen, too.
pub(crate) fn resolve_config(config: &Config, peer_id: PeerId, listen: &[SocketAddr]) -> ResolveConfig {
    let mut resolve = ResolveConfig::new(peer_id, config.client.as_str());
    resolve.listen_port = listen.first().map(SocketAddr::port);
    resolve.bind = listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    resolve.v4 = listen.iter().any(SocketAddr::is_ipv4);
    resolve.v6 = listen.iter().any(SocketAddr::is_ipv6);
    resolve.pex = config.pex;
    resolve
}

/// Where web seeds may lead.
pub(crate) fn web_seed_config(config: &Config) -> WebSeedConfig {
    WebSeedConfig { allow_private_networks: config.private_web_seeds, ..WebSeedConfig::default() }
}

/// A tracker's URLs by family. Those that name loopback are of no use to others, and left out where there are better.
pub(crate) fn tiers(urls: &[String]) -> Vec<Vec<String>> {
    let is_loopback = |url: &&String| url.contains("://127.") || url.contains("://[::1]");
    let is_v6 = |url: &&String| url.contains("://[");
    let reachable: Vec<&String> = match urls.iter().all(|url| is_loopback(&url)) {
        true => urls.iter().collect(),
        false => urls.iter().filter(|url| !is_loopback(url)).collect(),
    };
    let (v6, v4): (Vec<&String>, Vec<&String>) = reachable.into_iter().partition(is_v6);
    let tier = |urls: Vec<&String>| urls.into_iter().cloned().collect::<Vec<_>>();
    [tier(v4), tier(v6)].into_iter().filter(|tier| !tier.is_empty()).collect()
}

/// What our own tracker tells of us: the configured host, or the address at which the announce found us.
pub(crate) fn own_seeds(config: &Config, listen: &[SocketAddr]) -> Vec<OwnSeed> {
    let external = config.tracker.as_ref().map(|tracker| tracker.external.as_slice()).unwrap_or_default();
    if !external.is_empty() {
        let with_port = |ip: &std::net::IpAddr| {
            let same_family = |address: &&SocketAddr| address.is_ipv4() == ip.is_ipv4();
            Some(OwnSeed::At(SocketAddr::new(*ip, listen.iter().find(same_family)?.port())))
        };
        return external.iter().filter_map(with_port).collect();
    }
    let seed = |address: &SocketAddr| match address.ip().is_unspecified() {
        true => OwnSeed::ThisHost { family: tracker::Family::of(address.ip()), port: address.port() },
        false => OwnSeed::At(*address),
    };
    listen.iter().map(seed).collect()
}
