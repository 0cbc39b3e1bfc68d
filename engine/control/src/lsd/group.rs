//! One multicast group on one socket: joined on each network that we take connections on, sent to on each.

use super::interfaces::{Way, ways};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::UdpSocket;

/// The groups have a wider scope (BEP 14), but neighbours are on the same link.
const HOPS: u32 = 1;

pub(super) struct Group {
    pub(super) address: SocketAddr,
    socket: UdpSocket,
    /// Where we take connections in this family.
    listen: Vec<SocketAddr>,
}

impl Group {
    /// Takes a port that all who speak to the group share. Must be called on a tokio runtime.
    pub(super) fn open(address: SocketAddr, listen: &[SocketAddr]) -> io::Result<Group> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // That others on this host hear us is what both lines on loops are for; one cookie tells us from ourselves.
        match address.ip() {
            IpAddr::V4(_) => {
                socket.set_multicast_all_v4(false)?;
                socket.set_multicast_ttl_v4(HOPS)?;
                socket.set_multicast_loop_v4(true)?;
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_multicast_all_v6(false)?;
                socket.set_multicast_hops_v6(HOPS)?;
                socket.set_multicast_loop_v6(true)?;
            }
        }
        // Bound to the group's address, it gets nothing that was sent to the host alone, from wherever.
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let listen = listen.iter().copied().filter(|listen| listen.is_ipv6() == address.is_ipv6()).collect();
        Ok(Group { address, socket, listen })
    }

    /// The port to announce; `None` if nobody takes connections in this family.
    pub(super) fn port(&self) -> Option<u16> {
        self.listen.first().map(SocketAddr::port).filter(|port| *port != 0)
    }

    /// Joins the group on the networks there are by now, and gives them. One that cannot be joined, for whatever reason, may still
    /// carry what we say.
    pub(super) fn join(&self) -> io::Result<Vec<Way>> {
        let ways = ways(&self.listen, self.address.is_ipv6())?;
        let socket = SockRef::from(&self.socket);
        for way in &ways {
            let joined = match (way, self.address.ip()) {
                (Way::V4(interface), IpAddr::V4(group)) => socket.join_multicast_v4(&group, interface),
                (Way::V6(interface), IpAddr::V6(group)) => socket.join_multicast_v6(&group, *interface),
                _ => Ok(()),
            };
            if let Err(error) = joined
                && error.kind() != io::ErrorKind::AddrInUse
            {
                tracing::debug!(%error, ?way, group = %self.address, "local service discovery: cannot join");
            }
        }
        Ok(ways)
    }

    /// Says it to the group on one network.
    pub(super) fn send(&self, way: Way, datagram: &[u8]) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match way {
            Way::V4(interface) => socket.set_multicast_if_v4(&interface)?,
            Way::V6(interface) => socket.set_multicast_if_v6(interface)?,
        }
        self.socket.try_send_to(datagram, self.address).map(drop)
    }

    /// The next datagram.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }
}
