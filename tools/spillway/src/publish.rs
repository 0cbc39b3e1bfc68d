//! `spillway publish`: from files to a swarm, with a tracker of its own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use seedbox::{CreateOptions, Engine, Release, StateDir, TrackerConfig, wildcard};
use url::{Host, Url};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::progress;
use crate::ready::{Ready, ReadyTorrent};
use crate::serving::{self, ServeOptions};
use crate::torrent_options::TorrentOptions;

/// Publish files and directories: make a torrent of each, run a tracker, and seed until stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files and directories, one torrent each
    #[arg(required = true)]
    path: Vec<PathBuf>,

    #[command(flatten)]
    torrent: TorrentOptions,

    #[command(flatten)]
    serve: ServeOptions,

    /// Announce the torrents in the DHT as well, where peers find them without a tracker; private ones never
    #[arg(long)]
    dht: bool,

    /// Announce the torrents on the local network as well; private ones never
    #[arg(long)]
    lsd: bool,

    /// Address of the tracker, HTTP and UDP on the same port, port 0 for a free one; may be used more than once
    /// [default: the addresses of --listen, port 6969]
    #[arg(long, value_name = "ADDR:PORT")]
    tracker_listen: Vec<SocketAddr>,

    /// The tracker's announce URL as others reach it, where that is not the address of this machine
    #[arg(long, value_name = "URL")]
    external_url: Option<Url>,

    /// Run no tracker; the torrents then name those of --announce
    #[arg(long, conflicts_with_all = ["tracker_listen", "external_url"])]
    no_tracker: bool,
}

/// Publishes until stopped.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::hear()?;
    let state = StateDir::choose(args.serve.state.as_deref())
        .ok_or_else(|| Failure::new("there is no home directory to keep the torrents in; name one with --state"))?;
    let external = args.external_url.as_ref().map(External::read).transpose()?;
    let mut config = args.serve.to_config();
    config.dht = args.dht.then(|| args.serve.dht_settings());
    config.lsd = args.lsd;
    if !args.no_tracker {
        let listen = tracker_listen(args, &config.listen);
        config.tracker = Some(TrackerConfig {
            listen,
            external: external.as_ref().map(External::addresses).unwrap_or_default(),
            ..TrackerConfig::default()
        });
    }
    serving::run(&config, &args.serve, &interrupt, |engine| prepare(args, &state, external, &interrupt, engine))
}

/// Makes the torrents, hands them to the engine and says that peers can come.
fn prepare(
    args: &Args,
    state: &StateDir,
    external: Option<External>,
    interrupt: &Interrupt,
    engine: &Engine,
) -> Result<(), Failure> {
    let own_tiers = match external {
        Some(external) => vec![external.announce_urls],
        None => engine.tracker_tiers().to_vec(),
    };
    let options = create_options(args, &own_tiers);
    let mut ready = Vec::with_capacity(args.path.len());
    for path in &args.path {
        let meter = interrupt.meter();
        let publish = || seedbox::publish(path, &options, state, None, &meter);
        let release = progress::shown("hashing", &meter, publish)?;
        engine.add(Arc::clone(&release.seeded), foreign_tiers(&args.torrent), args.serve.terms())?;
        let shown = show(&release)?;
        ready.push(shown);
    }
    let tracker: Vec<String> = own_tiers.into_iter().flatten().collect();
    output::lines(&tracker.iter().map(|url| format!("tracker: {url}")).collect::<Vec<_>>())?;
    let listen = engine.listen().iter().map(ToString::to_string).collect();
    if let Some(path) = &args.serve.ready_file {
        Ready::new(listen, tracker, ready).write(path)?;
    }
    Ok(())
}

/// The tracker listens where the peers are listened for, unless told otherwise.
fn tracker_listen(args: &Args, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    match (args.tracker_listen.is_empty(), args.serve.names_listen()) {
        (false, _) => args.tracker_listen.clone(),
        (true, false) => wildcard(seedbox::DEFAULT_TRACKER_PORT),
        (true, true) => {
            listen.iter().map(|address| SocketAddr::new(address.ip(), seedbox::DEFAULT_TRACKER_PORT)).collect()
        }
    }
}

fn create_options(args: &Args, own_tiers: &[Vec<String>]) -> CreateOptions {
    let mut options = args.torrent.to_create_options();
    options.trackers.splice(0..0, own_tiers.iter().cloned());
    options
}

/// Our own tracker knows us without an announce; the others have to be told.
fn foreign_tiers(torrent: &TorrentOptions) -> Vec<Vec<String>> {
    torrent.to_create_options().trackers
}

fn show(release: &Release) -> Result<ReadyTorrent, Failure> {
    let torrent = release.seeded.torrent();
    let shown = ReadyTorrent::new(torrent, &release.torrent_file);
    if release.is_recalled {
        tracing::info!("{}: unchanged since it was last hashed, not hashed again", torrent.layout().name());
    }
    output::lines(&shown.lines())?;
    Ok(shown)
}

/// The tracker as others reach it.
struct External {
    announce_urls: Vec<String>,
    host: Host<String>,
    port: u16,
}

impl External {
    fn read(url: &Url) -> Result<External, Failure> {
        let wrong = |what: &str| Failure::new(format!("--external-url {url}: {what}"));
        let host = url.host().ok_or_else(|| wrong("names no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| wrong("names no port"))?;
        let mut announce = url.clone();
        if matches!(url.path(), "" | "/") {
            announce.set_path("/announce");
        }
        let udp = format!("udp://{host}:{port}/announce");
        let announce_urls = match url.scheme() {
            "http" => vec![announce.to_string(), udp],
            // TLS ends at a proxy, which passes no UDP on.
            "https" | "udp" => vec![announce.to_string()],
            _ => return Err(wrong("is no http, https or udp URL")),
        };
        Ok(External { announce_urls, host, port })
    }

    /// Where peers reach us, if the host's name says. A name that does not resolve yet leaves it to what the tracker
    /// sees.
    fn addresses(&self) -> Vec<IpAddr> {
        match &self.host {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => match (name.as_str(), self.port).to_socket_addrs() {
                Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                Err(error) => {
                    tracing::warn!("{name} cannot be resolved ({error}); peers are told the address they came to");
                    Vec::new()
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(url: &str) -> Result<External, Failure> {
        External::read(&url.parse().unwrap())
    }

    #[test]
    fn an_external_url_names_both_ends_of_the_tracker_where_it_can() {
        let urls = |url: &str| external(url).unwrap().announce_urls;
        assert_eq!(
            urls("http://example.org:6969"),
            ["http://example.org:6969/announce", "udp://example.org:6969/announce"]
        );
        assert_eq!(urls("https://example.org/t/announce"), ["https://example.org/t/announce"]);
        assert_eq!(urls("http://[2001:db8::1]:80/announce")[1], "udp://[2001:db8::1]:80/announce");
        assert!(external("ftp://example.org:21").is_err());
    }
}
