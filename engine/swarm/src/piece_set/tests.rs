use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn a_set_is_what_a_naive_set_is(piece_count in 1u32..200, steps in prop::collection::vec((any::<bool>(), 0u32..220), 0..300)) {
        let mut set = PieceSet::new(piece_count);
        let mut naive = BTreeSet::new();
        for (add, index) in steps {
            if add {
                prop_assert_eq!(set.add(index), index < piece_count && naive.insert(index));
            } else {
                prop_assert_eq!(set.take(index), naive.remove(&index));
            }
            prop_assert_eq!(set.count() as usize, naive.len());
        }
        prop_assert!(set.iter().eq(naive.iter().copied()));
        prop_assert_eq!(set.is_full(), naive.len() == piece_count as usize);
    }

    #[test]
    fn what_goes_over_the_wire_comes_back(piece_count in 1u32..200, bytes in prop::collection::vec(any::<u8>(), 25)) {
        let set = PieceSet::from_wire(piece_count, &bytes);
        let wire = set.to_wire();
        prop_assert_eq!(wire.len() as u32, piece_count.div_ceil(8));
        prop_assert_eq!(&PieceSet::from_wire(piece_count, &wire), &set);
        for index in 0..piece_count {
            prop_assert_eq!(set.has(index), bytes[(index / 8) as usize] & (0x80 >> (index % 8)) != 0);
        }
        prop_assert_eq!(set.iter().count() as u32, set.count());
    }

    #[test]
    fn sets_combine_as_naive_sets_do(
        mine in prop::collection::btree_set(0u32..150, 0..80),
        theirs in prop::collection::btree_set(0u32..150, 0..80),
        start in 0u32..150,
    ) {
        let of = |naive: &BTreeSet<u32>| {
            let mut set = PieceSet::new(150);
            naive.iter().for_each(|index| assert!(set.add(*index)));
            set
        };
        let (a, b) = (of(&mine), of(&theirs));
        prop_assert_eq!(a.intersects(&b), !mine.is_disjoint(&theirs));
        let shared: BTreeSet<u32> = mine.intersection(&theirs).copied().collect();
        prop_assert!(a.shared_from(Some(&b), start).eq(shared.range(start..).copied()));
        prop_assert!(a.shared_around(Some(&b), start).eq(shared.range(start..).chain(shared.range(..start)).copied()));
        prop_assert!(a.shared_from(None, start).eq(mine.range(start..).copied()));
        let (mut union, mut minus) = (a.clone(), a);
        union.union(&b);
        minus.minus(&b);
        prop_assert_eq!(union, of(&mine.union(&theirs).copied().collect()));
        prop_assert_eq!(minus, of(&mine.difference(&theirs).copied().collect()));
    }
}

#[test]
fn a_full_set_leaves_spare_bits_zero() {
    assert_eq!(PieceSet::full(10).to_wire(), [0xff, 0xc0]);
    assert_eq!(PieceSet::full(10).count(), 10);
    assert!(PieceSet::full(64).is_full());
    assert!(PieceSet::full(0).is_full() && PieceSet::new(0).is_empty());
}
