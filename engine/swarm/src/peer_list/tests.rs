//! The peer list by the hazards that it is there for, and against a simple model.

use super::address::{Scope, network, scope};
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100_000);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn v4(network: u32, host: u8, port: u16) -> SocketAddr {
    let [a, b, c, _] = (0x0b00_0000 + network * 256).to_be_bytes();
    SocketAddr::from(([a, b, c, host], port))
}

fn free_pace() -> DialPace {
    DialPace::new(1_000_000, 1_000_000)
}

impl PeerList {
    /// Everything that may be dialled now, in its order.
    fn dial_all(&mut self, now: Duration) -> Vec<SocketAddr> {
        let mut pace = free_pace();
        std::iter::from_fn(|| self.next(now, &mut pace)).collect()
    }

    fn check_books(&self) {
        assert!(self.entries.len() <= PEER_LIST_LIMIT);
        let idle = self.entries.keys().filter(|address| !self.is_active(address)).count();
        assert_eq!(self.shelves.len(), idle);
        for source in PeerSource::ALL {
            let count = self.entries.values().filter(|entry| entry.source == source).count();
            assert_eq!(self.source_counts[source as usize], count);
            assert!(count <= source.limit());
        }
        let mut networks: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for address in self.entries.keys().filter(|address| scope(address.ip()) == Scope::Global) {
            *networks.entry(network(address.ip())).or_default() += 1;
        }
        let counted = self.network_counts.iter().filter(|((is_network, _), _)| *is_network);
        assert!(counted.map(|((_, ip), count)| (*ip, *count)).eq(networks));
        assert!(self.banned.len() == self.bans.len() && self.bans.len() <= BANS_LIMIT);
    }
}

#[test]
fn an_address_is_dialled_once_until_its_fate_is_known() {
    let mut list = PeerList::new(1);
    assert!(list.handle_found(address("1.2.3.4:5"), PeerSource::Tracker));
    assert!(!list.handle_found(address("[::ffff:1.2.3.4]:5"), PeerSource::Pex), "one peer in two forms");
    assert_eq!(list.dial_all(SECOND), [address("1.2.3.4:5")]);
    assert_eq!(list.dial_all(LONG), []);
    list.handle_connected(address("1.2.3.4:5"));
    assert!(!list.handle_found(address("1.2.3.4:5"), PeerSource::Given));
    assert_eq!(list.dial_all(LONG), []);
    list.handle_closed(LONG, address("1.2.3.4:5"), true);
    assert_eq!(list.dial_all(LONG + SECOND), []);
    assert_eq!(list.dial_all(LONG + 13 * SECOND), [address("1.2.3.4:5")]);
}

#[test]
fn a_peer_that_came_by_itself_is_not_dialled_where_it_listens() {
    let mut list = PeerList::new(1);
    list.handle_found(address("1.2.3.4:5"), PeerSource::Dht);
    list.handle_connected(address("1.2.3.4:5"));
    list.handle_connected(address("1.2.3.5:6"));
    assert_eq!(list.dial_all(LONG), []);
    list.handle_closed(LONG, address("1.2.3.5:6"), false);
    assert_eq!(list.dial_all(LONG + LONG), [address("1.2.3.5:6")]);
}

#[test]
fn the_order_is_that_of_bep_40_and_nearest_first() {
    let mut list = PeerList::new(1);
    list.add_listen_address(address("0.0.0.0:6881"));
    for teller in ["1.1.1.1", "1.1.2.1", "1.1.3.1"] {
        list.handle_seen_as(teller.parse().unwrap(), "123.213.32.10".parse().unwrap());
    }
    let ours = address("123.213.32.10:6881");
    let mut found: Vec<SocketAddr> = (0..50).map(|network| v4(network, 1, 1000)).collect();
    for address in &found {
        list.handle_found(*address, PeerSource::Tracker);
    }
    list.handle_found(address("192.168.0.9:7000"), PeerSource::Lsd);
    found.sort_by_key(|theirs| std::cmp::Reverse(peer_priority(ours, *theirs)));
    found.insert(0, address("192.168.0.9:7000"));
    assert_eq!(list.dial_all(SECOND), found);
}

