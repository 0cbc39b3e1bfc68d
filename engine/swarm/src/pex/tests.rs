//! Peer exchange: what others would believe after our messages, and what theirs may do to us.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ID: u8 = 9;

fn peer(number: u32) -> SocketAddr {
    let [a, b, c, d] = (0x0b00_0000 + number).to_be_bytes();
    match number % 3 {
        0 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16], 6881)),
        _ => SocketAddr::from(([a, b, c, d], 6881)),
    }
}

/// A connection's peer, as it hears our messages.
struct Listener {
    pex: PexPeer,
    own: SocketAddr,
    knows: BTreeSet<SocketAddr>,
    last: Option<Duration>,
}

impl Listener {
    fn new(log: &PexLog, own: SocketAddr) -> Listener {
        Listener { pex: PexPeer::new(log), own, knows: BTreeSet::new(), last: None }
    }

    /// Hears a message, if there is one, and holds it to what BEP 11 asks for. How many peers it names.
    fn hear(&mut self, now: Duration, log: &PexLog) -> Option<(usize, usize)> {
        let mut out = Vec::new();
        if !self.pex.poll_message(now, log, self.own, ID, &mut out) {
            assert!(out.is_empty());
            return None;
        }
        assert!(self.last.is_none_or(|last| now - last >= Duration::from_secs(60)), "one message a minute");
        self.last = Some(now);
        let message = PexMessage::parse(&out[6..]).unwrap();
        let added: BTreeSet<SocketAddr> = message.added().map(|(address, _)| address).collect();
        let dropped: BTreeSet<SocketAddr> = message.dropped().collect();
        assert!(added.len() == message.added().count() && dropped.len() == message.dropped().count(), "no duplicates");
        assert!(added.is_disjoint(&dropped) && (!added.is_empty() || !dropped.is_empty()));
        assert!(added.len() <= PEX_MESSAGE_PEERS && dropped.len() <= PEX_MESSAGE_PEERS);
        assert!(!added.contains(&self.own), "nobody is told of himself");
        assert!(added.iter().all(|address| log.by_address.contains_key(address)), "only those that are connected");
        assert!(dropped.is_subset(&self.knows), "only those that it was told of");
        self.knows.retain(|address| !dropped.contains(address));
        self.knows.extend(&added);
        Some((added.len(), dropped.len()))
    }

    fn hear_all(&mut self, now: &mut Duration, log: &PexLog) {
        loop {
            *now += PEX_INTERVAL;
            if self.hear(*now, log).is_none() {
                return;
            }
        }
    }
}

fn members(log: &PexLog, own: SocketAddr) -> BTreeSet<SocketAddr> {
    log.by_address.keys().copied().filter(|address| *address != own).collect()
}

fn payload(added: impl IntoIterator<Item = SocketAddr>) -> Vec<u8> {
    let mut out = Vec::new();
    let added: Vec<_> = added.into_iter().map(|address| (address, PexFlags::SEED)).collect();
    encode_pex(ID, &added, &[], &mut out);
    out.split_off(6)
}

#[test]
fn a_newcomer_hears_of_the_newest_fifty_and_of_the_others_a_minute_later() {
    let mut log = PexLog::default();
    (0..120).for_each(|number| log.handle_joined(peer(number), PexFlags::NONE));
    let mut listener = Listener::new(&log, peer(7));
    log.handle_joined(peer(7), PexFlags::NONE);
    let mut now = Duration::ZERO;
    assert_eq!(listener.hear(now, &log), Some((50, 0)));
    assert!(listener.knows.contains(&peer(119)) && !listener.knows.contains(&peer(69)));
    assert_eq!(listener.hear(now + Duration::from_secs(59), &log), None);
    listener.hear_all(&mut now, &log);
    assert_eq!(listener.knows, members(&log, peer(7)));
    assert_eq!(listener.knows.len(), 119);
}

