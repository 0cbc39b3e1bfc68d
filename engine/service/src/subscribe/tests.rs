use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use catalogue::{Change, FeedItem, ItemState, NewTorrent, TorrentNumber, TorrentRow};
use hash::sha256;
use metainfo::Torrent;
use settings::{Period, Size, Start, WebhookEvent};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::desk::{FetchSource, Request, TorrentLine};
use crate::webhooks::Webhooks;

pub(super) fn subscribe(feed: &str) -> Subscribe {
    Subscribe {
        name: "upstream".to_owned(),
        feed: feed.parse().unwrap(),
        output: PathBuf::from("/srv/mirror"),
        interval: Period(Duration::from_millis(20)),
        accept: Vec::new(),
        reject: Vec::new(),
        max_item_size: None,
        max_total_size: None,
        max_items: None,
        start: Start::All,
        files: Vec::new(),
        ca_file: None,
        keep: true,
        seed: true,
        republish: false,
        group: None,
    }
}

/// What is answered to a path: a status, an ETag or nothing, and a body.
type Pages = HashMap<String, (&'static str, String, Vec<u8>)>;

/// A server of another publisher, whose pages change.
#[derive(Clone)]
struct Upstream {
    url: String,
    pages: Arc<Mutex<Pages>>,
    /// Pages that are not there yet for so many requests.
    late: Arc<Mutex<HashMap<String, u32>>>,
    /// Requests that came: their path, and whether they were answered with "not modified".
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Upstream {
    fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = Upstream { url, pages: Arc::default(), late: Arc::default(), asked: Arc::default() };
        let server = upstream.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
                    head.push(byte[0]);
                }
                let _ = stream.write_all(&server.answer(&String::from_utf8_lossy(&head)));
            }
        });
        upstream
    }

    fn answer(&self, head: &str) -> Vec<u8> {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mark = head.lines().find_map(|line| line.strip_prefix("if-none-match: ")).unwrap_or_default();
        let nothing = ("404 Not Found", String::new(), Vec::new());
        let page = self.pages.lock().unwrap().get(&path).filter(|_| !self.is_late(&path)).cloned();
        let (status, etag, body) = page.unwrap_or(nothing);
        let is_same = !etag.is_empty() && etag == mark;
        self.asked.lock().unwrap().push((path, is_same));
        let (status, body) = if is_same { ("304 Not Modified", Vec::new()) } else { (status, body) };
        let length = body.len();
        let mut answer =
            format!("HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes();
        answer.extend(body);
        answer
    }

    /// Whether a page is not there yet; that it was asked for is counted.
    fn is_late(&self, path: &str) -> bool {
        let mut late = self.late.lock().unwrap();
        late.get_mut(path).is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)
    }

    fn put(&self, path: &str, status: &'static str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let etag = format!("\"{}\"", &sha256(&body).to_string()[..8]);
        self.pages.lock().unwrap().insert(path.to_owned(), (status, etag, body));
    }

    /// A feed of these torrents, each of as many bytes as its number, the newest first; and their files, where the test has
    /// not put others.
    fn publish(&self, numbers: &[u64]) {
        let items = numbers.iter().rev().map(|number| {
            let path = format!("/{number}.torrent");
            if !self.pages.lock().unwrap().contains_key(&path) {
                self.put(&path, "200 OK", torrent(*number));
            }
            format!(
                "<item><title>release {number}</title><guid>urn:{number}</guid>
                 <enclosure url='/{number}.torrent' type='application/x-bittorrent' length='1'/></item>"
            )
        });
        let feed = format!("<rss><channel><title>all</title>{}</channel></rss>", items.collect::<String>());
        self.put("/feed", "200 OK", feed);
    }

    fn count(&self, is_wanted: impl Fn(&(String, bool)) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| is_wanted(asked)).count()
    }

    fn settings(&self) -> Subscribe {
        subscribe(&format!("{}/feed", self.url))
    }
}

fn torrent(number: u64) -> Vec<u8> {
    torrent_called(number, &format!("{number:03}.iso"))
}

/// `name` has seven characters.
fn torrent_called(number: u64, name: &str) -> Vec<u8> {
    let info = format!("d6:lengthi{number}e4:name7:{name}12:piece lengthi1048576e6:pieces20:{number:020}e");
    format!("d8:announce17:http://tracker/an4:info{info}e").into_bytes()
}

/// A link to that torrent.
fn magnet(number: u64) -> String {
    format!("magnet:?xt=urn:btih:{}", Torrent::parse(&torrent(number)).unwrap().info_hash_v1().unwrap())
}

