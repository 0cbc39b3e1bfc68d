//! Local service discovery with real sockets: on loopback, and for IPv6, which has no multicast there, in a network namespace
//! of the test's own.

use super::*;
use socket2::SockRef;
use std::process::Command;
use tokio::net::UdpSocket;

/// Says that the process was started by a test in a network of its own.
const IN_NAMESPACE: &str = "SPILLWAY_TEST_NAMESPACE";

const PATIENCE: Duration = Duration::from_secs(60);

fn torrent(name: &str, rest: &str) -> Torrent {
    let info = format!("6:lengthi1e4:name{}:{name}12:piece lengthi16384e6:pieces20:{:a<20}{rest}", name.len(), "");
    Torrent::parse(format!("d4:infod{info}ee").as_bytes()).unwrap()
}

/// A group of an address and a port that no other test has: the port is held by a socket of the caller.
fn group_of_our_own() -> (SocketAddr, std::net::UdpSocket) {
    let held = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (SocketAddr::new(GROUPS[0].ip(), held.local_addr().unwrap().port()), held)
}

fn start(groups: Vec<SocketAddr>, listen: &[&str]) -> (Lsd, mpsc::Receiver<LsdFound>) {
    let (sender, found) = mpsc::channel(100);
    let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
    (Lsd::start(&LsdConfig { groups, listen }, sender).unwrap(), found)
}

async fn next(found: &mut mpsc::Receiver<LsdFound>) -> LsdFound {
    tokio::time::timeout(PATIENCE, found.recv()).await.expect("nobody was heard").unwrap()
}

/// A socket that speaks to a group over loopback.
async fn neighbour() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket
}

#[tokio::test]
async fn a_newcomer_is_heard_by_those_who_were_there() {
    let (group, _held) = group_of_our_own();
    let (ours, others) = (torrent("shared", ""), torrent("other", ""));
    let (first, mut heard_by_first) = start(vec![group], &["127.0.0.1:7001"]);
    assert!(first.add(&ours) && first.add(&others));
    while first.counts().sent == 0 {
        tokio::task::yield_now().await;
    }
    // The first may not answer before a minute has passed; `schedule` is tested for that it does.
    let (second, mut heard_by_second) = start(vec![group], &["127.0.0.1:7002"]);
    assert!(second.add(&ours));
    let info_hash = ours.info_hashes().next().unwrap();
    let address = "127.0.0.1:7002".parse().unwrap();
    assert_eq!(next(&mut heard_by_first).await, LsdFound { info_hash, address });
    assert!(heard_by_second.try_recv().is_err(), "its own word does not come back to it");
    assert_eq!((first.counts().found, first.counts().malformed), (1, 0));
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn private_torrents_are_never_mentioned_nor_looked_for() {
    let (group, _held) = group_of_our_own();
    let (private, public) = (torrent("private", "7:privatei1e"), torrent("public", ""));
    let (lsd, mut found) = start(vec![group], &["127.0.0.1:7001"]);
    assert!(!lsd.add(&private));
    let hashes = [&private, &public].map(|torrent| torrent.info_hashes().next().unwrap());
    assert!(lsd.add(&public));
    let neighbour = neighbour().await;
    neighbour.send_to(&encode_lsd(group, 9, &hashes, "x"), group).await.unwrap();
    assert_eq!(next(&mut found).await, LsdFound { info_hash: hashes[1], address: "127.0.0.1:9".parse().unwrap() });
    assert!(found.try_recv().is_err());
    assert_eq!(lsd.shared.schedule().poll(PATIENCE * 10), Some(vec![hashes[1]]));
}

#[tokio::test]
async fn what_is_no_announce_or_our_own_is_counted_and_ignored() {
    let (group, _held) = group_of_our_own();
    let ours = torrent("shared", "");
    let info_hash = ours.info_hashes().next().unwrap();
    let (lsd, mut found) = start(vec![group], &["127.0.0.1:7001"]);
    lsd.add(&ours);
    let neighbour = neighbour().await;
    let own = encode_lsd(group, 8, &[info_hash], &lsd.shared.cookie);
    let long = vec![b'x'; LSD_DATAGRAM_BYTES + 500];
    for datagram in [&b"M-SEARCH * HTTP/1.1\r\n\r\n"[..], b"", &long, &own, &encode_lsd(group, 9, &[info_hash], "x")] {
        neighbour.send_to(datagram, group).await.unwrap();
    }
    assert_eq!(next(&mut found).await.address.port(), 9);
    assert_eq!((lsd.counts().malformed, lsd.counts().heard, lsd.counts().found), (3, 1, 1));
}

#[tokio::test]
async fn a_flood_of_neighbours_waits_for_nobody_and_is_counted() {
    let (group, _held) = group_of_our_own();
    let ours = torrent("shared", "");
    let hashes = [ours.info_hashes().next().unwrap()];
    let (sender, mut found) = mpsc::channel(1);
    let listen = vec!["127.0.0.1:7001".parse().unwrap()];
    let lsd = Lsd::start(&LsdConfig { groups: vec![group], listen }, sender).unwrap();
    lsd.add(&ours);
    let neighbour = neighbour().await;
    for port in 1..=20 {
        neighbour.send_to(&encode_lsd(group, port, &hashes, "x"), group).await.unwrap();
    }
    while lsd.counts().heard < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!((lsd.counts().found, lsd.counts().refused), (1, 19));
    assert_eq!(next(&mut found).await.address.port(), 1);
}

#[tokio::test]
async fn what_is_sent_to_this_host_alone_is_not_heard() {
    let (group, _held) = group_of_our_own();
    let ours = torrent("shared", "");
    let hashes = [ours.info_hashes().next().unwrap()];
    let (lsd, mut found) = start(vec![group], &["127.0.0.1:7001"]);
    lsd.add(&ours);
    let neighbour = neighbour().await;
    let to_host = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), group.port());
    neighbour.send_to(&encode_lsd(group, 8, &hashes, "x"), to_host).await.unwrap();
    neighbour.send_to(&encode_lsd(group, 9, &hashes, "x"), group).await.unwrap();
    assert_eq!(next(&mut found).await.address.port(), 9);
}

