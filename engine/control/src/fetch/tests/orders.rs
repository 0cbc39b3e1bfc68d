//! What an operator's orders make of torrents that are fetched and served, as shards and listeners hear of it.

use super::*;
use crate::news::EngineEvent;
use crate::operator::{Reply, TorrentOrder};
use crate::order::OrderError;
use crate::rechecking::{CheckError, Checked, ContentCheck, RecheckReport};
use mesh::{Direction, PeerReport};
use std::net::IpAddr;
use swarm::{Gate, TorrentLimits};

impl Bench {
    async fn order<T>(&self, id: TorrentId, order: impl FnOnce(Reply<T>) -> TorrentOrder) -> Result<T, OrderError> {
        let (reply, answer) = oneshot::channel();
        assert!(self.orders.send(Order::About { id, order: order(reply) }).await.is_ok());
        soon(answer).await.unwrap()
    }

    /// A fetch that its home shard, of two, has been given.
    async fn under_way(release: &Release) -> (Bench, TorrentId) {
        let bench = Bench::new(2);
        let id = bench.fetch(release, Vec::new()).await.unwrap();
        assert!(matches!(bench.said(0).await, Command::Fetch(_)));
        assert!(matches!(bench.said(1).await, Command::Forward { .. }));
        (bench, id)
    }
}

fn refetch(release: &Release) -> Box<NewFetch> {
    Box::new(NewFetch {
        source: FetchSource::Torrent(release.torrent.clone()),
        files: release.files.clone(),
        terms: Arc::default(),
        peers: Vec::new(),
        sequential: false,
    })
}

#[tokio::test]
async fn a_fetch_that_is_stopped_is_held_and_not_taken_away() {
    let release = Release::new(0, 0xf0);
    let (bench, id) = Bench::under_way(&release).await;
    bench.order(id, |reply| TorrentOrder::Stop { reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Hold { id: held, held: true } if held == id));
    let status = bench.order(id, |reply| TorrentOrder::Status { reply }).await.unwrap();
    assert!(status.is_stopped && status.state == TorrentState::Fetching);
    bench.order(id, |reply| TorrentOrder::Start { reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Hold { held: false, .. }));
    assert!(!bench.order(id, |reply| TorrentOrder::Status { reply }).await.unwrap().is_stopped);
}

#[tokio::test]
async fn one_that_is_stopped_while_its_files_are_looked_at_is_held_from_the_start() {
    let (open, gate) = std::sync::mpsc::channel();
    let release = Release::new(0, 0xf0).with(|files| *files.gate.get_mut().unwrap() = Some(gate));
    let bench = Bench::new(1);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    bench.order(id, |reply| TorrentOrder::Stop { reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Hold { held: true, .. }));
    open.send(()).unwrap();
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
    assert!(matches!(bench.said(0).await, Command::Hold { held: true, .. }));
}

#[tokio::test]
async fn a_link_that_is_stopped_is_asked_about_again_when_it_is_started() {
    let release = Release::new(0, 0xf0);
    let bench = Bench::new(1);
    let magnet = format!("magnet:?xt=urn:btih:{}", "a1".repeat(20)).parse::<Magnet>().unwrap();
    let id = bench.fetch_by(FetchSource::Magnet(Box::new(magnet)), &release, Vec::new()).await.unwrap();
    bench.order(id, |reply| TorrentOrder::Stop { reply }).await.unwrap();
    for is_stopped in [true, false] {
        let status = bench.order(id, |reply| TorrentOrder::Status { reply }).await.unwrap();
        assert!(matches!(status.state, TorrentState::Resolving { .. }) && status.is_stopped == is_stopped);
        bench.order(id, |reply| TorrentOrder::Start { reply }).await.unwrap();
    }
}

#[tokio::test]
async fn what_completes_while_it_is_stopped_is_not_served() {
    let (release, mut finished) = (Release::new(0, 0xf0), false);
    let (bench, id) = Bench::under_way(&release).await;
    let mut events = bench.news.listen();
    bench.order(id, |reply| TorrentOrder::Stop { reply }).await.unwrap();
    bench.say(Event::Fetched { id });
    while !finished {
        finished = matches!(soon(events.next()).await, Some(EngineEvent::Completed { .. }));
    }
    bench.reached(&TorrentState::Complete).await;
    assert!(matches!(bench.said(0).await, Command::Hold { .. }));
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    assert!(bench.links[0].commands.take().is_none());
    bench.order(id, |reply| TorrentOrder::Start { reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Serve { .. }));
}

