//! Attacks on the tracker, over HTTP and UDP, while good announces are answered.

use api::HttpLimits;
use api::TrackerServer;
use bencode::Value;
use control::tracker_service::TrackerService;
use hash::InfoHash;
use seedbox::TrackerConfig;
use spillway_hostile::{DEADLINE, Noise, Target};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tracker::table::{Access, Limits};
use tracker::udp::{PROTOCOL_ID, Response, parse_response, write_connect};

/// Rounds of each attack.
const ROUNDS: usize = 20;

/// An engine with a tracker on loopback.
pub(crate) fn start(shards: usize) -> (Target, SocketAddr) {
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let target =
        Target::start(shards, |config| config.tracker = Some(TrackerConfig { listen, ..TrackerConfig::default() }));
    let url = &target.engine.tracker_tiers()[0][0];
    let address = url.trim_start_matches("http://").trim_end_matches("/announce").parse().unwrap();
    (target, address)
}

/// Sends `request` and reads until the tracker closes.
fn ask(tracker: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(tracker).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It may close before it has heard all, with a reset if there is more to hear.
    let _ = stream.write_all(request);
    let mut reply = Vec::new();
    if let Err(error) = stream.read_to_end(&mut reply) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{:?}", String::from_utf8_lossy(request));
    }
    reply
}

fn get(tracker: SocketAddr, path: &[u8]) -> Vec<u8> {
    ask(tracker, &[b"GET ", path, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat())
}

fn escaped(info_hash: InfoHash) -> String {
    info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect()
}

/// A good announce over HTTP; the reply must name the engine.
pub(crate) fn announce_well(target: &Target, tracker: SocketAddr) {
    let hash = escaped(target.info_hash_v1());
    let query = format!("/announce?info_hash={hash}&peer_id=-XX0001-hostilepeer.&port=7&left=1&compact=1");
    let reply = get(tracker, query.as_bytes());
    let body = reply.windows(4).position(|window| window == b"\r\n\r\n").expect("a head and a body") + 4;
    let Ok(Value::Dict(reply)) = bencode::decode(&reply[body..], &bencode::Limits::default()) else {
        panic!("a dictionary: {}", String::from_utf8_lossy(&reply));
    };
    let [peers] = reply.get_all(["peers"]);
    assert_holds(peers.and_then(|peers| peers.as_bytes()).unwrap(), target.address());
}

fn assert_holds(peers: &[u8], address: SocketAddr) {
    let SocketAddr::V4(address) = address else { panic!("an IPv4 target") };
    let packed = [&address.ip().octets()[..], &address.port().to_be_bytes()].concat();
    assert!(peers.chunks(6).any(|peer| peer == packed), "our own seed is told: {peers:?}");
}

/// A client's socket from that address.
fn udp(from: Ipv4Addr, tracker: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(tracker).unwrap();
    // Loopback loses a datagram only to a full buffer; then it is sent again.
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// Sends until the answer to this transaction comes; answers to others are passed over.
fn ask_udp(socket: &UdpSocket, transaction_id: u32, datagram: &[u8]) -> Response {
    for _ in 0..DEADLINE.as_millis() / 500 {
        socket.send(datagram).unwrap();
        let mut bytes = [0; 2048];
        while let Ok(size) = socket.recv(&mut bytes) {
            if let Ok((same, response)) = parse_response(tracker::Family::V4, &bytes[..size])
                && same == transaction_id
            {
                return response;
            }
        }
    }
    panic!("the tracker does not answer");
}

fn connection_id(socket: &UdpSocket, transaction_id: u32) -> u64 {
    let mut connect = Vec::new();
    write_connect(&mut connect, transaction_id);
    match ask_udp(socket, transaction_id, &connect) {
        Response::Connect { connection_id } => connection_id,
        other => panic!("{other:?}"),
    }
}

/// An announce datagram, 98 bytes (BEP 15).
fn announce_datagram(connection_id: u64, transaction_id: u32, info_hash: InfoHash) -> Vec<u8> {
    let mut out = connection_id.to_be_bytes().to_vec();
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&transaction_id.to_be_bytes());
    out.extend_from_slice(&info_hash.0);
    out.extend_from_slice(b"-XX0001-hostilepeer.");
    out.extend_from_slice(&[0; 24]);
    for field in [2, 0, 9, u32::MAX] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&7u16.to_be_bytes());
    out
}

