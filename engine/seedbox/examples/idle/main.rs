//! What many torrents at rest cost: `benches/sidebyside/idle` runs it. `make` leaves a folder of small torrents that were
//! verified, `run` starts an engine with all of them and says how long that took, how much memory each takes, and how long
//! the first block of one that sleeps takes. Nothing leaves the machine.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::panic)] // A measurement fails by panicking.

mod content;
mod peer;

use seedbox::{AtRest, Config, DhtSettings, Engine, Status, SuperSeeding, Terms, Tiers, TrackerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long no torrent goes to rest by itself, unless told otherwise.
const NEVER: Duration = Duration::from_secs(86_400);

/// What `run` is to measure.
struct Options {
    folder: PathBuf,
    count: usize,
    shards: Option<usize>,
    /// Torrents that are woken, one after the other.
    wake: usize,
    own_tracker: bool,
    dht: bool,
    lsd: bool,
    /// The trackers of all torrents.
    trackers: Vec<String>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let mut options = Options {
        folder: PathBuf::from(arguments.next().expect("usage: idle make|run FOLDER [OPTIONS]")),
        count: 10_000,
        shards: None,
        wake: 200,
        own_tracker: false,
        dht: false,
        lsd: false,
        trackers: Vec::new(),
    };
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().expect("a value");
        match option.as_str() {
            "--count" => options.count = value().parse().expect("a number"),
            "--shards" => options.shards = Some(value().parse().expect("a number")),
            "--wake" => options.wake = value().parse().expect("a number"),
            "--tracker" => options.trackers.push(value()),
            "--own-tracker" => options.own_tracker = true,
            "--dht" => options.dht = true,
            "--lsd" => options.lsd = true,
            other => panic!("unknown option {other}"),
        }
    }
    match verb.as_str() {
        "make" => content::make(&options.folder, options.count),
        "run" => run(&options),
        other => panic!("unknown verb {other}"),
    }
}

fn run(options: &Options) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen: vec![loopback],
        shards: options.shards,
        rest_after: NEVER,
        announce: !options.trackers.is_empty(),
        tracker: options.own_tracker.then(|| TrackerConfig {
            listen: vec![loopback],
            open: false,
            interval: None,
            udp_only: false,
            external: Vec::new(),
        }),
        dht: options.dht.then(|| DhtSettings { bootstrap: Vec::new(), state: None }),
        lsd: options.lsd,
        ..Config::default()
    };
    let process_begun = Instant::now();
    let engine = Engine::start(&config).expect("the engine starts");
    let bare = process_begun.elapsed();
    let bytes_before = anonymous_bytes();
    let begun = Instant::now();
    add_all(&engine, options);
    let took = begun.elapsed();
    let bytes_after = anonymous_bytes();
    println!("torrents={}", options.count);
    println!("engine_ms={:.1}", bare.as_secs_f64() * 1e3);
    println!("add_ms={:.1}", took.as_secs_f64() * 1e3);
    println!("bytes_per_torrent={}", bytes_after.saturating_sub(bytes_before) / options.count as u64);

    let address = engine.listen()[0];
    let every = (options.count / options.wake.max(1)).max(1);
    let names = content::entries(&options.folder, options.count).step_by(every).take(options.wake);
    let chosen: Vec<content::Entry> = names.collect();
    let first: Vec<Duration> = chosen.iter().map(|entry| peer::first_block(address, entry)).collect();
    let again: Vec<Duration> = chosen.iter().map(|entry| peer::first_block(address, entry)).collect();
    let status = engine.status().expect("the engine runs");
    assert_eq!((status.rest.loads, status.rest.awake), (chosen.len() as u64, chosen.len()), "each was woken once");
    print_times("asleep", first);
    print_times("awake", again);
    let woken_bytes = anonymous_bytes().saturating_sub(bytes_after);
    println!("bytes_per_woken={}", woken_bytes / chosen.len().max(1) as u64);
    print_load(&status);
    let begun = Instant::now();
    engine.stop(Duration::ZERO).expect("the engine stops");
    println!("stop_ms={:.1}", begun.elapsed().as_secs_f64() * 1e3);
}

/// As a service does at its start: from lines of some catalogue, in one order.
fn add_all(engine: &Engine, options: &Options) {
    let tiers: Tiers = options.trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
    let folder: Arc<Path> = options.folder.as_path().into();
    let at_rest = |entry: content::Entry| AtRest {
        source: Arc::new(content::Kept { folder: folder.clone(), number: entry.number }),
        name: entry.name,
        misnamed: Some(entry.misnamed),
        info_hashes: entry.info_hashes,
        size_bytes: content::SIZE_BYTES as u64,
        is_private: false,
        tiers: tiers.clone(),
        terms: Arc::new(Terms::new(None, SuperSeeding::Auto)),
        is_restored: true,
    };
    let torrents = content::entries(&options.folder, options.count).map(at_rest).collect();
    let added = engine.add_many(torrents).expect("the engine runs");
    assert!(added.iter().all(Result::is_ok), "all are added");
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times.get(((times.len().max(1) - 1) as f64 * part) as usize).copied().unwrap_or_default();
    println!("{what}_p50_ms={:.3}", at(0.5).as_secs_f64() * 1e3);
    println!("{what}_p99_ms={:.3}", at(0.99).as_secs_f64() * 1e3);
}

/// What the announces of all torrents have cost so far.
fn print_load(status: &Status) {
    if let Some(dht) = &status.dht {
        println!("dht_overdue={}", dht.overdue);
    }
    if let Some(tracker) = &status.own_tracker {
        println!("tracked={}", tracker.torrent_count);
    }
}

/// Memory of this process that no file stands behind.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon (Linux 4.5)");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}
