//! `spillway get`: fetch a torrent, and seed it for a while if asked to.

mod report;
mod seed_for;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metainfo::MagnetError;
use seedbox::{Engine, FetchRequest, Selection, Source, StateDir, Status, TorrentId, TorrentState, TorrentStatus};

use crate::failure::Failure;
use crate::interrupt::{Asked, Interrupt};
use crate::ready::{Ready, ReadyTorrent};
use crate::serving::{self, ServeOptions};
use crate::torrent_file;
use report::{Outcome, Reporter};
use seed_for::SeedFor;
use settings::parse_rate;

/// How often is looked how far it is: soon enough that the end of a short fetch is not waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Fetch a torrent: exit code 0 once all that is wanted is verified on disk. What is there already is kept and checked;
/// one that was stopped goes on where it was
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The torrent file, or a magnet link: peers then tell what it stands for
    #[arg(value_name = "TORRENT|MAGNET")]
    source: String,

    /// The directory that receives the content under the torrent's own name
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// A peer to begin with; may be used more than once
    #[arg(long, value_name = "ADDR:PORT")]
    peer: Vec<SocketAddr>,

    /// Seed on after the fetch: for a time as in 10m or 1.5h, until so many times the content was sent as in 1.5, never, or
    /// forever
    #[arg(long, value_name = "TIME|RATIO|never|forever", default_value = "never")]
    seed_for: SeedFor,

    /// Fetch only the files that this names: compared with the file's name and with its path below the torrent's folder,
    /// where * stops at a slash and ** does not; may be used more than once [default: all files]
    #[arg(long, value_name = "GLOB")]
    files: Vec<String>,

    /// Fetch from the beginning to the end, for content that is used meanwhile
    #[arg(long)]
    sequential: bool,

    /// Take disk space as data comes, not all of it at once
    #[arg(long)]
    sparse: bool,

    /// Bytes a second that are fetched at most, as in 100MB/s or 1Gbit/s [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    download_limit: Option<u64>,

    /// Tell no tracker, and ask none for peers
    #[arg(long)]
    no_announce: bool,

    /// Take no part in the DHT, which finds peers without a tracker
    #[arg(long)]
    no_dht: bool,

    /// Do not look for peers on the local network
    #[arg(long)]
    no_lsd: bool,

    /// Ask no web seed
    #[arg(long)]
    no_web_seeds: bool,

    /// Let web seeds on the internet redirect into this host's own network: for torrents whose maker is trusted
    #[arg(long, conflicts_with = "no_web_seeds")]
    private_web_seeds: bool,

    /// Print how it goes to stdout, for programs: one JSON object a line, the last of them with the outcome
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    serve: ServeOptions,
}

/// Fetches, then seeds for as long as is wanted.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::hear()?;
    let mut reporter = Reporter::new(args.json);
    let fetched = fetch(args, &interrupt, &mut reporter);
    let outcome = match &fetched {
        Ok(()) => Outcome::Complete,
        Err(_) if reporter.was_interrupted() => Outcome::Interrupted,
        Err(_) => Outcome::Failed,
    };
    let said = reporter.end(outcome, fetched.as_ref().err().map(Failure::message));
    fetched.and(said)
}

fn fetch(args: &Args, interrupt: &Interrupt, reporter: &mut Reporter) -> Result<(), Failure> {
    let source = read_source(&args.source)?;
    let mut config = args.serve.to_config();
    config.announce = !args.no_announce;
    config.web_seeds = !args.no_web_seeds;
    config.private_web_seeds = args.private_web_seeds;
    config.dht = (!args.no_dht).then(|| args.serve.dht_settings());
    config.lsd = !args.no_lsd;
    config.download_bytes_per_s = args.download_limit.and_then(NonZeroU64::new);
    serving::with_engine(&config, &args.serve, |engine| {
        let id = engine.fetch(request(args, &source))?;
        Fetch { args, source: &source, engine, id, complete_since: None, is_ready: false }.follow(interrupt, reporter)
    })
}

fn read_source(text: &str) -> Result<Source, Failure> {
    if text.starts_with("magnet:") {
        let magnet = text.parse().map_err(|error: MagnetError| Failure::from(error).context("the magnet link"))?;
        return Ok(Source::Magnet(Box::new(magnet)));
    }
    Ok(Source::Torrent(Arc::new(torrent_file::read(Path::new(text))?)))
}

fn request(args: &Args, source: &Source) -> FetchRequest {
    FetchRequest {
        state: StateDir::choose(args.serve.state.as_deref()),
        selection: if args.files.is_empty() { Selection::All } else { Selection::Globs(args.files.clone()) },
        peers: args.peer.clone(),
        is_sequential: args.sequential,
        is_sparse: args.sparse,
        terms: args.serve.terms(),
        ..FetchRequest::new(source.clone(), &args.output)
    }
}

/// The fetch as it is followed.
struct Fetch<'a> {
    args: &'a Args,
    source: &'a Source,
    engine: &'a Engine,
    id: TorrentId,
    complete_since: Option<Instant>,
    is_ready: bool,
}

impl Fetch<'_> {
    /// Looks on until it is complete and has been seeded, fails, or is interrupted.
    fn follow(&mut self, interrupt: &Interrupt, reporter: &mut Reporter) -> Result<(), Failure> {
        loop {
            let asked = interrupt.wait(LOOK_INTERVAL);
            let status = self.engine.status()?;
            let torrent = self.torrent_of(&status)?;
            reporter.show(torrent, self.complete_since.is_some())?;
            if let Some(reason) = &torrent.error {
                return Err(Failure::new(reason));
            }
            self.say_ready(torrent)?;
            if matches!(torrent.state, TorrentState::Complete | TorrentState::HasWanted) {
                let since = *self.complete_since.get_or_insert_with(Instant::now);
                if asked == Some(Asked::Stop) || self.args.seed_for.is_over(since.elapsed(), torrent) {
                    return Ok(());
                }
            } else if asked == Some(Asked::Stop) {
                return Err(reporter.interrupt(torrent));
            }
        }
    }

    fn torrent_of<'s>(&self, status: &'s Status) -> Result<&'s TorrentStatus, Failure> {
        if let Some(reason) = &status.fatal {
            return Err(Failure::new(reason));
        }
        let torrent = status.torrents.iter().find(|torrent| torrent.id == self.id);
        torrent.ok_or_else(|| Failure::new("the torrent is gone"))
    }

    /// Writes the ready file: for a torrent file once the shards know the torrent; for a link at once, since whoever waits for
    /// the file may be the one who has the torrent.
    fn say_ready(&mut self, torrent: &TorrentStatus) -> Result<(), Failure> {
        let Some(path) = &self.args.serve.ready_file else { return Ok(()) };
        if self.is_ready || matches!(torrent.state, TorrentState::Preparing { .. }) {
            return Ok(());
        }
        self.is_ready = true;
        let listen = self.engine.listen().iter().map(ToString::to_string).collect();
        let described = match self.source {
            Source::Torrent(torrent) => ReadyTorrent::new(torrent, Path::new(&self.args.source)),
            Source::Magnet(magnet) => ReadyTorrent::of_magnet(magnet),
        };
        Ready::new(listen, Vec::new(), vec![described]).write(path)
    }
}
