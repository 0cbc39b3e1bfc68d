//! Announces and scrapes over UDP (BEP 15): one socket for each family, answers told apart by transaction, connection
//! ids kept for as long as they may be, and questions asked again when they or their answers are lost.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hash::InfoHash;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tracker::udp::{Response, parse_response, write_announce, write_connect, write_scrape};
use tracker::{AnnounceReply, AnnounceRequest, Failure, Family, Retry, ScrapeReply};

use super::error::TransportError;

/// A client uses a connection id for a minute (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Trackers whose connection ids are kept.
const MAX_CONNECTIONS: usize = 4096;
/// The longest datagram that is read.
const RECEIVE_BYTES: usize = 65_536;

/// When a question is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpTimes {
    /// How long the first answer is waited for; doubled each time. BEP 15 says 15 s, which suits a lossy line of its
    /// day: a tracker that lives answers within one.
    pub first_wait: Duration,
    /// How often a question is asked. BEP 15 goes on for an hour; we leave that to the schedule, which has other
    /// trackers to try.
    pub attempts: u32,
}

impl Default for UdpTimes {
    fn default() -> UdpTimes {
        UdpTimes { first_wait: Duration::from_secs(4), attempts: 3 }
    }
}

/// One family's UDP announces.
pub(super) struct UdpTransport {
    family: Family,
    bind: Option<IpAddr>,
    times: UdpTimes,
    /// Opened when first needed: a host without IPv6 need not hear of it unless a tracker has it.
    socket: OnceCell<OpenSocket>,
    connections: Mutex<HashMap<SocketAddr, Connection>>,
    /// Held by whoever asks a tracker for a connection id: hundreds of announces want the same one.
    connecting: Mutex<HashMap<SocketAddr, Arc<ConnectGate>>>,
}

/// Holds when a tracker last gave no connection id: what one asker has found out, those behind it need not find out too.
type ConnectGate = tokio::sync::Mutex<Option<Instant>>;

struct OpenSocket {
    socket: Arc<UdpSocket>,
    pending: Arc<Pending>,
    receiver: JoinHandle<()>,
}

/// Who waits for which transaction, and from whom the answer must come.
type Pending = Mutex<HashMap<u32, (SocketAddr, oneshot::Sender<Response>)>>;

#[derive(Clone, Copy)]
struct Connection {
    id: u64,
    made: Instant,
}

/// No answer in time.
struct TimedOut;

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

impl UdpTransport {
    pub(super) fn new(family: Family, bind: Option<IpAddr>, times: UdpTimes) -> UdpTransport {
        UdpTransport {
            family,
            bind,
            times,
            socket: OnceCell::new(),
            connections: Mutex::default(),
            connecting: Mutex::default(),
        }
    }

