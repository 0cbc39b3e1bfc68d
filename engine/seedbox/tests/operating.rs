//! What an operator does to a running engine: stop and go on, limits, lists, checks, and what the engine tells by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use control::tracker_service::TrackerService;
use control::{AtRest, EngineEvent, EngineEvents, LoadError, NewTorrent, OrderError, Tiers, TorrentSource};
use mesh::{Direction, DropReason};
use seedbox::{
    Config, Engine, EngineError, EngineHandle, FetchRequest, GlobalLimits, Release, Source, SuperSeeding, Terms,
    TorrentId, TorrentState, TorrentStatus, TrackerConfig,
};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Place, Seeded};
use support::{BLOCK, DEADLINE, Folder, Peer, config, dropped, loopback, plain, until};
use swarm::{GroupLimits, TorrentLimits};
use wire::Message;

const GRACE: Duration = Duration::from_millis(300);
const SIZE: usize = 1_000_000;

fn rate(bytes_per_s: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes_per_s)
}

/// Limits without super-seeding, as [`plain`] has it.
fn limits() -> TorrentLimits {
    TorrentLimits { super_seeding: SuperSeeding::Off, ..TorrentLimits::default() }
}

/// An engine with one release, and a runtime on which to speak to it.
struct Scene {
    folder: Folder,
    release: Release,
    engine: Engine,
    handle: EngineHandle,
    id: TorrentId,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new(config: &Config) -> Scene {
        let folder = Folder::new();
        let release = folder.publish(&folder.write("image.iso", SIZE, 1));
        let engine = Engine::start(config).unwrap();
        let handle = engine.handle();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let new = NewTorrent { seeded: release.seeded.clone(), terms: Arc::new(plain()), tiers: Vec::new().into() };
        let id = runtime.block_on(handle.add(new)).unwrap();
        Scene { folder, release, engine, handle, id, runtime }
    }

    fn with_tracker() -> Scene {
        let tracker = Some(TrackerConfig { listen: vec![loopback()], ..TrackerConfig::default() });
        Scene::new(&Config { tracker, ..config(2) })
    }

    fn now<T>(&self, what: impl Future<Output = Result<T, EngineError>>) -> T {
        self.soon(what).unwrap()
    }

    fn soon<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await.expect("it takes forever") })
    }

    fn status(&self) -> TorrentStatus {
        self.now(self.handle.status_of(self.id))
    }

    fn peer(&self) -> Peer {
        Peer::ready(self.engine.listen()[0], self.release.seeded.torrent())
    }

    fn is_greeted(&self) -> bool {
        Peer::try_greet(self.engine.listen()[0], self.release.seeded.torrent()).is_some()
    }

    fn is_tracked(&self, service: &TrackerService) -> bool {
        self.release.seeded.torrent().info_hashes().all(|info_hash| service.stats(info_hash).is_some())
    }

    fn next_event(&self, events: &mut EngineEvents) -> EngineEvent {
        self.soon(events.next()).unwrap()
    }

    /// The place of the content, and the torrent.
    fn recheck(&self) -> Result<(), EngineError> {
        let torrent = self.release.seeded.torrent().clone();
        self.soon(self.handle.recheck(self.id, torrent, Place::under(self.folder.path())))
    }
}

/// Overwrites some bytes of a file in place.
fn damage(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xee; 100], at).unwrap();
}

#[test]
fn a_stopped_torrent_is_nowhere_to_be_had_and_comes_back_with_its_totals() {
    let scene = Scene::with_tracker();
    let service = scene.handle.tracker().unwrap().clone();
    let mut peer = scene.peer();
    peer.request(0, 0, BLOCK);
    assert!(peer.block().is_some() && scene.is_tracked(&service));
    scene.now(scene.handle.stop(scene.id));
    assert!(peer.block().is_none(), "its peers are let go");
    assert!(!scene.is_tracked(&service));
    assert!((0..8).all(|_| !scene.is_greeted()), "on every shard");
    let status = scene.status();
    assert!(status.is_stopped && status.error.is_none(), "{status:?}");
    scene.now(scene.handle.stop(scene.id));
    scene.now(scene.handle.start(scene.id));
    assert!(scene.is_tracked(&service));
    let mut peer = scene.peer();
    peer.request(0, 0, BLOCK);
    assert!(peer.block().is_some());
    until(&scene.engine, "both blocks count", |status| status.torrents[0].payload_sent_bytes == 2 * u64::from(BLOCK));
    assert!(!scene.status().is_stopped);
    scene.engine.stop(GRACE).unwrap();
}