#[test]
fn who_leaves_is_dropped_for_those_who_knew_of_it_alone() {
    let mut log = PexLog::default();
    (0..60).for_each(|number| log.handle_joined(peer(number), PexFlags::NONE));
    let mut listener = Listener::new(&log, peer(1000));
    let mut now = Duration::ZERO;
    assert_eq!(listener.hear(now, &log), Some((50, 0)));
    // One that was told, one that was not yet, and one that came and went between two messages.
    log.handle_left(peer(59));
    log.handle_left(peer(0));
    log.handle_joined(peer(500), PexFlags::NONE);
    log.handle_left(peer(500));
    now += PEX_INTERVAL;
    assert_eq!(listener.hear(now, &log), Some((9, 1)));
    assert_eq!(listener.knows, members(&log, peer(1000)));
    // Nothing new: nothing is said, since some clients take an empty message for an error.
    assert_eq!(listener.hear(now + PEX_INTERVAL, &log), None);
}

#[test]
fn who_goes_and_comes_back_was_never_away() {
    let mut log = PexLog::default();
    log.handle_joined(peer(1), PexFlags::NONE);
    let mut listener = Listener::new(&log, peer(2));
    let mut now = Duration::ZERO;
    assert_eq!(listener.hear(now, &log), Some((1, 0)));
    log.handle_left(peer(1));
    log.handle_joined(peer(1), PexFlags::NONE);
    now += PEX_INTERVAL;
    assert_eq!(listener.hear(now, &log), None);
    // Two connections with it are one peer.
    log.handle_joined(peer(1), PexFlags::SEED);
    log.handle_left(peer(1));
    assert_eq!(listener.hear(now, &log), None);
    log.handle_left(peer(1));
    assert_eq!(listener.hear(now, &log), Some((0, 1)));
}

#[test]
fn nobody_is_told_that_he_has_left() {
    let mut log = PexLog::default();
    let mut listener = Listener::new(&log, peer(1));
    // Another connection of the same peer, before one of the two is closed.
    log.handle_joined(peer(1), PexFlags::NONE);
    log.handle_joined(peer(2), PexFlags::NONE);
    assert_eq!(listener.hear(Duration::ZERO, &log), Some((1, 0)));
    log.handle_left(peer(1));
    assert_eq!(listener.hear(PEX_INTERVAL, &log), None);
}

#[test]
fn a_peer_elsewhere_is_not_told_of_our_own_network() {
    let mut log = PexLog::default();
    let (neighbour, stranger) = ("192.168.0.9:1".parse().unwrap(), peer(1));
    log.handle_joined(neighbour, PexFlags::NONE);
    log.handle_joined(stranger, PexFlags::NONE);
    let mut listeners = [Listener::new(&log, peer(2)), Listener::new(&log, "192.168.0.7:1".parse().unwrap())];
    assert_eq!(listeners.each_mut().map(|listener| listener.hear(Duration::ZERO, &log)), [Some((1, 0)), Some((2, 0))]);
    log.handle_left(neighbour);
    assert_eq!(listeners.each_mut().map(|listener| listener.hear(PEX_INTERVAL, &log)), [None, Some((0, 1))]);
}

#[test]
fn a_swarm_that_leaves_at_once_is_reported_in_parts() {
    let mut log = PexLog::default();
    (0..130).for_each(|number| log.handle_joined(peer(number), PexFlags::NONE));
    let mut listener = Listener::new(&log, peer(1000));
    let mut now = Duration::ZERO;
    listener.hear_all(&mut now, &log);
    (0..130).for_each(|number| log.handle_left(peer(number)));
    (200..220).for_each(|number| log.handle_joined(peer(number), PexFlags::NONE));
    for expected in [Some((0, 50)), Some((0, 50)), Some((20, 30)), None] {
        now += PEX_INTERVAL;
        assert_eq!(listener.hear(now, &log), expected);
    }
}

