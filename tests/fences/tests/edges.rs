//! Which crate may depend on which: the floors of engine/ARCHITECTURE.md.

use spillway_fences::{Crate, crates};

/// Each crate and its floor. An edge leads to a lower floor, never to the same or a higher one.
const FLOORS: [(&str, u32); 24] = [
    ("spillway-bencode", 0),
    ("spillway-hash", 0),
    ("spillway-metainfo", 1),
    ("spillway-wire", 1),
    ("spillway-tracker", 1),
    ("spillway-dht", 1),
    ("spillway-settings", 1),
    ("spillway-swarm", 2),
    ("spillway-storage", 2),
    ("spillway-mesh", 2),
    ("spillway-publish", 2),
    ("spillway-shard", 3),
    ("spillway-control", 3),
    ("spillway-catalogue", 3),
    ("spillway-api", 4),
    ("spillway-seedbox", 5),
    ("spillway-service", 6),
    ("spillway", 7),
    ("spillway-swarmload", 7),
    ("spillway-micro", 7),
    ("spillway-fuzz-targets", 7),
    ("spillway-fences", 7),
    ("spillway-hostile", 7),
    ("spillway-sim", 7),
];

/// The highest floor that is pure: bytes and time come in as arguments.
const PURE_UP_TO: u32 = 2;

/// Libraries that own sockets, threads, clocks or random numbers.
const IMPURE: [&str; 12] = [
    "async-std",
    "core_affinity",
    "getrandom",
    "glommio",
    "hyper",
    "hyper-util",
    "mio",
    "rand",
    "reqwest",
    "smol",
    "socket2",
    "tokio",
];

/// HTTP servers and JSON belong to the api, the service and programs.
const API_ONLY: [&str; 6] = ["axum", "http-body-util", "hyper", "hyper-util", "serde_json", "tower"];
const API_FLOOR: u32 = 4;
const SERVICE_FLOOR: u32 = 6;

fn floor(name: &str) -> Option<u32> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

#[test]
fn every_crate_has_a_floor() {
    let crates = crates();
    assert!(crates.len() >= 12, "cargo metadata lists the workspace");
    let unknown: Vec<&str> =
        crates.iter().map(|package| package.name.as_str()).filter(|name| floor(name).is_none()).collect();
    assert!(unknown.is_empty(), "not in FLOORS: {unknown:?}");
}

#[test]
fn every_edge_goes_down() {
    for package in &crates() {
        for edge in package.edges.iter().filter(|edge| edge.ours) {
            let (from, to) = (floor(&package.name), floor(&edge.to));
            assert!(to < from, "{} ({from:?}) depends on {} ({to:?})", package.name, edge.to);
        }
    }
}

#[test]
fn a_pure_floor_owns_no_socket_thread_clock_or_random_number() {
    for package in crates().iter().filter(|package| floor(&package.name) <= Some(PURE_UP_TO)) {
        assert_depends_on_none_of(package, &IMPURE);
    }
}

#[test]
fn http_servers_and_json_stay_in_the_api_the_service_and_the_programs() {
    for package in &crates() {
        let floor = floor(&package.name);
        if floor != Some(API_FLOOR) && floor < Some(SERVICE_FLOOR) {
            assert_depends_on_none_of(package, &API_ONLY);
        }
    }
}

/// What tests need does not ship, and is not held against a crate.
fn assert_depends_on_none_of(package: &Crate, banned: &[&str]) {
    for edge in package.edges.iter().filter(|edge| !edge.dev) {
        assert!(!banned.contains(&edge.to.as_str()), "{} depends on {}", package.name, edge.to);
    }
}
