use std::net::TcpListener;
use std::thread;

use super::*;
use crate::doctor::finding::Verdict;

const HASH: InfoHash = InfoHash([7; 20]);

/// Takes one connection, reads what is asked, and answers.
fn listener(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; HANDSHAKE_SIZE];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(&answer);
    });
    address
}

fn handshake(info_hash: InfoHash) -> Vec<u8> {
    Handshake { reserved: Reserved::NONE, info_hash, peer_id: PeerId([1; 20]) }.encode().to_vec()
}

#[test]
fn a_peer_that_answers_for_the_torrent_is_right_and_another_is_not() {
    assert_eq!(ask_peer(listener(handshake(HASH)), Some(HASH)), Answer::Right);
    assert!(matches!(ask_peer(listener(handshake(InfoHash([8; 20]))), Some(HASH)), Answer::Wrong(_)));
    assert!(matches!(ask_peer(listener(Vec::new()), Some(HASH)), Answer::Wrong(_)));
    assert!(matches!(ask_peer(listener(b"SSH-2.0-".repeat(9)), Some(HASH)), Answer::Wrong(_)));
    assert_eq!(ask_peer(listener(Vec::new()), None), Answer::Taken);
}

#[test]
fn a_tracker_is_asked_for_its_health() {
    assert_eq!(ask_tracker(listener(b"HTTP/1.1 200 OK\r\n\r\nok\n".to_vec())), Answer::Right);
    assert!(matches!(ask_tracker(listener(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec())), Answer::Wrong(_)));
}

#[test]
fn a_port_that_nobody_listens_on_is_refused() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    assert_eq!(ask_peer(free, None), Answer::Refused);
}

#[test]
fn a_service_that_is_not_running_is_no_problem_but_half_of_one_is() {
    let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
    assert_eq!(judge("peers", &[(at(1), Answer::Refused)]).verdict, Verdict::Unknown);
    let half = judge("peers", &[(at(1), Answer::Taken), (at(2), Answer::Refused)]);
    assert_eq!((half.verdict, half.found.as_str()), (Verdict::Problem, "192.0.2.1:2: refused"));
    assert_eq!(judge("peers", &[(at(1), Answer::Right)]).found, "answered at 192.0.2.1:1");
    assert!(judge("peers", &[(at(1), Answer::Taken)]).found.contains("--info-hash"));
}

#[test]
fn a_wildcard_stands_for_all_addresses_of_its_family() {
    let own: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let listen = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
    assert_eq!(targets(&listen("0.0.0.0:1"), &own), listen("192.0.2.1:1"));
    assert_eq!(targets(&listen("[::]:1"), &own), listen("[2001:db8::1]:1"));
    assert_eq!(targets(&listen("198.51.100.1:1"), &own), listen("198.51.100.1:1"));
    assert_eq!(targets(&listen("127.0.0.1:1"), &own), []);
    assert_eq!(targets(&listen("0.0.0.0:0"), &own), []);
    assert_eq!(summarise("peers", &[], |_| Answer::Right).verdict, Verdict::Advice);
}

#[test]
fn private_addresses_alone_are_behind_nat() {
    let settings = Settings::default();
    let outside = |ip: &str| from_outside(&settings, &[SocketAddr::new(ip.parse().unwrap(), 51413)], &[]);
    for ip in ["10.1.2.3", "100.64.0.1", "192.168.1.1", "fd00::1"] {
        assert_eq!(outside(ip).verdict, Verdict::Advice, "{ip}");
    }
    let public = outside("203.0.113.5");
    assert!(
        public.verdict == Verdict::Unknown && public.found.contains("nc -vz 203.0.113.5 51413"),
        "{}",
        public.found
    );
    let mut named = Settings::default();
    named.peers.external_addresses = vec!["203.0.113.9".parse().unwrap()];
    let private = [SocketAddr::new("10.0.0.1".parse().unwrap(), 5)];
    assert!(from_outside(&named, &private, &[]).found.contains("nc -vz 203.0.113.9 5"));
}

#[test]
fn info_hashes_are_hex_of_either_version() {
    assert_eq!(parse_info_hash(&"07".repeat(20)), Ok(HASH));
    assert_eq!(parse_info_hash(&"07".repeat(32)), Ok(HASH));
    for text in ["", "07", &"0g".repeat(20), &"é".repeat(20)] {
        assert!(parse_info_hash(text).is_err(), "{text}");
    }
}
