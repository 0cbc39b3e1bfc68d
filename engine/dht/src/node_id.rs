//! Node ids, which share their space with info-hashes, and the distance between two.

use std::fmt;

use hash::InfoHash;

/// The name of a node, or a place that is looked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub [u8; 20]);

/// How far two ids are apart: their XOR as a number (BEP 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Distance([u8; 20]);

impl NodeId {
    /// Bits of an id.
    pub const BITS: usize = 160;

    /// An id of exactly twenty bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<NodeId> {
        bytes.try_into().ok().map(NodeId)
    }

    /// How far `other` is.
    pub fn distance(self, other: NodeId) -> Distance {
        let mut distance = self.0;
        distance.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
        Distance(distance)
    }

    /// How many leading bits both have in common.
    pub fn shared_bits(self, other: NodeId) -> usize {
        let Distance(distance) = self.distance(other);
        match distance.iter().position(|byte| *byte != 0) {
            Some(index) => index * 8 + distance[index].leading_zeros() as usize,
            None => NodeId::BITS,
        }
    }

    /// An id with exactly `bits` leading bits in common, the rest taken from `random`.
    pub(crate) fn sibling(self, bits: usize, random: [u8; 20]) -> NodeId {
        let mut id = random;
        for bit in 0..(bits + 1).min(NodeId::BITS) {
            let (index, mask) = (bit / 8, 0x80 >> (bit % 8));
            let wanted = if bit < bits { self.0[index] } else { !self.0[index] };
            id[index] = (id[index] & !mask) | (wanted & mask);
        }
        NodeId(id)
    }
}

impl Distance {
    /// Farther than any id: where a node stands whose id is not known yet.
    pub const UNKNOWN: Distance = Distance([0xff; 20]);
}

impl From<InfoHash> for NodeId {
    fn from(info_hash: InfoHash) -> NodeId {
        NodeId(info_hash.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sibling_shares_the_bits_asked_for_and_not_one_more(
            id: [u8; 20], random: [u8; 20], bits in 0..NodeId::BITS,
        ) {
            let id = NodeId(id);
            prop_assert_eq!(id.shared_bits(id.sibling(bits, random)), bits);
        }

        #[test]
        fn who_has_more_bits_in_common_is_nearer(id: [u8; 20], a: [u8; 20], b: [u8; 20]) {
            let (id, a, b) = (NodeId(id), NodeId(a), NodeId(b));
            if id.shared_bits(a) > id.shared_bits(b) {
                prop_assert!(id.distance(a) < id.distance(b));
            }
            prop_assert_eq!(a.distance(b), b.distance(a));
        }
    }

    #[test]
    fn an_id_has_all_bits_in_common_with_itself() {
        let id = NodeId([7; 20]);
        assert_eq!(id.shared_bits(id), NodeId::BITS);
        assert_eq!(id.sibling(NodeId::BITS, [0; 20]), id);
    }
}
