//! What the types cannot say: ranges, names that must be there, addresses and places that get into each other's way.

pub(crate) mod lists;
mod places;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::document::{KeyPath, Wrong};
use crate::sections::{Limits, Settings};
use crate::{Period, Size};

/// The longest name of a tree, a feed, a subscription or a group.
const MAX_NAME_BYTES: usize = 64;

/// The most entries of a list.
const MAX_ENTRIES: usize = 1000;

/// The longest path of a socket (`sun_path` in unix(7), with its zero byte).
const MAX_SOCKET_PATH_BYTES: usize = 107;

const SECOND: Period = Period::from_secs(1);
const MINUTE: Period = Period::from_secs(60);
const DAY: Period = Period::from_secs(86_400);
const YEAR: Period = Period::from_secs(366 * 86_400);

impl Settings {
    /// All that is wrong with the values.
    pub(crate) fn findings(&self) -> Vec<Wrong> {
        let mut findings = Findings::default();
        self.check_network(&mut findings);
        self.check_process(&mut findings);
        check_limits(&self.limits, &mut findings);
        self.check_torrents(&mut findings);
        self.check_lists(&mut findings);
        self.check_places(&mut findings);
        findings.found
    }

    fn check_network(&self, findings: &mut Findings) {
        let peers = key("peers");
        findings.within(&peers, "connections", self.peers.connections, 1..=10_000_000);
        findings.within(&peers, "connections_per_address", Some(self.peers.connections_per_address), 1..=10_000_000);
        findings.within(&peers, "slots", self.peers.slots, 1..=10_000_000);
        if self.peers.listen.is_empty() {
            findings.add(peers.name("listen"), "at least one address is needed, as in [\"0.0.0.0:51413\"]");
        }
        for (index, node) in self.peers.dht_nodes.iter().enumerate() {
            let port = node.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                findings.add(peers.name("dht_nodes").index(index), format!("{node:?} is not HOST:PORT"));
            }
        }
        let tracker = key("tracker");
        for (index, url) in self.tracker.external_urls.iter().enumerate() {
            findings.announce_url(tracker.name("external_urls").index(index), url);
        }
        findings.within(&tracker, "interval", Some(self.tracker.interval), MINUTE..=DAY);
        findings.absolute(tracker.name("allow"), self.tracker.allow.as_deref());
        let client = tracker.name("client");
        findings.within(&client, "announces_per_second", Some(self.tracker.client.announces_per_second), 1..=100_000);
        findings.within(&client, "connections_per_host", Some(self.tracker.client.connections_per_host), 1..=1000);
        self.check_http(findings);
        self.check_addresses(findings);
    }

    fn check_http(&self, findings: &mut Findings) {
        let (http, tls) = (key("http"), key("http").name("tls"));
        findings.within(&http, "connections", Some(self.http.connections), 1..=10_000_000);
        findings.within(&http, "connections_per_address", Some(self.http.connections_per_address), 1..=10_000_000);
        findings.within(&http, "header_size", Some(self.http.header_size), Size(1 << 10)..=Size(1 << 20));
        findings.within(&http, "header_timeout", Some(self.http.header_timeout), SECOND..=MINUTE);
        findings.within(&http, "idle_timeout", Some(self.http.idle_timeout), SECOND..=DAY);
        findings.within(&http, "requests_per_connection", Some(self.http.requests_per_connection), 1..=u32::MAX);
        let given = &self.http.tls;
        findings.absolute(tls.name("certificate"), given.certificate.as_deref());
        findings.absolute(tls.name("key"), given.key.as_deref());
        let wanted = !given.listen.is_empty() || given.certificate.is_some() || given.key.is_some();
        let parts = [
            ("listen", given.listen.is_empty()),
            ("certificate", given.certificate.is_none()),
            ("key", given.key.is_none()),
        ];
        for (name, _) in parts.into_iter().filter(|(_, missing)| wanted && *missing) {
            findings.add(tls.name(name), "is missing; HTTPS needs listen, certificate and key");
        }
    }

    /// No two things listen at one address, but feeds and the tracker may share theirs.
    fn check_addresses(&self, findings: &mut Findings) {
        let lists: [(&str, KeyPath, &[SocketAddr]); 4] = [
            ("peers.listen", key("peers").name("listen"), &self.peers.listen),
            ("tracker.listen", key("tracker").name("listen"), &self.tracker.listen),
            ("http.listen", key("http").name("listen"), &self.http.listen),
            ("http.tls.listen", key("http").name("tls").name("listen"), &self.http.tls.listen),
        ];
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (name, path, addresses) in &lists {
            for (index, address) in addresses.iter().enumerate().take(MAX_ENTRIES) {
                let shared = |other: &str| *name == "http.listen" && other == "tracker.listen";
                let clash = taken.iter().find(|(other, at)| at == address && address.port() != 0 && !shared(other));
                match clash {
                    Some((other, _)) => {
                        findings.add(path.index(index), format!("{address} is in {other} already"));
                    }
                    None => taken.push((name, *address)),
                }
            }
        }
    }

    fn check_process(&self, findings: &mut Findings) {
        let engine = key("engine");
        findings.within(&engine, "shards", self.engine.shards, 1..=4096);
        findings.within(&engine, "turn_delay_us", Some(self.engine.turn_delay_us), 0..=10_000);
        findings.absolute(engine.name("state_dir"), self.engine.state_dir.as_deref());
        findings.unique(&engine.name("cores"), &self.engine.cores);
        let cores = self.engine.cores.len();
        if let Some(shards) = self.engine.shards
            && cores != 0
            && shards as usize > cores
        {
            findings.add(engine.name("shards"), format!("{shards} shards cannot each have one of {cores} cores"));
        }
        let control = key("control");
        if let Some(socket) = &self.control.socket {
            findings.absolute(control.name("socket"), Some(socket));
            if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
                findings
                    .add(control.name("socket"), format!("a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes"));
            }
        }
        if self.log.filter.trim().is_empty() {
            findings.add(key("log").name("filter"), "is empty; \"info\" is what it is by default");
        }
    }

    fn check_torrents(&self, findings: &mut Findings) {
        let torrents = key("torrents");
        findings.ratio(torrents.name("seed_ratio"), self.torrents.seed_ratio);
        findings.within(&torrents, "seed_time", self.torrents.seed_time, SECOND..=Period(YEAR.duration() * 100));
        findings.within(&torrents, "rest_after", Some(self.torrents.rest_after), SECOND..=YEAR);
        self.check_group(torrents.name("group"), self.torrents.group.as_deref(), findings);
    }

    fn check_group(&self, at: KeyPath, group: Option<&str>, findings: &mut Findings) {
        if let Some(group) = group
            && !self.limits.groups.contains_key(group)
        {
            findings.add(at, format!("there is no group {group:?}; add a section [limits.groups.{group}]"));
        }
    }
}

