//! Random events in random order, and what must hold after each.

use super::*;
use proptest::prelude::*;

const PIECES: u32 = 12;
const PEERS: u32 = 6;

impl Download<u32> {
    /// Counts everything anew.
    fn check(&self) {
        let open = self.open.check();
        let mut holds: BTreeMap<u32, u32> = BTreeMap::new();
        for (piece, blocks) in &open {
            assert!(!self.have.has(*piece) && !self.picker.is_pickable(*piece));
            for (number, (askers, sender)) in (0..).zip(blocks) {
                for asker in askers {
                    let entry = self.peer(*asker).expect("only peers that are here are asked");
                    let mut requests = entry.requests.iter().chain(&entry.arriving);
                    assert!(requests.any(|request| (request.piece, request.block) == (*piece, number)));
                }
                sender.iter().for_each(|sender| *holds.entry(*sender).or_default() += 1);
            }
        }
        for (_, open) in self.open.iter() {
            let failed = open.parole.iter().flat_map(|parole| &parole.failed);
            failed.for_each(|(sender, _)| *holds.entry(*sender).or_default() += 1);
        }
        self.senders.check(&holds);
        for piece in 0..PIECES {
            let expected = self.is_missing(piece) && !open.contains_key(&piece);
            assert_eq!(self.picker.is_pickable(piece), expected, "piece {piece}");
        }
        for slot in self.peer_slots() {
            let Some(entry) = self.peer(slot) else { continue };
            let wanted = |piece: &u32| self.is_missing(*piece) && entry.has(*piece);
            assert_eq!(entry.interesting_count, (0..PIECES).filter(wanted).count() as u32);
            assert_eq!(entry.interested, entry.interesting_count > 0);
            assert!(entry.requests.len() <= PIPELINE_LIMIT as usize && entry.lapsed.len() <= LAPSED_LIMIT);
            for request in &entry.requests {
                let (askers, _) = &open[&request.piece][request.block as usize];
                assert!(askers.contains(&slot), "what a peer is asked for is in the books of the piece");
            }
        }
        let missing: u64 = (0..PIECES).filter(|piece| self.is_missing(*piece)).count() as u64;
        assert_eq!(self.missing_bytes(), missing * u64::from(PIECE_BYTES));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join {
        peer: u32,
        fast: bool,
        seed: bool,
    },
    Gone(u32),
    Have(u32, u32),
    Choke(u32),
    Unchoke(u32),
    Allow(u32, u32),
    Suggest(u32, u32),
    /// Refuses the request at this place.
    Reject(u32, usize),
    /// Sends the block at this place.
    Send(u32, usize),
    /// Begins to send it.
    Begin(u32, usize),
    /// Ends what it began.
    End(u32, bool),
    /// Sends a block that it was not asked for, or not lately.
    Unasked(u32, u32, u32),
    Verify,
    Tick(u64),
    Room(u32),
    Pause(bool),
    Want(u32),
    Leaves(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0..PEERS;
    let of_peer = (0..PEERS, 0usize..40);
    let of_piece = (0..PEERS, 0..PIECES);
    prop_oneof![
        2 => (peer.clone(), any::<bool>(), any::<bool>()).prop_map(|(peer, fast, seed)| Step::Join { peer, fast, seed }),
        1 => peer.clone().prop_map(Step::Gone),
        4 => of_piece.clone().prop_map(|(peer, piece)| Step::Have(peer, piece)),
        1 => peer.clone().prop_map(Step::Choke),
        3 => peer.clone().prop_map(Step::Unchoke),
        1 => of_piece.clone().prop_map(|(peer, piece)| Step::Allow(peer, piece)),
        1 => of_piece.prop_map(|(peer, piece)| Step::Suggest(peer, piece)),
        1 => of_peer.clone().prop_map(|(peer, at)| Step::Reject(peer, at)),
        20 => of_peer.clone().prop_map(|(peer, at)| Step::Send(peer, at)),
        3 => of_peer.prop_map(|(peer, at)| Step::Begin(peer, at)),
        3 => (peer.clone(), any::<bool>()).prop_map(|(peer, lost)| Step::End(peer, lost)),
        1 => (peer, 0..PIECES, 0u32..8).prop_map(|(peer, piece, block)| Step::Unasked(peer, piece, block)),
        3 => Just(Step::Verify),
        2 => (0u64..20_000).prop_map(Step::Tick),
        1 => (8u32..60).prop_map(Step::Room),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => any::<u32>().prop_map(Step::Want),
        1 => any::<bool>().prop_map(Step::Leaves),
    ]
}

/// A fixture whose peer 0 spoils every block, and which asks for nothing twice.
struct Swarm {
    fixture: Fixture,
    /// Blocks that peer 0 sent last, by piece and block.
    spoiled: HashSet<(u32, u32)>,
    began: BTreeMap<u32, BlockRange>,
    /// The least room since it last was smaller than what was under way.
    room: u64,
    leaves: Vec<PieceIndex>,
    /// It does not come again.
    is_culprit_banned: bool,
}

impl Swarm {
    fn new(v2: bool) -> Swarm {
        let torrent =
            if v2 { hybrid_torrent(PIECES) } else { torrent_of(u64::from(PIECES * PIECE_BYTES), PIECE_BYTES) };
        let (spoiled, began) = (HashSet::new(), BTreeMap::new());
        let room = u64::from(FIRST_WRITE_ROOM);
        Swarm {
            fixture: Fixture::of(torrent, false),
            spoiled,
            began,
            room,
            leaves: Vec::new(),
            is_culprit_banned: false,
        }
    }

    fn note(&mut self, peer: u32, block: BlockRange, arrival: Arrival) {
        let key = (block.piece().get(), block.begin() / BLOCK_SIZE);
        if arrival != Arrival::Unwanted {
            if peer == 0 {
                self.spoiled.insert(key)
            } else {
                self.spoiled.remove(&key)
            };
        }
        if let Arrival::PieceWhole(piece) = arrival
            && !self.fixture.whole.contains(&piece)
        {
            self.fixture.whole.push(piece);
        }
    }

    fn asked(&mut self, peer: u32, at: usize, remove: bool) -> Option<BlockRange> {
        let asked = self.fixture.asked.get_mut(&peer).filter(|asked| !asked.is_empty())?;
        let at = at % asked.len();
        Some(if remove { asked.remove(at) } else { asked[at] })
    }

    fn bad_blocks(&self, piece: PieceIndex) -> Vec<u32> {
        (0..8).filter(|block| self.spoiled.contains(&(piece.get(), *block))).collect()
    }

    fn verify(&mut self) {
        for piece in std::mem::take(&mut self.fixture.whole) {
            let bad = self.bad_blocks(piece);
            let fingerprints: Vec<u64> = (0..8).map(|block| if bad.contains(&block) { 99 } else { 1 }).collect();
            let good = PieceVerdict::Good { fingerprints: &fingerprints };
            let verdict = PieceVerdict::Bad { bad_blocks: None, fingerprints: &fingerprints };
            let verdict = if bad.is_empty() { good } else { verdict };
            self.fixture.download.handle_verified(self.fixture.now, piece, verdict);
        }
    }

    fn step(&mut self, step: &Step) {
        let now = self.fixture.now;
        let download = &mut self.fixture.download;
        let here = |peer: &u32| self.fixture.asked.contains_key(peer);
        match *step {
            Step::Join { peer, fast, seed } if !here(&peer) => self.join(peer, fast, seed),
            Step::Gone(peer) => {
                download.handle_gone(now, peer);
                self.fixture.asked.remove(&peer);
                self.began.remove(&peer);
            }
            Step::Have(peer, piece) => download.handle_have(peer, self.fixture.torrent.layout().piece(piece).unwrap()),
            Step::Choke(peer) => {
                download.handle_choked(now, peer);
                if download.known(peer).is_some_and(|entry| !entry.fast) {
                    self.fixture.asked.insert(peer, Vec::new());
                }
            }
            Step::Unchoke(peer) => download.handle_unchoked(now, peer),
            Step::Allow(peer, piece) => {
                download.handle_allowed_fast(peer, self.fixture.torrent.layout().piece(piece).unwrap());
            }
            Step::Suggest(peer, piece) => {
                download.handle_suggested(peer, self.fixture.torrent.layout().piece(piece).unwrap());
            }
            Step::Reject(peer, at) => {
                if let Some(block) = self.asked(peer, at, true) {
                    self.fixture.download.handle_rejected(now, peer, block);
                }
            }
            Step::Send(peer, at) => {
                if !self.began.contains_key(&peer)
                    && let Some(block) = self.asked(peer, at, true)
                {
                    self.send(peer, block);
                }
            }
            Step::Begin(peer, at) => self.begin(peer, at),
            Step::End(peer, lost) => self.end(peer, lost),
            Step::Unasked(peer, piece, block) => {
                let block = self.fixture.torrent.layout().block(piece, block * BLOCK_SIZE, BLOCK_SIZE).unwrap();
                if !self.began.contains_key(&peer) {
                    self.fixture.asked.entry(peer).and_modify(|asked| asked.retain(|asked| *asked != block));
                    self.send(peer, block);
                }
            }
            Step::Verify => self.verify(),
            Step::Tick(time_ms) => {
                self.fixture.now += Duration::from_millis(time_ms);
                self.fixture.download.handle_tick(self.fixture.now);
            }
            Step::Room(blocks) => {
                download.set_write_room(blocks);
                self.room = u64::from(blocks).max(download.blocks_under_way());
            }
            Step::Pause(true) => download.pause(),
            Step::Pause(false) => download.resume(),
            Step::Want(bits) => {
                let wanted = PieceSet::from_wire(PIECES, &bits.to_be_bytes());
                download.set_wanted(Selection { wanted, sequential: bits % 2 == 0 });
            }
            Step::Leaves(known) => self.leaves(known),
            Step::Join { .. } => {}
        }
        self.settle();
    }

    fn join(&mut self, peer: u32, fast: bool, seed: bool) {
        if peer == 0 && self.is_culprit_banned {
            return;
        }
        let traits = PeerTraits { v2: peer % 2 == 1, ..traits(b"-SW0100-abcdefghijkl", fast, peer) };
        self.fixture.download.handle_joined(self.fixture.now, peer, &traits);
        self.fixture.asked.insert(peer, Vec::new());
        if seed {
            let mut all = Availability::new(PIECES);
            all.set_all();
            self.fixture.download.handle_listed(peer, &all);
        }
    }

    fn send(&mut self, peer: u32, block: BlockRange) {
        let arrival = self.fixture.send_block(peer, block);
        self.fixture.whole.dedup();
        self.note(peer, block, arrival);
    }

    fn begin(&mut self, peer: u32, at: usize) {
        if self.began.contains_key(&peer) {
            return;
        }
        let Some(block) = self.asked(peer, at, true) else { return };
        let (index, begin) = (block.piece().get(), block.begin());
        let incoming = self.fixture.download.handle_piece_header(self.fixture.now, peer, index, begin, block.size());
        if incoming != Incoming::Discard {
            self.began.insert(peer, block);
        }
    }

    fn end(&mut self, peer: u32, lost: bool) {
        let Some(block) = self.began.remove(&peer) else { return };
        if lost {
            self.fixture.download.handle_lost_block(peer, block);
        } else {
            let arrival = self.fixture.download.handle_block(self.fixture.now, peer, block);
            self.note(peer, block, arrival);
        }
    }

    fn leaves(&mut self, known: bool) {
        for piece in std::mem::take(&mut self.leaves) {
            let bad = self.bad_blocks(piece);
            if known {
                self.fixture.download.handle_leaves(self.fixture.now, piece, &bad);
            } else {
                (0..PEERS).for_each(|peer| {
                    self.fixture.download.handle_hashes_refused(self.fixture.now, peer, piece);
                });
            }
        }
    }

    /// As the fixture does, looking at each request.
    fn settle(&mut self) {
        let fixture = &mut self.fixture;
        loop {
            let mut actions = Vec::new();
            fixture.download.poll_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            // All of them are of one turn: what is taken back is no more asked for.
            actions.sort_by_key(|action| matches!(action, DownloadAction::Wanted { .. }));
            for action in actions {
                match action {
                    DownloadAction::Wanted { peer } => {
                        let endgame = fixture.download.is_endgame();
                        let mut out = Vec::new();
                        fixture.download.poll_requests(fixture.now, peer, &mut out);
                        let others = fixture.asked.iter().filter(|(other, _)| **other != peer);
                        let others = others.flat_map(|(_, asked)| asked);
                        let twice = others.filter(|block| out.contains(block)).count();
                        let endgame = endgame || fixture.download.is_endgame();
                        assert!(twice == 0 || endgame, "a block is asked of two peers");
                        fixture.asked.get_mut(&peer).unwrap().extend(out);
                    }
                    DownloadAction::Cancel { peer, block } => {
                        fixture.asked.entry(peer).and_modify(|asked| asked.retain(|asked| *asked != block));
                    }
                    DownloadAction::RequestHashes { piece, .. } => self.leaves.push(piece),
                    DownloadAction::Abandon { piece } => self.spoiled.retain(|(spoiled, _)| *spoiled != piece.get()),
                    DownloadAction::Ban { peer, address, reason } => {
                        let culprit = traits(&[0; 20], true, 0).address.ip();
                        let just = address == culprit || reason == BanReason::Strikes;
                        assert!(just, "only who spoils is banned: {peer:?} {reason:?}");
                        self.is_culprit_banned |= address == culprit;
                        if let Some(asked) = peer.and_then(|peer| fixture.asked.get_mut(&peer)) {
                            asked.clear();
                        }
                    }
                    _ => {}
                }
            }
        }
        // A block that was given up while it came in may still end, one a peer.
        let room = self.room.max(u64::from(fixture.download.write_room)) + u64::from(PEERS);
        assert!(fixture.download.blocks_under_way() <= room);
        fixture.download.check();
    }

    /// A good peer comes, and time passes.
    fn finish(&mut self) {
        (0..PEERS).for_each(|peer| self.step(&Step::Gone(peer)));
        let wanted = PieceSet::full(PIECES);
        self.fixture.download.set_wanted(Selection { wanted, sequential: false });
        self.step(&Step::Pause(false));
        self.step(&Step::Join { peer: 1, fast: true, seed: true });
        self.step(&Step::Unchoke(1));
        for _ in 0..2_000 {
            self.step(&Step::Send(1, 0));
            self.step(&Step::Verify);
            self.step(&Step::Leaves(false));
            self.step(&Step::Tick(250));
        }
        assert!(self.fixture.download.is_complete(), "{:?}", self.stuck());
    }
}

impl Swarm {
    fn stuck(&self) -> Vec<String> {
        let open = self.fixture.download.open.iter();
        open.map(|(_, open)| {
            let (free, asked, stored) = (open.free_count(), open.asked_count(), open.stored_count());
            format!("{} {:?} free {free} asked {asked} stored {stored}", open.piece, open.stage)
        })
        .collect()
    }
}

fn run(v2: bool, steps: &[Step]) {
    let mut swarm = Swarm::new(v2);
    steps.iter().for_each(|step| swarm.step(step));
    swarm.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_asked_twice_whatever_happens(steps in prop::collection::vec(step(), 1..400)) {
        run(false, &steps);
    }

    #[test]
    fn the_same_where_leaf_hashes_tell(steps in prop::collection::vec(step(), 1..400)) {
        run(true, &steps);
    }
}
