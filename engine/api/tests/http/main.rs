//! The HTTP server over real sockets on loopback: its limits, TLS, feeds and files of releases, as strangers meet them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod files;
mod limits;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::HttpLimits;
use api::feeds::{Board, FeedHead, FeedItem};
use api::releases::ReleaseKey;
use api::server::{HttpCounters, Listener, Routes, Server, TlsKeys, bind};
use hash::Sha1Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Fails rather than hangs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes forever")
}

fn listener(routes: &Routes, tls: Option<Arc<TlsKeys>>) -> Listener {
    Listener { socket: bind("127.0.0.1:0".parse().unwrap()).unwrap(), routes: routes.clone(), tls }
}

/// A server with one plain listener.
fn start(routes: &Routes, limits: HttpLimits) -> (Server, SocketAddr) {
    let server = Server::start(vec![listener(routes, None)], limits).unwrap();
    let address = server.local_addrs()[0];
    (server, address)
}

fn board() -> Arc<Board> {
    let board = Board::new("http://t.example");
    let item = |number: u8| FeedItem {
        name: format!("release {number}"),
        title: format!("Release {number}"),
        description: String::new(),
        page_url: None,
        key: ReleaseKey::V1(Sha1Digest([number; 20])),
        magnet: "magnet:?xt=urn:btih:00".to_owned(),
        published_at_s: 1_700_000_000,
        content_bytes: 1,
        torrent_bytes: 1,
        metalink_bytes: None,
    };
    board.set(&FeedHead::new("iso", "Releases"), (0..50).map(item).collect()).unwrap();
    Arc::new(board)
}

fn count(counters: &HttpCounters, name: &str) -> u64 {
    counters.status().into_iter().find(|(known, _)| *known == name).unwrap().1
}

/// Waits until something was counted so often.
async fn until(counters: &HttpCounters, name: &str, expected: u64) {
    let reached = async {
        while count(counters, name) < expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(reached).await;
    assert_eq!(count(counters, name), expected, "{name}");
}

/// Sends raw bytes and reads until the server closes.
async fn raw(to: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

/// What comes until the end, however it ends.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let _ = soon(stream.read_to_end(&mut reply)).await;
    String::from_utf8_lossy(&reply).into_owned()
}

async fn get(to: SocketAddr, path: &str) -> String {
    raw(to, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

/// A client that goes by no proxy; the crypto that it needs is installed once for the process.
fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
