//! The engine: shards, control and tracker, started together and stopped together.

use crate::config::Config;
use crate::handle::{EngineHandle, HandleParts};
use crate::preflight::{self, Budget};
use crate::reach;
use crate::topology::Topology;
use api::{TrackerServer, TrackerServerError};
use control::announcer::Announcer;
use control::resolve::Resolver;
use control::tracker_service::TrackerService;
use control::web_seed::WebSeedClients;
use control::{
    AddError, Control, ControlBell, ControlParts, NewTorrent, News, ORDERS_LIMIT, Order, OrderError, ShardLink, Status,
    TorrentOrder,
};
use mesh::{ShardHistograms, TorrentId, TorrentNames};
use shard::{DeviceBudgets, EventDoorbell, Listeners, Neighbours, ShardConfig, ShardThread};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use storage::Seeded;
use swarm::{RateLimiter, Terms};
use tokio::sync::{mpsc, oneshot};
use wire::PeerId;

/// A running engine. Dropping it stops it without grace; [`Engine::stop`] is kinder.
pub struct Engine {
    listen: Vec<SocketAddr>,
    tracker_tiers: Vec<Vec<String>>,
    tracker_service: Option<TrackerService>,
    tracker_listen: Vec<SocketAddr>,
    http_connections: usize,
    control: Option<JoinHandle<()>>,
    shards: Vec<ShardThread>,
    handle: EngineHandle,
}

