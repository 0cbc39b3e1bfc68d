use super::*;
use proptest::prelude::*;

fn set(piece_count: u32, indices: &[u32]) -> PieceSet {
    let mut set = PieceSet::new(piece_count);
    indices.iter().for_each(|index| assert!(set.add(*index)));
    set
}

fn all_pickable(piece_count: u32) -> Picker {
    let mut picker = Picker::new(piece_count, 1);
    (0..piece_count).for_each(|piece| picker.set_pickable(piece, true));
    picker
}

proptest! {
    #[test]
    fn no_other_piece_is_rarer_than_the_rarest(
        piece_count in 1u32..3000,
        steps in prop::collection::vec((0u8..4, 0u32..3000), 0..400),
        have in prop::collection::btree_set(0u32..3000, 0..60),
    ) {
        let mut picker = Picker::new(piece_count, 7);
        let mut naive = vec![(0u32, false); piece_count as usize];
        for (step, piece) in steps {
            let piece = piece % piece_count;
            let entry = &mut naive[piece as usize];
            match step {
                0 => (picker.set_pickable(piece, false), entry.1 = false).0,
                1 if entry.0 > 0 => (picker.remove_copy(piece), entry.0 -= 1).0,
                2 => (picker.add_copy(piece), entry.0 += 1).0,
                _ => (picker.set_pickable(piece, true), entry.1 = true).0,
            }
        }
        let have: Vec<u32> = have.into_iter().filter(|index| *index < piece_count).collect();
        let best = have.iter().filter(|index| naive[**index as usize].1).map(|index| naive[*index as usize].0).min();
        let have = set(piece_count, &have);
        let picked = picker.rarest(Some(&have));
        prop_assert_eq!(picked.map(|piece| naive[piece as usize].0), best);
        prop_assert!(picked.is_none_or(|piece| have.has(piece) && naive[piece as usize].1));
        prop_assert_eq!(picker.any(Some(&have)).is_some(), best.is_some());
        prop_assert_eq!(picker.longest_run(Some(&have)).is_some(), best.is_some());
    }
}

#[test]
fn a_peer_without_the_rarest_pieces_gets_the_rarest_that_it_has() {
    let mut picker = all_pickable(10_000);
    (5_000..10_000).for_each(|piece| picker.add_copy(piece));
    (5_000..10_000).filter(|piece| *piece != 7_777).for_each(|piece| picker.add_copy(piece));
    let have: Vec<u32> = (5_000..10_000).collect();
    assert_eq!(picker.rarest(Some(&set(10_000, &have))), Some(7_777));
}

#[test]
fn equally_rare_pieces_are_not_taken_in_order() {
    let mut picker = all_pickable(1_000);
    let mut picked: Vec<u32> = Vec::new();
    for _ in 0..100 {
        let piece = picker.rarest(None).unwrap();
        picker.set_pickable(piece, false);
        picked.push(piece);
    }
    let ascending = picked.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((20..80).contains(&ascending), "{picked:?}");
}

#[test]
fn the_window_of_a_sequential_download_ends() {
    let mut picker = all_pickable(100);
    assert_eq!(picker.first(None, 8), Some(0));
    (0..10).for_each(|piece| picker.set_pickable(piece, false));
    assert_eq!(picker.first(Some(&set(100, &[3, 17, 40])), 8), Some(17));
    assert_eq!(picker.first(Some(&set(100, &[3, 18, 40])), 8), None);
}

#[test]
fn the_longest_run_is_found_between_gaps() {
    let mut picker = all_pickable(300);
    [0, 50, 199].iter().for_each(|piece| picker.set_pickable(*piece, false));
    assert_eq!(picker.longest_run(None), Some((51, 148)));
    assert_eq!(picker.longest_run(Some(&set(300, &[10, 11, 12, 60, 61]))), Some((10, 3)));
}
