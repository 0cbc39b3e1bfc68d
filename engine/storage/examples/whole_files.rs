//! What the SHA-256 of whole files costs beside the hashes of a hybrid torrent's pieces: the figures of
//! `decisions/sha-256-of-whole-files.md`. Reads the content once beforehand, so that it is in the page cache.
//!
//! `cargo run --release -p spillway-storage --example whole_files -- DIRECTORY [THREADS]`
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metainfo::{Builder, CreateOptions, Torrent, Version};
use rustix::time::{ClockId, clock_gettime};
use storage::{Digests, HashPass, Hashed, KnownFiles, Meter, Place, ScanOptions, VerifiedRecord, Wanted, scan};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let directory = PathBuf::from(args.next().ok_or("give a directory")?);
    let threads = args.next().and_then(|count| count.to_str()?.parse().ok()).unwrap_or(1);
    let builder = Builder::new(options(), scan(&directory, &ScanOptions::default())?)?;
    let bytes = builder.layout().total_size() as f64;
    let read = measure(|| read_all(&directory).map(|_| ()))?;
    show("read only, 64 KiB a call", bytes, &read);

    let both = Digests { v1: true, v2: true };
    let mut first = None;
    let pieces = measure(|| {
        let wanted = Wanted { digests: both, file_sha256: false, known: None };
        first = Some(pass(&builder, &directory, wanted, threads)?);
        Ok(())
    })?;
    show("pieces of a hybrid", bytes, &pieces);

    let known = known(&builder, &first.ok_or("no round")?)?;
    let wanted = Wanted { digests: both, file_sha256: true, known: Some(&known) };
    let files = measure(|| pass(&builder, &directory, wanted, threads).map(drop))?;
    show("whole files alone", bytes, &files);

    let wanted = Wanted { digests: both, file_sha256: true, known: None };
    let all = measure(|| pass(&builder, &directory, wanted, threads).map(drop))?;
    show("both in one pass", bytes, &all);
    Ok(())
}

/// CPU and wall time of each round, the cheapest first.
fn measure(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Vec<(Duration, Duration)>, Box<dyn Error>> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (cpu, wall) = (cpu_time(), Instant::now());
        work()?;
        rounds.push((cpu_time() - cpu, wall.elapsed()));
    }
    rounds.sort();
    Ok(rounds)
}

fn show(what: &str, bytes: f64, rounds: &[(Duration, Duration)]) {
    let (cpu, wall) = rounds[rounds.len() / 2];
    let per_gb = |time: Duration| time.as_secs_f64() / bytes * 1e9;
    println!("{what:28} {:.3} CPU s/GB, {:.3} s/GB by the wall", per_gb(cpu), per_gb(wall));
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn read_all(path: &Path) -> Result<u64, Box<dyn Error>> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path)?;
        return entries.map(|entry| read_all(&entry?.path())).sum();
    }
    let (mut file, mut buffer, mut total) = (std::fs::File::open(path)?, vec![0; 64 * 1024], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            size => total += size as u64,
        }
    }
}

fn pass(builder: &Builder, directory: &Path, wanted: Wanted<'_>, threads: usize) -> Result<Hashed, Box<dyn Error>> {
    let pass = HashPass::new(builder.layout(), &Place::at(directory), wanted, Arc::new(Meter::new()))?;
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| pass.work()))));
    Ok(pass.finish()?)
}

fn known(builder: &Builder, hashed: &Hashed) -> Result<KnownFiles, Box<dyn Error>> {
    let torrent = Torrent::parse(&builder.finish(&hashed.hashes)?)?;
    let record = VerifiedRecord::new(torrent.info_hashes().next().ok_or("no info-hash")?, &hashed.files);
    let mut known = KnownFiles::new();
    known.add(Arc::new(torrent), &record, Vec::new());
    Ok(known)
}

fn options() -> CreateOptions {
    CreateOptions {
        name: "content".into(),
        version: Version::Hybrid,
        piece_length: Some(1 << 20),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    }
}
