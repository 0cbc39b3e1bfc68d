//! What our own tracker tells of torrents under embargo, and to whom; who is the first to have all of one.

use super::*;
use std::net::IpAddr;
use swarm::gate::GUESTS_LIMIT;
use tracker::{Event, OwnSeed};

const EMBARGOED: InfoHash = InfoHash([7; 20]);
const UNLISTED: InfoHash = InfoHash([8; 20]);
const KEY: &str = "a-key-that-nobody-guesses";
const OURS: [u8; 20] = *b"-SW0100-us-ourselves";

struct Scene {
    service: TrackerService,
    gate: Arc<Gate>,
}

impl Scene {
    /// A tracker with one torrent, under an embargo that one network may break.
    fn new() -> Scene {
        Scene::with(Access::Listed)
    }

    fn with(access: Access) -> Scene {
        let service = TrackerService::new(access, Limits { request_rate: None, ..Limits::default() }).unwrap();
        let networks = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let gate = Arc::new(Gate::new(None, networks, Some(KEY)).unwrap());
        service.set_gate(EMBARGOED, Some(gate.clone()));
        let seed = |text: &str| OwnSeed::At(text.parse().unwrap());
        service.add_own_seed(EMBARGOED, vec![seed("203.0.113.1:1"), seed("[2001:db9::1]:1")]);
        Scene { service, gate }
    }

    fn announce(&self, info_hash: InfoHash, from: &str, key: Option<&str>) -> Result<Answer, Refusal> {
        self.say(&request(info_hash, Event::Started, 1), from, key)
    }

    fn say(&self, request: &AnnounceRequest, from: &str, key: Option<&str>) -> Result<Answer, Refusal> {
        let mut answer = Answer::default();
        self.service.announce(request, source(from), key, usize::MAX, &mut answer).map(|()| answer)
    }

    fn guarded_sweep(&self, unix_s: u64) {
        self.service.guarded().gates.sweep(unix_s);
    }

    fn scrape(&self, from: &str, key: Option<&str>) -> Vec<Option<SwarmStats>> {
        self.service.scrape(&[EMBARGOED, UNLISTED], source(from), key).unwrap()
    }
}

fn source(ip: &str) -> Source {
    Source { ip: ip.parse().unwrap(), local: None }
}

