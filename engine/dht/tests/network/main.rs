//! Hundreds of nodes in one simulated network: do announced peers get found, and what do loss, death and malice do to that.
// A test's own helpers stop it as its assertions do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod simulation;

use std::net::SocketAddr;

use dht::{Announce, Config, Event, Family, id_fits};
use hash::InfoHash;
use simulation::{Hostile, Kind, Network};

const V4: Config = Config {
    v4: true,
    v6: false,
    read_only: false,
    answers_per_host_per_s: 25,
    answers_per_s: 500,
    store: dht::StoreLimits { peers: 10_000, peers_of_swarm: 100, peers_of_host: 1_000 },
};
const BOTH: Config = Config { v6: true, ..V4 };

/// Long enough for a bootstrap and its first retries.
const SETTLE_MS: u64 = 60_000;

fn announce(port: u16) -> Option<Announce> {
    Some(Announce { port, implied_port: false })
}

fn swarm(n: u8) -> InfoHash {
    hash::sha1(&[n]).into()
}

/// `count` nodes that have found each other by the first, and taken ids of their addresses.
fn network(seed: u64, count: usize, config: Config) -> Network {
    let mut network = Network::new(seed);
    let first = network.add(config, None);
    let routers = network.members[first].addresses.clone();
    network.add_honest(count - 1, config, &routers);
    network.run(SETTLE_MS);
    network
}

/// Announces from one node and looks up from others: how many of these find it.
fn found_by(network: &mut Network, announcer: usize, n: u8, seekers: &[usize]) -> usize {
    let port = 1_000 + u16::from(n);
    let peers: Vec<SocketAddr> =
        network.members[announcer].addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
    network.lookup(announcer, swarm(n), announce(port));
    let finds = |seeker: &&usize| {
        let (_, found) = network.lookup(**seeker, swarm(n), None);
        peers.iter().all(|peer| found.contains(peer))
    };
    seekers.iter().filter(finds).count()
}

#[test]
fn an_announced_peer_is_found_from_everywhere() {
    let mut network = network(1, 300, V4);
    for n in 0..10 {
        let seekers: Vec<usize> = (0..10).map(|k| 20 * k + usize::from(n) + 50).collect();
        assert_eq!(found_by(&mut network, usize::from(n) * 7, n, &seekers), seekers.len(), "swarm {n}");
    }
}

#[test]
fn a_lookup_asks_few_of_many_nodes_and_announces_to_the_eight_nearest() {
    let mut network = network(2, 300, V4);
    let before = network.dht(9).counters().queries;
    let (done, found) = network.lookup(9, swarm(1), announce(5));
    assert_eq!((done.announced, found.len()), (8, 0));
    assert!((8..60).contains(&done.answered), "{done:?}");
    assert!(network.dht(9).counters().queries - before < 80);
}

#[test]
fn both_families_find_each_other_with_one_router_in_one_of_them() {
    let mut network = Network::new(3);
    let first = network.add(BOTH, None);
    // The other family becomes known by what nodes tell of it (BEP 32).
    let v4: Vec<_> = network.members[first].addresses.iter().filter(|address| address.is_ipv4()).copied().collect();
    network.add_honest(59, BOTH, &v4);
    // One address of the other DHT, as a PORT message tells it.
    let [a, b] = [5, 6].map(|index| network.members[index].addresses[1]);
    let now = network.now;
    network.dht(10).add_node(now, a);
    network.dht(11).add_node(now, b);
    network.run(10 * SETTLE_MS);
    for family in Family::ALL {
        let known = (0..60).filter(|index| network.dht(*index).status(family).unwrap().nodes >= 8).count();
        assert_eq!(known, 60, "{family:?}");
    }
    assert_eq!(found_by(&mut network, 20, 1, &[30, 40, 50]), 3, "with its addresses of both families");
}

#[test]
fn two_nodes_are_a_network() {
    let mut network = Network::new(4);
    let first = network.add(V4, None);
    let routers = network.members[first].addresses.clone();
    network.add_honest(1, V4, &routers);
    network.run(SETTLE_MS);
    assert_eq!(found_by(&mut network, 0, 1, &[1]), 1);
    assert_eq!(found_by(&mut network, 1, 2, &[0]), 1);
}

#[test]
fn loss_and_dead_nodes_hide_few_peers() {
    let mut network = network(5, 200, V4);
    // A third dies at once, so that the tables are full of them.
    (1..200).filter(|index| index % 3 == 0).for_each(|index| network.kill(index));
    network.loss_percent = 30;
    let seekers: Vec<usize> = (10..110).filter(|index| index % 3 == 1).step_by(3).collect();
    let found: usize = (0..20).map(|n| found_by(&mut network, 2 + 3 * usize::from(n), n, &seekers)).sum();
    let all = 20 * seekers.len();
    // 95 % is usual; where the announce itself went astray, nobody finds that swarm until the next one.
    assert!(found * 100 >= all * 88, "{found} of {all}");
}

