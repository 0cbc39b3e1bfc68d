//! A release under embargo: shut to strangers on every shard and in our tracker, open to listed networks and to whoever has
//! the key, and open to everybody at once when its time comes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use control::{AtRest, EngineEvent, EngineEvents, LoadError, NewTorrent, OrderError, Tiers, TorrentSource};
use mesh::DropReason;
use seedbox::{
    Config, Engine, EngineError, EngineHandle, Release, SuperSeeding, Terms, TorrentId, TorrentState, TrackerConfig,
};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storage::Seeded;
use support::{BLOCK, DEADLINE, Folder, Peer, config, dropped, until};
use swarm::{Gate, TorrentLimits};
use tracker::udp::{Response, parse_response, write_announce, write_connect};
use tracker::{AnnounceRequest, Event, Family, SwarmStats};

const GRACE: Duration = Duration::from_millis(300);
const KEY: &str = "a-key-that-nobody-guesses";

/// An engine on both loopbacks with a tracker and one release under embargo.
struct Scene {
    release: Release,
    engine: Engine,
    handle: EngineHandle,
    id: TorrentId,
    events: Mutex<EngineEvents>,
    runtime: tokio::runtime::Runtime,
    _folder: Folder,
}

fn on_both() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn gate(opens_at_unix_s: Option<u64>, networks: &[&str]) -> Arc<Gate> {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Arc::new(Gate::new(opens_at_unix_s, networks, Some(KEY)).unwrap())
}

impl Scene {
    fn new(gate: Arc<Gate>, tiers: Vec<Vec<String>>) -> Scene {
        Scene::with(gate, |release, terms, handle, runtime| {
            let new = NewTorrent { seeded: release.seeded.clone(), terms, tiers: tiers.into() };
            runtime.block_on(handle.add(new)).unwrap()
        })
    }

    fn with(
        gate: Arc<Gate>,
        add: impl FnOnce(&Release, Arc<Terms>, &EngineHandle, &tokio::runtime::Runtime) -> TorrentId,
    ) -> Scene {
        let folder = Folder::new();
        let release = folder.publish(&folder.write("image.iso", 1_000_000, 1));
        let tracker = Some(TrackerConfig { listen: on_both(), ..TrackerConfig::default() });
        let config = Config { listen: on_both(), tracker, announce: true, ..config(2) };
        let engine = Engine::start(&config).unwrap();
        let handle = engine.handle();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events = Mutex::new(handle.events().unwrap());
        let limits = TorrentLimits { super_seeding: SuperSeeding::Off, ..TorrentLimits::default() };
        let id = add(&release, Arc::new(Terms::with(limits, Some(gate))), &handle, &runtime);
        Scene { release, engine, handle, id, events, runtime, _folder: folder }
    }

    fn soon<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await.expect("it takes forever") })
    }

    /// Whether both shards greet who comes to the engine's n-th address.
    fn greets(&self, n: usize) -> bool {
        let greeted = |_| Peer::try_greet(self.engine.listen()[n], self.release.seeded.torrent()).is_some();
        let all: Vec<bool> = (0..12).map(greeted).collect();
        assert!(all.iter().all(|greeted| *greeted == all[0]), "wherever the kernel lands them: {all:?}");
        all[0]
    }

    fn wait_until_open(&self) {
        let mut events = self.events.lock().unwrap();
        let event = self.soon(events.next());
        assert!(matches!(event, Some(EngineEvent::Opened { id }) if id == self.id), "{event:?}");
    }

    /// The tracker's answer to an announce over HTTP.
    fn announce(&self, n: usize, key: &str) -> String {
        let info_hash = self.release.seeded.torrent().info_hashes().next().unwrap();
        let escaped: String = info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!("info_hash={escaped}&peer_id=-XX0001-embargotests&port=7&uploaded=0&downloaded=0&left=1");
        let mut stream = TcpStream::connect(self.tracker(n)).unwrap();
        let request = format!("GET {key}/announce?{query}&compact=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn tracker(&self, n: usize) -> SocketAddr {
        let urls = self.engine.tracker_tiers();
        let url = &urls[n][0];
        url.strip_prefix("http://").unwrap().strip_suffix("/announce").unwrap().parse().unwrap()
    }

    fn swarm(&self) -> Option<SwarmStats> {
        self.handle.tracker()?.stats(self.release.seeded.torrent().info_hashes().next()?)
    }
}

