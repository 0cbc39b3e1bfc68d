//! Which addresses may be dialled at all, who may tell of which, and which count as one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Ports of services that strangers must not be made to dial: a list of "peers" there, given to a swarm, turns it against
/// a mail or name server, or has our host reported for scanning. Other ports below 1024 are dialled, since peers
/// listen on 80 and 443, among others, to get through firewalls.
const ABUSED_PORTS: [u16; 29] = [
    7, 9, 13, 17, 19, 20, 21, 22, 23, 25, 53, 69, 110, 111, 123, 135, 137, 138, 139, 143, 161, 179, 389, 445, 465, 587,
    993, 995, 3389,
];

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// This host.
    Host,
    /// Networks that others have as well: private ones, a link, a carrier's NAT.
    Local,
    /// The Internet.
    Global,
}

/// The one form under which an address is known: an IPv4 address that is mapped into IPv6 is IPv4, and only a link-local
/// address has a scope.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match (address.ip().to_canonical(), address) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
            let scope = if ip.is_unicast_link_local() { v6.scope_id() } else { 0 };
            SocketAddrV6::new(ip, v6.port(), 0, scope).into()
        }
        (ip, _) => SocketAddr::new(ip, address.port()),
    }
}

/// Whether a connection to this address can make sense. One that a person names is spared the look at its port.
pub(super) fn is_dialable(address: SocketAddr, is_named: bool) -> bool {
    let is_host = match address.ip() {
        // Class E (RFC 1112) holds the broadcast address; 0/8 is "this network" (RFC 791).
        IpAddr::V4(ip) => !ip.is_multicast() && ip.octets()[0] != 0 && ip.octets()[0] < 240,
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    };
    is_host && address.port() != 0 && (is_named || !ABUSED_PORTS.contains(&address.port()))
}

pub(super) fn scope(ip: IpAddr) -> Scope {
    let ip = ip.to_canonical();
    let is_local = match ip {
        // 100.64/10 is between carriers and their customers (RFC 6598).
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_link_local() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if ip.is_loopback() {
        Scope::Host
    } else if is_local {
        Scope::Local
    } else {
        Scope::Global
    }
}

/// Whether a peer or node at `teller` may tell us of `told`. Somebody on the Internet who names a private address means
/// another network than ours, or means harm; on our own network it is how peers find each other.
pub fn may_tell(teller: IpAddr, told: IpAddr) -> bool {
    scope(told) >= scope(teller)
}

/// The network of an address: /24, or /56 in IPv6, which is what a customer usually has.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 72)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_is_made_to_dial_what_is_no_peer() {
        for no_peer in [
            "1.2.3.4:0",
            "0.0.0.0:6881",
            "0.1.2.3:6881",
            "255.255.255.255:6881",
            "239.192.152.143:6771",
            "241.0.0.1:1",
            "1.2.3.4:25",
            "1.2.3.4:53",
            "[::]:6881",
            "[ff15::efc0:988f]:6771",
            "[2001:db8::1]:22",
        ] {
            assert!(!is_dialable(address(no_peer), false), "{no_peer}");
        }
        for peer in ["1.2.3.4:6881", "1.2.3.4:80", "1.2.3.4:443", "127.0.0.1:1025", "[2001:db8::1]:65535"] {
            assert!(is_dialable(address(peer), false), "{peer}");
        }
        assert!(is_dialable(address("10.0.0.1:25"), true));
        assert!(!is_dialable(address("10.0.0.1:0"), true));
    }

    #[test]
    fn the_abused_ports_are_sorted_and_each_is_there_once() {
        assert!(ABUSED_PORTS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn strangers_cannot_point_us_at_our_own_network() {
        let may = |teller: &str, told: &str| may_tell(teller.parse().unwrap(), told.parse().unwrap());
        assert!(!may("203.0.113.5", "192.168.0.1"));
        assert!(!may("203.0.113.5", "127.0.0.1"));
        assert!(!may("203.0.113.5", "169.254.169.254"));
        assert!(!may("2001:db8::1", "fe80::1"));
        assert!(!may("192.168.0.7", "::1"));
        assert!(!may("203.0.113.5", "::ffff:10.0.0.1"));
        assert!(may("192.168.0.7", "10.0.0.1"));
        assert!(may("127.0.0.1", "10.0.0.1"));
        assert!(may("10.0.0.1", "203.0.113.5"));
        assert!(may("203.0.113.5", "2001:db8::1"));
    }

    #[test]
    fn one_peer_has_one_form() {
        assert_eq!(canonical(address("[::ffff:1.2.3.4]:5")), address("1.2.3.4:5"));
        let scoped = |ip: &str| SocketAddr::from(SocketAddrV6::new(ip.parse().unwrap(), 5, 7, 3));
        assert_eq!(canonical(scoped("2001:db8::1")), address("[2001:db8::1]:5"));
        assert_eq!(canonical(scoped("fe80::1")), address("[fe80::1%3]:5"));
    }
}