/// The engine could not be started. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not as many cores as shards.
    #[error("cannot run {asked} shards on {cores} cores: --shards takes 1 to {cores}")]
    Shards {
        /// Shards asked for.
        asked: usize,
        /// Cores that this process may use.
        cores: usize,
    },
    /// The cores that were chosen cannot be had.
    #[error("cannot run on the chosen cores: {reason}; change --cores")]
    Cores {
        /// What is wrong with them.
        reason: String,
    },
    /// A device is named by a path that is not there.
    #[error("{}: {source}; a limit of reads names a path on the device that it is for", .path.display())]
    DevicePath {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too little memory may be locked.
    #[error(
        "memlock is {allowed_kib} KiB and {needed_kib} KiB are needed: raise it (LimitMEMLOCK= in systemd, ulimit -l)"
    )]
    Memlock {
        /// What the shards need.
        needed_kib: u64,
        /// What is allowed.
        allowed_kib: u64,
    },
    /// Too few descriptors.
    #[error(
        "only {allowed} open files are allowed and {needed} are needed: raise it (LimitNOFILE= in systemd, ulimit -n)"
    )]
    Nofile {
        /// The least with which an engine starts.
        needed: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// io_uring cannot be used.
    #[error("{reason}")]
    IoUring {
        /// Why, and what to change.
        reason: String,
    },
    /// An address for peers cannot be listened on.
    #[error("{0}; choose another with --listen")]
    Listen(#[from] shard::ListenError),
    /// An address for the tracker cannot be listened on.
    #[error("tracker: {0}; choose another address with --tracker-listen")]
    Tracker(#[from] TrackerServerError),
    /// The tracker client cannot be made.
    #[error("cannot announce: {0}")]
    Announcer(#[from] control::announcer::AnnouncerError),
    /// The clients for web seeds cannot be made.
    #[error("cannot ask web seeds: {0}")]
    WebSeeds(control::announcer::AnnouncerError),
    /// There can be no node of the DHT.
    #[error(transparent)]
    Dht(#[from] control::dht::DhtError),
    /// A shard's executor did not start.
    #[error(transparent)]
    Shard(#[from] shard::SpawnError),
    /// The system refused something that every engine needs.
    #[error("cannot start: {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The hash code of this machine gives wrong answers.
    #[error(transparent)]
    SelfTest(#[from] hash::SelfTestError),
}

impl StartError {
    fn system(action: &'static str) -> impl Fn(std::io::Error) -> StartError {
        move |source| StartError::System { action, source }
    }
}

/// Blocks of torrents that are fetched, received and not written yet, on each shard: pieces for every lane of the hash while
/// it is at work, and half as much that gathers meanwhile, if pieces are of 1 MiB.
const WRITE_BUFFER_BYTES: usize = 24 << 20;

impl Engine {
    /// Checks the machine, binds every address, and starts.
    pub fn start(config: &Config) -> Result<Engine, StartError> {
        hash::self_test()?;
        let topology = Topology::choose(config.shards, config.cores.as_deref())?;
        let shard_count = topology.shard_cores.len();
        let budget = preflight::check(shard_count)?;
        let listeners = Listeners::bind(&config.listen, shard_count)?;
        let listen = listeners.addresses.clone();
        let peer_id = PeerId::ours(random()?);
        let start = Instant::now();
        let Wiring { bell, events, links, doorbells } = Wiring::new(shard_count)?;

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::system("make control's runtime"))?;
        let guard = runtime.enter();
        let own_tracker =
            config.tracker.as_ref().map(|tracker| reach::start_tracker(tracker, &budget, start)).transpose()?;
        let announcer =
            config.announce.then(|| Announcer::start(&reach::announcer_config(config, &budget, peer_id, &listen)));
        let announcer = announcer.transpose()?;
        let discovery = reach::discovery(config, &listen)?;
        drop(guard);
        let clients = || WebSeedClients::new(reach::web_seed_config(config)).map_err(StartError::WebSeeds);
        let web_seeds = config.web_seeds.then(clients).transpose()?.map(Arc::new);
        let tracker_tiers = own_tracker.as_ref().map(|(server, _)| reach::tiers(&server.urls())).unwrap_or_default();
        let tracker_listen = own_tracker.as_ref().map(|(server, _)| server.local_addrs()).unwrap_or_default();
        let (server, service) = own_tracker.unzip();
        let (orders, inbox) = mpsc::channel(ORDERS_LIMIT);
        let news = News::default();
        let names = Arc::<TorrentNames>::default();
        let control = Control::new(ControlParts {
            start,
            links: links.clone(),
            names: names.clone(),
            rest_after: config.rest_after,
            events,
            bell,
            orders: inbox,
            news: news.clone(),
            peer_id: peer_id.0,
            announcer,
            discovery,
            resolver: Resolver::new(reach::resolve_config(config, peer_id, &listen)),
            web_seeds,
            tracker: service.clone(),
            own_seeds: reach::own_seeds(config, &listen).into(),
            slots: config.slots,
            connections_per_shard: connections_per_shard(config, &budget, shard_count),
        });
        let control = start_control(runtime, control, server, topology.control_core)?;

        let neighbours = Arc::new(Neighbours::new(&doorbells));
        let first =
            ShardConfig { neighbours, names, ..first_shard(config, &budget, shard_count, (start, peer_id, &listen))? };
        let (upload, download) = (first.upload.clone(), first.download.clone());
        let handle = EngineHandle::new(HandleParts {
            orders,
            news: news.downgrade(),
            upload,
            download,
            connection_limit: budget.connections,
            shard_count,
            tracker: service.clone(),
        });
        // From here on a failure stops what runs.
        let mut engine = Engine {
            listen,
            tracker_tiers,
            tracker_service: service,
            tracker_listen,
            http_connections: budget.tracker_connections,
            control: Some(control),
            shards: Vec::new(),
            handle,
        };
        let parts = topology.shard_cores.iter().zip(links).zip(doorbells).zip(listeners.shards);
        for (shard, (((core, link), doorbell), sockets)) in parts.enumerate() {
            let seed = first.seed.wrapping_add(shard as u64);
            let shard_config = ShardConfig { shard, core: *core, seed, ..first.clone() };
            engine.shards.push(shard::spawn(shard_config, link, doorbell, sockets)?);
        }
        Ok(engine)
    }

    /// The addresses that peers connect to, with their real port.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// The announce URLs of our own tracker, one tier for each family (clients announce to one URL of a tier only, and
    /// each family is announced apart, BEP 7); empty if there is none.
    pub fn tracker_tiers(&self) -> &[Vec<String>] {
        &self.tracker_tiers
    }

    /// Where our own tracker listens, with its real port; empty if there is none.
    pub fn tracker_listen(&self) -> &[SocketAddr] {
        &self.tracker_listen
    }

    /// HTTP connections that the process has descriptors for, beside what the engine takes.
    pub fn http_connections(&self) -> usize {
        self.http_connections
    }

    /// Our own tracker's table, if there is a tracker: for whoever answers HTTP in its place, or shows what it does.
    pub fn tracker_service(&self) -> Option<&TrackerService> {
        self.tracker_service.as_ref()
    }

    /// Serves a torrent whose content was verified, and announces it to the trackers of `tiers`. `terms` say how
    /// it is uploaded, within the engine's own limit.
    pub fn add(&self, seeded: Arc<Seeded>, tiers: Vec<Vec<String>>, terms: Terms) -> Result<TorrentId, EngineError> {
        let torrent = NewTorrent { seeded, terms: Arc::new(terms), tiers: tiers.into() };
        Ok(self.ask(|reply| Order::Add { torrent, reply })??)
    }

    /// Serves a torrent no longer.
    pub fn remove(&self, id: TorrentId) -> Result<(), EngineError> {
        // Nobody waits for the answer.
        let reply = oneshot::channel().0;
        self.tell(Order::About { id, order: TorrentOrder::Remove { reply } })
    }

    /// How things are. Like every call here it waits for control's thread: not for use on a tokio runtime.
    pub fn status(&self) -> Result<Status, EngineError> {
        self.ask(|reply| Order::Status { reply })
    }

    /// What the shards have measured since the start, all together. Waits until each has had a turn.
    pub fn histograms(&self) -> Result<Box<ShardHistograms>, EngineError> {
        self.ask(|reply| Order::Measure { reply })
    }

    /// Stops: tells the trackers, lets sends in flight finish for at most `grace`, ends every thread.
    pub fn stop(mut self, grace: Duration) -> Result<(), EngineError> {
        self.end(grace)
    }

    /// The same engine for a service: any number of tasks on any runtime may have it.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    pub(crate) fn tell(&self, order: Order) -> Result<(), EngineError> {
        self.handle.tell_blocking(order)
    }

    pub(crate) fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.tell(order(reply))?;
        answer.blocking_recv().map_err(|_| EngineError::Gone)
    }

    fn end(&mut self, grace: Duration) -> Result<(), EngineError> {
        let Some(control) = self.control.take() else { return Ok(()) };
        let stopped = self.ask(|reply| Order::Stop { grace, reply });
        control.join().map_err(|_| EngineError::Gone)?;
        if !stopped? {
            return Err(EngineError::Shard("a shard did not end in time".to_owned()));
        }
        for shard in self.shards.drain(..) {
            shard.join().map_err(EngineError::Shard)?;
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end(Duration::ZERO) {
            tracing::error!(%error, "the engine did not stop cleanly");
        }
    }
}

/// The engine cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The torrent cannot be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// What was ordered of it cannot be done.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Control has ended.
    #[error("the engine has stopped")]
    Gone,
    /// A shard ended badly.
    #[error("{0}")]
    Shard(String),
}

/// What ties control and the shards together.
struct Wiring {
    bell: Arc<ControlBell>,
    events: Arc<mesh::EventMailbox>,
    links: Vec<Arc<ShardLink>>,
    doorbells: Vec<Arc<EventDoorbell>>,
}

impl Wiring {
    fn new(shard_count: usize) -> Result<Wiring, StartError> {
        let bell = ControlBell::new();
        let events = mesh::event_mailbox(bell.clone());
        let (mut links, mut doorbells) = (Vec::with_capacity(shard_count), Vec::with_capacity(shard_count));
        for _ in 0..shard_count {
            let doorbell = Arc::new(EventDoorbell::new().map_err(StartError::system("make an eventfd"))?);
            links.push(Arc::new(ShardLink::new(doorbell.clone(), events.clone())));
            doorbells.push(doorbell);
        }
        Ok(Wiring { bell, events, links, doorbells })
    }
}

fn random<const SIZE: usize>() -> Result<[u8; SIZE], StartError> {
    let mut bytes = [0; SIZE];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::System { action: "draw random bytes", source: std::io::Error::other(error) })?;
    Ok(bytes)
}

fn connections_per_shard(config: &Config, budget: &Budget, shard_count: usize) -> usize {
    let connections = config.connections.unwrap_or(budget.connections).min(budget.connections);
    (connections / shard_count).max(1)
}

/// What devices may read at once, as the operator wants it. Of two paths on one device the first one's number holds.
fn device_budgets(config: &Config, shard_count: usize) -> Result<DeviceBudgets, StartError> {
    let mut named = Vec::new();
    for (path, reads) in &config.device_reads {
        let found = std::fs::metadata(path).map_err(|source| StartError::DevicePath { path: path.clone(), source })?;
        named.push((found.dev(), *reads));
    }
    Ok(DeviceBudgets::with_limits(shard_count, DeviceBudgets::READS, &named))
}

/// The settings of shard 0; those of the others differ in number, core and seed.
fn first_shard(
    config: &Config,
    budget: &Budget,
    shard_count: usize,
    (start, peer_id, listen): (Instant, PeerId, &[SocketAddr]),
) -> Result<ShardConfig, StartError> {
    Ok(ShardConfig {
        shard: 0,
        core: 0,
        start,
        peer_id,
        client: config.client.as_str().into(),
        connection_limit: connections_per_shard(config, budget, shard_count),
        connections_per_address: config.connections_per_address,
        unsent_budget_bytes: budget.unsent_bytes / shard_count,
        listen: listen.to_vec(),
        listen_port: listen.first().map(SocketAddr::port),
        dht_port: listen.first().filter(|_| config.dht.is_some()).map(SocketAddr::port),
        dial_from: listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect(),
        pex: config.pex,
        write_buffer_bytes: WRITE_BUFFER_BYTES,
        open_file_limit: budget.open_files / shard_count,
        upload: Arc::new(RateLimiter::new(config.upload_bytes_per_s)),
        download: Arc::new(RateLimiter::new(config.download_bytes_per_s)),
        device_budgets: Arc::new(device_budgets(config, shard_count)?),
        names: Arc::default(),
        neighbours: Arc::default(),
        turn_delay: config.turn_delay,
        zero_copy: config.zero_copy,
        seed: u64::from_le_bytes(random()?),
    })
}

/// Control's thread, with the runtime that its tracker ends live on.
fn start_control(
    runtime: tokio::runtime::Runtime,
    control: Control,
    server: Option<TrackerServer>,
    core: Option<usize>,
) -> Result<JoinHandle<()>, StartError> {
    let work = move || {
        if let Some(core) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        runtime.block_on(async {
            control.run().await;
            if let Some(server) = server {
                server.stop().await;
            }
        });
        // A look-up or a look at a dead network disk may still wait; nobody waits for it any more.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("control".to_owned());
    thread.spawn(work).map_err(StartError::system("start control's thread"))
}
