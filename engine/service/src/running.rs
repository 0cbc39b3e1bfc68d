//! A service at work: its parts, how they begin and end. What a change of the settings does to them is in `reload`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use api::feeds::Board;
use api::operator::{OperatorServer, SocketSettings, WAITING_CALLS};
use catalogue::Catalogue;
use seedbox::{Engine, StateDir};
use settings::Settings;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::desk::{Desk, DeskHandle, Policy, World, restore};
use crate::feeds::{Feeds, Shelf};
use crate::http::Http;
use crate::publisher::{self, PublisherWorld, Publishers};
use crate::service::{Listening, Options, ServiceError};
use crate::subscribe::Subscriptions;
use crate::webhooks::{Reporter, Trouble, Webhooks};
use crate::{clock, operate, schedule, systemd};
use seedbox::EngineHandle;

/// How often it is looked whether the engine can go on, and said how things are.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How often the service manager is told how things are, if that is any news.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// What was started before.
pub(crate) struct Begun {
    pub(crate) state: StateDir,
    pub(crate) catalogue: Catalogue,
    pub(crate) engine: Arc<Engine>,
    pub(crate) start: Instant,
}

/// The service's parts.
pub(crate) struct Running {
    pub(crate) desk: DeskHandle,
    pub(crate) engine: EngineHandle,
    pub(crate) catalogue: Catalogue,
    pub(crate) started_at_s: i64,
    pub(crate) start: Instant,
    /// Those that hold. Locked while they are read again, so that two reloads do not cross.
    pub(crate) settings: Mutex<Arc<Settings>>,
    /// The same for whoever only looks.
    seen: SyncMutex<Arc<Settings>>,
    pub(crate) options: Options,
    pub(crate) http: Http,
    pub(crate) board: Arc<Board>,
    pub(crate) publishers: Publishers,
    listening: Listening,
    /// What ends with the service.
    pub(crate) ending: Mutex<Ending>,
}

#[derive(Default)]
pub(crate) struct Ending {
    operator: Option<OperatorServer>,
    pub(crate) webhooks: Option<Webhooks>,
    pub(crate) subscriptions: Option<Subscriptions>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Restores what the catalogue has, opens the listeners, and starts all that works by itself.
    pub(crate) async fn begin(
        begun: Begun,
        settings: Settings,
        options: Options,
    ) -> Result<Arc<Running>, ServiceError> {
        let Begun { state, catalogue, engine, start } = begun;
        let tracker_tiers = engine.tracker_tiers().to_vec();
        let sockets = Http::bind(&settings, &engine)?;
        let base_url = sockets.base_url(&settings);
        let board = Arc::new(Board::new(base_url.as_deref().unwrap_or_default()));
        let shelf = Arc::new(Shelf::new(catalogue.clone()));
        shelf.configure(&settings);
        let peers = engine.listen().to_vec();
        let tracker_service = engine.tracker_service().cloned();
        let handle = engine.handle();
        drop(engine);
        let fetches = StateDir::choose(Some(&state.path().join("fetches"))).ok_or(ServiceError::NoStateDir)?;
        let (desk, requests, events) = DeskHandle::new();
        let world = World {
            catalogue: catalogue.clone(),
            engine: handle.clone(),
            desk: desk.clone(),
            fetches,
            shelf: shelf.clone(),
            start,
        };
        let webhooks = Webhooks::start(catalogue.clone(), desk.events(), &settings)
            .map_err(|error| ServiceError::Listen(error.to_string()))?;
        let restoring = world.clone();
        let restored = tokio::task::spawn_blocking(move || restore(&restoring));
        let restored = restored.await.map_err(|_| ServiceError::BrokeOff)??;
        let torrents = restored.table.len();
        let feeds = Feeds::new(board.clone(), catalogue.clone(), &settings);
        let mut task = Desk::new(restored.table, Policy::new(&settings, None), world, feeds, requests, events);
        let engine_events = handle.events().map_err(|error| ServiceError::Engine(error.to_string()))?;
        let shown = task.begin().await?;
        tokio::spawn(task.run(engine_events));
        shown.await;
        tracing::info!(torrents, unfinished = restored.unfinished, "restored");

        let http = Http::start(sockets, &settings, tracker_service, board.clone(), shelf)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        let socket = socket(&settings);
        let operator =
            OperatorServer::start(&socket, calls).map_err(|error| ServiceError::Listen(error.to_string()))?;
        let listening = Listening { peers, tracker: tracker_tiers, http: base_url, socket: socket.path, torrents };
        let publishers = publish_trees(&settings, &desk, &catalogue, &state, &listening, webhooks.reporter()).await?;
        let settings = Arc::new(settings);
        let running = Arc::new(Running {
            desk,
            engine: handle,
            catalogue,
            started_at_s: clock::unix_s(),
            start,
            seen: SyncMutex::new(settings.clone()),
            settings: Mutex::new(settings),
            options,
            http,
            board,
            publishers,
            listening,
            ending: Mutex::default(),
        });
        let mut ending = running.ending.lock().await;
        ending.operator = Some(operator);
        let (catalogue, desk) = (running.catalogue.clone(), running.desk.clone());
        let (subscriptions, errors) = Subscriptions::start(catalogue, desk, webhooks.reporter(), &running.settings());
        for error in errors {
            tracing::error!("{error}");
        }
        ending.subscriptions = Some(subscriptions);
        ending.webhooks = Some(webhooks);
        ending.tasks.push(tokio::spawn(operate::operate(running.clone(), inbox)));
        ending.tasks.push(tokio::spawn(schedule::keep(running.clone())));
        ending.tasks.push(tokio::spawn(tell_status(running.clone())));
        ending.tasks.push(tokio::spawn(feed_watchdog(running.clone())));
        drop(ending);
        Ok(running)
    }

