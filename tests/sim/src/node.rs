//! One peer of a swarm: what a shard does with `swarm`, without sockets and without files.
//!
//! This file holds its state, and connections that come and go. What arrives is in `receive`, what it sends in `send`, what its
//! download asks for in `act`.

mod act;
mod receive;
mod send;
mod super_seed;

use crate::ledger::Ledger;
use crate::net::{Event, LinkId, Net, NodeId};
use crate::plan::{Conduct, NodePlan};
use crate::random::mix;
use metainfo::{BLOCK_SIZE, BlockRange, Torrent};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use swarm::{
    BanReason, Choker, Download, LeechChoker, Opening, Ours, PeerTraits, PieceSet, Progress, Selection, Session, Slots,
    SuperSeeder, SuperSeeding,
};
use wire::{PeerId, Reserved};

/// How often a node looks at the clock.
pub(crate) const TICK: Duration = Duration::from_millis(250);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) plan: NodePlan,
    torrent: Arc<Torrent>,
    seed: u64,
    pub(crate) is_here: bool,
    /// What it has, or says that it has.
    pub(crate) have: PieceSet,
    pub(crate) leech: Option<Leech>,
    /// Who is served once nothing is missing.
    choker: Choker<LinkId>,
    super_seeder: Option<SuperSeeder<LinkId>>,
    pub(crate) peers: BTreeMap<LinkId, Peer>,
    /// Addresses that it refuses.
    pub(crate) banned: BTreeSet<IpAddr>,
    /// The connection that was served last.
    served_last: LinkId,
    uplink_is_busy: bool,
    /// How long a check takes at most.
    check_time: Duration,
    pub(crate) finished_at: Option<Duration>,
    pub(crate) sent_bytes: u64,
    /// What its download counted in the end.
    pub(crate) progress: Progress,
    pub(crate) bans: Vec<(NodeId, BanReason)>,
}

/// What a node has while it fetches.
pub(crate) struct Leech {
    pub(crate) download: Download<LinkId>,
    choker: LeechChoker<LinkId>,
    /// Blocks of pieces under way, as they came.
    blocks: BTreeMap<(u32, u32), u64>,
    pub(crate) ledger: Ledger,
}

/// One end of a connection.
pub(crate) struct Peer {
    node: NodeId,
    session: Session,
    /// The block that is coming in, if it is wanted.
    arriving: Option<BlockRange>,
    /// Nothing more is sent here: a block was begun that does not end.
    is_stuck: bool,
    reqq: u32,
}

/// The address of a node.
pub(crate) fn address(node: NodeId) -> SocketAddr {
    SocketAddr::from(([10, 1, (node >> 8) as u8, node as u8], 6881))
}

/// What a block holds.
pub(crate) fn truth(piece: u32, block: u32) -> u64 {
    mix(u64::from(piece) << 32 | u64::from(block)) | 1
}

impl Node {
    pub(crate) fn new(id: NodeId, plan: NodePlan, torrent: Arc<Torrent>, seed: u64, check_time: Duration) -> Node {
        let piece_count = torrent.layout().piece_count();
        let slots = plan.slots.map_or(Slots::Unlimited, Slots::Fixed);
        let leech = (plan.conduct == Conduct::Leech).then(|| {
            let wanted = PieceSet::full(piece_count);
            let selection = Selection { wanted, sequential: plan.sequential };
            let mut download = Download::new(torrent.clone(), PieceSet::new(piece_count), selection, seed);
            download.set_write_room(plan.write_room);
            Leech {
                download,
                choker: LeechChoker::new(slots, seed),
                blocks: BTreeMap::new(),
                ledger: Ledger::default(),
            }
        });
        let super_seeds = plan.super_seeds && plan.conduct == Conduct::Seed && !plan.is_web_seed;
        let super_seeder = super_seeds.then(|| SuperSeeder::new(SuperSeeding::Auto, torrent.layout(), seed)).flatten();
        let have = if leech.is_some() { PieceSet::new(piece_count) } else { PieceSet::full(piece_count) };
        Node {
            id,
            plan,
            torrent,
            seed,
            is_here: false,
            have,
            leech,
            choker: Choker::new(slots, seed),
            super_seeder,
            peers: BTreeMap::new(),
            banned: BTreeSet::new(),
            served_last: 0,
            uplink_is_busy: false,
            check_time,
            finished_at: None,
            sent_bytes: 0,
            progress: Progress::default(),
            bans: Vec::new(),
        }
    }

