//! The HTTP server: any number of listeners, plain or TLS, each with the routes that it was given, under limits that they
//! share. What the routes answer is theirs.

mod admission;
mod body;
mod connection;
mod counters;
mod guard;
mod limits;
mod pulse;
mod routes;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use admission::Admission;
pub(crate) use body::{Body, Broken};
pub(crate) use connection::{Answer, Connection, builder, serve};
pub(crate) use counters::{Count, Tally};
pub use counters::{HttpCounters, HttpStatus};
pub(crate) use guard::StallGuard;
pub use limits::HttpLimits;
pub(crate) use pulse::Pulse;
pub use routes::Routes;
pub(crate) use routes::plain;
pub use tls::{TlsError, TlsFiles, TlsKeys};

use routes::Site;

/// Connections that the kernel keeps waiting for us: a release's first seconds.
const BACKLOG: i32 = 4096;
/// What is waited for connections to end when the server stops.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failed accept; out of descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const REFUSED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";

/// One listener of a server.
pub struct Listener {
    /// A socket of [`bind`].
    pub socket: StdTcpListener,
    /// What is answered there.
    pub routes: Routes,
    /// The certificate and key, if it speaks TLS.
    pub tls: Option<Arc<TlsKeys>>,
}

/// A running server.
pub struct Server {
    local_addrs: Vec<SocketAddr>,
    counters: Arc<HttpCounters>,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
}

/// Binds a listener. An IPv6 listener takes IPv6 alone, so that both families can share a port.
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

impl Server {
    /// Answers on all listeners until stopped. Must be called on a tokio runtime, on which it stays.
    pub fn start(listeners: Vec<Listener>, limits: HttpLimits) -> io::Result<Server> {
        let counters = Arc::new(HttpCounters::default());
        let (stop, stopped) = watch::channel(false);
        let admission = Arc::new(Admission::new(limits));
        let mut server =
            Server { local_addrs: Vec::new(), counters, stop, listeners: Vec::new(), watchers: Vec::new() };
        let mut watched: Vec<Arc<TlsKeys>> = Vec::new();
        for Listener { socket, routes, tls } in listeners {
            let socket = TcpListener::from_std(socket)?;
            server.local_addrs.push(socket.local_addr()?);
            if let Some(keys) = tls.as_ref().filter(|keys| !watched.iter().any(|known| Arc::ptr_eq(known, keys))) {
                watched.push(Arc::clone(keys));
                server.watchers.push(tokio::spawn(Arc::clone(keys).watch()));
            }
            let tally = Tally::new(Arc::clone(&server.counters), routes.tracker.clone());
            let port = Port {
                tls,
                site: Arc::new(Site::new(routes, tally.clone(), limits)),
                admission: Arc::clone(&admission),
                builder: builder(&limits),
                limits,
                tally,
            };
            server.listeners.push(tokio::spawn(Arc::new(port).accept(socket, stopped.clone())));
        }
        Ok(server)
    }

    /// Where it listens, in the order asked for.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// What it has answered and refused so far. Stays readable when it has stopped.
    pub fn counters(&self) -> Arc<HttpCounters> {
        Arc::clone(&self.counters)
    }

    /// Stops listening, lets requests under way be answered for a moment, and closes all connections.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        for listener in std::mem::take(&mut self.listeners) {
            let _ = listener.await;
        }
    }
}

impl Drop for Server {
    /// A server that is dropped without being stopped must not go on listening.
    fn drop(&mut self) {
        for task in self.listeners.iter().chain(&self.watchers) {
            task.abort();
        }
    }
}

/// What all connections of one listener share.
struct Port {
    tls: Option<Arc<TlsKeys>>,
    site: Arc<Site>,
    admission: Arc<Admission>,
    builder: hyper::server::conn::http1::Builder,
    limits: HttpLimits,
    tally: Tally,
}

impl Port {
    async fn accept(self: Arc<Self>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = stopped.changed() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => match self.admission.admit(from.ip()) {
                        Ok(slot) => {
                            let connection = Arc::clone(&self).connection(stream, from, stopped.clone());
                            connections.spawn(async move {
                                connection.await;
                                drop(slot);
                            });
                        }
                        Err(count) => self.refuse(&stream, count),
                    },
                    Err(error) => {
                        tracing::debug!(%error, "HTTP: accept failed");
                        self.tally.count(Count::AcceptFailed);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_TIMEOUT, all_ended).await;
    }

    fn refuse(&self, stream: &TcpStream, count: Count) {
        self.tally.count(count);
        // Behind TLS nobody could read it before a handshake, which is what we have no room for.
        if self.tls.is_none() {
            let _ = stream.try_write(REFUSED);
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr, mut stopped: watch::Receiver<bool>) {
        self.tally.count(Count::Connections);
        let local = stream.local_addr().ok().map(|address| address.ip());
        // One small reply at a time: nothing to gather.
        let _ = stream.set_nodelay(true);
        let pulse = Pulse::new();
        let stream = StallGuard::new(stream, self.limits.stall_timeout, pulse.clone(), self.tally.clone());
        let connection = Connection {
            builder: &self.builder,
            answers: self.site.at(from.ip(), local),
            limits: &self.limits,
            pulse,
            tally: &self.tally,
        };
        let Some(keys) = &self.tls else { return serve(stream, connection, stopped).await };
        let handshake = tokio::time::timeout(self.limits.header_timeout, keys.acceptor().accept(stream));
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            _ = stopped.changed() => return,
        };
        match handshake {
            Ok(Ok(stream)) => serve(stream, connection, stopped).await,
            Ok(Err(_)) => self.tally.count(Count::TlsFailed),
            Err(_) => self.tally.count(Count::NoRequestInTime),
        }
    }
}
