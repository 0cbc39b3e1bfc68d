//! What one operator cannot do to another.

use api::operator::types::{AddTorrent, OperatorRequest, TorrentSource};
use api::operator::{OperatorCall, OperatorServer, SocketSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{ask, done, read_reply, soon, start};

#[tokio::test]
async fn a_torrent_of_megabytes_arrives_whole() {
    let mut fixture = start();
    let path = fixture.path();
    let torrent: Vec<u8> = (0..5_000_000_u32).map(|n| (n * 7) as u8).collect();
    let add = AddTorrent {
        source: TorrentSource::Torrent(torrent),
        folder: "/srv".to_owned(),
        folder_is_content: false,
        peers: Vec::new(),
        group: None,
        stopped: false,
        limits: Default::default(),
    };
    let body = serde_json::to_string(&add).unwrap();
    let asked = tokio::spawn(async move { ask(&path, "POST", "/v1/torrents", &body).await });
    let call = soon(fixture.calls.recv()).await.unwrap();
    assert_eq!(call.request, OperatorRequest::Add(Box::new(add)));
    call.reply.send(done(1)).unwrap();
    assert_eq!(soon(asked).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_body_beyond_all_bounds_is_refused_before_it_is_sent() {
    let path = start().answer(|request| panic!("{request:?}"));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let head = "POST /v1/torrents HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.0, 413);
    // Bodies that say nothing of their size are given room for the largest; there is not room for all of these.
    let mut answered = JoinSet::new();
    for _ in 0..8 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let head = "POST /v1/torrents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        answered.spawn(async move {
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.map(|_| (status, stream))
        });
    }
    // Two have room and are waited for.
    for _ in 0..6 {
        let (status, _) = soon(answered.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 503");
    }
    // A request without a body needs no room.
    assert_eq!(ask(&path, "GET", "/v1/none", "").await.0, 404);
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (sender, mut calls) = mpsc::channel::<OperatorCall>(1);
    let server = OperatorServer::start(&SocketSettings::new(path.clone()), sender.clone()).unwrap();
    let place = sender.reserve().await.unwrap();
    assert_eq!(ask(&path, "GET", "/v1/stats", "").await.0, 503);
    drop(place);
    let asked = tokio::spawn(async move { ask(&path, "POST", "/v1/torrents/1/stop", "").await });
    let call = soon(calls.recv()).await.unwrap();
    call.reply.send(done(1)).unwrap();
    assert_eq!(soon(asked).await.unwrap().0, 200);
    soon(server.stop()).await;
}

#[tokio::test]
async fn more_connections_than_operators_have_hands_are_refused() {
    let path = start().answer(|_| done(1));
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"POST /v1/torrents/1/stop HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        soon(stream.read_exact(&mut [0; 12])).await.unwrap();
        held.push(stream);
    }
    let mut refused = UnixStream::connect(&path).await.unwrap();
    assert_eq!(read_reply(&mut refused).await.0, 503);
}

#[tokio::test]
async fn a_stop_ends_what_waits_in_bounded_time() {
    let mut fixture = start();
    let path = fixture.path();
    let waiting = tokio::spawn(async move { ask(&path, "GET", "/v1/stats", "").await });
    let _held = soon(fixture.calls.recv()).await.unwrap();
    soon(fixture.server.stop()).await;
    assert_eq!(soon(waiting).await.unwrap().0, 0, "cut off without an answer");
}
