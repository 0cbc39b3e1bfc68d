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
    rates_at(settings, &now)
}

/// The rates that hold at a time, as the wall shows it there.
fn rates_at(settings: &Settings, now: &jiff::Zoned) -> Rates {
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

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn upload_at(text: &str, zone: &str, at: &str) -> String {
        let settings = Settings::read("test.toml", text, []).unwrap_or_else(|error| panic!("{error}"));
        let now = at.parse::<Timestamp>().unwrap().to_zoned(TimeZone::posix(zone).unwrap());
        rates_at(&settings, &now).upload.to_string()
    }

    const WORK: &str =
        "[limits]\nupload = '9MB'\n[[limits.schedule]]\ndays = ['mon']\nfrom = '08:00'\nto = '18:30'\nupload = '1MB'";

    #[test]
    fn a_rule_holds_from_its_first_minute_until_its_last_and_on_its_days() {
        for (at, upload) in [
            ("2026-11-23T07:59:59Z", "9MB"),
            ("2026-11-23T08:00:00Z", "1MB"),
            ("2026-11-23T18:29:59Z", "1MB"),
            ("2026-11-23T18:30:00Z", "9MB"),
            ("2026-11-24T12:00:00Z", "9MB"),
        ] {
            assert_eq!(upload_at(WORK, "UTC0", at), upload, "{at}");
        }
    }

    #[test]
    fn rules_go_by_the_wall_also_where_summer_begins_and_ends() {
        let night = "[limits]\n[[limits.schedule]]\nfrom = '02:30'\nto = '04:00'\nupload = '1MB'";
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        for (at, upload) in [
            // 01:59 is followed by 03:00: half an hour of the rule is never, the rest is.
            ("2026-03-29T00:59:00Z", "unlimited"),
            ("2026-03-29T01:00:00Z", "1MB"),
            ("2026-03-29T02:00:00Z", "unlimited"),
            // 02:45 comes twice, and 02:15 between.
            ("2026-10-25T00:45:00Z", "1MB"),
            ("2026-10-25T01:15:00Z", "unlimited"),
            ("2026-10-25T01:45:00Z", "1MB"),
            ("2026-10-25T03:00:00Z", "unlimited"),
        ] {
            assert_eq!(upload_at(night, berlin, at), upload, "{at}");
        }
    }
}