/// A good announce over UDP; the reply must name the engine.
fn announce_well_udp(target: &Target, tracker: SocketAddr) {
    let socket = udp(Ipv4Addr::LOCALHOST, tracker);
    let id = connection_id(&socket, 1);
    match ask_udp(&socket, 2, &announce_datagram(id, 2, target.info_hash_v1())) {
        Response::Announce(reply) => assert!(reply.peers.contains(&target.address()), "{reply:?}"),
        other => panic!("{other:?}"),
    }
}

/// How often the tracker has counted this.
pub(crate) fn counted(target: &Target, reason: &str) -> u64 {
    let malformed = target.status().own_tracker.unwrap().malformed;
    malformed.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
}

#[test]
fn malformed_announces_get_a_failure_by_name_and_good_ones_go_on() {
    let (target, tracker) = start(1);
    let mut good = target.download();
    let hash = escaped(target.info_hash_v1());
    let id = "-XX0001-hostilepeer.";
    let too_many = format!("/scrape?{}", format!("info_hash={hash}&").repeat(75));
    let queries = [
        ("missing_parameter", "/announce".to_owned()),
        ("missing_parameter", format!("/announce?info_hash={hash}&peer_id={id}")),
        ("missing_parameter", format!("/announce?peer_id={id}&port=1")),
        ("missing_parameter", "/scrape".to_owned()),
        ("bad_escape", format!("/announce?info_hash={hash}%")),
        ("bad_escape", format!("/announce?info_hash={hash}%zz&peer_id={id}&port=1")),
        ("bad_hash_or_peer_id", format!("/announce?info_hash=short&peer_id={id}&port=1")),
        ("bad_hash_or_peer_id", format!("/announce?info_hash={hash}{hash}&peer_id={id}&port=1")),
        ("bad_hash_or_peer_id", format!("/announce?info_hash={hash}&peer_id=x&port=1")),
        ("bad_port", format!("/announce?info_hash={hash}&peer_id={id}&port=65536")),
        ("bad_port", format!("/announce?info_hash={hash}&peer_id={id}&port=-1")),
        ("bad_port", format!("/announce?info_hash={hash}&peer_id={id}&port=99999999999999999999")),
        ("duplicate_parameter", format!("/announce?info_hash={hash}&peer_id={id}&port=1&port=2")),
        ("query_too_long", format!("/announce?info_hash={hash}&peer_id={id}&port=1&x={}", "y".repeat(9000))),
        ("bad_scrape", too_many),
    ];
    for _ in 0..ROUNDS {
        for (reason, path) in &queries {
            let reply = get(tracker, path.as_bytes());
            let text = String::from_utf8_lossy(&reply);
            assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("d14:failure reason"), "{reason}: {text}");
        }
        announce_well(&target, tracker);
        announce_well_udp(&target, tracker);
        good.step(2);
    }
    for (reason, _) in &queries {
        let kinds = queries.iter().filter(|(same, _)| same == reason).count();
        assert_eq!(counted(&target, reason), (kinds * ROUNDS) as u64, "{reason}");
    }
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn what_is_not_http_or_has_no_end_is_refused_and_counted() {
    let (target, tracker) = start(1);
    let mut random = Noise::new(5);
    let mut noise = random.bytes(5000);
    noise[0] = 0;
    let endless = |line: &[u8]| [b"GET /announce HTTP/1.1\r\n", &line.repeat(200_000 / line.len())[..]].concat();
    let attacks = [
        b"\x13BitTorrent protocol\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        noise,
        b"GET /announce HTTP/9.9\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /announce HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
        [b"GET /announce?", &b"x".repeat(200_000)[..]].concat(),
        endless(b"X: y\r\n"),
        endless(b"Cookie: a-long-line-of-nothing-that-goes-on-and-on-and-on\r\n"),
        endless(b"x"),
    ];
    for _ in 0..ROUNDS {
        for bytes in &attacks {
            let reply = ask(tracker, bytes);
            assert!(reply.is_empty() || reply.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&reply));
        }
        announce_well(&target, tracker);
    }
    let all = attacks.len() * ROUNDS;
    target.until("each is counted", |_| counted(&target, "not_http") + counted(&target, "head_too_long") == all as u64);
    assert!(counted(&target, "head_too_long") >= 3 * ROUNDS as u64);
    target.finish();
}

