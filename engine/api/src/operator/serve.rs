//! The operator's server: connections of the socket, their limits, and the bodies of requests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::OperatorCall;
use super::queue::{Queue, REPLY_TIMEOUT};
use super::reply;
use super::route::{Route, Verb, route};
use super::socket::{self, OwnSocket, SocketError, SocketSettings};
use super::types::{Caller, ErrorCode, OperatorError};
use crate::server::{
    Answer, Body, Connection, Count, HttpCounters, HttpLimits, Pulse, STOP_TIMEOUT, StallGuard, Tally,
};
use crate::server::{builder, serve};

/// The largest body: a torrent of the largest size that is read (`metainfo::limits`, 64 MiB) in Base64, and some room.
const MAX_BODY_BYTES: usize = (64 << 20) / 3 * 4 + (1 << 20);
/// All bodies that are under way.
const MAX_BODIES_BYTES: usize = 256 << 20;
/// Permits of the semaphore stand for so many bytes each.
const PERMIT_BYTES: usize = 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a failed accept; out of descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What operators may take: they are few, and known.
const LIMITS: HttpLimits = HttpLimits {
    max_connections: 64,
    max_connections_per_address: usize::MAX,
    max_head_bytes: 64 * 1024,
    header_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(300),
    stall_timeout: Duration::from_secs(60),
    max_requests: u32::MAX,
    connection_life: Duration::from_secs(3600),
    trust_loopback: false,
};

/// The operator's API on its socket.
pub struct OperatorServer {
    socket: OwnSocket,
    counters: Arc<HttpCounters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl OperatorServer {
    /// Answers on the socket until stopped; requests go to `calls`, whose capacity bounds how many wait
    /// ([`WAITING_CALLS`](super::WAITING_CALLS)). Must be called on a tokio runtime, on which it stays.
    pub fn start(settings: &SocketSettings, calls: mpsc::Sender<OperatorCall>) -> Result<OperatorServer, SocketError> {
        OperatorServer::start_with(settings, Queue { calls, reply_timeout: REPLY_TIMEOUT })
    }

    pub(super) fn start_with(settings: &SocketSettings, queue: Queue) -> Result<OperatorServer, SocketError> {
        let (listener, socket) = socket::bind(settings)?;
        let listener = UnixListener::from_std(listener).map_err(|source| {
            let path = settings.path.clone();
            SocketError::System { path, action: "listen there", source }
        })?;
        let counters = Arc::new(HttpCounters::default());
        let front = Front {
            queue,
            bodies: Arc::new(Semaphore::new(MAX_BODIES_BYTES / PERMIT_BYTES)),
            tally: Tally::new(Arc::clone(&counters), None),
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::new(front), stopped));
        Ok(OperatorServer { socket, counters, stop, task })
    }

    /// Where it answers.
    pub fn path(&self) -> &Path {
        &self.socket.path
    }

    /// What it has answered and refused so far.
    pub fn counters(&self) -> Arc<HttpCounters> {
        Arc::clone(&self.counters)
    }

    /// Stops listening, lets requests under way be answered for a moment, closes all connections and removes the socket.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for OperatorServer {
    /// A server that is dropped without being stopped must not go on listening.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all connections share.
struct Front {
    queue: Queue,
    bodies: Arc<Semaphore>,
    tally: Tally,
}

async fn accept(listener: UnixListener, front: Arc<Front>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= LIMITS.max_connections => {
                    front.tally.count(Count::TooManyConnections);
                    let _ = stream.try_write(crate::server::REFUSED);
                }
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&front), stopped.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "the operator's socket: accept failed");
                    front.tally.count(Count::AcceptFailed);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIMEOUT, all_ended).await;
}

async fn connection(stream: UnixStream, front: Arc<Front>, stopped: watch::Receiver<bool>) {
    front.tally.count(Count::Connections);
    // Who asks is not known only if the connection is gone already.
    let Ok(peer) = stream.peer_cred() else { return };
    let caller = Caller { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
    let pulse = Pulse::new();
    let stream = StallGuard::new(stream, LIMITS.stall_timeout, pulse.clone(), front.tally.clone());
    let answers = Desk { front: Arc::clone(&front), caller };
    let connection = Connection { builder: &builder(&LIMITS), answers, limits: &LIMITS, pulse, tally: &front.tally };
    serve(stream, connection, stopped).await;
}

/// The front as one caller sees it.
#[derive(Clone)]
struct Desk {
    front: Arc<Front>,
    caller: Caller,
}

impl Answer for Desk {
    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let queue = &self.front.queue;
        match route(request.method(), request.uri().path(), query) {
            Ok(Route::Ready(asked)) => reply::answer(queue.ask(asked, self.caller).await),
            Ok(Route::List(listing, paging)) => reply::list(queue.clone(), self.caller, listing, paging).await,
            Ok(Route::Body(verb)) => match self.front.read(request, verb).await {
                Ok(asked) => reply::answer(queue.ask(asked, self.caller).await),
                Err(error) => reply::refusal(&error),
            },
            Err(error) => reply::refusal(&error),
        }
    }
}

impl Front {
    /// Reads a body within the limits and makes a request of it.
    async fn read(
        &self,
        request: Request<Incoming>,
        verb: Verb,
    ) -> Result<super::types::OperatorRequest, OperatorError> {
        let _room = self.room(&request)?;
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
        let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(error)) => return Err(OperatorError::new(ErrorCode::Malformed, format!("the body: {error}"))),
            Err(_) => return Err(OperatorError::new(ErrorCode::TimedOut, "the body did not come in time")),
        };
        parse(verb, body).await
    }

    /// Room for the body, as much as it says it has.
    fn room(&self, request: &Request<Incoming>) -> Result<OwnedSemaphorePermit, OperatorError> {
        let said = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let size = match said {
            Some(size) if size > MAX_BODY_BYTES => return Err(too_large()),
            Some(size) => size,
            None if request.body().is_end_stream() => 0,
            None => MAX_BODY_BYTES,
        };
        let permits = size.div_ceil(PERMIT_BYTES) as u32;
        Arc::clone(&self.bodies).try_acquire_many_owned(permits).map_err(|_| {
            OperatorError::new(ErrorCode::Busy, "too many large requests are under way").hint("try again in a moment")
        })
    }
}

/// Bodies above this are parsed where they hold up nobody.
const PARSED_AT_ONCE_BYTES: usize = 256 * 1024;

async fn parse(verb: Verb, body: Bytes) -> Result<super::types::OperatorRequest, OperatorError> {
    if body.len() <= PARSED_AT_ONCE_BYTES {
        return verb.read(&body);
    }
    let parsed = tokio::task::spawn_blocking(move || verb.read(&body)).await;
    parsed.unwrap_or_else(|error| Err(OperatorError::new(ErrorCode::Failed, error.to_string())))
}

fn too_large() -> OperatorError {
    OperatorError::new(ErrorCode::TooLarge, "the request is too large")
        .hint(format!("a body has at most {} MiB", MAX_BODY_BYTES >> 20))
}
