//! One node of the DHT by itself, for tests against other clients' nodes:
//! `dht_node LISTEN BOOTSTRAP INFO_HASH PORT`. It prints where it listens, then the peers that it finds; a port other
//! than 0 is announced. `-` stands for no bootstrap node.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for a terminal or a test")]

use std::error::Error;
use std::sync::Arc;

use control::dht::{DhtConfig, DhtNode, DhtTorrent, ScheduleTimes};
use hash::InfoHash;

/// Nobody who tests waits for a quarter of an hour.
const TIMES: ScheduleTimes =
    ScheduleTimes { announce_min_ms: 3_000, announce_max_ms: 5_000, few_peers_ms: 1_000, no_nodes_ms: 200 };

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, bootstrap, info_hash, port] = arguments.as_slice() else {
        return Err("usage: dht_node LISTEN BOOTSTRAP INFO_HASH PORT".into());
    };
    let node = DhtNode::start(DhtConfig {
        addresses: vec![listen.parse()?],
        bootstrap: [bootstrap.clone()].into_iter().filter(|name| name != "-").collect(),
        times: TIMES,
        ..DhtConfig::default()
    })?;
    for address in node.local_addrs() {
        println!("listen {address}");
    }
    node.handle().add_torrent(DhtTorrent {
        info_hashes: vec![InfoHash(hex(info_hash)?)],
        port: port.parse()?,
        is_restored: false,
        is_private: false,
        found: Some(Arc::new(|peers| peers.iter().for_each(|peer| println!("peer {peer}")))),
    });
    tokio::signal::ctrl_c().await?;
    node.stop().await;
    Ok(())
}

fn hex(text: &str) -> Result<[u8; 20], Box<dyn Error>> {
    let mut bytes = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        return Err("an info-hash has 40 hex digits".into());
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)?;
    }
    Ok(bytes)
}
