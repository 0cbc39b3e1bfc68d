//! The tracker's part of an announce, without the sockets: what 50,000 subscribers ask for in the minute of a release.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that got a wrong answer has to stop")]

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hash::InfoHash;
use tracker::http::{announce_reply, announce_url, parse_announce, parse_announce_reply};
use tracker::table::{Access, Answer, Limits, Source};
use tracker::{AnnounceRequest, Event, SwarmTable};

const PEER_COUNT: u32 = 50_000;
const WANT_COUNT: u32 = 50;

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([7; 20]),
        peer_id: *b"-XX0001-abcdefghijkl",
        port: 6881,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        left_bytes: Some(1),
        event: Event::None,
        want_count: Some(WANT_COUNT),
        key: 7,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

fn source(peer: u32) -> Source {
    Source { ip: IpAddr::from((0x0a00_0000 + peer).to_be_bytes()), local: None }
}

fn full_table(request: &AnnounceRequest) -> SwarmTable {
    let limits = Limits { request_rate: None, ..Limits::default() };
    let mut table = SwarmTable::new(Access::Open, limits, 1);
    let mut answer = Answer::default();
    for peer in 0..PEER_COUNT {
        table.announce(0, request, source(peer), 0, &mut answer).unwrap();
    }
    table
}

fn announce(criterion: &mut Criterion) {
    let request = request();
    let mut table = full_table(&request);
    let mut answer = Answer::default();
    let mut group = criterion.benchmark_group("announce");
    group.throughput(Throughput::Elements(1));
    let mut peer = 0;
    group.bench_function("table, swarm of 50,000", |bencher| {
        bencher.iter(|| {
            // A stride that visits all peers in no order of memory.
            peer = (peer + 7919) % PEER_COUNT;
            table.announce(1000, &request, source(peer), 200, &mut answer).unwrap();
            assert_eq!(answer.packed_peers.len(), 6 * WANT_COUNT as usize);
        });
    });
    let url = announce_url(&"http://tracker.example/announce".parse().unwrap(), &request);
    let query = url.split_once('?').unwrap().1.as_bytes();
    group.bench_function("http, query to reply", |bencher| {
        bencher.iter(|| {
            peer = (peer + 7919) % PEER_COUNT;
            let request = parse_announce(black_box(query)).unwrap();
            table.announce(1000, &request, source(peer), 200, &mut answer).unwrap();
            announce_reply(&answer, request.compact)
        });
    });
    let reply = announce_reply(&answer, true);
    assert_eq!(parse_announce_reply(&reply).unwrap().peers.len(), WANT_COUNT as usize);
    group.bench_function("http, reply as a client reads it", |bencher| {
        bencher.iter(|| parse_announce_reply(black_box(&reply)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, announce);
criterion_main!(benches);
