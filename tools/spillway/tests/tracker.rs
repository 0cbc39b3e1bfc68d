//! `spillway tracker` as an operator runs it: ready file, allow-list, signals, exit codes.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking, its set-up too.

use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tracker::udp::{Response, parse_response, write_connect, write_scrape};
use tracker::{Family, SwarmStats, TrackerUrl};

fn spillway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running tracker; killed if the test fails.
struct Running {
    child: Child,
    urls: Vec<TrackerUrl>,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    /// Starts it and waits until it has said where it listens.
    fn start(arguments: &[&str]) -> Running {
        let mut child = spillway(arguments).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let urls = stdout.lines().take(2).map(|line| line.unwrap().parse().unwrap()).collect();
        Running { child, urls, log }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait_for_log(&mut self, text: &str) {
        assert!(self.log.any(|line| line.unwrap().contains(text)), "the log ends without {text:?}");
    }

    fn stop(mut self, signal: Signal) {
        self.signal(signal);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the tracker serves the torrent: an announce to it is not refused.
fn serves(tracker: &TrackerUrl, info_hash: [u8; 20]) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.connect(SocketAddr::new(tracker.host_ip().unwrap(), tracker.port())).unwrap();
    let ask = |datagram: &[u8]| {
        socket.send(datagram).unwrap();
        let mut buffer = [0; 2048];
        let size = socket.recv(&mut buffer).unwrap();
        parse_response(Family::V4, &buffer[..size]).unwrap().1
    };
    let mut datagram = Vec::new();
    write_connect(&mut datagram, 1);
    let Response::Connect { connection_id } = ask(&datagram) else { panic!("no connection id") };
    datagram.clear();
    let announce = tracker::AnnounceRequest {
        info_hash: hash::InfoHash(info_hash),
        peer_id: [b'x'; 20],
        port: 1,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(0),
        event: tracker::Event::Started,
        want_count: None,
        key: 0,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    };
    tracker::udp::write_announce(&mut datagram, connection_id, 2, &announce, "");
    if !matches!(ask(&datagram), Response::Announce(_)) {
        return false;
    }
    datagram.clear();
    write_scrape(&mut datagram, connection_id, 3, &[announce.info_hash]);
    let one_seed = SwarmStats { seed_count: 1, leech_count: 0, completed_count: 0 };
    assert_eq!(ask(&datagram), Response::Scrape(vec![one_seed]));
    true
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_allow_list_is_read_again_on_sighup_and_a_slip_in_it_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let (allow, ready) = (folder.path().join("allow.txt"), folder.path().join("ready.json"));
    write(&allow, &format!("{} # the first\n", "61".repeat(20)));
    let (allow_text, ready_text) = (allow.to_str().unwrap(), ready.to_str().unwrap());
    let arguments = ["tracker", "--listen", "127.0.0.1:0", "--allow", allow_text, "--ready-file", ready_text];
    let mut running = Running::start(&arguments);
    let udp = running.urls[1].clone();
    assert!(serves(&udp, [b'a'; 20]) && !serves(&udp, [b'b'; 20]));

    write(&allow, &format!("{}\nmagnet:?xt=urn:btih:{}\n", "61".repeat(20), "62".repeat(20)));
    running.signal(Signal::HUP);
    running.wait_for_log("read the allow-list again");
    assert!(serves(&udp, [b'a'; 20]) && serves(&udp, [b'b'; 20]));

    write(&allow, "what is this\n");
    running.signal(Signal::HUP);
    running.wait_for_log("line 1: neither an info-hash");
    assert!(serves(&udp, [b'b'; 20]));

    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_eq!(ready["pid"], running.child.id());
    let urls: Vec<&str> = running.urls.iter().map(TrackerUrl::as_str).collect();
    assert_eq!(ready["tracker"], serde_json::json!(urls));
    running.stop(Signal::TERM);
}

#[test]
fn an_open_tracker_serves_everyone_until_interrupted() {
    let running = Running::start(&["tracker", "--listen", "127.0.0.1:0", "--open"]);
    assert!(serves(&running.urls[1], [b'z'; 20]));
    running.stop(Signal::INT);
}

#[test]
fn what_is_wrong_at_the_start_is_one_line_and_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let allow = folder.path().join("allow.txt");
    write(&allow, "\n12\n");
    let allow = allow.to_str().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, code, text) in [
        (&["tracker", "--listen", "127.0.0.1:0", "--allow", allow][..], 1, "allow.txt: line 2: neither"),
        (&["tracker", "--listen", "127.0.0.1:0", "--allow", "/does/not/exist"], 1, "/does/not/exist: "),
        (&["tracker", "--listen", &taken, "--open"], 1, "cannot listen on"),
        (&["tracker", "--open"], 2, "--listen"),
        (&["tracker", "--listen", "127.0.0.1:0", "--open", "--allow", allow], 2, "cannot be used with"),
    ] {
        let output = spillway(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.starts_with("error: ") && error.contains(text), "{error}");
        assert!(code == 2 || error.trim_end().lines().count() == 1, "{error}");
    }
}
