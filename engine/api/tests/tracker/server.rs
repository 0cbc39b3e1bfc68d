//! Our server as strangers see it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api::server::{self, Listener, Routes, Server};
use api::{HttpLimits, TrackerServer};
use control::tracker_service::TrackerService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tracker::http::parse_announce_reply;
use tracker::table::{Access, Limits};
use tracker::udp::{Response, parse_response, write_announce, write_connect, write_scrape};
use tracker::{AnnounceReply, AnnounceRequest, Event, Family, OwnSeed};

use crate::{TORRENT, soon, start_tracker};

fn request(port: u16, left_bytes: u64) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: TORRENT,
        peer_id: *b"-XX0001-abcdefghijkl",
        port,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(left_bytes),
        event: Event::Started,
        want_count: None,
        key: 5,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

/// Sends raw bytes and reads until the server closes.
async fn raw_http(to: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

async fn get(to: SocketAddr, path: &str) -> String {
    raw_http(to, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

async fn udp_socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn udp_ask(socket: &UdpSocket, datagram: &[u8]) -> (u32, Response) {
    socket.send(datagram).await.unwrap();
    let mut buffer = [0; 2048];
    let size = socket.recv(&mut buffer).await.unwrap();
    let family = Family::of(socket.peer_addr().unwrap().ip());
    parse_response(family, &buffer[..size]).unwrap()
}

async fn udp_connect(socket: &UdpSocket) -> u64 {
    let mut datagram = Vec::new();
    write_connect(&mut datagram, 77);
    match udp_ask(socket, &datagram).await {
        (77, Response::Connect { connection_id }) => connection_id,
        other => panic!("{other:?}"),
    }
}

async fn udp_announce(to: SocketAddr, request: &AnnounceRequest) -> AnnounceReply {
    let socket = udp_socket(to).await;
    let connection_id = udp_connect(&socket).await;
    let mut datagram = Vec::new();
    write_announce(&mut datagram, connection_id, 78, request, "/announce");
    match udp_ask(&socket, &datagram).await {
        (78, Response::Announce(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

async fn http_announce(to: SocketAddr, request: &AnnounceRequest) -> AnnounceReply {
    let url = tracker::http::announce_url(&format!("http://{to}/announce").parse().unwrap(), request);
    let reply = get(to, url.split_once(&to.to_string()).unwrap().1).await;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    // The peers here are on loopback at low ports, so that their bytes are ASCII but for 127 and above in none.
    parse_announce_reply(body.as_bytes()).unwrap()
}

#[tokio::test]
async fn http_and_udp_share_one_port_number_and_one_swarm() {
    let (server, service) = start_tracker(Access::Open);
    let addresses = server.local_addrs();
    assert_eq!(addresses[0].port(), addresses[1].port());
    for address in addresses {
        let peer = |port| SocketAddr::new(address.ip(), port);
        assert!(soon(http_announce(address, &request(100, 1))).await.peers.is_empty());
        assert_eq!(soon(udp_announce(address, &request(101, 1))).await.peers, [peer(100)]);
        let reply = soon(http_announce(address, &request(100, 1))).await;
        assert_eq!(reply.peers, [peer(101)]);
        assert!(reply.interval_s.is_some() && reply.min_interval_s.is_some());
    }
    assert_eq!(service.stats(TORRENT).unwrap().leech_count, 4);
    soon(server.stop()).await;
}

#[tokio::test]
async fn an_own_seed_is_told_at_the_address_where_the_announce_came_in() {
    let (server, service) = start_tracker(Access::Listed);
    let own = Family::ALL.map(|family| OwnSeed::ThisHost { family, port: 99 });
    service.add_own_seed(TORRENT, own.to_vec());
    for address in server.local_addrs() {
        let own = [SocketAddr::new(address.ip(), 99)];
        assert_eq!(soon(http_announce(address, &request(100, 1))).await.peers, own);
        let reply = soon(udp_announce(address, &request(100, 1))).await;
        assert_eq!((reply.peers.as_slice(), reply.seed_count), (&own[..], Some(1)));
    }
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_wildcard_socket_knows_at_which_address_it_was_reached() {
    let service = TrackerService::new(Access::Open, Limits::default()).unwrap();
    service.add_own_seed(TORRENT, vec![OwnSeed::ThisHost { family: Family::V4, port: 99 }]);
    let listen = ["0.0.0.0:0".parse().unwrap()];
    let server = api::TrackerServer::start(&listen, &service, HttpLimits::default()).unwrap();
    let port = server.local_addrs()[0].port();
    // All of 127/8 is this host. An announce to one of its addresses must be answered from there, naming it.
    let address = SocketAddr::new(IpAddr::from([127, 0, 0, 9]), port);
    let own = [SocketAddr::new(address.ip(), 99)];
    assert_eq!(soon(udp_announce(address, &request(100, 1))).await.peers, own);
    assert_eq!(soon(http_announce(address, &request(101, 1))).await.peers[0], own[0]);
    assert!(server.urls().iter().all(|url| !url.contains("0.0.0.0")), "{:?}", server.urls());
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_malformed_http_announce_gets_a_bencoded_failure_and_is_counted() {
    let (server, service) = start_tracker(Access::Listed);
    let to = server.local_addrs()[0];
    let hash = "%61".repeat(20);
    for (path, reason) in [
        ("/announce".to_owned(), "info_hash is missing"),
        ("/announce?info_hash=abc&peer_id=x&port=1".to_owned(), "info_hash is not 20 bytes long"),
        (format!("/announce?info_hash={hash}&peer_id=aaaaaaaaaaaaaaaaaaaa&port=70000"), "port is not a port"),
        (format!("/announce?info_hash={hash}%"), "the query has a broken escape"),
        (
            format!("/announce?info_hash={hash}&peer_id=aaaaaaaaaaaaaaaaaaaa&port=1"),
            "torrent is not registered with this tracker",
        ),
        ("/scrape".to_owned(), "info_hash is missing"),
    ] {
        let reply = soon(get(to, &path)).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.ends_with(&format!("d14:failure reason{}:{reason}e", reason.len())), "{reply}");
    }
    assert_eq!(service.status().malformed.iter().map(|(_, count)| count).sum::<u64>(), 5);
    assert!(soon(get(to, "/")).await.starts_with("HTTP/1.1 404 "));
    assert!(soon(raw_http(to, "POST /announce HTTP/1.0\r\n\r\n")).await.starts_with("HTTP/1.0 405 "));
    assert!(soon(raw_http(to, "\x13BitTorrent protocol\r\n\r\n")).await.starts_with("HTTP/1.1 400 "));
    let long = format!("GET /announce?x={} HTTP/1.1\r\n\r\n", "y".repeat(40_000));
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The server may close before it has read all of it.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = soon(stream.read_to_end(&mut reply)).await;
    assert!(reply.is_empty() || reply.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&reply));
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_scrape_tells_what_is_known_over_both_wires() {
    let (server, service) = start_tracker(Access::Open);
    let to = server.local_addrs()[0];
    soon(http_announce(to, &request(100, 0))).await;
    soon(http_announce(to, &request(101, 9))).await;
    let path = format!("/scrape?info_hash={}&info_hash={}", "a".repeat(20), "b".repeat(20));
    let reply = soon(get(to, &path)).await;
    let files = "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi0e10:incompletei1eeee";
    assert!(reply.ends_with(files), "{reply}");
    let socket = udp_socket(to).await;
    let mut datagram = Vec::new();
    let hashes = [hash::InfoHash([b'b'; 20]), TORRENT];
    write_scrape(&mut datagram, soon(udp_connect(&socket)).await, 5, &hashes);
    let stats = service.stats(TORRENT).unwrap();
    let expected = Response::Scrape(vec![tracker::SwarmStats::default(), stats]);
    assert_eq!(soon(udp_ask(&socket, &datagram)).await, (5, expected));
    soon(server.stop()).await;
}

#[tokio::test]
async fn udp_answers_the_broken_with_an_error_and_the_foreign_with_nothing() {
    let (server, service) = start_tracker(Access::Open);
    let socket = udp_socket(server.local_addrs()[0]).await;
    let mut announce = Vec::new();
    write_announce(&mut announce, 12345, 9, &request(1, 1), "");
    let (transaction_id, response) = soon(udp_ask(&socket, &announce)).await;
    assert_eq!((transaction_id, response), (9, Response::Error("unknown connection id".to_owned())));
    let cut_short = soon(udp_ask(&socket, &announce[..60])).await;
    assert_eq!(cut_short, (9, Response::Error("the request is cut short".to_owned())));
    // Had the foreign datagram an answer, it would come before the connect's.
    socket.send(b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:pinge").await.unwrap();
    socket.send(b"").await.unwrap();
    soon(udp_connect(&socket)).await;
    let malformed = service.status().malformed;
    assert!(malformed.contains(&("bad_connection_id", 1)), "{malformed:?}");
    assert!(malformed.contains(&("cut_short", 1)), "{malformed:?}");
    soon(server.stop()).await;
}

#[tokio::test]
async fn while_the_service_is_held_what_comes_by_udp_waits_and_is_answered_after_that() {
    let service = TrackerService::new(Access::Open, Limits::default()).unwrap();
    service.hold();
    let server = TrackerServer::start_udp(&["127.0.0.1:0".parse().unwrap()], &service).unwrap();
    let socket = udp_socket(server.local_addrs()[0]).await;
    let mut datagram = Vec::new();
    write_connect(&mut datagram, 77);
    socket.send(&datagram).await.unwrap();
    let mut buffer = [0; 2048];
    let early = tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await;
    assert!(early.is_err(), "who is under embargo is not known yet");
    service.release();
    let size = soon(socket.recv(&mut buffer)).await.unwrap();
    let response = parse_response(Family::V4, &buffer[..size]).unwrap();
    assert!(matches!(response, (77, Response::Connect { .. })), "{response:?}");
    // One that is never released can be stopped all the same.
    let held = TrackerService::new(Access::Open, Limits::default()).unwrap();
    held.hold();
    let silent = TrackerServer::start_udp(&["127.0.0.1:0".parse().unwrap()], &held).unwrap();
    soon(silent.stop()).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_at_once_and_those_that_end_make_room() {
    let service = TrackerService::new(Access::Open, Limits::default()).unwrap();
    let limits = HttpLimits { max_connections: 2, header_timeout: Duration::from_secs(600), ..HttpLimits::default() };
    let socket = server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let routes = Routes { tracker: Some(service.clone()), ..Routes::default() };
    let tracker = Server::start(vec![Listener { socket, routes, tls: None }], limits).unwrap();
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(tracker.local_addrs()[0]).await.unwrap();
        stream.write_all(b"GET /announce").await.unwrap();
        idle.push(stream);
    }
    let mut refused = TcpStream::connect(tracker.local_addrs()[0]).await.unwrap();
    let mut reply = String::new();
    soon(refused.read_to_string(&mut reply)).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    drop(idle);
    let room = async {
        let mut reply = Vec::new();
        while !reply.starts_with(b"HTTP/1.1 404 ") {
            reply.clear();
            let mut stream = TcpStream::connect(tracker.local_addrs()[0]).await.unwrap();
            // One that is refused may lose its words.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            let _ = stream.read_to_end(&mut reply).await;
        }
    };
    soon(room).await;
    soon(tracker.stop()).await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_announce() {
    let (server, _service) = start_tracker(Access::Open);
    let mut stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /announce HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"missinge") {
            assert_ne!(soon(stream.read_buf(&mut reply)).await.unwrap(), 0, "closed");
        }
    }
    soon(server.stop()).await;
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "a stop closes what is idle");
}
