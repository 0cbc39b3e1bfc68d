use super::limits::*;
use super::*;
use crate::session::Availability;

use metainfo::{Builder, CreateOptions, FileHashes, NewFile, PieceHashes, merkle};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

mod faults;
mod random;
mod scale;

pub(super) const PIECE_BYTES: u32 = 8 * BLOCK_SIZE;

/// A v1 torrent of so many bytes.
pub(super) fn torrent_of(size: u64, piece_bytes: u32) -> Arc<Torrent> {
    let pieces = size.div_ceil(u64::from(piece_bytes)) as usize;
    let head = format!("d6:lengthi{size}e4:name4:file12:piece lengthi{piece_bytes}e6:pieces{}:", pieces * 20);
    let mut info = head.into_bytes();
    info.resize(info.len() + pieces * 20, b'h');
    info.push(b'e');
    Arc::new(Torrent::from_info(&info).unwrap())
}

/// A hybrid of so many pieces, whose hashes nobody looks at.
pub(super) fn hybrid_torrent(pieces: u32) -> Arc<Torrent> {
    let options = CreateOptions {
        name: "file".into(),
        version: metainfo::Version::Hybrid,
        piece_length: Some(PIECE_BYTES),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let file = NewFile { length: u64::from(pieces) * u64::from(PIECE_BYTES), ..NewFile::default() };
    let builder = Builder::new(options, vec![file]).unwrap();
    let leaves = vec![hash::Sha256Digest([7; 32]); (pieces * PIECE_BYTES / BLOCK_SIZE) as usize];
    let layer = merkle::piece_layer_from_leaves(&leaves, PIECE_BYTES);
    let root = merkle::root_of_piece_layer(&layer, PIECE_BYTES);
    let file = builder.layout().file_index(0).unwrap();
    let v1 = vec![hash::Sha1Digest([7; 20]); pieces as usize];
    let hashes = PieceHashes { v1, v2: vec![FileHashes { file, root, layer }] };
    Arc::new(Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap())
}

pub(super) fn traits(id: &[u8; 20], fast: bool, peer: u32) -> PeerTraits {
    let address = SocketAddr::from(([10, 0, (peer >> 8) as u8, peer as u8], 6881));
    PeerTraits { address, peer_id: wire::PeerId(*id), fast, v2: false, is_web_seed: false }
}

/// A download and what its peers were told.
pub(super) struct Fixture {
    pub(super) download: Download<u32>,
    pub(super) torrent: Arc<Torrent>,
    pub(super) now: Duration,
    /// What each peer was asked for and has neither sent nor been told to forget.
    pub(super) asked: BTreeMap<u32, Vec<BlockRange>>,
    pub(super) actions: Vec<DownloadAction<u32>>,
    pub(super) whole: Vec<PieceIndex>,
}

impl Fixture {
    pub(super) fn new(pieces: u32) -> Fixture {
        Fixture::of(torrent_of(u64::from(pieces) * u64::from(PIECE_BYTES), PIECE_BYTES), false)
    }

    pub(super) fn of(torrent: Arc<Torrent>, sequential: bool) -> Fixture {
        let piece_count = torrent.layout().piece_count();
        let selection = Selection { wanted: PieceSet::full(piece_count), sequential };
        let download = Download::new(Arc::clone(&torrent), PieceSet::new(piece_count), selection, 3);
        Fixture {
            download,
            torrent,
            now: Duration::from_secs(1),
            asked: BTreeMap::new(),
            actions: Vec::new(),
            whole: Vec::new(),
        }
    }

    pub(super) fn piece(&self, index: u32) -> PieceIndex {
        self.torrent.layout().piece(index).unwrap()
    }

    pub(super) fn join(&mut self, peer: u32, fast: bool) {
        self.download.handle_joined(self.now, peer, &traits(b"-SW0100-abcdefghijkl", fast, peer));
        self.asked.insert(peer, Vec::new());
    }

    /// A peer that has everything and answers.
    pub(super) fn seed(&mut self, peer: u32) {
        self.join(peer, true);
        let mut all = Availability::new(self.torrent.layout().piece_count());
        all.set_all();
        self.download.handle_listed(peer, &all);
        self.download.handle_unchoked(self.now, peer);
        self.settle();
    }

    /// A peer that has some pieces and answers.
    pub(super) fn leech(&mut self, peer: u32, pieces: impl IntoIterator<Item = u32>) {
        self.join(peer, true);
        for index in pieces {
            self.download.handle_have(peer, self.piece(index));
        }
        self.download.handle_unchoked(self.now, peer);
        self.settle();
    }

    pub(super) fn gone(&mut self, peer: u32) {
        self.download.handle_gone(self.now, peer);
        self.asked.remove(&peer);
        self.settle();
    }

    /// Takes the actions, and sends requests wherever there is room.
    pub(super) fn settle(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.download.poll_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    DownloadAction::Wanted { peer } => {
                        let mut out = Vec::new();
                        self.download.poll_requests(self.now, peer, &mut out);
                        self.asked.get_mut(&peer).unwrap().extend(out);
                    }
                    DownloadAction::Cancel { peer, block } => {
                        self.asked.get_mut(&peer).unwrap().retain(|asked| *asked != block);
                    }
                    other => self.actions.push(other),
                }
            }
        }
    }

    /// The peer sends the block that it was asked for first. `None` if there is none.
    pub(super) fn send(&mut self, peer: u32) -> Option<(BlockRange, Arrival)> {
        let asked = self.asked.get_mut(&peer)?;
        let block = (!asked.is_empty()).then(|| asked.remove(0))?;
        let arrival = self.send_block(peer, block);
        self.settle();
        Some((block, arrival))
    }

    pub(super) fn send_block(&mut self, peer: u32, block: BlockRange) -> Arrival {
        let (index, begin) = (block.piece().get(), block.begin());
        match self.download.handle_piece_header(self.now, peer, index, begin, block.size()) {
            Incoming::Discard => Arrival::Unwanted,
            Incoming::Take(taken) => {
                assert_eq!(taken, block);
                let arrival = self.download.handle_block(self.now, peer, block);
                if let Arrival::PieceWhole(piece) = arrival {
                    self.whole.push(piece);
                }
                arrival
            }
        }
    }

    /// All whole pieces are good.
    pub(super) fn verify_all(&mut self) {
        for piece in std::mem::take(&mut self.whole) {
            self.download.handle_verified(self.now, piece, PieceVerdict::Good { fingerprints: &[] });
        }
        self.settle();
    }

    pub(super) fn tick(&mut self, time: Duration) {
        self.now += time;
        self.download.handle_tick(self.now);
        self.settle();
    }

    /// Everybody answers until nothing is left to answer.
    pub(super) fn run(&mut self) {
        loop {
            let peers: Vec<u32> = self.asked.keys().copied().collect();
            let sent = peers.into_iter().filter(|peer| self.send(*peer).is_some()).count();
            self.verify_all();
            if sent == 0 {
                break;
            }
        }
    }

    pub(super) fn asked_pieces(&self, peer: u32) -> HashSet<u32> {
        self.asked[&peer].iter().map(|block| block.piece().get()).collect()
    }
}