fn check_limits(limits: &Limits, findings: &mut Findings) {
    let path = key("limits");
    if limits.groups.len() > MAX_ENTRIES {
        findings.add(path.name("groups"), format!("there are more than {MAX_ENTRIES}"));
    }
    for (name, group) in limits.groups.iter().take(MAX_ENTRIES) {
        let at = path.name("groups").name(name);
        findings.name_is_fit(at.clone(), name);
        findings.ratio(at.name("seed_ratio"), group.seed_ratio);
        findings.within(&at, "seed_time", group.seed_time, SECOND..=Period(YEAR.duration() * 100));
    }
    for (at, device) in findings.entries(&path.name("devices"), &limits.devices) {
        findings.required_path(at.name("path"), &device.path);
        findings.within(&at, "reads_in_flight", Some(device.reads_in_flight), 1..=1024);
    }
    for (at, rule) in findings.entries(&path.name("schedule"), &limits.schedule) {
        findings.unique(&at.name("days"), &rule.days);
        findings.unique(&at.name("groups"), &rule.groups);
        if rule.upload.is_none() && rule.download.is_none() {
            findings.add(at.clone(), "sets neither upload nor download");
        }
        for (index, group) in rule.groups.iter().enumerate().filter(|(_, group)| !limits.groups.contains_key(*group)) {
            let what = format!("there is no group {group:?}; add a section [limits.groups.{group}]");
            findings.add(at.name("groups").index(index), what);
        }
    }
}

