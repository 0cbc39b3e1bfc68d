//! The operator's API over a real socket, with a service that is played by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod limits;
mod lists;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use api::operator::types::{
    Done, ErrorCode, OperatorAnswer, OperatorError, OperatorReply, OperatorRequest, TorrentRef,
};
use api::operator::{OperatorCall, OperatorServer, SocketSettings, WAITING_CALLS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A server on a socket of its own, and the requests that come to it.
struct Fixture {
    folder: tempfile::TempDir,
    server: OperatorServer,
    calls: mpsc::Receiver<OperatorCall>,
}

/// Fails rather than hangs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes forever")
}

fn start() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (sender, calls) = mpsc::channel(WAITING_CALLS);
    let server = OperatorServer::start(&SocketSettings::new(folder.path().join("s")), sender).unwrap();
    Fixture { folder, server, calls }
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Answers each request as told, for as long as the test runs.
    fn answer(self, mut answer: impl FnMut(OperatorRequest) -> OperatorReply + Send + 'static) -> PathBuf {
        let path = self.path();
        tokio::spawn(async move {
            let Fixture { folder: _kept, server: _kept_too, mut calls } = self;
            while let Some(call) = calls.recv().await {
                let _ = call.reply.send(answer(call.request));
            }
        });
        path
    }
}

/// One request on a connection of its own: status and body.
async fn ask(path: &PathBuf, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    read_reply(&mut stream).await
}

async fn read_reply(stream: &mut UnixStream) -> (u16, String) {
    let mut reply = Vec::new();
    // Cut short by an error is as good as its end here; what came is looked at.
    let _ = soon(stream.read_to_end(&mut reply)).await;
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    let is_cut_in_parts = head.to_lowercase().contains("transfer-encoding: chunked");
    (status, if is_cut_in_parts { unchunked(body) } else { body.to_owned() })
}

/// The parts of a body, and `CUT` where its last is missing.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let Some((size, rest)) = body.split_once("\r\n") else { return whole + "CUT" };
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole += &rest[..size];
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

fn done(id: u64) -> OperatorReply {
    let name = format!("torrent {id}");
    Ok(OperatorAnswer::Done(Done { id, name, info_hash_v1: None, info_hash_v2: None, note: None }))
}

#[tokio::test]
async fn a_request_reaches_the_service_and_its_answer_the_operator() {
    let mut fixture = start();
    let path = fixture.path();
    let asked = tokio::spawn(async move { ask(&path, "POST", "/v1/torrents/a%20b/stop", "").await });
    let call = soon(fixture.calls.recv()).await.unwrap();
    assert_eq!(call.request, OperatorRequest::Stop(TorrentRef("a b".to_owned())));
    assert_eq!(call.caller.pid, Some(std::process::id() as i32));
    call.reply.send(done(7)).unwrap();
    let (status, body) = soon(asked).await.unwrap();
    assert_eq!(status, 200);
    let expected = json!({"id": 7, "name": "torrent 7", "info_hash_v1": null, "info_hash_v2": null, "note": null});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    soon(fixture.server.stop()).await;
    assert!(!fixture.folder.path().join("s").exists(), "the socket goes with the server");
}

#[tokio::test]
async fn an_error_has_its_status_its_code_and_its_hint() {
    let path = start().answer(|_| Err(OperatorError::new(ErrorCode::Ambiguous, "two").hint("say more")));
    let (status, body) = ask(&path, "GET", "/v1/torrents/abcdef", "").await;
    assert_eq!(status, 409);
    let expected = json!({"error": {"code": "ambiguous", "message": "two", "hint": "say more"}});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    for (method, target, body, expected) in [
        ("GET", "/", "", 404),
        ("PUT", "/v1/stats", "", 405),
        ("POST", "/v1/torrents", "{\"folder\": 1}", 400),
        ("GET", "/v1/torrents?limit=x", "", 400),
    ] {
        let (status, body) = ask(&path, method, target, body).await;
        assert_eq!(status, expected, "{target}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn a_request_that_takes_long_holds_up_no_other() {
    let mut fixture = start();
    let path = fixture.path();
    let slow = {
        let path = path.clone();
        tokio::spawn(async move { ask(&path, "POST", "/v1/torrents/1/recheck", "").await })
    };
    let held = soon(fixture.calls.recv()).await.unwrap();
    let quick = fixture.answer(|_| done(2));
    assert_eq!(ask(&quick, "POST", "/v1/torrents/2/start", "").await.0, 200);
    held.reply.send(done(1)).unwrap();
    assert_eq!(soon(slow).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_service_that_is_gone_is_said_so() {
    let fixture = start();
    let path = fixture.path();
    let Fixture { folder: _folder, server: _server, mut calls } = fixture;
    let lost = tokio::spawn({
        let path = path.clone();
        async move { ask(&path, "GET", "/v1/stats", "").await }
    });
    // Taken, and dropped without an answer.
    drop(soon(calls.recv()).await.unwrap());
    assert_eq!(soon(lost).await.unwrap().0, 503);
    drop(calls);
    assert_eq!(ask(&path, "GET", "/v1/stats", "").await.0, 503);
}
