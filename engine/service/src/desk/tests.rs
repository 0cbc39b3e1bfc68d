//! The desk with a catalogue and an engine of its own, and nobody else to serve or to ask.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::feeds::Board;
use api::operator::types::TorrentState;
use catalogue::{Catalogue, Change, ContentPlace, Origin, StopCause, TorrentLimits, TorrentNumber, TorrentRow, Wanted};
use control::EngineEvents;
use metainfo::Torrent;
use seedbox::{Config, Engine, StateDir};
use settings::Settings;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use super::*;
use crate::clock::unix_s;
use crate::desk::source::record_of;
use crate::feeds::{Feeds, Shelf};

mod placing;
mod withdrawing;

const PIECE: usize = 16 * 1024;
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    runtime: Runtime,
    dir: TempDir,
    engine: Engine,
    catalogue: Catalogue,
    handle: DeskHandle,
    /// Until it runs.
    desk: Option<(Desk, EngineEvents)>,
}

impl Bench {
    /// `prepare` puts into the catalogue what an earlier run left there. The service started an hour ago.
    fn new(prepare: impl FnOnce(&Path, &Catalogue)) -> Bench {
        let dir = TempDir::new().unwrap();
        for folder in ["out", "state", "fetches"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let (catalogue, _) = Catalogue::open(&dir.path().join("state")).unwrap();
        prepare(&dir.path().join("out"), &catalogue);
        let listen = vec![([127, 0, 0, 1], 0).into()];
        let engine = Engine::start(&Config { listen, shards: Some(1), announce: false, ..Config::default() }).unwrap();
        let shelf = Arc::new(Shelf::new(catalogue.clone()));
        let fetches = StateDir::choose(Some(&dir.path().join("fetches"))).unwrap();
        let start = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let (handle, requests, events) = DeskHandle::new();
        let (engine_handle, desk) = (engine.handle(), handle.clone());
        let world = World { catalogue: catalogue.clone(), engine: engine_handle, desk, fetches, shelf, start };
        let settings = Settings::default();
        let feeds = Feeds::new(Arc::new(Board::new("http://here")), catalogue.clone(), &settings);
        let table = restore(&world).unwrap().table;
        let desk = Desk::new(table, Policy::new(&settings, None), world, feeds, requests, events);
        let heard = engine.handle().events().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Bench { runtime, dir, engine, catalogue, handle, desk: Some((desk, heard)) }
    }

    /// Lets the desk run, and does something with it.
    fn run(mut self, act: impl AsyncFnOnce(&Bench)) {
        let (mut desk, heard) = self.desk.take().unwrap();
        self.runtime.block_on(async {
            if let Ok(shown) = desk.begin().await {
                tokio::spawn(desk.run(heard));
                shown.await;
            }
            tokio::time::timeout(DEADLINE, act(&self)).await.expect("nothing waits for ever");
        });
        self.engine.stop(Duration::ZERO).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn row(&self, number: TorrentNumber) -> TorrentRow {
        self.catalogue.row(number).unwrap().unwrap()
    }

    async fn add(&self, new: NewTorrent) -> TorrentNumber {
        self.handle.add(new).await.unwrap()
    }

    async fn path(&self, number: TorrentNumber) -> PathBuf {
        self.handle.line(number).await.unwrap().content_path
    }
}

/// The torrent file of one file of these bytes.
fn torrent(name: &str, content: &[u8], piece_bytes: usize) -> Vec<u8> {
    let pieces: Vec<u8> = content.chunks(piece_bytes).flat_map(|piece| hash::sha1(piece).0).collect();
    let (size, name_bytes, hash_bytes) = (content.len(), name.len(), pieces.len());
    let head =
        format!("d4:infod6:lengthi{size}e4:name{name_bytes}:{name}12:piece lengthi{piece_bytes}e6:pieces{hash_bytes}:");
    [head.as_bytes(), &pieces, b"ee"].concat()
}

fn new(file: Vec<u8>, content: ContentPlace) -> NewTorrent {
    NewTorrent {
        source: FetchSource::File(file),
        origin: Origin::Added,
        content,
        files: Vec::new(),
        group: None,
        limits: TorrentLimits::default(),
        is_stopped: false,
        peers: Vec::new(),
    }
}

/// A torrent that an earlier run had complete.
fn keep_complete(out: &Path, catalogue: &Catalogue) -> TorrentNumber {
    fs::write(out.join("image.iso"), [1; PIECE]).unwrap();
    let (file, place) = (torrent("image.iso", &[1; PIECE], PIECE), ContentPlace::under(out));
    let (number, torrent) = (catalogue.next_torrent(), Torrent::parse(&file).unwrap());
    let mut kept = catalogue::NewTorrent::of_file(number, &torrent, file, place.clone(), Origin::Added, 1);
    kept.row.completed_at_s = Some(1);
    kept.verified = Some(record_of(&torrent, &place).unwrap().encode());
    catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(kept))]).unwrap();
    number
}

