//! A network as operators write it: `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that share their first bits. IPv6 addresses that stand for IPv4 ones are those (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its bits beyond the prefix are zero.
    base: IpAddr,
    prefix_bits: u8,
}

/// It is no network. The fault is who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor one with a prefix.
    #[error("a network is an address, or an address and its first bits: 192.0.2.0/24, 2001:db8::/32")]
    Form,
    /// More bits than the family's addresses have.
    #[error("an address of this family has {most} bits")]
    Prefix {
        /// What it may have.
        most: u8,
    },
}

/// Bits before those of the IPv4 address in an IPv6 one that stands for it.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// The addresses that agree with `ip` in the first `prefix_bits` bits.
    ///
    /// # Errors
    /// [`NetworkError::Prefix`] if there are not so many.
    pub fn new(ip: IpAddr, prefix_bits: u8) -> Result<Network, NetworkError> {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix_bits > most {
            return Err(NetworkError::Prefix { most });
        }
        let (ip, prefix_bits) = match (ip.to_canonical(), prefix_bits) {
            (IpAddr::V4(v4), bits) if ip.is_ipv6() && bits >= MAPPED_BITS => (IpAddr::V4(v4), bits - MAPPED_BITS),
            (_, bits) => (ip, bits),
        };
        Ok(Network { base: masked(ip, prefix_bits), prefix_bits })
    }

    /// Whether the address is one of these.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && masked(ip, self.prefix_bits) == self.base
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let ip: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let digits = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match prefix {
            Some(bits) if digits(bits) => bits.parse().map_err(|_| match bits.is_empty() {
                true => NetworkError::Form,
                false => NetworkError::Prefix { most: whole },
            })?,
            Some(_) => return Err(NetworkError::Form),
            None => whole,
        };
        Network::new(ip, bits)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn masked(ip: IpAddr, prefix_bits: u8) -> IpAddr {
    let prefix_bits = u32::from(prefix_bits);
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix_bits).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_stands_for_another_is_that_one() {
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert!(network("192.0.2.0/24").contains(mapped));
        assert_eq!(network("::ffff:192.0.2.0/120"), network("192.0.2.0/24"));
        assert!(network("::ffff:192.0.2.0/120").contains("192.0.2.9".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("2001:db8::1".parse().unwrap()), "families are apart");
        assert!(!network("::/0").contains(mapped));
    }

    #[test]
    fn bits_beyond_the_prefix_do_not_matter() {
        assert_eq!(network("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::1/128");
        assert!(network("0.0.0.0/0").contains("203.0.113.1".parse().unwrap()));
        assert!(!network("192.0.2.1").contains("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_a_word_that_helps() {
        for text in ["", "/", "/8", "192.0.2.0/", "192.0.2.0/+8", "192.0.2.0/ 8", "192.0.2/24", "example.org"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        assert_eq!("192.0.2.0/33".parse::<Network>(), Err(NetworkError::Prefix { most: 32 }));
        assert_eq!("2001:db8::/129".parse::<Network>(), Err(NetworkError::Prefix { most: 128 }));
        assert_eq!("2001:db8::/999".parse::<Network>(), Err(NetworkError::Prefix { most: 128 }));
    }

    proptest! {
        #[test]
        fn a_network_holds_what_a_bit_by_bit_look_says(base: u128, other: u128, same in 0u32..129, bits in 0u8..129) {
            // Addresses that agree in at least the first `same` bits.
            let other = base & !other.checked_shr(same).unwrap_or(0);
            let network = Network::new(IpAddr::V6(Ipv6Addr::from_bits(base)), bits).unwrap();
            let ip = Ipv6Addr::from_bits(other);
            let naive = (0..u32::from(bits)).all(|bit| (base ^ other) >> (127 - bit) & 1 == 0);
            let are_v6 = ip.to_ipv4_mapped().is_none() && Ipv6Addr::from_bits(base).to_ipv4_mapped().is_none();
            prop_assume!(are_v6);
            prop_assert_eq!(network.contains(IpAddr::V6(ip)), naive);
        }

        #[test]
        fn no_text_is_worse_than_an_error(text in "[0-9a-f:./]{0,24}") {
            let _ = text.parse::<Network>();
        }
    }
}
