//! A process that writes is killed at any moment. What it was told is on the disk is there afterwards, and nothing is half
//! there. The other process is this program once more, which runs the test that waits for it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use catalogue::{
    Catalogue, Change, Delivery, DeliveryNumber, Release, ReleaseNumber, ReleaseState, StopCause, TorrentChange,
    TorrentNumber, TorrentTotals, Wanted,
};
use support::{new_torrent, open};

/// Where the other process works; unset in a run of all tests.
const DIR: &str = "CATALOGUE_CRASH_DIR";

/// Steps handed over before one is waited for.
const UNDER_WAY: usize = 3;

/// How often a process is killed.
const KILLS: u64 = 30;

/// What is submitted at a step, all or none: four steps a torrent, and its count.
fn step(step: i64) -> Vec<Change> {
    let id = step / 4 + 1;
    let number = TorrentNumber(id);
    let mut changes = match step % 4 {
        0 => vec![Change::AddTorrent(Box::new(new_torrent(number)))],
        1 => vec![
            Change::Totals(vec![(number, TorrentTotals { uploaded_bytes: id as u64, ..TorrentTotals::default() })]),
            Change::Torrent(number, TorrentChange::Wanted(Wanted::Stopped(StopCause::Time))),
        ],
        2 => vec![Change::PutRelease(release(id)), Change::PutDelivery(delivery(id))],
        _ if id % 3 == 0 => {
            vec![Change::RemoveTorrent(number), Change::RemoveDeliveries(vec![DeliveryNumber(id)])]
        }
        _ => vec![Change::Torrent(number, TorrentChange::Completed(Some(id)))],
    };
    changes.push(Change::Setting { key: "steps".to_owned(), value: Some((step + 1).to_string()) });
    changes
}

fn release(id: i64) -> Release {
    Release {
        number: ReleaseNumber(id),
        label: "tree".into(),
        path: format!("release-{id}").into(),
        torrent: Some(TorrentNumber(id)),
        state: ReleaseState::Published,
        published_at_s: Some(id),
        gone_since_s: None,
        withdrawn_at_s: None,
    }
}

fn delivery(id: i64) -> Delivery {
    Delivery {
        number: DeliveryNumber(id),
        target: format!("target {id}"),
        event: "published".to_owned(),
        body: vec![b'x'; 1000],
        queued_at_s: id,
        attempts: 0,
        next_try_at_s: id,
    }
}

/// Torrents by number: whether they run, what they uploaded, when they were complete.
type Torrents = BTreeMap<i64, (bool, u64, Option<i64>)>;

/// What the catalogue must hold after so many steps: torrents, releases and whether their torrents are there, targets.
fn expected(steps: i64) -> (Torrents, Vec<(i64, bool)>, Vec<String>) {
    let (mut torrents, mut releases, mut deliveries) = (BTreeMap::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let id = step / 4 + 1;
        match step % 4 {
            0 => drop(torrents.insert(id, (true, 0, None))),
            1 => drop(torrents.insert(id, (false, id as u64, None))),
            2 => {
                releases.push((id, true));
                deliveries.push(format!("target {id}"));
            }
            _ if id % 3 == 0 => {
                torrents.remove(&id);
                releases.last_mut().unwrap().1 = false;
                deliveries.pop();
            }
            _ => torrents.get_mut(&id).unwrap().2 = Some(id),
        }
    }
    deliveries.sort();
    (torrents, releases, deliveries)
}

fn steps_done(catalogue: &Catalogue) -> i64 {
    catalogue.settings().unwrap().first().map_or(0, |(_, steps)| steps.parse().unwrap())
}

fn check(catalogue: &Catalogue) -> i64 {
    let steps = steps_done(catalogue);
    let (torrents, releases, deliveries) = expected(steps);
    let mut found = BTreeMap::new();
    for row in catalogue.torrents().unwrap() {
        let is_running = row.wanted == Wanted::Running;
        found.insert(row.number.0, (is_running, row.totals.uploaded_bytes, row.completed_at_s));
    }
    assert_eq!(found, torrents);
    // The newest ones' metainfo is there.
    for number in torrents.keys().rev().take(10) {
        assert!(catalogue.torrent(TorrentNumber(*number)).unwrap().is_some());
    }
    let found: Vec<_> =
        catalogue.releases().unwrap().iter().map(|release| (release.number.0, release.torrent.is_some())).collect();
    assert_eq!(found, releases);
    let found: Vec<_> = catalogue.delivery_counts().unwrap().into_iter().map(|(target, _)| target).collect();
    assert_eq!(found, deliveries);
    steps
}

/// The other process: goes on where the one before it was killed, and says which steps are on the disk.
#[test]
fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let catalogue = match Catalogue::open(Path::new(&dir)) {
        Ok((catalogue, None)) => catalogue,
        Ok((_, Some(rebuilt))) => panic!("{rebuilt}"),
        Err(error) => return println!("\nrefused {error}"),
    };
    println!("\nopen");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut under_way = std::collections::VecDeque::new();
        for number in steps_done(&catalogue).. {
            under_way.push_back((number, catalogue.submit(step(number)).await.unwrap()));
            if under_way.len() > UNDER_WAY {
                let (number, receipt) = under_way.pop_front().unwrap();
                receipt.await.unwrap();
                println!("durable {number}");
            }
        }
    });
}

fn start(dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// The next line that is ours.
fn next(lines: &mut BufReader<ChildStdout>, word: &str) -> Option<String> {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(rest) = line.trim_end().strip_prefix(word) {
            return Some(rest.trim().to_owned());
        }
        line.clear();
    }
    None
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_is_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut steps_before = 0;
    for kill in 0..KILLS {
        let (mut child, mut lines) = start(dir.path());
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        next(&mut lines, "open").unwrap();
        let mut acknowledged = steps_before - 1;
        for _ in 0..random >> 58 {
            acknowledged = next(&mut lines, "durable").unwrap().parse().unwrap();
        }
        child.kill().unwrap();
        // What it managed to say until then counts as well.
        while let Some(step) = next(&mut lines, "durable") {
            acknowledged = step.parse().unwrap_or(acknowledged);
        }
        child.wait().unwrap();
        let catalogue = open(dir.path());
        let steps = check(&catalogue);
        assert!(steps > acknowledged, "kill {kill}: {steps} steps are left, {acknowledged} was acknowledged");
        steps_before = steps;
        catalogue.close();
    }
    println!("{steps_before} steps, {KILLS} kills");
}

#[test]
fn a_second_process_is_refused_with_the_number_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let (mut child, mut lines) = start(dir.path());
    let refused = next(&mut lines, "refused").unwrap();
    let pid = std::process::id();
    assert!(refused.contains(&format!("in use by process {pid};")), "{refused}");
    child.wait().unwrap();
    catalogue.close();
}
