use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::layout::{Arrangement, FileEntry};
use crate::path::{PathTable, ROOT, RelativePath};

fn layout(piece_length: u32, files: &[(u64, bool)]) -> FileLayout {
    let mut table = PathTable::default();
    let nodes: Vec<u32> = (0..files.len()).map(|index| table.push(ROOT, &format!("f{index}")).unwrap()).collect();
    let table = Arc::new(table);
    let entries = nodes.iter().zip(files).map(|(node, (length, is_pad))| FileEntry {
        is_pad: *is_pad,
        ..FileEntry::new(RelativePath::new(&table, *node), *length)
    });
    FileLayout::new("name".into(), false, piece_length, Arrangement::EndToEnd, entries.collect()).unwrap()
}

fn numbers(set: &PieceSet) -> Vec<u32> {
    set.iter().map(PieceIndex::get).collect()
}

#[test]
fn spare_bits_of_a_bitfield_are_no_pieces() {
    let layout = layout(16, &[(16 * 10, false)]);
    let full = PieceSet::full(&layout);
    assert_eq!((full.as_bytes(), full.len()), (&[0xff, 0xc0][..], 10));
    assert_eq!(PieceSet::from_bytes(&layout, &[0xff, 0xff]).as_ref(), Some(&full));
    assert!(full.is_full() && full.contains_all(&full) && !PieceSet::empty(&layout).is_full());
    assert_eq!(PieceSet::from_bytes(&layout, &[0xff]), None);
    assert_eq!(PieceSet::from_bytes(&layout, &[0xff; 3]), None);
}

#[test]
fn a_torrent_of_empty_files_has_the_empty_set() {
    let layout = layout(16, &[(0, false)]);
    let full = PieceSet::full(&layout);
    assert!(full.is_empty() && full.is_full() && full.as_bytes().is_empty());
}

#[test]
fn a_wanted_file_needs_the_pieces_that_it_shares_and_pads_none() {
    let layout = layout(16, &[(20, false), (20, false), (0, false), (8, true), (16, false)]);
    let of = |wanted: &[bool]| numbers(&PieceSet::of_files(&layout, wanted));
    assert_eq!(of(&[true]), [0, 1]);
    assert_eq!(of(&[false, true]), [1, 2]);
    assert_eq!(of(&[false, false, true, true]), [0; 0]);
    assert_eq!(of(&[false, false, false, false, true]), [3]);
}

proptest! {
    #[test]
    fn a_set_of_bits_agrees_with_a_set_of_numbers(
        pieces in 1u32..70,
        changes in prop::collection::vec((0u32..70, any::<bool>()), 0..80),
    ) {
        let layout = layout(1, &[(u64::from(pieces), false)]);
        let (mut set, mut twin) = (PieceSet::empty(&layout), BTreeSet::new());
        for (number, adds) in changes {
            let Some(piece) = layout.piece(number) else { continue };
            if adds {
                set.insert(piece);
                twin.insert(number);
            } else {
                set.remove(piece);
                twin.remove(&number);
            }
        }
        prop_assert_eq!(numbers(&set), twin.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(set.len() as usize, twin.len());
        prop_assert_eq!(PieceSet::from_bytes(&layout, set.as_bytes()), Some(set));
    }
}