/// A mirror: a catalogue, subscriptions, and a desk that puts into the catalogue what it is given.
struct Mirror {
    runtime: Handle,
    end: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    catalogue: Catalogue,
    subscriptions: Subscriptions,
    webhooks: Webhooks,
    /// What it was told to remove.
    removed: Arc<Mutex<Vec<TorrentNumber>>>,
}

impl Mirror {
    fn start(dir: &Path, subscribe: Subscribe) -> Mirror {
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = built.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || drop(built.block_on(ended)));
        let (catalogue, _) = Catalogue::open(dir).unwrap();
        let (desk, requests, events) = DeskHandle::new();
        let removed: Arc<Mutex<Vec<TorrentNumber>>> = Arc::default();
        let guard = runtime.enter();
        tokio::spawn(play_desk(requests, catalogue.clone(), Arc::clone(&removed)));
        let mut settings = Settings::default();
        let webhooks = Webhooks::start(catalogue.clone(), events.subscribe(), &settings).unwrap();
        // Nobody listens to it; what waits is counted.
        settings.webhook = vec![settings::Webhook {
            url: "http://127.0.0.1:1/".parse().unwrap(),
            secret: None,
            secret_file: None,
            events: WebhookEvent::ALL.to_vec(),
            timeout: Period(Duration::from_secs(1)),
            attempts: 9,
        }];
        let mut webhooks = webhooks;
        webhooks.configure(&settings);
        let pace = Pace { first_retry_s: 0, patience_s: 0 };
        let mut subscriptions = Subscriptions::idle(catalogue.clone(), desk, webhooks.reporter(), pace);
        settings.subscribe = vec![subscribe];
        assert!(subscriptions.configure(&settings).is_empty());
        drop(guard);
        // The desk's events end with it.
        std::mem::forget(events);
        Mirror { runtime, end, thread, catalogue, subscriptions, webhooks, removed }
    }

    fn rows(&self) -> Vec<TorrentRow> {
        self.catalogue.torrents().unwrap()
    }

    /// Bytes of the torrents, which are their numbers upstream.
    fn has(&self) -> Vec<u64> {
        self.rows().iter().map(|row| row.shape.map_or(0, |shape| shape.size_bytes)).collect()
    }

    /// The same, whatever came first.
    fn holds(&self, wanted: &[u64]) -> bool {
        let mut has = self.has();
        has.sort_unstable();
        has == wanted
    }

    fn item(&self, id: &str) -> Option<FeedItem> {
        self.catalogue.feed_item("upstream", &sha256(id.as_bytes())).unwrap()
    }

    fn is(&self, id: &str, state: ItemState) -> bool {
        self.item(id).is_some_and(|item| item.state == state)
    }

    fn stop(self) {
        self.runtime.block_on(self.subscriptions.stop());
        self.runtime.block_on(self.webhooks.stop());
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
        self.catalogue.close();
    }
}

async fn play_desk(
    mut requests: mpsc::Receiver<Request>,
    catalogue: Catalogue,
    removed: Arc<Mutex<Vec<TorrentNumber>>>,
) {
    while let Some(request) = requests.recv().await {
        match request {
            Request::Add { torrent, answer } => {
                let number = catalogue.next_torrent();
                let (content, origin) = (torrent.content, torrent.origin);
                let mut new = match torrent.source {
                    FetchSource::File(bytes) => {
                        let parsed = Torrent::parse(&bytes).unwrap();
                        NewTorrent::of_file(number, &parsed, bytes, content, origin, 1)
                    }
                    FetchSource::Magnet(magnet) => NewTorrent::of_magnet(number, &magnet, content, origin, 1),
                };
                new.row.limits = torrent.limits;
                catalogue.apply(vec![Change::AddTorrent(Box::new(new))]).await.unwrap();
                let _ = answer.send(Ok(number));
            }
            Request::Remove { number, deletes_content, answer } => {
                assert!(deletes_content);
                catalogue.apply(vec![Change::RemoveTorrent(number)]).await.unwrap();
                removed.lock().unwrap().push(number);
                let _ = answer.send(Ok(()));
            }
            Request::Line { number, answer } => {
                let line = catalogue.row(number).unwrap().map(|row| line(&row));
                let unknown = crate::desk::DeskError::Unknown { asked: number.0.to_string() };
                let _ = answer.send(line.ok_or(unknown));
            }
            other => other.refuse(crate::desk::DeskError::Busy),
        }
    }
}

