use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc as std_mpsc;

use api::operator::types::TorrentState;
use catalogue::{
    Change, ContentPlace, DeliveryNumber, NewTorrent, Origin, Release, ReleaseState, TorrentChange, TorrentLimits,
    TorrentNumber,
};
use metainfo::Torrent;
use proptest::prelude::*;
use settings::{Period, Secret, WebhookEvent};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::message::Happening;
use super::signature::sign;
use super::told::Told;
use super::*;
use crate::clock::unix_s;
use crate::desk::{DeskHandle, Happened, TorrentLine};

/// How a receiver treats one request.
enum Manner {
    Status(&'static str),
    /// Reads it and says nothing.
    Hang,
}

/// A request that came.
struct Received {
    head: String,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn field(&self, name: &str) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.body).unwrap()[name].clone()
    }
}

/// A program that is told of things: first in these manners, then as it should.
struct Receiver {
    address: SocketAddr,
    received: std_mpsc::Receiver<Received>,
}

impl Receiver {
    fn start(manners: impl IntoIterator<Item = Manner>) -> Receiver {
        Receiver::at(TcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    fn at(listener: TcpListener, manners: impl IntoIterator<Item = Manner>) -> Receiver {
        let address = listener.local_addr().unwrap();
        let mut manners: VecDeque<Manner> = manners.into_iter().collect();
        let (sender, received) = std_mpsc::channel();
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                let Some(request) = read_request(&mut stream) else { continue };
                if sender.send(request).is_err() {
                    return;
                }
                match manners.pop_front().unwrap_or(Manner::Status("200 OK")) {
                    Manner::Status(status) => {
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes());
                    }
                    Manner::Hang => hanging.push(stream),
                }
            }
        });
        Receiver { address, received }
    }

    fn next(&self) -> Received {
        self.received.recv_timeout(Duration::from_secs(60)).expect("nothing comes")
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received { head, body: String::from_utf8(body).unwrap() })
}

/// A receiver that is waited for, however slow the machine is.
fn hook(url: &str, attempts: u32) -> Webhook {
    Webhook {
        url: url.parse().unwrap(),
        secret: Some(Secret::new("hush")),
        secret_file: None,
        events: WebhookEvent::ALL.to_vec(),
        timeout: Period(Duration::from_secs(60)),
        attempts,
    }
}

/// One that is soon tried again. On a machine that is slow it may get more messages than one.
fn hasty(url: &str) -> Webhook {
    Webhook { timeout: Period(Duration::from_millis(200)), ..hook(url, u32::MAX) }
}

fn plan(hooks: Vec<Webhook>) -> Plan {
    let base_url = Some("https://mirror.example".to_owned());
    Plan { hooks: hooks.into_iter().map(|hook| (target::key(&hook), hook)).collect(), base_url }
}

/// No waits between tries.
const AT_ONCE: Pace = Pace { first: Duration::ZERO, longest: Duration::from_secs(3600) };

/// A catalogue, what the desk would say, and webhooks that hear it.
struct Service {
    runtime: Handle,
    end: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    catalogue: Catalogue,
    desk: broadcast::Sender<DeskEvent>,
    webhooks: Webhooks,
}