#[test]
fn what_strangers_tell_does_not_starve_what_the_tracker_says() {
    let mut list = PeerList::new(1);
    (0..500).for_each(|network| _ = list.handle_found(v4(network, 1, 1000), PeerSource::Pex));
    (500..510).for_each(|network| _ = list.handle_found(v4(network, 1, 1000), PeerSource::Tracker));
    let first = list.dial_all(SECOND);
    let from_tracker = first[..20].iter().filter(|address| **address >= v4(500, 0, 0)).count();
    assert_eq!(from_tracker, 10);
    assert_eq!(first.len(), 510);
}

#[test]
fn an_address_that_fails_waits_longer_each_time_and_is_forgotten() {
    let mut list = PeerList::new(7);
    let peer = address("1.2.3.4:5");
    list.handle_found(peer, PeerSource::Tracker);
    let (mut now, mut last_wait) = (SECOND, Duration::ZERO);
    for failure in 1..FAILURES_LIMIT {
        assert_eq!(list.dial_all(now), [peer]);
        list.handle_failed(now, peer, DialFailure::Unreachable);
        let wait = list.next_at().unwrap() - now;
        let due = BACK_OFF[0] * (1 << (failure - 1));
        assert!((due.mul_f64(0.75)..=due.mul_f64(1.25)).contains(&wait), "{wait:?} is not about {due:?}");
        assert!(wait > last_wait);
        (now, last_wait) = (now + wait, wait);
    }
    assert_eq!(list.dial_all(now), [peer]);
    list.handle_failed(now, peer, DialFailure::Handshake);
    assert!(!list.handle_found(peer, PeerSource::Pex), "it is known as hopeless for a while");
    assert_eq!(list.dial_all(now + LONG), []);
    assert_eq!((list.len(), list.counts().given_up), (0, 1));
}

#[test]
fn a_peer_that_a_person_named_is_never_given_up() {
    let mut list = PeerList::new(7);
    let peer = address("1.2.3.4:25");
    list.handle_found(peer, PeerSource::Given);
    let mut now = SECOND;
    for _ in 0..50 {
        assert_eq!(list.dial_all(now), [peer]);
        list.handle_failed(now, peer, DialFailure::Unreachable);
        assert!(list.next_at().unwrap() - now <= NEAR_BACK_OFF[1].mul_f64(1.25));
        now = list.next_at().unwrap();
    }
}

#[test]
fn a_peer_next_door_that_says_it_is_there_is_dialled_at_once() {
    let mut list = PeerList::new(7);
    let peer = address("192.168.0.9:6881");
    list.handle_found(peer, PeerSource::Pex);
    list.dial_all(SECOND);
    list.handle_failed(SECOND, peer, DialFailure::Unreachable);
    assert_eq!(list.dial_all(2 * SECOND), []);
    list.handle_found(peer, PeerSource::Dht);
    assert_eq!(list.dial_all(2 * SECOND), []);
    list.handle_found(peer, PeerSource::Lsd);
    assert_eq!(list.dial_all(2 * SECOND), [peer]);
}

#[test]
fn a_connection_that_came_to_nothing_is_not_made_again_and_again() {
    let mut list = PeerList::new(7);
    let peer = address("1.2.3.4:5");
    list.handle_found(peer, PeerSource::Tracker);
    let (mut now, mut dials) = (SECOND, 0);
    while let Some(at) = list.next_at() {
        now = now.max(at);
        if list.dial_all(now).is_empty() {
            break;
        }
        dials += 1;
        list.handle_connected(peer);
        list.handle_closed(now, peer, false);
        assert!(list.next_at().unwrap() >= now + USELESS_WAIT.mul_f64(0.75));
    }
    assert_eq!(dials, FAILURES_LIMIT);
}

