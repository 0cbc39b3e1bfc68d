//! Node ids that belong to an address (BEP 42): who holds one address cannot stand next to any info-hash that they like.

use std::net::IpAddr;

use crate::address::is_local;
use crate::node_id::NodeId;

/// Which bits of an address count; who holds a larger network gets few ids more.
const V4_MASK: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
/// The same for the upper half of an IPv6 address.
const V6_MASK: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
/// The first 21 bits are those of the checksum.
const PREFIX_MASK: u32 = 0xffff_f800;
/// The Castagnoli polynomial, reflected.
const CRC32C: u32 = 0x82f6_3b78;

/// Whether a node at `ip` may have this id. On a local network anybody may have any (BEP 42).
pub fn id_fits(id: NodeId, ip: IpAddr) -> bool {
    is_local(ip) || (prefix(ip, id.0[19]) ^ leading_word(id)) & PREFIX_MASK == 0
}

/// An id for a node at `ip`; what the address does not fix is taken from `random`.
pub fn make_id(ip: IpAddr, random: [u8; 20]) -> NodeId {
    let mut id = random;
    let word = prefix(ip, random[19]) & PREFIX_MASK | leading_word(NodeId(random)) & !PREFIX_MASK;
    id[..4].copy_from_slice(&word.to_be_bytes());
    NodeId(id)
}

/// The checksum of the masked address with the low three bits of `rand` above it.
fn prefix(ip: IpAddr, rand: u8) -> u32 {
    let top = (rand & 7) << 5;
    match ip.to_canonical() {
        IpAddr::V4(ip) => masked_crc32c(ip.octets(), V4_MASK, top),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            masked_crc32c([a, b, c, d, e, f, g, h], V6_MASK, top)
        }
    }
}

fn masked_crc32c<const N: usize>(octets: [u8; N], mask: [u8; N], top: u8) -> u32 {
    let mut crc = u32::MAX;
    for (index, (octet, mask)) in octets.into_iter().zip(mask).enumerate() {
        crc ^= u32::from(octet & mask | if index == 0 { top } else { 0 });
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { CRC32C } else { 0 };
        }
    }
    !crc
}

fn leading_word(id: NodeId) -> u32 {
    id.0.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The test vectors of BEP 42: address, random byte, the first bytes of the id.
    const VECTORS: [([u8; 4], u8, [u8; 3]); 5] = [
        ([124, 31, 75, 21], 1, [0x5f, 0xbf, 0xbf]),
        ([21, 75, 31, 124], 86, [0x5a, 0x3c, 0xe9]),
        ([65, 23, 51, 170], 22, [0xa5, 0xd4, 0x32]),
        ([84, 124, 73, 14], 65, [0x1b, 0x03, 0x21]),
        ([43, 213, 53, 83], 90, [0xe5, 0x6f, 0x6c]),
    ];

    #[test]
    fn the_vectors_of_the_bep_hold() {
        for (ip, rand, start) in VECTORS {
            let ip = IpAddr::from(ip);
            let mut id = [0x55; 20];
            id[..3].copy_from_slice(&start);
            id[19] = rand;
            assert!(id_fits(NodeId(id), ip), "{ip}");
            id[0] ^= 0x80;
            assert!(!id_fits(NodeId(id), ip), "{ip}");
        }
    }

    #[test]
    fn on_a_local_network_any_id_will_do() {
        for ip in ["127.0.0.1", "10.9.8.7", "172.16.0.1", "192.168.1.1", "169.254.0.1", "::1", "fe80::1"] {
            assert!(id_fits(NodeId([1; 20]), ip.parse().unwrap()), "{ip}");
        }
        assert!(!id_fits(NodeId([1; 20]), "8.8.8.8".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn an_id_that_was_made_fits(v4: [u8; 4], v6: [u8; 16], random: [u8; 20]) {
            prop_assert!(id_fits(make_id(v4.into(), random), v4.into()));
            prop_assert!(id_fits(make_id(v6.into(), random), v6.into()));
        }
    }
}
