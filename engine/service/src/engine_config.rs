//! The settings as the engine has them.

use std::net::SocketAddr;
use std::path::PathBuf;

use seedbox::{Config, DhtSettings, GlobalLimits, StateDir, Topology, TrackerConfig};
use settings::{Clock, Day, Rates, Settings};

/// How the engine is set up.
pub(crate) fn config(settings: &Settings, state: &StateDir) -> Config {
    let (peers, engine, torrents) = (&settings.peers, &settings.engine, &settings.torrents);
    let rates = rates_now(settings);
    let tracker = TrackerConfig {
        listen: usable(&settings.tracker.listen),
        open: settings.tracker.open,
        interval: Some(settings.tracker.interval.duration()),
        udp_only: true,
        external: peers.external_addresses.clone(),
    };
    Config {
        listen: usable(&peers.listen),
        shards: engine.shards.map(|shards| shards as usize),
        cores: cores(settings),
        device_reads: settings.limits.devices.iter().map(device).collect(),
        upload_bytes_per_s: rates.upload.bytes_per_s(),
        download_bytes_per_s: rates.download.bytes_per_s(),
        slots: peers.slots,
        connections: peers.connections.map(|connections| connections as usize),
        connections_per_address: peers.connections_per_address,
        turn_delay: std::time::Duration::from_micros(engine.turn_delay_us.into()),
        zero_copy: engine.zero_copy,
        rest_after: torrents.rest_after.duration(),
        pex: peers.pex,
        announce: torrents.announce,
        announces_per_s: settings.tracker.client.announces_per_second,
        announce_connections: settings.tracker.client.connections_per_host as usize,
        dht: peers.dht.then(|| dht(&peers.dht_nodes, state)),
        lsd: peers.lsd,
        web_seeds: torrents.web_seeds,
        tracker: Some(tracker).filter(|tracker| !tracker.listen.is_empty()),
        ..Config::default()
    }
}

/// The rates that hold now, by the schedule and its clock.
pub(crate) fn rates_now(settings: &Settings) -> Rates {
    let now = match settings.limits.clock {
        Clock::Local => jiff::Zoned::now(),
        Clock::Utc => jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC),
    };
    let day = Day::ALL[now.weekday().to_monday_zero_offset() as usize % Day::ALL.len()];
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    settings.limits.rates_at(day, minute)
}

/// The limits of all torrents together, at these rates.
pub(crate) fn global_limits(settings: &Settings, rates: &Rates) -> GlobalLimits {
    GlobalLimits {
        upload_bytes_per_s: rates.upload.bytes_per_s(),
        download_bytes_per_s: rates.download.bytes_per_s(),
        slots: settings.peers.slots,
        connections: settings.peers.connections.map(|connections| connections as usize),
    }
}

/// The cores that shards will be pinned to.
pub(crate) fn shard_cores(settings: &Settings) -> Vec<usize> {
    let shards = settings.engine.shards.map(|shards| shards as usize);
    // What is wrong with it the engine says.
    Topology::choose(shards, cores(settings).as_deref()).map(|topology| topology.shard_cores).unwrap_or_default()
}

/// Those that the settings leave to shards, if they name any.
fn cores(settings: &Settings) -> Option<Vec<usize>> {
    let cores: Vec<usize> = settings.engine.cores.iter().map(|core| *core as usize).collect();
    Some(cores).filter(|cores| !cores.is_empty())
}

fn device(device: &settings::Device) -> (PathBuf, usize) {
    (device.path.clone(), device.reads_in_flight as usize)
}

/// A machine without IPv6 is served on what it has.
pub(crate) fn usable(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let has_ipv6 = seedbox::wildcard(0).len() > 1;
    listen.iter().filter(|address| has_ipv6 || !(address.is_ipv6() && address.ip().is_unspecified())).copied().collect()
}

fn dht(nodes: &[String], state: &StateDir) -> DhtSettings {
    let mut dht = DhtSettings::new(Some(state.clone()));
    if !nodes.is_empty() {
        dht.bootstrap = nodes.to_vec();
    }
    dht
}
