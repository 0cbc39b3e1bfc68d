//! The node's UDP socket of one family: datagrams come in batches, answers leave from the address that was asked.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams read by one system call.
const BATCH: usize = 8;
/// One buffer holds whatever the kernel may have joined of one sender's datagrams (UDP_GRO).
const BUFFER_BYTES: usize = 65_536;

/// A bound socket.
pub(super) struct DhtSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    local_addr: SocketAddr,
}

/// What went through the sockets.
#[derive(Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) unsent: u64,
}

/// Room for one batch.
pub(super) struct ReceiveBuffers {
    bytes: Vec<u8>,
}

/// Where a datagram came from, and to which of our addresses.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) from: SocketAddr,
    pub(super) local: Option<IpAddr>,
}

impl ReceiveBuffers {
    pub(super) fn new() -> ReceiveBuffers {
        ReceiveBuffers { bytes: vec![0; BATCH * BUFFER_BYTES] }
    }
}

impl DhtSocket {
    /// Binds. Must be called on a tokio runtime.
    pub(super) fn bind(address: SocketAddr) -> io::Result<DhtSocket> {
        let socket = UdpSocket::from_std(crate::udp_tracker::bind(address)?)?;
        let state = UdpSocketState::new((&socket).into())?;
        let local_addr = socket.local_addr()?;
        Ok(DhtSocket { socket, state, local_addr })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// Hands one batch of datagrams to `take`, if there is any.
    pub(super) fn receive(&self, buffers: &mut ReceiveBuffers, mut take: impl FnMut(Route, &[u8])) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BATCH];
        let count = {
            let mut slices: Vec<IoSliceMut<'_>> = buffers.bytes.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new).collect();
            let receive = || self.state.recv((&self.socket).into(), &mut slices, &mut metas);
            self.socket.try_io(Interest::READABLE, receive)?
        };
        for (meta, buffer) in metas.iter().take(count).zip(buffers.bytes.chunks(BUFFER_BYTES)) {
            let received = buffer.get(..meta.len).unwrap_or_default();
            for datagram in received.chunks(meta.stride.max(1)) {
                take(Route { from: meta.addr, local: meta.dst_ip }, datagram);
            }
        }
        Ok(())
    }

    /// Sends one datagram, from `local` if that is given. What the system does not take is lost, as it might be on the
    /// way.
    pub(super) fn send(&self, to: SocketAddr, local: Option<IpAddr>, datagram: &[u8]) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents: datagram, segment_size: None, src_ip: local };
        // Not through the runtime's readiness: it does not know a new socket's yet, and nobody waits for it here.
        self.state.try_send((&self.socket).into(), &transmit)
    }
}
