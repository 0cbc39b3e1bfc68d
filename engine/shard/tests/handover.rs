//! Connections that move between two real shards.

mod support;

use mesh::Command;
use metainfo::BLOCK_SIZE;
use support::{Peer, config, serve_together, single};
use wire::{Message, Reserved};

const FAST: Reserved = Reserved::FAST.with(Reserved::EXTENDED);

#[test]
fn a_peer_that_moves_in_the_middle_of_its_download_misses_nothing() {
    let release = single(20_000_003, 256 * 1024);
    let shards = serve_together(&config(), &release.seeded(), 2);
    let mut peer = Peer::greet(shards[0].address, &release.torrent, FAST);
    peer.unchoke();
    for round in 0..6 {
        let (from, to) = (round % 2, (round + 1) % 2);
        // More is asked for than the sockets hold, so that the move finds a queue, and a block half sent.
        let asked: Vec<u32> = (0..64).collect();
        for index in &asked {
            for begin in (0..256 * 1024).step_by(BLOCK_SIZE as usize) {
                peer.request(*index, begin, BLOCK_SIZE);
            }
        }
        // A peer that waits for a file to be opened stays, so the shard is told until it has moved.
        shards[from].until("the peer moves", |counters| {
            let _ = shards[from].link.commands.post(Command::Shed { to, count: 10 });
            counters.handed_over.get() > round as u64 / 2
        });
        for index in asked {
            for begin in (0..256 * 1024).step_by(BLOCK_SIZE as usize) {
                let (heard_index, heard_begin, data) = peer.block().expect("the peer is served on");
                assert_eq!((heard_index, heard_begin), (index, begin), "in the order in which they were asked for");
                let at = (index * 256 * 1024 + begin) as usize;
                assert!(data == release.bytes[at..at + data.len()], "the bytes are the torrent's");
            }
        }
        shards[to].until("the books of the new shard hold it", |counters| {
            counters.peers.get() == 1 && counters.interested.get() == 1 && counters.unchoked.get() == 1
        });
        shards[from].until("the books of the old shard do not", |counters| {
            counters.connections.get() == 0 && counters.interested.get() == 0 && counters.unchoked.get() == 0
        });
    }
    assert_eq!(shards[0].counters.peers(), 1, "the torrent has one peer, wherever it is");
}

#[test]
fn a_peer_that_wants_nothing_stays_where_it_is() {
    let release = single(100_000, 32 * 1024);
    let shards = serve_together(&config(), &release.seeded(), 2);
    let idle = Peer::greet(shards[0].address, &release.torrent, FAST);
    let mut busy = Peer::greet(shards[0].address, &release.torrent, FAST);
    busy.unchoke();
    shards[1].until("the busy one moves", |counters| {
        let _ = shards[0].link.commands.post(Command::Shed { to: 1, count: 10 });
        counters.peers.get() == 1
    });
    shards[0].until("the idle one stays", |counters| counters.peers.get() == 1);
    busy.download(&release.torrent, &release.bytes);
    drop(idle);
    shards[0].until("its end is seen where it was", |counters| counters.connections.get() == 0);
}

#[test]
fn with_few_slots_the_one_that_holds_a_slot_keeps_it() {
    let release = single(100_000, 32 * 1024);
    let shards = serve_together(&config(), &release.seeded(), 2);
    for shard in &shards {
        shard.command(Command::SetSlots { slots: Some(1) });
    }
    let mut first = Peer::greet(shards[0].address, &release.torrent, FAST);
    first.unchoke();
    let mut second = Peer::greet(shards[0].address, &release.torrent, FAST);
    second.say(Message::Interested);
    shards[0].until("both are interested", |counters| counters.interested.get() == 2);
    shards[0].command(Command::Shed { to: 1, count: 2 });
    let unchoked = second.hear(|message| (message == Message::Unchoke).then_some(()));
    assert!(unchoked.is_some(), "the one that waited has the other shard's slot");
    first.download(&release.torrent, &release.bytes);
    second.download(&release.torrent, &release.bytes);
    assert_eq!(shards[0].link.counters.handed_over.get(), 1);
}
