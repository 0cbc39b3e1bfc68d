//! Control and torrents at rest; the shards are the test.

mod before_their_time;

use super::*;
use crate::bell::ControlBell;
use crate::control::{FilesUnderWay, ShardLink};
use crate::discovery::Discovery;
use crate::news::News;
use crate::operator::TorrentOrder;
use crate::order::{ControlParts, Order};
use crate::resolve::{ResolveConfig, Resolver};
use crate::status::{Status, TorrentState};
use crate::tracker_service::TrackerService;
use mesh::{Doorbell, Event, EventMailbox};
use metainfo::Torrent;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use storage::{Content, Place};
use tokio::sync::{mpsc, oneshot};
use tracker::table::{Access, Limits};

const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Shards of which the test reads what they are told, since nobody else does.
struct Bench {
    links: Vec<Arc<ShardLink>>,
    events: Arc<EventMailbox>,
    orders: mpsc::Sender<Order>,
    tracker: TrackerService,
    names: Arc<mesh::TorrentNames>,
    news: News,
}

type Said = Command<Arc<Seeded>, Arc<Terms>, FilesUnderWay>;

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

impl Bench {
    /// `rest_after` is how long nobody must be connected; failed loads are tried again at once.
    fn new(shard_count: usize, rest_after: Duration) -> Bench {
        Bench::with(shard_count, rest_after, |sleep| sleep.broken_pause = Duration::ZERO)
    }

    fn with(shard_count: usize, rest_after: Duration, change: impl FnOnce(&mut Sleep)) -> Bench {
        let bell = ControlBell::new();
        let events = mesh::event_mailbox(bell.clone());
        let link = |_| Arc::new(ShardLink::new(Arc::new(Silent), events.clone()));
        let links: Vec<_> = (0..shard_count).map(link).collect();
        let (orders, inbox) = mpsc::channel(8);
        let tracker = TrackerService::new(Access::Listed, Limits::default()).unwrap();
        let names = Arc::<mesh::TorrentNames>::default();
        let news = News::default();
        let mut control = Control::new(ControlParts {
            start: Instant::now(),
            links: links.clone(),
            names: names.clone(),
            rest_after,
            events: events.clone(),
            bell,
            orders: inbox,
            news: news.clone(),
            peer_id: *b"-XX0001-controltests",
            announcer: None,
            discovery: Discovery::default(),
            resolver: Resolver::new(ResolveConfig::new(wire::PeerId(*b"-XX0001-controltests"), "tests")),
            web_seeds: None,
            tracker: Some(tracker.clone()),
            own_seeds: [tracker::OwnSeed::At(([127, 0, 0, 1], 1).into())].into(),
            slots: None,
            connections_per_shard: 10,
        });
        change(&mut control.sleep);
        tokio::spawn(control.run());
        Bench { links, events, orders, tracker, names, news }
    }

