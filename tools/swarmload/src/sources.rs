//! From which local addresses connections come. Seeders limit connections by address, so that a load from one address
//! measures that limit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where connections are bound before they connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// To a loopback IPv4 target from 127.1.0.1 on, one connection each; to others as the system chooses.
    Auto,
    /// From these ranges, in turn.
    Ranges(Vec<Range>),
}

/// Addresses from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: IpAddr,
    count: u64,
}

/// How many addresses [`Sources::Auto`] uses at most; more connections share them. One for each is what swarms look like, and
/// Transmission takes no more.
const MAX_AUTO_ADDRESSES: usize = 16_000;

/// The most that one range spans: enough for any load from one machine.
const MAX_RANGE: u64 = 1 << 24;

impl FromStr for Sources {
    type Err = String;

    /// `auto`, or addresses and ranges such as `127.2.0.0/16` with commas between.
    fn from_str(text: &str) -> Result<Sources, String> {
        match text {
            "auto" => Ok(Sources::Auto),
            _ => text.split(',').map(range).collect::<Result<_, _>>().map(Sources::Ranges),
        }
    }
}

impl Sources {
    /// The address of the connection with this number; `None` leaves it to the system.
    pub(crate) fn of(&self, number: usize, target: SocketAddr) -> Option<IpAddr> {
        match self {
            Sources::Auto => match target.ip().to_canonical() {
                IpAddr::V4(v4) if v4.is_loopback() => {
                    let place = number % MAX_AUTO_ADDRESSES;
                    // 250 to a block of 256, so that none ends in 0 or 255.
                    let (third, fourth) = (place / 250, place % 250 + 1);
                    Some(IpAddr::V4(Ipv4Addr::new(127, 1, third as u8, fourth as u8)))
                }
                _ => None,
            },
            Sources::Ranges(ranges) => {
                let total: u64 = ranges.iter().map(|range| range.count).sum();
                let mut place = number as u64 % total.max(1);
                for range in ranges {
                    if place < range.count {
                        return Some(range.at(place));
                    }
                    place -= range.count;
                }
                None
            }
        }
    }

    /// Why these cannot reach the target, if so.
    pub(crate) fn mismatch(&self, target: SocketAddr) -> Option<String> {
        let Sources::Ranges(ranges) = self else { return None };
        let wrong = ranges.iter().find(|range| range.first.is_ipv4() != target.is_ipv4())?;
        Some(format!("--sources {} is not of the address family of {target}", wrong.first))
    }
}

impl Range {
    fn at(self, place: u64) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits().wrapping_add(place as u32))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().wrapping_add(u128::from(place)))),
        }
    }
}

/// An address, or `address/bits`. Of an IPv4 network's range its own and its broadcast address are left out.
fn range(text: &str) -> Result<Range, String> {
    let wrong = || format!("{text:?} is neither an address nor a range such as 127.2.0.0/16");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let free = width - bits.filter(|bits| *bits <= width).or(bits.is_none().then_some(width)).ok_or_else(wrong)?;
    let count = 1u64.checked_shl(free).unwrap_or(MAX_RANGE).clamp(1, MAX_RANGE);
    let first = match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() >> free.min(31) << free.min(31))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> free.min(127) << free.min(127))),
    };
    if address.is_ipv4() && count > 2 {
        return Ok(Range { first: Range { first, count }.at(1), count: count - 2 });
    }
    Ok(Range { first: if bits.is_some() { first } else { address }, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(sources: &str, target: &str, count: usize) -> Vec<String> {
        let sources: Sources = sources.parse().unwrap();
        let target = target.parse().unwrap();
        (0..count).map(|n| sources.of(n, target).map_or("any".into(), |address| address.to_string())).collect()
    }

    #[test]
    fn loopback_is_spread_and_never_on_a_network_or_broadcast_address() {
        let all = addresses("auto", "127.0.0.1:1", 16_001);
        assert_eq!((&all[0][..], &all[1][..], &all[250][..]), ("127.1.0.1", "127.1.0.2", "127.1.1.1"));
        assert_eq!((&all[15_999][..], &all[16_000][..]), ("127.1.63.250", "127.1.0.1"));
        assert!(all.iter().all(|address| !address.ends_with(".0") && !address.ends_with(".255")));
        assert_eq!(addresses("auto", "[::1]:1", 1), ["any"]);
        assert_eq!(addresses("auto", "192.0.2.1:1", 1), ["any"]);
    }

    #[test]
    fn ranges_are_walked_in_turn() {
        let all = addresses("127.2.0.9/30,127.3.0.7", "127.0.0.1:1", 4);
        assert_eq!(all, ["127.2.0.9", "127.2.0.10", "127.3.0.7", "127.2.0.9"]);
        assert_eq!(addresses("fd00::/126", "[::1]:1", 5), ["fd00::", "fd00::1", "fd00::2", "fd00::3", "fd00::"]);
        assert_eq!(addresses("127.0.0.0/8", "127.0.0.1:1", 1), ["127.0.0.1"]);
    }

    #[test]
    fn nonsense_and_another_family_are_refused() {
        for text in ["", "127.0.0.1/33", "127.0.0.1/-1", "::1/129", "a.b", "127.0.0.1,"] {
            assert!(text.parse::<Sources>().is_err(), "{text}");
        }
        let v4: Sources = "127.2.0.0/16".parse().unwrap();
        assert!(v4.mismatch("[::1]:1".parse().unwrap()).is_some());
        assert_eq!(v4.mismatch("127.0.0.1:1".parse().unwrap()), None);
    }
}
