//! Addresses of nodes and peers: their families, the packed forms of BEP 5 and 32, and which are worth a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::node_id::NodeId;

/// Which of the two DHTs an address belongs to; they share nothing but datagrams (BEP 32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

    /// The other one.
    pub fn other(self) -> Family {
        match self {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        }
    }

    /// Bytes of one packed peer.
    pub fn peer_bytes(self) -> usize {
        match self {
            Family::V4 => 6,
            Family::V6 => 18,
        }
    }

    /// Bytes of one packed node.
    pub fn node_bytes(self) -> usize {
        20 + self.peer_bytes()
    }
}

/// The same address with a mapped one unmapped and without scope or flow.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Appends address and port, big-endian.
pub(crate) fn pack_peer(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// Reads what [`pack_peer`] writes; the family is told by the size.
pub(crate) fn unpack_peer(packed: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = packed.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        16 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Appends a node: its id, then its address.
pub(crate) fn pack_node(out: &mut Vec<u8>, id: NodeId, address: SocketAddr) {
    out.extend_from_slice(&id.0);
    pack_peer(out, address);
}

/// The nodes of a packed list; a last one that is cut short is dropped.
pub(crate) fn unpack_nodes(family: Family, packed: &[u8]) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
    packed.chunks_exact(family.node_bytes()).filter_map(|node| {
        let (id, address) = node.split_at_checked(20)?;
        Some((NodeId::from_bytes(id)?, unpack_peer(address)?))
    })
}

/// Whether a datagram or a connection could go there at all.
pub(crate) fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_nowhere = match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    address.port() != 0 && !is_nowhere && !ip.is_multicast()
}

/// Whether an address means something on its own network only: BEP 42 lists those of IPv4.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether `from` may tell us of `address`: nobody on the Internet knows what is on our own network.
pub(crate) fn may_tell(from: SocketAddr, address: SocketAddr) -> bool {
    is_usable(address) && (!is_local(address.ip()) || is_local(from.ip()))
}

/// The network that one operator is likely to hold: the /24 of an IPv4 address, the /48 of an IPv6 one.
pub(crate) fn subnet(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// What one host is likely to hold: an IPv4 address, the /64 of an IPv6 one.
pub(crate) fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_packed_node_is_read_back_and_a_cut_one_is_dropped() {
        for (family, text) in [(Family::V4, "192.0.2.1:6881"), (Family::V6, "[2001:db8::1]:51413")] {
            let mut packed = Vec::new();
            pack_node(&mut packed, NodeId([9; 20]), address(text));
            assert_eq!(packed.len(), family.node_bytes());
            packed.extend_from_slice(&[1; 25]);
            let nodes: Vec<_> = unpack_nodes(family, &packed).collect();
            assert_eq!(nodes, [(NodeId([9; 20]), address(text))]);
        }
    }

    #[test]
    fn a_stranger_cannot_send_us_into_our_own_network() {
        let (stranger, neighbour) = (address("8.8.8.8:1"), address("192.168.0.1:1"));
        for inside in ["127.0.0.1:80", "10.1.1.1:80", "[::1]:80", "[fe80::1]:80", "[fd00::1]:80", "169.254.1.1:80"] {
            assert!(!may_tell(stranger, address(inside)), "{inside}");
            assert!(may_tell(neighbour, address(inside)), "{inside}");
        }
        for nowhere in ["8.8.4.4:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"] {
            assert!(!may_tell(neighbour, address(nowhere)), "{nowhere}");
        }
        assert!(may_tell(stranger, address("8.8.4.4:6881")));
    }
}
