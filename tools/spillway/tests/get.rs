//! `spillway get` as scripts see it, as far as nobody has anything to give. Fetching is tested by tests/interop.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test fails by panicking, its set-up too.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `image.bin`, its torrent, and places for what is fetched and remembered.
struct Bench {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let bench = Bench { folder, bytes };
        fs::create_dir(bench.path("data")).unwrap();
        fs::write(bench.path("data/image.bin"), &bench.bytes).unwrap();
        let options = ["-o", "image.torrent", "--piece-length", "65536"];
        let created = bench.command("create").arg("data/image.bin").args(options).output().unwrap();
        assert!(created.status.success(), "{}", text(&created.stderr));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
        command.current_dir(self.folder.path()).arg(verb);
        command
    }

    /// `spillway get` on loopback, where it knows nobody.
    fn get(&self, output: &str) -> Command {
        let mut command = self.command("get");
        command.args(["image.torrent", "--output", output, "--state", "state", "--listen", "127.0.0.1:0"]);
        command.args(["--no-announce", "--no-dht", "--no-lsd", "--shards", "1"]);
        command
    }

    fn fetched(&self, output: &str) -> Vec<u8> {
        fs::read(self.path(output).join("image.bin")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts it, waits until it says that it is in this state, and hands it over with what it says later.
fn started(mut command: Command, state: &str) -> (Child, impl Iterator<Item = Value>) {
    let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = said.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert!(said.any(|line| line["state"] == state), "it ended before it was {state}");
    (child, said)
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn what_is_all_there_is_checked_once_and_then_remembered() {
    let bench = Bench::new();
    for said in ["checking what is there", ""] {
        let output = bench.get("data").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("image.bin: all 5 pieces are there"), "{}", text(&output.stdout));
        assert_eq!(text(&output.stderr).contains("checking"), !said.is_empty(), "{}", text(&output.stderr));
    }
    fs::write(bench.path("data/image.bin"), &bench.bytes[..299_999]).unwrap();
    let (child, _) = started(bench.get("data"), "fetching");
    interrupt(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1), "what was cut is not believed");
}

#[test]
fn a_signal_before_the_end_fails_keeps_what_is_there_and_says_so() {
    let bench = Bench::new();
    fs::create_dir(bench.path("into")).unwrap();
    let mut half = bench.bytes.clone();
    half[150_000..].fill(0);
    fs::write(bench.path("into/image.bin"), &half).unwrap();
    for _ in 0..2 {
        let (child, said) = started(bench.get("into"), "fetching");
        interrupt(&child);
        let last = said.last().unwrap();
        assert_eq!((&last["state"], &last["outcome"]), (&"ended".into(), &"interrupted".into()));
        assert_eq!((&last["verified_pieces"], &last["wanted_pieces"]), (&2.into(), &5.into()));
        assert_eq!(last["resumed_bytes"], 2 * 65_536);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("the next run goes on"), "{}", text(&output.stderr));
    }
    assert_eq!(bench.fetched("into"), half);
}

#[test]
fn seeding_goes_on_until_a_signal_and_that_is_a_success() {
    let bench = Bench::new();
    let mut command = bench.get("data");
    command.args(["--seed-for", "forever", "--ready-file", "ready.json"]);
    let (child, _) = started(command, "seeding");
    let ready = bench.path("ready.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready.exists() {
        assert!(Instant::now() < deadline, "there is no ready file");
        std::thread::yield_now();
    }
    let ready: Value = serde_json::from_slice(&fs::read(ready).unwrap()).unwrap();
    assert_eq!((&ready["torrents"][0]["name"], &ready["pid"]), (&"image.bin".into(), &child.id().into()));
    assert!(!ready["listen"][0].as_str().unwrap().ends_with(":0"));
    interrupt(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn what_cannot_be_had_is_one_error_line() {
    let bench = Bench::new();
    fs::write(bench.path("no.torrent"), "no torrent").unwrap();
    fs::write(bench.path("file"), "").unwrap();
    let fail = |command: &mut Command, part: &str| {
        let output = command.arg("--json").output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.matches('\n').count() == 1 && said.contains(part), "{said:?}");
        let last = lines(&output).pop().unwrap();
        assert_eq!(last["outcome"], "failed");
        assert!(last["error"].as_str().unwrap().contains(part), "{last}");
    };
    fail(bench.get("into").args(["--files", "nothing"]), "nothing");
    fail(bench.get("into").args(["--files", "[a"]), "[a");
    fail(&mut bench.get("file"), "file");
    let mut command = bench.command("get");
    fail(command.args([Path::new("no.torrent"), Path::new("--output"), Path::new("into")]), "no.torrent");
}
