use super::*;
use proptest::prelude::*;

fn leaf(index: u64) -> Sha256Digest {
    sha256(&index.to_be_bytes())
}

/// Every node of the padded tree, leaves first: the naive twin.
fn whole_tree(leaves: &[Sha256Digest]) -> Vec<Vec<Sha256Digest>> {
    let mut level = leaves.to_vec();
    level.resize(leaves.len().next_power_of_two(), Sha256Digest::default());
    let mut levels = vec![level];
    while levels.last().unwrap().len() > 1 {
        let above = levels.last().unwrap().chunks(2).map(|pair| parent(pair[0], pair[1])).collect();
        levels.push(above);
    }
    levels
}

fn file_length(leaf_count: u64) -> u64 {
    leaf_count * u64::from(BLOCK_SIZE) - 5
}

#[test]
fn the_tree_of_one_block_is_its_leaf() {
    assert_eq!(root_of_leaves(&[leaf(7)]), leaf(7));
    assert_eq!(root_of_leaves(&[]), Sha256Digest::default());
    assert_eq!(piece_layer_from_leaves(&[leaf(7)], 1 << 20), [leaf(7)]);
    assert_eq!(root_of_piece_layer(&[leaf(7)], 1 << 20), leaf(7));
}

#[test]
fn pads_are_trees_of_zeros() {
    let zero = Sha256Digest::default();
    assert_eq!(pad_hash(0), zero);
    assert_eq!(pad_hash(2), parent(parent(zero, zero), parent(zero, zero)));
}

#[test]
fn a_request_outside_the_tree_is_rejected_by_name() {
    let shape = TreeShape::new(file_length(100), 4 * BLOCK_SIZE);
    let good = HashRequest { pieces_root: leaf(0), base_layer: 2, index: 8, length: 8, proof_layers: 4 };
    assert_eq!(shape.needed_pieces(&good), Ok(0..0));
    let check = |request: HashRequest, error| assert_eq!(shape.needed_pieces(&request), Err(error), "{request:?}");
    check(HashRequest { base_layer: 7, ..good }, RequestError::NoSuchLayer);
    check(HashRequest { base_layer: u32::MAX, ..good }, RequestError::NoSuchLayer);
    check(HashRequest { length: 0, ..good }, RequestError::BadRange);
    check(HashRequest { index: 32, ..good }, RequestError::BadRange);
    check(HashRequest { index: u32::MAX - 7, length: 8, ..good }, RequestError::BadRange);
    check(HashRequest { index: 0, length: u32::MAX, ..good }, RequestError::BadRange);
    check(HashRequest { index: 4, ..good }, RequestError::Unaligned);
    check(HashRequest { proof_layers: 5, ..good }, RequestError::ProofTooHigh);
    check(HashRequest { proof_layers: u32::MAX, ..good }, RequestError::ProofTooHigh);
}

#[test]
fn a_request_for_leaves_names_the_pieces_that_hold_them() {
    let shape = TreeShape::new(file_length(10), 4 * BLOCK_SIZE);
    let ask = |index, length| {
        shape.needed_pieces(&HashRequest { pieces_root: leaf(0), base_layer: 0, index, length, proof_layers: 0 })
    };
    assert_eq!(ask(4, 2), Ok(1..2));
    assert_eq!(ask(0, 16), Ok(0..3));
    // Beyond the last leaf there are only pads.
    assert_eq!(ask(12, 4), Ok(3..3));
}

#[test]
fn wrong_leaves_and_foreign_roots_are_not_answered() {
    let leaves: Vec<_> = (0..10).map(leaf).collect();
    let layer = piece_layer_from_leaves(&leaves, 4 * BLOCK_SIZE);
    let tree = LayerTree::new(file_length(10), 4 * BLOCK_SIZE, &layer).unwrap();
    let request = HashRequest { pieces_root: tree.root(), base_layer: 0, index: 0, length: 4, proof_layers: 3 };
    assert_eq!(tree.answer(&request, &leaves[..3]), Err(RequestError::MissingLeaves));
    let foreign = HashRequest { pieces_root: leaf(9), ..request };
    assert_eq!(tree.answer(&foreign, &leaves[..4]), Err(RequestError::WrongFile));
    assert!(LayerTree::new(file_length(10), 4 * BLOCK_SIZE, &layer[..2]).is_none());
}

