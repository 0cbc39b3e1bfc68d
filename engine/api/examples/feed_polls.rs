//! What subscribers that poll cost: a feed of a hundred releases, asked for over kept connections by readers that have it
//! (304) and by readers that have not (200, packed and plain), and a release's torrent of 100 KB. Prints requests a second
//! of the server's processor time; the askers share the machine, so the wall says little.
//!
//! `cargo run --release -p spillway-api --example feed_polls`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a load test that fails has to stop")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use api::HttpLimits;
use api::feeds::{Board, FeedHead, FeedItem};
use api::releases::{ReleaseBytes, ReleaseFile, ReleaseFiles, ReleaseKey, path};
use api::server::{Listener, Routes, Server, bind};
use hash::Sha1Digest;

const REQUEST_COUNT: usize = 100_000;
/// Connections, each with a request under way.
const DEPTH: usize = 64;

fn main() {
    let (to, thread) = start();
    let first = ask(&mut connect(to), "GET /feeds/iso.rss HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = String::from_utf8_lossy(&first).to_lowercase();
    let etag = head.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let feed = "GET /feeds/iso.rss HTTP/1.1\r\nHost: x\r\n";
    let torrent = path(ReleaseKey::V1(Sha1Digest([1; 20])), "a", ReleaseFile::Torrent);
    for (what, request, status) in [
        ("feed, unchanged", format!("{feed}If-None-Match: {etag}\r\n\r\n"), "304"),
        ("feed, packed", format!("{feed}Accept-Encoding: gzip\r\n\r\n"), "200"),
        ("feed, plain", format!("{feed}\r\n"), "200"),
        ("torrent of 100 KB", format!("GET {torrent} HTTP/1.1\r\nHost: x\r\n\r\n"), "200"),
    ] {
        measure(what, to, thread, &request, status);
    }
}

struct Files;

impl ReleaseFiles for Files {
    fn read(&self, _: ReleaseKey, _: ReleaseFile) -> io::Result<Option<ReleaseBytes>> {
        Ok(Some(ReleaseBytes { name: "a".to_owned(), bytes: vec![7; 100_000].into() }))
    }
}

/// Starts the server on a thread of its own; gives its address and the thread's id.
fn start() -> (SocketAddr, u32) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let board = Board::new("https://torrents.example.org");
            board.set(&FeedHead::new("iso", "Releases"), (0..100).map(item).collect()).unwrap();
            let routes = Routes { feeds: Some(Arc::new(board)), releases: Some(Arc::new(Files)), tracker: None };
            let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let limits = HttpLimits { max_requests: u32::MAX, ..HttpLimits::default() };
            let server = Server::start(vec![Listener { socket, routes, tls: None }], limits).unwrap();
            let link = std::fs::read_link("/proc/thread-self").unwrap();
            let thread: u32 = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
            sender.send((server.local_addrs()[0], thread)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

fn item(number: u8) -> FeedItem {
    FeedItem {
        name: format!("debian-13.{number}.0-amd64-netinst.iso"),
        title: format!("Debian 13.{number} for amd64, network installer"),
        description: "The small image that fetches the rest while it installs.".to_owned(),
        page_url: None,
        key: ReleaseKey::V1(Sha1Digest([number; 20])),
        magnet: format!(
            "magnet:?xt=urn:btih:{}&dn=debian&tr=http%3A%2F%2Ft.example%2Fannounce",
            Sha1Digest([number; 20])
        ),
        published_at_s: 1_700_000_000 + i64::from(number),
        content_bytes: 700_000_000,
        torrent_bytes: 54_321,
        metalink_bytes: Some(2_000),
    }
}

fn measure(what: &str, to: SocketAddr, thread: u32, request: &str, status: &str) {
    let mut streams: Vec<TcpStream> = (0..DEPTH).map(|_| connect(to)).collect();
    let before = cpu_time(thread);
    let mut size = 0;
    for _ in 0..REQUEST_COUNT / DEPTH {
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).unwrap();
        }
        for stream in &mut streams {
            let reply = read(stream);
            assert!(reply.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", String::from_utf8_lossy(&reply));
            size = reply.len();
        }
    }
    let cpu = cpu_time(thread) - before;
    let rate = (REQUEST_COUNT / DEPTH * DEPTH) as f64 / cpu.as_secs_f64();
    println!("{what}: {rate:.0} requests a second of processor time, {size} bytes each");
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, request: &str) -> Vec<u8> {
    stream.write_all(request.as_bytes()).unwrap();
    read(stream)
}

/// One reply: its head, and as much as it says follows.
fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let size = stream.read(&mut buffer).unwrap();
        assert_ne!(size, 0, "closed");
        reply.extend_from_slice(&buffer[..size]);
        let Some(end) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&reply[..end]).to_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        if reply.len() >= end + 4 + length {
            return reply;
        }
    }
}

/// What a thread of this process has run so far.
fn cpu_time(thread: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
