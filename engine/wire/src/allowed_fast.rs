//! Which pieces a peer may request while it is choked (BEP 6): the same for every address of its network, so that
//! many addresses do not earn many sets.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use hash::{InfoHash, sha1};

/// Pieces in a set; BEP 6 leaves the number open, implementations agree on ten or fewer.
pub const ALLOWED_FAST_COUNT: usize = 10;

/// The pieces that a peer at `address` may request while choked: at most `count`, distinct, in the order in which
/// BEP 6 generates them. A torrent with no more pieces than `count` allows all of them.
///
/// BEP 6 defines this for IPv4 (the /24 network). For IPv6 we hash the sixteen bytes of the /64 network, the least
/// that a subscriber is given (RFC 6177); an IPv4-mapped address counts as IPv4.
pub fn allowed_fast_set(
    address: IpAddr,
    info_hash: InfoHash,
    piece_count: u32,
    count: usize,
) -> ArrayVec<u32, ALLOWED_FAST_COUNT> {
    let count = count.min(ALLOWED_FAST_COUNT);
    if piece_count as usize <= count {
        return (0..piece_count).collect();
    }
    let mut seed = ArrayVec::<u8, 36>::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => seed.extend((u32::from(v4) & 0xffff_ff00).to_be_bytes()),
        IpAddr::V6(v6) => seed.extend((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
    }
    seed.extend(info_hash.0);

    let mut set = ArrayVec::new();
    let mut digest = sha1(&seed);
    // More pieces than places: new digests bring new indices until the set is full.
    while set.len() < count {
        for word in digest.0.chunks_exact(4) {
            let index = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) % piece_count;
            if set.len() < count && !set.contains(&index) {
                set.push(index);
            }
        }
        digest = sha1(&digest.0);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_set_is_the_one_that_bep_6_prints() {
        let address = "80.4.4.200".parse().unwrap();
        let nine = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(allowed_fast_set(address, InfoHash([0xaa; 20]), 1313, 7).as_slice(), &nine[..7]);
        assert_eq!(allowed_fast_set(address, InfoHash([0xaa; 20]), 1313, 9).as_slice(), &nine);
    }

    #[test]
    fn neighbours_share_a_set_and_mapped_addresses_are_v4() {
        let set = |address: &str| allowed_fast_set(address.parse().unwrap(), InfoHash([1; 20]), 1000, 10);
        assert_eq!(set("192.0.2.1"), set("192.0.2.250"));
        assert_eq!(set("192.0.2.1"), set("::ffff:192.0.2.1"));
        assert_ne!(set("192.0.2.1"), set("192.0.3.1"));
        assert_eq!(set("2001:db8::1"), set("2001:db8::ffff:1"));
        assert_ne!(set("2001:db8::1"), set("2001:db8:0:1::1"));
    }

    proptest! {
        #[test]
        fn sets_are_full_distinct_and_in_range(bits: u128, hash: [u8; 20], piece_count in 0u32..40, count in 0usize..20) {
            let set = allowed_fast_set(IpAddr::V6(bits.into()), InfoHash(hash), piece_count, count);
            prop_assert_eq!(set.len(), count.min(ALLOWED_FAST_COUNT).min(piece_count as usize));
            prop_assert!(set.iter().all(|index| *index < piece_count));
            let distinct: std::collections::HashSet<_> = set.iter().collect();
            prop_assert_eq!(distinct.len(), set.len());
        }
    }
}
