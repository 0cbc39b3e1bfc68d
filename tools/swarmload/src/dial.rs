//! Sockets: from which address, with which options, and how a failed connect is called.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Begins a connect without waiting for it. `receive_bytes` bounds the kernel's receive buffer, for slow readers.
pub(crate) fn begin(target: SocketAddr, source: Option<IpAddr>, receive_bytes: Option<usize>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // The port is then chosen at connect: each source address has all ports of its own towards this target.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

/// A word to count a failed connect or a broken connection by.
pub(crate) fn word(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect-refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        ErrorKind::TimedOut => "timed-out",
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => "no-source-address",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::PermissionDenied => "permission-denied",
        _ => "socket",
    }
}