#[test]
fn we_never_dial_ourselves_twice() {
    let mut list = PeerList::new(1);
    list.handle_found(address("127.0.0.1:6881"), PeerSource::Tracker);
    list.handle_found(address("10.0.0.5:6881"), PeerSource::Tracker);
    list.add_listen_address(address("0.0.0.0:6881"));
    assert!(!list.handle_found(address("127.0.0.1:6881"), PeerSource::Lsd));
    // Only its handshake tells that this one is ours as well.
    assert_eq!(list.dial_all(SECOND), [address("10.0.0.5:6881")]);
    list.handle_failed(SECOND, address("10.0.0.5:6881"), DialFailure::Ourselves);
    assert!(!list.handle_found(address("10.0.0.5:6881"), PeerSource::Given));
    assert!(list.handle_found(address("10.0.0.5:6882"), PeerSource::Tracker));
    for teller in ["1.1.1.1", "1.1.2.1", "1.1.3.1"] {
        list.handle_seen_as(teller.parse().unwrap(), "203.0.113.7".parse().unwrap());
    }
    assert!(!list.handle_found(address("203.0.113.7:6881"), PeerSource::Pex));
    list.check_books();
}

#[test]
fn one_network_cannot_make_us_believe_in_another_address_of_ours() {
    let mut own = OwnAddresses::new(9);
    let theirs = address("8.8.8.8:8");
    let before = own.facing(theirs);
    for host in 1..200 {
        assert!(!own.vote(IpAddr::from([66, 6, 6, host]), "1.2.3.4".parse().unwrap()));
    }
    assert!(!own.vote("66.6.7.1".parse().unwrap(), "1.2.3.4".parse().unwrap()));
    assert_eq!(own.facing(theirs), before);
    assert!(!own.vote("66.6.8.1".parse().unwrap(), "192.168.0.1".parse().unwrap()), "no address that the world sees");
    assert!(own.vote("66.6.8.1".parse().unwrap(), "1.2.3.4".parse().unwrap()));
    assert_eq!(own.facing(theirs).ip(), IpAddr::from([1, 2, 3, 4]));
}

#[test]
fn a_banned_ip_is_gone_and_stays_away() {
    let mut list = PeerList::new(1);
    let (idle, connected, other) = (address("1.2.3.4:5"), address("1.2.3.4:6"), address("1.2.3.5:5"));
    let _ = [idle, connected, other].map(|address| list.handle_found(address, PeerSource::Tracker));
    list.handle_connected(connected);
    list.ban("::ffff:1.2.3.4".parse().unwrap());
    assert!(list.is_banned(idle.ip()) && !list.is_banned(other.ip()));
    assert!(!list.handle_found(idle, PeerSource::Given));
    assert_eq!(list.dial_all(SECOND), [other]);
    list.handle_closed(SECOND, connected, true);
    assert_eq!(list.dial_all(LONG), []);
    assert_eq!(list.len(), 1);
    for host in 0..BANS_LIMIT as u32 {
        list.ban(IpAddr::from((0x0900_0000 + host).to_be_bytes()));
    }
    assert!(!list.is_banned(idle.ip()), "the oldest ban makes room");
    list.check_books();
}

#[test]
fn seeds_are_not_dialled_once_we_are_one() {
    let mut list = PeerList::new(1);
    let (seed, late_seed, leech, connected) = (v4(1, 1, 1), v4(2, 1, 1), v4(3, 1, 1), v4(4, 1, 1));
    let _ = [seed, late_seed, leech, connected].map(|address| list.handle_found(address, PeerSource::Pex));
    list.handle_seed(seed);
    list.handle_seed(connected);
    list.handle_connected(connected);
    list.handle_completed();
    list.handle_seed(late_seed);
    assert_eq!(list.dial_all(SECOND), [leech]);
    list.handle_closed(SECOND, connected, true);
    assert_eq!(list.len(), 1);
}

