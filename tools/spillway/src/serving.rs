//! What `publish` and `seed` have in common: an engine that runs until it is told to stop, and what a person sees of it.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use seedbox::{Config, DhtSettings, Engine, StateDir, Status, SuperSeeding, Terms};

use crate::failure::Failure;
use crate::interrupt::{Asked, Interrupt};
use crate::{logging, measured};
use settings::parse_rate;

/// How long a stop waits for sends in flight and for trackers.
const GRACE: Duration = Duration::from_secs(5);

/// How often the status line is written anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the status is logged where there is no terminal, while something happens.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// When torrents are super-seeded.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SuperSeed {
    Auto,
    On,
    Off,
}

/// The options of every verb that serves.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// Address to listen on for peers, port 0 for a free one; may be used more than once [default: every address,
    /// port 51413]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,

    /// Shards, each on a core of its own [default: one on every core]
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,

    /// Bytes a second that all peers get together, as in 100MB/s or 1Gbit/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    upload_limit: Option<u64>,

    /// Bytes a second that the peers of each torrent get together [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    torrent_upload_limit: Option<u64>,

    /// Super-seed (BEP 16): as long as nobody else has all pieces, tell each peer of a few of its own, so that the first copy
    /// is in the swarm soon; auto: among several downloaders, and off where it would hurt; on: also beyond the first copy, as
    /// long as the others get on without us, which sends the fewest bytes
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SuperSeed::Auto)]
    super_seed: SuperSeed,

    /// Tell peers of no other peers, and ask none (BEP 11); those of private torrents never are
    #[arg(long)]
    no_pex: bool,

    /// Peers that are served at once; the others wait for their turn [default: all]
    #[arg(long, value_name = "N")]
    slots: Option<std::num::NonZeroU32>,

    /// Microseconds for which requests gather under light load, so that a turn serves several [default: 0, each is
    /// served at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=10_000))]
    turn_delay_us: Option<u32>,

    /// Hand the network references to files instead of copies: less work for every byte. Only for content that is never
    /// overwritten in place: what changes in a file may go out changed while it waits to be sent
    #[arg(long)]
    zero_copy: bool,

    /// A node that the DHT is entered by; may be used more than once [default: those that everybody enters it by]
    #[arg(long, value_name = "HOST:PORT")]
    dht_node: Vec<String>,

    /// Where to remember what was hashed and verified [default: $STATE_DIRECTORY, $XDG_STATE_HOME/spillway or
    /// ~/.local/state/spillway]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Write this file, whole, once peers can connect: a JSON object for programs
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

impl ServeOptions {
    /// Whether addresses to listen on were given.
    pub(crate) fn names_listen(&self) -> bool {
        !self.listen.is_empty()
    }

    /// How each torrent is uploaded.
    pub(crate) fn terms(&self) -> Terms {
        let super_seeding = match self.super_seed {
            SuperSeed::Auto => SuperSeeding::Auto,
            SuperSeed::On => SuperSeeding::On,
            SuperSeed::Off => SuperSeeding::Off,
        };
        Terms::new(self.torrent_upload_limit.and_then(NonZeroU64::new), super_seeding)
    }

    /// Our node of the DHT, where there is to be one.
    pub(crate) fn dht_settings(&self) -> DhtSettings {
        let mut settings = DhtSettings::new(StateDir::choose(self.state.as_deref()));
        if !self.dht_node.is_empty() {
            settings.bootstrap.clone_from(&self.dht_node);
        }
        settings
    }

    /// The engine's settings as far as these options say them.
    pub(crate) fn to_config(&self) -> Config {
        let mut config = Config::default();
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.shards = self.shards.map(NonZeroUsize::get);
        config.upload_bytes_per_s = self.upload_limit.and_then(NonZeroU64::new);
        if let Some(delay_us) = self.turn_delay_us {
            config.turn_delay = Duration::from_micros(delay_us.into());
        }
        config.zero_copy = self.zero_copy;
        config.pex = !self.no_pex;
        config.slots = self.slots.map(std::num::NonZeroU32::get);
        config
    }
}

/// Starts an engine, gives it what `prepare` has for it, and serves until a signal comes.
pub(crate) fn run(
    config: &Config,
    options: &ServeOptions,
    interrupt: &Interrupt,
    prepare: impl FnOnce(&Engine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_engine(config, options, |engine| prepare(engine).and_then(|()| until_stopped(engine, interrupt)))
}

/// Starts an engine and lets `work` use it. Whatever happens, the engine is stopped in good order: peers get what they were
/// promised and trackers are told.
pub(crate) fn with_engine<T>(
    config: &Config,
    options: &ServeOptions,
    work: impl FnOnce(&Engine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Some(path) = &options.ready_file {
        // One of an earlier run names a process that is gone. That there is none is as well.
        let _ = std::fs::remove_file(path);
    }
    // Everything that can be in the way is found out before the hashing, not after it.
    let engine = Engine::start(config)?;
    let worked = work(&engine);
    let stopped = engine.stop(GRACE);
    let worked = worked?;
    stopped?;
    Ok(worked)
}

/// Shows how things are until a signal comes.
fn until_stopped(engine: &Engine, interrupt: &Interrupt) -> Result<(), Failure> {
    let line = io::stderr().is_terminal().then(status_line);
    let mut logged = (Instant::now(), 0);
    loop {
        let asked = interrupt.wait(STATUS_INTERVAL);
        let status = engine.status()?;
        if let Some(reason) = status.fatal {
            return Err(Failure::new(reason));
        }
        match &line {
            Some(line) => line.set_message(describe(&status)),
            None if logged.0.elapsed() >= LOG_INTERVAL && status.payload_sent_bytes != logged.1 => {
                tracing::info!("{}", describe(&status));
                logged = (Instant::now(), status.payload_sent_bytes);
            }
            None => {}
        }
        if asked.is_some() {
            match engine.histograms() {
                Ok(histograms) => measured::lines(&histograms).iter().for_each(|line| tracing::info!("{line}")),
                Err(error) => tracing::warn!(%error, "there are no measurements"),
            }
        }
        if asked == Some(Asked::Stop) {
            if let Some(line) = line {
                line.finish_and_clear();
            }
            tracing::info!("stopping; {}", describe(&status));
            return Ok(());
        }
    }
}

fn status_line() -> ProgressBar {
    let line = logging::screen().add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    line.enable_steady_tick(STATUS_INTERVAL / 4);
    line
}

/// One line: peers, rate, total, cores.
fn describe(status: &Status) -> String {
    let failed = status.torrents.iter().filter(|torrent| torrent.error.is_some()).count();
    let torrents = status.torrents.len();
    let mut line = format!(
        "{} torrent{}, {} peer{}, {}/s up, {} sent, {} core{}",
        torrents,
        plural(torrents),
        status.peers,
        plural(status.peers as usize),
        DecimalBytes(status.upload_bytes_per_s),
        DecimalBytes(status.payload_sent_bytes),
        status.shards.len(),
        plural(status.shards.len()),
    );
    if failed > 0 {
        line += &format!(", {failed} FAILED");
    }
    line
}

pub(crate) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