#[test]
fn one_seed_is_enough() {
    let mut fixture = Fixture::of(torrent_of(1_000_000, PIECE_BYTES), false);
    fixture.seed(1);
    assert!(fixture.actions.contains(&DownloadAction::Interested { peer: 1 }));
    fixture.run();
    assert!(fixture.download.is_complete());
    assert!(fixture.actions.contains(&DownloadAction::NotInterested { peer: 1 }));
    let progress = fixture.download.progress();
    assert_eq!((progress.received_bytes, progress.wasted_bytes, progress.missing_bytes), (1_000_000, 0, 0));
    assert_eq!(progress.requested_blocks, 62);
}

#[test]
fn a_choked_peer_is_asked_for_nothing_but_what_it_allows() {
    let mut fixture = Fixture::new(20);
    fixture.join(1, true);
    (0..20).for_each(|index| fixture.download.handle_have(1, fixture.torrent.layout().piece(index).unwrap()));
    fixture.settle();
    assert!(fixture.asked[&1].is_empty());
    fixture.download.handle_allowed_fast(1, fixture.piece(7));
    fixture.settle();
    assert_eq!(fixture.asked_pieces(1), HashSet::from([7]));
}

#[test]
fn a_choke_of_a_peer_without_rejects_voids_its_requests() {
    let mut fixture = Fixture::new(20);
    fixture.join(1, false);
    (0..20).for_each(|index| fixture.download.handle_have(1, fixture.torrent.layout().piece(index).unwrap()));
    fixture.download.handle_unchoked(fixture.now, 1);
    fixture.settle();
    let asked = fixture.asked[&1].clone();
    assert_eq!(asked.len(), FIRST_DEPTH as usize);
    fixture.download.handle_choked(fixture.now, 1);
    fixture.asked.get_mut(&1).unwrap().clear();
    fixture.settle();
    // What had left before the choke still arrives, and is kept.
    assert_eq!(fixture.send_block(1, asked[0]), Arrival::Kept);
    fixture.seed(2);
    fixture.run();
    assert!(fixture.download.is_complete());
    assert_eq!(fixture.download.progress().wasted_bytes, 0);
}