    pub(crate) fn has_peer(&self, node: NodeId) -> bool {
        self.peers.values().any(|peer| peer.node == node)
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        PeerId::ours(std::array::from_fn(|at| (self.id >> (at % 8)) as u8))
    }

    fn reserved(&self) -> Reserved {
        let reserved = Reserved::EXTENDED.with(Reserved::V2);
        if self.plan.fast { reserved.with(Reserved::FAST) } else { reserved }
    }

    /// Both handshakes are done.
    pub(crate) fn open(&mut self, net: &mut Net, link: LinkId, other: &OtherEnd) {
        let bits = self.have.to_wire();
        let (now, dozes) = (net.now, swarm::dozes(&other.peer_id));
        let hides = self.note(net, |seeder, out| seeder.handle_joined(now, link, dozes, out)).unwrap_or(false);
        let opening = Opening {
            torrent: &self.torrent,
            info_hash: self.torrent.info_hashes().next().expect("every torrent has one"),
            shared: self.reserved().shared(other.reserved),
            address: address(other.node).ip(),
            peer_id: other.peer_id,
            client: "simulated",
            ours: match self.have.is_full() {
                true if hides => Ours::Hidden,
                true => Ours::Everything,
                false => Ours::Some(&bits),
            },
            takes_pex: false,
            listen_port: None,
            dht_port: None,
            now: net.now,
        };
        let mut out = Vec::new();
        let session = Session::open(&opening, &mut out);
        self.peers.insert(link, Peer { node: other.node, session, arriving: None, is_stuck: false, reqq: other.reqq });
        if let Some(leech) = &mut self.leech {
            let traits = PeerTraits {
                address: address(other.node),
                peer_id: other.peer_id,
                fast: opening.shared.has(Reserved::FAST),
                v2: self.torrent.info_hash_v2().is_some(),
                is_web_seed: other.is_web_seed,
            };
            leech.download.handle_joined(net.now, link, &traits);
            // What the extension handshake says, whose number every session has for all.
            leech.download.handle_reqq(link, other.reqq);
        }
        self.say(net, link, out);
    }

    /// The connection ended.
    pub(crate) fn forget(&mut self, net: &mut Net, link: LinkId) {
        let (pieces, now) = (self.pieces_of(link), net.now);
        if self.peers.remove(&link).is_none() {
            return;
        }
        self.choker.handle_gone(link);
        self.note(net, |seeder, out| seeder.handle_gone(now, link, pieces, out));
        if let Some(leech) = &mut self.leech {
            leech.download.handle_gone(net.now, link);
            leech.choker.handle_gone(link);
            leech.ledger.void(link);
        }
        self.act(net);
    }

    /// What the other end of a new connection has to know.
    pub(crate) fn introduce(&self) -> OtherEnd {
        OtherEnd {
            node: self.id,
            reserved: self.reserved(),
            peer_id: self.peer_id(),
            reqq: self.plan.reqq,
            is_web_seed: self.plan.is_web_seed,
        }
    }

    pub(crate) fn tick(&mut self, net: &mut Net) {
        let now = net.now;
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            let mut out = Vec::new();
            let peer = self.peers.get_mut(&link).expect("it was listed");
            let busy = !peer.session.queue().is_empty();
            let ended = peer.session.handle_tick(now, busy, &mut out).is_err();
            match self.plan.conduct {
                Conduct::Choker if net.random.chance(5) => {
                    peer.session.choke(&mut out);
                }
                Conduct::Choker if net.random.chance(10) => {
                    peer.session.unchoke(&mut out);
                }
                _ => {}
            }
            self.say(net, link, out);
            if ended {
                net.close(link);
            }
        }
        if let Some(leech) = &mut self.leech {
            leech.download.handle_tick(now);
            match self.plan.pauses && net.random.chance(5) {
                true if net.random.chance(50) => leech.download.pause(),
                true => leech.download.resume(),
                false => {}
            }
        }
        let limited = self.uplink_is_busy;
        self.note(net, |seeder, out| seeder.handle_tick(now, limited, out));
        self.act(net);
        self.feed_uplink(net);
        net.at(now + TICK, Event::Tick(self.id));
    }

    fn block_count(&self, piece: u32) -> u32 {
        let piece = self.torrent.layout().piece(piece).expect("pieces come from the layout");
        self.torrent.layout().piece_size(piece).div_ceil(BLOCK_SIZE)
    }
}

/// What a node tells of itself in its handshakes.
pub(crate) struct OtherEnd {
    node: NodeId,
    reserved: Reserved,
    peer_id: PeerId,
    reqq: u32,
    is_web_seed: bool,
}
