//! Address families and the packed form in which both wires carry a peer: address then port, big-endian, 6 bytes for
//! IPv4 (BEP 23) and 18 for IPv6 (BEP 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which of the two Internets an address belongs to. Swarms are kept apart by it (BEP 7, BEP 15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, for loops.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address; an IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> Family {
        match ip.to_canonical() {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bytes of one packed peer.
    pub fn packed_size(self) -> usize {
        match self {
            Family::V4 => 6,
            Family::V6 => 18,
        }
    }
}

/// Appends `ip` and `port` in packed form. The family is that of the address after unmapping.
pub fn pack_into(out: &mut Vec<u8>, ip: IpAddr, port: u16) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&pack_v4(ip, port)),
        IpAddr::V6(ip) => out.extend_from_slice(&pack_v6(ip, port)),
    }
}

/// The peers of a packed list; a last one that is cut short is dropped.
pub fn unpack(family: Family, packed: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    packed.chunks_exact(family.packed_size()).filter_map(move |peer| {
        let (port, ip) = (peer.last_chunk::<2>()?, peer.get(..peer.len() - 2)?);
        let ip: IpAddr = match family {
            Family::V4 => <[u8; 4]>::try_from(ip).ok()?.into(),
            Family::V6 => <[u8; 16]>::try_from(ip).ok()?.into(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
    })
}

pub(crate) fn pack_v4(ip: Ipv4Addr, port: u16) -> [u8; 6] {
    let mut packed = [0; 6];
    packed[..4].copy_from_slice(&ip.octets());
    packed[4..].copy_from_slice(&port.to_be_bytes());
    packed
}

pub(crate) fn pack_v6(ip: Ipv6Addr, port: u16) -> [u8; 18] {
    let mut packed = [0; 18];
    packed[..16].copy_from_slice(&ip.octets());
    packed[16..].copy_from_slice(&port.to_be_bytes());
    packed
}
