//! What a swarm is like: the torrent, who takes part, how the network behaves. Made from a seed.

use crate::random::Random;
use metainfo::{BLOCK_SIZE, Builder, CreateOptions, FileHashes, NewFile, PieceHashes, Torrent, Version, merkle};
use std::sync::Arc;
use std::time::Duration;

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Has everything, and gives it.
    Seed,
    /// Wants everything, and gives what it has.
    Leech,
    /// Says that it has everything, and sends nothing.
    Liar,
    /// Sends wrong blocks, so many in a hundred.
    Poisoner(u64),
    /// Begins blocks that it does not end.
    Staller,
    /// Chokes and unchokes at random.
    Choker,
    /// Refuses many requests although it does not choke.
    Refuser,
    /// Sends blocks that nobody asked for.
    Pusher,
}

impl Conduct {
    /// Whether it plays by the rules.
    pub fn is_honest(self) -> bool {
        matches!(self, Conduct::Seed | Conduct::Leech)
    }

    /// Whether it ever sends wrong blocks.
    pub fn spoils(self) -> bool {
        matches!(self, Conduct::Poisoner(_) | Conduct::Pusher)
    }
}

/// One peer.
#[derive(Debug, Clone, Copy)]
pub struct NodePlan {
    /// How it behaves.
    pub conduct: Conduct,
    /// It has the fast extension (BEP 6).
    pub fast: bool,
    /// What it sends at most.
    pub up_bytes_per_s: u64,
    /// What it takes at most.
    pub down_bytes_per_s: u64,
    /// From it to the middle of the network.
    pub delay: Duration,
    /// When it comes.
    pub joins_at: Duration,
    /// When it goes, finished or not.
    pub leaves_at: Option<Duration>,
    /// Slots of its choker; `None` for no limit.
    pub slots: Option<usize>,
    /// Requests that it takes (`reqq`).
    pub reqq: u32,
    /// Blocks that it holds in memory.
    pub write_room: u32,
    /// A seed that shows itself piece by piece (BEP 16).
    pub super_seeds: bool,
    /// A seed that stands for a web seed.
    pub is_web_seed: bool,
    /// Its disk is full now and then.
    pub pauses: bool,
    /// It fetches in order.
    pub sequential: bool,
}

/// A swarm.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// What is fetched.
    pub torrent: Arc<Torrent>,
    /// Who takes part.
    pub nodes: Vec<NodePlan>,
    /// Connections that break in a minute.
    pub cuts_per_minute: u64,
    /// The most that a packet is late at random.
    pub jitter: Duration,
    /// How long a check takes at most.
    pub check_time: Duration,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

impl Plan {
    /// Whatever the seed says: a few seeds and leeches, and in most swarms some of whom nothing good is to be expected.
    pub fn random(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let piece_bytes = random.one_of(&[16 * KIB, 64 * KIB, 256 * KIB, MIB]);
        let size = random.between(1, 60) * piece_bytes.min(128 * KIB) + random.between(1, piece_bytes);
        let version = random.one_of(&[Version::V1, Version::V1, Version::V2, Version::Hybrid]);
        let piece_blocks = piece_bytes.div_ceil(u64::from(BLOCK_SIZE));
        let mut nodes = vec![honest(&mut random, Conduct::Seed, piece_blocks)];
        // At least one seed is there all the time.
        (nodes[0].joins_at, nodes[0].leaves_at) = (Duration::ZERO, None);
        for _ in 0..random.between(0, 2) {
            nodes.push(honest(&mut random, Conduct::Seed, piece_blocks));
        }
        for _ in 0..random.between(1, 9) {
            nodes.push(honest(&mut random, Conduct::Leech, piece_blocks));
        }
        for _ in 0..random.between(0, 4) {
            nodes.push(hostile(&mut random, piece_blocks));
        }
        Plan {
            seed,
            torrent: torrent(size, piece_bytes as u32, version),
            nodes,
            cuts_per_minute: random.one_of(&[0, 0, 2, 20]),
            jitter: Duration::from_millis(random.one_of(&[0, 5, 100])),
            check_time: Duration::from_millis(random.one_of(&[0, 20, 500])),
        }
    }

