//! The DHT: a datagram as anybody may send it, and the state that a node reads at its start.

use std::net::SocketAddr;

use dht::limits::{MAX_DATAGRAM_BYTES, MAX_SENT_BYTES, PROBES_PER_TICK};
use dht::{Body, Config, Dht, Family, Message};

/// A datagram, taken for a message by itself and by a node that waits for answers.
pub fn dht_datagram(input: &[u8]) {
    if let Ok(message) = Message::decode(input) {
        if let Body::Response(response) = &message.body {
            let nodes = Family::ALL.map(|family| response.nodes_of(family).count());
            assert!(nodes.into_iter().all(|count| count <= dht::limits::MAX_NODES_OF_ANSWER));
            assert!(response.values.len() <= dht::limits::MAX_VALUES);
        }
        // Written with all its arguments, a message may have become too long to be read.
        let again = message.encode();
        assert!(again.len() > MAX_DATAGRAM_BYTES || Message::decode(&again).as_ref() == Ok(&message));
    }
    let mut node = Dht::new(Config::default(), [7; 32], 0);
    let others: [SocketAddr; 3] = [([192, 0, 2, 1], 1).into(), ([127, 0, 0, 1], 2).into(), ([0; 16], 3).into()];
    for from in others {
        node.add_node(0, from);
        node.handle_datagram(1, from, input);
        node.handle_tick(1_000);
        answer_with(&mut node, input);
    }
}

/// Sends the input again as the answer to whatever the node asks, with the transaction that it waits for.
fn answer_with(node: &mut Dht, input: &[u8]) {
    let transmits: Vec<_> = std::iter::from_fn(|| node.poll_transmit()).collect();
    assert!(transmits.len() <= 2 * (PROBES_PER_TICK + 2));
    for transmit in transmits {
        assert!(transmit.datagram.len() <= MAX_SENT_BYTES);
        let asked = Message::decode(&transmit.datagram).expect("what a node sends is a message");
        let is_query = matches!(asked.body, Body::Query(_));
        if let Ok(mut answer) = Message::decode(input).map_err(drop)
            && is_query
        {
            answer.transaction = asked.transaction;
            node.handle_datagram(1_001, transmit.to, &answer.encode());
        }
    }
}

/// A state file: whatever it holds, the node writes one that it can read.
pub fn dht_state(input: &[u8]) {
    let mut node = Dht::new(Config::default(), [7; 32], 0);
    if node.import(0, input).is_ok() {
        let state = node.export();
        let mut again = Dht::new(Config::default(), [8; 32], 0);
        assert_eq!(again.import(0, &state), Ok(()));
        assert_eq!(again.export(), state);
    }
    node.handle_tick(1_000);
    while node.poll_transmit().is_some() {}
}
