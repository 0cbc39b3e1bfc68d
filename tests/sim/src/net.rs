//! The network: what happens when, and how long packets are on their way. Packets of one connection keep their order, those of
//! different ones do not.

use crate::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) type NodeId = usize;
pub(crate) type LinkId = u32;

/// What goes over a connection.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// Messages as they go over the wire.
    Words(Vec<u8>),
    /// A PIECE begins.
    Header { index: u32, begin: u32, length: u32 },
    /// It ends: what the block holds.
    Body(u64),
    /// Which blocks of this piece are bad? Stands for hash requests.
    LeafQuery(u32),
    /// The leaf hashes, if they are known.
    LeafAnswer { piece: u32, known: bool },
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Join(NodeId),
    Leave(NodeId),
    Tick(NodeId),
    Arrive {
        link: LinkId,
        to: NodeId,
        packet: Packet,
    },
    Closed {
        link: LinkId,
        node: NodeId,
    },
    /// The node's line can take the next block.
    Uplink(NodeId),
    /// The check of a piece is done.
    Checked {
        node: NodeId,
        piece: u32,
    },
    /// Nodes look for others.
    Meet,
    /// A connection breaks.
    Cut,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [NodeId; 2],
    pub(crate) is_open: bool,
    /// When the last packet to each end arrives.
    last_arrival: [Duration; 2],
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) links: Vec<Link>,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    jitter: Duration,
    delays: Vec<Duration>,
    down_bytes_per_s: Vec<u64>,
    /// When each node's line in is free again.
    down_free_at: Vec<Duration>,
}

impl Net {
    pub(crate) fn new(seed: u64, jitter: Duration, delays: Vec<Duration>, down_bytes_per_s: Vec<u64>) -> Net {
        Net {
            now: Duration::ZERO,
            random: Random::new(seed ^ 0x6e65_7477_6f72_6b00),
            links: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            jitter,
            down_free_at: vec![Duration::ZERO; delays.len()],
            delays,
            down_bytes_per_s,
        }
    }

    pub(crate) fn at(&mut self, when: Duration, event: Event) {
        self.events.insert((when.max(self.now), self.next_event), event);
        self.next_event += 1;
    }

    /// The next thing that happens.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((when, _), event) = self.events.pop_first()?;
        self.now = when;
        Some(event)
    }

    pub(crate) fn connect(&mut self, ends: [NodeId; 2]) -> LinkId {
        self.links.push(Link { ends, is_open: true, last_arrival: [self.now; 2] });
        self.links.len() as LinkId - 1
    }

    /// Ends a connection: both sides hear of it, and nothing more arrives.
    pub(crate) fn close(&mut self, link: LinkId) {
        let entry = &mut self.links[link as usize];
        if std::mem::replace(&mut entry.is_open, false) {
            let (ends, now) = (entry.ends, self.now);
            ends.into_iter().for_each(|node| self.at(now, Event::Closed { link, node }));
        }
    }

    pub(crate) fn other_end(&self, link: LinkId, node: NodeId) -> NodeId {
        let [a, b] = self.links[link as usize].ends;
        if a == node { b } else { a }
    }

    /// Sends what takes no time to send.
    pub(crate) fn send(&mut self, link: LinkId, from: NodeId, packet: Packet) {
        let when = self.now + self.way(link, from);
        self.deliver(link, from, when, packet);
    }

    /// Sends a block whose last byte leaves at `sent_at`. Without its body, it never ends.
    pub(crate) fn send_block(
        &mut self,
        link: LinkId,
        from: NodeId,
        sent_at: Duration,
        header: (u32, u32, u32),
        body: Option<u64>,
    ) {
        let to = self.other_end(link, from);
        let (index, begin, length) = header;
        let size_s = f64::from(length) / self.down_bytes_per_s[to] as f64;
        let begins = (sent_at + self.way(link, from)).max(self.down_free_at[to]);
        let ends = begins + Duration::from_secs_f64(size_s);
        self.down_free_at[to] = ends;
        self.deliver(link, from, begins, Packet::Header { index, begin, length });
        if let Some(body) = body {
            self.deliver(link, from, ends, Packet::Body(body));
        }
    }

    fn way(&mut self, link: LinkId, from: NodeId) -> Duration {
        let late_us = self.random.between(0, self.jitter.as_micros() as u64);
        self.delays[from] + self.delays[self.other_end(link, from)] + Duration::from_micros(late_us)
    }

    fn deliver(&mut self, link: LinkId, from: NodeId, when: Duration, packet: Packet) {
        let to = self.other_end(link, from);
        let entry = &mut self.links[link as usize];
        if entry.is_open {
            let side = usize::from(entry.ends[1] == to);
            let when = when.max(entry.last_arrival[side]);
            entry.last_arrival[side] = when;
            self.at(when, Event::Arrive { link, to, packet });
        }
    }
}