#[test]
fn a_log_that_is_full_forgets_the_oldest_and_says_how_many() {
    let mut log = PexLog::default();
    let count = PEX_MEMBERS_LIMIT as u32;
    (0..count + 5).for_each(|number| log.handle_joined(peer(number), PexFlags::NONE));
    assert_eq!(log.members.len(), PEX_MEMBERS_LIMIT);
    let mut listener = Listener::new(&log, peer(90_000));
    assert_eq!(listener.hear(Duration::ZERO, &log), Some((50, 0)));
    let mut behind = PexPeer::new(&log);
    behind.leaves_told = 0;
    (0..count).for_each(|number| log.handle_left(peer(number)));
    (0..10).for_each(|number| {
        log.handle_joined(peer(number), PexFlags::NONE);
        log.handle_left(peer(number));
    });
    assert_eq!((log.leaves.len(), log.forgotten_count()), (PEX_LEAVES_LIMIT, 10));
    assert_eq!(log.leaves_from(3).next().map(|(next, number, _)| (next, number)), Some((11, 10)));
    assert_eq!(listener.hear(PEX_INTERVAL, &log), Some((0, 50)));
    assert!(!behind.poll_message(PEX_INTERVAL, &log, peer(0), ID, &mut Vec::new()), "it knew nobody");
}

#[test]
fn flags_say_who_is_a_seed_and_who_can_be_reached() {
    let mut log = PexLog::default();
    log.handle_joined(peer(1), PexFlags::REACHABLE);
    log.handle_joined(peer(1), PexFlags::SEED);
    let mut out = Vec::new();
    assert!(PexPeer::new(&log).poll_message(Duration::ZERO, &log, peer(0), ID, &mut out));
    let message = PexMessage::parse(&out[6..]).unwrap();
    let both = PexFlags::SEED.with(PexFlags::REACHABLE);
    assert_eq!(message.added().collect::<Vec<_>>(), [(peer(1), both)]);
}

#[test]
fn a_private_torrent_has_no_peer_exchange() {
    let torrent = |is_private: &str| {
        let info = format!("6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:{:a<20}{is_private}", "");
        Torrent::parse(format!("d4:infod{info}ee").as_bytes()).unwrap()
    };
    assert!(PexLog::new(&torrent("7:privatei1e")).is_none());
    assert!(PexLog::new(&torrent("")).is_some());
}

#[test]
fn one_peer_cannot_tell_us_of_a_whole_swarm_of_its_own() {
    let mut pex = PexPeer::new(&PexLog::default());
    let from = "8.8.8.8".parse().unwrap();
    let (mut taken, mut now) = (0, Duration::ZERO);
    for message in 0..10u32 {
        let numbers = message * 50..(message + 1) * 50;
        let heard =
            pex.handle_message(now, from, &payload(numbers.map(|number| peer(3 * number + 1))), |_, _| taken += 1);
        assert_eq!(heard.map(|heard| heard.taken + heard.ignored), Ok(50));
        now += Duration::from_secs(60);
    }
    assert_eq!(taken, ALLOWANCE_LIMIT + 9 * ALLOWANCE_PER_MESSAGE);
}

#[test]
fn strangers_cannot_have_us_dial_into_our_own_network() {
    let inside = ["192.168.0.1:80", "127.0.0.1:9000", "[fe80::1]:80"].map(|text| text.parse().unwrap());
    let heard = |from: &str| {
        let mut pex = PexPeer::new(&PexLog::default());
        pex.handle_message(Duration::ZERO, from.parse().unwrap(), &payload(inside), |_, _| {}).unwrap()
    };
    assert_eq!(heard("8.8.8.8"), PexHeard { taken: 0, ignored: 3 });
    assert_eq!(heard("127.0.0.1"), PexHeard { taken: 3, ignored: 0 });
}

