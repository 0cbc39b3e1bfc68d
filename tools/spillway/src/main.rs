//! The `spillway` program: reads the command line, starts logging and hands over to one file per verb.
#![forbid(unsafe_code)]

mod config;
mod create;
mod ctl;
mod date;
mod doctor;
mod failure;
mod get;
mod interrupt;
mod journal;
mod logging;
mod magnet;
mod manual;
mod measured;
mod output;
mod progress;
mod publish;
mod ready;
mod seed;
mod serve;
mod serving;
mod show;
mod torrent_file;
mod torrent_options;
mod tracker;
mod verify;

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
enum Verb {
    Publish(publish::Args),
    Seed(seed::Args),
    Get(get::Args),
    Create(create::Args),
    Show(show::Args),
    Verify(verify::Args),
    Magnet(magnet::Args),
    Tracker(tracker::Args),
    Serve(serve::Args),
    Config(config::Args),
    Ctl(ctl::Args),
    Doctor(doctor::Args),
    #[command(hide = true)]
    Man(manual::ManArgs),
    #[command(hide = true)]
    Completions(manual::CompletionsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    // How the service's log looks is in its settings.
    if !matches!(cli.verb, Verb::Serve(_)) {
        logging::start(&cli.log)?;
    }
    match &cli.verb {
        Verb::Publish(args) => publish::run(args),
        Verb::Seed(args) => seed::run(args),
        Verb::Get(args) => get::run(args),
        Verb::Create(args) => create::run(args),
        Verb::Show(args) => show::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Magnet(args) => magnet::run(args),
        Verb::Tracker(args) => tracker::run(args),
        Verb::Serve(args) => serve::run(args, &cli.log),
        Verb::Config(args) => config::run(args),
        Verb::Ctl(args) => ctl::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Man(args) => manual::man(args),
        Verb::Completions(args) => manual::completions(args),
    }
}
