//! The `spillway` program: reads the command line, starts logging and hands over to one file per verb.
#![forbid(unsafe_code)]

mod failure;
mod logging;
mod output;
mod progress;
mod quantity;
mod ready;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::logging::LogArgs;

/// Publish large releases over BitTorrent from a dedicated server.
#[derive(Debug, Parser)]
#[command(name = "spillway", version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match logging::start(&cli.log).and_then(|()| run(cli.verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(verb: Verb) -> Result<(), Failure> {
    match verb {}
}