#[test]
fn messages_that_come_too_soon_are_not_read_and_end_the_connection_if_they_go_on() {
    let mut pex = PexPeer::new(&PexLog::default());
    let (from, message) = ("8.8.8.8".parse().unwrap(), payload([peer(1)]));
    let mut say = |at_s: u64| pex.handle_message(Duration::from_secs(at_s), from, &message, |_, _| {});
    assert_eq!(say(0), Ok(PexHeard { taken: 1, ignored: 0 }));
    assert_eq!(say(44), Ok(PexHeard { taken: 0, ignored: 1 }));
    // Two that bunched up on the way are forgiven.
    for minute in 1..20 {
        assert_eq!(say(60 * minute), Ok(PexHeard { taken: 1, ignored: 0 }));
        if minute % 2 == 0 {
            assert_eq!(say(60 * minute + 1), Ok(PexHeard { taken: 0, ignored: 1 }));
        }
    }
    let floods = (0..).take_while(|_| say(60 * 19 + 2).is_ok()).count();
    assert_eq!(floods, usize::from(BREACHES_LIMIT));
    assert_eq!(say(60 * 19 + 2), Err(Fault::Flood));
}

#[test]
fn long_messages_are_cut_and_forgiven_once_and_what_is_no_message_is_not() {
    let mut pex = PexPeer::new(&PexLog::default());
    let from = "8.8.8.8".parse().unwrap();
    let long = payload((0..200).map(|number| peer(3 * number + 1)));
    let mut say = |minute: u64, payload: &[u8]| {
        pex.handle_message(Duration::from_secs(60 * minute), from, payload, |_, _| {}).map(|heard| heard.taken)
    };
    assert_eq!(say(0, &long), Ok(50), "the first may be long, and is cut");
    for minute in 1..=u64::from(BREACHES_LIMIT) {
        assert!(say(minute, &long).is_ok());
    }
    assert_eq!(say(9, &long), Err(Fault::Flood));
    assert_eq!(say(99, b"le"), Err(Fault::Wire(wire::WireError::BadDictionary)));
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8),
    Leave(u8),
    Wait(u8),
    Newcomer(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u8>().prop_map(Step::Join),
        6 => any::<u8>().prop_map(Step::Leave),
        2 => any::<u8>().prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Newcomer),
    ]
}

proptest! {
    /// Whatever comes and goes, every peer ends up believing what is true, by messages that keep to the rules.
    #[test]
    fn every_peer_ends_up_with_the_truth(steps in prop::collection::vec(step(), 0..600)) {
        let (mut log, mut now, mut listeners) = (PexLog::default(), Duration::ZERO, Vec::new());
        let mut connections: Vec<SocketAddr> = Vec::new();
        for step in steps {
            match step {
                Step::Join(number) => {
                    log.handle_joined(peer(number.into()), PexFlags::NONE);
                    connections.push(peer(number.into()));
                }
                Step::Leave(pick) if !connections.is_empty() => {
                    let at = usize::from(pick) % connections.len();
                    log.handle_left(connections.swap_remove(at));
                }
                Step::Leave(_) => {}
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Newcomer(number) => listeners.push(Listener::new(&log, peer(number.into()))),
            }
            for listener in &mut listeners {
                listener.hear(now, &log);
            }
        }
        let connected: BTreeSet<SocketAddr> = connections.into_iter().collect();
        prop_assert!(log.by_address.keys().eq(&connected));
        for listener in &mut listeners {
            listener.hear_all(&mut now, &log);
            prop_assert_eq!(&listener.knows, &members(&log, listener.own));
        }
    }

    #[test]
    fn arbitrary_messages_never_panic(messages in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..60)), 0..30)) {
        let (mut pex, mut now) = (PexPeer::new(&PexLog::default()), Duration::ZERO);
        for (wait_ms, payload) in messages {
            now += Duration::from_millis(wait_ms.into());
            let _ = pex.handle_message(now, "8.8.8.8".parse().unwrap(), &payload, |_, _| {});
        }
    }
}