/// As if a link had been resolved to a thousand bytes.
fn line(row: &TorrentRow) -> TorrentLine {
    TorrentLine {
        number: row.number,
        name: row.name.clone(),
        info_hash_v1: row.info_hash_v1,
        info_hash_v2: row.info_hash_v2,
        state: api::operator::types::TorrentState::Fetching,
        error: None,
        size_bytes: 1000,
        piece_count: 1,
        is_private: false,
        wanted_bytes: 0,
        verified_bytes: 0,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        peer_count: 0,
        seeded_s: 0,
        origin: row.origin.clone(),
        content_path: PathBuf::new(),
        group: None,
        limits: row.limits,
        stopped: None,
        tiers: row.tiers.clone(),
        added_at_s: 1,
        completed_at_s: None,
        first_copy_at_s: None,
        opens_at_s: None,
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never happens: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_appears_is_taken_in_its_order_and_a_restart_takes_nothing_twice() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("both are taken", || mirror.has() == [1, 2]);
    until("nothing is new", || upstream.count(|(path, is_same)| path == "/feed" && *is_same) > 1);
    let row = &mirror.rows()[0];
    assert_eq!(row.content.path(&row.name), Path::new("/srv/mirror/001.iso"));
    assert!(matches!(&row.origin, catalogue::Origin::Subscribed { label, .. } if &**label == "upstream"));
    mirror.stop();

    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("the new one is taken", || mirror.has() == [1, 2, 3]);
    for number in 1..=3 {
        assert_eq!(upstream.count(|(path, _)| *path == format!("/{number}.torrent")), 1, "{number}");
    }
    // What an operator removes does not come back.
    let removed = mirror.rows()[0].number;
    mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(removed)]).unwrap();
    upstream.publish(&[1, 2, 3, 4]);
    until("another is taken", || mirror.has() == [2, 3, 4]);
    mirror.stop();
}

#[test]
fn what_fails_is_tried_again_and_given_up_in_the_end() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    upstream.late.lock().unwrap().insert("/1.torrent".to_owned(), 2);
    upstream.put("/2.torrent", "200 OK", "<html>not a torrent</html>");
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it came at last", || mirror.is("urn:1", ItemState::Taken));
    assert_eq!((mirror.has(), mirror.item("urn:1").unwrap().attempts), (vec![1], 2));
    until("the other is given up", || mirror.is("urn:2", ItemState::Failed));
    let item = mirror.item("urn:2").unwrap();
    assert_eq!(item.attempts, 12);
    assert!(item.reason.unwrap().contains("no torrent"));
    until("somebody is told", || mirror.webhooks.counters().queued.load(Relaxed) == 1);
    mirror.stop();
}

#[test]
fn only_what_is_new_is_taken_if_that_is_wanted() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let settings = Subscribe { start: Start::New, ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings.clone());
    until("the first are seen", || mirror.is("urn:1", ItemState::Skipped) && mirror.is("urn:2", ItemState::Skipped));
    mirror.stop();
    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), settings);
    until("the new one is taken", || mirror.has() == [3]);
    assert!(mirror.is("urn:1", ItemState::Skipped));
    mirror.stop();
}

#[test]
fn titles_sizes_and_numbers_limit_what_is_taken() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2, 30, 4]);
    let settings = Subscribe {
        reject: vec!["release 2".parse().unwrap()],
        max_item_size: Some(Size(10)),
        max_items: Some(2),
        ..upstream.settings()
    };
    let mirror = Mirror::start(dir.path(), settings);
    until("what fits is taken", || mirror.has() == [1, 4]);
    assert!(mirror.is("urn:2", ItemState::Skipped));
    assert!(mirror.item("urn:30").unwrap().reason.unwrap().contains("max_item_size"));
    upstream.publish(&[1, 2, 30, 4, 5]);
    until("there is no room", || mirror.item("urn:5").is_some_and(|item| item.reason.is_some()));
    assert!(mirror.is("urn:5", ItemState::Waiting));
    let first = mirror.rows()[0].number;
    mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(first)]).unwrap();
    until("there is room again", || mirror.has() == [4, 5]);
    assert_eq!(mirror.item("urn:5").unwrap().attempts, 0);
    mirror.stop();
}