#[test]
fn datagrams_of_rubbish_are_not_answered_and_good_ones_are() {
    let (target, tracker) = start(1);
    let mut good = target.download();
    let mut random = Noise::new(9);
    let socket = udp(Ipv4Addr::LOCALHOST, tracker);
    let id = connection_id(&socket, 1);
    let whole = announce_datagram(id, 77, target.info_hash_v1());
    for round in 0..ROUNDS {
        for _ in 0..40 {
            let size = random.below(1500);
            socket.send(&random.bytes(size)).unwrap();
        }
        for size in 16..whole.len() {
            socket.send(&whole[..size]).unwrap();
        }
        let mut connect = Vec::new();
        write_connect(&mut connect, 3);
        connect[0] ^= 1;
        socket.send(&connect).unwrap();
        // A good one behind them is answered, whatever came before.
        assert!(matches!(
            ask_udp(&socket, 500 + round as u32, &announce_datagram(id, 500 + round as u32, target.info_hash_v1())),
            Response::Announce(_)
        ));
        announce_well(&target, tracker);
        announce_well_udp(&target, tracker);
        good.step(2);
    }
    assert!(counted(&target, "cut_short") > 0 && counted(&target, "foreign_datagram") > 0, "{:?}", target.status());
    good.finish();
    drop(good);
    target.finish();
}

#[test]
fn a_connection_id_that_another_was_given_or_that_is_guessed_is_worth_nothing() {
    let (target, tracker) = start(1);
    let socket = udp(Ipv4Addr::LOCALHOST, tracker);
    let stranger = udp(Ipv4Addr::new(127, 0, 0, 2), tracker);
    let own = connection_id(&socket, 1);
    let mut random = Noise::new(13);
    let mut guesses = vec![0, u64::MAX, PROTOCOL_ID, own ^ 1, own ^ (1 << 63), connection_id(&stranger, 2)];
    guesses.extend((0..100).map(|_| random.number()));
    for (n, guess) in guesses.iter().enumerate() {
        let transaction_id = 1000 + n as u32;
        let response =
            ask_udp(&socket, transaction_id, &announce_datagram(*guess, transaction_id, target.info_hash_v1()));
        assert_eq!(response, Response::Error("unknown connection id".to_owned()));
    }
    assert!(counted(&target, "bad_connection_id") >= guesses.len() as u64);
    let peers = target.status().own_tracker.unwrap().peer_count;
    assert_eq!(peers, 0, "nobody was taken up");
    announce_well_udp(&target, tracker);
    target.finish();
}

#[test]
fn unknown_torrents_are_refused_and_fill_no_table() {
    let (target, tracker) = start(1);
    let socket = udp(Ipv4Addr::LOCALHOST, tracker);
    let id = connection_id(&socket, 1);
    let mut random = Noise::new(17);
    let torrents = target.status().own_tracker.unwrap().torrent_count;
    for n in 0..300 {
        let mut unknown = InfoHash([0; 20]);
        unknown.0.copy_from_slice(&random.bytes(20));
        let response = ask_udp(&socket, 100 + n, &announce_datagram(id, 100 + n, unknown));
        assert!(matches!(response, Response::Error(_)), "{response:?}");
    }
    let status = target.status().own_tracker.unwrap();
    assert!(status.counters.not_allowed >= 300);
    assert_eq!((status.torrent_count, status.peer_count), (torrents, 0));
    target.finish();
}

#[test]
fn connections_beyond_the_trackers_limit_are_told_to_come_back() {
    const LIMIT: usize = 32;
    let service = TrackerService::new(Access::Open, Limits::default()).unwrap();
    let limits = HttpLimits { max_connections: LIMIT, ..HttpLimits::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listen = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let server = runtime.block_on(async { TrackerServer::start(&listen, &service, limits).unwrap() });
    let tracker = server.local_addrs()[0];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let _ = stopped.await;
            server.stop().await;
        });
    });
    let malformed = |reason: &str| {
        let malformed = service.status().malformed;
        malformed.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    };
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..LIMIT {
        // Held once it has answered: then it is surely one of those that count.
        let mut stream = TcpStream::connect(tracker).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        held.push(stream);
    }
    for n in 1..=200 {
        let mut stream = TcpStream::connect(tracker).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(reply.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&reply));
        assert_eq!(malformed("too_many_connections"), n);
    }
    // UDP has no connections to run out of.
    connection_id(&udp(Ipv4Addr::LOCALHOST, tracker), 1);
    drop(held);
    let deadline = std::time::Instant::now() + DEADLINE;
    while !get(tracker, b"/").starts_with(b"HTTP/1.1 404 ") {
        assert!(std::time::Instant::now() < deadline, "there is room again");
    }
    drop(stop);
    thread.join().unwrap();
}