#[test]
fn dead_nodes_leave_the_tables() {
    let mut network = network(6, 100, V4);
    (1..100).filter(|index| index % 2 == 0).for_each(|index| network.kill(index));
    network.run(40 * 60_000);
    let dead: Vec<SocketAddr> = (2..100).step_by(2).map(|index| network.members[index].addresses[0]).collect();
    let told = network.dht(1).export();
    let told = bencode::decode(&told, &bencode::Limits::default()).unwrap().as_dict().unwrap();
    let nodes = told.get("nodes").unwrap().as_bytes().unwrap();
    let is_dead = |node: &[u8]| {
        dead.iter().any(|address| matches!(address.ip(), std::net::IpAddr::V4(ip) if ip.octets() == node[20..24]))
    };
    assert!(nodes.len() >= 8 * 26 && !nodes.chunks(26).any(is_dead));
}

#[test]
fn every_node_takes_an_id_of_its_address() {
    let mut network = network(7, 100, V4);
    network.run(5 * SETTLE_MS);
    for index in 0..100 {
        let ip = network.members[index].addresses[0].ip();
        let status = network.dht(index).status(Family::V4).unwrap();
        assert_eq!(status.external_ip, Some(ip), "{index}");
        assert!(id_fits(status.id, ip));
    }
}

#[test]
fn hostile_nodes_neither_hide_a_swarm_nor_grow_anything() {
    let mut network = network(8, 150, V4);
    network.run(2 * SETTLE_MS);
    let target = swarm(77);
    let hostile: Vec<usize> =
        (0..60).map(|_| network.add_other(Family::V4, Kind::Hostile(Hostile { target }))).collect();
    // Everybody hears of some, as if a peer had sent PORT.
    for index in 0..150 {
        for k in 0..6 {
            let address = network.members[hostile[(index + 10 * k) % hostile.len()]].addresses[0];
            let now = network.now;
            network.dht(index).add_node(now, address);
        }
    }
    network.run(SETTLE_MS);
    let seekers: Vec<usize> = (40..140).step_by(5).collect();
    let found = found_by(&mut network, 20, 77, &seekers);
    assert!(found * 10 >= seekers.len() * 9, "{found} of {}", seekers.len());
    for index in 0..150 {
        let status = network.dht(index).status(Family::V4).unwrap();
        let ip = network.members[index].addresses[0].ip();
        assert!(id_fits(status.id, ip), "liars move nobody's id");
        assert!(network.dht(index).counters().transmits_dropped == 0);
    }
    let own_network = network.lookup(50, target, None).1.into_iter().filter(|peer| peer.ip().is_loopback()).count();
    assert_eq!(own_network, 0);
}

#[test]
fn a_node_that_was_away_needs_no_router() {
    let mut network = network(9, 100, V4);
    network.lookup(3, swarm(1), announce(9));
    let state = network.dht(50).export();
    network.kill(50);
    let old = network.members[50].addresses[0];
    let again = network.add(V4, Some(&state));
    network.run(SETTLE_MS);
    assert!(network.dht(again).status(Family::V4).unwrap().nodes >= 8);
    assert_eq!(network.lookup(again, swarm(1), None).1.len(), 1);
    assert_ne!(network.members[again].addresses[0], old, "even from elsewhere");
}

#[test]
fn a_restarted_node_with_its_old_id_is_known_at_its_new_address() {
    let mut network = network(12, 30, V4);
    let state = network.dht(7).export();
    network.kill(7);
    let again = network.add(V4, Some(&state));
    let std::net::IpAddr::V4(ip) = network.members[again].addresses[0].ip() else { panic!("an IPv4 address") };
    network.run(2 * SETTLE_MS);
    let known = (0..30).filter(|index| *index != 7);
    let known =
        known.filter(|index| network.dht(*index).export().windows(4).any(|window| window == ip.octets())).count();
    assert!(known > 5, "{known}");
}

#[test]
fn nobody_knows_a_read_only_node_and_it_finds_all_the_same() {
    let mut network = network(10, 60, V4);
    let routers = network.members[0].addresses.clone();
    network.add_honest(1, Config { read_only: true, ..V4 }, &routers);
    network.run(SETTLE_MS);
    network.lookup(5, swarm(1), announce(9));
    assert_eq!(network.lookup(60, swarm(1), announce(10)).1.len(), 1);
    assert_eq!(network.lookup(5, swarm(1), None).1.len(), 2, "its announces count");
    let std::net::IpAddr::V4(ip) = network.members[60].addresses[0].ip() else { panic!("an IPv4 address") };
    for index in 0..60 {
        let state = network.dht(index).export();
        assert!(!state.windows(4).any(|window| window == ip.octets()), "node {index} knows it");
    }
    assert_eq!(network.dht(60).counters().answered, 0);
}

#[test]
fn a_lookup_without_anybody_ends_at_once() {
    let mut network = Network::new(11);
    let index = network.add(BOTH, None);
    let (done, found) = network.lookup(index, swarm(1), announce(1));
    assert_eq!((done.answered, done.announced, found.len()), (0, 0, 0));
    assert!(network.members[index].events.iter().all(|event| !matches!(event, Event::Peers { .. })));
}
