//! Torrents at rest from outside: woken by the first handshake, served, let go again, and what can come in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use control::{EngineEvent, TorrentSource};
use mesh::DropReason;
use metainfo::Torrent;
use seedbox::{AtRest, Config, Engine, KeptTorrent, LoadError, Status, TorrentState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;
use storage::{Meter, Seeded};
use support::{BLOCK, DEADLINE, Folder, Peer, config, dropped, plain, until};
use wire::Message;

/// For peers that do not close when they are told of the end.
const GRACE: Duration = Duration::from_millis(300);

/// A torrent that was verified before, its source, and what is known of the loads.
struct Kept {
    torrent: Arc<Torrent>,
    at_rest: Option<AtRest>,
    loads: Arc<Loads>,
}

/// What a source was asked, and whether it may answer.
#[derive(Default)]
struct Loads {
    begun: AtomicUsize,
    /// While it is shut, loads wait.
    is_shut: Mutex<bool>,
    opened: Condvar,
    /// What was loaded last.
    last: Mutex<Weak<Seeded>>,
}

impl Loads {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn shut(&self) {
        *self.is_shut.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.is_shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Whether what was loaded last is still held by somebody.
    fn is_held(&self) -> bool {
        self.last.lock().unwrap().strong_count() > 0
    }
}

/// A source that counts, and waits where the test wants it to.
struct Watched {
    source: Arc<dyn TorrentSource>,
    loads: Arc<Loads>,
}

impl TorrentSource for Watched {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        self.loads.begun.fetch_add(1, Ordering::SeqCst);
        let shut = self.loads.is_shut.lock().unwrap();
        drop(self.loads.opened.wait_timeout_while(shut, DEADLINE, |is_shut| *is_shut).unwrap());
        let seeded = self.source.load()?;
        *self.loads.last.lock().unwrap() = Arc::downgrade(&seeded);
        Ok(seeded)
    }
}

impl Kept {
    /// A file of this name, hashed and verified.
    fn new(folder: &Folder, name: &str, size: usize) -> Kept {
        let release = folder.publish(&folder.write(name, size, name.len() as u8));
        let (state, meter) = (folder.state(), Arc::new(Meter::new()));
        seedbox::load(&release.torrent_file, folder.path(), false, Some(&state), None, &meter).unwrap();
        let at_rest = KeptTorrent::at_rest(
            release.torrent_file.clone(),
            folder.path().to_path_buf(),
            &state,
            Arc::default(),
            plain(),
        );
        let (mut at_rest, loads) = (at_rest.unwrap(), Arc::<Loads>::default());
        at_rest.source = Arc::new(Watched { source: at_rest.source, loads: loads.clone() });
        Kept { torrent: release.seeded.torrent().clone(), at_rest: Some(at_rest), loads }
    }

    fn take(&mut self) -> AtRest {
        self.at_rest.take().unwrap()
    }
}

/// An engine whose torrents rest as soon as nobody is connected.
fn restless(shards: usize) -> Config {
    Config { rest_after: Duration::ZERO, ..config(shards) }
}

fn state(status: &Status) -> &TorrentState {
    &status.torrents[0].state
}

#[test]
fn the_first_handshake_wakes_a_torrent_and_is_served() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 300_000);
    let engine = Engine::start(&config(2)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    let status = engine.status().unwrap();
    assert_eq!((state(&status), status.rest.at_rest, kept.loads.begun()), (&TorrentState::AtRest, 1, 0));
    assert_eq!(status.torrents[0].size_bytes, Some(300_000));
    let mut peer = Peer::ready(engine.listen()[0], &kept.torrent);
    peer.request(2, 0, BLOCK);
    let bytes = std::fs::read(folder.path().join("image.iso")).unwrap();
    assert_eq!(peer.block().unwrap(), bytes[2 * 65536..2 * 65536 + BLOCK as usize]);
    let status = engine.status().unwrap();
    assert_eq!((state(&status), status.rest.awake, status.rest.loads), (&TorrentState::Complete, 1, 1));
    engine.stop(GRACE).unwrap();
}

