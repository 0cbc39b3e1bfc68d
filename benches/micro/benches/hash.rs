//! Every hash path, hot and from memory, beside the `sha1`, `sha2` and `sha1-asm` crates in the same run. Each answer is
//! checked before it is timed. `hash_ratios` is the short form that alternates ours and the rival.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hash::{Engine, Path, Sha1Digest, Sha256Digest};

/// Sixteen of these stay in the second-level cache; it is also a v2 leaf (BEP 52).
const HOT_BYTES: usize = 16 << 10;

/// Larger than any cache, small enough for any machine that runs this.
const MEMORY_BYTES: usize = 1 << 30;

const PIECE_BYTES: [usize; 3] = [256 << 10, 1 << 20, 4 << 20];

/// Samples of the work that takes a second, from which the portable path, that takes five, is left out.
const FEW: usize = 10;

fn engines() -> Vec<Engine> {
    Path::ALL.into_iter().filter_map(|path| Engine::with_path(path).ok()).collect()
}

/// Bytes that no processor can guess.
fn filled(size: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = vec![0; size];
    for word in bytes.chunks_exact_mut(8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word.copy_from_slice(&x.to_le_bytes());
    }
    bytes
}

fn sha1_crate(messages: &[&[u8]], out: &mut [Sha1Digest]) {
    use sha1::Digest;
    for (digest, message) in out.iter_mut().zip(messages) {
        *digest = Sha1Digest(sha1::Sha1::digest(message).into());
    }
}

fn sha256_crate(messages: &[&[u8]], out: &mut [Sha256Digest]) {
    use sha2::Digest;
    for (digest, message) in out.iter_mut().zip(messages) {
        *digest = Sha256Digest(sha2::Sha256::digest(message).into());
    }
}

fn sha1(c: &mut Criterion, group: &str, messages: &[&[u8]], samples: usize) {
    let mut group = c.benchmark_group(group);
    group.sample_size(samples).throughput(Throughput::Bytes(messages.iter().map(|m| m.len() as u64).sum()));
    let mut expected = vec![Sha1Digest::default(); messages.len()];
    sha1_crate(messages, &mut expected);
    let mut out = expected.clone();
    group.bench_function("sha1 crate", |b| b.iter(|| sha1_crate(black_box(messages), &mut out)));
    for engine in engines().into_iter().filter(|engine| samples > FEW || engine.path() != Path::Portable) {
        out.fill(Sha1Digest::default());
        engine.sha1_many(messages, &mut out);
        assert!(out == expected, "{engine} gives a wrong SHA-1");
        // The `asm` path is the `sha1-asm` crate.
        group.bench_function(BenchmarkId::from_parameter(engine.path()), |b| {
            b.iter(|| engine.sha1_many(black_box(messages), &mut out));
        });
    }
    group.finish();
}

fn sha256(c: &mut Criterion, group: &str, messages: &[&[u8]], samples: usize) {
    let mut group = c.benchmark_group(group);
    group.sample_size(samples).throughput(Throughput::Bytes(messages.iter().map(|m| m.len() as u64).sum()));
    let mut expected = vec![Sha256Digest::default(); messages.len()];
    sha256_crate(messages, &mut expected);
    let mut out = expected.clone();
    group.bench_function("sha2 crate", |b| b.iter(|| sha256_crate(black_box(messages), &mut out)));
    // The `asm` path has no SHA-256 of its own.
    let engines = engines().into_iter().filter(|engine| engine.path() != Path::Asm);
    for engine in engines.filter(|engine| samples > FEW || engine.path() != Path::Portable) {
        out.fill(Sha256Digest::default());
        engine.sha256_many(messages, &mut out);
        assert!(out == expected, "{engine} gives a wrong SHA-256");
        group.bench_function(BenchmarkId::from_parameter(engine.path()), |b| {
            b.iter(|| engine.sha256_many(black_box(messages), &mut out));
        });
    }
    group.finish();
}

fn hot(c: &mut Criterion) {
    let bytes = filled(16 * HOT_BYTES);
    let messages: Vec<&[u8]> = bytes.chunks_exact(HOT_BYTES).collect();
    for count in [1, 2, 4, 8, 16] {
        sha1(c, &format!("sha1 hot x{count}"), &messages[..count], 50);
        sha256(c, &format!("sha256 hot x{count}"), &messages[..count], 50);
    }
}

fn from_memory(c: &mut Criterion) {
    let bytes = filled(MEMORY_BYTES);
    for piece_bytes in PIECE_BYTES {
        let pieces: Vec<&[u8]> = bytes.chunks_exact(piece_bytes).collect();
        sha1(c, &format!("sha1 from memory {} KiB", piece_bytes >> 10), &pieces, FEW);
    }
    let leaves: Vec<&[u8]> = bytes.chunks_exact(HOT_BYTES).collect();
    sha256(c, "sha256 from memory 16 KiB", &leaves, FEW);
}

criterion_group!(benches, hot, from_memory);
criterion_main!(benches);
