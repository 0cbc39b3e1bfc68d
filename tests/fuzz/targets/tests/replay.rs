//! Runs every target over its saved corpus, and over twenty thousand mutations of it that are the same in every run.
// A test's own helpers stop it as its assertions do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fuzz_bodies::TARGETS;

/// Mutants per target.
const MUTANTS: u64 = 20_000;

/// Bytes that parsers trip over.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff0123456789deil:-%&=?+/.~\x13\x14\x15\x16";

#[test]
fn the_saved_corpus_and_its_mutants_break_no_promise() {
    for (name, body) in TARGETS {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        for (file, seed) in &seeds {
            check(name, file, *body, seed);
        }
        let mut random = Random(0x5eed);
        for number in 0..MUTANTS {
            let (file, seed) = &seeds[random.below(seeds.len())];
            let (_, other) = &seeds[random.below(seeds.len())];
            let mut mutant = seed.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut mutant, other, &mut random);
            }
            check(name, &format!("mutant {number} of {file}"), *body, &mutant);
        }
    }
}

#[test]
fn every_target_has_its_fuzzer_and_every_fuzzer_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    let mut fuzzers: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    fuzzers.sort();
    assert_eq!(fuzzers, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

fn check(target: &str, what: &str, body: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        panic!("target {target}, {what}: {}", input.escape_ascii());
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let size = random.below(bytes.len() - at + 1).min(64);
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
        2 => _ = bytes.drain(at..at + size),
        3 => {
            let copy = bytes[at..at + size].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => bytes.insert(at, TELLING[random.below(TELLING.len())]),
        5 => bytes.truncate(at),
        _ => {
            let from = random.below(other.len() + 1);
            let size = random.below(other.len() - from + 1).min(256);
            bytes.splice(at..at, other[from..from + size].iter().copied());
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