#[test]
fn hundreds_of_handshakes_wake_a_torrent_once_and_all_are_served() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(2)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    kept.loads.shut();
    let address = engine.listen()[0];
    // No more than a busy machine accepts in the ten seconds for which a shard lets the first of them wait.
    let peers: Vec<Peer> = (0..300).map(|_| Peer::hello(address, &kept.torrent)).collect();
    until(&engine, "all of them wait", |status| status.rest.parked == 300);
    assert_eq!((engine.status().unwrap().peers, kept.loads.begun()), (0, 1));
    kept.loads.open();
    for mut peer in peers {
        assert!(peer.hear_greeting(), "nobody was lost");
    }
    let status = until(&engine, "all of them are peers", |status| status.rest.parked == 0);
    assert_eq!((kept.loads.begun(), status.rest.loads, status.rest.parked), (1, 1, 0));
    engine.stop(Duration::ZERO).unwrap();
}

#[test]
fn a_torrent_that_nobody_wants_any_more_gives_back_its_memory_and_its_descriptors() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 1_000_000);
    let engine = Engine::start(&restless(2)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    let path = folder.path().join("image.iso").canonicalize().unwrap();
    let is_open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok()).any(|file| file == path)
    };
    let is_mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(path.to_str().unwrap());
    for round in 1..=3 {
        // A tick before the first handshake lays it to rest at once; then it is woken once more.
        let mut peers: Vec<Peer> = (0..8).map(|_| Peer::ready(engine.listen()[0], &kept.torrent)).collect();
        for peer in &mut peers {
            peer.request(1, 0, BLOCK);
            assert_eq!(peer.block().unwrap().len(), BLOCK as usize);
        }
        assert!(is_open() && is_mapped() && kept.loads.is_held());
        let before = engine.status().unwrap().rest;
        drop(peers);
        let status = until(&engine, "it goes to rest", |status| *state(status) == TorrentState::AtRest);
        assert_eq!((status.rest.rests, status.rest.loads), (before.rests + 1, before.loads));
        until(&engine, "nobody holds it", |_| !kept.loads.is_held());
        assert!(!is_open() && !is_mapped());
        assert_eq!(kept.loads.begun() as u64, status.rest.rests, "each load went to rest again");
        assert_eq!(status.torrents[0].payload_sent_bytes, 8 * round * u64::from(BLOCK), "totals stay");
    }
    engine.stop(GRACE).unwrap();
}

#[test]
fn peers_that_come_and_go_while_a_torrent_goes_to_rest_are_all_served() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&restless(2)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    let address = engine.listen()[0];
    let rests = || engine.status().unwrap().rest;
    // Each visitor leaves at once, so that every tick finds nobody and lays the torrent to rest.
    let mut visits = 0;
    while rests().rests < 3 {
        let mut peer = Peer::ready(address, &kept.torrent);
        peer.request(0, 0, BLOCK);
        assert_eq!(peer.block().unwrap().len(), BLOCK as usize);
        drop(peer);
        visits += 1;
        assert!(visits < 1_000_000, "it rests in between: {:?}", rests());
        if visits % 100 == 0 {
            until(&engine, "it rests", |status| *state(status) == TorrentState::AtRest);
        }
    }
    let status = engine.status().unwrap();
    assert_eq!(dropped(&status, DropReason::UnknownTorrent) + dropped(&status, DropReason::TorrentGone), 0);
    assert_eq!(status.rest.failed_loads, 0);
    engine.stop(GRACE).unwrap();
}

