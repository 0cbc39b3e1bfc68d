use metainfo::Extent;
use proptest::prelude::*;

use super::*;
use crate::web_seed::tests::{layout_of, torrent_of};

fn block(layout: &FileLayout, index: u32, begin: u32, size: u32) -> BlockRange {
    layout.block(index, begin, size).unwrap()
}

fn run_of(layout: &FileLayout, requests: &[(u32, u32, u32)]) -> Vec<Run> {
    let mut pending = Pending::default();
    for &(index, begin, size) in requests {
        pending.push(layout, block(layout, index, begin, size));
    }
    std::iter::from_fn(|| pending.take_run(layout)).collect()
}

#[test]
fn requests_in_any_order_become_one_range_over_pieces() {
    let layout = layout_of(1 << 15, &[100_000]);
    let runs = run_of(&layout, &[(1, 16384, 16384), (0, 16384, 16384), (2, 0, 1000), (1, 0, 16384)]);
    assert_eq!(runs.len(), 1);
    let file = layout.file_index(0).unwrap();
    assert_eq!(runs[0].extents, [Extent::File { file, offset: 16384, size: 50_152 }]);
    assert_eq!((runs[0].bytes, runs[0].blocks.len()), (50_152, 4));
}

#[test]
fn the_oldest_request_goes_first_and_a_gap_ends_a_run() {
    let layout = layout_of(1 << 15, &[1_000_000]);
    let runs = run_of(&layout, &[(20, 0, 16384), (3, 0, 16384), (3, 20_000, 100), (20, 16384, 16384)]);
    let starts: Vec<u32> = runs.iter().map(|run| run.blocks[0].piece().get()).collect();
    assert_eq!(starts, [20, 3, 3]);
}

#[test]
fn a_run_has_bounded_bytes_and_files() {
    let layout = layout_of(1 << 20, &[20 << 20]);
    let all: Vec<_> = (0..20).flat_map(|piece| (0..64).map(move |n| (piece, n << 14, 1 << 14))).collect();
    let runs = run_of(&layout, &all);
    assert!(runs.iter().all(|run| run.bytes == MAX_RUN_BYTES) && runs.len() == 5);
    let layout = layout_of(1 << 14, &[1000; 100]);
    let runs = run_of(&layout, &(0..6).map(|piece| (piece, 0, 1 << 14)).collect::<Vec<_>>());
    // A block of its own may touch more than that.
    assert!(runs.len() > 2 && runs.iter().all(|run| run.extents.len() <= 18));
}

#[test]
fn a_request_is_held_once_and_can_be_taken_back() {
    let layout = layout_of(1 << 15, &[100_000]);
    let (first, second) = (block(&layout, 0, 0, 16384), block(&layout, 0, 16384, 16384));
    let mut pending = Pending::default();
    assert!(pending.push(&layout, first) && !pending.push(&layout, first) && pending.push(&layout, second));
    assert_eq!((pending.len(), pending.bytes()), (2, 32768));
    assert!(pending.remove(&layout, first) && !pending.remove(&layout, first));
    assert_eq!(pending.take_run(&layout).unwrap().blocks, [second]);
    assert_eq!((pending.len(), pending.bytes(), pending.take_run(&layout)), (0, 0, None));
}

/// The bytes of the piece space that a run stands for, each as its file and place there; `None` for a pad's.
fn places(extents: impl Iterator<Item = Extent>) -> Vec<Option<(u32, u64)>> {
    extents
        .flat_map(|extent| match extent {
            Extent::File { file, offset, size } => {
                (offset..offset + size).map(|at| Some((file.get(), at))).collect::<Vec<_>>()
            }
            Extent::Zeros { size } => vec![None; size as usize],
        })
        .collect()
}

proptest! {
    #[test]
    fn every_request_is_in_one_run_and_a_run_is_its_blocks_end_to_end(
        version in crate::web_seed::tests::any_version(),
        sizes in prop::collection::vec(prop_oneof![Just(0u64), 1u64..50, 1u64..60_000], 1..12),
        wanted in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1u32..5000), 0..40),
    ) {
        let torrent = torrent_of(version, 1 << 14, &sizes);
        let layout = torrent.layout();
        let mut pending = Pending::default();
        let mut expected = Vec::new();
        for (piece, begin, size) in wanted {
            let piece = layout.piece(piece.index(layout.piece_count() as usize) as u32).unwrap();
            let piece_size = layout.piece_size(piece);
            let begin = begin.index(piece_size as usize) as u32;
            let block = layout.block(piece.get(), begin, size.min(piece_size - begin)).unwrap();
            if pending.push(layout, block) {
                expected.push(block);
            }
        }
        let mut taken = Vec::new();
        while let Some(run) = pending.take_run(layout) {
            let ends = run.blocks.iter().map(|block| key(layout, *block));
            prop_assert!(ends.clone().zip(ends.skip(1)).all(|(left, right)| end(left) == right.0));
            prop_assert_eq!(run.bytes, run.blocks.iter().map(|block| u64::from(block.size())).sum::<u64>());
            let naive: Vec<_> = run.blocks.iter().flat_map(|block| places(layout.extents(*block))).collect();
            prop_assert_eq!(places(run.extents.iter().copied()), naive);
            taken.extend(run.blocks);
        }
        let place = |block: &BlockRange| key(layout, *block);
        taken.sort_by_key(place);
        expected.sort_by_key(place);
        prop_assert_eq!(taken, expected);
        prop_assert_eq!((pending.len(), pending.bytes()), (0, 0));
    }
}
