//! What a download costs beyond the network: verifying and writing pieces, beside the hash and the write alone, and looking
//! at them again. The clock is the CPU time of this thread, so that a busy machine changes the figures little. Files go to
//! `TMPDIR`; what the kernel's write-back costs later is not in the figures.

#![allow(clippy::print_stdout)]
#![allow(clippy::unwrap_used, reason = "a benchmark that got a wrong answer has to stop")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use hash::{LANES, Sha1Digest, Sha1Lanes, Sha256Digest};
use metainfo::merkle::{piece_layer_from_leaves, root_of_leaves};
use metainfo::{BLOCK_SIZE, Builder, CreateOptions, FileHashes, NewFile, PieceHashes, PieceSet, Torrent, Version};
use rustix::time::{ClockId, clock_gettime};
use storage::{BufferPool, Meter, Partial, PartialOptions, PieceBuffers, Place, Verdict};

const PIECE_BYTES: usize = 1 << 20;
const PIECES: usize = 512;
/// As many as the shard hands over at once.
const JOB_PIECES: usize = 16;
const BLOCK_BYTES: usize = BLOCK_SIZE as usize;

fn main() {
    println!("{:<44} {:>8} {:>6}", "1 MiB pieces, one thread", "CPU s/GB", "GB/s");
    let job = |first: usize| -> Vec<Vec<u8>> { (first..first + JOB_PIECES).map(content).collect() };
    let alone = (0..PIECES).step_by(JOB_PIECES).map(|first| hash_alone(&job(first))).sum();
    report("SHA-1 alone, sixteen pieces in lanes", alone);
    report("pwrite alone, 1 MiB a call", write_alone());
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let directory = tempfile::tempdir().unwrap();
        let torrent = torrent(version);
        let options = PartialOptions::default();
        let (partial, _) = Partial::open(torrent, &Place::under(directory.path()), &options).unwrap();
        report(&format!("check_and_write, {version:?}, 16 pieces a call"), check_and_write(&partial, JOB_PIECES));
        report(&format!("check_and_write, {version:?}, 1 piece a call"), check_and_write(&partial, 1));
        let all = PieceSet::full(partial.torrent().layout());
        let start = cpu_seconds();
        let pass = partial.recheck(&all, Arc::new(Meter::new())).unwrap();
        pass.work();
        assert!(pass.finish().unwrap().is_full());
        report(&format!("recheck, {version:?}, from the page cache"), cpu_seconds() - start);
    }
}

fn report(name: &str, seconds: f64) {
    let per_gb = seconds / ((PIECES * PIECE_BYTES) as f64 / 1e9);
    println!("{name:<44} {per_gb:>8.3} {:>6.2}", 1.0 / per_gb);
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The bytes of one piece; no two are alike.
fn content(piece: usize) -> Vec<u8> {
    let mut state = piece as u64 + 1;
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    while bytes.len() < PIECE_BYTES {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes
}

fn hash_alone(pieces: &[Vec<u8>]) -> f64 {
    let start = cpu_seconds();
    let mut lanes = Sha1Lanes::new(pieces.len());
    for at in (0..PIECE_BYTES).step_by(BLOCK_BYTES) {
        let inputs: Vec<&[u8]> = pieces.iter().map(|piece| &piece[at..at + BLOCK_BYTES]).collect();
        lanes.update(&inputs);
    }
    let mut digests = [Sha1Digest::default(); LANES];
    lanes.finish(&mut digests[..pieces.len()]);
    std::hint::black_box(digests);
    cpu_seconds() - start
}

fn write_alone() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("alone")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (PIECES * PIECE_BYTES) as u64).unwrap();
    let write = |piece: usize| {
        let bytes = content(piece);
        let start = cpu_seconds();
        file.write_all_at(&bytes, (piece * PIECE_BYTES) as u64).unwrap();
        cpu_seconds() - start
    };
    (0..PIECES).map(write).sum()
}

fn check_and_write(partial: &Partial, pieces_per_call: usize) -> f64 {
    let pieces: Vec<_> = partial.torrent().layout().pieces().collect();
    let mut pool = BufferPool::new(JOB_PIECES * PIECE_BYTES);
    let mut seconds = 0.0;
    for pieces in pieces.chunks(pieces_per_call) {
        let mut fill = |piece: &metainfo::PieceIndex| {
            let block = |bytes: &[u8]| {
                let mut block = pool.take()?;
                block.copy_from_slice(bytes);
                Some(block)
            };
            let blocks = content(piece.get() as usize).chunks(BLOCK_BYTES).map(block).collect();
            PieceBuffers { piece: *piece, blocks, wants_block_hashes: false }
        };
        let buffers = pieces.iter().map(&mut fill).collect();
        let start = cpu_seconds();
        let checked = partial.check_and_write(buffers, 1);
        seconds += cpu_seconds() - start;
        for checked in checked {
            assert!(matches!(checked.verdict, Verdict::Good));
            checked.buffers.blocks.into_iter().flatten().for_each(|block| pool.give_back(block));
        }
    }
    seconds
}

fn torrent(version: Version) -> Arc<Torrent> {
    let options = CreateOptions {
        name: "file".into(),
        version,
        piece_length: Some(PIECE_BYTES as u32),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let file = NewFile { length: (PIECES * PIECE_BYTES) as u64, ..NewFile::default() };
    let builder = Builder::new(options, vec![file]).unwrap();
    let (mut hashes, mut leaves) = (PieceHashes::default(), Vec::<Sha256Digest>::new());
    for bytes in (0..PIECES).map(content) {
        hashes.v1.push(hash::sha1(&bytes));
        leaves.extend(bytes.chunks(BLOCK_BYTES).map(hash::sha256));
    }
    if version == Version::V2 {
        hashes.v1.clear();
    }
    if version != Version::V1 {
        let file = builder.layout().file_index(0).unwrap();
        let layer = piece_layer_from_leaves(&leaves, PIECE_BYTES as u32);
        hashes.v2.push(FileHashes { file, root: root_of_leaves(&leaves), layer });
    }
    Arc::new(Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap())
}