impl Service {
    fn start(dir: &Path, plan: Plan) -> Service {
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = built.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || drop(built.block_on(ended)));
        let (catalogue, _) = Catalogue::open(dir).unwrap();
        let (handle, _, desk) = DeskHandle::new();
        let events = handle.events();
        let guard = runtime.enter();
        let webhooks = Webhooks::start_at(AT_ONCE, catalogue.clone(), events, plan).unwrap();
        drop(guard);
        Service { runtime, end, thread, catalogue, desk, webhooks }
    }

    fn happens(&self, number: i64, what: Happened) {
        self.desk.send(DeskEvent { torrent: Arc::new(line(number)), what }).unwrap();
    }

    /// Nothing is heard until the sender is gone.
    fn hold(&self) -> std_mpsc::Sender<()> {
        let (held, until) = std_mpsc::channel();
        let (holds, is_held) = std_mpsc::channel();
        self.runtime.spawn(async move {
            holds.send(()).unwrap();
            until.recv().unwrap_err();
        });
        is_held.recv().unwrap();
        held
    }

    /// As the desk does it: the message first.
    fn is_withdrawn(&self, number: i64) {
        let message = self.keep_withdrawal(number);
        self.happens(number, Happened::Withdrawn { message: Some(message) });
    }

    fn keep_withdrawal(&self, number: i64) -> DeliveryNumber {
        let message = self.catalogue.next_delivery();
        let note = withdrawal_note(message, &line(number), unix_s(), "gone");
        self.catalogue.apply_blocking(vec![note]).unwrap();
        message
    }

    fn stop(self) {
        self.runtime.block_on(self.webhooks.stop());
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
        self.catalogue.close();
    }

    fn until(&self, is_so: impl Fn(&Counters) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !is_so(self.webhooks.counters()) {
            assert!(std::time::Instant::now() < deadline, "it never happens: {:?}", self.webhooks.counters());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn torrent(number: i64) -> Vec<u8> {
    let info = format!("d6:lengthi{number}e4:name9:live.iso_12:piece lengthi1048576e6:pieces20:{number:020}e");
    format!("d8:announce17:http://tracker/an4:info{info}e").into_bytes()
}

fn line(number: i64) -> TorrentLine {
    let parsed = Torrent::parse(&torrent(number)).unwrap();
    TorrentLine {
        number: TorrentNumber(number),
        name: parsed.layout().name().into(),
        info_hash_v1: parsed.info_hash_v1(),
        info_hash_v2: None,
        state: TorrentState::Seeding,
        error: None,
        size_bytes: number as u64,
        piece_count: 1,
        is_private: false,
        wanted_bytes: number as u64,
        verified_bytes: number as u64,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        peer_count: 0,
        seeded_s: 0,
        origin: Origin::Published { label: "iso".into(), path: "live/live.iso".into() },
        content_path: "/srv/live.iso".into(),
        group: None,
        limits: TorrentLimits::default(),
        stopped: None,
        tiers: Arc::from([vec!["http://tracker/an".to_owned()]]),
        added_at_s: 1,
        completed_at_s: Some(1),
        first_copy_at_s: None,
        opens_at_s: None,
    }
}

#[test]
fn a_receiver_that_fails_then_hangs_then_accepts_gets_all_in_order_and_signed() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([Manner::Status("500 Oh"), Manner::Hang, Manner::Status("302 Found")]);
    let service = Service::start(dir.path(), plan(vec![hasty(&receiver.url())]));
    service.happens(1, Happened::Published);
    service.is_withdrawn(2);
    let mut tries = vec![receiver.next()];
    while tries.last().unwrap().field("event") == "published" {
        tries.push(receiver.next());
    }
    let told: Vec<_> = tries.iter().map(|received| (received.field("event"), received.field("number"))).collect();
    let (withdrawn, published) = told.split_last().unwrap();
    assert!(published.len() >= 4 && published.iter().all(|told| *told == ("published".into(), 1.into())), "{told:?}");
    assert_eq!(*withdrawn, ("withdrawn".into(), 2.into()));
    for received in &tries {
        let timestamp_s = received.header("x-spillway-timestamp").parse().unwrap();
        let expected = sign(b"hush", timestamp_s, received.body.as_bytes()).unwrap();
        assert_eq!(received.header("x-spillway-signature"), expected);
    }
    assert_eq!(tries[0].header("x-spillway-delivery"), tries[3].header("x-spillway-delivery"));
    service.until(|counters| counters.delivered.load(Relaxed) == 2);
    assert!(service.webhooks.counters().failed_tries.load(Relaxed) >= 3);
    service.stop();
}

#[test]
fn a_message_says_what_a_reader_needs() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), 12)]));
    service.happens(7, Happened::Published);
    let received = receiver.next();
    let info_hash = line(7).info_hash_v1.unwrap().to_string();
    let expected = serde_json::json!({
        "event": "published",
        "id": received.field("id"),
        "time": received.field("time"),
        "number": 7,
        "name": "live.iso_",
        "info_hash_v1": info_hash,
        "info_hash_v2": null,
        "size_bytes": 7,
        "origin": "published",
        "label": "iso",
        "path": "live/live.iso",
        "magnet": format!("magnet:?xt=urn:btih:{info_hash}&dn=live.iso_&xl=7&tr=http%3A%2F%2Ftracker%2Fan"),
        "torrent_url": format!("https://mirror.example/releases/{info_hash}/live.iso_.torrent"),
        "reason": null,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&received.body).unwrap(), expected);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("x-spillway-event"), "published");
    service.stop();
}