#[test]
fn a_link_that_turns_out_to_be_too_large_is_removed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let link = magnet(7);
    upstream.put(
        "/feed",
        "200 OK",
        format!("<rss><channel><item><title>x</title><link>{link}</link></item></channel></rss>"),
    );
    let settings = Subscribe { max_item_size: Some(Size(999)), ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings);
    until("it is removed", || mirror.removed.lock().unwrap().len() == 1);
    assert!(mirror.has().is_empty());
    assert!(mirror.is(&link, ItemState::Taken), "and does not come again");
    mirror.stop();
}

#[test]
fn what_two_feeds_name_is_one_torrent() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it is taken", || mirror.has() == [5]);
    let again = format!("<rss><channel><item><title>x</title><link>{}</link></item></channel></rss>", magnet(5));
    upstream.put("/feed", "200 OK", again);
    until("it is known", || mirror.is(&magnet(5), ItemState::Taken));
    assert_eq!(mirror.item(&magnet(5)).unwrap().torrent, Some(mirror.rows()[0].number));
    mirror.stop();
}

#[test]
fn what_goes_from_the_feed_is_removed_only_if_wanted_and_never_all_at_once() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, seed: false, ..upstream.settings() });
    until("both are taken", || mirror.has() == [1, 2]);
    assert_eq!(mirror.rows()[0].limits.seed_time_s, Some(1));
    // An empty feed is a broken one.
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    upstream.publish(&[]);
    let asked = feeds();
    until("the empty feed was read", || feeds() > asked + 3);
    assert_eq!(mirror.has(), [1, 2]);
    // The feed stays as it is without it.
    upstream.publish(&[2]);
    until("it is removed", || mirror.has() == [2]);
    until("the desk was asked for it", || mirror.removed.lock().unwrap().len() == 1);
    mirror.stop();
}

#[test]
fn what_another_feed_names_stays() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("all are taken", || mirror.has() == [1, 2, 3] && mirror.is("urn:1", ItemState::Taken));
    let (name, url) = ("other".to_owned(), String::new());
    let feed = catalogue::FeedState { name, url, etag: None, last_modified: None, polled_at_s: None };
    let theirs = FeedItem { feed: "other".to_owned(), ..mirror.item("urn:1").unwrap() };
    mirror.catalogue.apply_blocking(vec![Change::PutFeed(feed), Change::PutItems(vec![theirs])]).unwrap();
    upstream.publish(&[3]);
    until("what nobody else names goes", || mirror.has() == [1, 3]);
    let asked = upstream.count(|(path, _)| path == "/feed");
    until("the feed is read again", || upstream.count(|(path, _)| path == "/feed") > asked + 3);
    assert_eq!(mirror.has(), [1, 3]);
    mirror.stop();
}

#[test]
fn items_that_wait_for_room_keep_nobody_from_reading_the_feed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let many: Vec<u64> = (1..=40).collect();
    upstream.publish(&many);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, max_items: Some(1), ..upstream.settings() });
    until("one is taken", || mirror.has().len() == 1);
    // It makes place for the next one once the feed was read without it.
    let first = mirror.has()[0];
    upstream.publish(&many.iter().copied().filter(|number| *number != first).collect::<Vec<_>>());
    until("another one has its place", || matches!(mirror.has()[..], [number] if number != first));
    mirror.stop();
}

#[test]
fn other_rules_hold_for_a_feed_that_has_not_changed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let reject = vec!["release 1".parse().unwrap()];
    let mirror = Mirror::start(dir.path(), Subscribe { reject, ..upstream.settings() });
    until("the other one is taken", || mirror.has() == [2] && mirror.is("urn:1", ItemState::Skipped));
    mirror.stop();
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it is wanted now", || mirror.rows().len() == 2);
    mirror.stop();
}

#[test]
fn what_is_missing_in_the_part_of_a_feed_that_was_read_is_not_removed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let settings = Subscribe { keep: false, reject: vec!["other".parse().unwrap()], ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings);
    until("both are taken", || mirror.holds(&[1, 2]));
    let item = |number: usize| {
        format!("<item><title>other</title><guid>o{number}</guid><enclosure url='/{number}.torrent'/></item>")
    };
    let items: String = (0..=super::document::ITEMS_MAX).map(item).collect();
    upstream.put("/feed", "200 OK", format!("<rss><channel>{items}</channel></rss>"));
    until("it was read", || mirror.is("o1", ItemState::Skipped));
    let same = || upstream.count(|(path, is_same)| path == "/feed" && *is_same);
    let asked = same();
    until("it was asked for again", || same() > asked + 3);
    assert!(mirror.holds(&[1, 2]));
    mirror.stop();
}