fn stopped(new: NewTorrent) -> NewTorrent {
    NewTorrent { is_stopped: true, ..new }
}

fn from_feed(new: NewTorrent) -> NewTorrent {
    NewTorrent { origin: Origin::Subscribed { label: "upstream".into(), item: "i".into() }, ..stopped(new) }
}

async fn completed(events: &mut broadcast::Receiver<DeskEvent>) -> TorrentNumber {
    loop {
        let event = events.recv().await.unwrap();
        assert!(!matches!(event.what, Happened::Failed { .. }), "{event:?}");
        if event.what == Happened::Completed {
            return event.torrent.number;
        }
    }
}

#[test]
fn a_second_torrent_of_the_same_name_neither_overwrites_nor_deletes_the_first() {
    Bench::new(|_, _| {}).run(async |bench| {
        let (out, file) = (ContentPlace::under(bench.out()), bench.out().join("image.iso"));
        let first = bench.add(from_feed(new(torrent("image.iso", &[1; PIECE], PIECE), out.clone()))).await;
        assert_eq!(bench.path(first).await, file);
        fs::write(&file, [1; PIECE]).unwrap();

        let other = torrent("image.iso", &[2; PIECE], PIECE);
        let info_hash = Torrent::parse(&other).unwrap().info_hash_v1().unwrap().to_string();
        let own_folder = bench.out().join(&info_hash[..12]);
        let second = bench.add(from_feed(new(other, out.clone()))).await;
        assert_eq!(bench.path(second).await, own_folder.join("image.iso"));
        assert_eq!(&*bench.row(second).content.folder, own_folder, "a restart finds it there");

        let third = torrent("image.iso", &[3; PIECE], PIECE);
        let inside = torrent("part", &[3; PIECE], PIECE);
        for (file, place) in [(third, out.clone()), (inside, ContentPlace::under(&file))] {
            let refused = bench.handle.add(new(file, place)).await.unwrap_err().to_string();
            assert!(refused.contains("image.iso, torrent 1: choose another folder"), "{refused}");
        }

        fs::create_dir(&own_folder).unwrap();
        fs::write(own_folder.join("image.iso"), [2; PIECE]).unwrap();
        bench.handle.remove(second, true).await.unwrap();
        assert!(file.exists() && !own_folder.exists());
        bench.handle.remove(first, true).await.unwrap();
        assert!(!file.exists());
    });
}

#[test]
fn a_link_of_a_feed_cannot_lie_about_its_name_to_be_written_over_another() {
    Bench::new(|_, _| {}).run(async |bench| {
        let link = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=harmless".parse().unwrap();
        let source = FetchSource::Magnet(Box::new(link));
        let link = NewTorrent { source, ..new(Vec::new(), ContentPlace::under(bench.out())) };
        let number = bench.add(from_feed(link)).await;
        assert_eq!(bench.path(number).await, bench.out().join("0123456789ab/harmless"));
    });
}

#[test]
fn content_that_two_torrents_share_is_deleted_with_the_last_of_them() {
    Bench::new(|_, _| {}).run(async |bench| {
        let path = bench.out().join("image.iso");
        fs::write(&path, vec![1; 2 * PIECE]).unwrap();
        let mut numbers = Vec::new();
        for piece_bytes in [PIECE, 2 * PIECE] {
            let file = torrent("image.iso", &vec![1; 2 * PIECE], piece_bytes);
            numbers.push(bench.add(stopped(new(file, ContentPlace::at(&path)))).await);
        }
        bench.handle.remove(numbers[0], true).await.unwrap();
        assert!(path.exists());
        bench.handle.remove(numbers[1], true).await.unwrap();
        assert!(!path.exists());
    });
}

