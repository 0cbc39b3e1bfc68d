//! Too many connections, too fast.

use mesh::DropReason;
use seedbox::Status;
use spillway_hostile::{Download, FAST, Peer, Target, connect, connect_from, reset};
use std::net::Ipv4Addr;

fn accounted(status: &Status) -> u64 {
    status.dropped.iter().map(|(_, count)| count).sum()
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    for shards in [1, 2] {
        let target = Target::start(shards, |_| {});
        let mut good = target.download();
        const CONNECTIONS: u64 = 3000;
        for n in 0..CONNECTIONS {
            let stream = connect(&target);
            match n % 2 {
                0 => reset(stream),
                _ => drop(stream),
            }
            if n % 50 == 0 {
                good.step(1);
            }
        }
        target.until_connections(1);
        // A connection that was reset before it was accepted may never be seen; none is seen twice.
        assert!(accounted(&target.status()) <= CONNECTIONS, "{:?}", target.status());
        good.finish();
        drop(good);
        target.finish();
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_and_those_within_are_served() {
    const LIMIT: usize = 40;
    let target = Target::start(1, |config| config.connections = Some(LIMIT));
    let mut good = target.download();
    let held: Vec<_> = (1..LIMIT).map(|_| connect(&target)).collect();
    target.until_connections(LIMIT as u64);
    const BEYOND: u64 = 400;
    for n in 0..BEYOND {
        let refused = connect(&target);
        if n % 2 == 0 {
            Peer::expect_closed(refused);
        }
        if n % 20 == 0 {
            good.step(1);
        }
    }
    target.until_dropped(DropReason::TooManyConnections, BEYOND);
    target.until_connections(LIMIT as u64);
    good.finish();
    drop((held, good));
    target.finish();
}

#[test]
fn one_address_does_not_take_the_places_of_the_others() {
    const PER_ADDRESS: u32 = 8;
    for shards in [1, 2] {
        let target = Target::start(shards, |config| config.connections_per_address = PER_ADDRESS);
        let most = u64::from(PER_ADDRESS) * shards as u64;
        let flooder = Ipv4Addr::new(127, 0, 0, 2);
        let held: Vec<_> = (0..200).map(|_| connect_from(&target, flooder)).collect();
        target.until("all are looked at", |status| accounted(status) + most >= 200);
        target.until_connections(most);
        target.until_dropped(DropReason::TooManyConnections, 200 - most);
        let stream = connect_from(&target, Ipv4Addr::new(127, 0, 0, 3));
        let mut good = Download::start(&target, Peer::greet_over(stream, &target, FAST));
        good.finish();
        drop((held, good));
        target.finish();
    }
}

#[test]
fn peers_that_come_and_go_by_the_hundred_are_all_counted() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    const PEERS: u64 = 500;
    for n in 0..PEERS {
        let peer = Peer::greet(&target, FAST);
        match n % 2 {
            0 => reset(peer.stream),
            _ => drop(peer),
        }
        if n % 10 == 0 {
            good.step(1);
        }
    }
    target.until_dropped(DropReason::ClosedByPeer, PEERS);
    good.finish();
    drop(good);
    target.finish();
}
