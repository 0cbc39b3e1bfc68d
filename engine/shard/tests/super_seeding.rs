//! Super-seeding by real shards: what newcomers are told, what they are refused, where they gather, and how it ends.

#![allow(clippy::expect_used, clippy::panic)] // a test that fails says so

mod support;

use mesh::TorrentId;
use metainfo::BLOCK_SIZE;
use std::collections::BTreeSet;
use std::sync::Arc;
use support::{Fixture, Peer, Release, config, serve_on_terms, single};
use swarm::{SuperSeeding, Terms};
use wire::{Message, PeerId, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);
const PIECE_LENGTH: u32 = 32 * 1024;
const PIECES: u32 = 40;

fn release() -> Release {
    single((PIECES * PIECE_LENGTH) as usize, PIECE_LENGTH as usize)
}

fn serve(release: &Release, shard_count: usize, id: u32, mode: SuperSeeding) -> Vec<Fixture> {
    serve_watched(release, shard_count, id, mode).0
}

/// The same, and where it is to be seen whether the swarm gathers.
fn serve_watched(release: &Release, shard_count: usize, id: u32, mode: SuperSeeding) -> (Vec<Fixture>, Arc<Terms>) {
    let terms = Arc::new(Terms::new(None, mode));
    (serve_on_terms(&config(), &release.seeded(), shard_count, (TorrentId(id), terms.clone())), terms)
}

/// Waits until super-seeding has ended for good. That a peer knows of all pieces does not say so: it was told of them if it was
/// alone for a second, before the next one came.
fn until_ended(shard: &Fixture, terms: &Terms) {
    shard.until("the swarm can do without", |_| !terms.gathers());
}

/// Says that it has nothing, and waits until it is told of two pieces.
fn two_pieces(peer: &mut Peer) -> BTreeSet<u32> {
    peer.say(Message::HaveNone);
    let mut pieces = BTreeSet::new();
    while pieces.len() < 2 {
        let piece = peer.hear(|message| match message {
            Message::Have { index } => Some(index),
            Message::HaveAll | Message::Bitfield(_) | Message::AllowedFast { .. } => panic!("we are given away"),
            _ => None,
        });
        assert!(pieces.insert(piece.expect("the peer is told of pieces")), "of each once");
        // Only now does it know of something that it could want.
        peer.say(Message::Interested);
    }
    pieces
}

/// Whether the answer to a request is a block.
fn is_served(peer: &mut Peer, index: u32) -> bool {
    peer.request(index, 0, BLOCK_SIZE);
    let answer = peer.hear(|message| match message {
        Message::Piece { .. } => Some(true),
        Message::Reject { .. } => Some(false),
        _ => None,
    });
    answer.expect("every request is answered")
}

/// Reads what the peer is told until it knows of all pieces.
fn hear_of_all(peer: &mut Peer, mut known: BTreeSet<u32>) {
    while known.len() < PIECES as usize {
        let piece = peer.hear(|message| match message {
            Message::Have { index } => Some(index),
            _ => None,
        });
        known.insert(piece.expect("the peer is told of all pieces"));
    }
}

#[test]
fn a_peer_gets_what_it_was_told_of_and_nothing_else() {
    let release = release();
    let shard = serve(&release, 1, 0, SuperSeeding::On).remove(0);
    let mut first = Peer::greet(shard.address, &release.torrent, FAST);
    let mut second = Peer::greet(shard.address, &release.torrent, FAST);
    let (of_first, of_second) = (two_pieces(&mut first), two_pieces(&mut second));
    assert!(of_first.is_disjoint(&of_second), "{of_first:?} {of_second:?}");
    for piece in &of_second {
        assert!(!is_served(&mut first, *piece), "it was not told of piece {piece}");
        assert!(is_served(&mut second, *piece));
    }
    assert!(shard.link.counters.requests_refused.get() >= 2);
    // What others have anyway is no secret.
    let piece = *of_second.first().unwrap();
    second.say(Message::Have { index: piece });
    let news = second.hear(|message| matches!(message, Message::Have { .. }).then_some(()));
    assert!(news.is_some(), "who finishes a piece is told of the next");
    assert!(is_served(&mut first, piece));
}

#[test]
fn when_others_have_a_copy_everybody_is_told_and_newcomers_are_greeted_as_by_any_seed() {
    let release = release();
    let (shards, terms) = serve_watched(&release, 1, 0, SuperSeeding::Auto);
    let shard = &shards[0];
    let mut leech = Peer::greet(shard.address, &release.torrent, FAST);
    let told = two_pieces(&mut leech);
    let mut seed = Peer::greet(shard.address, &release.torrent, FAST);
    seed.say(Message::HaveAll);
    hear_of_all(&mut leech, told);
    until_ended(shard, &terms);
    leech.download(&release.torrent, &release.bytes);
    let mut late = Peer::greet(shard.address, &release.torrent, FAST);
    assert!(late.hear(|message| (message == Message::HaveAll).then_some(())).is_some());
}

