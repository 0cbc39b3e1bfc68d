//! A network of nodes in simulated time: datagrams take a while, get lost, and some nodes are dead or hostile. One seed
//! makes one run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dht::{Announce, Body, Config, Dht, Event, Family, LookupDone, Message, Millis, NodeId, Response};
use hash::InfoHash;

/// How long a datagram may take.
const DELAY_MS: std::ops::Range<u64> = 10..150;
const STEP_MS: Millis = 25;

pub(crate) struct Network {
    pub(crate) now: Millis,
    pub(crate) members: Vec<Member>,
    places: BTreeMap<SocketAddr, usize>,
    flights: BTreeMap<(Millis, u64), Flight>,
    sent: u64,
    pub(crate) random: Random,
    pub(crate) loss_percent: u64,
}

pub(crate) struct Member {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) kind: Kind,
    pub(crate) events: Vec<Event>,
}

pub(crate) enum Kind {
    Honest(Box<Dht>),
    /// Answers nobody.
    Dead,
    /// Answers with what is chosen for each query.
    Hostile(Hostile),
}

/// What a hostile node wants: to be the nearest to this swarm, and to waste the time of who looks for it.
#[derive(Clone, Copy)]
pub(crate) struct Hostile {
    pub(crate) target: InfoHash,
}

struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        Network {
            now: 1_000_000,
            members: Vec::new(),
            places: BTreeMap::new(),
            flights: BTreeMap::new(),
            sent: 0,
            random: Random(seed),
            loss_percent: 0,
        }
    }

    /// Adds `count` honest nodes on the Internet that begin at `routers`.
    pub(crate) fn add_honest(&mut self, count: usize, config: Config, routers: &[SocketAddr]) {
        for _ in 0..count {
            let index = self.add(config, None);
            let now = self.now;
            routers.iter().for_each(|router| self.dht(index).add_router(now, *router));
        }
    }

    /// Adds one honest node, which knows nobody but what it kept of a former run.
    pub(crate) fn add(&mut self, config: Config, state: Option<&[u8]>) -> usize {
        let mut addresses = Vec::new();
        if config.v4 {
            addresses.push(self.fresh_address(Family::V4));
        }
        if config.v6 {
            addresses.push(self.fresh_address(Family::V6));
        }
        let mut dht = Dht::new(config, self.random.bytes(), self.now);
        if let Some(state) = state {
            dht.import(self.now, state).unwrap();
        }
        self.place(addresses, Kind::Honest(Box::new(dht)))
    }

    pub(crate) fn add_other(&mut self, family: Family, kind: Kind) -> usize {
        let address = self.fresh_address(family);
        self.place(vec![address], kind)
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.members[index].kind = Kind::Dead;
    }

    pub(crate) fn dht(&mut self, index: usize) -> &mut Dht {
        match &mut self.members[index].kind {
            Kind::Honest(dht) => dht,
            Kind::Dead | Kind::Hostile(_) => panic!("node {index} is not one of ours"),
        }
    }

    pub(crate) fn run(&mut self, duration: Millis) {
        let end = self.now + duration;
        while self.now < end {
            self.now += STEP_MS;
            while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let flight = entry.remove();
                self.deliver(&flight);
            }
            for index in 0..self.members.len() {
                if let Kind::Honest(dht) = &mut self.members[index].kind
                    && dht.next_tick() <= self.now
                {
                    dht.handle_tick(self.now);
                }
                self.drain(index);
            }
        }
    }

    /// Looks a swarm up from a node, and runs until that is done.
    pub(crate) fn lookup(
        &mut self,
        index: usize,
        info_hash: InfoHash,
        announce: Option<Announce>,
    ) -> (LookupDone, Vec<SocketAddr>) {
        let now = self.now;
        self.members[index].events.clear();
        let id = self.dht(index).lookup(now, info_hash, announce).unwrap();
        self.drain(index);
        let mut found = Vec::new();
        for _ in 0..5_000 {
            for event in std::mem::take(&mut self.members[index].events) {
                match event {
                    Event::Peers { info_hash: of, peers } if of == info_hash => found.extend(peers),
                    Event::LookupDone(done) if done.id == id => return (done, found),
                    Event::Peers { .. } | Event::LookupDone(_) => {}
                }
            }
            self.run(STEP_MS);
        }
        panic!("a lookup does not end");
    }

    fn fresh_address(&mut self, family: Family) -> SocketAddr {
        let [a, b, c, d] = self.random.bytes();
        let ip: IpAddr = match family {
            // Anywhere on the Internet that is not somebody's own network.
            Family::V4 => Ipv4Addr::new(11 + a % 100, b, c, d).into(),
            Family::V6 => {
                Ipv6Addr::new(0x2a00 + u16::from(a), u16::from(b), u16::from(c), u16::from(d), 0, 0, 0, 1).into()
            }
        };
        SocketAddr::new(ip, 6881)
    }

    fn place(&mut self, addresses: Vec<SocketAddr>, kind: Kind) -> usize {
        let index = self.members.len();
        self.places.extend(addresses.iter().map(|address| (*address, index)));
        self.members.push(Member { addresses, kind, events: Vec::new() });
        self.drain(index);
        index
    }

    fn deliver(&mut self, Flight { from, to, datagram }: &Flight) {
        let Some(index) = self.places.get(to).copied() else { return };
        match &mut self.members[index].kind {
            Kind::Honest(dht) => dht.handle_datagram(self.now, *from, datagram),
            Kind::Dead => {}
            Kind::Hostile(hostile) => {
                let hostile = *hostile;
                for answer in hostile.answers(&mut self.random, *from, datagram) {
                    self.send(*to, *from, answer);
                }
            }
        }
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Kind::Honest(dht) = &mut member.kind else { return };
        member.events.extend(std::iter::from_fn(|| dht.poll_event()));
        let transmits: Vec<_> = std::iter::from_fn(|| dht.poll_transmit()).collect();
        for transmit in transmits {
            assert!(transmit.datagram.len() <= dht::limits::MAX_SENT_BYTES, "{} bytes", transmit.datagram.len());
            let family = Family::of(transmit.to.ip());
            let from = self.members[index].addresses.iter().find(|address| Family::of(address.ip()) == family);
            let from = *from.expect("a node sends in its families only");
            self.send(from, transmit.to, transmit.datagram);
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        if self.random.below(100) < self.loss_percent {
            return;
        }
        let arrives = self.now + DELAY_MS.start + self.random.below(DELAY_MS.end - DELAY_MS.start);
        self.sent += 1;
        self.flights.insert((arrives, self.sent), Flight { from, to, datagram });
    }
}

