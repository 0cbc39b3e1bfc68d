//! Our hashing against the `sha1` and `sha2` crates in less than a minute: rounds of ours and the rival's alternate, and the
//! median of their ratios is printed beside the bar that the project set itself. `hash` is the long form.
//!
//! The clock is the CPU time of this thread, so that a busy machine changes the figures little.

#![allow(clippy::print_stdout)]

use std::hint::black_box;

use hash::{Engine, Path, Sha1Digest, Sha1Lanes, Sha256Digest};
use rustix::time::{ClockId, clock_gettime};

const LEAF_BYTES: usize = 16 << 10;

/// What a lane is given at a time, as storage reads it.
const READ_BYTES: usize = 64 << 10;

/// Larger than any cache, small enough for any machine that runs this.
const MEMORY_BYTES: usize = 1 << 30;

/// One line of the table.
struct Row<'a> {
    name: &'a str,
    /// The ratio that the project asks for, if it names one.
    bar: Option<f64>,
    rounds: usize,
    /// How often a round repeats the work, to last some milliseconds.
    repeats: usize,
}

fn main() {
    let engine = Engine::detect();
    println!("engine: {engine}");
    println!("{:<38} {:>10} {:>10} {:>7} {:>5}", "", "ours GB/s", "crate GB/s", "ratio", "bar");
    hot(&engine);
    let bytes = filled(MEMORY_BYTES);
    from_memory(&engine, &bytes);
    both_in_one_pass(&engine, &bytes);
}

fn hot(engine: &Engine) {
    let bytes = filled(16 * LEAF_BYTES);
    let messages: Vec<&[u8]> = bytes.chunks_exact(LEAF_BYTES).collect();
    let row = |name, bar| Row { name, bar, rounds: 31, repeats: 40 };
    row("SHA-1, hot, 16 messages", Some(5.0)).sha1(engine, &messages);
    row("SHA-1, hot, 8 messages", None).sha1(engine, &messages[..8]);
    row("SHA-1, hot, 4 messages", None).sha1(engine, &messages[..4]);
    if let Ok(streams) = Engine::with_path(Path::ShaNi) {
        row("SHA-1, hot, four SHA-NI streams", Some(2.3)).sha1(&streams, &messages[..4]);
    }
    if let Ok(lanes) = Engine::with_path(Path::Avx2) {
        row("SHA-1, hot, 16 messages, AVX2", None).sha1(&lanes, &messages);
    }
    if let Ok(scalar) = Engine::with_path(Path::Asm) {
        row("SHA-1, hot, sha1-asm", None).sha1(&scalar, &messages);
    }
    row("SHA-256, hot, 16 messages", Some(2.8)).sha256(engine, &messages);
    row("SHA-256, hot, 8 messages", None).sha256(engine, &messages[..8]);
}

fn from_memory(engine: &Engine, bytes: &[u8]) {
    let sizes = [
        ("SHA-1, from memory, 256 KiB pieces", 256 << 10),
        ("SHA-1, from memory, 1 MiB pieces", 1 << 20),
        ("SHA-1, from memory, 4 MiB pieces", 4 << 20),
    ];
    for (name, piece_bytes) in sizes {
        let pieces: Vec<&[u8]> = bytes.chunks_exact(piece_bytes).collect();
        Row { name, bar: Some(4.0), rounds: 5, repeats: 1 }.sha1(engine, &pieces);
    }
    let leaves: Vec<&[u8]> = bytes.chunks_exact(LEAF_BYTES).collect();
    Row { name: "SHA-256, from memory, 16 KiB leaves", bar: Some(2.8), rounds: 5, repeats: 1 }.sha256(engine, &leaves);
}

