//! The daemon as a whole: started from settings, told to read them again, stopped within a bounded time. It lives on a
//! thread of its own with one tokio runtime; the engine, the catalogue's writer and the blocking pool have theirs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use catalogue::{Catalogue, CatalogueError};
use seedbox::{Engine, StateDir};
use settings::Settings;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::desk::DeskError;
use crate::running::{Begun, Running};
use crate::{cores, engine_config, systemd};

/// What ends besides the engine and the desk: listeners, publishers, deliveries. All at once.
const PARTS_LIMIT: Duration = Duration::from_secs(5);
/// How long the desk may take to end what it is at, and to keep totals.
const DESK_LIMIT: Duration = Duration::from_secs(5);
/// The engine's own slack beyond its grace, and the catalogue's last transaction.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Reads the settings again, wherever they come from; the error is one line.
pub type Reread = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Shows other log lines from now on; the error is one line.
pub type SetLogFilter = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What the program does for the service.
#[derive(Clone)]
pub struct Options {
    /// Reads the settings again.
    pub reread: Reread,
    /// Applies a changed `log.filter`.
    pub set_log_filter: SetLogFilter,
}

/// Where a service is reached.
#[derive(Debug, Clone, Default)]
pub struct Listening {
    /// Addresses of the engine.
    pub peers: Vec<SocketAddr>,
    /// Announce URLs of our own tracker, a tier for each family.
    pub tracker: Vec<Vec<String>>,
    /// Where feeds and releases are, without a slash at the end.
    pub http: Option<String>,
    /// The operator's socket.
    pub socket: PathBuf,
    /// Torrents that were restored.
    pub torrents: usize,
}

/// A running service. One that is dropped without being stopped ends with the process.
pub struct Service {
    thread: JoinHandle<Result<(), ServiceError>>,
    orders: mpsc::UnboundedSender<ServiceOrder>,
    listening: Listening,
}

/// What the program wants of the service.
pub(crate) enum ServiceOrder {
    /// Read the settings again.
    Reload,
    /// End; sends under way may take so long.
    Stop(Duration),
}

/// The service cannot start, or go on. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nobody says where the state is to be.
    #[error("there is no place for the state: set engine.state_dir, or HOME")]
    NoStateDir,
    /// The state cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The engine cannot start, or did not end well.
    #[error("{0}")]
    Engine(String),
    /// The desk cannot begin.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A listener, a certificate, the operator's socket.
    #[error("{0}")]
    Listen(String),
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the engine has ended by itself.
    #[error("{0}")]
    Fatal(String),
    /// Our own mistake: it ended in a way that is logged above.
    #[error("the service broke off")]
    BrokeOff,
}

impl Service {
    /// Starts, and returns when peers, subscribers and operators can come and all torrents of the last run are there.
    pub fn start(settings: Settings, options: Options) -> Result<Service, ServiceError> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (ready, readiness) = sync_channel(1);
        let work = move || {
            let parts = Parts::start(&settings)?;
            parts.run(settings, options, inbox, move |listening| drop(ready.send(listening)))
        };
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(work);
        let thread = thread.map_err(|source| ServiceError::System { action: "start a thread", source })?;
        match wait(&readiness) {
            Some(listening) => Ok(Service { thread, orders, listening }),
            None => match thread.join() {
                Ok(Ok(())) | Err(_) => Err(ServiceError::BrokeOff),
                Ok(Err(error)) => Err(error),
            },
        }
    }

    /// Where it is reached.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Reads the settings again and applies what can be; how that went is logged.
    pub fn reload(&self) {
        // One that has ended needs no settings.
        let _ = self.orders.send(ServiceOrder::Reload);
    }

    /// Whether it has ended by itself; [`Service::stop`] says why.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends in good order: trackers are told, sends under way may take `grace`, totals are kept.
    pub fn stop(self, grace: Duration) -> Result<(), ServiceError> {
        let _ = self.orders.send(ServiceOrder::Stop(grace));
        self.thread.join().unwrap_or(Err(ServiceError::BrokeOff))
    }
}

fn wait(readiness: &Receiver<Listening>) -> Option<Listening> {
    // A thread that ends drops its end.
    readiness.recv().ok()
}