#[test]
fn a_restart_keeps_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there, until later.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let service = Service::start(dir.path(), plan(vec![hasty(&url)]));
    service.happens(1, Happened::FirstFullCopy);
    service.until(|counters| counters.failed_tries.load(Relaxed) > 0);
    service.stop();
    let receiver = Receiver::at(listener, []);
    let service = Service::start(dir.path(), plan(vec![hasty(&url)]));
    // What was sent while it did not answer is there as well.
    let mut received = receiver.next();
    while service.webhooks.counters().delivered.load(Relaxed) == 0 {
        received = receiver.received.recv_timeout(Duration::from_millis(1)).unwrap_or(received);
    }
    assert_eq!((received.field("event"), received.field("number")), ("first_full_copy".into(), 1.into()));
    assert!(service.catalogue.delivery_counts().unwrap().is_empty());
    service.stop();
}

#[test]
fn a_receiver_that_is_given_up_on_gets_the_next_message() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([Manner::Status("404 Not Found"), Manner::Status("404 Not Found")]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), 2)]));
    service.happens(1, Happened::Published);
    service.happens(2, Happened::Published);
    let numbers: Vec<_> = (0..3).map(|_| receiver.next().field("number")).collect();
    assert_eq!(numbers, [1, 1, 2]);
    service.until(|counters| counters.given_up.load(Relaxed) == 1 && counters.delivered.load(Relaxed) == 1);
    service.stop();
}

#[test]
fn one_receiver_that_hangs_does_not_hold_up_another_and_each_hears_what_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (stuck, good) = (Receiver::start((0..1000).map(|_| Manner::Hang)), Receiver::start([]));
    let only_errors = Webhook { events: vec![WebhookEvent::Error], ..hook(&good.url(), 9) };
    let service = Service::start(dir.path(), plan(vec![hasty(&stuck.url()), only_errors]));
    service.happens(1, Happened::Published);
    service.happens(1, Happened::Failed { reason: "live.iso: is 5 bytes".to_owned() });
    let trouble = Trouble { label: "iso".into(), what: "live/b".to_owned(), reason: "no rights".to_owned() };
    let received = good.next();
    assert_eq!((received.field("event"), received.field("reason")), ("error".into(), "live.iso: is 5 bytes".into()));
    service.webhooks.reporter().report(trouble);
    let received = good.next();
    assert_eq!((received.field("name"), received.field("reason")), ("live/b".into(), "no rights".into()));
    assert_eq!(received.field("number"), serde_json::Value::Null);
    assert_eq!(stuck.next().field("event"), "published");
    service.stop();
}

#[test]
fn a_release_under_embargo_is_not_told_of_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), 9)]));
    let shut = TorrentLine { opens_at_s: Some(unix_s() + 1000), ..line(1) };
    service.desk.send(DeskEvent { torrent: Arc::new(shut), what: Happened::Published }).unwrap();
    service.happens(2, Happened::Published);
    service.happens(1, Happened::Opened);
    let numbers: Vec<_> = (0..2).map(|_| receiver.next().field("number")).collect();
    assert_eq!(numbers, [2, 1]);
    service.stop();
}