#[test]
fn nobody_fills_the_list_with_his_network() {
    let mut list = PeerList::new(1);
    let (of_ip, of_network) = ((IP_LIMIT / STRANGERS_PART) as usize, (NETWORK_LIMIT / STRANGERS_PART) as usize);
    let mut ports = |range: std::ops::Range<u16>, source| {
        range.filter(|port| list.handle_found(v4(1, 1, 1000 + port), source)).count()
    };
    assert_eq!(ports(0..100, PeerSource::Pex), of_ip);
    assert_eq!(ports(100..200, PeerSource::Tracker), IP_LIMIT as usize - of_ip, "a tracker is believed further");
    let from_one_network = (1..=250).filter(|host| list.handle_found(v4(2, *host, 1000), PeerSource::Pex)).count();
    assert_eq!(from_one_network, of_network);
    let v6 = |host: u128| SocketAddr::from((std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) + host), 1000));
    let from_one_56 = (1..1000).filter(|host| list.handle_found(v6(host << 60), PeerSource::Dht)).count();
    assert_eq!(from_one_56, of_network);
    assert!(list.counts().refused_network > 0);
    let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!((2000..2400).filter(|port| list.handle_found(loopback(*port), PeerSource::Tracker)).count(), 400);
    list.check_books();
}

#[test]
fn a_full_list_lets_go_of_what_failed_then_of_what_is_trusted_less() {
    let mut list = PeerList::new(1);
    let told = |list: &mut PeerList, range: std::ops::Range<u32>, source| {
        range.filter(|network| list.handle_found(v4(*network, 1, 1000), source)).count()
    };
    assert_eq!(told(&mut list, 0..3000, PeerSource::Pex), PeerSource::Pex.limit());
    assert_eq!(told(&mut list, 3000..6000, PeerSource::Dht), PeerSource::Dht.limit());
    assert_eq!(told(&mut list, 6000..6400, PeerSource::Incoming), PEER_LIST_LIMIT - list.len() + 400);
    assert_eq!(list.len(), PEER_LIST_LIMIT);
    assert_eq!(told(&mut list, 9000..9001, PeerSource::Incoming), 1, "a stranger's makes room");
    assert_eq!(told(&mut list, 9100..9101, PeerSource::Pex), 0);
    // One that failed makes room for anybody.
    let failed = list.dial_all(SECOND)[0];
    list.handle_failed(SECOND, failed, DialFailure::Unreachable);
    assert_eq!(told(&mut list, 9200..9202, PeerSource::Tracker), 1);
    assert!(!list.entries.contains_key(&failed));
    list.check_books();
}

#[derive(Debug, Clone)]
enum Step {
    Found(u8, u8),
    Next,
    End(u8, u8),
    Incoming(u8),
    Ban(u8),
    Seed(u8),
    Complete,
    SeenAs(u8, u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<(u8, u8)>().prop_map(|(peer, source)| Step::Found(peer, source)),
        6 => Just(Step::Next),
        6 => any::<(u8, u8)>().prop_map(|(pick, how)| Step::End(pick, how)),
        2 => any::<u8>().prop_map(Step::Incoming),
        1 => (0..8u8).prop_map(Step::Ban),
        1 => any::<u8>().prop_map(Step::Seed),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::Complete } else { Step::Next }),
        1 => any::<(u8, u8)>().prop_map(|(teller, seen)| Step::SeenAs(teller, seen % 3)),
        4 => (0..400u16).prop_map(Step::Pass),
    ]
}

/// Few addresses that share IPs and networks.
fn peer(number: u8) -> SocketAddr {
    v4(u32::from(number % 4), number % 16, 1000 + u16::from(number % 3))
}

