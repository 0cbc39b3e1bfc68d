//! Attacks that use up time: connections that say nothing, or next to nothing. One test, since each waits for the same
//! ten seconds.

use mesh::DropReason;
use spillway_hostile::{Peer, Target, connect};
use std::io::Write;
use std::time::{Duration, Instant};

/// Connections of each kind.
const EACH: usize = 60;

/// The engine gives a handshake ten seconds; not much less may pass for one.
const AT_LEAST: Duration = Duration::from_secs(9);

#[test]
fn connections_that_do_not_greet_in_time_are_closed_and_delay_nobody() {
    let target = Target::start(2, |_| {});
    let mut good = target.download();
    let begun = Instant::now();
    let greeting = wire::Handshake {
        reserved: spillway_hostile::FAST,
        info_hash: target.info_hash_v1(),
        peer_id: wire::PeerId(*b"-XX0001-hostilepeer."),
    }
    .encode();
    let silent: Vec<_> = (0..EACH).map(|_| connect(&target)).collect();
    let mut almost: Vec<_> = (0..EACH).map(|_| connect(&target)).collect();
    for stream in &mut almost {
        stream.write_all(&greeting[..67]).unwrap();
    }
    let mut slow: Vec<_> = (0..EACH).map(|_| connect(&target)).collect();
    // A byte now and then, so that there is always something to hear.
    for byte in &greeting[..60] {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        good.step(1);
    }
    target.until("all are there", |status| {
        status.shards.iter().map(|shard| shard.connections).sum::<u64>() == 3 * EACH as u64 + 1
    });
    target.until_dropped(DropReason::HandshakeTimeout, 3 * EACH as u64);
    assert!(begun.elapsed() >= AT_LEAST, "they had their ten seconds");
    for stream in silent.into_iter().chain(almost).chain(slow) {
        Peer::expect_closed(stream);
    }
    good.finish();
    drop(good);
    target.finish();
}