#[test]
fn more_than_is_remembered_of_ten_minutes_all_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), u32::MAX)]));
    for number in 1..=300 {
        service.happens(number, Happened::Published);
        // The desk's events are no more than so many at once.
        let Counters { queued, lost, .. } = service.webhooks.counters();
        service.until(|_| (queued.load(Relaxed) + lost.load(Relaxed)) as i64 + 50 > number);
    }
    let numbers: Vec<i64> = (0..300).map(|_| receiver.next().field("number").as_i64().unwrap()).collect();
    assert!(numbers.into_iter().eq(1..=300));
    assert_eq!(service.webhooks.counters().lost.load(Relaxed), 0);
    service.stop();
}

#[test]
fn the_same_thing_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), 9)]));
    for number in [1, 1, 2] {
        service.happens(number, Happened::Published);
    }
    let ids: Vec<_> = (0..2).map(|_| receiver.next().field("id")).collect();
    assert_ne!(ids[0], ids[1]);
    service.until(|counters| counters.delivered.load(Relaxed) == 2);
    assert_eq!(service.webhooks.counters().queued.load(Relaxed), 2);
    service.stop();
}

/// A published release in the catalogue, of which the desk says nothing.
fn publish(catalogue: &Catalogue, number: i64, published_at_s: i64, opens_at_s: Option<i64>) {
    let (number, bytes) = (TorrentNumber(number), torrent(number));
    let parsed = Torrent::parse(&bytes).unwrap();
    let origin = line(number.0).origin;
    let mut new = NewTorrent::of_file(number, &parsed, bytes, ContentPlace::under("/srv"), origin, 1);
    new.row.release_at_s = opens_at_s;
    let release = Release {
        number: catalogue.next_release(),
        label: "iso".into(),
        path: format!("live-{}", number.0).into(),
        torrent: Some(number),
        state: ReleaseState::Published,
        published_at_s: Some(published_at_s),
        gone_since_s: None,
        withdrawn_at_s: None,
    };
    catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new)), Change::PutRelease(release)]).unwrap();
}

#[test]
fn what_happened_without_a_message_is_told_at_the_next_start_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let hooks = || plan(vec![hook(&receiver.url(), 9)]);
    // The first start ever tells nothing of what was there before.
    let (catalogue, _) = Catalogue::open(dir.path()).unwrap();
    publish(&catalogue, 1, unix_s(), None);
    catalogue.apply_blocking(vec![Change::Torrent(TorrentNumber(1), TorrentChange::FirstCopy(Some(5)))]).unwrap();
    catalogue.close();
    let service = Service::start(dir.path(), hooks());
    service.happens(2, Happened::Published);
    assert_eq!(receiver.next().field("number"), 2);
    service.until(|counters| counters.delivered.load(Relaxed) == 1);
    // A crash between a release and its message, some seconds later.
    publish(&service.catalogue, 3, unix_s() + 5, None);
    publish(&service.catalogue, 4, unix_s() + 5, Some(unix_s() + 1000));
    service.stop();

    let service = Service::start(dir.path(), hooks());
    let received = receiver.next();
    assert_eq!((received.field("event"), received.field("number")), ("published".into(), 3.into()));
    service.until(|counters| counters.delivered.load(Relaxed) == 1);
    service.stop();

    let service = Service::start(dir.path(), hooks());
    service.happens(5, Happened::Published);
    assert_eq!(receiver.next().field("number"), 5);
    service.stop();
}

#[test]
fn a_withdrawal_is_told_once_whether_it_was_heard_of_or_only_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (all, errors) = (Receiver::start([]), Receiver::start([]));
    let only_errors = || Webhook { events: vec![WebhookEvent::Error], ..hook(&errors.url(), 9) };
    let hooks = || plan(vec![hook(&all.url(), 9), only_errors()]);
    for (number, is_heard) in [(1, true), (2, false)] {
        let service = Service::start(dir.path(), hooks());
        if is_heard {
            service.is_withdrawn(number);
            let told = all.next();
            assert_eq!((told.field("number"), told.field("reason")), (number.into(), "gone".into()));
        } else {
            // It is told by the next run, before what happens then.
            service.keep_withdrawal(number);
        }
        service.until(|counters| counters.delivered.load(Relaxed) == u64::from(is_heard));
        service.stop();
    }
    let service = Service::start(dir.path(), hooks());
    service.happens(3, Happened::Published);
    let told: Vec<_> = (0..2).map(|_| all.next()).map(|told| (told.field("event"), told.field("number"))).collect();
    assert_eq!(told, [("withdrawn".into(), 2.into()), ("published".into(), 3.into())]);
    service.happens(4, Happened::Failed { reason: "bad".to_owned() });
    assert_eq!(errors.next().field("event"), "error");
    assert_eq!(all.next().field("event"), "error");
    service.until(|counters| counters.delivered.load(Relaxed) == 4);
    assert!(service.catalogue.delivery_counts().unwrap().is_empty());
    service.stop();
}

