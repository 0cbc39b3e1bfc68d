//! Queries of others, and what they are told.

use std::net::SocketAddr;

use hash::InfoHash;

use crate::Millis;
use crate::address::{Family, is_local, pack_node};
use crate::krpc::{Body, ErrorReply, Message, MessageError, Method, Query, Response, Want};
use crate::limits::{K, MAX_SENT_BYTES};
use crate::node::{Dht, VERSION};
use crate::node_id::NodeId;
use crate::routing_table::Asker;

/// `6:values`, `l` and `e`.
const VALUES_KEY_BYTES: usize = 10;
/// Codes of BEP 5.
const SERVER_ERROR: i64 = 202;
const PROTOCOL_ERROR: i64 = 203;
const METHOD_UNKNOWN: i64 = 204;

/// A refusal for the asker.
type Refusal = ErrorReply<'static>;

impl Dht {
    pub(super) fn answer(
        &mut self,
        now: Millis,
        from: SocketAddr,
        transaction: &[u8],
        read_only: bool,
        query: &Query<'_>,
    ) {
        if !self.may_answer(now, from) {
            return;
        }
        self.note_asker(now, from, read_only, query.id);
        let family = Family::of(from.ip());
        let result = match query.method {
            Method::Ping => self.respond(from, transaction, Response::default()),
            Method::FindNode { target, want } => {
                let [nodes, nodes6] = self.packed_nodes(from, target, want.unwrap_or(Want::only(family)));
                let response = Response { nodes: nodes.as_deref(), nodes6: nodes6.as_deref(), ..Response::default() };
                self.respond(from, transaction, response)
            }
            Method::GetPeers { info_hash, want } => {
                self.answer_get_peers(now, from, transaction, info_hash, want.unwrap_or(Want::only(family)))
            }
            Method::AnnouncePeer { info_hash, port, implied_port, token } => {
                let port = if implied_port { from.port() } else { port };
                self.take_announce(now, SocketAddr::new(from.ip(), port), info_hash, token)
                    .and_then(|()| self.respond(from, transaction, Response::default()))
            }
            Method::Unknown(_) => Err(refusal(METHOD_UNKNOWN, b"method unknown")),
        };
        self.counters.answered += 1;
        if let Err(refusal) = result {
            self.send_answer(from, transaction, Body::Error(refusal));
        }
    }

    /// Tells the sender of a query that it makes no sense.
    pub(super) fn refuse_malformed(&mut self, now: Millis, from: SocketAddr, transaction: &[u8], error: MessageError) {
        if self.may_answer(now, from) {
            let text = error.to_string();
            let reply = ErrorReply { code: PROTOCOL_ERROR, text: text.as_bytes() };
            self.send_answer(from, transaction, Body::Error(reply));
        }
    }

    fn may_answer(&mut self, now: Millis, from: SocketAddr) -> bool {
        if self.config.read_only {
            return false;
        }
        let may = self.answer_limit.take(now, from.ip());
        self.counters.over_rate += u64::from(!may);
        may
    }

    /// Who asks may be worth knowing, unless it answers nobody (BEP 43).
    fn note_asker(&mut self, now: Millis, from: SocketAddr, read_only: bool, id: NodeId) {
        let Some(side) = self.side_mut(Family::of(from.ip())) else { return };
        if !read_only && side.table.queried(now, id, from) == Asker::Welcome {
            let is_queued = side.probe_asker(now, from);
            self.counters.probes_dropped += u64::from(!is_queued);
        }
    }

    fn answer_get_peers(
        &mut self,
        now: Millis,
        from: SocketAddr,
        transaction: &[u8],
        info_hash: InfoHash,
        want: Want,
    ) -> Result<(), Refusal> {
        let [nodes, nodes6] = self.packed_nodes(from, info_hash.into(), want);
        let token = self.tokens.make(now, from.ip());
        let response =
            Response { nodes: nodes.as_deref(), nodes6: nodes6.as_deref(), token: Some(&token), ..Response::default() };
        let family = Family::of(from.ip());
        let without_values = self.answer_message(from, transaction, Body::Response(response.clone())).encode().len();
        // A peer is a string: its size in digits, a colon, its bytes.
        let peer_bytes = family.peer_bytes() + if family == Family::V4 { 2 } else { 3 };
        let room = MAX_SENT_BYTES.saturating_sub(without_values + VALUES_KEY_BYTES) / peer_bytes;
        let mut values = self.store.sample(now, &mut self.random, info_hash, family, room);
        values.retain(|peer| may_leave(from, *peer));
        self.respond(from, transaction, Response { values, ..response })
    }

    fn take_announce(
        &mut self,
        now: Millis,
        peer: SocketAddr,
        info_hash: InfoHash,
        token: &[u8],
    ) -> Result<(), Refusal> {
        if !self.tokens.check(now, peer.ip(), token) {
            return Err(refusal(PROTOCOL_ERROR, b"bad token"));
        }
        if peer.port() == 0 {
            return Err(refusal(PROTOCOL_ERROR, b"bad port"));
        }
        if !self.store.announce(now, info_hash, peer) {
            self.counters.announces_refused += 1;
            return Err(refusal(SERVER_ERROR, b"no room"));
        }
        Ok(())
    }

    /// The nodes nearest to `target`, packed, of the families that are wanted and that we take part in.
    fn packed_nodes(&self, asker: SocketAddr, target: NodeId, want: Want) -> [Option<Vec<u8>>; 2] {
        Family::ALL.map(|family| {
            let side = self.side(family).filter(|_| want.has(family))?;
            let mut packed = Vec::new();
            for (id, address) in side.table.closest(target, K, 0) {
                if may_leave(asker, address) {
                    pack_node(&mut packed, id, address);
                }
            }
            Some(packed)
        })
    }

    /// Sends an answer of ours, whose id is filled in.
    fn respond(&mut self, to: SocketAddr, transaction: &[u8], response: Response<'_>) -> Result<(), Refusal> {
        self.send_answer(to, transaction, Body::Response(response));
        Ok(())
    }

    fn send_answer(&mut self, to: SocketAddr, transaction: &[u8], body: Body<'_>) {
        let datagram = self.answer_message(to, transaction, body).encode();
        self.transmit(to, datagram);
    }

    fn answer_message<'a>(&self, to: SocketAddr, transaction: &'a [u8], mut body: Body<'a>) -> Message<'a> {
        if let Body::Response(response) = &mut body {
            response.id = self.side(Family::of(to.ip())).map_or(NodeId::default(), |side| side.table.own());
        }
        Message { transaction, version: Some(&VERSION), read_only: false, seen_as: Some(to), body }
    }
}

fn refusal(code: i64, text: &'static [u8]) -> Refusal {
    ErrorReply { code, text }
}

/// What is on our own network is of no use outside, and nobody's business there.
fn may_leave(asker: SocketAddr, address: SocketAddr) -> bool {
    !is_local(address.ip()) || is_local(asker.ip())
}
