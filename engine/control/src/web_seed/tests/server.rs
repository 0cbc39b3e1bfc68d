//! A web server that does as it is told, and writes down what it was asked for.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use metainfo::FileLayout;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::file_content;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The path and query as they came.
    pub(super) target: String,
    pub(super) range: Option<Range<u64>>,
    /// The whole head.
    pub(super) head: String,
    /// Which connection, counted from 0.
    pub(super) connection: usize,
}

/// How one request is answered.
#[derive(Clone)]
pub(super) enum Reply {
    /// As a good server does.
    Good,
    /// As a good server does that knows no ranges.
    Whole,
    /// A status line's rest with header lines, each ended; no body.
    Status(String),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// The good answer's first bytes, then the connection is closed.
    Cut(usize),
    /// The good answer's first bytes, then nothing until the client goes.
    Stall(usize),
}

type Script = Box<dyn FnMut(&Asked) -> Reply + Send>;

struct Shared {
    files: HashMap<String, Vec<u8>>,
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
}

/// The server; gone when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves the files of a layout below `/pub/`.
    pub(super) async fn start(layout: &FileLayout, script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Server {
        Server::start_at([127, 0, 0, 1].into(), layout, script).await
    }

    pub(super) async fn start_at(
        ip: IpAddr,
        layout: &FileLayout,
        script: impl FnMut(&Asked) -> Reply + Send + 'static,
    ) -> Server {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(layout, Box::new(script));
        let mut tasks = JoinSet::new();
        let for_task = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.len();
                connections.spawn(answer_all(Arc::clone(&for_task), stream, number));
            }
        });
        Server { address, shared, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/pub/", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Shared {
    fn new(layout: &FileLayout, script: Script) -> Arc<Shared> {
        let file = |file| (format!("/pub/{}", layout.disk_path(file).display()), file_content(layout, file));
        let files = layout.file_indices().filter(|file| !layout.file(*file).is_pad()).map(file).collect();
        Arc::new(Shared { files, script: Mutex::new(script), asked: Mutex::default() })
    }
}

/// Serves one connection, for servers that make their connections themselves.
pub(super) async fn answer_over(layout: &FileLayout, stream: impl AsyncRead + AsyncWrite + Unpin) {
    answer_all(Shared::new(layout, Box::new(|_| Reply::Good)), stream, 0).await;
}

async fn answer_all(shared: Arc<Shared>, mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize) {
    let mut input = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(input.drain(..end).collect()).unwrap();
        let asked = read(head, connection);
        shared.asked.lock().unwrap().push(asked.clone());
        let reply = (*shared.script.lock().unwrap())(&asked);
        let (bytes, then_stalls, then_closes) = match reply {
            Reply::Good => (good(&shared, &asked), false, false),
            Reply::Whole => (good(&shared, &Asked { range: None, ..asked }), false, false),
            Reply::Status(lines) => (format!("HTTP/1.1 {lines}Content-Length: 0\r\n\r\n").into_bytes(), false, false),
            Reply::Raw(bytes) => (bytes, false, true),
            Reply::Cut(count) => (cut(good(&shared, &asked), count), false, true),
            Reply::Stall(count) => (cut(good(&shared, &asked), count), true, false),
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        if then_closes {
            let _ = stream.shutdown().await;
            return;
        }
        if then_stalls {
            // Until the client has enough of it.
            while stream.read_buf(&mut input).await.unwrap_or(0) > 0 {}
            return;
        }
    }
}

fn read(head: String, connection: usize) -> Asked {
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let mut fields: VecDeque<&str> = head.lines().collect();
    fields.pop_front();
    let range = fields.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let range = range.map(|range| {
        let (first, last) = range.split_once('-').unwrap();
        first.parse().unwrap()..last.parse::<u64>().unwrap() + 1
    });
    Asked { target, range, connection, head }
}

fn good(shared: &Shared, asked: &Asked) -> Vec<u8> {
    let path = percent_decode_str(asked.target.split('?').next().unwrap()).decode_utf8().unwrap();
    let Some(content) = shared.files.get(&*path) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec();
    };
    let (mut out, body) = match &asked.range {
        Some(range) => {
            let head = format!("206 Partial Content\r\nContent-Range: bytes {}-{}", range.start, range.end - 1);
            (format!("HTTP/1.1 {head}/{}\r\n", content.len()), &content[range.start as usize..range.end as usize])
        }
        None => ("HTTP/1.1 200 OK\r\n".to_owned(), &content[..]),
    };
    out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}

fn cut(mut bytes: Vec<u8>, count: usize) -> Vec<u8> {
    bytes.truncate(count);
    bytes
}
