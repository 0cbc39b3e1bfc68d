//! The networks that we announce ourselves on: those on which we take connections.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The kernel lets a socket join twenty groups by default (`net.ipv4.igmp_max_memberships`). The first ones count.
const INTERFACES_LIMIT: usize = 16;

/// How one network is named to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By our address there, which the datagrams carry as their source.
    V4(Ipv4Addr),
    /// By the interface's index.
    V6(u32),
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
struct InterfaceAddress {
    index: u32,
    ip: IpAddr,
    flags: InterfaceFlags,
}

/// The networks of one family on which we take connections at `listen`.
pub(super) fn ways(listen: &[SocketAddr], is_v6: bool) -> io::Result<Vec<Way>> {
    let addresses = getifaddrs()?.filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))?;
        let index = if_nametoindex(found.interface_name.as_str()).ok()?;
        (ip.is_ipv6() == is_v6).then_some(InterfaceAddress { index, ip, flags: found.flags })
    });
    Ok(choose(addresses, listen))
}

/// An interface is used if we listen on its very address; or if we listen everywhere, and it is a network of several that
/// knows multicast. A tunnel leads to somebody else's network.
fn choose(addresses: impl Iterator<Item = InterfaceAddress>, listen: &[SocketAddr]) -> Vec<Way> {
    let (mut ways, mut seen) = (Vec::new(), Vec::new());
    for address in addresses {
        let is_named = listen.iter().any(|listen| listen.ip() == address.ip);
        let listens_everywhere =
            listen.iter().any(|listen| listen.ip().is_unspecified() && listen.is_ipv6() == address.ip.is_ipv6());
        let is_network = address.flags.contains(InterfaceFlags::IFF_MULTICAST)
            && !address.flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_POINTOPOINT);
        let is_up = address.flags.contains(InterfaceFlags::IFF_UP);
        let is_wanted = is_up && (is_named || (listens_everywhere && is_network));
        if is_wanted && !seen.contains(&address.index) && seen.len() < INTERFACES_LIMIT {
            seen.push(address.index);
            ways.push(match address.ip {
                IpAddr::V4(ip) => Way::V4(ip),
                IpAddr::V6(_) => Way::V6(address.index),
            });
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, ip: &str, flags: InterfaceFlags) -> InterfaceAddress {
        InterfaceAddress { index, ip: ip.parse().unwrap(), flags }
    }

    fn host() -> Vec<InterfaceAddress> {
        let up = InterfaceFlags::IFF_UP;
        let lan = up | InterfaceFlags::IFF_MULTICAST;
        vec![
            address(1, "127.0.0.1", up | InterfaceFlags::IFF_LOOPBACK),
            address(2, "192.168.0.7", lan),
            address(2, "192.168.0.8", lan),
            address(3, "10.8.0.2", lan | InterfaceFlags::IFF_POINTOPOINT),
            address(4, "172.16.0.1", InterfaceFlags::IFF_MULTICAST),
            address(5, "172.17.0.1", up),
        ]
    }

    fn chosen(listen: &[&str]) -> Vec<Way> {
        let listen: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
        choose(host().into_iter(), &listen)
    }

    #[test]
    fn who_listens_everywhere_announces_on_each_network_once_and_on_no_tunnel() {
        assert_eq!(chosen(&["0.0.0.0:6881"]), [Way::V4([192, 168, 0, 7].into())]);
        assert_eq!(chosen(&["[::]:6881"]), []);
    }

    #[test]
    fn who_listens_on_one_address_announces_there_alone() {
        assert_eq!(chosen(&["127.0.0.1:6881"]), [Way::V4([127, 0, 0, 1].into())]);
        assert_eq!(chosen(&["192.168.0.8:6881"]), [Way::V4([192, 168, 0, 8].into())]);
        assert_eq!(chosen(&["10.8.0.2:1", "1.2.3.4:1"]), [Way::V4([10, 8, 0, 2].into())]);
        assert_eq!(chosen(&[]), []);
    }

    #[test]
    fn there_is_a_limit_to_networks() {
        let lan = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
        let many = (0..100).map(|index| address(index, "fe80::1", lan));
        assert_eq!(choose(many, &["[::]:1".parse().unwrap()]).len(), INTERFACES_LIMIT);
    }

    #[test]
    fn this_host_has_a_loopback_of_its_own() {
        let listen = ["127.0.0.1:1".parse().unwrap()];
        assert_eq!(ways(&listen, false).unwrap(), [Way::V4(Ipv4Addr::LOCALHOST)]);
        assert_eq!(ways(&listen, true).unwrap(), []);
    }
}