#[test]
fn content_that_has_changed_is_not_served_and_says_so_until_it_is_as_it_was() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(1)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    let (path, aside) = (folder.path().join("image.iso"), folder.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    assert!(Peer::try_greet(engine.listen()[0], &kept.torrent).is_none());
    let status = engine.status().unwrap();
    assert_eq!((dropped(&status, DropReason::NotLoaded), status.rest.failed_loads), (1, 1));
    let error = status.torrents[0].error.clone().unwrap();
    assert!(error.contains("image.iso"), "{error}");
    // It is not tried again for every peer that asks.
    std::fs::rename(&aside, &path).unwrap();
    assert!(Peer::try_greet(engine.listen()[0], &kept.torrent).is_none());
    assert_eq!(kept.loads.begun(), 1);
    engine.stop(GRACE).unwrap();

    // A later start serves it: the record fits again.
    let mut again = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(1)).unwrap();
    engine.add_at_rest(again.take()).unwrap();
    std::fs::write(&path, vec![1; 100_000]).unwrap();
    assert!(Peer::try_greet(engine.listen()[0], &again.torrent).is_none());
    let error = engine.status().unwrap().torrents[0].error.clone().unwrap();
    assert!(error.contains("image.iso") && error.contains("recheck"), "{error}");
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_torrent_that_is_removed_while_it_is_loaded_lets_those_go_that_wait() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(2)).unwrap();
    let id = engine.add_at_rest(kept.take()).unwrap();
    kept.loads.shut();
    let mut peers: Vec<Peer> = (0..16).map(|_| Peer::hello(engine.listen()[0], &kept.torrent)).collect();
    until(&engine, "all of them wait", |status| status.rest.parked == 16);
    engine.remove(id).unwrap();
    assert!(peers.iter_mut().all(|peer| !peer.hear_greeting()), "they are let go");
    kept.loads.open();
    let status = until(&engine, "the load has ended", |status| status.rest.loading == 0);
    assert_eq!((dropped(&status, DropReason::TorrentGone), status.torrents.len()), (16, 0));
    assert!(Peer::try_greet(engine.listen()[0], &kept.torrent).is_none());
    until(&engine, "nobody holds it", |_| !kept.loads.is_held());
    engine.stop(GRACE).unwrap();
}

#[test]
fn an_engine_that_stops_while_a_torrent_is_loaded_waits_for_nobody() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(2)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    kept.loads.shut();
    let mut peer = Peer::hello(engine.listen()[0], &kept.torrent);
    until(&engine, "it waits", |status| status.rest.parked == 1);
    engine.stop(DEADLINE).unwrap();
    assert!(!peer.hear_greeting());
    kept.loads.open();
}

#[test]
fn a_load_that_takes_too_long_keeps_nobody_waiting() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let engine = Engine::start(&config(1)).unwrap();
    engine.add_at_rest(kept.take()).unwrap();
    kept.loads.shut();
    let mut peer = Peer::hello(engine.listen()[0], &kept.torrent);
    assert!(!peer.hear_greeting());
    let status = until(&engine, "its end is counted", |status| dropped(status, DropReason::LoadTimeout) == 1);
    assert_eq!(status.rest.parked, 0);
    kept.loads.open();
    Peer::ready(engine.listen()[0], &kept.torrent);
    assert_eq!(kept.loads.begun(), 1);
    engine.stop(GRACE).unwrap();
}