#[tokio::test]
async fn a_group_that_cannot_be_had_is_this_hosts_fault() {
    let (sender, _found) = mpsc::channel(1);
    // No address of this host, and no group.
    let groups = vec!["203.0.113.1:6771".parse().unwrap()];
    let error = Lsd::start(&LsdConfig { groups, listen: Vec::new() }, sender).err().unwrap();
    assert!(matches!(error, LsdError::NoSocket { .. }), "{error}");
}

/// Runs one test of this file again in a network namespace with one network of both families. False where that is not allowed.
fn rerun_in_namespace(test: &str) -> bool {
    let set_up = "ip link set lo up && ip link add near type veth peer name far \
        && ip address add 10.9.8.7/24 dev near && ip address add fd11::7/64 dev near nodad \
        && ip link set far addrgenmode none && ip link set near up && ip link set far up";
    let allowed = Command::new("unshare").args(["--map-root-user", "--net", "sh", "-c", set_up]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &format!("{set_up} && exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(IN_NAMESPACE, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

#[tokio::test]
async fn neighbours_are_found_in_both_families() {
    if std::env::var_os(IN_NAMESPACE).is_none() {
        if !rerun_in_namespace("lsd::tests::neighbours_are_found_in_both_families") {
            eprintln!("skipped: no network namespace may be made here");
        }
        return;
    }
    // The groups and the port of BEP 14 themselves: nobody else is in this network.
    let ours = torrent("shared", "");
    let (first, mut heard_by_first) = start(GROUPS.to_vec(), &["0.0.0.0:7001", "[::]:7001"]);
    let (second, mut heard_by_second) = start(GROUPS.to_vec(), &["0.0.0.0:7002", "[::]:7003"]);
    assert!(first.add(&ours) && second.add(&ours));
    for (found, ports) in [(&mut heard_by_first, [7002, 7003]), (&mut heard_by_second, [7001, 7001])] {
        let mut heard = [next(found).await.address, next(found).await.address];
        heard.sort();
        let expected = [format!("10.9.8.7:{}", ports[0]), format!("[fd11::7]:{}", ports[1])];
        assert_eq!(heard.map(|address| address.to_string()), expected);
    }
    assert_eq!((first.counts().not_sent, first.counts().sent), (0, 2));
}