fn request(info_hash: InfoHash, event: Event, left_bytes: u64) -> AnnounceRequest {
    AnnounceRequest {
        info_hash,
        peer_id: *b"-XX0001-trackertests",
        port: 6881,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(left_bytes),
        event,
        want_count: Some(50),
        key: 0,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

#[test]
fn to_a_stranger_an_embargoed_torrent_is_one_that_is_not_listed() {
    let scene = Scene::new();
    for from in ["198.51.100.1", "2001:db9::7"] {
        for key in [None, Some("a-key-that-somebody-guessed"), Some("")] {
            assert_eq!(scene.announce(EMBARGOED, from, key), scene.announce(UNLISTED, from, key));
            assert_eq!(scene.announce(EMBARGOED, from, key), Err(Refusal::NotAllowed));
            assert_eq!(scene.scrape(from, key), [None, None]);
        }
    }
    assert_eq!(scene.service.status().counters.not_allowed, 18, "and counted like one");
    assert_eq!((scene.service.status().peer_count, scene.gate.guest_count()), (0, 0));
}

#[test]
fn on_an_open_tracker_strangers_find_each_other_under_any_name_and_never_us() {
    let scene = Scene::with(Access::Open);
    for info_hash in [EMBARGOED, UNLISTED] {
        scene.announce(info_hash, "198.51.100.1", None).unwrap();
        let told = scene.announce(info_hash, "198.51.100.2", Some("a-key-that-somebody-guessed")).unwrap();
        assert_eq!(told.packed_peers, [198, 51, 100, 1, 0x1a, 0xe1]);
        assert_eq!((told.stats.seed_count, told.stats.leech_count), (0, 2));
    }
    let seen = scene.scrape("198.51.100.3", None);
    assert_eq!(seen[0], seen[1]);
    let guest = scene.announce(EMBARGOED, "198.51.100.9", Some(KEY)).unwrap();
    assert_eq!(guest.packed_peers, [203, 0, 113, 1, 0, 1], "and whoever may have it finds none of them");
}

#[test]
fn a_listed_network_and_a_key_holder_are_told_of_us_and_of_each_other_alone() {
    let scene = Scene::new();
    assert!(scene.announce(EMBARGOED, "198.51.100.9", None).is_err());
    let first = scene.announce(EMBARGOED, "192.0.2.5", None).unwrap();
    assert_eq!(first.packed_peers, [203, 0, 113, 1, 0, 1], "our own seed");
    let second = scene.announce(EMBARGOED, "198.51.100.1", Some(KEY)).unwrap();
    let mut told: Vec<&[u8]> = second.packed_peers.chunks(6).collect();
    told.sort_unstable();
    assert_eq!(told, [&[192, 0, 2, 5, 0x1a, 0xe1][..], &[203, 0, 113, 1, 0, 1]]);
    let v6 = scene.announce(EMBARGOED, "2001:db8::9", None).unwrap();
    assert_eq!(v6.packed_peers.len(), 18, "our own seed of that family");
    assert!(scene.scrape("198.51.100.1", None)[0].is_some(), "who has announced with the key may scrape without");
    assert!(scene.scrape("198.51.100.77", Some(KEY))[0].is_some());
}

#[test]
fn who_announces_with_the_key_may_connect_for_its_interval_and_some_time() {
    let scene = Scene::new();
    let ip: IpAddr = "198.51.100.1".parse().unwrap();
    let now = scene.service.since_start();
    assert!(!scene.gate.admits(ip, now));
    let answer = scene.announce(EMBARGOED, "198.51.100.1", Some(KEY)).unwrap();
    let interval = Duration::from_secs(answer.interval_s.into());
    assert!(scene.gate.admits(ip, now + interval) && !scene.gate.admits(ip, now + 2 * interval + now + interval * 10));
    assert_eq!(scene.announce(EMBARGOED, "198.51.100.1", None).map(|_| ()), Ok(()), "also without the key meanwhile");
}

#[test]
fn when_it_opens_everybody_is_told_and_the_key_still_works() {
    let scene = Scene::new();
    scene.gate.open();
    for (from, key) in [("198.51.100.1", None), ("198.51.100.2", Some(KEY)), ("2001:db9::7", Some("some-other-key"))] {
        assert!(scene.announce(EMBARGOED, from, key).is_ok(), "{from}");
        assert!(scene.scrape(from, key)[0].is_some());
    }
    assert_eq!(scene.gate.guest_count(), 0, "nobody needs to be a guest any more");
}

#[test]
fn a_gate_that_has_no_room_turns_away_like_any_stranger() {
    let scene = Scene::new();
    let until = Duration::from_secs(u64::from(u32::MAX));
    for n in 0..GUESTS_LIMIT {
        scene.gate.add_guest(IpAddr::from([10, 0, (n >> 8) as u8, n as u8]), Duration::ZERO, until);
    }
    assert_eq!(scene.announce(EMBARGOED, "198.51.100.1", Some(KEY)), Err(Refusal::NotAllowed));
    assert_eq!((scene.gate.guests_refused(), scene.service.status().peer_count), (1, 0));
}

#[test]
fn a_torrent_that_is_withdrawn_takes_its_embargo_along() {
    let scene = Scene::new();
    scene.service.set_gate(EMBARGOED, None);
    assert!(scene.announce(EMBARGOED, "198.51.100.1", None).is_ok());
}

#[test]
fn while_a_torrent_is_gone_for_a_check_strangers_do_not_meet_its_early_peers() {
    let scene = Scene::with(Access::Open);
    scene.announce(EMBARGOED, "198.51.100.9", Some(KEY)).unwrap();
    scene.service.remove_own_seed(EMBARGOED);
    scene.service.keep_gate(EMBARGOED);
    scene.guarded_sweep(u64::MAX - 1);
    let told = scene.announce(EMBARGOED, "198.51.100.1", None).unwrap();
    assert!(told.packed_peers.is_empty() && told.stats.leech_count == 1, "itself alone");
    assert_eq!(scene.scrape("198.51.100.3", None)[0].map(|swarm| swarm.leech_count), Some(1));
    scene.gate.open();
    let told = scene.announce(EMBARGOED, "198.51.100.1", None).unwrap();
    assert_eq!(told.packed_peers, [198, 51, 100, 9, 0x1a, 0xe1]);
}

#[test]
fn the_time_comes_for_a_torrent_that_is_gone_too() {
    let scene = Scene::with(Access::Open);
    scene.gate.set_opens_at_unix_s(Some(100));
    scene.announce(EMBARGOED, "198.51.100.9", Some(KEY)).unwrap();
    scene.service.keep_gate(EMBARGOED);
    scene.guarded_sweep(99);
    assert!(scene.announce(EMBARGOED, "198.51.100.1", None).unwrap().packed_peers.is_empty());
    scene.guarded_sweep(100);
    assert!(!scene.announce(EMBARGOED, "198.51.100.1", None).unwrap().packed_peers.is_empty());
}

#[test]
fn torrents_that_are_gone_for_good_take_no_more_room_than_so_many() {
    let mut gates = Gates::new(1);
    let gate = Arc::new(Gate::new(None, Vec::new(), Some(KEY)).unwrap());
    let name = |n: usize| InfoHash(std::array::from_fn(|at| (n >> (8 * at.min(7))) as u8));
    let is_shut = |gates: &Gates, n| gates.admission(name(n), [10, 0, 0, 1].into(), None, Duration::ZERO).is_refused();
    for n in 0..=gates::AWAY_LIMIT {
        gates.set(name(n), Some(gate.clone()));
        gates.keep(name(n));
    }
    assert!(!is_shut(&gates, 0) && is_shut(&gates, 1));
    gates.set(name(1), Some(gate.clone()));
    gates.keep(name(0));
    gates.set(name(gates::AWAY_LIMIT + 1), Some(gate));
    gates.keep(name(gates::AWAY_LIMIT + 1));
    assert!(is_shut(&gates, 1) && is_shut(&gates, 2), "what has come back is not gone");
}

#[test]
fn the_first_other_peer_that_has_all_of_it_is_told_of() {
    let scene = Scene::new();
    scene.gate.open();
    let first_copy = Arc::new(FirstCopy::default());
    scene.service.await_copy(&[EMBARGOED, UNLISTED], OURS, &first_copy);
    let told = |request: AnnounceRequest| {
        scene.say(&request, "198.51.100.1", None).unwrap();
        first_copy.is_met()
    };
    assert!(!told(request(EMBARGOED, Event::None, 5)), "a leech");
    assert!(!told(AnnounceRequest { peer_id: OURS, ..request(EMBARGOED, Event::None, 0) }), "ourselves");
    assert!(!told(request(EMBARGOED, Event::Started, 0)), "who begins by a magnet link may not know what it lacks");
    assert!(!told(request(EMBARGOED, Event::Stopped, 0)), "who leaves is no copy");
    assert!(told(request(EMBARGOED, Event::Completed, 0)));
}

#[test]
fn whoever_does_not_wait_any_more_hears_of_no_copy() {
    let scene = Scene::new();
    scene.gate.open();
    let first_copy = Arc::new(FirstCopy::default());
    scene.service.await_copy(&[EMBARGOED], OURS, &first_copy);
    scene.service.forget_copy(&[EMBARGOED]);
    scene.say(&request(EMBARGOED, Event::Completed, 0), "198.51.100.1", None).unwrap();
    assert!(!first_copy.is_met());
}