    /// Where it is reached.
    pub(crate) fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// The settings that hold.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets these settings hold.
    pub(crate) fn hold(&self, settings: &mut Arc<Settings>, new: Arc<Settings>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
        *settings = new;
    }

    /// Ends all but the desk.
    pub(crate) async fn end_parts(&self) {
        let mut ending = std::mem::take(&mut *self.ending.lock().await);
        let operator = async {
            if let Some(operator) = ending.operator.take() {
                operator.stop().await;
            }
        };
        let webhooks = async {
            if let Some(subscriptions) = ending.subscriptions.take() {
                subscriptions.stop().await;
            }
            if let Some(webhooks) = ending.webhooks.take() {
                webhooks.stop().await;
            }
        };
        // Those that bring torrents first: what they began is then known to those that tell of it.
        self.publishers.stop().await;
        tokio::join!(operator, webhooks, self.http.stop());
        for task in ending.tasks {
            task.abort();
        }
    }

    /// Comes true when the engine cannot go on: the reason.
    pub(crate) async fn fatal(&self) -> String {
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            match self.engine.summary().await {
                Ok(summary) => {
                    if let Some(reason) = summary.fatal {
                        return reason;
                    }
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    /// How things are, in a line.
    pub(crate) async fn status_line(&self) -> String {
        let Ok(summary) = self.engine.summary().await else { return "the engine has stopped".to_owned() };
        let torrents = self.desk.count().await.unwrap_or_default();
        let (peers, rate) = (summary.peers, summary.upload_bytes_per_s);
        format!("{torrents} torrents, {peers} peers, {:.1} MB/s up", rate as f64 / 1e6)
    }

    /// Asks everybody whether they are there.
    async fn pulse(&self) -> Result<(), String> {
        self.desk.ping().await.map_err(|error| format!("the desk: {error}"))?;
        self.engine.pulse().await.map_err(|error| format!("the engine: {error}"))
    }
}

/// Lets the trees of the settings publish themselves; what goes wrong in them is told to whoever wants to hear of errors.
async fn publish_trees(
    settings: &Settings,
    desk: &DeskHandle,
    catalogue: &Catalogue,
    state: &StateDir,
    listening: &Listening,
    reporter: Reporter,
) -> Result<Publishers, ServiceError> {
    let (mut world, mut troubles) = PublisherWorld::new(desk.clone(), catalogue.clone());
    world.own_trackers = own_trackers(settings, listening);
    world.files_url.clone_from(&listening.http);
    world.reserved.push(state.path().to_path_buf());
    tokio::spawn(async move {
        loop {
            match troubles.recv().await {
                Ok(publisher::Trouble { tree, path, reason }) => {
                    let what = path.map(String::from).unwrap_or_default();
                    reporter.report(Trouble { label: tree, what, reason });
                }
                Err(RecvError::Lagged(count)) => tracing::error!("{count} more errors of trees are not told"),
                Err(RecvError::Closed) => return,
            }
        }
    });
    let publishers = Publishers::start(world, settings).await;
    publishers.map_err(|error| ServiceError::Listen(error.to_string()))
}

/// The announce URLs that new torrents name: those of the settings, else those of our addresses, a tier for each family.
fn own_trackers(settings: &Settings, listening: &Listening) -> Vec<Vec<String>> {
    match settings.tracker.external_urls.is_empty() {
        true => listening.tracker.clone(),
        false => vec![settings.tracker.external_urls.clone()],
    }
}

async fn tell_status(running: Arc<Running>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(STATUS_PERIOD).await;
        let line = running.status_line().await;
        if line != told {
            systemd::status(line.clone()).await;
            told = line;
        }
    }
}

async fn feed_watchdog(running: Arc<Running>) {
    systemd::feed_watchdog(|| running.pulse()).await;
}

/// The operator's socket: where the settings say, what systemd gives, or where such things are.
fn socket(settings: &Settings) -> SocketSettings {
    let control = &settings.control;
    let path = control.socket.clone().unwrap_or_else(default_socket);
    SocketSettings { path, mode: control.mode.0, group: control.group.clone() }
}

fn default_socket() -> PathBuf {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let first = |list: PathBuf| std::env::split_paths(&list).next();
    let folder = from("RUNTIME_DIRECTORY").and_then(first).or_else(|| match rustix::process::geteuid().is_root() {
        true => Some(PathBuf::from("/run/spillway")),
        false => Some(from("XDG_RUNTIME_DIR")?.join("spillway")),
    });
    folder.unwrap_or_else(|| std::env::temp_dir().join("spillway")).join("control.sock")
}