impl Hostile {
    fn answers(self, random: &mut Random, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        let Ok(Message { transaction, body: Body::Query(_), .. }) = Message::decode(datagram) else {
            return Vec::new();
        };
        let near = |random: &mut Random| {
            let mut id = self.target.0;
            id[16..].copy_from_slice(&random.bytes::<4>());
            NodeId(id)
        };
        // Far more nodes than anybody asks for, all of them nearest to the target, half of them on the asker's own network.
        let mut nodes = Vec::new();
        for n in 0..60 {
            nodes.extend_from_slice(&near(random).0);
            let [a, b, c, d] = random.bytes();
            nodes.extend_from_slice(&if n % 2 == 0 { [127, 0, 0, 1] } else { [11 + a % 100, b, c, d] });
            nodes.extend_from_slice(&6881u16.to_be_bytes());
        }
        let id = near(random);
        let response = Response { id, nodes: Some(&nodes), token: Some(b"trap"), ..Response::default() };
        let lie: SocketAddr = "203.0.113.66:1".parse().unwrap();
        let message =
            |transaction, body| Message { transaction, version: None, read_only: false, seen_as: Some(lie), body };
        let answer = message(transaction, Body::Response(response.clone())).encode();
        match random.below(4) {
            0 => vec![random.bytes::<100>().to_vec(), answer],
            1 => vec![answer[..answer.len() / 2].to_vec()],
            // Answers to what was never asked, from here and twice.
            2 => vec![message(b"zzzz", Body::Response(response)).encode(), answer.clone(), answer],
            _ => {
                let values = (0..180).map(|_| SocketAddr::new(from.ip(), 9)).collect();
                let response = Response { id, values, token: Some(b"trap"), ..Response::default() };
                vec![message(transaction, Body::Response(response)).encode()]
            }
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.below(256) as u8)
    }
}