/// SHA-1 of 1 MiB pieces and SHA-256 of their leaves, as a hybrid torrent wants them.
fn both_in_one_pass(engine: &Engine, bytes: &[u8]) {
    const PIECE_BYTES: usize = 1 << 20;
    let pieces: Vec<&[u8]> = bytes.chunks_exact(PIECE_BYTES).collect();
    let leaves: Vec<&[u8]> = bytes.chunks_exact(LEAF_BYTES).collect();
    let ours = || {
        let mut sha1 = vec![Sha1Digest::default(); pieces.len()];
        let mut sha256 = Vec::with_capacity(leaves.len());
        let mut lanes = Sha1Lanes::with_engine(engine, hash::LANES);
        for (group, digests) in pieces.chunks_exact(hash::LANES).zip(sha1.chunks_exact_mut(hash::LANES)) {
            for at in (0..PIECE_BYTES).step_by(READ_BYTES) {
                let parts: Vec<&[u8]> = group.iter().map(|piece| &piece[at..at + READ_BYTES]).collect();
                lanes.update(&parts);
                let leaves: Vec<&[u8]> = parts.iter().flat_map(|part| part.chunks_exact(LEAF_BYTES)).collect();
                let mut digests = vec![Sha256Digest::default(); leaves.len()];
                engine.sha256_many(&leaves, &mut digests);
                sha256.append(&mut digests);
            }
            lanes.finish(digests);
        }
        (sha1, sha256)
    };
    let rival = || (sha1_crate(&pieces), sha256_crate(&leaves));
    // The leaves come in the order of the reads, not of the file.
    let (mut got, mut expected) = (ours(), rival());
    got.1.sort_unstable();
    expected.1.sort_unstable();
    assert!(got == expected, "a digest is wrong");
    Row { name: "both in one pass, 1 MiB pieces", bar: None, rounds: 3, repeats: 1 }.measure(bytes.len(), ours, rival);
}

impl Row<'_> {
    fn sha1(&self, engine: &Engine, messages: &[&[u8]]) {
        let ours = || {
            let mut out = vec![Sha1Digest::default(); messages.len()];
            engine.sha1_many(messages, &mut out);
            out
        };
        let rival = || sha1_crate(messages);
        assert!(ours() == rival(), "{engine} gives a wrong SHA-1");
        self.measure(messages.iter().map(|message| message.len()).sum(), ours, rival);
    }

    fn sha256(&self, engine: &Engine, messages: &[&[u8]]) {
        let ours = || {
            let mut out = vec![Sha256Digest::default(); messages.len()];
            engine.sha256_many(messages, &mut out);
            out
        };
        let rival = || sha256_crate(messages);
        assert!(ours() == rival(), "{engine} gives a wrong SHA-256");
        self.measure(messages.iter().map(|message| message.len()).sum(), ours, rival);
    }

    fn measure<T>(&self, size_bytes: usize, ours: impl Fn() -> T, rival: impl Fn() -> T) {
        let (mut ours_s, mut rival_s, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let (mine, theirs) = (self.round(&ours), self.round(&rival));
            ours_s.push(mine);
            rival_s.push(theirs);
            ratios.push(theirs / mine);
        }
        let gb_per_s = |seconds| (size_bytes * self.repeats) as f64 / 1e9 / median(seconds);
        let bar = self.bar.map_or(String::new(), |bar| format!("{bar:.1}"));
        println!(
            "{:<38} {:>10.2} {:>10.2} {:>7.2} {bar:>5}",
            self.name,
            gb_per_s(ours_s),
            gb_per_s(rival_s),
            median(ratios)
        );
    }

    fn round<T>(&self, work: &impl Fn() -> T) -> f64 {
        let start = cpu_seconds();
        for _ in 0..self.repeats {
            black_box(work());
        }
        cpu_seconds() - start
    }
}

fn sha1_crate(messages: &[&[u8]]) -> Vec<Sha1Digest> {
    use sha1::Digest;
    messages.iter().map(|message| Sha1Digest(sha1::Sha1::digest(message).into())).collect()
}

fn sha256_crate(messages: &[&[u8]]) -> Vec<Sha256Digest> {
    use sha2::Digest;
    messages.iter().map(|message| Sha256Digest(sha2::Sha256::digest(message).into())).collect()
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
