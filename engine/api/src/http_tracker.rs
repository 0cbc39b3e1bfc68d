//! The HTTP tracker on one listener (BEP 3, 7, 23, 48): connections with their limits, and two paths. Queries and
//! replies are spelt by `tracker`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use control::tracker_service::TrackerService;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracker::http::{announce_reply, failure_reply, parse_announce, parse_scrape, scrape_reply};
use tracker::table::{Answer, Refusal, Source};
use tracker::{Failure, Retry};

/// The limits of one HTTP tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// Connections at once; one more is refused at once with status 503.
    pub max_connections: usize,
    /// How long a request may take to arrive, and a connection be idle.
    pub header_timeout: Duration,
    /// How long a connection may live, busy or not.
    pub connection_life: Duration,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            max_connections: 8192,
            header_timeout: Duration::from_secs(10),
            connection_life: Duration::from_secs(120),
        }
    }
}

/// What a request's head may take; a full scrape has 5.3 KB.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Connections that the kernel keeps waiting for us: a release's first seconds.
const BACKLOG: i32 = 4096;
/// What is waited for connections to end when the tracker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failed accept; out of descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Peers in a reply are the table's to limit; a stream has room for any number.
const NO_WIRE_LIMIT: usize = usize::MAX;
const REFUSED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";