    /// Peers that are all honest, stay, and are equally fast.
    pub fn calm(seed: u64, leeches: usize, size: u64, piece_bytes: u32) -> Plan {
        let node = |conduct| NodePlan {
            conduct,
            fast: true,
            up_bytes_per_s: 2 * MIB,
            down_bytes_per_s: 8 * MIB,
            delay: Duration::from_millis(5),
            joins_at: Duration::ZERO,
            leaves_at: None,
            slots: None,
            reqq: 2_000,
            write_room: 1_024,
            super_seeds: conduct == Conduct::Seed,
            is_web_seed: false,
            pauses: false,
            sequential: false,
        };
        let mut nodes = vec![node(Conduct::Leech); leeches + 1];
        nodes[0] = node(Conduct::Seed);
        Plan {
            seed,
            torrent: torrent(size, piece_bytes, Version::V1),
            nodes,
            cuts_per_minute: 0,
            jitter: Duration::ZERO,
            check_time: Duration::from_millis(5),
        }
    }
}

fn honest(random: &mut Random, conduct: Conduct, piece_blocks: u64) -> NodePlan {
    let leaves = if random.chance(15) { Some(Duration::from_secs(random.between(5, 120))) } else { None };
    NodePlan {
        conduct,
        fast: random.chance(70),
        up_bytes_per_s: random.one_of(&[20 * KIB, 200 * KIB, MIB, 4 * MIB, 100 * MIB]),
        down_bytes_per_s: random.one_of(&[200 * KIB, 2 * MIB, 10 * MIB, 100 * MIB]),
        delay: Duration::from_millis(random.one_of(&[0, 1, 20, 150])),
        joins_at: Duration::from_millis(if random.chance(60) { 0 } else { random.between(0, 60_000) }),
        leaves_at: leaves,
        slots: random.one_of(&[None, None, Some(2), Some(4), Some(8)]),
        reqq: random.one_of(&[10, 50, 250, 500, 2_000]) as u32,
        write_room: (piece_blocks * random.between(1, 6)).max(random.between(8, 1_000)) as u32,
        super_seeds: random.chance(50),
        is_web_seed: conduct == Conduct::Seed && random.chance(20),
        pauses: random.chance(10),
        sequential: random.chance(20),
    }
}

fn hostile(random: &mut Random, piece_blocks: u64) -> NodePlan {
    let conduct = match random.between(0, 6) {
        0 => Conduct::Liar,
        1 => Conduct::Poisoner(100),
        2 => Conduct::Poisoner(random.between(1, 30)),
        3 => Conduct::Staller,
        4 => Conduct::Choker,
        5 => Conduct::Refuser,
        _ => Conduct::Pusher,
    };
    NodePlan { leaves_at: None, slots: None, ..honest(random, conduct, piece_blocks) }
}

/// A torrent whose hashes nobody looks at.
fn torrent(size: u64, piece_bytes: u32, version: Version) -> Arc<Torrent> {
    let options = CreateOptions {
        name: "release".into(),
        version,
        piece_length: Some(piece_bytes),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let builder = Builder::new(options, vec![NewFile { length: size, ..NewFile::default() }]).unwrap();
    let layout = builder.layout();
    let leaves = vec![hash::Sha256Digest([7; 32]); size.div_ceil(u64::from(BLOCK_SIZE)) as usize];
    let layer = merkle::piece_layer_from_leaves(&leaves, piece_bytes);
    let root = if layer.len() == 1 { layer[0] } else { merkle::root_of_piece_layer(&layer, piece_bytes) };
    let file = layout.file_index(0).unwrap();
    let v1 = match version {
        Version::V2 => Vec::new(),
        _ => vec![hash::Sha1Digest([7; 20]); layout.piece_count() as usize],
    };
    let v2 = if version == Version::V1 { Vec::new() } else { vec![FileHashes { file, root, layer }] };
    Arc::new(Torrent::parse(&builder.finish(&PieceHashes { v1, v2 }).unwrap()).unwrap())
}
