//! The swarm table against its naive twin, and its limits one by one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::announce::Event;
use crate::family::unpack;

const TORRENT: InfoHash = InfoHash([1; 20]);

fn request(info_hash: InfoHash, port: u16, left_bytes: u64, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        info_hash,
        peer_id: [b'p'; 20],
        port,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(left_bytes),
        event,
        want_count: None,
        key: 0,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

fn source(ip: &str) -> Source {
    Source { ip: ip.parse().unwrap(), local: Some("192.0.2.1".parse().unwrap()) }
}

/// Announces a leech on port 1000 and gives the reply's peers as text, sorted.
fn ask(table: &mut SwarmTable, ip: &str, change: impl FnOnce(&mut AnnounceRequest)) -> Vec<String> {
    let mut request = request(TORRENT, 1000, 1, Event::None);
    change(&mut request);
    let mut answer = Answer::default();
    table.announce(0, &request, source(ip), 200, &mut answer).unwrap();
    let mut peers: Vec<String> = unpack(answer.family, &answer.packed_peers).map(|peer| peer.to_string()).collect();
    peers.sort();
    peers
}

fn open(limits: Limits) -> SwarmTable {
    SwarmTable::new(Access::Open, limits, 7)
}

#[test]
fn a_peer_never_hears_of_itself_nor_of_the_other_family() {
    let mut table = open(Limits::default());
    assert!(ask(&mut table, "10.0.0.1", |_| {}).is_empty());
    assert_eq!(ask(&mut table, "10.0.0.2", |_| {}), ["10.0.0.1:1000"]);
    assert!(ask(&mut table, "2001:db8::1", |_| {}).is_empty());
    assert_eq!(ask(&mut table, "::ffff:10.0.0.2", |_| {}), ["10.0.0.1:1000"], "a mapped address is an IPv4 address");
    assert_eq!(table.stats(TORRENT), Some(SwarmStats { seed_count: 0, leech_count: 3, completed_count: 0 }));
}

#[test]
fn an_address_that_a_client_claims_is_not_believed() {
    let mut table = open(Limits::default());
    ask(&mut table, "10.0.0.1", |request| request.claimed_ip = Some([8, 8, 8, 8].into()));
    assert_eq!(ask(&mut table, "10.0.0.2", |_| {}), ["10.0.0.1:1000"]);
}

#[test]
fn seeds_hear_of_leeches_only_and_leeches_of_both() {
    let mut table = open(Limits::default());
    let seed = |request: &mut AnnounceRequest| request.left_bytes = Some(0);
    ask(&mut table, "10.0.0.1", seed);
    assert!(ask(&mut table, "10.0.0.2", seed).is_empty());
    assert_eq!(ask(&mut table, "10.0.0.3", |_| {}), ["10.0.0.1:1000", "10.0.0.2:1000"]);
    assert_eq!(ask(&mut table, "10.0.0.2", seed), ["10.0.0.3:1000"]);
}

#[test]
fn completion_is_counted_once_and_stopping_needs_the_peers_own_key() {
    let mut table = open(Limits::default());
    let with = |left, event, key| {
        move |request: &mut AnnounceRequest| {
            request.left_bytes = Some(left);
            request.event = event;
            request.key = key;
        }
    };
    ask(&mut table, "10.0.0.1", with(9, Event::Started, 5));
    ask(&mut table, "10.0.0.1", with(0, Event::Completed, 5));
    ask(&mut table, "10.0.0.1", with(0, Event::Completed, 5));
    let stats = SwarmStats { seed_count: 1, leech_count: 0, completed_count: 1 };
    assert_eq!(table.stats(TORRENT), Some(stats));
    ask(&mut table, "10.0.0.1", with(0, Event::Stopped, 6));
    assert_eq!(table.stats(TORRENT), Some(stats));
    assert!(ask(&mut table, "10.0.0.1", with(0, Event::Stopped, 5)).is_empty());
    assert_eq!((table.stats(TORRENT), table.torrent_count()), (None, 0), "an open tracker forgets empty swarms");
    assert_eq!((table.counters().stopped, table.counters().stopped_by_stranger), (1, 1));
}

#[test]
fn a_peer_without_a_port_is_answered_but_not_told_of() {
    let mut table = open(Limits::default());
    ask(&mut table, "10.0.0.1", |_| {});
    assert_eq!(ask(&mut table, "10.0.0.2", |request| request.port = 0), ["10.0.0.1:1000"]);
    assert!(ask(&mut table, "10.0.0.1", |_| {}).is_empty());
}

#[test]
fn a_listed_tracker_serves_its_list_and_nothing_else() {
    let mut table = SwarmTable::new(Access::Listed, Limits::default(), 7);
    let announce = request(TORRENT, 1, 1, Event::Started);
    let mut answer = Answer::default();
    let mut announce = |table: &mut SwarmTable| table.announce(0, &announce, source("10.0.0.1"), 9, &mut answer);
    assert_eq!(announce(&mut table), Err(Refusal::NotAllowed));
    table.allow(TORRENT);
    assert_eq!(announce(&mut table), Ok(()));
    table.set_allowed([InfoHash([2; 20])]);
    assert_eq!((announce(&mut table), table.peer_count()), (Err(Refusal::NotAllowed), 0));
    table.add_own_seed(TORRENT, vec![OwnSeed::At("192.0.2.9:1".parse().unwrap())]);
    table.set_allowed([]);
    assert_eq!((announce(&mut table), table.torrent_count()), (Ok(()), 1), "what is published here stays");
    table.remove_own_seed(TORRENT);
    assert_eq!((announce(&mut table), table.torrent_count()), (Err(Refusal::NotAllowed), 0));
    assert_eq!(table.counters().not_allowed, 3);
}

#[test]
fn own_seeds_are_told_to_who_can_reach_them() {
    let mut table = SwarmTable::new(Access::Listed, Limits::default(), 7);
    let external: SocketAddr = "[2001:db8::9]:51413".parse().unwrap();
    table.add_own_seed(TORRENT, vec![OwnSeed::ThisHost { family: Family::V4, port: 51413 }, OwnSeed::At(external)]);
    assert_eq!(table.stats(TORRENT), Some(SwarmStats { seed_count: 1, leech_count: 0, completed_count: 0 }));
    assert_eq!(ask(&mut table, "10.0.0.1", |_| {}), ["192.0.2.1:51413"], "where the announce reached us");
    assert_eq!(ask(&mut table, "2001:db8::1", |_| {}), ["[2001:db8::9]:51413"]);
    assert!(ask(&mut table, "2001:db8::9", |request| request.port = 51413).iter().all(|peer| !peer.ends_with("51413")));
    assert!(ask(&mut table, "10.0.0.2", |request| request.left_bytes = Some(0)).iter().all(|p| !p.ends_with("51413")));
    assert!(ask(&mut table, "10.0.0.3", |request| request.want_count = Some(0)).is_empty());
    let mut answer = Answer::default();
    let unknown = Source { ip: [10, 0, 0, 4].into(), local: Some([0, 0, 0, 0].into()) };
    table.announce(0, &request(TORRENT, 5, 1, Event::None), unknown, 9, &mut answer).unwrap();
    assert!(unpack(Family::V4, &answer.packed_peers).all(|peer| peer.port() != 51413), "0.0.0.0 is no address");
    assert_eq!(table.sweep(u64::MAX, 1000), 6);
    assert_eq!(table.stats(TORRENT).unwrap().seed_count, 1, "own seeds do not expire");
}

/// aria2 1.36 with a magnet link says `left=0` until it has the metadata, which it must have from somebody.
#[test]
fn a_peer_that_begins_is_told_of_seeds_even_if_it_says_that_it_lacks_nothing() {
    let mut table = open(Limits::default());
    table.add_own_seed(TORRENT, vec![OwnSeed::At("192.0.2.9:51413".parse().unwrap())]);
    let begins = |request: &mut AnnounceRequest| (request.left_bytes, request.event) = (Some(0), Event::Started);
    assert_eq!(ask(&mut table, "10.0.0.1", begins), ["192.0.2.9:51413"]);
    assert!(ask(&mut table, "10.0.0.1", |request| request.left_bytes = Some(0)).is_empty());
}

#[test]
fn limits_refuse_the_new_and_keep_the_old() {
    let limits = Limits { max_torrents: 2, max_peers_per_torrent: 3, max_peers: 4, ..Limits::default() };
    let mut table = open(limits);
    for last in 1..=5 {
        ask(&mut table, &format!("10.0.0.{last}"), |_| {});
    }
    assert_eq!((table.peer_count(), table.counters().peers_full), (3, 2));
    assert_eq!(ask(&mut table, "10.0.0.9", |_| {}).len(), 3, "an answer all the same");
    ask(&mut table, "10.0.1.1", |request| request.info_hash = InfoHash([2; 20]));
    ask(&mut table, "10.0.1.2", |request| request.info_hash = InfoHash([2; 20]));
    assert_eq!(table.peer_count(), 4);
    let third = request(InfoHash([3; 20]), 1, 1, Event::None);
    let refused = table.announce(0, &third, source("10.0.0.1"), 9, &mut Answer::default());
    assert_eq!(refused, Err(Refusal::TorrentsFull));
}

#[test]
fn one_address_does_not_fill_a_swarm() {
    for ip in ["10.0.0.1", "2001:db8::1"] {
        let mut table = open(Limits { max_peers_per_address: 2, ..Limits::default() });
        for port in 1..=4 {
            ask(&mut table, ip, |request| request.port = port);
        }
        assert_eq!((table.peer_count(), table.counters().address_full), (2, 2));
        ask(&mut table, ip, |request| request.port = 1);
        assert_eq!((table.peer_count(), table.counters().address_full), (2, 2), "a known one is welcome");
    }
    let mut table = open(Limits { max_peers_per_address: 2, ..Limits::default() });
    for ip in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"] {
        ask(&mut table, ip, |_| {});
    }
    assert_eq!(table.peer_count(), 3, "a /64 is one address");
}

