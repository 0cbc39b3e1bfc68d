//! Peer exchange (BEP 11) by real shards that seed: their peers find each other.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test that fails says so

mod support;

use mesh::{Command, TorrentCounters, TorrentId};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use support::{Fixture, Peer, Release, config, serve, serve_on_terms, serve_together, single};
use swarm::{SuperSeeding, Terms};
use wire::{Message, PexMessage, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);
/// The id under which these peers take `ut_pex` messages.
const ID: u8 = 7;

fn release() -> Release {
    single(100_000, 32 * 1024)
}

/// A peer that listens on this port and wants to know of others.
fn speaker(shard: &Fixture, release: &Release, port: u16) -> Peer {
    let mut peer = Peer::greet(shard.address, &release.torrent, FAST);
    let payload = format!("d1:md6:ut_pexi{ID}ee1:pi{port}ee");
    peer.say(Message::Extended { id: 0, payload: payload.as_bytes() });
    peer
}

/// Whom it is told of in the next message.
fn told(peer: &mut Peer) -> BTreeSet<SocketAddr> {
    let told = peer.hear(|message| match message {
        Message::Extended { id: ID, payload } => {
            Some(PexMessage::parse(payload).unwrap().added().map(|(address, _)| address).collect())
        }
        _ => None,
    });
    told.expect("the peer is told of others")
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_seed_tells_its_peers_of_each_other_but_nobody_of_himself() {
    let release = release();
    let shard = serve(config(), release.seeded());
    let mut first = speaker(&shard, &release, 1001);
    // One that listens nowhere is told of others, and nobody of it.
    let mut deaf = Peer::greet(shard.address, &release.torrent, FAST);
    deaf.say(Message::Extended { id: 0, payload: b"d1:md6:ut_pexi7eee" });
    let mut second = speaker(&shard, &release, 1002);
    assert_eq!(told(&mut first), BTreeSet::from([at(1002)]));
    assert_eq!(told(&mut second), BTreeSet::from([at(1001)]));
    assert!(told(&mut deaf).is_subset(&BTreeSet::from([at(1001), at(1002)])));
}

#[test]
fn those_who_were_told_of_pieces_one_by_one_are_told_of_each_other_too() {
    let release = release();
    let terms = Terms::new(None, SuperSeeding::On);
    let shard = serve_on_terms(&config(), &release.seeded(), 1, (TorrentId(0), Arc::new(terms))).remove(0);
    let (mut first, mut second) = (speaker(&shard, &release, 1001), speaker(&shard, &release, 1002));
    assert_eq!((told(&mut first), told(&mut second)), (BTreeSet::from([at(1002)]), BTreeSet::from([at(1001)])));
}

#[test]
fn a_peer_that_moves_to_another_shard_is_told_of_those_there() {
    let release = release();
    let shards = serve_together(&config(), &release.seeded(), 2);
    let move_it = |from: &Fixture, to: usize| {
        from.until("it moves", |counters| {
            let _ = from.link.commands.post(Command::Shed { to, count: 1 });
            counters.handed_over.get() > 0
        });
    };
    let mut first = speaker(&shards[0], &release, 1001);
    first.unchoke();
    move_it(&shards[0], 1);
    shards[1].until("it is there", |counters| counters.peers.get() == 1);
    let mut second = speaker(&shards[0], &release, 1002);
    second.unchoke();
    let moved = shards[0].link.counters.handed_over.get();
    shards[0].until("the other one comes after it", |counters| {
        let _ = shards[0].link.commands.post(Command::Shed { to: 1, count: 1 });
        counters.handed_over.get() > moved
    });
    assert_eq!((told(&mut first), told(&mut second)), (BTreeSet::from([at(1002)]), BTreeSet::from([at(1001)])));
}

#[test]
fn peers_of_different_shards_are_told_of_each_other() {
    let release = release();
    let shards = serve_together(&config(), &release.seeded(), 2);
    let mut first = speaker(&shards[0], &release, 1001);
    first.unchoke();
    shards[1].until("it moves", |counters| {
        let _ = shards[0].link.commands.post(Command::Shed { to: 1, count: 1 });
        counters.peers.get() == 1
    });
    let mut second = speaker(&shards[0], &release, 1002);
    assert_eq!((told(&mut first), told(&mut second)), (BTreeSet::from([at(1002)]), BTreeSet::from([at(1001)])));
    assert_eq!(shards[0].link.counters.peers.get(), 1, "the other one stays where it came");
}

#[test]
fn peers_of_a_private_torrent_hear_of_nobody() {
    let (release, public) = (release().private(), single(50_000, 32 * 1024));
    let shard = serve(config(), release.seeded());
    let terms = Arc::new(Terms::new(None, SuperSeeding::Off));
    let (torrent, counters) = (public.seeded(), Arc::new(TorrentCounters::new(1)));
    shard.command(Command::Serve { id: TorrentId(1), torrent, terms, counters });
    let mut first = speaker(&shard, &release, 1001);
    let _second = speaker(&shard, &release, 1002);
    let (mut third, _fourth) = (speaker(&shard, &public, 1003), speaker(&shard, &public, 1004));
    assert_eq!(told(&mut third), BTreeSet::from([at(1004)]));
    // Its turn was before that, and what was said to it until the end is heard.
    shard.stop();
    let told = first.hear(|message| matches!(message, Message::Extended { id: ID, .. }).then_some(()));
    assert!(told.is_none());
}