    async fn add(&self, sleeper: &Sleeper) -> Result<TorrentId, AddError> {
        let (reply, answer) = oneshot::channel();
        assert!(self.orders.send(Order::AddMany { torrents: vec![sleeper.at_rest()], reply }).await.is_ok());
        answer.await.unwrap().remove(0)
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

    async fn until(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        soon(async {
            loop {
                let status = self.status().await;
                if is_so(&status) {
                    return status;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
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

    /// What every shard is told to serve.
    async fn served(&self) -> Arc<Seeded> {
        let mut served = None;
        for shard in 0..self.links.len() {
            let Command::Serve { torrent, .. } = self.said(shard).await else { panic!("it is told to serve") };
            assert!(served.as_ref().is_none_or(|other| Arc::ptr_eq(other, &torrent)), "all serve the same");
            served = Some(torrent);
        }
        served.unwrap()
    }

    /// The ticket under which every shard is told to let the torrent go.
    async fn let_go(&self) -> u32 {
        let mut tickets = Vec::new();
        for shard in 0..self.links.len() {
            let Command::Rest { ticket, .. } = self.said(shard).await else { panic!("it is told to let go") };
            tickets.push(ticket);
        }
        assert!(tickets.iter().all(|ticket| *ticket == tickets[0]));
        tickets[0]
    }

    async fn refused(&self) {
        for shard in 0..self.links.len() {
            assert!(matches!(self.said(shard).await, Command::Refuse { .. }));
        }
    }

    fn say(&self, event: Event) {
        assert!(self.events.post(event).is_ok());
    }

    fn is_tracked(&self, sleeper: &Sleeper) -> bool {
        self.tracker.stats(sleeper.torrent.info_hashes().next().unwrap()).is_some()
    }
}

async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}

/// A torrent of one file, and where it comes from.
struct Sleeper {
    folder: tempfile::TempDir,
    torrent: Arc<Torrent>,
    source: Arc<Source>,
}

struct Source {
    torrent: Arc<Torrent>,
    place: Place,
    loads: AtomicUsize,
    /// Where loads wait, if they do.
    gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    /// What is said in place of the torrent.
    error: Mutex<Option<fn() -> LoadError>>,
}

impl Sleeper {
    fn new(name: &str) -> Sleeper {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), vec![7; 20_000]).unwrap();
        let length = name.len();
        let info = format!("d6:lengthi20000e4:name{length}:{name}12:piece lengthi16384e6:pieces40:{}e", "h".repeat(40));
        let torrent = Arc::new(Torrent::from_info(info.as_bytes()).unwrap());
        let source = Source {
            torrent: torrent.clone(),
            place: Place::under(folder.path()),
            loads: AtomicUsize::new(0),
            gate: Mutex::default(),
            error: Mutex::default(),
        };
        Sleeper { folder, torrent, source: Arc::new(source) }
    }

    fn at_rest(&self) -> AtRest {
        AtRest {
            name: self.torrent.layout().name().to_owned(),
            info_hashes: self.torrent.info_hashes().collect(),
            misnamed: Some(InfoHash([9; 20])),
            size_bytes: 20_000,
            is_private: false,
            tiers: Arc::default(),
            terms: Arc::default(),
            source: self.source.clone(),
            is_restored: true,
        }
    }

    fn loads(&self) -> usize {
        self.source.loads.load(Ordering::SeqCst)
    }

    fn fails_with(&self, error: fn() -> LoadError) {
        *self.source.error.lock().unwrap() = Some(error);
    }

    fn recovers(&self) {
        *self.source.error.lock().unwrap() = None;
    }
}

impl TorrentSource for Source {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = self.gate.lock().unwrap().take() {
            let _ = gate.recv_timeout(DEADLINE);
        }
        if let Some(error) = *self.error.lock().unwrap() {
            return Err(error());
        }
        let content = Content::open(self.torrent.layout(), &self.place)?;
        Ok(Arc::new(Seeded::new(self.torrent.clone(), content)))
    }
}

fn changed() -> LoadError {
    LoadError::Changed { name: "a".to_owned() }
}

fn unavailable() -> LoadError {
    LoadError::Unavailable { name: "a".to_owned(), reason: "busy".to_owned() }
}

#[tokio::test]
async fn a_thousand_questions_load_a_torrent_once() {
    let bench = Bench::new(2, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    assert!(bench.is_tracked(&sleeper) && bench.tracker.stats(InfoHash([9; 20])).is_some(), "peers are sent to us");
    assert_eq!(bench.status().await.torrents[0].state, TorrentState::AtRest);
    assert!(bench.links.iter().all(|link| link.commands.take().is_none()), "no shard hears of it");
    for _ in 0..1000 {
        bench.say(Event::Wanted { id });
    }
    let seeded = bench.served().await;
    assert!(Arc::ptr_eq(seeded.torrent(), &sleeper.torrent));
    bench.say(Event::Wanted { id });
    let status = bench.status().await;
    assert_eq!((status.torrents[0].state.clone(), sleeper.loads()), (TorrentState::Complete, 1));
    assert_eq!((status.rest.loads, status.rest.awake, status.rest.at_rest, status.rest.loading), (1, 1, 0, 0));
    assert!(bench.links.iter().all(|link| link.commands.take().is_none()), "they have been told");
}

#[tokio::test]
async fn a_torrent_that_nobody_wants_is_let_go_and_its_totals_stay() {
    let bench = Bench::new(2, Duration::ZERO);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    bench.say(Event::Wanted { id });
    let Command::Serve { counters, torrent, .. } = bench.said(0).await else { panic!("it is told to serve") };
    drop(bench.said(1).await);
    let seeded = Arc::downgrade(&torrent);
    drop(torrent);
    // Two looks: the first one sees that something was sent.
    counters.shard(1).payload_sent_bytes.add(77);
    let ticket = bench.let_go().await;
    bench.say(Event::Rested { id, ticket, is_kept: false });
    assert_eq!(bench.status().await.torrents[0].state, TorrentState::Complete, "one shard has it still");
    bench.say(Event::Rested { id, ticket, is_kept: false });
    let status = bench.until(|status| status.torrents[0].state == TorrentState::AtRest).await;
    assert_eq!((status.torrents[0].payload_sent_bytes, status.rest.rests, status.rest.at_rest), (77, 1, 1));
    soon(async {
        // The look at all paths may hold it for a moment.
        while seeded.strong_count() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    assert!(bench.is_tracked(&sleeper), "it is as known as before");
    bench.say(Event::Wanted { id });
    bench.served().await;
    assert_eq!(sleeper.loads(), 2);
}

#[tokio::test]
async fn a_torrent_that_is_in_use_stays() {
    // More than none: two looks without anybody are needed, and a look that comes before the first peer harms nothing.
    let bench = Bench::new(1, Duration::from_millis(1));
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    bench.say(Event::Wanted { id });
    let Command::Serve { counters, .. } = bench.said(0).await else { panic!("it is told to serve") };
    counters.shard(0).peers.add(1);
    let looks = Instant::now();
    while looks.elapsed() < 3 * Duration::from_secs(1) {
        assert!(bench.links[0].commands.take().is_none());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    counters.shard(0).peers.subtract(1);
    bench.let_go().await;
}

#[tokio::test]
async fn who_comes_at_the_moment_of_rest_finds_what_the_others_have() {
    let bench = Bench::new(2, Duration::ZERO);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    bench.say(Event::Wanted { id });
    let seeded = bench.served().await;
    let ticket = bench.let_go().await;
    // Shard 0 has let go, somebody is connected to shard 1.
    bench.say(Event::Rested { id, ticket, is_kept: false });
    bench.say(Event::Rested { id, ticket, is_kept: true });
    assert!(Arc::ptr_eq(&bench.served().await, &seeded));
    // Shard 0 has let go, and somebody has come there; shard 1 has not looked yet.
    let ticket = bench.let_go().await;
    bench.say(Event::Rested { id, ticket, is_kept: false });
    bench.say(Event::Wanted { id });
    assert!(Arc::ptr_eq(&bench.served().await, &seeded));
    bench.say(Event::Rested { id, ticket, is_kept: false });
    // A late answer is none to the next question.
    let next = bench.let_go().await;
    assert_ne!(next, ticket);
    bench.say(Event::Rested { id, ticket, is_kept: false });
    bench.say(Event::Rested { id, ticket: next, is_kept: false });
    assert_eq!(bench.status().await.torrents[0].state, TorrentState::Complete);
    bench.say(Event::Rested { id, ticket: next, is_kept: false });
    let status = bench.until(|status| status.torrents[0].state == TorrentState::AtRest).await;
    assert_eq!((status.rest.kept, sleeper.loads()), (2, 1));
}

#[tokio::test]
async fn a_load_that_fails_is_the_torrents_error_and_is_tried_again_when_somebody_asks() {
    let bench = Bench::new(2, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    sleeper.fails_with(changed);
    bench.say(Event::Wanted { id });
    bench.refused().await;
    let status = bench.status().await;
    assert_eq!(status.torrents[0].error, Some(changed().to_string()));
    assert_eq!((status.torrents[0].state.clone(), status.rest.failed_loads), (TorrentState::AtRest, 1));
    assert!(!bench.is_tracked(&sleeper), "nobody is sent to us for what we do not have");
    sleeper.recovers();
    bench.say(Event::Wanted { id });
    bench.served().await;
    let status = bench.status().await;
    assert_eq!((status.torrents[0].error.clone(), sleeper.loads()), (None, 2));
    assert!(bench.is_tracked(&sleeper));
}

#[tokio::test]
async fn a_shortage_of_ours_hides_no_torrent() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    sleeper.fails_with(unavailable);
    bench.say(Event::Wanted { id });
    bench.refused().await;
    assert!(bench.is_tracked(&sleeper));
    // Asked again at once, it is not tried again at once.
    bench.say(Event::Wanted { id });
    bench.refused().await;
    assert_eq!(sleeper.loads(), 1);
}

#[tokio::test]
async fn a_shortage_of_ours_is_told_to_nobody_as_the_torrents_failure() {
    let bench = Bench::new(1, Duration::MAX);
    let mut told = bench.news.listen();
    let (short, broken) = (Sleeper::new("a"), Sleeper::new("b"));
    let (short_id, broken_id) = (bench.add(&short).await.unwrap(), bench.add(&broken).await.unwrap());
    for (sleeper, id, error) in [(&short, short_id, unavailable as fn() -> LoadError), (&broken, broken_id, changed)] {
        sleeper.fails_with(error);
        bench.say(Event::Wanted { id });
        bench.refused().await;
    }
    let Some(EngineEvent::Failed { id, .. }) = soon(told.next()).await else { panic!("a failure is told") };
    assert_eq!(id, broken_id);
    assert!(bench.status().await.torrents.iter().all(|torrent| torrent.error.is_some()));
}

#[tokio::test]
async fn another_torrent_in_its_place_is_not_served() {
    let bench = Bench::new(1, Duration::MAX);
    let (sleeper, other) = (Sleeper::new("a"), Sleeper::new("b"));
    let at_rest = AtRest { source: other.source.clone(), ..sleeper.at_rest() };
    let (reply, answer) = oneshot::channel();
    assert!(bench.orders.send(Order::AddMany { torrents: vec![at_rest], reply }).await.is_ok());
    let id = answer.await.unwrap().remove(0).unwrap();
    bench.say(Event::Wanted { id });
    bench.refused().await;
    assert!(bench.status().await.torrents[0].error.as_ref().is_some_and(|error| error.contains("another torrent")));
}

#[tokio::test]
async fn a_torrent_that_is_removed_while_it_is_loaded_does_not_come_back() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    let (open, gate) = std::sync::mpsc::channel();
    *sleeper.source.gate.lock().unwrap() = Some(gate);
    bench.say(Event::Wanted { id });
    bench.until(|status| status.torrents[0].state == TorrentState::Loading && status.rest.loading == 1).await;
    bench.remove(id).await;
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    open.send(()).unwrap();
    bench.until(|status| status.rest.loading == 0).await;
    assert!(bench.links[0].commands.take().is_none());
    assert!(!bench.is_tracked(&sleeper));
    // It may be added again, under a number of its own.
    assert_ne!(bench.add(&sleeper).await.unwrap(), id);
}

#[tokio::test]
async fn a_torrent_that_fails_while_it_is_awake_is_at_rest_with_its_error() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    bench.say(Event::Wanted { id });
    let seeded = bench.served().await;
    std::fs::write(sleeper.folder.path().join("a"), vec![8; 20_001]).unwrap();
    seeded.fail(seeded.content().check_on_disk().unwrap_err());
    bench.say(Event::TorrentFailed { id });
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    let status = bench.until(|status| status.torrents[0].state == TorrentState::AtRest).await;
    assert!(status.torrents[0].error.is_some() && !bench.is_tracked(&sleeper));
    bench.say(Event::Wanted { id });
    bench.refused().await;
    std::fs::write(sleeper.folder.path().join("a"), vec![7; 20_000]).unwrap();
    bench.say(Event::Wanted { id });
    bench.served().await;
    assert!(bench.status().await.torrents[0].error.is_none() && bench.is_tracked(&sleeper));
}

#[tokio::test]
async fn the_same_torrent_twice_is_refused() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let id = bench.add(&sleeper).await.unwrap();
    assert_eq!(bench.add(&sleeper).await, Err(AddError::Duplicate { name: "a".to_owned() }));
    bench.remove(id).await;
    bench.add(&sleeper).await.unwrap();
}

#[test]
fn those_that_were_left_alone_the_longest_rest_early_when_there_are_many() {
    let mut sleep = Sleep::new(Duration::from_secs(600));
    let count = IDLE_LOADED_MAX as u32 + 3;
    // They fall idle one a millisecond, the last number first.
    for id in (0..count).rev() {
        sleep.watch(TorrentId(id));
        sleep.look(Duration::from_millis((count - id).into()), |_| Some((0, 0)));
    }
    let now = EARLY_REST_LEAST + Duration::from_secs(60);
    let going = sleep.look(now, |_| Some((0, 0)));
    assert_eq!(going, [TorrentId(count - 1), TorrentId(count - 2), TorrentId(count - 3)]);
    // Somebody is connected for some of them, and one was served between two looks.
    let used = |id: TorrentId| Some((u64::from(id.0 == count - 1), u64::from(id.0 == count - 2)));
    assert_eq!(sleep.look(now, used), [TorrentId(count - 3)]);
    // Who is not there any more is forgotten.
    assert!(sleep.look(now, |_| None).is_empty() && sleep.awake.is_empty());
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)] // It is for whoever runs it.
fn what_a_shards_look_at_the_names_costs_while_they_are_written() {
    let spread = |number: u32| {
        let mut name = [0; 20];
        name[..8].copy_from_slice(&u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        InfoHash(name)
    };
    for count in [30_000, 3_000_000] {
        let names = mesh::TorrentNames::default();
        (0..count).for_each(|number| names.insert(&[spread(number)], TorrentId(number), true));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    names.set_wakes(&[spread(count / 2)], TorrentId(count / 2), true);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            let begun = Instant::now();
            let looks = (0..1_000_000).map(|n| names.wakes(spread(n * 7 % count)));
            let again = looks.filter(|look| *look == mesh::Wakes::AskAgain).count();
            println!("{count} names: {} ns a look, {again} in a million asked again", begun.elapsed().as_millis());
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
