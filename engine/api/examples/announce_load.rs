//! How many announces our tracker answers on one core, over UDP and over kept HTTP connections: a swarm of 50,000 peers
//! that all come back. Prints the rate by the wall clock and by the processor time of the tracker's thread; the latter
//! is the one to compare, since the askers share the machine.
//!
//! `cargo run --release -p spillway-api --example announce_load`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a load test that fails has to stop")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use api::HttpLimits;
use api::TrackerServer;
use control::tracker_service::TrackerService;
use hash::InfoHash;
use tracker::http::announce_url;
use tracker::table::{Access, Limits};
use tracker::udp::{Response, parse_response, write_announce, write_connect};
use tracker::{AnnounceRequest, Event, Family};

const PEER_COUNT: u32 = 50_000;
/// Announces under way at once, each from an address of its own: enough that the tracker never waits.
const DEPTH: usize = 64;

fn main() {
    let (addresses, tracker_thread) = start_tracker();
    measure("udp, peers that are new", tracker_thread, || udp(addresses));
    measure("udp, peers that are known", tracker_thread, || udp(addresses));
    measure("http, 64 kept connections", tracker_thread, || http(addresses));
}

/// Starts the tracker on a thread of its own; gives its address and the thread's id.
fn start_tracker() -> (SocketAddr, u32) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Each of the askers' addresses stands for the peers of its ports.
            let limits = Limits { max_peers_per_address: PEER_COUNT as usize / DEPTH + 1, ..Limits::default() };
            let service = TrackerService::new(Access::Open, limits).unwrap();
            let listen = ["127.0.0.1:0".parse().unwrap()];
            let server = TrackerServer::start(&listen, &service, HttpLimits::default()).unwrap();
            let link = std::fs::read_link("/proc/thread-self").unwrap();
            let thread: u32 = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
            sender.send((server.local_addrs()[0], thread)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

fn measure(what: &str, thread: u32, ask: impl FnOnce() -> u32) {
    let (cpu, wall) = (cpu_time(thread), Instant::now());
    let count = f64::from(ask());
    let (cpu, wall) = (cpu_time(thread) - cpu, wall.elapsed());
    println!(
        "{what}: {count:.0} announces, {:.0} a second by the wall, {:.0} a second of the tracker's processor time",
        count / wall.as_secs_f64(),
        count / cpu.as_secs_f64()
    );
}

/// What a thread of this process has run so far.
fn cpu_time(thread: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn request(peer: u32) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([7; 20]),
        peer_id: *b"-XX0001-abcdefghijkl",
        port: (peer / DEPTH as u32) as u16 + 1,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(u64::from(peer % 4)),
        event: Event::None,
        want_count: Some(50),
        key: peer,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

/// All of 127/8 is this host.
fn asker(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 1, 0, index as u8], 0))
}

fn udp(to: SocketAddr) -> u32 {
    let askers: Vec<(UdpSocket, u64)> = (0..DEPTH).map(|index| udp_connect(asker(index), to)).collect();
    let mut buffer = [0; 2048];
    let mut datagram = Vec::new();
    for peer in (0..PEER_COUNT).step_by(DEPTH) {
        for ((socket, connection_id), index) in askers.iter().zip(0..) {
            datagram.clear();
            write_announce(&mut datagram, *connection_id, peer, &request(peer + index), "");
            socket.send(&datagram).unwrap();
        }
        for (socket, _) in &askers {
            let size = socket.recv(&mut buffer).unwrap();
            assert!(size >= 20 && buffer[3] == 1, "an error response");
        }
    }
    PEER_COUNT.next_multiple_of(DEPTH as u32)
}

fn udp_connect(from: SocketAddr, to: SocketAddr) -> (UdpSocket, u64) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut datagram = Vec::new();
    write_connect(&mut datagram, 1);
    socket.send(&datagram).unwrap();
    let mut buffer = [0; 64];
    let size = socket.recv(&mut buffer).unwrap();
    match parse_response(Family::V4, &buffer[..size]) {
        Ok((1, Response::Connect { connection_id })) => (socket, connection_id),
        other => panic!("no connection id: {other:?}"),
    }
}

fn http(to: SocketAddr) -> u32 {
    let mut streams: Vec<TcpStream> = (0..DEPTH).map(|index| http_connect(asker(index), to)).collect();
    let tracker = format!("http://{to}/announce").parse().unwrap();
    let mut buffer = [0; 4096];
    for peer in (0..PEER_COUNT).step_by(DEPTH) {
        for (stream, index) in streams.iter_mut().zip(0..) {
            let url = announce_url(&tracker, &request(peer + index));
            let path = url.split_at("http://".len() + to.to_string().len()).1;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).unwrap();
        }
        for stream in &mut streams {
            // A reply is one segment on loopback.
            let size = stream.read(&mut buffer).unwrap();
            assert!(buffer[..size].starts_with(b"HTTP/1.1 200") && buffer[..size].ends_with(b"e"), "no reply");
        }
    }
    PEER_COUNT.next_multiple_of(DEPTH as u32)
}

fn http_connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}