#[tokio::test]
async fn a_fetch_that_begins_anew_hears_nothing_of_the_old_files() {
    let (open, gate) = std::sync::mpsc::channel();
    let old = Release::new(0, 0xf0).with(|files| *files.gate.get_mut().unwrap() = Some(gate));
    let new = Release::new(0b1110_0000, 0xf0);
    let bench = Bench::new(1);
    let id = bench.fetch(&old, Vec::new()).await.unwrap();
    bench.order(id, |reply| TorrentOrder::Refetch { fetch: refetch(&new), reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    let Command::Fetch(order) = bench.said(0).await else { panic!("it is fetched") };
    assert_eq!((order.id, &*order.have), (id, &[0b1110_0000][..]));
    open.send(()).unwrap();
    bench.say(Event::Fetched { id });
    assert!(matches!(bench.said(0).await, Command::Serve { .. }), "nor are the old files given to the shard");
}

#[tokio::test]
async fn a_fetch_that_has_failed_is_not_started_but_fetched_anew() {
    let release = Release::new(0, 0xf0).with(|files| files.finish = || Err(FetchError::BrokeOff));
    let anew = Release::new(0, 0xf0);
    let (bench, id) = Bench::under_way(&release).await;
    let mut events = bench.news.listen();
    bench.say(Event::Fetched { id });
    assert!(matches!(soon(events.next()).await, Some(EngineEvent::Failed { .. })));
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    let error = bench.order(id, |reply| TorrentOrder::Start { reply }).await.unwrap_err();
    assert!(matches!(&error, OrderError::FetchFailed { name, .. } if name == "image.iso"), "{error}");
    bench.order(id, |reply| TorrentOrder::Refetch { fetch: refetch(&anew), reply }).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    assert!(matches!(bench.said(0).await, Command::Fetch(_)));
}

#[tokio::test]
async fn other_limits_reach_every_shard_and_leave_the_embargo() {
    let release = Release::new(0, 0xf0);
    let bench = Bench::new(2);
    let terms =
        Arc::new(Terms::with(TorrentLimits::default(), Some(Arc::new(Gate::new(None, Vec::new(), None).unwrap()))));
    let fetch = Box::new(NewFetch { terms, ..*refetch(&release) });
    let (reply, answer) = oneshot::channel();
    assert!(bench.orders.send(Order::Fetch { fetch, reply }).await.is_ok());
    let id = answer.await.unwrap().unwrap();
    assert!(matches!((bench.said(0).await, bench.said(1).await), (Command::Fetch(_), Command::Forward { .. })));
    let limits = TorrentLimits { upload_bytes_per_s: std::num::NonZeroU64::new(7), ..TorrentLimits::default() };
    bench.order(id, |reply| TorrentOrder::SetLimits { limits, reply }).await.unwrap();
    for shard in 0..2 {
        let Command::SetTerms { terms, .. } = bench.said(shard).await else { panic!("terms") };
        assert_eq!(terms.upload.rate(), std::num::NonZeroU64::new(7));
        assert!(terms.shut_gate().is_some_and(|gate| !gate.admits(IpAddr::from([192, 0, 2, 1]), Duration::ZERO)));
    }
    assert!(bench.order(id, |reply| TorrentOrder::Status { reply }).await.unwrap().embargo.is_some());
    let mut events = bench.news.listen();
    bench.order(id, |reply| TorrentOrder::Open { reply }).await.unwrap();
    assert!(matches!(soon(events.next()).await, Some(EngineEvent::Opened { .. })));
}

fn peer(port: u16) -> PeerReport {
    PeerReport {
        address: address(port),
        client: "somebody 1.0".to_owned(),
        direction: Direction::Incoming,
        shard: 0,
        connected: Duration::ZERO,
        sent_bytes: 0,
        received_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        have_pieces: 0,
        total_pieces: 4,
        is_interested: false,
        is_choked: true,
        chokes_us: false,
        is_snubbed: false,
        is_super_seeded: false,
    }
}

#[tokio::test]
async fn a_list_of_peers_is_that_of_all_shards() {
    let release = Release::new(0, 0xf0);
    let (bench, id) = Bench::under_way(&release).await;
    let listed = bench.order(id, |reply| TorrentOrder::Peers { reply });
    let answers = async {
        for shard in 0..2u16 {
            let Command::ListPeers { ticket, .. } = bench.said(shard.into()).await else { panic!("it is asked") };
            bench.say(Event::Peers { ticket, peers: vec![peer(shard)], left_out: u64::from(shard) });
        }
    };
    let (list, ()) = tokio::join!(listed, answers);
    let list = list.unwrap();
    assert_eq!((list.peers, list.left_out), (vec![peer(0), peer(1)], 1));
}

#[tokio::test]
async fn other_slots_and_connections_are_shared_out_at_once_and_freed_again() {
    let bench = Bench::new(2);
    for (slots, limit) in [(Some(4), 7), (None, 9)] {
        assert!(bench.orders.send(Order::SetShare { slots, connections_per_shard: limit }).await.is_ok());
        for shard in 0..2 {
            loop {
                match bench.said(shard).await {
                    Command::SetConnections { limit: told } => assert_eq!(told, limit),
                    // The tick says it again.
                    Command::SetSlots { slots: Some(2) } if slots.is_none() => {}
                    Command::SetSlots { slots: part } => {
                        assert_eq!(part, slots.map(|slots| slots / 2));
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// A check that ends as the test wants.
struct TestCheck {
    files: Arc<TestFiles>,
    is_right: bool,
}

impl ContentCheck for TestCheck {
    fn check(&self, torrent: &Arc<Torrent>) -> Result<Checked, CheckError> {
        let bad_count = u32::from(!self.is_right);
        let report = RecheckReport { piece_count: 4, bad_count, ..RecheckReport::default() };
        Ok(Checked { report, seeded: self.is_right.then(|| self.files.seeded(torrent)) })
    }

    fn progress(&self) -> storage::Progress {
        storage::Progress::default()
    }

    fn cancel(&self) {}
}

#[tokio::test]
async fn a_check_ends_in_service_or_in_an_error_and_one_under_way_is_not_begun_twice() {
    let release = Release::new(0xf0, 0xf0);
    let bench = Bench::new(1);
    let id = bench.fetch(&release, Vec::new()).await.unwrap();
    assert!(matches!(bench.said(0).await, Command::Serve { .. }));
    for is_right in [false, true] {
        let mut events = bench.news.listen();
        let check = Arc::new(TestCheck { files: release.files.clone(), is_right });
        let torrent = release.torrent.clone();
        bench.order(id, |reply| TorrentOrder::Recheck { torrent, check, reply }).await.unwrap();
        assert!(matches!(bench.said(0).await, Command::Withdraw { .. }), "nobody is served meanwhile");
        let event = soon(events.next()).await;
        assert!(matches!(&event, Some(EngineEvent::Rechecked { report, .. }) if report.is_complete() == is_right));
        match is_right {
            true => assert!(matches!(bench.said(0).await, Command::Serve { .. })),
            false => {
                assert!(matches!(soon(events.next()).await, Some(EngineEvent::Failed { .. })));
                assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
                let error = bench.order(id, |reply| TorrentOrder::Start { reply }).await.unwrap_err();
                assert!(matches!(error, OrderError::Changed { .. }), "{error}");
            }
        }
    }
    assert_eq!(bench.state().await, TorrentState::Complete);
}

#[tokio::test]
async fn whether_the_engine_can_go_on_is_told_without_a_look_at_every_torrent() {
    let bench = Bench::new(2);
    bench.links[0].counters.peers.add(2);
    bench.links[1].counters.peers.add(3);
    let summary = async || {
        let (reply, answer) = oneshot::channel();
        assert!(bench.orders.send(Order::Summary { reply }).await.is_ok());
        answer.await.unwrap()
    };
    let first = summary().await;
    assert_eq!((first.peers, first.fatal), (5, None));
    bench.say(Event::ShardFailed { shard: 0, reason: "its disk is gone".to_owned() });
    soon(async {
        while summary().await.fatal.as_deref() != Some("its disk is gone") {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}