#[test]
fn withdrawals_among_events_that_were_lost_are_told_after_what_came_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([]);
    let service = Service::start(dir.path(), plan(vec![hook(&receiver.url(), 9)]));
    let told = |received: Received| (received.field("event"), received.field("number"));
    service.happens(1, Happened::Published);
    assert_eq!(told(receiver.next()), ("published".into(), 1.into()));
    let held = service.hold();
    let first = service.keep_withdrawal(1);
    service.happens(1, Happened::Withdrawn { message: Some(first) });
    // More than a listener may be behind; that release 2 was published is among those that it still hears.
    for _ in 0..6000 {
        service.happens(9, Happened::Completed);
    }
    service.happens(2, Happened::Published);
    service.keep_withdrawal(2);
    drop(held);
    let last: Vec<_> = (0..3).map(|_| told(receiver.next())).collect();
    let expected = [("published", 2), ("withdrawn", 1), ("withdrawn", 2)];
    assert_eq!(last, expected.map(|(event, number)| (event.into(), number.into())));
    service.stop();
}

#[test]
fn a_message_that_would_be_too_long_to_be_kept_goes_without_trackers() {
    let tiers = Arc::from([(0..300).map(|tracker| format!("http://t/{tracker:02000}")).collect()]);
    let happening = Happening::of_line(WebhookEvent::Published, &TorrentLine { tiers, ..line(1) }, 1, None);
    let body: serde_json::Value = serde_json::from_slice(&happening.body(None)).unwrap();
    let magnet = body["magnet"].as_str().unwrap();
    assert!(magnet.contains("&dn=live.iso_") && !magnet.contains("&tr="), "{magnet}");
}

#[test]
fn messages_to_a_url_that_was_taken_out_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let stuck = Receiver::start((0..1000).map(|_| Manner::Hang));
    let service = Service::start(dir.path(), plan(vec![hook(&stuck.url(), u32::MAX)]));
    service.happens(1, Happened::Published);
    let _ = stuck.next();
    service.stop();
    let service = Service::start(dir.path(), plan(vec![]));
    service.until(|_| service.catalogue.delivery_counts().unwrap().is_empty());
    service.stop();
}

proptest! {
    #[test]
    fn what_was_told_comes_back_from_any_text(text: String, now_s in 0..i64::MAX / 2) {
        let told = Told::read(&text, now_s);
        let Change::Setting { value: Some(kept), .. } = told.keep() else { panic!("no setting") };
        prop_assert_eq!(Told::read(&kept, now_s), told);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_just_happened_is_known(numbers in prop::collection::vec(1..100_000i64, 1..600)) {
        // Times are as long as they are today: what is kept has a limit in bytes.
        let started_at_s = 1_800_000_000;
        let mut told = Told::all_before(started_at_s);
        for (second, number) in numbers.iter().enumerate() {
            let now_s = started_at_s + second as i64;
            let happening = Happening::of_line(WebhookEvent::Published, &line(*number), now_s, None);
            told.note(&happening, now_s);
            prop_assert!(!told.lacks(&happening));
        }
        let Change::Setting { value: Some(kept), .. } = told.keep() else { panic!("no setting") };
        prop_assert!(kept.len() < catalogue::limits::TEXT_BYTES_MAX, "{}", kept.len());
    }
}
