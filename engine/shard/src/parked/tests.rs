//! Connections that wait for their torrents, by a clock that the test owns; control is the test.

use super::*;
use crate::connection::Phase;
use crate::handover::Leave;
use crate::lifecycle::tests::{connection, hear, shard};
use crate::limits::HANDSHAKE_LIMIT;
use crate::torrents::TorrentTask;
use mesh::{Command, TorrentCounters};
use metainfo::Torrent;
use rustix::fd::OwnedFd;
use std::sync::Arc;
use storage::{Content, Place, Seeded};
use swarm::{SuperSeeding, Terms};
use wire::{Handshake, PeerId, Reserved};

const TORRENT: TorrentId = TorrentId(3);

/// A torrent of one piece that is at rest, and what it takes to serve it.
struct Sleeper {
    _dir: tempfile::TempDir,
    task: TorrentTask,
    hello: Vec<u8>,
}

impl Sleeper {
    /// One that the shard would have woken.
    fn of(shard: &Shard) -> Sleeper {
        let info = format!("d6:lengthi65536e4:name1:f12:piece lengthi65536e6:pieces20:{}e", "h".repeat(20));
        let torrent = Arc::new(Torrent::from_info(info.as_bytes()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), vec![0; 65536]).unwrap();
        let content = Content::open(torrent.layout(), &Place::under(dir.path())).unwrap();
        let info_hash = torrent.info_hashes().next().unwrap();
        shard.config.names.insert(&[info_hash], TORRENT, true);
        let task = TorrentTask {
            seeded: Arc::new(Seeded::new(torrent, content)),
            counters: Arc::new(TorrentCounters::new(1)),
            terms: Arc::new(Terms::new(None, SuperSeeding::Off)),
        };
        let peer_id = PeerId::ours([2; 12]);
        Sleeper { _dir: dir, task, hello: Handshake { reserved: Reserved::FAST, info_hash, peer_id }.encode().to_vec() }
    }

    fn serve(&self, shard: &mut Shard) {
        let TorrentTask { seeded, counters, terms } = self.task.clone();
        order(shard, Command::Serve { id: TORRENT, torrent: seeded, terms, counters });
    }

    /// A connection that says `more` behind its handshake and waits.
    fn park(&self, shard: &mut Shard, more: &[u8]) -> (Key, OwnedFd) {
        let (mut connection, theirs) = connection();
        let key = shard.table.reserve();
        shard.remember_connection(&connection);
        rustix::io::write(&theirs, &[&self.hello[..], more].concat()).unwrap();
        assert_eq!(shard.receive(key, &mut connection), Err(Leave::Park { id: TORRENT }));
        shard.park(key, Box::new(connection), TORRENT);
        (key, theirs)
    }
}

fn order(shard: &mut Shard, command: Command<Arc<Seeded>, Arc<Terms>, Arc<storage::Partial>>) {
    assert!(shard.link.commands.post(command).is_ok());
    shard.handle_commands();
}

fn events(shard: &Shard) -> Vec<Event> {
    std::iter::from_fn(|| shard.link.events.take()).collect()
}

#[test]
fn those_that_wait_ask_once_and_go_on_as_if_they_had_just_come() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    let waiting: Vec<_> = (0..3).map(|_| sleeper.park(&mut shard, &[0, 0, 0, 1, 2])).collect();
    assert_eq!(events(&shard), [Event::Wanted { id: TORRENT }]);
    assert_eq!((shard.link.counters.parked.get(), shard.parked.bytes), (3, 3 * (sleeper.hello.len() + 5)));
    for (key, theirs) in &waiting {
        // What comes meanwhile is not read: it would overtake what waits.
        rustix::io::write(theirs, &[0, 0, 0, 0]).unwrap();
        let mut connection = shard.table.take(*key).unwrap();
        connection.readable = true;
        assert_eq!(shard.receive(*key, &mut connection), Ok(()));
        assert!(matches!(connection.phase, Phase::Greeting));
        shard.table.put(*key, connection);
    }
    sleeper.serve(&mut shard);
    assert_eq!((shard.link.counters.parked.get(), shard.parked.count, shard.parked.bytes), (0, 0, 0));
    for (key, _theirs) in waiting {
        let mut connection = shard.table.take(key).unwrap();
        assert_eq!(shard.receive(key, &mut connection), Ok(()));
        assert!(matches!(&connection.phase, Phase::Peer(peer) if peer.session.is_interested()));
        shard.table.put(key, connection);
    }
    assert_eq!(sleeper.task.counters.peers(), 3);
}

