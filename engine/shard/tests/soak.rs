//! Reads of the disk under load: a completion that the executor does not notice would stop a peer for good.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use support::{Peer, config, make_cold, many, serve};
use wire::Reserved;

const PEERS: usize = 6;
const ROUNDS: usize = 60;

#[test]
fn cold_reads_never_hang_for_long() {
    // Files below the size that is mapped: the kernel does not drop pages that are.
    let release = many(&[60_000; 100], 512 * 1024);
    let files: Vec<_> = (0..100).map(|n| release.dir.path().join(format!("tree/file-{n:05}"))).collect();
    let fixture = serve(config(), release.seeded());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let dropper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                files.iter().for_each(|file| make_cold(file));
            }
        });
        let peers: Vec<_> = (0..PEERS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut peer = Peer::greet(fixture.address, &release.torrent, Reserved::FAST);
                        peer.unchoke();
                        peer.download(&release.torrent, &release.bytes);
                    }
                })
            })
            .collect();
        let results: Vec<_> = peers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        dropper.join().unwrap();
        assert!(results.iter().all(Result::is_ok), "every peer got every byte every time");
    });
    let cold_blocks = fixture.link.counters.cold_blocks.get();
    assert!(cold_blocks > 100, "the cache was dropped often enough to matter: {cold_blocks}");
}
