use std::net::SocketAddr;

use hash::InfoHash;

use super::*;
use crate::krpc::{ErrorReply, Response};
use crate::limits::{DEAD_MS, MAX_LOOKUPS, MAX_PENDING, MAX_PROBES, TOKEN_WINDOW_MS};
use crate::node_id::NodeId;

const NOW: Millis = 1_000_000;
const SWARM: InfoHash = InfoHash([7; 20]);

fn dht() -> Dht {
    Dht::new(Config::default(), [9; 32], NOW)
}

fn address(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    ([10, 0, high, low], 6881).into()
}

fn id(n: u16) -> NodeId {
    let mut id = [0xaa; 20];
    id[..2].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

fn query(n: u16, method: Method<'_>) -> Vec<u8> {
    let body = Body::Query(Query { id: id(n), method });
    Message { transaction: b"tt", version: None, read_only: false, seen_as: None, body }.encode()
}

/// Asks and returns what is sent back to the asker.
fn ask(dht: &mut Dht, now: Millis, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
    dht.handle_datagram(now, from, datagram);
    std::iter::from_fn(|| dht.poll_transmit()).find(|transmit| transmit.to == from).map(|transmit| transmit.datagram)
}

fn response(datagram: &[u8]) -> Response<'_> {
    match Message::decode(datagram).unwrap().body {
        Body::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn error(datagram: Option<Vec<u8>>) -> i64 {
    match Message::decode(&datagram.unwrap()).unwrap().body {
        Body::Error(ErrorReply { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

/// A query of ours that is on its way, with its transaction.
fn next_query(dht: &mut Dht) -> Option<(SocketAddr, Vec<u8>)> {
    let Transmit { to, datagram } = dht.poll_transmit()?;
    Some((to, Message::decode(&datagram).unwrap().transaction.to_vec()))
}

fn answer_of(n: u16, transaction: &[u8]) -> Vec<u8> {
    let body = Body::Response(Response { id: id(n), token: Some(b"token"), ..Response::default() });
    Message { transaction, version: None, read_only: false, seen_as: None, body }.encode()
}

/// Makes `n` a node of the table.
fn befriend(dht: &mut Dht, n: u16) {
    dht.add_node(NOW, address(n));
    dht.handle_tick(NOW);
    let (to, transaction) = std::iter::from_fn(|| next_query(dht)).last().unwrap();
    dht.handle_datagram(NOW, to, &answer_of(n, &transaction));
}

#[test]
fn a_peer_that_shows_its_token_is_told_to_others() {
    let mut dht = dht();
    let get = |n| query(n, Method::GetPeers { info_hash: SWARM, want: None });
    let first = ask(&mut dht, NOW, address(1), &get(1)).unwrap();
    let token = response(&first).token.unwrap();
    let announce = Method::AnnouncePeer { info_hash: SWARM, port: 5_000, implied_port: false, token };
    assert!(ask(&mut dht, NOW, address(1), &query(1, announce.clone())).is_some());
    assert_eq!(error(ask(&mut dht, NOW, address(2), &query(2, announce.clone()))), 203, "somebody else's token");
    let late = NOW + 2 * TOKEN_WINDOW_MS;
    assert_eq!(error(ask(&mut dht, late, address(1), &query(1, announce))), 203, "an old one");
    let told = ask(&mut dht, late, address(3), &get(3)).unwrap();
    assert_eq!(response(&told).values, [SocketAddr::new(address(1).ip(), 5_000)]);
}

#[test]
fn an_implied_port_is_the_one_the_datagram_came_from() {
    let mut dht = dht();
    let get = query(1, Method::GetPeers { info_hash: SWARM, want: None });
    let token = ask(&mut dht, NOW, address(1), &get).map(|answer| response(&answer).token.unwrap().to_vec()).unwrap();
    let announce = Method::AnnouncePeer { info_hash: SWARM, port: 5_000, implied_port: true, token: &token };
    ask(&mut dht, NOW, address(1), &query(1, announce)).unwrap();
    let answer = ask(&mut dht, NOW, address(1), &get).unwrap();
    assert_eq!(response(&answer).values, [address(1)]);
    let port_0 = Method::AnnouncePeer { info_hash: SWARM, port: 0, implied_port: false, token: &token };
    assert_eq!(error(ask(&mut dht, NOW, address(1), &query(1, port_0))), 203);
}

#[test]
fn an_answer_tells_the_asker_its_address_and_fits_a_datagram() {
    let mut dht = dht();
    (1..9).for_each(|n| befriend(&mut dht, n));
    let asker: SocketAddr = "[fd00::1]:7".parse().unwrap();
    let want = Some(Want { v4: true, v6: true });
    let get = query(1, Method::GetPeers { info_hash: SWARM, want });
    for n in 0..500u16 {
        let peer: SocketAddr = (std::net::Ipv6Addr::new(0xfd00, n, 0, 0, 0, 0, 0, 1), 9).into();
        assert!(dht.store.announce(NOW, SWARM, peer));
    }
    let answer = ask(&mut dht, NOW, asker, &get).unwrap();
    assert!(answer.len() <= crate::limits::MAX_SENT_BYTES && answer.len() > 900, "{} bytes", answer.len());
    let message = Message::decode(&answer).unwrap();
    assert_eq!((message.seen_as, message.transaction), (Some(asker), &b"tt"[..]));
    let told = response(&answer);
    assert_eq!((told.nodes_of(Family::V4).count(), told.nodes6), (8, Some(&b""[..])));
}

#[test]
fn a_node_of_our_own_network_is_not_told_outside() {
    let mut dht = dht();
    befriend(&mut dht, 1);
    let find = query(2, Method::FindNode { target: id(1), want: None });
    let inside = ask(&mut dht, NOW, address(2), &find).unwrap();
    assert_eq!(response(&inside).nodes_of(Family::V4).count(), 1);
    let outside = ask(&mut dht, NOW, "8.8.8.8:1".parse().unwrap(), &find).unwrap();
    assert_eq!(response(&outside).nodes, Some(&b""[..]));
}

#[test]
fn what_is_malformed_or_unknown_is_refused_and_no_answer_is_answered() {
    let mut dht = dht();
    assert_eq!(error(ask(&mut dht, NOW, address(1), &query(1, Method::Unknown(b"vote")))), 204);
    let no_target = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe";
    assert_eq!(error(ask(&mut dht, NOW, address(1), no_target)), 203);
    for junk in [&b"d1:t2:aa1:y1:re"[..], b"", b"i1e", b"d1:rd2:id3:abce1:t2:aa1:y1:re", &[b'l'; 5_000]] {
        assert_eq!(ask(&mut dht, NOW, address(1), junk), None);
    }
    assert_eq!(ask(&mut dht, NOW, address(1), &answer_of(1, b"1234")), None);
    assert_eq!((dht.counters().malformed, dht.counters().unmatched), (6, 1));
}

#[test]
fn an_answer_from_elsewhere_or_with_another_number_is_nobodys() {
    let mut dht = dht();
    dht.add_node(NOW, address(1));
    dht.handle_tick(NOW);
    let (to, transaction) = next_query(&mut dht).unwrap();
    assert_eq!(to, address(1));
    dht.handle_datagram(NOW, address(2), &answer_of(1, &transaction));
    dht.handle_datagram(NOW, address(1), &answer_of(1, b"abcd"));
    assert_eq!((dht.status(Family::V4).unwrap().nodes, dht.counters().unmatched), (0, 2));
    dht.handle_datagram(NOW, address(1), &answer_of(1, &transaction));
    assert_eq!(dht.status(Family::V4).unwrap().nodes, 1);
}

#[test]
fn who_asks_us_is_pinged_once_and_gets_into_the_table_by_answering() {
    let mut dht = dht();
    for _ in 0..10 {
        ask(&mut dht, NOW, address(1), &query(1, Method::Ping)).unwrap();
    }
    dht.handle_tick(NOW);
    let pings: Vec<_> = std::iter::from_fn(|| next_query(&mut dht)).collect();
    assert_eq!((pings.len(), dht.status(Family::V4).unwrap().nodes), (1, 0));
    dht.handle_datagram(NOW, address(1), &answer_of(1, &pings[0].1));
    assert_eq!(dht.status(Family::V4).unwrap().nodes, 1);
}

#[test]
fn floods_fill_nothing_beyond_its_limit() {
    let mut dht = dht();
    for n in 0..20_000u16 {
        dht.handle_datagram(NOW, address(n), &query(n, Method::GetPeers { info_hash: SWARM, want: None }));
        dht.add_node(NOW, address(n));
    }
    assert!(dht.transmits.len() <= MAX_TRANSMITS);
    assert_eq!(dht.counters().answered, 4 * 500, "four seconds' worth");
    assert!(dht.counters().probes_dropped >= 20_000 - MAX_PROBES as u64);
    let lookups = (0..200u8).filter(|n| dht.lookup(NOW, InfoHash([*n; 20]), None).is_ok()).count();
    assert_eq!(lookups, 200, "they end at once: nobody is known");
    (1..9).for_each(|n| befriend(&mut dht, n));
    let lookups = (0..200u8).filter(|n| dht.lookup(NOW, InfoHash([*n; 20]), None).is_ok()).count();
    assert_eq!(lookups, MAX_LOOKUPS);
    for tick in 0..1_000 {
        dht.handle_tick(NOW + tick * 100);
        std::iter::from_fn(|| dht.poll_transmit()).for_each(drop);
    }
    assert!(!dht.transactions.is_full() && dht.lookups.is_empty() && dht.requests.is_empty());
}

#[test]
fn lookups_wait_while_too_many_queries_are_under_way() {
    let mut dht = dht();
    (1..9).for_each(|n| befriend(&mut dht, n));
    let to = address(99);
    for _ in 0..MAX_PENDING {
        dht.query(NOW, to, None, Method::Ping, Purpose::Probe);
    }
    let done = dht.lookup(NOW, SWARM, None).unwrap();
    while let Some(transmit) = dht.poll_transmit() {
        assert_eq!(transmit.to, to);
    }
    dht.handle_tick(NOW + DEAD_MS);
    assert!(std::iter::from_fn(|| dht.poll_transmit()).any(|transmit| transmit.to != to));
    dht.cancel(done);
    assert!(dht.lookups.values().all(|running| running.goal.swarm().is_none()));
}

#[test]
fn a_router_is_asked_while_we_know_few_and_stays_out_of_the_table() {
    let mut dht = dht();
    dht.add_router(NOW, address(1));
    dht.handle_tick(NOW);
    let (to, transaction) = next_query(&mut dht).unwrap();
    assert_eq!(to, address(1));
    dht.handle_datagram(NOW, to, &answer_of(1, &transaction));
    assert_eq!(dht.status(Family::V4).unwrap().nodes, 0);
    dht.lookup(NOW, SWARM, Some(Announce { port: 1, implied_port: false })).unwrap();
    assert_eq!(next_query(&mut dht).unwrap().0, address(1));
}

#[test]
fn a_read_only_node_says_so_and_answers_nobody() {
    let mut dht = Dht::new(Config { read_only: true, ..Config::default() }, [9; 32], NOW);
    assert_eq!(ask(&mut dht, NOW, address(1), &query(1, Method::Ping)), None);
    dht.add_node(NOW, address(1));
    dht.handle_tick(NOW);
    let ping = dht.poll_transmit().unwrap().datagram;
    assert!(Message::decode(&ping).unwrap().read_only);
}

#[test]
fn a_node_of_one_family_does_not_hear_the_other() {
    let mut dht = Dht::new(Config { v6: false, ..Config::default() }, [9; 32], NOW);
    let v6: SocketAddr = "[fd00::1]:1".parse().unwrap();
    assert_eq!(ask(&mut dht, NOW, v6, &query(1, Method::Ping)), None);
    dht.add_node(NOW, v6);
    dht.add_router(NOW, v6);
    dht.handle_tick(NOW);
    assert_eq!((dht.poll_transmit(), dht.status(Family::V6)), (None, None));
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:1".parse().unwrap();
    dht.handle_datagram(NOW, mapped, &query(1, Method::Ping));
    assert_eq!(dht.poll_transmit().unwrap().to, "10.0.0.1:1".parse().unwrap());
}

#[test]
fn a_state_carries_ids_and_nodes_over() {
    let mut dht = dht();
    (1..9).for_each(|n| befriend(&mut dht, n));
    let state = dht.export();
    let mut again = Dht::new(Config::default(), [1; 32], NOW);
    again.import(NOW, &state).unwrap();
    assert_eq!(again.status(Family::V4).unwrap().id, dht.status(Family::V4).unwrap().id);
    assert_eq!(again.export(), state, "even before anybody has answered");
    again.handle_tick(NOW);
    assert!((1..9).any(|n| again.transmits.iter().any(|transmit| transmit.to == address(n))));
    assert!(again.import(NOW, b"d2:id").is_err());
}
