//! The UDP tracker's socket (BEP 15): datagrams come in batches, each is answered at once from the address that it was
//! sent to. What they mean is for `tracker`, who is in which swarm for the service.

mod connection_id;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::time::Instant;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracker::table::{Answer, Source};
use tracker::udp::{
    MAX_DATAGRAM_BYTES, Request, RequestError, parse_request, write_announce_response, write_connect_response,
    write_error_response, write_scrape_response,
};
use tracker::{AnnounceRequest, Family};

use self::connection_id::ConnectionIds;
use crate::tracker_service::{TrackerService, key_of_url_data};

/// Datagrams read by one system call.
const BATCH: usize = 16;
/// One buffer holds whatever the kernel may have joined of one sender's datagrams (UDP_GRO).
const BUFFER_BYTES: usize = 65_536;
/// Room in the kernel for datagrams that wait: a second's announces of a release's first minute.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Bytes of a response before its list of peers.
const ANNOUNCE_HEADER_BYTES: usize = 20;

/// A UDP tracker on one socket.
pub struct UdpTracker {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Binds the socket of a UDP tracker. An IPv6 socket takes IPv6 alone, so that both families can share a port.
pub fn bind(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // The kernel gives less where net.core.rmem_max is lower.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl UdpTracker {
    /// Answers on `socket`, unless the service is held, until stopped. Must be called on a tokio runtime.
    pub fn start(socket: StdUdpSocket, service: TrackerService) -> io::Result<UdpTracker> {
        let socket = UdpSocket::from_std(socket)?;
        let local_addr = socket.local_addr()?;
        let state = UdpSocketState::new((&socket).into())?;
        let ids = ConnectionIds::new().map_err(io::Error::other)?;
        let responder =
            Responder { service, ids, started: Instant::now(), answer: Answer::default(), response: Vec::new() };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(socket, state, responder, stopped));
        Ok(UdpTracker { local_addr, stop, task })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops and closes the socket.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn serve(socket: UdpSocket, state: UdpSocketState, mut responder: Responder, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        _ = stopped.changed() => return,
        () = responder.service.released() => {}
    }
    let mut buffers = vec![0; BATCH * BUFFER_BYTES];
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            ready = socket.readable() => {
                let result = ready.and_then(|()| read_batch(&socket, &state, &mut buffers, &mut responder));
                if let Err(error) = result
                    && error.kind() != io::ErrorKind::WouldBlock
                {
                    // An ICMP error of some earlier answer is reported here; it concerns that client alone.
                    tracing::debug!(%error, "UDP tracker: receive failed");
                }
            }
        }
        // A flood must not keep the other tasks of this thread waiting.
        tokio::task::yield_now().await;
    }
}

fn read_batch(
    socket: &UdpSocket,
    state: &UdpSocketState,
    buffers: &mut [u8],
    responder: &mut Responder,
) -> io::Result<()> {
    let mut metas = [RecvMeta::default(); BATCH];
    let count = {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new).collect();
        socket.try_io(Interest::READABLE, || state.recv(socket.into(), &mut slices, &mut metas))?
    };
    for (meta, buffer) in metas.iter().take(count).zip(buffers.chunks(BUFFER_BYTES)) {
        let received = buffer.get(..meta.len).unwrap_or_default();
        for datagram in received.chunks(meta.stride.max(1)) {
            if let Some(response) = responder.respond(datagram, meta.addr, meta.dst_ip) {
                let transmit = Transmit {
                    destination: meta.addr,
                    ecn: None,
                    contents: response,
                    segment_size: None,
                    src_ip: meta.dst_ip,
                };
                let sent = socket.try_io(Interest::WRITABLE, || state.try_send(socket.into(), &transmit));
                if sent.is_err() {
                    // A full send buffer or an unreachable client; either asks again.
                    responder.service.count_malformed("response_not_sent");
                }
            }
        }
    }
    Ok(())
}

/// Makes the response to one datagram.
struct Responder {
    service: TrackerService,
    ids: ConnectionIds,
    started: Instant,
    answer: Answer,
    response: Vec<u8>,
}

impl Responder {
    /// The response, or `None` for who is not worth one. It is never longer than what it answers by more than the peers
    /// that a checked connection id has asked for, so nobody can use it to flood another.
    fn respond(&mut self, datagram: &[u8], from: SocketAddr, local: Option<IpAddr>) -> Option<&[u8]> {
        self.response.clear();
        let source = Source { ip: from.ip(), local };
        match parse_request(datagram) {
            // To port 0 nothing can be sent.
            _ if from.port() == 0 => return None,
            Ok(Request::Connect { transaction_id }) => {
                let connection_id = self.ids.make(self.started.elapsed(), source.ip);
                write_connect_response(&mut self.response, transaction_id, connection_id);
            }
            Ok(Request::Announce { connection_id, transaction_id, announce, url_data }) => {
                if self.check(connection_id, transaction_id, source.ip) {
                    self.announce(transaction_id, &announce, source, key_of_url_data(&url_data));
                }
            }
            Ok(Request::Scrape { connection_id, transaction_id, info_hashes }) => {
                if self.check(connection_id, transaction_id, source.ip) {
                    // A scrape carries no path (BEP 41); whoever has announced with the key is known by its address.
                    match self.service.scrape(&info_hashes, source, None) {
                        Ok(swarms) => {
                            let swarms = swarms.into_iter().map(Option::unwrap_or_default);
                            write_scrape_response(&mut self.response, transaction_id, swarms);
                        }
                        Err(refusal) => {
                            write_error_response(&mut self.response, transaction_id, &refusal.to_string());
                        }
                    }
                }
            }
            Err(error) => {
                self.service.count_malformed(error.kind());
                write_error_response(&mut self.response, answerable(error, datagram)?, &error.to_string());
            }
        }
        Some(&self.response)
    }

    fn announce(&mut self, transaction_id: u32, announce: &AnnounceRequest, source: Source, key: Option<&str>) {
        let room = (MAX_DATAGRAM_BYTES - ANNOUNCE_HEADER_BYTES) / Family::of(source.ip).packed_size();
        match self.service.announce(announce, source, key, room, &mut self.answer) {
            Ok(()) => {
                let answer = &self.answer;
                write_announce_response(
                    &mut self.response,
                    transaction_id,
                    answer.interval_s,
                    answer.stats,
                    &answer.packed_peers,
                );
            }
            Err(refusal) => write_error_response(&mut self.response, transaction_id, &refusal.to_string()),
        }
    }

    /// Whether the connection id is good; writes the error response if not.
    fn check(&mut self, connection_id: u64, transaction_id: u32, ip: IpAddr) -> bool {
        let is_good = self.ids.check(self.started.elapsed(), ip, connection_id);
        if !is_good {
            self.service.count_malformed("bad_connection_id");
            write_error_response(&mut self.response, transaction_id, "unknown connection id");
        }
        is_good
    }
}

/// The transaction that an error response goes to, unless that would be longer than what it answers.
fn answerable(error: RequestError, datagram: &[u8]) -> Option<u32> {
    error.transaction_id().filter(|_| 8 + error.to_string().len() <= datagram.len())
}
