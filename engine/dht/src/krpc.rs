//! KRPC messages (BEP 5 with BEP 32, 42 and 43): bytes to values and back. Whether a value makes sense at this moment is
//! for `node`.

mod encode;

use std::net::SocketAddr;

use bencode::{Dict, KeyOrder, Limits, List, Value};
use hash::InfoHash;

use crate::address::{Family, canonical, unpack_nodes, unpack_peer};
use crate::limits::{
    MAX_DATAGRAM_BYTES, MAX_DEPTH, MAX_NODES_OF_ANSWER, MAX_TOKEN_BYTES, MAX_TRANSACTION_BYTES, MAX_VALUES,
};
use crate::node_id::NodeId;

/// One datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// What ties an answer to its query.
    pub transaction: &'a [u8],
    /// Which program sent it, if it says so.
    pub version: Option<&'a [u8]>,
    /// Set on queries of nodes that answer none (BEP 43).
    pub read_only: bool,
    /// Where the sender of an answer saw its query come from (BEP 42).
    pub seen_as: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// The three kinds of messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// Its answer.
    Response(Response<'a>),
    /// Its refusal.
    Error(ErrorReply<'a>),
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// What.
    pub method: Method<'a>,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method<'a> {
    /// Whether the node is there.
    Ping,
    /// Which nodes are nearest to `target`.
    FindNode {
        /// The place in the space of ids.
        target: NodeId,
        /// The families of nodes that are asked for; that of the datagram if it does not say.
        want: Option<Want>,
    },
    /// Which peers a swarm has, and which nodes are nearest to it.
    GetPeers {
        /// The swarm.
        info_hash: InfoHash,
        /// The families of nodes that are asked for.
        want: Option<Want>,
    },
    /// That the asker is a peer of a swarm.
    AnnouncePeer {
        /// The swarm.
        info_hash: InfoHash,
        /// Where it takes connections.
        port: u16,
        /// That the port is the one that the datagram came from instead.
        implied_port: bool,
        /// What the answer to its `get_peers` gave it.
        token: &'a [u8],
    },
    /// A query of some extension.
    Unknown(&'a [u8]),
}

/// Which families of nodes are asked for (BEP 32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// Nodes of the IPv4 DHT.
    pub v4: bool,
    /// Nodes of the IPv6 DHT.
    pub v6: bool,
}

/// An answer. One to a ping or an announce has the id alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response<'a> {
    /// Who answers.
    pub id: NodeId,
    /// Packed nodes of the IPv4 DHT.
    pub nodes: Option<&'a [u8]>,
    /// Packed nodes of the IPv6 DHT.
    pub nodes6: Option<&'a [u8]>,
    /// Peers, of any family.
    pub values: Vec<SocketAddr>,
    /// What an announce to this node must show.
    pub token: Option<&'a [u8]>,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorReply<'a> {
    /// 201 to 204 in BEP 5; 0 if it does not say.
    pub code: i64,
    /// For a person.
    pub text: &'a [u8],
}

/// Bytes that are no message. The fault is the sender's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Malformed<'a> {
    /// What is wrong.
    #[source]
    pub error: MessageError,
    /// The transaction of what is a query, who may be told.
    pub query: Option<&'a [u8]>,
}

/// What can be wrong with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Not bencode, or over its limits.
    #[error("not bencode: {0}")]
    Bencode(#[from] bencode::DecodeError),
    /// Not a dictionary.
    #[error("not a dictionary")]
    NotADictionary,
    /// No transaction id, or one that nobody would echo.
    #[error("no usable transaction id")]
    Transaction,
    /// Neither a query nor an answer nor an error.
    #[error("not a known type of message")]
    Type,
    /// No arguments, no answer.
    #[error("no body")]
    NoBody,
    /// No id of twenty bytes.
    #[error("no node id of 20 bytes")]
    Id,
    /// An argument is missing or wrong.
    #[error("a wrong argument: {0}")]
    Argument(&'static str),
}

impl Want {
    /// One family.
    pub fn only(family: Family) -> Want {
        Want { v4: family == Family::V4, v6: family == Family::V6 }
    }

    /// Whether `family` is asked for.
    pub fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Message<'a>, Malformed<'a>> {
        let malformed = |error| Malformed { error, query: None };
        let limits = Limits { input_bytes: MAX_DATAGRAM_BYTES, depth: MAX_DEPTH, keys: KeyOrder::Any };
        // Some send padding or garbage behind the message; the message counts.
        let (value, _) = bencode::decode_prefix(datagram, &limits).map_err(|error| malformed(error.into()))?;
        let dict = value.as_dict().ok_or(malformed(MessageError::NotADictionary))?;
        let [transaction, kind, version, read_only, seen_as, q, a, r, e] =
            dict.get_all(["t", "y", "v", "ro", "ip", "q", "a", "r", "e"]);
        let transaction = bytes(transaction)
            .filter(|id| id.len() <= MAX_TRANSACTION_BYTES)
            .ok_or(malformed(MessageError::Transaction))?;
        let body = match bytes(kind) {
            Some(b"q") => {
                read_query(q, a).map(Body::Query).map_err(|error| Malformed { error, query: Some(transaction) })?
            }
            Some(b"r") => Body::Response(read_response(r).map_err(malformed)?),
            Some(b"e") => Body::Error(read_error(e)),
            _ => return Err(malformed(MessageError::Type)),
        };
        let is_query = matches!(body, Body::Query(_));
        Ok(Message {
            transaction,
            version: bytes(version),
            read_only: is_query && int(read_only) == Some(1),
            seen_as: bytes(seen_as).filter(|_| !is_query).and_then(unpack_peer).map(canonical),
            body,
        })
    }
}

impl<'a> Response<'a> {
    /// The nodes of a family that the answer has.
    pub fn nodes_of(&self, family: Family) -> impl Iterator<Item = (NodeId, SocketAddr)> + 'a {
        let packed = match family {
            Family::V4 => self.nodes,
            Family::V6 => self.nodes6,
        };
        unpack_nodes(family, packed.unwrap_or_default()).take(MAX_NODES_OF_ANSWER)
    }
}

fn read_query<'a>(method: Option<Value<'a>>, arguments: Option<Value<'a>>) -> Result<Query<'a>, MessageError> {
    let arguments = dict(arguments).ok_or(MessageError::NoBody)?;
    let [id, target, info_hash, want, port, implied_port, token] =
        arguments.get_all(["id", "target", "info_hash", "want", "port", "implied_port", "token"]);
    let id = bytes(id).and_then(NodeId::from_bytes).ok_or(MessageError::Id)?;
    let info_hash = || {
        let id = bytes(info_hash).and_then(NodeId::from_bytes);
        id.map(|id| InfoHash(id.0)).ok_or(MessageError::Argument("info_hash"))
    };
    let want = list(want).map(read_want);
    let method = match bytes(method) {
        Some(b"ping") => Method::Ping,
        Some(b"find_node") => {
            let target = bytes(target).and_then(NodeId::from_bytes).ok_or(MessageError::Argument("target"))?;
            Method::FindNode { target, want }
        }
        Some(b"get_peers") => Method::GetPeers { info_hash: info_hash()?, want },
        Some(b"announce_peer") => {
            let implied_port = int(implied_port).is_some_and(|value| value != 0);
            let port = int(port).and_then(|port| u16::try_from(port).ok());
            let port = port.or(implied_port.then_some(0)).ok_or(MessageError::Argument("port"))?;
            let token = bytes(token).ok_or(MessageError::Argument("token"))?;
            Method::AnnouncePeer { info_hash: info_hash()?, port, implied_port, token }
        }
        Some(other) => Method::Unknown(other),
        None => return Err(MessageError::Argument("q")),
    };
    Ok(Query { id, method })
}

fn read_want(wanted: List<'_>) -> Want {
    let has = |name: &[u8]| wanted.iter().any(|value| value.as_bytes() == Some(name));
    Want { v4: has(b"n4"), v6: has(b"n6") }
}

fn read_response(body: Option<Value<'_>>) -> Result<Response<'_>, MessageError> {
    let body = dict(body).ok_or(MessageError::NoBody)?;
    let [id, nodes, nodes6, values, token] = body.get_all(["id", "nodes", "nodes6", "values", "token"]);
    let values = list(values).map_or_else(Vec::new, |list| {
        list.iter().filter_map(|value| value.as_bytes().and_then(unpack_peer)).map(canonical).take(MAX_VALUES).collect()
    });
    Ok(Response {
        id: bytes(id).and_then(NodeId::from_bytes).ok_or(MessageError::Id)?,
        nodes: bytes(nodes),
        nodes6: bytes(nodes6),
        values,
        token: bytes(token).filter(|token| token.len() <= MAX_TOKEN_BYTES),
    })
}

/// Some send errors that are none; that the query was refused is all that counts.
fn read_error(body: Option<Value<'_>>) -> ErrorReply<'_> {
    let mut parts = list(body).into_iter().flat_map(List::into_iter);
    let code = int(parts.next()).unwrap_or_default();
    ErrorReply { code, text: bytes(parts.next()).unwrap_or_default() }
}

fn bytes(value: Option<Value<'_>>) -> Option<&[u8]> {
    value.and_then(|value| value.as_bytes())
}

fn int(value: Option<Value<'_>>) -> Option<i64> {
    value.and_then(|value| value.as_int())
}

fn list(value: Option<Value<'_>>) -> Option<List<'_>> {
    value.and_then(|value| value.as_list())
}

fn dict(value: Option<Value<'_>>) -> Option<Dict<'_>> {
    value.and_then(|value| value.as_dict())
}

#[cfg(test)]
mod tests;
