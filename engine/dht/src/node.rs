//! The node: it composes tables, lookups and the store, and hands out what is to be sent. What each message does is in
//! the files beside it.

mod answer;
mod request;
mod response;
mod side;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use hash::InfoHash;

pub use self::request::{Announce, LookupDone, LookupId, Refused};
use self::request::{Request, Running};
use self::side::Side;
use crate::Millis;
use crate::address::{Family, canonical, is_usable};
use crate::answer_limit::AnswerLimit;
use crate::krpc::{Body, Message, Method, Query, Want};
use crate::limits::{BAD_FAILURES, K, MAX_TRANSMITS, SWEEP_MS};
use crate::lookup::LookupKey;
use crate::node_id::NodeId;
use crate::peer_store::{PeerStore, StoreLimits};
use crate::random::Random;
use crate::state::{self, StateError};
use crate::tokens::Tokens;
use crate::transactions::{Pending, Purpose, Transactions};

/// How we present ourselves in messages: `SW` and a version, in the four bytes that everybody uses.
const VERSION: [u8; 4] = *b"SW\0\x01";

/// What a node is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Whether it takes part in the IPv4 DHT.
    pub v4: bool,
    /// Whether it takes part in the IPv6 DHT.
    pub v6: bool,
    /// Whether it asks only and answers nobody (BEP 43): for who cannot be reached.
    pub read_only: bool,
    /// Answers that one host (an IPv4 address, a /64 of IPv6) may have each second.
    pub answers_per_host_per_s: u32,
    /// Answers that all together may have each second.
    pub answers_per_s: u32,
    /// How many peers are kept for others.
    pub store: StoreLimits,
}

impl Default for Config {
    /// Both families; at most 500 answers a second, which is 2.5 Mbit/s with the largest ones.
    fn default() -> Config {
        Config {
            v4: true,
            v6: true,
            read_only: false,
            answers_per_host_per_s: 25,
            answers_per_s: 500,
            store: StoreLimits::default(),
        }
    }
}

/// A node of both DHTs or of one.
pub struct Dht {
    config: Config,
    random: Random,
    v4: Option<Side>,
    v6: Option<Side>,
    transactions: Transactions,
    lookups: BTreeMap<LookupKey, Running>,
    next_key: LookupKey,
    /// What the caller asked for; at most [`crate::limits::MAX_LOOKUPS`].
    requests: BTreeMap<LookupId, Request>,
    store: PeerStore,
    sweep_at: Millis,
    tokens: Tokens,
    answer_limit: AnswerLimit,
    /// At most [`MAX_TRANSMITS`].
    transmits: VecDeque<Transmit>,
    /// What the caller has not polled: at most one for each answer and each request.
    events: VecDeque<Event>,
    counters: Counters,
}

/// A datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub datagram: Vec<u8>,
}

/// What a caller is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Peers of a swarm that is looked up, each once a lookup and family.
    Peers {
        /// The swarm.
        info_hash: InfoHash,
        /// Where they take connections.
        peers: Vec<SocketAddr>,
    },
    /// A lookup has ended in all families.
    LookupDone(LookupDone),
}

/// What happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Datagrams that came.
    pub received: u64,
    /// Of those, what was no message.
    pub malformed: u64,
    /// Answers to nothing that we asked there.
    pub unmatched: u64,
    /// Queries that were answered.
    pub answered: u64,
    /// Queries over the rate of their host or of all.
    pub over_rate: u64,
    /// Announces that the store had no room for.
    pub announces_refused: u64,
    /// Queries that we sent.
    pub queries: u64,
    /// Of those, what nobody answered in time.
    pub unanswered: u64,
    /// Datagrams that nobody polled in time.
    pub transmits_dropped: u64,
    /// Addresses that were not tried for want of room.
    pub probes_dropped: u64,
    /// Times that our id changed with our address.
    pub id_changes: u64,
}

/// How it goes in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SideStatus {
    /// Our id there.
    pub id: NodeId,
    /// Nodes in the table that answer, as far as one can know.
    pub nodes: usize,
    /// Our address as others see it, once enough of them agree.
    pub external_ip: Option<IpAddr>,
}

impl Dht {
    /// A node that knows nobody. `seed` must be secret: tokens and transaction ids are made of it.
    pub fn new(config: Config, seed: [u8; 32], now: Millis) -> Dht {
        let mut random = Random::new(seed);
        let mut side = |is_on: bool, family| is_on.then(|| Side::new(family, NodeId(random.bytes()), now));
        let (v4, v6) = (side(config.v4, Family::V4), side(config.v6, Family::V6));
        Dht {
            v4,
            v6,
            transactions: Transactions::default(),
            lookups: BTreeMap::new(),
            next_key: 0,
            requests: BTreeMap::new(),
            store: PeerStore::new(config.store),
            sweep_at: now + SWEEP_MS,
            tokens: Tokens::new(random.bytes()),
            answer_limit: AnswerLimit::new(now, random.bytes(), config.answers_per_host_per_s, config.answers_per_s),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            config,
            random,
        }
    }