#[test]
fn strangers_of_both_families_meet_a_torrent_that_is_not_there() {
    let scene = Scene::new(gate(None, &[]), Vec::new());
    for n in 0..2 {
        assert!(!scene.greets(n));
        let answer = scene.announce(n, "");
        assert!(answer.contains("not registered"), "{answer}");
        assert_eq!(scene.announce(n, "/a-key-that-somebody-guessed"), answer);
    }
    let status = until(&scene.engine, "all of them are counted", |status| dropped(status, DropReason::Embargoed) == 24);
    assert_eq!(dropped(&status, DropReason::UnknownTorrent), 0);
    let embargo = status.torrents[0].embargo.unwrap();
    assert_eq!((embargo.opens_at_unix_s, embargo.guests), (None, 0));
    assert_eq!(scene.swarm().unwrap().leech_count, 0, "nor is any of them remembered");
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_listed_network_is_let_in_and_another_is_not() {
    let scene = Scene::new(gate(None, &["127.0.0.0/8"]), Vec::new());
    assert!(scene.greets(0) && !scene.greets(1));
    assert!(scene.announce(0, "").contains("5:peers") && scene.announce(1, "").contains("not registered"));
    let mut peer = Peer::ready(scene.engine.listen()[0], scene.release.seeded.torrent());
    peer.request(0, 0, BLOCK);
    assert!(peer.block().is_some());
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn whoever_announces_with_the_key_by_http_may_connect() {
    let scene = Scene::new(gate(None, &[]), Vec::new());
    let answer = scene.announce(1, &format!("/{KEY}"));
    assert!(answer.contains("6:peers6"), "{answer}");
    assert!(scene.greets(1) && !scene.greets(0), "the address that has shown it, and no other");
    assert!(scene.announce(1, "").contains("6:peers6"), "it is known meanwhile");
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn whoever_announces_with_the_key_by_udp_may_connect() {
    let scene = Scene::new(gate(None, &[]), Vec::new());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(scene.tracker(0)).unwrap();
    let ask = |request: &[u8]| {
        let mut answer = [0; 2048];
        socket.send(request).unwrap();
        let size = socket.recv(&mut answer).unwrap();
        answer[..size].to_vec()
    };
    let mut request = Vec::new();
    write_connect(&mut request, 1);
    let answer = ask(&request);
    let Ok((_, Response::Connect { connection_id })) = parse_response(Family::V4, &answer) else {
        panic!("{answer:?}")
    };
    let announce = AnnounceRequest {
        info_hash: scene.release.seeded.torrent().info_hashes().next().unwrap(),
        peer_id: *b"-XX0001-embargotests",
        port: 7,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(1),
        event: Event::Started,
        want_count: Some(10),
        key: 1,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    };
    for (path, is_let_in) in
        [("/announce", false), ("/some-other-key-entirely/announce", false), (&format!("/{KEY}/announce"), true)]
    {
        request.clear();
        write_announce(&mut request, connection_id, 2, &announce, path);
        let answer = ask(&request);
        let answered = matches!(parse_response(Family::V4, &answer), Ok((_, Response::Announce(_))));
        assert_eq!((answered, scene.greets(0)), (is_let_in, is_let_in), "{path}");
    }
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn at_its_time_everything_opens_at_once_and_others_are_told() {
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tiers = vec![vec![format!("http://{}/announce", foreign.local_addr().unwrap())]];
    let scene = Scene::new(gate(Some(unix_s() + 3600), &[]), tiers);
    let trackers = || scene.soon(scene.handle.trackers(scene.id)).unwrap();
    assert!(!scene.greets(0) && trackers().is_empty(), "no other tracker is to hear of it");
    scene.soon(scene.handle.set_opening(scene.id, Some(unix_s() + 1))).unwrap();
    scene.wait_until_open();
    assert!(scene.greets(0) && scene.greets(1), "on every shard, in both families");
    assert!(scene.announce(0, "").contains("5:peers") && scene.announce(0, &format!("/{KEY}")).contains("5:peers"));
    assert!(!trackers().is_empty());
    let (mut stream, _) = foreign.accept().unwrap();
    let mut asked = [0; 64];
    let size = stream.read(&mut asked).unwrap();
    assert!(asked[..size].starts_with(b"GET /announce?"));
    assert_eq!(scene.engine.status().unwrap().torrents[0].embargo, None);
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn a_word_opens_it_before_its_time() {
    let scene = Scene::new(gate(Some(u64::MAX - 1), &[]), Vec::new());
    scene.soon(scene.handle.open(scene.id)).unwrap();
    scene.wait_until_open();
    assert!(scene.greets(0));
    scene.soon(scene.handle.open(scene.id)).unwrap();
    let folder = Folder::new();
    let other = folder.publish(&folder.write("other.iso", 100_000, 2));
    let id = scene.engine.add(other.seeded, Vec::new(), support::plain()).unwrap();
    let error = scene.soon(scene.handle.open(id)).unwrap_err();
    assert!(matches!(error, EngineError::Order(OrderError::NoEmbargo { .. })), "{error}");
    scene.engine.stop(GRACE).unwrap();
}

#[test]
fn one_that_is_stopped_or_removed_when_its_time_comes_is_not_announced() {
    let gate = gate(None, &[]);
    let scene = Scene::new(gate.clone(), vec![vec!["http://127.0.0.1:9/announce".to_owned()]]);
    scene.soon(scene.handle.stop(scene.id)).unwrap();
    gate.open();
    scene.wait_until_open();
    assert!(!scene.greets(0) && scene.swarm().is_none());
    assert!(scene.soon(scene.handle.trackers(scene.id)).unwrap().is_empty());
    scene.soon(scene.handle.start(scene.id)).unwrap();
    assert!(scene.greets(0) && scene.swarm().is_some());
    assert!(!scene.soon(scene.handle.trackers(scene.id)).unwrap().is_empty());
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
fn one_that_comes_from_rest_is_shut_all_the_same() {
    let gate = gate(None, &["127.0.0.0/8"]);
    let scene = Scene::with(gate.clone(), |release, terms, handle, runtime| {
        let torrent = release.seeded.torrent();
        let at_rest = AtRest {
            name: torrent.layout().name().to_owned(),
            info_hashes: torrent.info_hashes().collect(),
            misnamed: torrent.info_hash_without_empty_keys(),
            size_bytes: torrent.layout().total_size(),
            is_private: false,
            tiers: Tiers::from(Vec::new()),
            terms,
            source: Arc::new(AtHand(release.seeded.clone())),
            is_restored: true,
        };
        runtime.block_on(handle.add_many(vec![at_rest])).unwrap().pop().unwrap().unwrap()
    });
    // It is loaded at once and not for whoever comes: until then it is not here, for its guests either.
    until(&scene.engine, "it is loaded", |status| status.torrents[0].state == TorrentState::Complete);
    assert!(scene.greets(0) && !scene.greets(1));
    gate.open();
    scene.wait_until_open();
    assert!(scene.greets(1));
    scene.engine.stop(GRACE).unwrap();
}

/// Keeps every log line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_key_is_in_no_log_line_and_no_status() {
    let lines = Lines::default();
    let writer = lines.clone();
    let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // The only test here that looks at the log; the others' lines may be in it.
    let _ = all.try_init();
    let scene = Scene::new(gate(None, &[]), Vec::new());
    assert!(scene.announce(0, &format!("/{KEY}")).contains("5:peers"));
    assert!(scene.announce(0, &format!("/{KEY}/more")).contains("404"));
    assert!(scene.greets(0));
    scene.soon(scene.handle.open(scene.id)).unwrap();
    scene.wait_until_open();
    let status = format!("{:?}", scene.engine.status().unwrap());
    scene.engine.stop(GRACE).unwrap();
    let log = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(log.contains("its time has come"), "the log is written");
    assert!(!log.contains(KEY) && !status.contains(KEY));
}
