//! What a node keeps over restarts: its ids and the nodes that answered it.

use std::net::SocketAddr;

use bencode::{KeyOrder, Limits, encode_dict};

use crate::address::{Family, pack_node, unpack_nodes};
use crate::limits::{MAX_REMEMBERED, MAX_STATE_BYTES};
use crate::node_id::NodeId;

/// Per family, IPv4 first.
type Ids = [Option<NodeId>; 2];
type Nodes = [Vec<(NodeId, SocketAddr)>; 2];

const ID_KEYS: [&str; 2] = ["id", "id6"];
const NODE_KEYS: [&str; 2] = ["nodes", "nodes6"];

/// Why a state cannot be read. The fault is of who wrote or changed the file; a node starts well without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// Not bencode, or too large.
    #[error("not bencode: {0}")]
    Bencode(#[from] bencode::DecodeError),
    /// Not a dictionary.
    #[error("not a dictionary")]
    NotADictionary,
}

pub(crate) fn encode(ids: Ids, nodes: Nodes) -> Vec<u8> {
    encode_dict(|dict| {
        for (key, id) in ID_KEYS.into_iter().zip(ids) {
            if let Some(id) = id {
                dict.bytes(key, id.0);
            }
        }
        for (key, nodes) in NODE_KEYS.into_iter().zip(nodes) {
            let mut packed = Vec::new();
            nodes.into_iter().for_each(|(id, address)| pack_node(&mut packed, id, address));
            dict.bytes(key, packed);
        }
    })
}

/// Reads what [`encode`] wrote; what is missing or of the wrong kind is left out.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Ids, Nodes), StateError> {
    let limits = Limits { input_bytes: MAX_STATE_BYTES, depth: 4, keys: KeyOrder::Any };
    let dict = bencode::decode(bytes, &limits)?.as_dict().ok_or(StateError::NotADictionary)?;
    let ids = dict.get_all(ID_KEYS).map(|id| id.and_then(|id| NodeId::from_bytes(id.as_bytes()?)));
    let [nodes, nodes6] = dict.get_all(NODE_KEYS).map(|nodes| nodes.and_then(|nodes| nodes.as_bytes()));
    let unpack =
        |family, packed: Option<&[u8]>| unpack_nodes(family, packed.unwrap_or_default()).take(MAX_REMEMBERED).collect();
    Ok((ids, [unpack(Family::V4, nodes), unpack(Family::V6, nodes6)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let ids = [Some(NodeId([1; 20])), None];
        let node = |text: &str| (NodeId([2; 20]), text.parse().unwrap());
        let nodes = [vec![node("192.0.2.1:1"), node("192.0.2.2:2")], vec![node("[2001:db8::1]:3")]];
        assert_eq!(decode(&encode(ids, nodes.clone())), Ok((ids, nodes)));
    }

    #[test]
    fn the_largest_state_is_within_its_limit() {
        let nodes = |address: &str| vec![(NodeId([2; 20]), address.parse().unwrap()); MAX_REMEMBERED];
        let bytes = encode([Some(NodeId([1; 20])); 2], [nodes("192.0.2.1:1"), nodes("[2001:db8::1]:3")]);
        assert!(bytes.len() < MAX_STATE_BYTES && decode(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