/// What has threads of its own: started before the runtime has anything to do, ended after it.
struct Parts {
    state: StateDir,
    catalogue: Catalogue,
    engine: Arc<Engine>,
    runtime: Runtime,
    start: Instant,
}

impl Parts {
    fn start(settings: &Settings) -> Result<Parts, ServiceError> {
        let start = Instant::now();
        let state = StateDir::choose(settings.engine.state_dir.as_deref()).ok_or(ServiceError::NoStateDir)?;
        let (catalogue, rebuilt) = Catalogue::open(state.path())?;
        if let Some(rebuilt) = rebuilt {
            tracing::error!("{rebuilt}");
        }
        let system = |action| move |source| ServiceError::System { action, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("service-pool")
            .build()
            .map_err(system("make a runtime"))?;
        let config = engine_config::config(settings, &state);
        // Before the engine: it takes its cores from those that this thread may run on.
        let shards = engine_config::shard_cores(settings);
        let engine = Engine::start(&config).map_err(|error| ServiceError::Engine(error.to_string()))?;
        cores::leave_to(&shards);
        Ok(Parts { state, catalogue, engine: Arc::new(engine), runtime, start })
    }

    /// Runs until it is told to stop, or cannot go on.
    fn run(
        self,
        settings: Settings,
        options: Options,
        orders: mpsc::UnboundedReceiver<ServiceOrder>,
        ready: impl FnOnce(Listening),
    ) -> Result<(), ServiceError> {
        let Parts { state, catalogue, engine, runtime, start } = self;
        let begun = Begun { state, catalogue: catalogue.clone(), engine: engine.clone(), start };
        let ended = runtime.block_on(async {
            let running = Running::begin(begun, settings, options).await?;
            ready(running.listening());
            running.serve(orders).await
        });
        // What still waits for a dead disk is not waited for.
        runtime.shutdown_background();
        let stopped = stop_engine(engine, ended.as_ref().copied().unwrap_or_default());
        catalogue.close();
        ended.map(drop).and(stopped)
    }
}

/// Jobs that have been broken off may hold the engine for a moment more.
fn stop_engine(engine: Arc<Engine>, grace: Duration) -> Result<(), ServiceError> {
    match Arc::try_unwrap(engine) {
        Ok(engine) => engine.stop(grace).map_err(|error| ServiceError::Engine(error.to_string())),
        Err(_) => Ok(()),
    }
}

/// What a stop takes at most, as the service manager is told.
pub(crate) fn stop_limit(grace: Duration) -> Duration {
    PARTS_LIMIT + DESK_LIMIT + END_LIMIT + grace
}

impl Running {
    /// Until somebody orders a stop, or the engine cannot go on. The answer is the grace that is left for the engine.
    async fn serve(
        self: &Arc<Self>,
        mut orders: mpsc::UnboundedReceiver<ServiceOrder>,
    ) -> Result<Duration, ServiceError> {
        systemd::ready(self.status_line().await).await;
        let reread = Arc::new(Notify::new());
        let reloading = self.reload_whenever(reread.clone());
        let ended = loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(ServiceOrder::Reload) => reread.notify_one(),
                    Some(ServiceOrder::Stop(grace)) => break Ok(grace),
                    None => break Ok(Duration::ZERO),
                },
                reason = self.fatal() => break Err(ServiceError::Fatal(reason)),
            }
        };
        reloading.abort();
        let grace = ended.as_ref().copied().unwrap_or_default();
        systemd::stopping(stop_limit(grace)).await;
        if tokio::time::timeout(PARTS_LIMIT, self.end_parts()).await.is_err() {
            tracing::warn!("not everything has ended within {PARTS_LIMIT:?}");
        }
        if tokio::time::timeout(DESK_LIMIT, self.desk.end()).await.is_err() {
            tracing::error!(
                "the desk has not ended within {DESK_LIMIT:?}; what it was at is gone on with at the next start"
            );
        }
        ended
    }

    /// A reload may wait for a tree that hangs; an order to stop does not. What is asked for meanwhile is one more reload.
    fn reload_whenever(self: &Arc<Self>, asked: Arc<Notify>) -> AbortHandle {
        let running = self.clone();
        let reloading = async move {
            loop {
                asked.notified().await;
                // How it went was logged.
                drop(running.reload().await);
            }
        };
        tokio::spawn(reloading).abort_handle()
    }
}