    /// Announces to the tracker at `to`; `path_and_query` is its URL's (BEP 41).
    pub(super) async fn announce(
        &self,
        to: SocketAddr,
        request: &AnnounceRequest,
        path_and_query: &str,
    ) -> Result<AnnounceReply, TransportError> {
        let write = |out: &mut Vec<u8>, connection_id, transaction_id| {
            write_announce(out, connection_id, transaction_id, request, path_and_query);
        };
        match self.ask(to, write).await? {
            Response::Announce(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// Scrapes the tracker at `to`.
    pub(super) async fn scrape(&self, to: SocketAddr, info_hashes: &[InfoHash]) -> Result<ScrapeReply, TransportError> {
        let write = |out: &mut Vec<u8>, connection_id, transaction_id| {
            write_scrape(out, connection_id, transaction_id, info_hashes);
        };
        match self.ask(to, write).await? {
            Response::Scrape(swarms) => {
                Ok(ScrapeReply { swarms: info_hashes.iter().copied().zip(swarms).collect(), min_interval_s: None })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks until there is an answer, with a connection id that is fresh enough.
    async fn ask(&self, to: SocketAddr, write: impl Fn(&mut Vec<u8>, u64, u32)) -> Result<Response, TransportError> {
        let open = self.socket.get_or_try_init(|| async { OpenSocket::open(self.family, self.bind) }).await;
        let open = open.map_err(|error| TransportError::from_io("UDP socket", &error))?;
        let mut may_retry_connection = true;
        let mut is_connection_new = false;
        let mut attempt = 0;
        while attempt < self.times.attempts {
            let wait = self.times.first_wait * (1 << attempt.min(6));
            attempt += 1;
            let connection_id = match self.cached_connection(to) {
                Some(id) => id,
                None => match self.connect(open, to, wait).await? {
                    Ok((id, is_new)) => {
                        is_connection_new |= is_new;
                        id
                    }
                    Err(TimedOut) => continue,
                },
            };
            let write = |out: &mut Vec<u8>, transaction_id| write(out, connection_id, transaction_id);
            match open.exchange(to, wait, write).await? {
                // A tracker that was started again knows no old ids, and says so or says nothing.
                Ok(Response::Error(_)) if !is_connection_new && may_retry_connection => {
                    may_retry_connection = false;
                    attempt -= 1;
                    self.forget_connection(to);
                }
                Ok(response) => return Ok(response),
                Err(TimedOut) if !is_connection_new => self.forget_connection(to),
                Err(TimedOut) => {}
            }
        }
        Err(TransportError::Lost("timed out".to_owned()))
    }

    /// A connection id, and whether it was made for us. One asks for all: whoever waits behind one that hears nothing counts that
    /// as its own question, so that an announce takes as long as its attempts do, however many there are.
    async fn connect(
        &self,
        open: &OpenSocket,
        to: SocketAddr,
        wait: Duration,
    ) -> Result<Result<(u64, bool), TimedOut>, TransportError> {
        let gate = self.gate(to);
        let came = Instant::now();
        let Ok(mut unanswered) = tokio::time::timeout(wait, gate.lock()).await else { return Ok(Err(TimedOut)) };
        if let Some(id) = self.cached_connection(to) {
            return Ok(Ok((id, false)));
        }
        if unanswered.is_some_and(|at| at >= came) {
            return Ok(Err(TimedOut));
        }
        match open.exchange(to, wait, write_connect).await? {
            Ok(Response::Connect { connection_id }) => {
                self.keep_connection(to, connection_id);
                Ok(Ok((connection_id, true)))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(TimedOut) => {
                *unanswered = Some(Instant::now());
                Ok(Err(TimedOut))
            }
        }
    }

    /// What is held while a tracker is asked for a connection id.
    fn gate(&self, to: SocketAddr) -> Arc<ConnectGate> {
        let mut connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        if connecting.len() >= MAX_CONNECTIONS {
            connecting.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(connecting.entry(to).or_default())
    }

    fn cached_connection(&self, to: SocketAddr) -> Option<u64> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get(&to).filter(|connection| connection.made.elapsed() < CONNECTION_LIFE).map(|found| found.id)
    }

    fn keep_connection(&self, to: SocketAddr, id: u64) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= MAX_CONNECTIONS {
            connections.retain(|_, connection| connection.made.elapsed() < CONNECTION_LIFE);
        }
        if connections.len() < MAX_CONNECTIONS {
            connections.insert(to, Connection { id, made: Instant::now() });
        }
    }

    fn forget_connection(&self, to: SocketAddr) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
    }
}

impl OpenSocket {
    fn open(family: Family, bind: Option<IpAddr>) -> io::Result<OpenSocket> {
        let ip = bind.unwrap_or(match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        });
        let address = SocketAddr::new(ip, 0);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let pending = Arc::new(Pending::default());
        let receiver = tokio::spawn(receive(Arc::clone(&socket), Arc::clone(&pending), family));
        Ok(OpenSocket { socket, pending, receiver })
    }

    /// Sends one question and waits for its answer.
    async fn exchange(
        &self,
        to: SocketAddr,
        wait: Duration,
        write: impl Fn(&mut Vec<u8>, u32),
    ) -> Result<Result<Response, TimedOut>, TransportError> {
        // Random, so that a stranger who cannot read our traffic cannot answer it.
        let transaction_id = getrandom::u32().map_err(|error| TransportError::Lost(error.to_string()))?;
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting { pending: &self.pending, transaction_id };
        self.lock_pending().insert(transaction_id, (to, sender));
        let mut datagram = Vec::with_capacity(128);
        write(&mut datagram, transaction_id);
        let sent = self.socket.send_to(&datagram, to).await;
        sent.map_err(|error| TransportError::from_io("UDP send", &error))?;
        let answer = tokio::time::timeout(wait, receiver).await;
        drop(waiting);
        match answer {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(_)) => Err(TransportError::Lost("the UDP socket is gone".to_owned())),
            Err(_) => Ok(Err(TimedOut)),
        }
    }

    fn lock_pending(&self) -> std::sync::MutexGuard<'_, HashMap<u32, (SocketAddr, oneshot::Sender<Response>)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its transaction out of the table however the wait for it ends.
struct Waiting<'a> {
    pending: &'a Pending,
    transaction_id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.transaction_id);
    }
}

fn unexpected(response: &Response) -> TransportError {
    match response {
        Response::Error(reason) => TransportError::Refused(Failure { reason: reason.clone(), retry: Retry::Unsaid }),
        _ => TransportError::Lost("the tracker answered another question".to_owned()),
    }
}

async fn receive(socket: Arc<UdpSocket>, pending: Arc<Pending>, family: Family) {
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let (size, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error of some tracker; who waits for that one times out.
                tracing::debug!(%error, "UDP announce: receive failed");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Some(datagram) = buffer.get(..size) else { continue };
        let Ok((transaction_id, response)) = parse_response(family, datagram) else { continue };
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        // Who does not know both the transaction and the tracker's address is not heard.
        if pending.get(&transaction_id).is_some_and(|(to, _)| *to == from)
            && let Some((_, sender)) = pending.remove(&transaction_id)
        {
            let _ = sender.send(response);
        }
    }
}

#[cfg(test)]
mod tests;