#[test]
fn many_are_added_at_once_and_each_is_served_by_all_its_names() {
    let folder = Folder::new();
    let mut kept: Vec<Kept> = (0..40).map(|n| Kept::new(&folder, &format!("{n}.iso"), 70_000 + n)).collect();
    let engine = Engine::start(&config(2)).unwrap();
    let mut torrents: Vec<AtRest> = kept.iter_mut().map(Kept::take).collect();
    let twin = AtRest { source: torrents[3].source.clone(), ..copy(&torrents[3]) };
    torrents.push(twin);
    let added = engine.add_many(torrents).unwrap();
    assert!(added[..40].iter().all(Result::is_ok));
    assert_eq!(added[40], Err(seedbox::AddError::Duplicate { name: "3.iso".to_owned() }));
    for (n, kept) in kept.iter().enumerate() {
        // Of a hybrid: the v1 name, the v2 name, and that of old clients.
        let names: Vec<_> = kept.torrent.info_hashes().chain(kept.torrent.info_hash_without_empty_keys()).collect();
        assert_eq!(names.len(), 3);
        let mut peer = Peer::hello_as(engine.listen()[0], &kept.torrent, names[n % 3]);
        assert!(peer.hear_greeting());
        peer.say(Message::Interested);
        peer.request(1, 0, 1000);
        assert_eq!(peer.block().unwrap().len(), 1000);
    }
    let status = engine.status().unwrap();
    assert_eq!((status.rest.loads, status.rest.at_rest), (40, 0));
    engine.stop(Duration::ZERO).unwrap();
}

#[test]
fn a_torrent_that_was_fetched_or_added_awake_may_rest_too() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 100_000);
    let (state_dir, meter) = (folder.state(), Arc::new(Meter::new()));
    let file = folder.publish(&folder.path().join("image.iso")).torrent_file;
    let release = seedbox::load(&file, folder.path(), false, Some(&state_dir), None, &meter).unwrap();
    let engine = Engine::start(&restless(1)).unwrap();
    let id = engine.add(release.seeded, Vec::new(), plain()).unwrap();
    assert_eq!(state(&engine.status().unwrap()), &TorrentState::Complete);
    engine.let_rest(id, kept.take().source).unwrap();
    until(&engine, "it rests", |status| *state(status) == TorrentState::AtRest);
    Peer::ready(engine.listen()[0], &kept.torrent);
    engine.stop(GRACE).unwrap();
}

#[test]
fn a_super_seeded_torrent_gathers_its_swarm_when_it_wakes() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 1_000_000);
    let engine = Engine::start(&config(2)).unwrap();
    let terms = Arc::new(seedbox::Terms::new(None, seedbox::SuperSeeding::On));
    engine.add_at_rest(AtRest { terms, ..kept.take() }).unwrap();
    let mut peers: Vec<Peer> = (0..12).map(|_| Peer::hello(engine.listen()[0], &kept.torrent)).collect();
    assert!(peers.iter_mut().all(Peer::hear_greeting));
    let status = until(&engine, "all of them are peers", |status| status.peers == 12);
    let connected: Vec<u64> = status.shards.iter().map(|shard| shard.connections).collect();
    assert!(connected.contains(&12) && connected.contains(&0), "one shard sees all of them: {connected:?}");
    engine.stop(Duration::ZERO).unwrap();
}

#[test]
fn the_first_full_copy_of_a_torrent_that_was_at_rest_is_told_of() {
    let folder = Folder::new();
    let mut kept = Kept::new(&folder, "image.iso", 300_000);
    let engine = Engine::start(&config(2)).unwrap();
    let mut events = engine.handle().events().unwrap();
    let at_rest = kept.take();
    at_rest.terms.await_copy();
    let id = engine.add_at_rest(at_rest).unwrap();
    let mut seed = Peer::ready(engine.listen()[0], &kept.torrent);
    seed.say(Message::HaveAll);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let event = runtime.block_on(async { tokio::time::timeout(DEADLINE, events.next()).await });
    assert!(matches!(event, Ok(Some(EngineEvent::FirstCopy { id: told })) if told == id), "{event:?}");
    engine.stop(GRACE).unwrap();
}

/// The same torrent once more.
fn copy(of: &AtRest) -> AtRest {
    AtRest {
        name: of.name.clone(),
        info_hashes: of.info_hashes.clone(),
        misnamed: of.misnamed,
        size_bytes: of.size_bytes,
        is_private: of.is_private,
        tiers: of.tiers.clone(),
        terms: of.terms.clone(),
        source: of.source.clone(),
        is_restored: of.is_restored,
    }
}
