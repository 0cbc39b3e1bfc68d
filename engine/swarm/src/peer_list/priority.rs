//! Canonical peer priority (BEP 40): a number that both ends of a possible connection compute alike, so that a swarm
//! agrees on who ought to be connected with whom, and nobody can choose to be at the front of everybody's list.

use std::net::{IpAddr, SocketAddr};

/// The priority of the connection between two addresses, the higher the sooner. Both are of one family; an address is as
/// the other side sees it. Addresses of two families never meet, so that theirs is the lowest.
pub fn peer_priority(ours: SocketAddr, theirs: SocketAddr) -> u32 {
    match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (a, b) if a == b => {
            let (low, high) = (ours.port().min(theirs.port()), ours.port().max(theirs.port()));
            crc32c(&[low.to_be_bytes(), high.to_be_bytes()].concat())
        }
        // The first two bytes count in full; then one more for each that is shared.
        (IpAddr::V4(a), IpAddr::V4(b)) => masked(a.octets(), b.octets(), 2),
        (IpAddr::V6(a), IpAddr::V6(b)) => masked(a.octets(), b.octets(), 6),
        _ => 0,
    }
}

/// Of the bytes behind the first `whole`, every second bit counts, but for bytes up to the first in which the two differ.
fn masked<const SIZE: usize>(a: [u8; SIZE], b: [u8; SIZE], whole: usize) -> u32 {
    let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = if shared < whole { whole } else { shared + 1 };
    let mask = |mut address: [u8; SIZE]| {
        address.iter_mut().skip(whole).for_each(|byte| *byte &= 0x55);
        address
    };
    // The order is that of the masked addresses, as in the first example of BEP 40.
    let (a, b) = (mask(a), mask(b));
    crc32c(&[a.min(b), a.max(b)].concat())
}

/// CRC-32C (Castagnoli) a bit at a time: a few bytes, once for each address that is learned.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let add_bit = |crc: u32, _: u32| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), add_bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn priority(a: &str, b: &str) -> u32 {
        peer_priority(a.parse().unwrap(), b.parse().unwrap())
    }

    #[test]
    fn the_vectors_of_bep_40() {
        assert_eq!(priority("123.213.32.10:0", "98.76.54.32:0"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10:0", "123.213.32.234:0"), 0x9956_8189);
    }

    #[test]
    fn the_checksum_is_the_one_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn the_mask_widens_with_what_both_share() {
        let same_16 = crc32c(&[230, 12, 23, 1, 230, 12, 123, 1]);
        assert_eq!(priority("230.12.23.1:1234", "230.12.123.3:300"), same_16);
        let same_address = crc32c(&[0x01, 0x2c, 0x04, 0xd2]);
        assert_eq!(priority("230.12.123.3:1234", "230.12.123.3:300"), same_address);
        // In IPv6 by bytes behind the first six: the seventh differs, then the ninth.
        let v6 = |hex: [&[u8]; 2]| crc32c(&hex.concat());
        let apart = v6([
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0x11, 0x55, 0, 0, 0, 0, 0, 0, 0, 0x01],
            &[0x20, 1, 0x0d, 0xb8, 0, 2, 0x55, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x01],
        ]);
        assert_eq!(priority("[2001:db8:1:33ff::1]:1", "[2001:db8:2:ff33::3]:2"), apart);
        let same_48 = v6([
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0x33, 0x55, 0, 0, 0, 0, 0, 0, 0, 0x01],
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0xff, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x01],
        ]);
        assert_eq!(priority("[2001:db8:1:33ff::1]:1", "[2001:db8:1:ff33::3]:2"), same_48);
        let same_64 = v6([
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1, 0xaa, 0, 0, 0, 0, 0, 0, 0x01],
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1, 0xbb, 0, 0, 0, 0, 0, 0, 0x01],
        ]);
        assert_eq!(priority("[2001:db8:1:1:aa00::1]:1", "[2001:db8:1:1:bb00::3]:2"), same_64);
    }

    proptest! {
        #[test]
        fn both_sides_agree(a: SocketAddr, b: SocketAddr) {
            prop_assert_eq!(peer_priority(a, b), peer_priority(b, a));
        }
    }
}
