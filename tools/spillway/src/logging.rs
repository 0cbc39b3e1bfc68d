//! Log lines on stderr: which are shown, how they look, and how they keep out of the way of a live status line.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;

/// Our crates, as they appear in log filters; what libraries have to say starts at warnings.
const OURS: [&str; 6] = ["spillway", "seedbox", "control", "shard", "api", "storage"];

/// Behind the verb's own options in its help.
const LAST: usize = 900;

/// The options that every verb takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Log more: -v for details, -vv for everything
    #[arg(short, long, global = true, display_order = LAST, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Which log lines to show, as LEVEL or TARGET=LEVEL,… (for example `info,shard=debug`); replaces -v
    #[arg(long, global = true, display_order = LAST, value_name = "FILTER")]
    log: Option<String>,
}

/// Starts logging to stderr for the rest of the process.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let filter = match &args.log {
        Some(filter) => EnvFilter::try_new(filter).map_err(|error| Failure::from(error).context("--log"))?,
        None => EnvFilter::try_new(default_filter(args.verbose))?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BesideStatus)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

/// The bars and status lines on the terminal. Whoever draws one adds it here, so that log lines can step around it.
pub(crate) fn screen() -> &'static MultiProgress {
    static SCREEN: OnceLock<MultiProgress> = OnceLock::new();
    SCREEN.get_or_init(MultiProgress::new)
}

fn default_filter(verbose: u8) -> String {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let ours = OURS.map(|name| format!(",{name}={level}")).concat();
    format!("warn{ours}")
}

/// Writes each log line to stderr with the status lines lifted out of the way.
struct BesideStatus;

impl Write for BesideStatus {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        screen().suspend(|| io::stderr().lock().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for BesideStatus {
    type Writer = BesideStatus;

    fn make_writer(&self) -> BesideStatus {
        BesideStatus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_filter_is_one_that_the_subscriber_takes() {
        for verbose in 0..4 {
            EnvFilter::try_new(default_filter(verbose)).unwrap();
        }
    }
}