/// Content that is at hand whenever somebody asks for it.
struct AtHand(Arc<Seeded>);

impl TorrentSource for AtHand {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        Ok(self.0.clone())
    }
}

#[test]
fn one_at_rest_is_not_woken_while_it_is_stopped() {
    let scene = Scene::with_tracker();
    let service = scene.handle.tracker().unwrap().clone();
    scene.now(scene.handle.remove(scene.id));
    let torrent = scene.release.seeded.torrent();
    let at_rest = AtRest {
        name: torrent.layout().name().to_owned(),
        info_hashes: torrent.info_hashes().collect(),
        misnamed: None,
        size_bytes: torrent.layout().total_size(),
        is_private: false,
        is_restored: true,
        tiers: Tiers::from(Vec::new()),
        terms: Arc::new(plain()),
        source: Arc::new(AtHand(scene.release.seeded.clone())),
    };
    let id = scene.now(scene.handle.add_many(vec![at_rest])).pop().unwrap().unwrap();
    for _ in 0..2 {
        scene.now(scene.handle.stop(id));
        assert!((0..4).all(|_| !scene.is_greeted()) && !scene.is_tracked(&service));
        let status = scene.now(scene.handle.status_of(id));
        assert!(status.is_stopped && status.error.is_none(), "{status:?}");
        scene.now(scene.handle.start(id));
        assert!((0..4).all(|_| scene.is_greeted()) && scene.is_tracked(&service), "it is woken, and stays so");
    }
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_torrent_that_is_gone_is_an_error_that_says_so_and_an_event() {
    let scene = Scene::new(&config(1));
    let mut events = scene.handle.events().unwrap();
    scene.now(scene.handle.remove(scene.id));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Removed { id } if id == scene.id));
    let unknown = |error: EngineError| matches!(error, EngineError::Order(OrderError::Unknown { .. }));
    assert!(unknown(scene.soon(scene.handle.stop(scene.id)).unwrap_err()));
    assert!(unknown(scene.soon(scene.handle.peers(scene.id)).unwrap_err()));
    assert!(unknown(scene.soon(scene.handle.set_limits(scene.id, limits())).unwrap_err()));
    assert!(unknown(scene.recheck().unwrap_err()));
    scene.engine.stop(GRACE).unwrap();
    assert!(matches!(scene.runtime.block_on(scene.handle.status()), Err(EngineError::Gone)));
    assert!(scene.runtime.block_on(events.next()).is_none());
    assert!(matches!(scene.handle.events(), Err(EngineError::Gone)));
}

