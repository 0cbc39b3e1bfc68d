//! `spillway tracker`: a tracker on its own, HTTP and UDP on the same port, for torrents that others seed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::tracker::table::{Access, Limits};
use api::HttpLimits;
use api::TrackerServer;
use control::tracker_service::{ServiceStatus, TrackerService};
use hash::InfoHash;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::output;
use crate::ready::Ready;

/// How often the log says what the tracker does, if that is any news.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// Descriptors that are not for HTTP connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Run a tracker, HTTP and UDP on the same port, until stopped (SIGINT or SIGTERM).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen on, for HTTP and UDP; port 0 picks a free one. May be repeated
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    listen: Vec<SocketAddr>,

    /// Serve whatever torrent is announced
    #[arg(long, conflicts_with = "allow")]
    open: bool,

    /// Serve the torrents of this file: on each line an info-hash in hex or a magnet link; `#` starts a comment. The
    /// file is read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,

    /// Write a JSON file with `pid` and the `tracker` URLs once the tracker answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs the tracker until a signal ends it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let access = if args.open { Access::Open } else { Access::Listed };
    let service = TrackerService::new(access, Limits::default()).map_err(Failure::new)?;
    if let Some(path) = &args.allow {
        service.set_allowed(read_allowed(path).map_err(Failure::new)?);
    } else if !args.open {
        tracing::warn!("no torrent will be served: give --allow FILE or --open");
    }
    let mut signals = Signals::new()?;
    let server = TrackerServer::start(&args.listen, &service, http_limits())?;
    let urls = server.urls();
    for url in &urls {
        output::line(url)?;
    }
    if let Some(path) = &args.ready_file {
        let listen = server.local_addrs().iter().map(SocketAddr::to_string).collect();
        Ready::new(listen, urls, Vec::new()).write(path)?;
    }
    until_stopped(args, &service, &mut signals).await;
    server.stop().await;
    log_status(&service.status());
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn until_stopped(args: &Args, service: &TrackerService, signals: &mut Signals) {
    let mut ticks = tokio::time::interval(LOG_PERIOD);
    // The first tick comes at once.
    ticks.tick().await;
    let mut logged = service.status();
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => return,
            _ = signals.terminate.recv() => return,
            _ = signals.hangup.recv() => read_again(args, service),
            _ = ticks.tick() => {
                let status = service.status();
                if status != logged {
                    log_status(&status);
                }
                logged = status;
            }
        }
    }
}

/// A file that cannot be read leaves the old list as it is: a slip of the pen must not stop every torrent.
fn read_again(args: &Args, service: &TrackerService) {
    let Some(path) = &args.allow else { return };
    match read_allowed(path) {
        Ok(allowed) => {
            tracing::info!(info_hashes = allowed.len(), "read the allow-list again");
            service.set_allowed(allowed);
        }
        Err(problem) => tracing::error!("kept the old allow-list: {problem}"),
    }
}

fn log_status(status: &ServiceStatus) {
    let counters = &status.counters;
    let refused = counters.not_allowed + counters.torrents_full + counters.too_many_requests;
    let malformed: u64 = status.malformed.iter().map(|(_, count)| count).sum();
    tracing::info!(
        torrents = status.torrent_count,
        peers = status.peer_count,
        announces = counters.announces,
        scrapes = counters.scrapes,
        refused,
        malformed,
        "tracker"
    );
}

fn read_allowed(path: &Path) -> Result<Vec<InfoHash>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    service::allow_list::parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// As many connections as there are descriptors for, once the soft limit is as high as it may be.
fn http_limits() -> HttpLimits {
    let limits = HttpLimits::default();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without leave to raise it, the old limit holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
    HttpLimits { max_connections: limits.max_connections.min(usize::try_from(room).unwrap_or(usize::MAX)), ..limits }
}
