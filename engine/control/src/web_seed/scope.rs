//! How far an address is from the open internet, so that a server out there cannot redirect us to what only this host or
//! its network may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads, from the widest to the narrowest. Who was addressed in one scope may redirect within it and to
/// wider ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Anywhere on the internet.
    Public,
    /// This site's own network (RFC 1918, RFC 4193), or the provider's (RFC 6598).
    Private,
    /// This host or link (a cloud's metadata service is link-local), and whatever is no one host's address.
    Host,
}

/// The scope of an address, by the special-purpose registries of IANA (RFC 6890).
pub(crate) fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => v4_scope(ip),
        IpAddr::V6(ip) => v6_scope(ip),
    }
}

fn v4_scope(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Scope::Private,
        // "This" network, loopback, link-local, protocol assignments, benchmarks, multicast and what is reserved.
        [0 | 127, ..] | [169, 254, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] | [224..=255, ..] => Scope::Host,
        // For documentation (RFC 5737): nobody's.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Scope::Host,
        _ => Scope::Public,
    }
}

fn v6_scope(ip: Ipv6Addr) -> Scope {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| v4_scope(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        // IPv4 in other clothes: mapped, NAT64 (RFC 6052) and 6to4 (RFC 3056) lead where that address leads.
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0x2002, ..) => v4(b, c),
        (0xfc00..=0xfdff, ..) | (0xfec0..=0xfeff, ..) | (0x64, 0xff9b, 1, ..) => Scope::Private,
        // Teredo (RFC 4380) is a relay into IPv4, and is gone; 2001:db8::/32 is for documentation.
        (0x2001, 0 | 0xdb8, ..) => Scope::Host,
        // Only 2000::/3 is handed out to hosts.
        (0x2000..=0x3fff, ..) => Scope::Public,
        _ => Scope::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> Scope {
        scope(ip.parse().unwrap())
    }

    #[test]
    fn what_only_this_host_reaches_is_not_public() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "::127.0.0.1",
        ] {
            assert_eq!(of(ip), Scope::Host, "{ip}");
        }
    }

    #[test]
    fn what_only_this_site_reaches_is_private() {
        for ip in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "::ffff:10.1.2.3",
            "64:ff9b::a01:203",
        ] {
            assert_eq!(of(ip), Scope::Private, "{ip}");
        }
    }

    #[test]
    fn the_open_internet_is_public() {
        for ip in [
            "1.1.1.1",
            "172.32.0.1",
            "172.15.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(of(ip), Scope::Public, "{ip}");
        }
    }
}