#[test]
fn what_went_from_the_feed_and_comes_back_is_taken_again() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("both are taken", || mirror.holds(&[1, 2]));
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    upstream.publish(&[2]);
    until("it is removed", || mirror.has() == [2]);
    let asked = feeds();
    until("the feed was read on", || feeds() > asked + 3);
    assert_eq!(mirror.removed.lock().unwrap().len(), 1, "removed once");
    upstream.publish(&[1, 2]);
    until("it is taken again", || mirror.holds(&[1, 2]));
    mirror.stop();
}

#[test]
fn an_old_version_makes_place_for_the_next_one_of_its_name_and_one_that_is_kept_stays_beside_it() {
    // The old one is gone from the feed in two of these.
    for (keep, feed, held) in
        [(false, &[2, 3][..], &[2, 3][..]), (true, &[2, 3], &[1, 2, 3]), (false, &[1, 2, 3], &[1, 2, 3])]
    {
        let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
        upstream.put("/3.torrent", "200 OK", torrent_called(3, "001.iso"));
        upstream.publish(&[1, 2]);
        let mirror = Mirror::start(dir.path(), Subscribe { keep, ..upstream.settings() });
        until("both are taken", || mirror.is("urn:1", ItemState::Taken) && mirror.is("urn:2", ItemState::Taken));
        upstream.publish(feed);
        until("the new one is taken", || mirror.is("urn:3", ItemState::Taken));
        assert!(mirror.holds(held), "{keep} {:?}", mirror.has());
        assert_eq!(mirror.removed.lock().unwrap().len(), 3 - held.len());
        mirror.stop();
    }
}

#[test]
fn the_oldest_that_waits_is_the_next_one_that_finds_room() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let all: Vec<u64> = (1..=12).collect();
    upstream.publish(&all);
    let mirror = Mirror::start(dir.path(), Subscribe { max_items: Some(3), ..upstream.settings() });
    for first in 1..=9 {
        until("the oldest are taken", || mirror.has() == all[first - 1..first + 2]);
        // That there is no room was said to the next one, again and again.
        until("the next one waits", || {
            mirror.item(&format!("urn:{}", first + 3)).is_some_and(|item| item.reason.is_some())
        });
        mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(mirror.rows()[0].number)]).unwrap();
    }
    until("all had their turn", || mirror.has() == [10, 11, 12]);
    mirror.stop();
}

#[test]
fn what_is_too_large_for_the_room_that_is_left_waits_and_the_next_one_that_fits_is_taken() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5, 30, 6, 7]);
    let mirror = Mirror::start(dir.path(), Subscribe { max_total_size: Some(Size(20)), ..upstream.settings() });
    until("what fits is taken", || mirror.has() == [5, 6, 7]);
    until("the other one was tried", || mirror.item("urn:30").unwrap().reason.is_some());
    assert!(mirror.is("urn:30", ItemState::Waiting));
    mirror.stop();
}

#[test]
fn an_item_by_another_id_keeps_the_torrent_that_came_by_the_first() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5, 6]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("both are taken", || mirror.holds(&[5, 6]));
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    let links: String = [5, 6].map(|number| format!("<item><link>{}</link></item>", magnet(number))).concat();
    upstream.put("/feed", "200 OK", format!("<rss><channel>{links}</channel></rss>"));
    until("it is known", || mirror.is(&magnet(6), ItemState::Taken));
    let asked = feeds();
    until("the feed was read on", || feeds() > asked + 3);
    assert!(mirror.holds(&[5, 6]));
    // It goes with the last of its items.
    upstream.put("/feed", "200 OK", format!("<rss><channel><item><link>{}</link></item></channel></rss>", magnet(6)));
    until("it is removed", || mirror.has() == [6]);
    assert!(mirror.item(&magnet(5)).is_none());
    mirror.stop();
}

#[test]
fn a_feed_that_is_none_is_told_of_once_and_asked_again() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.put("/feed", "200 OK", "<html><body>Sign in</body></html>");
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it was asked again", || upstream.count(|(path, _)| path == "/feed") > 2);
    upstream.publish(&[1]);
    until("it is a feed now", || mirror.has() == [1]);
    until("somebody is told", || mirror.webhooks.counters().queued.load(Relaxed) == 1);
    mirror.stop();
}

#[test]
fn certificates_that_are_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    assert!(read_roots(&path).is_err());
    std::fs::write(&path, "rubbish").unwrap();
    assert_eq!(read_roots(&path), Err("holds no certificate in PEM".to_owned()));
}