#[test]
fn who_asks_too_often_is_refused_and_forgiven_in_time() {
    let rate = RequestRate { per_second: 1, burst: 3, address_count: 16 };
    let mut table = open(Limits { request_rate: Some(rate), ..Limits::default() });
    let announce = request(TORRENT, 1, 1, Event::None);
    let mut at = |now: Millis, ip: &str| table.announce(now, &announce, source(ip), 9, &mut Answer::default());
    for _ in 0..3 {
        assert_eq!(at(10_000, "10.0.0.1"), Ok(()));
    }
    assert_eq!(at(10_000, "10.0.0.1"), Err(Refusal::TooManyRequests));
    assert_eq!(at(10_000, "10.0.0.2"), Ok(()));
    assert_eq!(at(10_999, "10.0.0.1"), Err(Refusal::TooManyRequests));
    assert_eq!(at(11_000, "10.0.0.1"), Ok(()));
    assert_eq!(at(11_000, "10.0.0.1"), Err(Refusal::TooManyRequests));
    for _ in 0..20 {
        assert_eq!(at(11_000, "127.0.0.1"), Ok(()), "a proxy on this host asks for many");
    }
    assert_eq!(table.counters().too_many_requests, 3);
}

#[test]
fn the_silent_are_forgotten_bit_by_bit_and_only_they() {
    let mut table = open(Limits { peer_timeout_s: 100, ..Limits::default() });
    let mut answer = Answer::default();
    for number in 0..100u8 {
        let announce = request(InfoHash([number % 10; 20]), 1000 + u16::from(number), 1, Event::None);
        let now = if number < 50 { 0 } else { 60_000 };
        table.announce(now, &announce, source("10.0.0.1"), 0, &mut answer).unwrap();
    }
    let mut rounds = 0;
    let mut expired_count = 0;
    while expired_count < 50 {
        expired_count += table.sweep(100_000, 7);
        rounds += 1;
        assert!(rounds < 100, "each call gets on");
    }
    assert!(rounds > 5, "no call looks at more than it may");
    assert_eq!((table.peer_count(), table.counters().expired), (50, 50));
    while table.peer_count() > 0 {
        table.sweep(1_000_000, 1000);
    }
    assert_eq!(table.torrent_count(), 0);
}

