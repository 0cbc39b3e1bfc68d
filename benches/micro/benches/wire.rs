//! The request path: what a seed reads and writes per block. A block of 16 KiB costs about 2 microseconds to send, so
//! a few nanoseconds here are nothing, and a few hundred are not.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that got a wrong answer has to stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::{Limits, Message, Parsed, parse, piece_header};

/// Requests in one receive, as a fast peer sends them.
const REQUEST_COUNT: u32 = 64;

fn requests() -> Vec<u8> {
    let mut buffer = Vec::new();
    for block in 0..REQUEST_COUNT {
        Message::Request { index: 7, begin: block * 16_384, length: 16_384 }.encode(&mut buffer);
    }
    buffer
}

/// What a leech says besides requests.
fn chatter() -> Vec<u8> {
    let mut buffer = Vec::new();
    for index in 0..REQUEST_COUNT / 4 {
        Message::Have { index }.encode(&mut buffer);
        Message::Interested.encode(&mut buffer);
        Message::Cancel { index, begin: 0, length: 16_384 }.encode(&mut buffer);
        Message::KeepAlive.encode(&mut buffer);
    }
    buffer
}

/// Reads a whole buffer; gives the bytes that were asked for.
fn read_all(buffer: &[u8], limits: &Limits) -> u64 {
    let (mut at, mut asked) = (0, 0);
    while at < buffer.len() {
        match parse(&buffer[at..], limits) {
            Ok(Parsed::Message { message, consumed }) => {
                if let Message::Request { length, .. } = message {
                    asked += u64::from(length);
                }
                at += consumed;
            }
            other => panic!("{other:?}"),
        }
    }
    asked
}

fn read(c: &mut Criterion) {
    let limits = Limits::seed(1000);
    let mut group = c.benchmark_group("wire_read");
    group.throughput(Throughput::Elements(REQUEST_COUNT.into()));
    let buffer = requests();
    assert_eq!(read_all(&buffer, &limits), 64 * 16_384);
    group.bench_function("64_requests", |b| b.iter(|| read_all(black_box(&buffer), black_box(&limits))));
    let buffer = chatter();
    assert_eq!(read_all(&buffer, &limits), 0);
    group.bench_function("64_others", |b| b.iter(|| read_all(black_box(&buffer), black_box(&limits))));
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire_write");
    group.bench_function("piece_header", |b| {
        b.iter(|| piece_header(black_box(7), black_box(16_384), black_box(16_384)));
    });
    let mut out = Vec::with_capacity(64);
    group.bench_function("reject", |b| {
        b.iter(|| {
            out.clear();
            Message::Reject { index: black_box(7), begin: 0, length: 16_384 }.encode(&mut out);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, read, write);
criterion_main!(benches);
