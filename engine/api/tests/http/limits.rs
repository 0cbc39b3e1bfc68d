//! What a client cannot take from others.

use std::time::Duration;

use api::HttpLimits;
use api::server::Routes;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{board, count, get, raw, read_all, soon, start, until};

const SHORT: Duration = Duration::from_millis(200);
/// Nothing in a test takes that long.
const LONG: Duration = Duration::from_secs(600);

fn limits() -> HttpLimits {
    HttpLimits {
        header_timeout: LONG,
        idle_timeout: LONG,
        stall_timeout: LONG,
        connection_life: LONG,
        ..HttpLimits::default()
    }
}

#[tokio::test]
async fn heads_that_drip_are_cut_off_and_others_are_served_meanwhile() {
    // Long enough for one who does not drip, on a machine that does.
    let (server, to) = start(&Routes::default(), HttpLimits { header_timeout: 10 * SHORT, ..limits() });
    let mut drips = Vec::new();
    for _ in 0..50 {
        drips.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            // A byte now and then, for ever: it is not the silence that ends it.
            for byte in b"GET /healthz HTTP/1.1\r\nX: ".iter().chain([b'x'; 10_000].iter()) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            false
        }));
    }
    assert!(get(to, "/healthz").await.ends_with("\r\n\r\nok\n"));
    for drip in drips {
        assert!(soon(drip).await.unwrap(), "it dripped on");
    }
    until(&server.counters(), "no_request_in_time", 50).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn who_wants_nothing_more_is_let_go_without_being_blamed() {
    let (server, to) = start(&Routes::default(), HttpLimits { idle_timeout: SHORT, ..limits() });
    let mut stream = TcpStream::connect(to).await.unwrap();
    // At once: who waits with the second may be idle for too long.
    stream.write_all("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2).as_bytes()).await.unwrap();
    let replies = read_all(&mut stream).await;
    assert!(replies.matches("200 OK").count() == 2 && replies.ends_with("ok\n"), "{replies}");
    assert_eq!(count(&server.counters(), "no_request_in_time"), 0);
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let routes = Routes { feeds: Some(board()), ..Routes::default() };
    let (server, to) = start(&routes, HttpLimits { stall_timeout: SHORT, ..limits() });
    // A small window, and requests enough to fill every buffer on the way.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(to).await.unwrap();
    let counters = server.counters();
    let stalled = async {
        while count(&counters, "stalled") == 0 {
            let ask = stream.write_all(b"GET /feeds/iso.rss HTTP/1.1\r\nHost: x\r\n\r\n");
            // Nobody reads requests either, once the answers get nowhere.
            let _ = tokio::time::timeout(Duration::from_millis(1), ask).await;
        }
    };
    soon(stalled).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_connection_has_its_last_request_and_is_told_so() {
    let (server, to) = start(&Routes::default(), HttpLimits { max_requests: 3, ..limits() });
    let replies = raw(to, &"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5)).await;
    assert_eq!(replies.matches("200 OK").count(), 3, "{replies}");
    assert_eq!(replies.matches("connection: close").count(), 1, "{replies}");
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_connection_that_is_never_idle_ends_all_the_same() {
    let (server, to) = start(&Routes::default(), HttpLimits { connection_life: SHORT, ..limits() });
    let mut stream = TcpStream::connect(to).await.unwrap();
    let ended = async {
        let mut buffer = [0; 4096];
        loop {
            let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
            match (asked, stream.read(&mut buffer).await) {
                (Ok(()), Ok(1..)) => {}
                _ => return,
            }
        }
    };
    soon(ended).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn one_address_is_held_to_its_share_where_it_is_no_proxy() {
    let limits = HttpLimits { max_connections_per_address: 2, trust_loopback: false, ..limits() };
    let (server, to) = start(&Routes::default(), limits);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        soon(stream.read_exact(&mut [0; 12])).await.unwrap();
        held.push(stream);
    }
    let mut refused = TcpStream::connect(to).await.unwrap();
    assert!(read_all(&mut refused).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(count(&server.counters(), "too_many_from_address"), 1);
    // All of 127/8 is this host; another address has its own share.
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(to).await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_all(&mut other).await.starts_with("HTTP/1.1 200 "));
    soon(server.stop()).await;
}

#[tokio::test]
async fn bodies_and_methods_that_nobody_wants_are_refused_and_end_the_connection() {
    let (server, to) = start(&Routes::default(), limits());
    for (request, status) in [
        ("POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", "413"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", "413"),
    ] {
        let reply = raw(to, request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{reply}");
    }
    let counters = server.counters();
    assert_eq!((count(&counters, "method_refused"), count(&counters, "body_refused")), (2, 3));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The server may close before it has read all of it.
    let _ = stream.write_all(long.as_bytes()).await;
    let reply = read_all(&mut stream).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    until(&counters, "head_too_long", 1).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_is_over_in_bounded_time() {
    let (server, to) = start(&Routes::default(), limits());
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        streams.push(stream);
    }
    until(&server.counters(), "connections", 20).await;
    // A minute at most, not the ten of the other limits.
    soon(server.stop()).await;
    for mut stream in streams {
        read_all(&mut stream).await;
    }
    assert!(TcpStream::connect(to).await.is_err(), "nobody listens");
}
