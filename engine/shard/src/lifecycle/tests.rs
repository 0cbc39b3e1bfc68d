//! Time limits by a clock that the test owns: a shard without an executor, whose connections are pairs of sockets.

use super::*;
use crate::config::{ShardConfig, ShardLink};
use crate::disk::DeviceBudgets;
use crate::doorbell::EventDoorbell;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::sync::Arc;
use std::time::Instant;
use swarm::RateLimiter;

struct NoBell;

impl mesh::Doorbell for NoBell {
    fn ring(&self) {}
}

fn shard() -> Shard {
    let config = ShardConfig {
        shard: 0,
        core: 0,
        start: Instant::now(),
        peer_id: wire::PeerId::ours([1; 12]),
        client: "test".into(),
        connection_limit: 10,
        connections_per_address: 10,
        unsent_budget_bytes: 64 << 20,
        listen: Vec::new(),
        listen_port: None,
        dial_from: Vec::new(),
        download: Arc::new(RateLimiter::unlimited()),
        pex: false,
        write_buffer_bytes: 0,
        open_file_limit: 10,
        upload: Arc::new(RateLimiter::unlimited()),
        device_budgets: Arc::new(DeviceBudgets::new(1)),
        neighbours: Arc::default(),
        turn_delay: Duration::ZERO,
        zero_copy: false,
        seed: 1,
    };
    let bell = Arc::new(EventDoorbell::new().unwrap());
    let link = Arc::new(ShardLink::new(bell.clone(), mesh::event_mailbox(Arc::new(NoBell))));
    Shard::new(config, link, bell, Vec::new()).unwrap()
}

/// A connection, and the other side's end, which keeps it open.
fn connection() -> (Connection, OwnedFd) {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    (
        Connection::new(ours, SocketAddr::from(([127, 0, 0, 1], 1)), UnsentShare::among(1 << 20, 1), Duration::ZERO),
        theirs,
    )
}

#[test]
fn a_handshake_gets_its_time_and_no_more() {
    let mut shard = shard();
    let (mut connection, _theirs) = connection();
    shard.now = HANDSHAKE_LIMIT - Duration::from_millis(1);
    assert_eq!(shard.check_time(&mut connection), Ok(()));
    shard.now = HANDSHAKE_LIMIT;
    assert_eq!(shard.check_time(&mut connection), Err(DropReason::HandshakeTimeout));
}

#[test]
fn a_peer_that_takes_nothing_of_what_waits_for_it_has_stalled() {
    let mut shard = shard();
    let (mut connection, _theirs) = connection();
    connection.phase = Phase::Draining;
    // Idle time before there was anything to take does not count.
    shard.now = Duration::from_secs(1000);
    assert_eq!(shard.check_time(&mut connection), Ok(()));
    connection.outbox.tail().push(1);
    shard.now += STALL_LIMIT - Duration::from_millis(1);
    assert_eq!(shard.check_time(&mut connection), Ok(()));
    shard.now += Duration::from_millis(1);
    assert_eq!(shard.check_time(&mut connection), Err(DropReason::Stalled));
}

#[test]
fn waiting_for_our_disk_is_no_stall_of_the_peers() {
    let mut shard = shard();
    let (mut connection, _theirs) = connection();
    connection.phase = Phase::Draining;
    connection.outbox.tail().push(1);
    connection.cold_since = Some(Duration::ZERO);
    shard.now = 2 * STALL_LIMIT;
    assert_eq!(shard.check_time(&mut connection), Ok(()));
}

#[test]
fn a_storm_of_refused_addresses_leaves_nothing_in_the_books() {
    let mut shard = shard();
    shard.config.connection_limit = 1;
    for n in 0..200 {
        let (ours, _theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        shard.take_up(ours, SocketAddr::from(([10, 0, 0, n], 1)));
    }
    assert_eq!(shard.by_address.len(), 1, "the one that was taken up");
    assert_eq!(shard.link.counters.dropped(DropReason::TooManyConnections), 199);
}
