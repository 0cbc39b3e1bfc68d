//! The swarm: nodes, the network between them, and the time that passes.

use crate::net::{Event, Net, NodeId};
use crate::node::{Node, address};
use crate::plan::{Conduct, Plan};
use std::time::Duration;
use swarm::{BanReason, Progress};

/// A swarm that takes longer is stuck.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// How often nodes look for others.
const MEET_INTERVAL: Duration = Duration::from_millis(500);

/// Connections that a node looks for.
const LINKS_WANTED: usize = 6;

/// A swarm under way.
pub struct World {
    nodes: Vec<Node>,
    net: Net,
    cuts_per_minute: u64,
    seed: u64,
    steps: u64,
}

/// How a swarm ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When the last honest leech that stayed had everything.
    pub finished_at: Duration,
    /// Things that happened.
    pub steps: u64,
    /// Bytes that each node sent.
    pub sent_bytes: Vec<u64>,
    /// What each leech that finished counted.
    pub progress: Vec<Progress>,
    /// Who was banned by whom, and why.
    pub bans: Vec<(usize, usize, BanReason)>,
    /// When each leech finished.
    pub finish_times: Vec<Duration>,
}

impl World {
    /// The swarm before anything happens.
    pub fn new(plan: &Plan) -> World {
        let delays = plan.nodes.iter().map(|node| node.delay).collect();
        let down = plan.nodes.iter().map(|node| node.down_bytes_per_s).collect();
        let mut net = Net::new(plan.seed, plan.jitter, delays, down);
        let node = |(id, node): (usize, &crate::NodePlan)| {
            Node::new(id, *node, plan.torrent.clone(), plan.seed ^ (id as u64) << 32, plan.check_time)
        };
        let nodes: Vec<Node> = plan.nodes.iter().enumerate().map(node).collect();
        for node in &nodes {
            net.at(node.plan.joins_at, Event::Join(node.id));
            if let Some(leaves_at) = node.plan.leaves_at {
                net.at(node.plan.joins_at + leaves_at, Event::Leave(node.id));
            }
        }
        net.at(Duration::from_millis(1), Event::Meet);
        if plan.cuts_per_minute > 0 {
            net.at(Duration::from_secs(1), Event::Cut);
        }
        World { nodes, net, cuts_per_minute: plan.cuts_per_minute, seed: plan.seed, steps: 0 }
    }

    /// Lets time pass until everybody who is to have it has it.
    ///
    /// # Panics
    /// If something happens that must not, with the seed.
    pub fn run(mut self) -> Outcome {
        while !self.is_done() {
            let event = self.net.next().expect("the clock goes on");
            self.steps += 1;
            assert!(self.net.now < DEADLINE, "seed {}: {} is stuck", self.seed, self.stuck());
            self.step(event);
        }
        self.outcome()
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Join(node) => {
                self.nodes[node].is_here = true;
                self.nodes[node].tick(&mut self.net);
            }
            Event::Leave(node) => {
                self.nodes[node].is_here = false;
                let links: Vec<u32> = self.nodes[node].peers.keys().copied().collect();
                links.into_iter().for_each(|link| self.net.close(link));
            }
            Event::Tick(node) if self.nodes[node].is_here => self.nodes[node].tick(&mut self.net),
            Event::Tick(_) => {}
            Event::Arrive { link, to, packet } => {
                if self.net.links[link as usize].is_open {
                    self.nodes[to].receive(&mut self.net, link, packet);
                }
            }
            Event::Closed { link, node } => self.nodes[node].forget(&mut self.net, link),
            Event::Uplink(node) => self.nodes[node].uplink(&mut self.net),
            Event::Checked { node, piece } => self.nodes[node].checked(&mut self.net, piece),
            Event::Meet => self.meet(),
            Event::Cut => self.cut(),
        }
    }

    /// Every node that has too few connections looks for one more.
    fn meet(&mut self) {
        for node in 0..self.nodes.len() {
            let other = self.net.random.between(0, self.nodes.len() as u64 - 1) as NodeId;
            if self.may_meet(node, other) {
                let link = self.net.connect([node, other]);
                let (here, there) = (self.nodes[node].introduce(), self.nodes[other].introduce());
                self.nodes[node].open(&mut self.net, link, &there);
                self.nodes[other].open(&mut self.net, link, &here);
            }
        }
        self.net.at(self.net.now + MEET_INTERVAL, Event::Meet);
    }

    fn may_meet(&self, a: NodeId, b: NodeId) -> bool {
        let (one, other) = (&self.nodes[a], &self.nodes[b]);
        let both_here = one.is_here && other.is_here && a != b;
        let both_want = one.peers.len() < LINKS_WANTED && (one.leech.is_some() || other.leech.is_some());
        let refused = one.banned.contains(&address(b).ip()) || other.banned.contains(&address(a).ip());
        both_here && both_want && !refused && !one.has_peer(b)
    }

    fn cut(&mut self) {
        if !self.net.links.is_empty() {
            let link = self.net.random.between(0, self.net.links.len() as u64 - 1) as u32;
            self.net.close(link);
        }
        let gap_ms = 60_000 / self.cuts_per_minute;
        let gap_ms = self.net.random.between(gap_ms / 2, gap_ms * 3 / 2);
        self.net.at(self.net.now + Duration::from_millis(gap_ms), Event::Cut);
    }

    fn must_finish(node: &Node) -> bool {
        node.plan.conduct == Conduct::Leech && node.plan.leaves_at.is_none()
    }

    fn is_done(&self) -> bool {
        self.nodes.iter().filter(|node| World::must_finish(node)).all(|node| node.finished_at.is_some())
    }

    fn stuck(&self) -> String {
        let stuck = self.nodes.iter().filter(|node| World::must_finish(node) && node.finished_at.is_none());
        let tell = |node: &Node| {
            let open: Vec<_> = node.leech.iter().flat_map(|leech| leech.download.open_pieces()).collect();
            format!(
                "node {} {:?} lacks {:?}, open {open:?}",
                node.id,
                node.plan,
                node.have.piece_count() - node.have.count()
            )
        };
        stuck.map(tell).collect::<Vec<_>>().join("; ")
    }

    fn outcome(self) -> Outcome {
        let finish_times: Vec<Duration> = self.nodes.iter().filter_map(|node| node.finished_at).collect();
        let bans = self.nodes.iter().flat_map(|node| node.bans.iter().map(|(culprit, why)| (node.id, *culprit, *why)));
        let finished = self.nodes.iter().filter(|node| node.finished_at.is_some());
        let outcome = Outcome {
            finished_at: self.net.now,
            steps: self.steps,
            sent_bytes: self.nodes.iter().map(|node| node.sent_bytes).collect(),
            progress: finished.map(|node| node.progress).collect(),
            bans: bans.collect(),
            finish_times,
        };
        for (_, culprit, reason) in &outcome.bans {
            let conduct = self.nodes[*culprit].plan.conduct;
            let just = conduct.spoils() || *reason == BanReason::Strikes;
            assert!(just, "seed {}: {conduct:?} is banned for {reason:?}", self.seed);
        }
        outcome
    }
}
