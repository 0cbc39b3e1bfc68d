mod orders;

use super::*;
use crate::bell::ControlBell;
use crate::control::{Control, FilesUnderWay, ShardLink};
use crate::dht::{DhtConfig, DhtNode};
use crate::discovery::Discovery;
use crate::news::News;
use crate::operator::TorrentOrder;
use crate::order::AddError;
use crate::order::{ControlParts, Order};
use crate::resolve::{ResolveConfig, Resolver};
use crate::status::{Status, TorrentState};
use crate::web_seed::{WebSeedClients, WebSeedConfig};
use mesh::{Command, Doorbell, Event, EventMailbox, TorrentId};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use storage::{Content, Partial, PartialOptions, Place, StorageError};
use tokio::sync::{mpsc, oneshot};

const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const PIECE_BYTES: usize = 16 * 1024;

/// Shards of which the test reads what they are told, since nobody else does.
struct Bench {
    links: Vec<Arc<ShardLink>>,
    events: Arc<EventMailbox>,
    orders: mpsc::Sender<Order>,
    news: News,
}

type Said = Command<Arc<Seeded>, Arc<Terms>, FilesUnderWay>;

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

impl Bench {
    fn new(shard_count: usize) -> Bench {
        Bench::with(shard_count, Discovery::default())
    }

    fn with(shard_count: usize, discovery: Discovery) -> Bench {
        let bell = ControlBell::new();
        let events = mesh::event_mailbox(bell.clone());
        let link = |_| Arc::new(ShardLink::new(Arc::new(Silent), events.clone()));
        let links: Vec<_> = (0..shard_count).map(link).collect();
        let (orders, inbox) = mpsc::channel(8);
        let news = News::default();
        let mut control = Control::new(ControlParts {
            start: Instant::now(),
            links: links.clone(),
            names: Arc::default(),
            rest_after: Duration::MAX,
            events: events.clone(),
            bell,
            orders: inbox,
            news: news.clone(),
            peer_id: *b"-XX0001-controltests",
            announcer: None,
            discovery,
            resolver: Resolver::new(ResolveConfig::new(wire::PeerId(*b"-XX0001-controltests"), "tests")),
            web_seeds: Some(Arc::new(WebSeedClients::new(WebSeedConfig::default()).unwrap())),
            tracker: None,
            own_seeds: Arc::default(),
            slots: None,
            connections_per_shard: 10,
        });
        // Nobody should wait long for room that is there.
        control.tasks.room_interval = Duration::from_millis(1);
        tokio::spawn(control.run());
        Bench { links, events, orders, news }
    }

    async fn fetch(&self, release: &Release, peers: Vec<SocketAddr>) -> Result<TorrentId, AddError> {
        self.fetch_by(FetchSource::Torrent(release.torrent.clone()), release, peers).await
    }

    async fn fetch_by(
        &self,
        source: FetchSource,
        release: &Release,
        peers: Vec<SocketAddr>,
    ) -> Result<TorrentId, AddError> {
        let fetch =
            Box::new(NewFetch { source, files: release.files.clone(), terms: Arc::default(), peers, sequential: true });
        let (reply, answer) = oneshot::channel();
        assert!(self.orders.send(Order::Fetch { fetch, reply }).await.is_ok());
        answer.await.unwrap()
    }

    async fn remove(&self, id: TorrentId) {
        let order = TorrentOrder::Remove { reply: oneshot::channel().0 };
        assert!(self.orders.send(Order::About { id, order }).await.is_ok());
    }

    async fn status(&self) -> Status {
        let (reply, answer) = oneshot::channel();
        assert!(self.orders.send(Order::Status { reply }).await.is_ok());
        answer.await.unwrap()
    }

    async fn state(&self) -> TorrentState {
        self.status().await.torrents[0].state.clone()
    }

