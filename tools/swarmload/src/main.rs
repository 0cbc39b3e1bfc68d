//! The `swarmload` program: loads any BitTorrent seeder with many peers at once and says what it gave and what it cost.
//!
//! A run is watched by one thread (`run`) and carried by others (`worker`), each with an edge-triggered epoll set over its
//! connections (`connection`), which come and go (`turnover`). A connection that does not verify reads a header for real now and then and has the kernel
//! drop the rest (`intake`), since a load that copies what it throws away would cost as much as the seeder. One that
//! verifies reads and hashes everything (`whole`). What is measured is in `tally`, how it is told in `report`, `hgrm` and `plot`.
#![forbid(unsafe_code)]

mod args;
mod asked;
mod board;
mod clock;
mod connection;
mod content;
mod dial;
mod failure;
mod hgrm;
mod housekeeping;
mod intake;
mod leech;
mod live;
mod metadata;
mod order;
mod plot;
mod quantity;
mod report;
mod run;
mod schedule;
mod seeder;
mod sources;
mod tally;
mod turnover;
mod whole;
mod worker;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::content::Content;
use crate::failure::Failure;
use crate::report::{MICROSECOND_NS, Report};

fn main() -> ExitCode {
    match carry_out(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nowhere to say that saying so failed.
            let _ = writeln!(io::stderr().lock(), "error: {}", failure.line());
            ExitCode::FAILURE
        }
    }
}

fn carry_out(args: &Args) -> Result<(), Failure> {
    let content = Content::open(&args.torrent)?;
    let findings = run::run(args, &content)?;
    let report = Report::new(args, &findings);
    if let Some(path) = &args.hgrm {
        let histogram = if args.rate.is_some() { &findings.tally.schedule_latency } else { &findings.tally.latency };
        write(path, &hgrm::text(histogram, MICROSECOND_NS))?;
    }
    if let Some(path) = &args.plot {
        plot::draw(path, &report.title(), &findings, args.rate.is_some())?;
    }
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if !to_stdout {
        say(&report.text())?;
    }
    match &args.json {
        Some(_) if to_stdout => say(&serde_json::to_string(&report)?),
        Some(path) => write(path, &(serde_json::to_string(&report)? + "\n")),
        None => Ok(()),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| Failure::from(error).context("stdout"))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::from(error).context(path.display()))
}
