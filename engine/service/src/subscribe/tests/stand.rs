//! What the tests of subscriptions stand on: another publisher's server, and a mirror with a desk that only keeps.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use catalogue::{Change, FeedItem, ItemState, NewTorrent, TorrentNumber, TorrentRow};
use hash::sha256;
use metainfo::Torrent;
use settings::{Period, Start, WebhookEvent};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::desk::{FetchSource, Request, TorrentLine};
use crate::subscribe::*;
use crate::webhooks::Webhooks;

pub(crate) fn subscribe(feed: &str) -> Subscribe {
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
pub(crate) struct Upstream {
    pub(crate) url: String,
    pages: Arc<Mutex<Pages>>,
    /// Pages that are not there yet for so many requests.
    pub(crate) late: Arc<Mutex<HashMap<String, u32>>>,
    /// Requests that came: their path, and whether they were answered with "not modified".
    pub(crate) asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Upstream {
    pub(crate) fn start() -> Upstream {
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

    pub(crate) fn put(&self, path: &str, status: &'static str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let etag = format!("\"{}\"", &sha256(&body).to_string()[..8]);
        self.pages.lock().unwrap().insert(path.to_owned(), (status, etag, body));
    }

    /// A feed of these torrents, each of as many bytes as its number, the newest first; and their files, where the test has
    /// not put others.
    pub(crate) fn publish(&self, numbers: &[u64]) {
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

    pub(crate) fn count(&self, is_wanted: impl Fn(&(String, bool)) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| is_wanted(asked)).count()
    }

    pub(crate) fn settings(&self) -> Subscribe {
        subscribe(&format!("{}/feed", self.url))
    }
}

pub(crate) fn torrent(number: u64) -> Vec<u8> {
    torrent_called(number, &format!("{number:03}.iso"))
}

/// `name` has seven characters.
pub(crate) fn torrent_called(number: u64, name: &str) -> Vec<u8> {
    let info = format!("d6:lengthi{number}e4:name7:{name}12:piece lengthi1048576e6:pieces20:{number:020}e");
    format!("d8:announce17:http://tracker/an4:info{info}e").into_bytes()
}

/// A link to that torrent.
pub(crate) fn magnet(number: u64) -> String {
    format!("magnet:?xt=urn:btih:{}", Torrent::parse(&torrent(number)).unwrap().info_hash_v1().unwrap())
}

/// A mirror: a catalogue, subscriptions, and a desk that puts into the catalogue what it is given.
pub(crate) struct Mirror {
    pub(crate) runtime: Handle,
    end: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    pub(crate) catalogue: Catalogue,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) webhooks: Webhooks,
    /// What it was told to remove.
    pub(crate) removed: Arc<Mutex<Vec<TorrentNumber>>>,
}

impl Mirror {
    pub(crate) fn start(dir: &Path, subscribe: Subscribe) -> Mirror {
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

    pub(crate) fn rows(&self) -> Vec<TorrentRow> {
        self.catalogue.torrents().unwrap()
    }

    /// Bytes of the torrents, which are their numbers upstream.
    pub(crate) fn has(&self) -> Vec<u64> {
        self.rows().iter().map(|row| row.shape.map_or(0, |shape| shape.size_bytes)).collect()
    }

    /// The same, whatever came first.
    pub(crate) fn holds(&self, wanted: &[u64]) -> bool {
        let mut has = self.has();
        has.sort_unstable();
        has == wanted
    }

    pub(crate) fn item(&self, id: &str) -> Option<FeedItem> {
        self.catalogue.feed_item("upstream", &sha256(id.as_bytes())).unwrap()
    }

    pub(crate) fn is(&self, id: &str, state: ItemState) -> bool {
        self.item(id).is_some_and(|item| item.state == state)
    }

    pub(crate) fn stop(self) {
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

pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never happens: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