/// An HTTP tracker on one listener.
pub struct HttpTracker {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Binds the listener of an HTTP tracker. An IPv6 listener takes IPv6 alone, so that both families can share a port.
pub fn bind(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl HttpTracker {
    /// Answers on `listener` until stopped. Must be called on a tokio runtime.
    pub fn start(listener: StdTcpListener, service: TrackerService, limits: HttpLimits) -> io::Result<HttpTracker> {
        let listener = TcpListener::from_std(listener)?;
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept_connections(listener, service, limits, stopped));
        Ok(HttpTracker { local_addr, stop, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening, lets requests under way be answered for a moment, and closes all connections.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn accept_connections(
    listener: TcpListener,
    service: TrackerService,
    limits: HttpLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let builder = Arc::new(connection_builder(&limits));
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= limits.max_connections => {
                    service.count_malformed("too_many_connections");
                    let _ = stream.try_write(REFUSED);
                }
                Ok((stream, from)) => {
                    let connection = serve_connection(
                        Arc::clone(&builder), stream, from, service.clone(), limits.connection_life, stopped.clone(),
                    );
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::debug!(%error, "HTTP tracker: accept failed");
                    service.count_malformed("accept_failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIMEOUT, all_ended).await;
}

fn connection_builder(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        // Some clients close their side as soon as they have asked.
        .half_close(true);
    builder
}

async fn serve_connection(
    builder: Arc<http1::Builder>,
    stream: TcpStream,
    from: SocketAddr,
    service: TrackerService,
    life: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let local = stream.local_addr().ok().map(|address| address.ip());
    // One small reply at a time: nothing to gather.
    let _ = stream.set_nodelay(true);
    let answers = service.clone();
    let respond = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, from.ip(), local, &answers);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), respond);
    tokio::pin!(connection);
    let is_open = tokio::select! {
        ended = connection.as_mut() => {
            if let Some(reason) = ended.err().as_ref().and_then(fault) {
                service.count_malformed(reason);
            }
            false
        }
        () = tokio::time::sleep(life) => true,
        _ = stopped.changed() => true,
    };
    if is_open {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(STOP_TIMEOUT, connection).await;
    }
}

/// What a client did that ended its connection, as it is counted. Most ends, resets among them, are no fault.
fn fault(error: &hyper::Error) -> Option<&'static str> {
    match error {
        error if error.is_parse_too_large() => Some("head_too_long"),
        error if error.is_parse() => Some("not_http"),
        error if error.is_timeout() => Some("no_request_in_time"),
        _ => None,
    }
}

fn respond(
    request: &Request<Incoming>,
    ip: IpAddr,
    local: Option<IpAddr>,
    service: &TrackerService,
) -> Response<Full<Bytes>> {
    let source = match forwarded(request, ip) {
        // The address at which a proxy reached us is of no use to its client.
        Some(ip) => Source { ip, local: None },
        None => Source { ip, local },
    };
    let query = request.uri().query().unwrap_or_default().as_bytes();
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/announce") => bencoded(announce(query, source, service)),
        (&Method::GET | &Method::HEAD, "/scrape") => bencoded(scrape(query, source, service)),
        (&Method::GET | &Method::HEAD, _) => {
            plain(StatusCode::NOT_FOUND, "This is a BitTorrent tracker: /announce and /scrape\n")
        }
        _ => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET\n");
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            response
        }
    }
}

/// The address that a reverse proxy on this host asks for: what it appended to `X-Forwarded-For` itself. From anywhere
/// else the header is anybody's claim.
fn forwarded<B>(request: &Request<B>, from: IpAddr) -> Option<IpAddr> {
    if !from.is_loopback() {
        return None;
    }
    let last = request.headers().get_all("x-forwarded-for").into_iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn announce(query: &[u8], source: Source, service: &TrackerService) -> Vec<u8> {
    let request = match parse_announce(query) {
        Ok(request) => request,
        Err(error) => return malformed(service, error.kind(), &error.to_string()),
    };
    let mut answer = Answer::default();
    match service.announce(&request, source, NO_WIRE_LIMIT, &mut answer) {
        Ok(()) => announce_reply(&answer, request.compact),
        Err(refusal) => refused(refusal),
    }
}

fn scrape(query: &[u8], source: Source, service: &TrackerService) -> Vec<u8> {
    let info_hashes = match parse_scrape(query) {
        Ok(info_hashes) => info_hashes,
        Err(error) => return malformed(service, error.kind(), &error.to_string()),
    };
    match service.scrape(&info_hashes, source) {
        Ok(stats) => {
            let known = info_hashes.into_iter().zip(stats).filter_map(|(info_hash, stats)| Some((info_hash, stats?)));
            scrape_reply(&known.collect::<Vec<_>>())
        }
        Err(refusal) => refused(refusal),
    }
}

fn malformed(service: &TrackerService, kind: &'static str, reason: &str) -> Vec<u8> {
    service.count_malformed(kind);
    failure_reply(&Failure { reason: reason.to_owned(), retry: Retry::Unsaid })
}

fn refused(refusal: Refusal) -> Vec<u8> {
    let retry = match refusal {
        // It may be published in a moment.
        Refusal::NotAllowed => Retry::Unsaid,
        Refusal::TorrentsFull => Retry::AfterMinutes(30),
        Refusal::TooManyRequests => Retry::AfterMinutes(1),
    };
    failure_reply(&Failure { reason: refusal.to_string(), retry })
}

/// A tracker's reply has status 200 even if it is a refusal: clients read no body of any other.
fn bencoded(body: Vec<u8>) -> Response<Full<Bytes>> {
    plain(StatusCode::OK, body)
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded_from(from: &str, headers: &[&str]) -> Option<IpAddr> {
        let mut request = Request::builder();
        for header in headers {
            request = request.header("X-Forwarded-For", *header);
        }
        forwarded(&request.body(()).unwrap(), from.parse().unwrap())
    }

    #[test]
    fn only_a_proxy_of_this_host_speaks_for_others_and_only_its_own_word_counts() {
        let real = Some("192.0.2.7".parse().unwrap());
        assert_eq!(forwarded_from("127.0.0.1", &["192.0.2.7"]), real);
        assert_eq!(forwarded_from("::1", &["10.0.0.1, ::ffff:192.0.2.7"]), real, "the first is the client's claim");
        assert_eq!(forwarded_from("127.0.0.1", &["10.0.0.1", "192.0.2.7"]), real);
        assert_eq!(forwarded_from("198.51.100.1", &["192.0.2.7"]), None);
        assert_eq!(forwarded_from("127.0.0.1", &["unknown"]), None);
        assert_eq!(forwarded_from("127.0.0.1", &[]), None);
    }
}
