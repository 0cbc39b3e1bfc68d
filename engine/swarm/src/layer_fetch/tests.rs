//! Wrong hashes, refusals and silence; and that one honest peer is always enough.

use super::*;
use crate::{HashAnswer, HashTrees};
use hash::sha256;
use metainfo::{BLOCK_SIZE, Builder, CreateOptions, FileHashes, NewFile, PieceHashes, Version, merkle};
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(250);

/// A v2 torrent of files of these many pieces of one block, with layers; files of equal length are equal.
fn torrent(pieces: &[u64]) -> Torrent {
    let options = CreateOptions {
        name: "release".into(),
        version: Version::V2,
        piece_length: Some(BLOCK_SIZE),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let file = |(index, count): (usize, &u64)| {
        let length = count * u64::from(BLOCK_SIZE);
        // A folder of one file is nothing that v2 could say.
        let components = if pieces.len() > 1 { vec![format!("file {index}")] } else { Vec::new() };
        NewFile { components, length, ..NewFile::default() }
    };
    let builder = Builder::new(options, pieces.iter().enumerate().map(file).collect()).unwrap();
    let layout = builder.layout();
    let files = layout.file_indices().filter(|file| layout.file(*file).length() > 0);
    let tree = |file| {
        let leaves: Vec<_> = (0..layout.file_pieces(file).len()).map(|leaf| sha256(&leaf.to_be_bytes())).collect();
        let layer = merkle::piece_layer_from_leaves(&leaves, BLOCK_SIZE);
        FileHashes { file, root: merkle::root_of_leaves(&leaves), layer }
    };
    let hashes = PieceHashes { v1: Vec::new(), v2: files.map(tree).collect() };
    Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap()
}

fn bare(torrent: &Torrent) -> Torrent {
    Torrent::from_info(torrent.info_bytes()).unwrap()
}

/// The bytes that an honest peer answers.
fn answer(trees: &mut HashTrees, torrent: &Torrent, request: &HashRequest) -> Vec<u8> {
    match trees.plan(torrent, request) {
        HashAnswer::Hashes(hashes) => hashes.iter().flat_map(|digest| digest.0).collect(),
        other => panic!("{request:?}: {other:?}"),
    }
}

fn requests(actions: &[LayerAction<u32>], of: u32) -> Vec<HashRequest> {
    let request = |action: &LayerAction<u32>| match action {
        LayerAction::Ask { peer, request } if *peer == of => Some(*request),
        _ => None,
    };
    actions.iter().filter_map(request).collect()
}

#[test]
fn what_needs_no_layers_asks_for_none() {
    assert!(LayerFetch::<u32>::new(&bare(&torrent(&[1, 1]))).is_none());
}

#[test]
fn long_layers_come_in_runs_and_equal_files_once() {
    let whole = torrent(&[1300, 3, 1300, 1]);
    let mut fetch = LayerFetch::new(&bare(&whole)).unwrap();
    let (mut out, mut trees, now) = (Vec::new(), HashTrees::default(), Duration::ZERO);
    assert!(fetch.handle_joined(now, 1, &mut out));
    let first = requests(&out, 1);
    let runs: Vec<_> = first.iter().map(|request| (request.index, request.length)).collect();
    assert_eq!(runs, [(0, 512), (512, 512), (1024, 512), (0, 4)]);
    assert_eq!(fetch.progress().hash_count, 1303);
    for request in &first {
        out.clear();
        fetch.handle_hashes(now, 1, request, &answer(&mut trees, &whole, request), &mut out);
    }
    let [LayerAction::Complete(layers)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(fetch.progress().got_count, 1303);
    let complete = bare(&whole).with_piece_layers(layers).unwrap();
    for file in whole.layout().file_indices() {
        assert_eq!(complete.piece_layer(file), whole.piece_layer(file));
    }
}

#[test]
fn a_liar_is_known_by_its_first_lie_and_another_peer_asked_at_once() {
    let whole = torrent(&[600]);
    let mut fetch = LayerFetch::new(&bare(&whole)).unwrap();
    let (mut out, mut trees, now) = (Vec::new(), HashTrees::default(), Duration::ZERO);
    fetch.handle_joined(now, 1, &mut out);
    fetch.handle_joined(now, 2, &mut out);
    let (asked, ban) = (requests(&out, 1), LayerAction::Ban { peer: 1, fault: SourceFault::WrongHashes });
    assert_eq!((asked.len(), requests(&out, 2).len()), (2, 0));
    let mut lie = answer(&mut trees, &whole, &asked[0]);
    lie[100] ^= 1;
    out.clear();
    fetch.handle_hashes(now, 1, &asked[0], &lie, &mut out);
    assert_eq!(out[0], ban);
    assert_eq!(requests(&out, 2).len(), 2);
    // An answer without its proof is one, too.
    out.clear();
    fetch.handle_joined(now, 3, &mut out);
    fetch.handle_left(now, 2, &mut out);
    let request = requests(&out, 3)[0];
    let short = answer(&mut trees, &whole, &request)[..512 * 32].to_vec();
    out.clear();
    fetch.handle_hashes(now, 3, &request, &short, &mut out);
    assert_eq!(out, [LayerAction::Ban { peer: 3, fault: SourceFault::WrongHashes }]);
}

#[test]
fn refusals_and_silence_pass_the_request_on() {
    let whole = torrent(&[600]);
    let mut fetch = LayerFetch::new(&bare(&whole)).unwrap();
    let (mut out, mut now) = (Vec::new(), Duration::ZERO);
    fetch.handle_joined(now, 1, &mut out);
    fetch.handle_joined(now, 2, &mut out);
    let asked = requests(&out, 1);
    out.clear();
    fetch.handle_reject(now, 1, &asked[0], &mut out);
    assert_eq!(requests(&out, 2), asked[..1]);
    out.clear();
    while now < Duration::from_secs(1) {
        now += TICK;
        fetch.handle_tick(now, &mut out);
    }
    assert_eq!(requests(&out, 2), asked[1..]);
}

#[test]
fn hashes_that_nobody_asked_for_are_a_flood_in_the_end() {
    let whole = torrent(&[600]);
    let mut fetch = LayerFetch::new(&bare(&whole)).unwrap();
    let (mut out, now) = (Vec::new(), Duration::ZERO);
    fetch.handle_joined(now, 1, &mut out);
    let odd = HashRequest { proof_layers: 1, ..requests(&out, 1)[0] };
    for _ in 0..300 {
        fetch.handle_hashes(now, 1, &odd, &[0; 64], &mut out);
        fetch.handle_reject(now, 1, &odd, &mut out);
    }
    assert_eq!(out.last(), Some(&LayerAction::Ban { peer: 1, fault: SourceFault::Flood }));
}

#[test]
fn many_small_files_come_at_a_pace_that_no_seed_takes_for_a_flood() {
    // No two are equal, since equal files share a layer.
    let sizes: Vec<u64> = (2..1_502).collect();
    let whole = torrent(&sizes);
    let mut fetch = LayerFetch::new(&bare(&whole)).unwrap();
    let (mut out, mut trees, mut now) = (Vec::new(), HashTrees::default(), Duration::ZERO);
    let (mut asked_at, mut is_complete) = (Vec::new(), false);
    fetch.handle_joined(now, 1, &mut out);
    while !is_complete {
        while let Some(action) = out.pop() {
            match action {
                LayerAction::Ask { request, .. } => {
                    asked_at.push(now);
                    fetch.handle_hashes(now, 1, &request, &answer(&mut trees, &whole, &request), &mut out);
                }
                LayerAction::Complete(_) => is_complete = true,
                LayerAction::Ban { fault, .. } => panic!("{fault}"),
            }
        }
        now += TICK;
        fetch.handle_tick(now, &mut out);
    }
    let most =
        asked_at.iter().map(|from| asked_at.iter().filter(|at| **at >= *from && **at < *from + 4 * TICK).count());
    assert!(most.max().unwrap() <= 1_000 && now < Duration::from_secs(4));
}

/// What a peer of the simulation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    Silent,
    Rejects,
    Lies,
    Forgetful,
}

proptest! {
    #[test]
    fn one_honest_peer_is_enough_whatever_the_others_do(
        kinds in prop::collection::vec(
            prop::sample::select(vec![Kind::Silent, Kind::Rejects, Kind::Lies, Kind::Forgetful]), 0..12),
        place: prop::sample::Index,
        files in prop::collection::vec(1u64..1500, 1..4),
        mut random: u64,
    ) {
        let mut kinds = kinds;
        kinds.insert(place.index(kinds.len() + 1), Kind::Honest);
        let whole = torrent(&files);
        let mut trees = HashTrees::default();
        let mut out = Vec::new();
        let Some(mut fetch) = LayerFetch::new(&bare(&whole)) else { return Ok(()) };
        (0..kinds.len() as u32).for_each(|peer| _ = fetch.handle_joined(Duration::ZERO, peer, &mut out));
        let (mut now, mut layers) = (Duration::ZERO, None);
        while layers.is_none() {
            prop_assert!(now < Duration::from_secs(600), "it did not end");
            for action in std::mem::take(&mut out) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match action {
                    LayerAction::Complete(all) => layers = Some(all),
                    LayerAction::Ban { peer, .. } => prop_assert_eq!(kinds[peer as usize], Kind::Lies),
                    LayerAction::Ask { peer, request } => {
                        let mut hashes = answer(&mut trees, &whole, &request);
                        match kinds[peer as usize] {
                            Kind::Silent => {}
                            Kind::Forgetful if random >> 63 == 0 => {}
                            Kind::Rejects => fetch.handle_reject(now, peer, &request, &mut out),
                            kind => {
                                let at = random as usize % hashes.len();
                                hashes[at] ^= u8::from(kind == Kind::Lies);
                                fetch.handle_hashes(now, peer, &request, &hashes, &mut out);
                            }
                        }
                    }
                }
            }
            now += TICK;
            fetch.handle_tick(now, &mut out);
        }
        let complete = bare(&whole).with_piece_layers(&layers.unwrap()).unwrap();
        for file in whole.layout().file_indices() {
            prop_assert_eq!(complete.piece_layer(file), whole.piece_layer(file));
        }
    }
}
