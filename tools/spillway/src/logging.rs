//! Log lines on stderr: which are shown, how they look, and how they keep out of the way of a live status line.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::failure::Failure;
use crate::journal::{self, JournalLines};

/// Our crates, as they appear in log filters; what libraries have to say starts at warnings.
const OURS: [&str; 8] = ["spillway", "service", "catalogue", "seedbox", "control", "shard", "api", "storage"];

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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As the journal likes it where stderr leads there, else text.
    Auto,
    /// Lines for people, with the time.
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes which log lines are shown while the program runs.
pub(crate) struct LogLevels {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The command line has the say.
    is_fixed: bool,
}

impl LogLevels {
    /// Shows the lines that `filter` lets through from now on; one that is none changes nothing.
    pub(crate) fn set(&self, filter: &str) -> Result<(), String> {
        if self.is_fixed {
            return Err("the command line says which lines are logged".to_owned());
        }
        let filter = EnvFilter::try_new(in_full(filter)).map_err(|error| format!("log filter: {error}"))?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}

/// Starts logging to stderr for the rest of the process, as the command line has it.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    start_as(args, None, Format::Text).map(drop)
}

/// Starts logging to stderr for the rest of the process. What the command line says of levels goes before `configured`.
pub(crate) fn start_as(args: &LogArgs, configured: Option<&str>, format: Format) -> Result<LogLevels, Failure> {
    let filter = match (&args.log, configured) {
        (Some(filter), _) => EnvFilter::try_new(filter).map_err(|error| Failure::from(error).context("--log"))?,
        (None, Some(filter)) if args.verbose == 0 => {
            EnvFilter::try_new(in_full(filter)).map_err(|error| Failure::from(error).context("log filter"))?
        }
        (None, _) => EnvFilter::try_new(default_filter(args.verbose))?,
    };
    let (filter, levels) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(BesideStatus).with_ansi(io::stderr().is_terminal());
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Auto if journal::hears_stderr() => lines.event_format(JournalLines).boxed(),
        Format::Auto | Format::Text => lines.boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(LogLevels { filter: levels, is_fixed: args.log.is_some() || args.verbose > 0 })
}

/// A bare level means our own lines: what libraries have to say at `info` nobody asked for.
fn in_full(filter: &str) -> String {
    match filter.trim() {
        level @ ("trace" | "debug" | "info" | "warn" | "error") => ours_at(level),
        filter => filter.to_owned(),
    }
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
    ours_at(level)
}

fn ours_at(level: &str) -> String {
    let others = if level == "error" { "error" } else { "warn" };
    let ours = OURS.map(|name| format!(",{name}={level}")).concat();
    format!("{others}{ours}")
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