#[test]
fn with_on_a_copy_is_left_to_those_that_have_it() {
    let release = release();
    let shard = serve(&release, 1, 0, SuperSeeding::On).remove(0);
    let mut seed = Peer::greet(shard.address, &release.torrent, FAST);
    seed.say(Message::HaveAll);
    let mut late = Peer::greet(shard.address, &release.torrent, FAST);
    let greeting = late.hear(|message| match message {
        Message::HaveNone => Some(true),
        Message::HaveAll | Message::Bitfield(_) => Some(false),
        _ => None,
    });
    assert_eq!(greeting, Some(true));
}

#[test]
fn the_swarm_gathers_in_one_shard_until_it_can_do_without() {
    let release = release();
    // The peers connect to shard 0, the home of torrent 1 is shard 1.
    let (shards, terms) = serve_watched(&release, 2, 1, SuperSeeding::Auto);
    let mut first = Peer::greet(shards[0].address, &release.torrent, FAST);
    let mut second = Peer::greet(shards[0].address, &release.torrent, FAST);
    let (of_first, _) = (two_pieces(&mut first), two_pieces(&mut second));
    assert_eq!(shards[1].link.counters.peers.get(), 2);
    // Counted behind the mailbox, from which the other shard may have taken it already.
    shards[0].until("both were handed over", |counters| counters.handed_over.get() == 2);
    second.say(Message::HaveAll);
    hear_of_all(&mut first, of_first);
    until_ended(&shards[1], &terms);
    let mut late = Peer::greet(shards[0].address, &release.torrent, FAST);
    assert!(late.hear(|message| (message == Message::HaveAll).then_some(())).is_some());
    late.unchoke();
    late.download(&release.torrent, &release.bytes);
    assert_eq!(shards[0].link.counters.peers.get(), 1, "it stays where it came");
}

#[test]
fn a_leech_that_is_alone_is_soon_told_everything_and_a_second_one_is_not() {
    let release = release();
    let shard = serve(&release, 1, 0, SuperSeeding::Auto).remove(0);
    let mut first = Peer::greet(shard.address, &release.torrent, FAST);
    let told = two_pieces(&mut first);
    hear_of_all(&mut first, told);
    let mut second = Peer::greet(shard.address, &release.torrent, FAST);
    let told = two_pieces(&mut second);
    assert!(is_served(&mut first, 0) && is_served(&mut first, PIECES - 1), "it knows of all pieces");
    drop(first);
    hear_of_all(&mut second, told);
    second.download(&release.torrent, &release.bytes);
}

#[test]
fn a_peer_without_the_fast_extension_is_greeted_with_nothing_at_all() {
    let release = release();
    let shard = serve(&release, 1, 0, SuperSeeding::On).remove(0);
    let mut old = Peer::greet(shard.address, &release.torrent, Reserved::NONE);
    let first = old.hear(|message| Some(matches!(message, Message::Have { .. })));
    assert_eq!(first, Some(true), "the first word is of a piece, after a moment in which it could have spoken");
}

#[test]
fn rtorrent_is_told_of_more_than_it_can_finish_before_it_would_fall_asleep() {
    let release = release();
    let shard = serve(&release, 1, 0, SuperSeeding::On).remove(0);
    let id = PeerId(*b"-lt0D80-xxxxxxxxxxxx");
    let mut rtorrent = Peer::greet_as(id, shard.address, &release.torrent, Reserved::EXTENDED);
    // In place of a bitfield.
    rtorrent.say(Message::KeepAlive);
    let have = |message: Message<'_>| match message {
        Message::Have { index } => Some(index),
        Message::Bitfield(_) => panic!("we are given away"),
        _ => None,
    };
    let mut told = vec![rtorrent.hear(have).expect("it is told of a piece")];
    rtorrent.say(Message::Interested);
    let reserve = 1024 * 1024 / PIECE_LENGTH as usize;
    for had in 0..PIECES as usize {
        // Else it would have all that it knows of before it hears of more.
        while told.len() < (had + reserve).min(PIECES as usize) {
            told.push(rtorrent.hear(have).expect("it is told of more"));
        }
        rtorrent.say(Message::Have { index: told[had] });
    }
    let all: BTreeSet<u32> = told.iter().copied().collect();
    assert_eq!(all.len(), PIECES as usize, "of each once: {told:?}");
}
