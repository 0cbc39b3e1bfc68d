use std::sync::mpsc;
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

fn loopback() -> Vec<SocketAddr> {
    vec![([127, 0, 0, 1], 0).into(), (std::net::Ipv6Addr::LOCALHOST, 0).into()]
}

/// Nobody waits for minutes, and all nodes of a test share one address.
fn config(bootstrap: &[SocketAddr]) -> DhtConfig {
    DhtConfig {
        addresses: loopback(),
        bootstrap: bootstrap.iter().map(ToString::to_string).collect(),
        state_path: None,
        node: dht::Config { answers_per_host_per_s: 10_000, answers_per_s: 10_000, ..dht::Config::default() },
        times: ScheduleTimes { announce_min_ms: 3_000, announce_max_ms: 4_000, few_peers_ms: 500, no_nodes_ms: 100 },
    }
}

fn torrent(n: u8, port: u16) -> DhtTorrent {
    DhtTorrent { info_hashes: vec![InfoHash([n; 20])], port, is_restored: false, is_private: false, found: None }
}

/// A torrent that lacks peers, and where they come out.
fn leech(n: u8, port: u16) -> (DhtTorrent, mpsc::Receiver<Vec<SocketAddr>>) {
    let (sender, receiver) = mpsc::channel();
    let found = Arc::new(move |peers| _ = sender.send(peers));
    (DhtTorrent { found: Some(found), ..torrent(n, port) }, receiver)
}

/// Waits until all of `wanted` were found.
async fn wait_for(found: mpsc::Receiver<Vec<SocketAddr>>, wanted: Vec<SocketAddr>) {
    let deadline = Instant::now() + LIMIT;
    let waiting = tokio::task::spawn_blocking(move || {
        let mut missing: HashSet<SocketAddr> = wanted.into_iter().collect();
        while !missing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let peers = found.recv_timeout(left).unwrap_or_else(|_| panic!("not found: {missing:?}"));
            peers.iter().for_each(|peer| _ = missing.remove(peer));
        }
    });
    waiting.await.unwrap();
}

fn addresses_with(port: u16) -> Vec<SocketAddr> {
    loopback().into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect()
}

#[tokio::test]
async fn twenty_nodes_find_each_others_peers_in_both_families() {
    let first = DhtNode::start(config(&[])).unwrap();
    let bootstrap = first.local_addrs().to_vec();
    let nodes: Vec<DhtNode> = (0..19).map(|_| DhtNode::start(config(&bootstrap)).unwrap()).collect();
    for (n, node) in nodes.iter().enumerate().take(5) {
        node.handle().add_torrent(torrent(n as u8, 1_000 + n as u16)).unwrap();
    }
    for (n, node) in nodes.iter().enumerate().skip(14) {
        let (torrent, found) = leech(n as u8 - 14, 2_000);
        node.handle().add_torrent(torrent).unwrap();
        wait_for(found, addresses_with(1_000 + n as u16 - 14)).await;
    }
    let status = first.handle().status();
    assert!(status.sent_bytes > 0 && status.received_bytes > 0 && status.unsent == 0, "{status:?}");
    first.stop().await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_was_stopped_comes_back_without_bootstrap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dht");
    let first = DhtNode::start(config(&[])).unwrap();
    let announcer = DhtNode::start(config(first.local_addrs())).unwrap();
    let node = DhtNode::start(DhtConfig { state_path: Some(path.clone()), ..config(&[]) }).unwrap();
    // As a PORT message would tell; a bootstrap node would not be kept.
    first.local_addrs().iter().for_each(|address| node.handle().add_node(*address));
    let (torrent_of_node, found) = leech(1, 1);
    announcer.handle().add_torrent(torrent(1, 1_001)).unwrap();
    node.handle().add_torrent(torrent_of_node).unwrap();
    wait_for(found, addresses_with(1_001)).await;
    let id = node.handle().status().v4.unwrap().id;
    node.stop().await;
    let again = DhtNode::start(DhtConfig { state_path: Some(path.clone()), ..config(&[]) }).unwrap();
    assert_eq!(again.handle().status().v4.unwrap().id, id);
    let (torrent_of_node, found) = leech(1, 1);
    again.handle().add_torrent(torrent_of_node).unwrap();
    wait_for(found, addresses_with(1_001)).await;
    again.stop().await;
    first.stop().await;
    announcer.stop().await;
    std::fs::write(&path, b"d5:damage").unwrap();
    let damaged = DhtNode::start(DhtConfig { state_path: Some(path), ..config(&[]) }).unwrap();
    assert_ne!(damaged.handle().status().v4.unwrap().id, id, "it begins anew");
    damaged.stop().await;
}

#[tokio::test]
async fn a_private_torrent_is_never_told() {
    let node = DhtNode::start(config(&[])).unwrap();
    assert_eq!(node.handle().add_torrent(DhtTorrent { is_private: true, ..torrent(1, 1) }), None);
    let other = node.handle().add_torrent(torrent(2, 1)).unwrap();
    assert_eq!(node.handle().status().torrents, 1);
    node.handle().remove(other);
    assert_eq!(node.handle().status().torrents, 0);
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let error = |config| DhtNode::start(config).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error(DhtConfig { addresses: Vec::new(), ..config(&[]) }), "no address to bind the DHT to");
    let bad = DhtConfig { bootstrap: vec!["router.example".to_owned()], ..config(&[]) };
    assert!(error(bad).contains("\"router.example\" is not HOST:PORT"));
    let node = DhtNode::start(config(&[])).unwrap();
    let taken = DhtConfig { addresses: node.local_addrs().to_vec(), ..config(&[]) };
    assert!(error(taken).contains(&node.local_addrs()[0].to_string()));
    node.stop().await;
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let wildcard = DhtConfig { addresses: vec![([0, 0, 0, 0], 0).into()], ..config(&[]) };
    let node = DhtNode::start(wildcard).unwrap();
    let asker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other_address = SocketAddr::new([127, 0, 0, 77].into(), node.local_addrs()[0].port());
    asker.send_to(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", other_address).await.unwrap();
    let mut answer = [0; 1_500];
    let (_, from) = tokio::time::timeout(LIMIT, asker.recv_from(&mut answer)).await.unwrap().unwrap();
    assert_eq!(from, other_address);
    node.stop().await;
}
