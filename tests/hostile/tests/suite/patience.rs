//! Attacks that use up time: connections that say nothing, or next to nothing. One test, since each waits for the same
//! ten seconds.

use crate::tracker::{announce_well, counted};
use mesh::DropReason;
use spillway_hostile::{DEADLINE, Peer, connect};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections of each kind.
const EACH: usize = 60;

/// Between two bytes of a slow greeting: at this pace it would take 13 seconds.
const DRIP: Duration = Duration::from_millis(200);

/// The engine gives a handshake ten seconds; not much less may pass for one.
const AT_LEAST: Duration = Duration::from_secs(9);

#[test]
fn connections_that_do_not_greet_in_time_are_closed_and_delay_nobody() {
    let (target, tracker) = crate::tracker::start(2);
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
    let mut slow_heads: Vec<_> = (0..EACH).map(|_| TcpStream::connect(tracker).unwrap()).collect();
    for stream in &mut slow_heads {
        stream.write_all(b"GET /announce HTTP/1.1\r\nX: ").unwrap();
    }
    target.until("all are there", |status| {
        status.shards.iter().map(|shard| shard.connections).sum::<u64>() == 3 * EACH as u64 + 1
    });
    let all = 3 * EACH as u64;
    for byte in greeting[..67].iter().chain(std::iter::repeat(&0)) {
        if target.dropped(DropReason::HandshakeTimeout) == all && counted(&target, "no_request_in_time") == EACH as u64
        {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{:?}", target.status());
        // A byte now and then, so that there is always something to hear. They may be closed by now.
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        for stream in &mut slow_heads {
            let _ = stream.write_all(b"y");
        }
        good.step(1);
        announce_well(&target, tracker);
        std::thread::sleep(DRIP);
    }
    assert!(begun.elapsed() >= AT_LEAST, "they had their ten seconds");
    for stream in silent.into_iter().chain(almost).chain(slow) {
        Peer::expect_closed(stream);
    }
    for mut stream in slow_heads {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    good.finish();
    drop(good);
    target.finish();
}
