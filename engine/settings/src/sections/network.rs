//! What listens and what asks: `[peers]`, `[tracker]` with `[tracker.client]`, `[http]` with `[http.tls]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::{Period, Size, WebUrl};

const PEERS_PORT: u16 = 51413;
const TRACKER_PORT: u16 = 6969;

/// Where peers reach us and how many are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Addresses to listen on. `[::]` is passed over on a machine without IPv6; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The addresses at which others reach this machine, where those are not its own (behind NAT).
    pub external_addresses: Vec<IpAddr>,
    /// Connections at once. If unset, as many as the descriptors allow (`LimitNOFILE=`).
    pub connections: Option<u32>,
    /// Connections at once from one address and on one shard; many users may stand behind one address.
    pub connections_per_address: u32,
    /// Peers that are served at once; the others wait for their turn. If unset, all are.
    pub slots: Option<u32>,
    /// Whether peers of a torrent are told of each other (PEX). Never for private torrents.
    pub pex: bool,
    /// Whether torrents are announced in the DHT, where peers find them without a tracker. Never private ones.
    pub dht: bool,
    /// Nodes (HOST:PORT) that the DHT is entered by. If empty, those that everybody enters it by.
    pub dht_nodes: Vec<String>,
    /// Whether torrents are announced on the local network (LSD). Never private ones.
    pub lsd: bool,
    /// Super-seeding (BEP 16), so that the first copy is in the swarm soon: "auto" does it among several downloaders and not
    /// where it would hurt, "on" also beyond the first copy, "off" never.
    pub super_seed: SuperSeed,
}

/// When torrents are super-seeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuperSeed {
    /// Among several downloaders, unless it would hurt.
    #[default]
    Auto,
    /// Also beyond the first copy.
    On,
    /// Never.
    Off,
}

/// The tracker for what is served here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Tracker {
    /// Addresses to listen on, HTTP and UDP on the same port. An empty list runs no tracker.
    pub listen: Vec<SocketAddr>,
    /// The tracker's announce URLs (http, https or udp) as others reach it and as new torrents name it. If empty, they are
    /// made from this machine's addresses.
    pub external_urls: Vec<String>,
    /// Whether it serves everybody's torrents. Else it serves those of this server and those of `allow`.
    pub open: bool,
    /// A file of more info-hashes that it serves, one a line, or magnet links; read again on a reload.
    pub allow: Option<PathBuf>,
    /// How long peers wait between two announces.
    pub interval: Period,
    /// How other trackers are asked.
    pub client: TrackerClient,
}

/// How other trackers are asked. Each host has limits of its own, so that a dead one costs the others nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerClient {
    /// Announces a second to one host, of each of IPv4 and IPv6, and of each of its ports. Ten thousand hybrid torrents make twenty thousand announces at a start.
    pub announces_per_second: u32,
    /// Connections at once to one host; they are kept and used again.
    pub connections_per_host: u32,
}

/// Feeds and release files over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Addresses to listen on for plain HTTP; those of the tracker may be named again, and then serve both. If empty, feeds and
    /// files are served at the tracker's addresses, or by HTTPS alone where that has addresses.
    pub listen: Vec<SocketAddr>,
    /// The URL that feeds and files are reached at, as links in feeds have it. If unset, links are made from this machine's
    /// addresses.
    pub base_url: Option<WebUrl>,
    /// Connections at once, the tracker's included.
    pub connections: u32,
    /// Connections at once from one address.
    pub connections_per_address: u32,
    /// Bytes that a request's head may have.
    pub header_size: Size,
    /// How long a request's head may take to arrive.
    pub header_timeout: Period,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Period,
    /// Requests on one connection, which is closed after them.
    pub requests_per_connection: u32,
    /// HTTPS.
    pub tls: Tls,
}

/// HTTPS beside plain HTTP, for the tracker, feeds and files alike. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Addresses to listen on for HTTPS.
    pub listen: Vec<SocketAddr>,
    /// The certificate and those between it and the root, as PEM.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM.
    pub key: Option<PathBuf>,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            listen: wildcard(PEERS_PORT),
            external_addresses: Vec::new(),
            connections: None,
            connections_per_address: 1000,
            slots: None,
            pex: true,
            dht: true,
            dht_nodes: Vec::new(),
            lsd: false,
            super_seed: SuperSeed::Auto,
        }
    }
}

impl Default for Tracker {
    fn default() -> Tracker {
        Tracker {
            listen: wildcard(TRACKER_PORT),
            external_urls: Vec::new(),
            open: false,
            allow: None,
            interval: Period::from_secs(1800),
            client: TrackerClient::default(),
        }
    }
}

impl Default for TrackerClient {
    fn default() -> TrackerClient {
        TrackerClient { announces_per_second: 400, connections_per_host: 16 }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: Vec::new(),
            base_url: None,
            connections: 8192,
            connections_per_address: 256,
            header_size: Size(16 << 10),
            header_timeout: Period::from_secs(10),
            idle_timeout: Period::from_secs(30),
            requests_per_connection: 1000,
            tls: Tls::default(),
        }
    }
}

/// Every address of the machine, in both families.
fn wildcard(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// What the sample shows where a key is not set by default.
pub(crate) mod example {
    use super::*;

    pub(crate) fn peers() -> Peers {
        Peers {
            connections: Some(20_000),
            slots: Some(500),
            external_addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
            dht_nodes: vec!["router.example.org:6881".to_owned()],
            ..Peers::default()
        }
    }

    pub(crate) fn tracker() -> Tracker {
        Tracker {
            external_urls: vec![
                "http://tracker.example.org:6969/announce".to_owned(),
                "udp://tracker.example.org:6969/announce".to_owned(),
            ],
            allow: Some("/etc/spillway/info-hashes.txt".into()),
            ..Tracker::default()
        }
    }

    pub(crate) fn http() -> Http {
        Http {
            listen: vec![(Ipv4Addr::UNSPECIFIED, 80).into()],
            base_url: "https://example.org/".parse().ok(),
            ..Http::default()
        }
    }

    pub(crate) fn tls() -> Tls {
        Tls {
            listen: vec![(Ipv4Addr::UNSPECIFIED, 443).into()],
            certificate: Some("/etc/spillway/tls/fullchain.pem".into()),
            key: Some("/etc/spillway/tls/key.pem".into()),
        }
    }
}