#[test]
fn a_load_gets_its_time_and_no_more_however_late_the_handshake_came() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    shard.now = HANDSHAKE_LIMIT - Duration::from_millis(1);
    let (key, _theirs) = sleeper.park(&mut shard, &[]);
    let mut connection = shard.table.take(key).unwrap();
    shard.now += LOAD_LIMIT - Duration::from_millis(1);
    assert_eq!(shard.check_time(&mut connection), Ok(()));
    shard.now += Duration::from_millis(1);
    assert_eq!(shard.check_time(&mut connection), Err(DropReason::LoadTimeout));
    shard.close(key, *connection, DropReason::LoadTimeout);
    assert_eq!((shard.link.counters.parked.get(), shard.parked.count, shard.parked.bytes), (0, 0, 0));
    shard.tick_parked();
    assert!(shard.parked.by_torrent.is_empty(), "the next one asks again");
}

#[test]
fn no_more_wait_than_may_and_no_more_is_kept_of_what_they_said() {
    let mut shard = shard();
    shard.config.connection_limit = 1000;
    let sleeper = Sleeper::of(&shard);
    let much = vec![0; 60_000];
    let room = PARKED_BYTES_LIMIT / (much.len() + sleeper.hello.len());
    let _waiting: Vec<_> = (0..room + 2).map(|_| sleeper.park(&mut shard, &much)).collect();
    assert_eq!(shard.link.counters.dropped(DropReason::TooManyParked), 2);
    assert!(shard.parked.bytes <= PARKED_BYTES_LIMIT);
    assert_eq!(shard.link.counters.connections.get(), room as u64);

    let (few, _theirs) = sleeper.park(&mut shard, &[]);
    assert!(shard.table.get_mut(few).is_some());
    shard.parked.count = PARKED_LIMIT;
    let (one_more, _theirs) = sleeper.park(&mut shard, &[]);
    assert!(shard.table.get_mut(one_more).is_none());
    assert_eq!(shard.link.counters.dropped(DropReason::TooManyParked), 3);
}

#[test]
fn a_torrent_that_does_not_come_lets_those_go_that_wait_and_says_why() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    let _first = sleeper.park(&mut shard, &[]);
    order(&mut shard, Command::Refuse { id: TORRENT });
    let _second = sleeper.park(&mut shard, &[]);
    order(&mut shard, Command::Withdraw { id: TORRENT });
    let dropped = |reason| shard.link.counters.dropped(reason);
    assert_eq!((dropped(DropReason::NotLoaded), dropped(DropReason::TorrentGone)), (1, 1));
    assert_eq!((shard.parked.count, shard.link.counters.connections.get()), (0, 0));
    assert_eq!(events(&shard).len(), 2, "each time control was asked");
}

#[test]
fn a_question_that_found_no_room_is_asked_again() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    while shard.link.events.post(Event::Stopped { shard: 0 }).is_ok() {}
    let _waits = sleeper.park(&mut shard, &[]);
    shard.tick_parked();
    assert!(!events(&shard).contains(&Event::Wanted { id: TORRENT }));
    shard.tick_parked();
    assert_eq!(events(&shard), [Event::Wanted { id: TORRENT }]);
    shard.tick_parked();
    assert_eq!(events(&shard), []);
}

#[test]
fn a_torrent_goes_to_rest_only_where_nobody_is_connected() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    sleeper.serve(&mut shard);
    let (mut peer, theirs) = connection();
    let key = shard.table.reserve();
    shard.remember_connection(&peer);
    hear(&mut shard, key, &mut peer, &theirs, &sleeper.hello);
    order(&mut shard, Command::Rest { id: TORRENT, ticket: 8 });
    assert_eq!(events(&shard), [Event::Rested { id: TORRENT, ticket: 8, is_kept: true }]);
    assert!(shard.torrents.find_id(TORRENT).is_some());

    shard.close(key, peer, DropReason::ClosedByPeer);
    order(&mut shard, Command::Rest { id: TORRENT, ticket: 9 });
    order(&mut shard, Command::Rest { id: TORRENT, ticket: 10 });
    let rested = |ticket| Event::Rested { id: TORRENT, ticket, is_kept: false };
    assert_eq!(events(&shard), [rested(9), rested(10)]);
    assert_eq!(Arc::strong_count(&sleeper.task.seeded), 1, "nothing here holds it any more");
    let _waits = sleeper.park(&mut shard, &[]);
    assert_eq!(events(&shard), [Event::Wanted { id: TORRENT }]);
}

#[test]
fn a_torrent_that_turns_out_to_be_fetched_takes_those_that_waited() {
    let mut shard = shard();
    let sleeper = Sleeper::of(&shard);
    let (key, _theirs) = sleeper.park(&mut shard, &[]);
    let info_hashes = sleeper.task.seeded.torrent().info_hashes().collect();
    order(&mut shard, Command::Forward { id: TORRENT, info_hashes, home: 1 });
    let mut connection = shard.table.take(key).unwrap();
    assert_eq!(shard.receive(key, &mut connection), Err(Leave::HandOver { to: 1 }));
    assert_eq!(connection.inbox.len(), sleeper.hello.len(), "the home shard reads it again");
}
