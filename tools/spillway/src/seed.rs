//! `spillway seed`: serve content that torrents describe.

use std::path::PathBuf;
use std::sync::Arc;

use seedbox::{Engine, StateDir};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress;
use crate::ready::{Ready, ReadyTorrent};
use crate::serving::{self, ServeOptions};

/// Seed the content of torrents, verified first, until stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The torrent files
    #[arg(required = true)]
    torrent: Vec<PathBuf>,

    /// The directory that holds each torrent's content under the torrent's own name
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    serve: ServeOptions,

    /// Announce the torrents in the DHT as well, where peers find them without a tracker; private ones never
    #[arg(long)]
    dht: bool,

    /// Announce the torrents on the local network as well; private ones never
    #[arg(long)]
    lsd: bool,

    /// Believe that the content is right, and do not read it before serving it
    #[arg(long)]
    trust_data: bool,

    /// Tell no tracker
    #[arg(long)]
    no_announce: bool,
}

/// Seeds until stopped.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::hear()?;
    let state = StateDir::choose(args.serve.state.as_deref());
    let mut config = args.serve.to_config();
    config.announce = !args.no_announce;
    config.dht = args.dht.then(|| args.serve.dht_settings());
    config.lsd = args.lsd;
    serving::run(&config, &args.serve, &interrupt, |engine| prepare(args, state.as_ref(), &interrupt, engine))
}

/// Verifies the torrents' content, hands them to the engine and says that peers can come.
fn prepare(args: &Args, state: Option<&StateDir>, interrupt: &Interrupt, engine: &Engine) -> Result<(), Failure> {
    let mut ready = Vec::with_capacity(args.torrent.len());
    for path in &args.torrent {
        let meter = interrupt.meter();
        let load = || seedbox::load(path, &args.data, args.trust_data, state, None, &meter);
        let release = progress::shown("verifying", &meter, load)?;
        let torrent = Arc::clone(release.seeded.torrent());
        let name = torrent.layout().name();
        match (args.trust_data, release.is_recalled) {
            (true, _) => tracing::info!("{name}: trusted, not verified"),
            (false, true) => tracing::info!("{name}: unchanged since it was last verified, not verified again"),
            (false, false) => tracing::info!("{name}: verified, all {} pieces", torrent.layout().piece_count()),
        }
        let tiers = if args.no_announce { Vec::new() } else { torrent.trackers().to_vec() };
        engine.add(release.seeded, tiers, args.serve.terms())?;
        ready.push(ReadyTorrent::new(&torrent, path));
    }
    let listen: Vec<String> = engine.listen().iter().map(ToString::to_string).collect();
    tracing::info!("seeding on {}", listen.join(", "));
    if let Some(path) = &args.serve.ready_file {
        Ready::new(listen, Vec::new(), ready).write(path)?;
    }
    Ok(())
}
