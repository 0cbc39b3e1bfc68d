use std::sync::Arc;

use super::*;
use crate::path::{PathTable, ROOT};
use proptest::prelude::*;

fn layout(arrangement: Arrangement, piece_length: u32, files: &[(u64, bool)]) -> Result<FileLayout, LayoutError> {
    let mut table = PathTable::default();
    let nodes: Vec<u32> = (0..files.len()).map(|index| table.push(ROOT, &format!("f{index}")).unwrap()).collect();
    let table = Arc::new(table);
    let entries = nodes.iter().zip(files).map(|(node, (length, is_pad))| FileEntry {
        is_pad: *is_pad,
        ..FileEntry::new(RelativePath::new(&table, *node), *length)
    });
    FileLayout::new("name".into(), false, piece_length, arrangement, entries.collect())
}

fn extents(layout: &FileLayout, index: u32, begin: u32, size: u32) -> Vec<(Option<u32>, u64, u64)> {
    let block = layout.block(index, begin, size).unwrap();
    let flat = |extent| match extent {
        Extent::File { file, offset, size } => (Some(FileIndex::get(file)), offset, size),
        Extent::Zeros { size } => (None, 0, size),
    };
    layout.extents(block).map(flat).collect()
}

#[test]
fn a_v1_block_crosses_files_pads_and_empty_files() {
    let layout =
        layout(Arrangement::EndToEnd, 16, &[(10, false), (0, false), (6, true), (20, false), (0, false), (3, false)])
            .unwrap();
    assert_eq!((layout.piece_count(), layout.total_size(), layout.piece_space_size()), (3, 33, 39));
    assert_eq!(layout.pieces().map(|piece| layout.piece_size(piece)).collect::<Vec<_>>(), [16, 16, 7]);
    assert_eq!(extents(&layout, 0, 8, 8), [(Some(0), 8, 2), (None, 0, 6)]);
    assert_eq!(extents(&layout, 2, 0, 7), [(Some(3), 16, 4), (Some(5), 0, 3)]);
    assert_eq!(layout.disk_path(FileIndex(3)), PathBuf::from("name/f3"));
}

#[test]
fn a_v2_piece_ends_with_its_file() {
    let layout = layout(Arrangement::FileAligned, 16, &[(17, false), (0, false), (3, false)]).unwrap();
    assert_eq!((layout.piece_count(), layout.total_size(), layout.piece_space_size()), (3, 20, 35));
    assert_eq!(layout.pieces().map(|piece| layout.piece_size(piece)).collect::<Vec<_>>(), [16, 1, 3]);
    assert_eq!(layout.block(1, 0, 2), None);
    assert_eq!(extents(&layout, 1, 0, 1), [(Some(0), 16, 1)]);
    assert_eq!(extents(&layout, 2, 1, 2), [(Some(2), 1, 2)]);
    let pieces: Vec<Vec<u32>> =
        layout.file_indices().map(|file| layout.file_pieces(file).map(PieceIndex::get).collect()).collect();
    assert_eq!(pieces, [vec![0, 1], vec![], vec![2]]);
}

#[test]
fn a_block_outside_its_piece_does_not_exist() {
    let layout = layout(Arrangement::EndToEnd, 16, &[(40, false)]).unwrap();
    for (index, begin, size) in
        [(0, 0, 0), (0, 0, 17), (0, 16, 1), (0, u32::MAX, 2), (2, 0, 9), (3, 0, 1), (u32::MAX, 0, 1)]
    {
        assert_eq!(layout.block(index, begin, size), None, "{index} {begin} {size}");
    }
    assert!(layout.block(2, 7, 1).is_some());
    assert_eq!(layout.piece(3), None);
    assert_eq!(layout.file_index(1), None);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let both = [Arrangement::EndToEnd, Arrangement::FileAligned];
    for arrangement in both {
        assert_eq!(layout(arrangement, 16, &[(u64::MAX, false); 3]).unwrap_err(), LayoutError::TooLarge);
        assert_eq!(layout(arrangement, 1, &[(1 << 40, false)]).unwrap_err(), LayoutError::TooManyPieces);
        assert_eq!(
            layout(arrangement, 1 << 29, &[(1 << 52, false), (1 << 52, false)]).unwrap_err(),
            LayoutError::TooManyPieces
        );
        assert_eq!(layout(arrangement, 16, &[]).unwrap().piece_count(), 0);
    }
}

proptest! {
    #[test]
    fn extents_cover_every_byte_of_the_piece_space_once(
        aligned: bool,
        piece_length in 1u32..40,
        files in prop::collection::vec((0u64..90, prop::bool::weighted(0.2)), 1..20),
    ) {
        let arrangement = if aligned { Arrangement::FileAligned } else { Arrangement::EndToEnd };
        let layout = layout(arrangement, piece_length, &files).unwrap();
        let mut held: Vec<Vec<bool>> = files.iter().map(|(length, _)| vec![false; *length as usize]).collect();
        let mut zeros = 0;
        for piece in layout.pieces() {
            let mut position = 0u64;
            prop_assert!(layout.piece_size(piece) > 0);
            for extent in layout.extents(layout.whole_piece(piece)) {
                match extent {
                    Extent::File { file, offset, size } => {
                        let start = layout.piece_offset(piece) + position;
                        prop_assert_eq!(layout.file(file).offset() + offset, start);
                        for byte in &mut held[file.0 as usize][offset as usize..(offset + size) as usize] {
                            prop_assert!(!*byte);
                            *byte = true;
                        }
                        position += size;
                    }
                    Extent::Zeros { size } => {
                        zeros += size;
                        position += size;
                    }
                }
            }
            prop_assert_eq!(position, u64::from(layout.piece_size(piece)));
        }
        let pads: u64 = files.iter().filter(|(_, pad)| *pad).map(|(length, _)| length).sum();
        prop_assert_eq!(zeros, pads);
        for (bytes, (_, is_pad)) in held.iter().zip(&files) {
            prop_assert!(*is_pad || bytes.iter().all(|byte| *byte));
        }
    }
}