#[test]
fn a_check_ends_with_a_stop_of_the_torrent_or_the_service_and_is_no_failure() {
    let bench = Bench::new(|_, _| {});
    let checks = bench.desk.as_ref().unwrap().0.checks.clone();
    // Another torrent is being checked, and goes on.
    let _turn = checks.try_acquire_owned().unwrap();
    bench.run(async |bench| {
        let path = bench.out().join("image.iso");
        fs::write(&path, [1; PIECE]).unwrap();
        let file = torrent("image.iso", &[1; PIECE], PIECE);
        let number = bench.add(new(file, ContentPlace::at(&path))).await;
        let state = async || bench.handle.line(number).await.unwrap().state;
        assert_eq!(state().await, TorrentState::Checking);
        bench.handle.stop(number).await.unwrap();
        assert_eq!(state().await, TorrentState::Stopped);
        let row = bench.row(number);
        assert_eq!((row.wanted, row.fault), (Wanted::Stopped(StopCause::Operator), None));

        bench.handle.start(number).await.unwrap();
        assert_eq!(state().await, TorrentState::Checking);
        bench.handle.end().await.unwrap();
        let row = bench.row(number);
        assert_eq!((row.wanted, row.fault), (Wanted::Running, None));
    });
}

#[test]
fn what_is_stopped_keeps_the_time_for_which_it_was_seeded() {
    let mut number = TorrentNumber(0);
    let mut bench = Bench::new(|out, catalogue| number = keep_complete(out, catalogue));
    let (mut desk, heard) = bench.desk.take().unwrap();
    bench.runtime.block_on(async {
        let shown = desk.begin().await.unwrap();
        desk.table.get_mut(number).unwrap().served_since = Some(Duration::ZERO);
        tokio::spawn(desk.run(heard));
        shown.await;
        bench.handle.stop(number).await.unwrap();
    });
    assert!(bench.row(number).totals.seeded_s >= 3600);
}