proptest! {
    #[test]
    fn roots_and_layers_agree_with_the_naive_tree(leaf_count in 1u64..300, piece_log in 0u32..6) {
        let leaves: Vec<_> = (0..leaf_count).map(leaf).collect();
        let piece_length = BLOCK_SIZE << piece_log;
        let tree = whole_tree(&leaves);
        let root = tree.last().unwrap()[0];
        prop_assert_eq!(root_of_leaves(&leaves), root);
        let layer = piece_layer_from_leaves(&leaves, piece_length);
        prop_assert_eq!(root_of_piece_layer(&layer, piece_length), root);
        prop_assert_eq!(layer.len() as u64, leaf_count.div_ceil(1 << piece_log));
        if layer.len() > 1 {
            prop_assert_eq!(&layer[..], &tree[piece_log as usize][..layer.len()]);
        }
        prop_assert_eq!(LayerTree::new(file_length(leaf_count), piece_length, &layer).unwrap().root(), root);
    }

    #[test]
    fn answers_agree_with_the_naive_tree_and_prove_themselves(
        leaf_count in 2u64..300,
        piece_log in 0u32..5,
        base_layer in 0u32..9,
        length_log in 0u32..6,
        index: prop::sample::Index,
        proof_layers in 0u32..10,
    ) {
        let leaves: Vec<_> = (0..leaf_count).map(leaf).collect();
        let piece_length = BLOCK_SIZE << piece_log;
        let naive = whole_tree(&leaves);
        let height = naive.len() as u32 - 1;
        prop_assume!(base_layer < height);
        let length_log = length_log.min(height - base_layer);
        let length = 1u32 << length_log;
        let index = index.index(1 << (height - base_layer - length_log)) as u32 * length;
        let proof_layers = proof_layers.min(height - base_layer - 1);
        let layer = piece_layer_from_leaves(&leaves, piece_length);
        let tree = LayerTree::new(file_length(leaf_count), piece_length, &layer).unwrap();
        let request = HashRequest { pieces_root: naive[height as usize][0], base_layer, index, length, proof_layers };

        let pieces = tree.shape().needed_pieces(&request).unwrap();
        let first = (pieces.start as usize) << piece_log;
        let end = ((pieces.end as usize) << piece_log).min(leaves.len());
        let needed = if pieces.is_empty() { &[][..] } else { &leaves[first..end] };
        let hashes = tree.answer(&request, needed).unwrap();

        let base = &naive[base_layer as usize][index as usize..(index + length) as usize];
        let mut expected = base.to_vec();
        for level in base_layer + length_log..=base_layer + proof_layers {
            expected.push(naive[level as usize][(index >> (level - base_layer) ^ 1) as usize]);
        }
        prop_assert_eq!(&hashes, &expected);

        let reaches_root = length_log.max(proof_layers + 1) == height - base_layer;
        prop_assert_eq!(request.verify(&tree.shape(), &hashes), reaches_root);
        let mut lie = hashes;
        let last = lie.len() - 1;
        lie[last].0[0] ^= 1;
        prop_assert!(!request.verify(&tree.shape(), &lie));
    }

    #[test]
    fn the_requests_for_a_layer_bring_all_of_it_and_prove_it(leaf_count in 1u64..6000, piece_log in 0u32..3) {
        let leaves: Vec<_> = (0..leaf_count).map(leaf).collect();
        let piece_length = BLOCK_SIZE << piece_log;
        let layer = piece_layer_from_leaves(&leaves, piece_length);
        let tree = LayerTree::new(file_length(leaf_count), piece_length, &layer).unwrap();
        let mut brought = Vec::new();
        for request in tree.shape().layer_requests(tree.root()) {
            prop_assert!(request.length >= 2 && request.length <= LAYER_RUN && request.length.is_power_of_two());
            let hashes = tree.answer(&request, &[]).unwrap();
            prop_assert!(request.verify(&tree.shape(), &hashes));
            brought.extend_from_slice(&hashes[..request.length as usize]);
        }
        if layer.len() > 1 {
            prop_assert!(brought.len() < layer.len() + LAYER_RUN as usize);
            prop_assert!(brought[layer.len()..].iter().all(|pad| *pad == pad_hash(piece_log)));
            brought.truncate(layer.len());
            prop_assert_eq!(brought, layer);
        } else {
            prop_assert!(brought.is_empty());
        }
    }

    #[test]
    fn no_request_panics(
        length: u64, piece_log in 0u32..15, base_layer: u32, index: u32, count: u32, proof_layers: u32,
        small in 0u32..70,
    ) {
        let shape = TreeShape::new(length, BLOCK_SIZE << piece_log);
        let request = HashRequest { pieces_root: leaf(0), base_layer, index, length: count, proof_layers };
        let _ = shape.needed_pieces(&request);
        let _ = shape.needed_pieces(&HashRequest { base_layer: small, length: 2, ..request });
        let _ = request.verify(&shape, &[leaf(1), leaf(2)]);
    }
}

proptest! {
    #[test]
    fn longer_pieces_have_the_layer_that_their_leaves_give(leaf_count in 1u64..300, from in 0u32..6, more in 0u32..6) {
        let leaves: Vec<_> = (0..leaf_count).map(leaf).collect();
        let (from, to) = (BLOCK_SIZE << from, BLOCK_SIZE << (from + more));
        let short = piece_layer_from_leaves(&leaves, from);
        let long = piece_layer_for_longer_pieces(&short, file_length(leaf_count), from, to);
        prop_assert_eq!(long, piece_layer_from_leaves(&leaves, to));
    }
}