proptest! {
    #[test]
    fn no_step_breaks_the_books_or_dials_whom_it_must_not(steps in prop::collection::vec(step(), 0..400), seed: u64) {
        let (mut list, mut pace) = (PeerList::new(seed), DialPace::new(20, 10));
        let mut now = SECOND;
        // Who is being dialled (`false`) or connected, and until when who failed must be left alone at least.
        let mut active: HashMap<SocketAddr, bool> = HashMap::new();
        let mut not_before: HashMap<SocketAddr, Duration> = HashMap::new();
        let mut bans: Vec<IpAddr> = Vec::new();
        let (mut seeds, mut is_complete): (Vec<SocketAddr>, bool) = (Vec::new(), false);
        for step in steps {
            match step {
                Step::Found(number, source) => {
                    // Those that a person names may come back at any time.
                    let source = PeerSource::ALL[2 + usize::from(source) % 4];
                    let was_new = list.handle_found(peer(number), source);
                    prop_assert!(!was_new || !active.contains_key(&peer(number)));
                }
                Step::Next => if let Some(dialled) = list.next(now, &mut pace) {
                    prop_assert!(active.insert(dialled, false).is_none(), "dialled twice");
                    prop_assert!(!bans.contains(&dialled.ip()), "banned");
                    prop_assert!(!(is_complete && seeds.contains(&dialled)), "a seed");
                    prop_assert!(not_before.get(&dialled).is_none_or(|due| *due <= now), "too early");
                },
                Step::End(pick, how) => {
                    let mut keys: Vec<SocketAddr> = active.keys().copied().collect();
                    keys.sort();
                    let Some(address) = keys.get(usize::from(pick) % keys.len().max(1)).copied() else { continue };
                    let is_connected = active[&address];
                    if !is_connected {
                        pace.handle_ended();
                    }
                    if !is_connected && how % 2 == 0 {
                        list.handle_connected(address);
                        active.insert(address, true);
                        continue;
                    }
                    active.remove(&address);
                    let least = match (is_connected, how % 3) {
                        (true, 0) => { list.handle_closed(now, address, false); USELESS_WAIT }
                        (true, _) => { list.handle_closed(now, address, true); RETURN_WAIT }
                        (_, 0) => { list.handle_failed(now, address, DialFailure::Duplicate); DUPLICATE_WAIT }
                        (_, 1) => { list.handle_failed(now, address, DialFailure::NoRoom); NO_ROOM_WAIT }
                        _ => { list.handle_failed(now, address, DialFailure::Unreachable); BACK_OFF[0] }
                    };
                    if list.entries.contains_key(&address) {
                        not_before.insert(address, now + least.mul_f64(0.74));
                    }
                }
                Step::Incoming(number) => {
                    if !active.contains_key(&peer(number)) && !list.is_banned(peer(number).ip()) {
                        list.handle_connected(peer(number));
                        if list.entries.contains_key(&peer(number)) {
                            active.insert(peer(number), true);
                        }
                    }
                }
                Step::Ban(number) => {
                    list.ban(peer(number).ip());
                    bans.push(peer(number).ip());
                }
                Step::Seed(number) => {
                    if list.entries.contains_key(&peer(number)) {
                        seeds.push(peer(number));
                    }
                    list.handle_seed(peer(number));
                }
                Step::Complete => {
                    list.handle_completed();
                    is_complete = true;
                }
                Step::SeenAs(teller, seen) => list.handle_seen_as(v4(u32::from(teller), 1, 1).ip(), v4(77, seen, 1).ip()),
                Step::Pass(deciseconds) => now += Duration::from_millis(u64::from(deciseconds) * 100),
            }
            // An address that was forgotten may be found anew.
            not_before.retain(|address, _| list.entries.contains_key(address));
            seeds.retain(|address| list.entries.contains_key(address));
            list.check_books();
            prop_assert_eq!(pace.half_open_count(), active.values().filter(|is_connected| !**is_connected).count());
        }
    }
}
