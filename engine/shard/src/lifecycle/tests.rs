//! Time limits by a clock that the test owns: a shard without an executor, whose connections are pairs of sockets.

use super::*;
use crate::config::{ShardConfig, ShardLink};
use crate::connection::{Dialled, Fetching};
use crate::disk::DeviceBudgets;
use crate::doorbell::EventDoorbell;
use mesh::{Fetch, TorrentCounters, TorrentId};
use metainfo::Torrent;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::sync::Arc;
use std::time::Instant;
use storage::{Partial, PartialOptions, Place, Seeded};
use swarm::{RateLimiter, SuperSeeding, Terms};
use wire::{Handshake, Message, PeerId, Reserved};

struct NoBell;

impl mesh::Doorbell for NoBell {
    fn ring(&self) {}
}

pub(crate) fn shard() -> Shard {
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
        dht_port: None,
        dial_from: Vec::new(),
        download: Arc::new(RateLimiter::unlimited()),
        pex: false,
        write_buffer_bytes: 1 << 20,
        open_file_limit: 10,
        upload: Arc::new(RateLimiter::unlimited()),
        device_budgets: Arc::new(DeviceBudgets::new(1)),
        names: Arc::default(),
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
pub(crate) fn connection() -> (Connection, OwnedFd) {
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

/// Has the shard fetch a torrent of one piece into a folder.
pub(crate) fn fetch(shard: &mut Shard) -> (tempfile::TempDir, TorrentTask, Handshake) {
    let info = format!("d6:lengthi65536e4:name1:f12:piece lengthi65536e6:pieces20:{}e", "h".repeat(20));
    let torrent = Arc::new(Torrent::from_info(info.as_bytes()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let place = Place::under(dir.path());
    let (partial, resumed) = Partial::open(torrent.clone(), &place, &PartialOptions::default()).unwrap();
    let task = TorrentTask {
        seeded: Arc::new(Seeded::new(torrent.clone(), partial.content())),
        counters: Arc::new(TorrentCounters::new(1)),
        terms: Arc::new(Terms::new(None, SuperSeeding::Off)),
    };
    shard.fetch(Fetch {
        id: TorrentId(0),
        torrent: task.seeded.clone(),
        wanted: partial.wanted().as_bytes().into(),
        partial: Arc::new(partial),
        have: resumed.have.as_bytes().into(),
        sequential: false,
        terms: task.terms.clone(),
        counters: task.counters.clone(),
    });
    let info_hash = torrent.info_hashes().next().unwrap();
    (dir, task, Handshake { reserved: Reserved::FAST, info_hash, peer_id: PeerId::ours([2; 12]) })
}

pub(crate) fn hear(shard: &mut Shard, key: Key, connection: &mut Connection, theirs: &OwnedFd, bytes: &[u8]) {
    rustix::io::write(theirs, bytes).unwrap();
    connection.readable = true;
    assert_eq!(shard.receive(key, connection), Ok(()));
}

#[test]
fn a_peer_that_says_nothing_but_blocks_is_not_silent() {
    let mut shard = shard();
    let (_dir, _, handshake) = fetch(&mut shard);
    let (mut connection, theirs) = connection();
    let key = shard.table.reserve();
    hear(&mut shard, key, &mut connection, &theirs, &handshake.encode());
    let mut block = Vec::new();
    Message::Piece { index: 0, begin: 0, data: &[0; 100] }.encode(&mut block);
    for _ in 0..4 {
        shard.now += swarm::limits::IDLE_LIMIT / 2;
        hear(&mut shard, key, &mut connection, &theirs, &block);
        // What we have to say is said.
        let waiting = connection.outbox.len();
        connection.outbox.advance(waiting);
        assert_eq!(shard.check_time(&mut connection), Ok(()));
    }
}

#[test]
fn a_dial_ends_also_if_its_torrent_is_whole_by_then() {
    let mut shard = shard();
    let (_dir, task, handshake) = fetch(&mut shard);
    let (mut connection, theirs) = connection();
    let key = shard.table.reserve();
    shard.now = Duration::from_secs(10);
    shard.dial_pace.handle_dialled(shard.now);
    let dialled = Dialled { torrent: Slot(0), is_web_seed: false };
    connection.fetching = Some(Box::new(Fetching { dialled: Some(dialled), ..Fetching::default() }));
    shard.remember_connection(&connection);
    shard.serve(TorrentId(0), task);
    hear(&mut shard, key, &mut connection, &theirs, &handshake.encode());
    assert_eq!(shard.dial_pace.half_open_count(), 0);
    shard.close(key, connection, DropReason::ClosedByPeer);
    assert_eq!(shard.dial_pace.half_open_count(), 0, "each dial ends once");
}