#[test]
fn a_large_swarm_is_sampled_evenly() {
    let mut table = open(Limits { small_swarm_peer_count: 10, request_rate: None, ..Limits::default() });
    let mut answer = Answer::default();
    for port in 1..=500 {
        let mut announce = request(TORRENT, port, u64::from(port % 5), Event::None);
        announce.want_count = Some(0);
        let ip = format!("10.0.{}.1", port % 50);
        table.announce(0, &announce, source(&ip), 0, &mut answer).unwrap();
    }
    let mut told = [0u32; 501];
    for _ in 0..2000 {
        let announce = request(TORRENT, 1, 1, Event::None);
        table.announce(0, &announce, source("10.0.1.1"), 50, &mut answer).unwrap();
        let mut ports: Vec<u16> = unpack(Family::V4, &answer.packed_peers).map(|peer| peer.port()).collect();
        ports.iter().for_each(|port| told[usize::from(*port)] += 1);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
        assert!((1620..=1980).contains(&answer.interval_s));
    }
    assert_eq!(told[1], 0);
    // Each of 499 is told 200 times on average, with a standard deviation of at most 14.
    assert!(told[2..].iter().all(|count| (120..=280).contains(count)), "{told:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Announce { torrent: u8, host: u8, port: u16, left: u64, event: Event, want: u32, v6: bool },
    Sweep { budget: usize },
    Wait { seconds: u64 },
    SetAllowed(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        4 => Just(Event::None),
        2 => Just(Event::Started),
        1 => Just(Event::Completed),
        2 => Just(Event::Stopped),
        1 => Just(Event::Paused)
    ];
    let announce = (0..4u8, 0..6u8, 0..4u16, 0..2u64, event, 0..8u32, any::<bool>()).prop_map(
        |(torrent, host, port, left, event, want, v6)| Step::Announce { torrent, host, port, left, event, want, v6 },
    );
    prop_oneof![
        20 => announce,
        2 => (0..20usize).prop_map(|budget| Step::Sweep { budget }),
        2 => (0..60u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => proptest::collection::vec(0..4u8, 0..4).prop_map(Step::SetAllowed),
    ]
}

/// The table as one would write it without a thought for speed.
#[derive(Default)]
struct Twin {
    allowed: Vec<InfoHash>,
    /// By torrent and address: whether it is a seed.
    peers: BTreeMap<(InfoHash, SocketAddr), bool>,
}

impl Twin {
    /// What may be told to `asker`.
    fn candidates(&self, torrent: InfoHash, asker: SocketAddr, for_seed: bool) -> Vec<SocketAddr> {
        let of_torrent = self.peers.iter().filter(|((other, _), _)| *other == torrent);
        let others = of_torrent.filter(|((_, peer), is_seed)| {
            *peer != asker && peer.is_ipv4() == asker.is_ipv4() && !(for_seed && **is_seed)
        });
        others.map(|((_, peer), _)| *peer).collect()
    }

    fn counts(&self, torrent: InfoHash) -> (u32, u32) {
        let of_torrent = self.peers.iter().filter(|((other, _), _)| *other == torrent);
        let seed_count = of_torrent.clone().filter(|(_, is_seed)| **is_seed).count();
        (seed_count as u32, (of_torrent.count() - seed_count) as u32)
    }
}

fn check_announce(
    table: &mut SwarmTable,
    twin: &mut Twin,
    now: Millis,
    announce: &AnnounceRequest,
    asker: SocketAddr,
) -> Result<(), TestCaseError> {
    let mut answer = Answer::default();
    let torrent = announce.info_hash;
    let result = table.announce(now, announce, Source { ip: asker.ip(), local: None }, 200, &mut answer);
    if !twin.allowed.contains(&torrent) {
        prop_assert_eq!(result, Err(Refusal::NotAllowed));
        return Ok(());
    }
    prop_assert_eq!(result, Ok(()));
    let is_stopped = announce.event == Event::Stopped;
    if is_stopped {
        twin.peers.remove(&(torrent, asker));
    } else if announce.port != 0 {
        twin.peers.insert((torrent, asker), announce.is_seed());
    }
    let mut told: Vec<SocketAddr> = unpack(answer.family, &answer.packed_peers).collect();
    told.sort();
    let candidates = twin.candidates(torrent, asker, !announce.wants_seeds());
    let want_count = if is_stopped { 0 } else { announce.want_count.unwrap() as usize };
    prop_assert_eq!(told.len(), want_count.min(candidates.len()));
    prop_assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "no peer twice");
    prop_assert!(told.iter().all(|peer| candidates.contains(peer)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_table_and_its_naive_twin_agree(steps in proptest::collection::vec(step(), 1..200), seed: u64) {
        let limits = Limits { peer_timeout_s: 1_000_000, request_rate: None, ..Limits::default() };
        let mut table = SwarmTable::new(Access::Listed, limits, seed);
        let mut twin = Twin::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Announce { torrent, host, port, left, event, want, v6 } => {
                    let ip: IpAddr = if v6 {
                        [0x2001, 0xdb8, 0, u16::from(host % 2), 0, 0, 0, u16::from(host)].into()
                    } else {
                        [10, 0, 0, host].into()
                    };
                    let mut announce = request(InfoHash([torrent; 20]), port, left, event);
                    announce.want_count = Some(want);
                    check_announce(&mut table, &mut twin, now, &announce, SocketAddr::new(ip, port))?;
                }
                // Nobody is silent for long enough: a sweep changes nothing that can be seen.
                Step::Sweep { budget } => prop_assert_eq!(table.sweep(now, budget), 0),
                Step::Wait { seconds } => now += seconds * 1000,
                Step::SetAllowed(torrents) => {
                    twin.allowed = torrents.iter().map(|torrent| InfoHash([*torrent; 20])).collect();
                    table.set_allowed(twin.allowed.clone());
                    let allowed = &twin.allowed;
                    twin.peers.retain(|(torrent, _), _| allowed.contains(torrent));
                }
            }
            prop_assert_eq!(table.peer_count(), twin.peers.len());
            for torrent in &twin.allowed {
                let stats = table.stats(*torrent).unwrap();
                prop_assert_eq!((stats.seed_count, stats.leech_count), twin.counts(*torrent));
            }
        }
        // In the end all are silent, and nothing is left of them.
        let mut left = twin.peers.len();
        while left > 0 {
            left -= table.sweep(now + 2_000_000_000, 5);
        }
        prop_assert_eq!(table.peer_count(), 0);
    }
}
