//! `spillway config`: the sample of the settings file and the check of one; and how every verb that goes by the file reads it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use seedbox::StateDir;
use settings::{PREFIX, Settings};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output;

/// Where the settings are, unless told otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/spillway/spillway.toml";

/// Write the sample of the settings file, or check one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write the sample of the settings file: every key at its default, with what it does
    Sample {
        /// A new file to write it to [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say what is wrong with a settings file and with the environment's SPILLWAY_SECTION__KEY; exit code 1 if anything is
    Check {
        #[command(flatten)]
        file: ConfigFile,

        /// Show all settings that hold, as a file would say them; secrets stay hidden
        #[arg(long)]
        show: bool,
    },
}

/// The option of every verb that goes by the settings file.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigFile {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

/// Writes the sample or checks a file.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Sample { output: None } => output::text(&settings::sample()),
        Verb::Sample { output: Some(path) } => write_new(path, &settings::sample()),
        Verb::Check { file, show } => check(file, *show),
    }
}

impl ConfigFile {
    /// The settings that the file and the environment give, if the service could start with them. The failure has a line for each
    /// thing that is wrong.
    pub(crate) fn read(&self) -> Result<Settings, Failure> {
        let named = |failure: Failure| failure.context(self.config.display());
        let text = read_text(&self.config)?;
        let settings = Settings::read(&self.config.display().to_string(), &text, environment()?)?;
        EnvFilter::try_new(&settings.log.filter).map_err(|error| named(Failure::from(error).context("log.filter")))?;
        if let Some(state) = StateDir::choose(settings.engine.state_dir.as_deref()) {
            settings.state_fits_at(state.path()).map_err(|problem| named(Failure::new(problem)))?;
        }
        Ok(settings)
    }
}

/// Each problem is a line of its own, the last one the failure's.
fn check(file: &ConfigFile, show: bool) -> Result<(), Failure> {
    match file.read() {
        Ok(settings) if show => output::text(&settings.to_toml()),
        Ok(_) => output::line(&format!("{}: no problems", file.config.display())),
        Err(failure) => {
            let mut lines: Vec<&str> = failure.message().lines().collect();
            let last = lines.pop().unwrap_or_default();
            lines.into_iter().for_each(output::error_line);
            Err(Failure::new(last))
        }
    }
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let named = |failure: Failure| failure.context(path.display());
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => named(Failure::new(
            "there is no such settings file; `spillway config sample --output FILE` writes one, --config names another",
        )),
        _ => named(error.into()),
    })?;
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a file that is too long is told as such.
    file.take(settings::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| named(error.into()))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        named(Failure::new(format!("line {line} is not UTF-8")))
    })
}

/// Variables of ours; one that is no text is named.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    ours.filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Failure::new("is not UTF-8").context(name)),
        })
        .collect()
}

/// Never over a file that is there: it would be somebody's settings.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|error| Failure::from(error).context(path.display()))
}
