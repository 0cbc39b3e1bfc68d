//! `spillway serve`: the daemon, from its settings file until a signal ends it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use service::{Listening, Options, Service};
use settings::{LogFormat, Settings};

use crate::config::ConfigFile;
use crate::failure::Failure;
use crate::interrupt::{Asked, Interrupt};
use crate::logging::{self, Format, LogArgs};
use crate::output;

/// How long a stop waits for sends in flight and for trackers.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether the service has ended by itself.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Run the service that the settings file describes, until stopped: publish trees, follow feeds, serve torrents, answer
/// `spillway ctl`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,

    /// Only say whether the settings can be used
    #[arg(long)]
    check: bool,

    /// Write this file, whole, once peers, subscribers and operators can come: a JSON object for programs
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Serves until stopped. SIGHUP reads the settings again.
pub(crate) fn run(args: &Args, log: &LogArgs) -> Result<(), Failure> {
    let settings = args.file.read()?;
    if args.check {
        return output::line(&format!("{}: no problems", args.file.config.display()));
    }
    let levels = logging::start_as(log, Some(&settings.log.filter), format(&settings))?;
    if let Some(path) = &args.ready_file {
        // One of an earlier run names a process that is gone. That there is none is as well.
        let _ = std::fs::remove_file(path);
    }
    let interrupt = Interrupt::hear_with_reload()?;
    let file = args.file.clone();
    let options = Options {
        reread: Arc::new(move || file.read().map_err(|failure| failure.message().to_owned())),
        set_log_filter: Arc::new(move |filter| levels.set(filter)),
    };
    let service = Service::start(settings, options)?;
    say_where(service.listening());
    if let Some(path) = &args.ready_file {
        Ready::new(service.listening()).write(path)?;
    }
    loop {
        match interrupt.wait(LOOK_PERIOD) {
            Some(Asked::Reload) => service.reload(),
            Some(Asked::Stop) => break,
            Some(Asked::Measurements) | None => {}
        }
        if service.has_ended() {
            break;
        }
    }
    tracing::info!("stopping");
    Ok(service.stop(GRACE)?)
}

fn format(settings: &Settings) -> Format {
    match settings.log.format {
        LogFormat::Auto => Format::Auto,
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

fn say_where(listening: &Listening) {
    let peers: Vec<String> = listening.peers.iter().map(ToString::to_string).collect();
    tracing::info!("peers: {}", peers.join(", "));
    for url in listening.tracker.iter().flatten() {
        tracing::info!("tracker: {url}");
    }
    if let Some(url) = &listening.http {
        tracing::info!("feeds and releases: {url}");
    }
    tracing::info!("operators: {}", listening.socket.display());
}

/// What a script that started us needs to know. The JSON is a contract.
#[derive(Serialize)]
struct Ready {
    /// Our process.
    pid: u32,
    /// `address:port` that accept peers.
    listen: Vec<String>,
    /// Announce URLs of our own tracker.
    tracker: Vec<String>,
    /// Where feeds and releases are.
    http: Option<String>,
    /// The operator's socket.
    socket: String,
    /// Torrents that were restored.
    torrent_count: usize,
}

impl Ready {
    fn new(listening: &Listening) -> Ready {
        Ready {
            pid: std::process::id(),
            listen: listening.peers.iter().map(ToString::to_string).collect(),
            tracker: listening.tracker.iter().flatten().cloned().collect(),
            http: listening.http.clone(),
            socket: listening.socket.display().to_string(),
            torrent_count: listening.torrents,
        }
    }

    /// A reader sees none or all of it.
    fn write(&self, path: &std::path::Path) -> Result<(), Failure> {
        Ok(storage::write_atomically(path, &serde_json::to_vec(self)?)?)
    }
}