#[test]
fn what_a_peer_that_left_was_asked_for_is_fetched_from_others() {
    let mut fixture = Fixture::new(4);
    fixture.seed(1);
    fixture.send(1);
    fixture.gone(1);
    fixture.seed(2);
    fixture.run();
    assert!(fixture.download.is_complete());
}

#[test]
fn a_block_that_nobody_asked_for_is_discarded() {
    let mut fixture = Fixture::new(20);
    fixture.seed(1);
    fixture.leech(2, []);
    let block = fixture.asked[&1][0];
    assert_eq!(fixture.send_block(2, block), Arrival::Unwanted);
    assert_eq!(fixture.download.handle_piece_header(fixture.now, 1, 99, 0, 16384), Incoming::Discard);
    assert_eq!(fixture.download.handle_piece_header(fixture.now, 1, 0, 1, 5), Incoming::Discard);
    assert_eq!(fixture.download.progress().wasted_bytes, 2 * 16384 + 5);
    fixture.run();
    assert!(fixture.download.is_complete());
}

#[test]
fn the_rarest_piece_comes_first_once_there_is_something_to_give() {
    let mut fixture = Fixture::new(40);
    fixture.leech(1, 0..4);
    fixture.run();
    assert_eq!(fixture.download.have().count(), RANDOM_FIRST_PIECES);
    (2..6).for_each(|peer| fixture.join(peer, true));
    for peer in 2..6 {
        (4..40).filter(|index| *index != 21).for_each(|index| fixture.download.handle_have(peer, fixture.piece(index)));
    }
    fixture.join(6, true);
    (4..40).for_each(|index| fixture.download.handle_have(6, fixture.piece(index)));
    fixture.download.handle_unchoked(fixture.now, 6);
    fixture.settle();
    assert_eq!(fixture.asked[&6][0].piece().get(), 21);
}

#[test]
fn a_sequential_download_asks_in_order() {
    let mut fixture = Fixture::of(torrent_of(40 * u64::from(PIECE_BYTES), PIECE_BYTES), true);
    fixture.seed(1);
    let mut sent = Vec::new();
    while let Some((block, _)) = fixture.send(1) {
        sent.push((block.piece(), block.begin()));
        fixture.verify_all();
    }
    assert!(sent.is_sorted() && sent.len() == 320);
}

#[test]
fn only_what_is_wanted_is_fetched() {
    let mut fixture = Fixture::new(20);
    let mut wanted = PieceSet::new(20);
    [3, 4, 11].iter().for_each(|index| assert!(wanted.insert(fixture.piece(*index))));
    fixture.seed(1);
    fixture.send(1);
    fixture.download.set_wanted(Selection { wanted: wanted.clone(), sequential: false });
    fixture.settle();
    fixture.run();
    assert!(fixture.download.is_complete());
    assert_eq!(fixture.download.open_pieces().count(), 0);
    wanted.minus(fixture.download.have());
    assert!(wanted.is_empty());
    fixture.download.set_wanted(Selection { wanted: PieceSet::full(20), sequential: false });
    assert!(!fixture.download.is_complete());
    fixture.settle();
    fixture.run();
    assert!(fixture.download.have().is_full());
}

