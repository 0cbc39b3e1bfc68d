//! The listening sockets: one per shard and address, all on one port (SO_REUSEPORT, socket(7)), so that the kernel
//! spreads the peers.

use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::SocketAddr;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Tries to find one free port for all addresses when port 0 was asked for.
const PORT_ATTEMPTS: usize = 16;

/// The sockets of all shards.
#[derive(Debug)]
pub struct Listeners {
    /// The addresses that were bound, with their real port.
    pub addresses: Vec<SocketAddr>,
    /// For each shard one listener per address.
    pub shards: Vec<Vec<OwnedFd>>,
}

impl Listeners {
    /// Binds every address once per shard. Port 0 picks a free port, the same for all addresses that ask for it.
    pub fn bind(addresses: &[SocketAddr], shard_count: usize) -> Result<Listeners, ListenError> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            match bind_all(addresses, shard_count) {
                // Another program may hold for one family the port that was free for the other.
                Err(error) if error.picked_port => last = Some(error),
                result => return result,
            }
        }
        Err(last.unwrap_or_else(|| ListenError {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source: io::ErrorKind::AddrInUse.into(),
            picked_port: true,
        }))
    }
}

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address as it was asked for.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
    /// True if the port was our choice, and another choice may succeed.
    picked_port: bool,
}

fn bind_all(addresses: &[SocketAddr], shard_count: usize) -> Result<Listeners, ListenError> {
    let mut bound = Vec::with_capacity(addresses.len());
    let mut shards: Vec<Vec<OwnedFd>> = (0..shard_count).map(|_| Vec::new()).collect();
    let mut picked = None;
    for asked in addresses {
        let picked_port = asked.port() == 0;
        let failed = |source: io::Error| ListenError { address: *asked, source, picked_port };
        let mut address = *asked;
        if picked_port {
            address.set_port(picked.unwrap_or(0));
        }
        let address = claim(address).map_err(failed)?;
        if picked_port {
            picked = Some(address.port());
        }
        for shard in &mut shards {
            let listener = bind(address, true).map_err(failed)?;
            net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
            shard.push(listener);
        }
        bound.push(address);
    }
    Ok(Listeners { addresses: bound, shards })
}

/// Finds out whether the address is free, and which port it is if we may choose. SO_REUSEPORT alone would let a
/// second engine of the same user take half of the first one's peers in silence.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = bind(address, false)?;
    net::listen(&socket, 1)?;
    Ok(SocketAddr::try_from(net::getsockname(&socket)?)?)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if address.is_ipv6() {
        // The v4 wildcard has a listener of its own, so that both can share a port number.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn all_shards_and_both_families_share_the_port_that_was_picked() {
        let asked = [loopback(0), "[::1]:0".parse().unwrap()];
        let listeners = Listeners::bind(&asked, 3).unwrap();
        assert_eq!(listeners.shards.len(), 3);
        assert!(listeners.shards.iter().all(|shard| shard.len() == 2));
        let port = listeners.addresses[0].port();
        assert_ne!(port, 0);
        assert_eq!(listeners.addresses[1].port(), port);
    }

    #[test]
    fn a_second_engine_does_not_take_half_of_the_first_ones_peers() {
        let first = Listeners::bind(&[loopback(0)], 2).unwrap();
        let error = Listeners::bind(&first.addresses, 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.addresses[0].to_string()));
    }
}
