//! `spillway ctl` as an operator runs it, against a service that is played by the test.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod requests;
mod shown;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use api::operator::types::{
    Done, ErrorCode, OperatorAnswer, OperatorError, OperatorReply, OperatorRequest, TorrentRow, TorrentState,
};
use api::operator::{OperatorServer, SocketSettings, WAITING_CALLS};

/// A service on a socket of its own. Everything ends with the test.
struct Service {
    folder: tempfile::TempDir,
    asked: mpsc::Receiver<OperatorRequest>,
    /// Dropped, it ends the service's thread.
    _alive: tokio::sync::oneshot::Sender<()>,
}

impl Service {
    /// Answers each request as told.
    fn start(mut answer: impl FnMut(&OperatorRequest) -> OperatorReply + Send + 'static) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let settings = SocketSettings::new(folder.path().join("control.sock"));
        let (tell, asked) = mpsc::channel();
        let (started, is_started) = mpsc::channel();
        let (alive, mut ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (sender, mut calls) = tokio::sync::mpsc::channel(WAITING_CALLS);
                let _server = OperatorServer::start(&settings, sender).unwrap();
                started.send(()).unwrap();
                loop {
                    let call = tokio::select! {
                        Some(call) = calls.recv() => call,
                        _ = &mut ended => return,
                    };
                    let reply = answer(&call.request);
                    let _ = tell.send(call.request);
                    let _ = call.reply.send(reply);
                }
            });
        });
        is_started.recv().unwrap();
        Service { folder, asked, _alive: alive }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ctl(&self.socket(), arguments)
    }

    /// What was asked so far.
    fn asked(&self) -> Vec<OperatorRequest> {
        self.asked.try_iter().collect()
    }
}

/// How a command ended and what it wrote.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn ctl(socket: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
    command.arg("ctl").args(arguments).env("SPILLWAY_SOCKET", socket).stdin(Stdio::null());
    ran(command.output().unwrap())
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ran {
    /// The lines that were written, if all went well.
    #[track_caller]
    fn lines(&self) -> Vec<&str> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout.lines().collect()
    }

    /// The one line that says what went wrong.
    #[track_caller]
    fn error(&self) -> &str {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{}", self.stderr);
        self.stderr.trim_end().strip_prefix("error: ").unwrap()
    }
}

fn done(id: u64) -> OperatorReply {
    let name = format!("torrent {id}");
    Ok(OperatorAnswer::Done(Done { id, name, info_hash_v1: None, info_hash_v2: None, note: None }))
}

fn refused(code: ErrorCode, message: &str, hint: &str) -> OperatorReply {
    Err(OperatorError::new(code, message).hint(hint))
}

fn row(id: u64, name: &str) -> TorrentRow {
    TorrentRow {
        id,
        name: name.to_owned(),
        info_hash_v1: Some("ab".repeat(20)),
        info_hash_v2: None,
        state: TorrentState::Seeding,
        error: None,
        size_bytes: 4_000_000_000,
        wanted_bytes: 4_000_000_000,
        verified_bytes: 4_000_000_000,
        uploaded_bytes: id * 1_000_000_000,
        downloaded_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        peer_count: 1200 * id,
        group: None,
        origin: "publish:iso".to_owned(),
        added_at_s: 0,
        completed_at_s: None,
        opens_at_s: None,
    }
}