#[test]
fn no_more_is_asked_for_than_there_is_room_to_write() {
    let mut fixture = Fixture::new(100);
    fixture.download.set_write_room(20);
    fixture.seed(1);
    fixture.seed(2);
    assert!(fixture.download.blocks_under_way() <= 20);
    assert!(fixture.download.open_pieces().count() <= 2);
    while fixture.send(1).is_some() || fixture.send(2).is_some() {
        assert!(fixture.download.blocks_under_way() <= 20);
    }
    assert_eq!(fixture.whole.len(), 2);
    fixture.verify_all();
    fixture.run();
    assert!(fixture.download.is_complete());
}

#[test]
fn a_piece_larger_than_the_room_is_fetched_as_it_is_written() {
    let mut fixture = Fixture::of(torrent_of(64 * 16384 * 2, 64 * 16384), false);
    fixture.download.set_write_room(10);
    fixture.seed(1);
    while let Some((block, _)) = fixture.send(1) {
        assert!(fixture.download.blocks_under_way() <= 10);
        fixture.download.handle_written(block.piece(), 1);
        fixture.verify_all();
        fixture.settle();
    }
    assert!(fixture.download.is_complete());
}

#[test]
fn a_full_disk_stops_requests_and_loses_nothing() {
    let mut fixture = Fixture::new(20);
    fixture.seed(1);
    fixture.download.pause();
    fixture.run();
    let received = fixture.download.progress().received_bytes;
    assert_eq!(received, u64::from(FIRST_DEPTH * BLOCK_SIZE));
    fixture.download.resume();
    fixture.settle();
    fixture.run();
    assert!(fixture.download.is_complete());
    assert_eq!(fixture.download.progress().received_bytes, 20 * u64::from(PIECE_BYTES));
}

#[test]
fn a_fast_seed_gets_hundreds_of_requests_within_milliseconds() {
    let mut fixture = Fixture::new(500);
    fixture.seed(1);
    for _ in 0..600 {
        fixture.now += Duration::from_micros(13);
        fixture.send(1);
        fixture.verify_all();
    }
    assert!(fixture.asked[&1].len() < 250 + 1, "what it does not say it takes is not asked");
    fixture.download.handle_reqq(1, 2_000);
    for _ in 0..600 {
        fixture.now += Duration::from_micros(13);
        fixture.send(1);
        fixture.verify_all();
    }
    assert!(fixture.asked[&1].len() >= 512, "{}", fixture.asked[&1].len());
}

#[test]
fn a_bitcomet_gets_few_requests_whatever_it_says() {
    let mut fixture = Fixture::new(100);
    fixture.download.handle_joined(fixture.now, 1, &traits(b"-BC0200-abcdefghijkl", true, 1));
    fixture.asked.insert(1, Vec::new());
    fixture.download.handle_reqq(1, 500);
    let mut all = Availability::new(100);
    all.set_all();
    fixture.download.handle_listed(1, &all);
    fixture.download.handle_unchoked(fixture.now, 1);
    fixture.settle();
    for _ in 0..300 {
        fixture.send(1);
        assert!(fixture.asked[&1].len() <= 50);
    }
}

#[test]
fn a_web_seed_gets_a_long_row_of_blocks() {
    let mut fixture = Fixture::new(100);
    let web = PeerTraits { is_web_seed: true, ..traits(b"-SW0100-abcdefghijkl", true, 1) };
    fixture.download.handle_joined(fixture.now, 1, &web);
    fixture.asked.insert(1, Vec::new());
    let mut all = Availability::new(100);
    all.set_all();
    fixture.download.handle_listed(1, &all);
    fixture.download.handle_unchoked(fixture.now, 1);
    fixture.settle();
    let asked: Vec<(u32, u32)> = fixture.asked[&1].iter().map(|block| (block.piece().get(), block.begin())).collect();
    assert!(asked.len() == FIRST_WEB_SEED_DEPTH as usize && asked.is_sorted());
    assert_eq!(asked.last().unwrap().0, 31);
}

#[test]
fn interest_follows_what_is_missing() {
    let mut fixture = Fixture::new(20);
    fixture.leech(1, [3]);
    assert_eq!(fixture.actions, [DownloadAction::Interested { peer: 1 }]);
    fixture.run();
    assert_eq!(fixture.actions[1..], [DownloadAction::NotInterested { peer: 1 }]);
    fixture.download.handle_have(1, fixture.piece(4));
    fixture.settle();
    assert_eq!(fixture.actions[2..], [DownloadAction::Interested { peer: 1 }]);
}