    /// Waits until the torrent is in a state.
    async fn reached(&self, state: &TorrentState) {
        soon(async {
            while self.state().await != *state {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// The next thing that a shard is told.
    async fn said(&self, shard: usize) -> Said {
        soon(async {
            loop {
                match self.links[shard].commands.take() {
                    Some(command) => return command,
                    None => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        })
        .await
    }

    fn say(&self, event: Event) {
        assert!(self.events.post(event).is_ok());
    }
}

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}

/// A torrent of four pieces, and files that do what the test wants.
struct Release {
    _folder: tempfile::TempDir,
    torrent: Arc<Torrent>,
    files: Arc<TestFiles>,
}

struct TestFiles {
    place: Place,
    have: u8,
    wanted: u8,
    /// Where the look at the files waits, if it does.
    gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    /// How often the disk has no room for them.
    full_times: AtomicU64,
    finish: fn() -> Result<(), FetchError>,
}

impl Release {
    fn new(have: u8, wanted: u8) -> Release {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![7; 4 * PIECE_BYTES];
        std::fs::write(folder.path().join("image.iso"), &bytes).unwrap();
        let hashes: Vec<u8> = bytes.chunks(PIECE_BYTES).flat_map(|piece| hash::sha1(piece).0).collect();
        let sizes = format!("6:lengthi{}e4:name9:image.iso12:piece lengthi{PIECE_BYTES}e", bytes.len());
        let info = [format!("d{sizes}6:pieces{}:", hashes.len()).as_bytes(), &hashes, b"e"].concat();
        let place = Place::under(folder.path());
        let files =
            TestFiles { place, have, wanted, gate: Mutex::default(), full_times: AtomicU64::new(0), finish: || Ok(()) };
        Release { _folder: folder, torrent: Arc::new(Torrent::from_info(&info).unwrap()), files: Arc::new(files) }
    }

    fn with(self, change: impl FnOnce(&mut TestFiles)) -> Release {
        let mut files = self.files;
        change(Arc::get_mut(&mut files).unwrap());
        Release { files, ..self }
    }
}

impl TestFiles {
    fn seeded(&self, torrent: &Arc<Torrent>) -> Arc<Seeded> {
        Arc::new(Seeded::new(torrent.clone(), Content::open(torrent.layout(), &self.place).unwrap()))
    }
}

impl FetchFiles for TestFiles {
    fn prepare(&self, torrent: &Arc<Torrent>) -> Result<Prepared, FetchError> {
        if let Some(gate) = &*self.gate.lock().unwrap() {
            let _ = gate.recv_timeout(DEADLINE);
        }
        if self.full_times.fetch_update(Relaxed, Relaxed, |times| times.checked_sub(1)).is_ok() {
            let (path, source) =
                ("image.iso".into(), std::io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
            return Err(StorageError::Io { path, action: "take disk space for", source }.into());
        }
        Ok(Prepared {
            seeded: self.seeded(torrent),
            partial: Arc::new(Partial::open(torrent.clone(), &self.place, &PartialOptions::default())?.0),
            have: Box::new([self.have]),
            wanted: Box::new([self.wanted]),
        })
    }

    fn progress(&self) -> storage::Progress {
        storage::Progress::default()
    }

    fn cancel(&self) {}

    fn keep(&self) -> Result<(), FetchError> {
        Ok(())
    }

    fn check_on_disk(&self) -> Result<(), storage::StorageError> {
        Ok(())
    }

    fn finish(&self, torrent: &Arc<Torrent>) -> Result<Arc<Seeded>, FetchError> {
        (self.finish)().map(|()| self.seeded(torrent))
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn one_shard_fetches_the_others_forward_and_in_the_end_all_serve() {
    let bench = Bench::new(2);
    let release = Release::new(0b1000_0000, 0b1111_0000);
    let id = bench.fetch(&release, vec![address(1)]).await.unwrap();
    let Command::Fetch(order) = bench.said(0).await else { panic!("it is told to fetch") };
    assert_eq!((order.id, &*order.have, &*order.wanted), (id, &[0b1000_0000][..], &[0b1111_0000][..]));
    assert!(order.sequential);
    let Command::Peers { origin: PeerOrigin::Given, addresses, .. } = bench.said(0).await else { panic!("peers") };
    assert_eq!(addresses, [address(1)]);
    let Command::Forward { info_hashes, home: 0, .. } = bench.said(1).await else { panic!("it forwards") };
    assert_eq!(info_hashes, release.torrent.info_hashes().collect::<Vec<_>>());

    let fetch = bench.status().await.torrents[0].fetch.clone().unwrap();
    assert_eq!((fetch.total_pieces, fetch.wanted_pieces, fetch.verified_pieces), (4, 4, 1));
    assert_eq!((fetch.resumed_bytes, fetch.left_bytes), (PIECE_BYTES as u64, 3 * PIECE_BYTES as u64));
    order.counters.shard(0).verified_pieces.add(2);
    order.counters.shard(0).verified_bytes.add(2 * PIECE_BYTES as u64);
    let fetch = bench.status().await.torrents[0].fetch.clone().unwrap();
    assert_eq!((fetch.verified_pieces, fetch.left_bytes), (3, PIECE_BYTES as u64));

    bench.say(Event::Fetched { id });
    for shard in 0..2 {
        assert!(matches!(bench.said(shard).await, Command::Serve { id: served, .. } if served == id));
    }
    assert_eq!(bench.state().await, TorrentState::Complete);
}

#[tokio::test]
async fn peers_that_are_found_while_files_are_looked_at_are_not_lost() {
    let (open, gate) = std::sync::mpsc::channel();
    let release = Release::new(0, 0xf0).with(|files| *files.gate.get_mut().unwrap() = Some(gate));
    let bench = Bench::new(1);
    let peers = (0..WAITING_PEERS_MAX as u16 + 5).map(address).collect();
    bench.fetch(&release, peers).await.unwrap();
    assert!(matches!(bench.state().await, TorrentState::Preparing { .. }));
    assert!(bench.links[0].commands.take().is_none(), "no shard knows of it before its files are ready");
    open.send(()).unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    let Command::Peers { addresses, .. } = bench.said(0).await else { panic!("peers") };
    assert_eq!(addresses.len(), WAITING_PEERS_MAX);
}

#[tokio::test]
async fn a_torrent_that_is_all_there_is_served_at_once() {
    let bench = Bench::new(1);
    let release = Release::new(0xf0, 0xf0);
    bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Serve { .. }));
}

#[tokio::test]
async fn a_part_that_is_there_stays_with_its_home_shard() {
    let bench = Bench::new(1);
    let release = Release::new(0, 0b0110_0000);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    assert_eq!(bench.state().await, TorrentState::Fetching);
    bench.say(Event::Fetched { id });
    bench.reached(&TorrentState::HasWanted).await;
    assert!(bench.links[0].commands.take().is_none());
}

#[tokio::test]
async fn a_full_disk_is_shown_until_there_is_room_again() {
    let bench = Bench::new(1);
    let release = Release::new(0, 0xf0);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    let reason = "image.iso: no space left".to_owned();
    bench.say(Event::FetchPaused { id, reason: reason.clone() });
    bench.reached(&TorrentState::Paused { reason }).await;
    bench.say(Event::FetchResumed { id });
    bench.reached(&TorrentState::Fetching).await;
}

#[tokio::test]
async fn files_for_which_there_is_no_room_wait_for_it_and_keep_their_peers() {
    let bench = Bench::new(1);
    let release = Release::new(0, 0xf0).with(|files| files.full_times = AtomicU64::new(30));
    bench.fetch(&release, vec![address(1)]).await.unwrap();
    let (mut was_paused, mut told) = (false, None);
    soon(async {
        while told.is_none() {
            let state = bench.state().await;
            was_paused |= matches!(state, TorrentState::Paused { reason } if reason.contains("image.iso"));
            told = bench.links[0].commands.take();
        }
    })
    .await;
    assert!(was_paused && matches!(told, Some(Command::Fetch(_))), "there is room at last");
    let Command::Peers { addresses, .. } = bench.said(0).await else { panic!("peers") };
    assert_eq!(addresses, [address(1)]);
    assert_eq!(release.files.full_times.load(Relaxed), 0);
}

#[tokio::test]
async fn files_that_cannot_be_closed_fail_the_torrent_and_say_why() {
    let bench = Bench::new(1);
    let release = Release::new(0, 0xf0).with(|files| files.finish = || Err(FetchError::BrokeOff));
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    bench.say(Event::Fetched { id });
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    let torrent = bench.status().await.torrents[0].clone();
    assert_eq!(torrent.error, Some(FetchError::BrokeOff.to_string()));
    assert_eq!(bench.fetch(&release, Vec::new()).await, Err(AddError::Duplicate { name: "image.iso".to_owned() }));
}

#[tokio::test]
async fn a_torrent_removed_while_its_files_are_looked_at_does_not_come_back() {
    let (open, gate) = std::sync::mpsc::channel();
    let release = Release::new(0, 0xf0).with(|files| *files.gate.get_mut().unwrap() = Some(gate));
    let bench = Bench::new(1);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    bench.remove(id).await;
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    open.send(()).unwrap();
    // Another one goes through the same steps later; by its command the first one's would have come.
    let release = Release::new(0, 0xf0);
    bench.fetch(&release, Vec::new()).await.unwrap();
    let Command::Fetch(order) = bench.said(0).await else { panic!("it is told to fetch") };
    assert_ne!(order.id, id);
}

#[tokio::test]
async fn a_web_seed_is_a_peer_of_the_home_shard_as_long_as_something_is_lacking() {
    let bench = Bench::new(1);
    let mut release = Release::new(0, 0xf0);
    // The third is no web seed, and the second is the first.
    let urls = ["http://127.0.0.1:9/image.iso", "http://127.0.0.1:9/image.iso", "gopher://127.0.0.1/"];
    let torrent = Torrent::clone(&release.torrent).with_sources(Vec::new(), urls.map(str::to_owned).to_vec());
    release.torrent = Arc::new(torrent);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    let Command::Attach { socket, address, .. } = bench.said(0).await else { panic!("a web seed") };
    assert!(address.ip().to_string().starts_with("100::"), "{address}");
    let mut near = tokio::net::UnixStream::from_std(socket.into()).unwrap();
    let mut greeting = [0; 20];
    soon(tokio::io::AsyncReadExt::read_exact(&mut near, &mut greeting)).await.unwrap();
    assert_eq!(&greeting[1..], b"BitTorrent protocol");
    assert_eq!(bench.status().await.torrents[0].fetch.as_ref().unwrap().web_seeds.len(), 2, "one is refused");

    bench.say(Event::Fetched { id });
    assert!(matches!(bench.said(0).await, Command::Serve { .. }), "and no second web seed before it");
    assert_eq!(bench.status().await.torrents[0].fetch.as_ref().unwrap().web_seeds.len(), 0);
}

#[tokio::test]
async fn a_link_waits_for_peers_under_its_own_name_and_can_be_given_up() {
    let bench = Bench::new(1);
    let release = Release::new(0, 0xf0);
    let magnet = || FetchSource::Magnet(Box::new(release.torrent.magnet()));
    let id = bench.fetch_by(magnet(), &release, Vec::new()).await.unwrap();
    let torrent = bench.status().await.torrents[0].clone();
    assert_eq!(torrent.name, "image.iso");
    assert!(matches!(torrent.state, TorrentState::Resolving { .. }));
    assert!(bench.fetch(&release, Vec::new()).await.is_err(), "it is the same torrent");
    bench.remove(id).await;
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
}

#[tokio::test]
async fn the_dht_never_hears_of_a_private_torrent() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let node = DhtConfig { addresses: vec![loopback], bootstrap: Vec::new(), ..DhtConfig::default() };
    let discovery = Discovery { dht: Some(DhtNode::start(node).unwrap()), ..Discovery::default() };
    let bench = Bench::with(1, discovery);
    let known = async || bench.status().await.dht.unwrap().torrents;

    let mut private = Release::new(0, 0xf0);
    let info = private.torrent.info_bytes();
    let info = [&info[..info.len() - 1], b"7:privatei1ee"].concat();
    private.torrent = Arc::new(Torrent::from_info(&info).unwrap());
    bench.fetch(&private, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    assert_eq!(known().await, 0);

    let other = DhtNode::start(DhtConfig { addresses: vec![loopback], bootstrap: Vec::new(), ..DhtConfig::default() });
    let other = other.unwrap();
    bench.say(Event::DhtNode { address: other.local_addrs()[0] });
    soon(async {
        while bench.status().await.dht.unwrap().v4.unwrap().nodes == 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;

    let public = Release::new(0, 0xf0);
    let id = bench.fetch(&public, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    assert_eq!(known().await, 1);
    bench.say(Event::Fetched { id });
    assert!(matches!(bench.said(0).await, Command::Serve { .. }));
    assert_eq!(known().await, 1, "a seed is announced, too");
    bench.remove(id).await;
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    assert_eq!(known().await, 0);
}