#[test]
fn a_fetch_that_is_stopped_keeps_what_it_has_and_goes_on_when_it_is_started() {
    let scene = Scene::new(&config(1));
    let folder = Folder::new();
    let leech = Engine::start(&config(2)).unwrap();
    let handle = leech.handle();
    let torrent = scene.release.seeded.torrent().clone();
    let terms = Terms::with(TorrentLimits { download_bytes_per_s: rate(150_000), ..limits() }, None);
    let peers = scene.engine.listen().to_vec();
    let request = FetchRequest {
        terms,
        peers: peers.clone(),
        ..FetchRequest::new(Source::Torrent(torrent.clone()), folder.path().join("into"))
    };
    let id = scene.now(handle.fetch(request));
    let verified =
        |status: &seedbox::Status| status.torrents[0].fetch.as_ref().map_or(0, |fetch| fetch.verified_pieces);
    until(&leech, "a piece comes", |status| verified(status) > 0);
    let mut events = handle.events().unwrap();
    scene.now(handle.stop(id));
    let stopped = until(&leech, "its peers are gone", |status| status.torrents[0].peers == 0);
    assert!(stopped.torrents[0].is_stopped && verified(&stopped) < 16, "{stopped:?}");
    for address in leech.listen() {
        assert!(Peer::try_greet(*address, &torrent).is_none(), "nobody is let in");
    }
    scene.now(handle.set_limits(id, limits()));
    scene.now(handle.start(id));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Completed { id: done } if done == id));
    let done = scene.now(handle.status_of(id));
    assert_eq!((done.state, done.payload_received_bytes), (TorrentState::Complete, SIZE as u64), "nothing came twice");
    leech.stop(GRACE).unwrap();
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_group_that_is_short_keeps_to_its_rate_and_stalls_no_other_torrent() {
    const RATE: u64 = 40_000;
    let scene = Scene::new(&config(1));
    let group = Arc::new(GroupLimits::new(rate(RATE), None));
    let other = scene.folder.publish(&scene.folder.write("other.iso", SIZE, 2));
    let begun = Instant::now();
    scene.now(scene.handle.set_limits(scene.id, TorrentLimits { group: Some(group.clone()), ..limits() }));
    scene.engine.add(other.seeded.clone(), Vec::new(), plain()).unwrap();
    let mut short: Vec<Peer> = (0..4).map(|_| scene.peer()).collect();
    short.iter_mut().for_each(|peer| (0..40).for_each(|n| peer.request(n % 15, 0, BLOCK)));
    let mut free = Peer::ready(scene.engine.listen()[0], other.seeded.torrent());
    for n in 0..120 {
        free.request(n % 15, 0, BLOCK);
        assert!(free.block().is_some(), "others have no part in its trouble");
    }
    assert!(short[0].block().is_some(), "nor does it starve");
    let sent = scene.status().payload_sent_bytes;
    let allowed = begun.elapsed().as_secs_f64() * RATE as f64 * 1.05 + f64::from(BLOCK);
    assert!(sent as f64 <= allowed, "{sent} of {allowed} bytes");
    // Whoever made the group may change it while it is at work.
    group.upload.set_rate(None);
    for peer in &mut short {
        assert!(peer.block().is_some());
    }
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_torrents_own_limit_changes_while_peers_wait_for_it() {
    let scene = Scene::new(&config(2));
    scene.now(scene.handle.set_limits(scene.id, TorrentLimits { upload_bytes_per_s: rate(1_000), ..limits() }));
    let mut peer = scene.peer();
    (0..15).for_each(|n| peer.request(n, 0, BLOCK));
    scene.now(scene.handle.set_limits(scene.id, limits()));
    // At the old rate they would take four minutes.
    assert_eq!((0..15).filter(|_| peer.block().is_some()).count(), 15);
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn the_engines_limits_change_while_it_runs() {
    let scene = Scene::new(&config(1));
    let tight = GlobalLimits { upload_bytes_per_s: rate(1_000), connections: Some(1), ..GlobalLimits::default() };
    scene.now(scene.handle.set_global(tight));
    let mut peer = scene.peer();
    (0..15).for_each(|n| peer.request(n, 0, BLOCK));
    assert!(!scene.is_greeted(), "there is one connection already");
    assert_eq!(dropped(&scene.engine.status().unwrap(), DropReason::TooManyConnections), 1);
    scene.now(scene.handle.set_global(GlobalLimits::default()));
    assert_eq!((0..15).filter(|_| peer.block().is_some()).count(), 15);
    assert!(scene.is_greeted());
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn slots_are_limited_and_freed_while_it_runs() {
    let scene = Scene::new(&config(1));
    let mut first = scene.peer();
    scene.now(scene.handle.set_global(GlobalLimits { slots: Some(1), ..GlobalLimits::default() }));
    let mut second = Peer::try_greet(scene.engine.listen()[0], scene.release.seeded.torrent()).unwrap();
    second.say(Message::Interested);
    until(&scene.engine, "both want something and one may ask", |status| {
        (status.interested, status.unchoked) == (2, 1)
    });
    scene.now(scene.handle.set_global(GlobalLimits::default()));
    second.hear(|message| (message == Message::Unchoke).then_some(())).expect("it is unchoked");
    first.request(0, 0, BLOCK);
    assert!(first.block().is_some());
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn peers_are_listed_over_all_shards_with_what_they_are_and_have() {
    let scene = Scene::new(&config(2));
    let mut peers: Vec<Peer> = (0..6).map(|_| scene.peer()).collect();
    peers[0].request(0, 0, BLOCK);
    assert!(peers[0].block().is_some());
    peers[1].say(Message::Have { index: 3 });
    let other = scene.folder.publish(&scene.folder.write("other.iso", SIZE, 2));
    scene.engine.add(other.seeded.clone(), Vec::new(), plain()).unwrap();
    let _elsewhere = Peer::ready(scene.engine.listen()[0], other.seeded.torrent());
    let deadline = Instant::now() + DEADLINE;
    let list = loop {
        let list = scene.now(scene.handle.peers(scene.id));
        // What was said last is heard a moment later.
        if list.peers.iter().any(|peer| peer.have_pieces == 1) {
            break list;
        }
        assert!(Instant::now() < deadline, "{list:?}");
    };
    assert_eq!((list.peers.len(), list.left_out), (6, 0));
    assert_eq!(list.peers.iter().map(|peer| peer.sent_bytes).sum::<u64>(), u64::from(BLOCK));
    for peer in &list.peers {
        assert!(peer.address.ip().is_loopback() && peer.is_interested && !peer.is_choked, "{peer:?}");
        assert_eq!((peer.direction, peer.total_pieces), (Direction::Incoming, 16));
        assert_eq!(peer.client, "client XX 0.0.0.1");
    }
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_fetchs_peers_show_what_comes_from_them() {
    let scene = Scene::new(&config(1));
    let folder = Folder::new();
    let leech = Engine::start(&config(1)).unwrap();
    let handle = leech.handle();
    let source = Source::Torrent(scene.release.seeded.torrent().clone());
    let terms = Terms::with(TorrentLimits { download_bytes_per_s: rate(100_000), ..limits() }, None);
    let peers = scene.engine.listen().to_vec();
    let id = scene.now(handle.fetch(FetchRequest { terms, peers, ..FetchRequest::new(source, folder.path()) }));
    let deadline = Instant::now() + DEADLINE;
    loop {
        let list = scene.now(handle.peers(id));
        if let [peer] = &list.peers[..]
            && peer.download_bytes_per_s > 0
        {
            assert_eq!((peer.direction, peer.have_pieces), (Direction::Outgoing, 16));
            assert!(peer.client.starts_with("Spillway ") && peer.received_bytes > 0 && !peer.chokes_us, "{peer:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{list:?}");
    }
    let theirs = scene.now(scene.handle.peers(scene.id));
    assert!(theirs.peers[0].sent_bytes > 0 && theirs.peers[0].direction == Direction::Incoming, "{theirs:?}");
    leech.stop(GRACE).unwrap();
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn trackers_are_listed_with_what_they_said_and_are_asked_when_somebody_wants_it() {
    let scene = Scene::with_tracker();
    let folder = Folder::new();
    let mirror = Engine::start(&Config { announce: true, ..config(1) }).unwrap();
    let handle = mirror.handle();
    std::fs::copy(scene.folder.path().join("image.iso"), folder.path().join("image.iso")).unwrap();
    let release = folder.publish(&folder.path().join("image.iso"));
    assert_eq!(release.seeded.torrent().info_bytes(), scene.release.seeded.torrent().info_bytes());
    let tiers: Vec<Vec<String>> = vec![scene.engine.tracker_tiers()[0][..1].to_vec()];
    let url = tiers[0][0].clone();
    let new = NewTorrent { seeded: release.seeded, terms: Arc::new(plain()), tiers: tiers.into() };
    let id = scene.now(handle.add(new));
    let deadline = Instant::now() + DEADLINE;
    let lines = loop {
        let lines = scene.now(handle.trackers(id));
        if lines.iter().all(|line| line.succeeded_ago.is_some()) {
            break lines;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
    };
    assert_eq!(lines.len(), 2, "one for each of the hybrid's names");
    for line in &lines {
        assert_eq!((line.url.as_deref(), line.tier, &line.error), (Some(url.as_str()), 0, &None));
        assert!(line.seed_count.is_some_and(|seeds| seeds >= 1), "{line:?}");
    }
    assert_eq!(scene.now(handle.announce_now(id)), 0, "they were asked a moment ago");
    assert!(scene.now(scene.handle.trackers(scene.id)).is_empty(), "one that is announced to nobody has no lines");
    mirror.stop(GRACE).unwrap();
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_recheck_serves_nothing_meanwhile_and_content_that_is_right_afterwards() {
    let scene = Scene::with_tracker();
    let mut events = scene.handle.events().unwrap();
    let mut peer = scene.peer();
    scene.recheck().unwrap();
    assert!(peer.block().is_none(), "its peers are let go");
    let event = scene.next_event(&mut events);
    let EngineEvent::Rechecked { id, report } = event else { panic!("{event:?}") };
    assert!(id == scene.id && report.is_complete() && report.record.is_some(), "{report:?}");
    until(&scene.engine, "it is served again", |status| status.torrents[0].state == TorrentState::Complete);
    scene.peer();
    assert!(scene.is_tracked(scene.handle.tracker().unwrap()));
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_recheck_of_damaged_content_names_files_and_pieces_and_another_one_helps() {
    let scene = Scene::new(&config(2));
    let path = scene.folder.path().join("image.iso");
    let before = std::fs::read(&path).unwrap();
    let mut events = scene.handle.events().unwrap();
    damage(&path, 5 * 65536);
    until(&scene.engine, "the watch sees it", |status| status.torrents[0].error.is_some());
    let event = scene.next_event(&mut events);
    assert!(matches!(&event, EngineEvent::Failed { reason, .. } if reason.contains("image.iso")), "{event:?}");
    let refused = scene.soon(scene.handle.start(scene.id)).unwrap_err();
    assert!(matches!(&refused, EngineError::Order(OrderError::Changed { .. })), "{refused}");

    scene.recheck().unwrap();
    let event = scene.next_event(&mut events);
    let EngineEvent::Rechecked { report, .. } = event else { panic!("{event:?}") };
    assert_eq!((report.piece_count, report.bad_count), (16, 1));
    assert!(report.problems[0].contains("image.iso: 1 bad pieces") && report.record.is_none(), "{report:?}");
    let error = scene.status().error.unwrap();
    assert!(error.contains("1 of 16 pieces") && error.contains("image.iso"), "{error}");
    assert!(!scene.is_greeted());
    assert!(scene.soon(scene.handle.start(scene.id)).is_err(), "it is not served because somebody wants it");
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Failed { .. }));

    std::fs::write(&path, before).unwrap();
    scene.recheck().unwrap();
    let event = scene.next_event(&mut events);
    assert!(matches!(&event, EngineEvent::Rechecked { report, .. } if report.is_complete()), "{event:?}");
    until(&scene.engine, "it is served again", |status| status.torrents[0].error.is_none());
    let mut peer = scene.peer();
    peer.request(5, 0, BLOCK);
    assert!(peer.block().is_some());
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_recheck_of_another_torrent_or_of_one_that_is_fetched_is_refused() {
    let scene = Scene::new(&config(1));
    let other = scene.folder.publish(&scene.folder.write("other.iso", SIZE, 2));
    let place = || Place::under(scene.folder.path());
    let torrent = other.seeded.torrent().clone();
    let error = scene.soon(scene.handle.recheck(scene.id, torrent.clone(), place())).unwrap_err();
    assert!(matches!(error, EngineError::Order(OrderError::OtherTorrent { .. })), "{error}");
    scene.peer();
    let folder = Folder::new();
    let source = Source::Torrent(torrent.clone());
    let id = scene.now(scene.handle.fetch(FetchRequest::new(source, folder.path())));
    let error = scene.soon(scene.handle.recheck(id, torrent, place())).unwrap_err();
    assert!(matches!(error, EngineError::Order(OrderError::BeingFetched { .. })), "{error}");
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn damaged_content_is_mended_from_the_swarm_under_the_same_number() {
    let origin = Scene::new(&config(1));
    let scene = Scene::new(&config(2));
    let path = scene.folder.path().join("image.iso");
    damage(&path, 3 * 65536);
    until(&scene.engine, "the watch sees it", |status| status.torrents[0].error.is_some());
    let mut events = scene.handle.events().unwrap();
    let source = Source::Torrent(scene.release.seeded.torrent().clone());
    let request = FetchRequest {
        peers: origin.engine.listen().to_vec(),
        state: Some(scene.folder.state()),
        trusts_records: false,
        ..FetchRequest::new(source, scene.folder.path())
    };
    scene.now(scene.handle.refetch(scene.id, request));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Prepared { id } if id == scene.id));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Completed { id } if id == scene.id));
    let fetch = scene.status().fetch.unwrap();
    assert_eq!(fetch.received_bytes, 65536, "only what was wrong is fetched: {fetch:?}");
    assert!(std::fs::read(&path).unwrap() == std::fs::read(origin.folder.path().join("image.iso")).unwrap());
    until(&scene.engine, "it is served again", |status| status.torrents[0].state == TorrentState::Complete);
    for _ in 0..4 {
        scene.peer();
    }
    scene.engine.stop(GRACE).unwrap();
    origin.engine.stop(GRACE).unwrap();
}

#[test]
fn the_first_peer_that_has_everything_is_told_of_once() {
    let scene = Scene::new(&config(2));
    let mut events = scene.handle.events().unwrap();
    scene.now(scene.handle.await_copy(scene.id));
    let mut leech = scene.peer();
    (0..15).for_each(|index| leech.say(Message::Have { index }));
    leech.request(0, 0, BLOCK);
    assert!(leech.block().is_some(), "all that was heard");
    let mut seeds: Vec<Peer> = (0..4).map(|_| scene.peer()).collect();
    seeds.iter_mut().for_each(|seed| seed.say(Message::HaveAll));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::FirstCopy { id } if id == scene.id));
    leech.say(Message::Have { index: 15 });
    scene.now(scene.handle.remove(scene.id));
    assert!(matches!(scene.next_event(&mut events), EngineEvent::Removed { .. }), "and nothing between");
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn super_seeding_can_be_ended_for_a_torrent_that_is_at_work() {
    let scene = Scene::new(&config(2));
    scene.now(scene.handle.set_limits(scene.id, TorrentLimits { super_seeding: SuperSeeding::On, ..limits() }));
    let address = scene.engine.listen()[0];
    let mut peer = Peer::try_greet(address, scene.release.seeded.torrent()).unwrap();
    peer.hear(|message| (message == Message::HaveNone).then_some(())).expect("it is told of nothing at first");
    peer.say(Message::HaveNone);
    let list = scene.now(scene.handle.peers(scene.id));
    assert!(list.peers.iter().all(|peer| peer.is_super_seeded) && list.peers.len() == 1, "{list:?}");
    scene.now(scene.handle.set_limits(scene.id, limits()));
    let mut told = 0;
    peer.hear(|message| {
        told += u32::from(matches!(message, Message::Have { .. }));
        (told == 16).then_some(())
    })
    .expect("it is told of everything");
    let mut newcomer = Peer::try_greet(address, scene.release.seeded.torrent()).unwrap();
    newcomer.hear(|message| (message == Message::HaveAll).then_some(())).expect("and newcomers at once");
    scene.engine.stop(GRACE).unwrap();
}