    /// A datagram that came from `from`.
    pub fn handle_datagram(&mut self, now: Millis, from: SocketAddr, datagram: &[u8]) {
        let from = canonical(from);
        self.counters.received += 1;
        if !is_usable(from) || self.side(Family::of(from.ip())).is_none() {
            return;
        }
        match Message::decode(datagram) {
            Ok(Message { transaction, read_only, body: Body::Query(query), .. }) => {
                self.answer(now, from, transaction, read_only, &query);
            }
            Ok(Message { transaction, seen_as, body: Body::Response(response), .. }) => {
                self.take_response(now, from, transaction, seen_as, &response);
            }
            Ok(Message { transaction, body: Body::Error(_), .. }) => self.take_refusal(now, from, transaction),
            Err(malformed) => {
                self.counters.malformed += 1;
                if let Some(transaction) = malformed.query {
                    self.refuse_malformed(now, from, transaction, malformed.error);
                }
            }
        }
    }

    /// Does what is due; call it when [`Dht::next_tick`] says, or a little later.
    pub fn handle_tick(&mut self, now: Millis) {
        self.tick_queries(now);
        for family in Family::ALL {
            self.tick_side(now, family);
        }
        if now >= self.sweep_at {
            self.store.sweep(now);
            self.sweep_at = now + SWEEP_MS;
        }
    }

    /// When the next tick is due, at most a second from now.
    pub fn next_tick(&self) -> Millis {
        let sides = self.sides().map(|side| side.upkeep_at);
        sides.chain(self.transactions.deadline()).min().unwrap_or(self.sweep_at)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Tries whether there is a node: one that a peer, a magnet or a torrent told of.
    pub fn add_node(&mut self, now: Millis, address: SocketAddr) {
        let address = canonical(address);
        if let Some(side) = self.side_mut(Family::of(address.ip())) {
            let is_queued = side.probe(address);
            side.upkeep_at = side.upkeep_at.min(now);
            self.counters.probes_dropped += u64::from(!is_queued);
        }
    }

    /// Adds a node to begin with while we know few others. It does not get into the table, as BEP 5 asks for those that
    /// everybody begins with.
    pub fn add_router(&mut self, now: Millis, address: SocketAddr) {
        let address = canonical(address);
        if let Some(side) = self.side_mut(Family::of(address.ip())) {
            side.add_router(now, address);
        }
    }

    /// What the next start should know: our ids and the nodes that answer.
    pub fn export(&self) -> Vec<u8> {
        let own = |side: &Option<Side>| side.as_ref().map(|side| side.table.own());
        let nodes = |side: &Option<Side>| side.as_ref().map_or_else(Vec::new, Side::nodes_to_remember);
        state::encode([own(&self.v4), own(&self.v6)], [nodes(&self.v4), nodes(&self.v6)])
    }

    /// Takes over what another run has exported; to be called before anything else. Any bytes are safe.
    pub fn import(&mut self, now: Millis, bytes: &[u8]) -> Result<(), StateError> {
        let (ids, nodes) = state::decode(bytes)?;
        for ((family, id), nodes) in Family::ALL.into_iter().zip(ids).zip(nodes) {
            if let Some(side) = self.side_mut(family) {
                side.remember(now, id, nodes);
            }
        }
        Ok(())
    }

    /// How it goes in a family, if we take part in it.
    pub fn status(&self, family: Family) -> Option<SideStatus> {
        self.side(family).map(|side| SideStatus {
            id: side.table.own(),
            nodes: side.table.usable_count(),
            external_ip: side.external.elected(),
        })
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Peers that are kept for others.
    pub fn stored_peers(&self) -> usize {
        self.store.len()
    }

    fn side(&self, family: Family) -> Option<&Side> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    fn side_mut(&mut self, family: Family) -> Option<&mut Side> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.v4.iter().chain(&self.v6)
    }

    /// Which nodes a lookup asks for: those of both families while one of our tables is poor (BEP 32).
    fn wanted(&self) -> Option<Want> {
        let is_dual = self.v4.is_some() && self.v6.is_some();
        let is_poor = self.sides().any(|side| side.table.usable_count() < K);
        (is_dual && is_poor).then_some(Want { v4: true, v6: true })
    }

    /// Sends a query; who checks [`Transactions::is_full`] first loses none.
    fn query(&mut self, now: Millis, to: SocketAddr, id: Option<NodeId>, method: Method<'_>, purpose: Purpose) {
        let Some(own) = self.side(Family::of(to.ip())).map(|side| side.table.own()) else { return };
        let transaction = self.transactions.open(now, &mut self.random, Pending { to, id, purpose }).to_be_bytes();
        self.counters.queries += 1;
        let message = Message {
            transaction: &transaction,
            version: Some(&VERSION),
            read_only: self.config.read_only,
            seen_as: None,
            body: Body::Query(Query { id: own, method }),
        };
        self.transmit(to, message.encode());
    }

    fn transmit(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.transmits.len() >= MAX_TRANSMITS {
            self.counters.transmits_dropped += 1;
            return;
        }
        self.transmits.push_back(Transmit { to, datagram });
    }

    /// Where a lookup of ours begins: the nearest that we know, and while those are few, whom we knew and whom everybody
    /// knows.
    fn beginning(&mut self, family: Family, target: NodeId) -> Vec<(Option<NodeId>, SocketAddr)> {
        let Some(side) = self.side_mut(family) else { return Vec::new() };
        let known = side.table.closest(target, 2 * K, BAD_FAILURES - 1);
        let is_poor = known.len() < K;
        let mut beginning: Vec<_> = known.into_iter().map(|(id, address)| (Some(id), address)).collect();
        if is_poor {
            beginning.extend(side.next_remembered().map(|(id, address)| (Some(id), address)));
            beginning.extend(side.routers.iter().map(|address| (None, *address)));
        }
        beginning
    }
}

#[cfg(test)]
mod tests;