fn key(section: &str) -> KeyPath {
    KeyPath::default().name(section)
}

/// What is wrong, as it is found.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Wrong>,
}

impl Findings {
    fn add(&mut self, at: KeyPath, what: impl Into<String>) {
        self.found.push(Wrong { at, what: what.into() });
    }

    fn within<T>(&mut self, section: &KeyPath, name: &str, value: Option<T>, range: RangeInclusive<T>)
    where
        T: PartialOrd + std::fmt::Display,
    {
        if let Some(value) = value
            && !range.contains(&value)
        {
            self.add(section.name(name), format!("{value} is not from {} to {}", range.start(), range.end()));
        }
    }

    fn ratio(&mut self, at: KeyPath, ratio: Option<f64>) {
        if ratio.is_some_and(|ratio| !ratio.is_finite() || ratio <= 0.0) {
            self.add(at, "a ratio is more than zero; leave it out for no limit");
        }
    }

    fn absolute(&mut self, at: KeyPath, path: Option<&Path>) {
        if let Some(problem) = path.and_then(places::problem_of) {
            self.add(at, problem);
        }
    }

    fn required_path(&mut self, at: KeyPath, path: &Path) {
        if path.as_os_str().is_empty() {
            self.add(at, "is missing");
        } else {
            self.absolute(at, Some(path));
        }
    }

    /// Names are in URLs, in files' names and on command lines.
    fn name_is_fit(&mut self, at: KeyPath, name: &str) {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() {
            self.add(at, "is missing");
        } else if name.len() > MAX_NAME_BYTES || name.starts_with(['.', '-']) || !name.bytes().all(fit) {
            let what = format!("{name:?} is no name: up to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`");
            self.add(at, what);
        }
    }

    fn announce_url(&mut self, at: KeyPath, text: &str) {
        let url = url::Url::parse(text);
        let fits = url.is_ok_and(|url| {
            let port = url.scheme() != "udp" || url.port().is_some();
            matches!(url.scheme(), "http" | "https" | "udp") && url.has_host() && port
        });
        if !fits {
            self.add(at, "is no announce URL such as http://HOST/announce or udp://HOST:PORT/announce");
        }
    }

    fn unique<T: PartialEq + std::fmt::Debug>(&mut self, list: &KeyPath, values: &[T]) {
        for (index, value) in values.iter().enumerate().take(MAX_ENTRIES) {
            if values[..index].contains(value) {
                self.add(list.index(index), format!("{value:?} is there twice"));
            }
        }
    }

    fn unique_names<'a>(&mut self, list: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            let at = key(list).index(index).name("name");
            self.name_is_fit(at.clone(), name);
            if !name.is_empty() && !seen.insert(name) {
                self.add(at, format!("there are two of the name {name:?}"));
            }
        }
    }

    /// A list's entries with their keys, if they are not too many.
    fn entries<'a, T>(&mut self, list: &KeyPath, entries: &'a [T]) -> Vec<(KeyPath, &'a T)> {
        if entries.len() > MAX_ENTRIES {
            self.add(list.clone(), format!("there are more than {MAX_ENTRIES}"));
        }
        entries.iter().take(MAX_ENTRIES).enumerate().map(|(index, entry)| (list.index(index), entry)).collect()
    }
}

#[cfg(test)]
mod tests;