#[test]
fn what_is_wanted_only_in_part_is_never_taken_for_complete() {
    Bench::new(|_, _| {}).run(async |bench| {
        let pieces: Vec<u8> = [1, 2].iter().flat_map(|byte| hash::sha1(&[*byte; PIECE]).0).collect();
        let head = "d4:infod5:filesld6:lengthi16384e4:pathl1:aeed6:lengthi16384e4:pathl1:beee4:name1:t";
        let file = [head.as_bytes(), b"12:piece lengthi16384e6:pieces40:", &pieces, b"ee"].concat();
        fs::create_dir(bench.out().join("t")).unwrap();
        fs::write(bench.out().join("t/a"), [1; PIECE]).unwrap();
        let mut events = bench.handle.events();
        let new = NewTorrent { files: vec!["a".to_owned()], ..new(file, ContentPlace::under(bench.out())) };
        let number = bench.add(new).await;
        assert_eq!(completed(&mut events).await, number);
        let mut before_s = 0;
        for _ in 0..2 {
            // Its end may be told once only; that it is served from then on is to be seen each time.
            while bench.handle.line(number).await.unwrap().seeded_s <= before_s {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let line = bench.handle.line(number).await.unwrap();
            assert_eq!((line.completed_at_s, line.error), (None, None));
            assert!(bench.handle.move_to(number, bench.dir.path().to_path_buf()).await.is_err());
            bench.handle.stop(number).await.unwrap();
            before_s = bench.row(number).totals.seeded_s;
            bench.handle.start(number).await.unwrap();
        }
        assert_eq!(bench.row(number).completed_at_s, None);
    });
}

#[test]
fn a_release_whose_embargo_is_lifted_is_as_new_as_that_and_not_as_old_as_its_preparation() {
    Bench::new(|_, _| {}).run(async |bench| {
        let release = NewRelease { opens_at_s: Some(unix_s() + 3600), ..release(bench, "image.iso") };
        let mut events = bench.handle.events();
        let number = bench.handle.record(release).await.unwrap().torrent;
        bench.handle.open(number).await.unwrap();
        for opens_at_s in [Some(unix_s() + 7200), None] {
            let lifted_at_s = unix_s();
            bench.handle.set_embargo(number, opens_at_s).await.unwrap();
            let row = bench.row(number);
            assert!(opens_at_s.map_or(row.release_at_s >= Some(lifted_at_s), |_| row.release_at_s == opens_at_s));
        }
        while events.recv().await.unwrap().what != Happened::Opened {}
    });
}

/// A release of one file, which lies there.
fn release(bench: &Bench, name: &str) -> NewRelease {
    fs::write(bench.out().join(name), [1; PIECE]).unwrap();
    let (metainfo, content) = (torrent(name, &[1; PIECE], PIECE), ContentPlace::under(bench.out()));
    let torrent = Arc::new(Torrent::parse(&metainfo).unwrap());
    NewRelease {
        label: "images".into(),
        path: name.into(),
        record: record_of(&torrent, &content).unwrap(),
        torrent,
        metainfo,
        content,
        file_sha256: Vec::new(),
        group: None,
        limits: TorrentLimits::default(),
        opens_at_s: None,
    }
}

#[test]
fn a_refused_removal_ends_no_check_of_a_release() {
    let bench = Bench::new(|_, _| {});
    let checks = bench.desk.as_ref().unwrap().0.checks.clone();
    let turn = checks.try_acquire_owned().unwrap();
    bench.run(async |bench| {
        let number = bench.handle.record(release(bench, "image.iso")).await.unwrap().torrent;
        bench.handle.open(number).await.unwrap();
        let state = async || bench.handle.line(number).await.unwrap().state;
        let served = state().await;
        bench.handle.recheck(number, false).await.unwrap();
        while state().await != TorrentState::Checking {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (removed, ()) = tokio::join!(bench.handle.remove(number, false), async {
            bench.handle.ping().await.unwrap();
            drop(turn);
        });
        assert!(removed.unwrap_err().to_string().contains("published from a tree"));
        // It waits until the torrent is served again.
        let _ = bench.handle.announce(number).await;
        assert_eq!(state().await, served);
    });
}

#[test]
fn content_is_not_moved_to_where_another_torrent_is_going_to_write() {
    Bench::new(|_, _| {}).run(async |bench| {
        let elsewhere = bench.dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("image.iso"), [1; PIECE]).unwrap();
        let mut events = bench.handle.events();
        let here = bench.add(new(torrent("image.iso", &[1; PIECE], PIECE), ContentPlace::under(&elsewhere))).await;
        assert_eq!(completed(&mut events).await, here);
        let awaited = torrent("image.iso", &[2; PIECE], PIECE);
        bench.add(stopped(new(awaited, ContentPlace::under(bench.out())))).await;
        for folder in [bench.out(), bench.out().join("image.iso")] {
            let refused = bench.handle.move_to(here, folder).await.unwrap_err().to_string();
            assert!(refused.contains("meets the content of image.iso, torrent 2: choose another folder"), "{refused}");
        }
        assert!(elsewhere.join("image.iso").exists() && !bench.out().join("image.iso").exists());
        assert_eq!(bench.row(here).moving_to, None);
    });
}

#[test]
fn a_release_whose_time_comes_on_its_way_to_the_engine_is_told_of_when_it_is_there() {
    let mut number = TorrentNumber(0);
    let mut bench = Bench::new(|out, catalogue| number = keep_complete(out, catalogue));
    let (mut desk, _heard) = bench.desk.take().unwrap();
    bench.runtime.block_on(async {
        // The feeds' pages may wait.
        let _shown = desk.begin().await.unwrap();
        let id = std::mem::take(&mut desk.table.get_mut(number).unwrap().engine);
        assert!(id.is_some());
        desk.shut.insert((1, number));
        desk.handle_second();
        assert_eq!(desk.shut.len(), 1);
        desk.table.get_mut(number).unwrap().engine = id;
        desk.handle_second();
        assert!(desk.shut.is_empty());
    });
}

#[test]
fn content_that_another_torrent_shares_or_has_inside_is_not_moved_away_from_it() {
    Bench::new(|_, _| {}).run(async |bench| {
        fs::create_dir_all(bench.out().join("t")).unwrap();
        fs::write(bench.out().join("t/a"), [1; PIECE]).unwrap();
        let pieces = hash::sha1(&[1; PIECE]).0;
        let head = "d4:infod5:filesld6:lengthi16384e4:pathl1:aeee4:name1:t12:piece lengthi16384e6:pieces20:";
        let outer = [head.as_bytes(), &pieces, b"ee"].concat();
        let mut events = bench.handle.events();
        let outer = bench.add(new(outer, ContentPlace::under(bench.out()))).await;
        assert_eq!(completed(&mut events).await, outer);
        let inner = torrent("a", &[1; PIECE], PIECE);
        let inner = bench.add(new(inner, ContentPlace::at(bench.out().join("t/a")))).await;
        // It waits until the content was compared.
        let _ = bench.handle.announce(inner).await;
        let elsewhere = bench.dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        for (moved, other) in [(outer, inner), (inner, outer)] {
            let refused = bench.handle.move_to(moved, elsewhere.clone()).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("torrent {} has content there too", other.0)), "{refused}");
        }
        bench.handle.remove(inner, false).await.unwrap();
        bench.handle.move_to(outer, elsewhere.clone()).await.unwrap();
        assert!(elsewhere.join("t/a").exists() && !bench.out().join("t").exists());
    });
}
