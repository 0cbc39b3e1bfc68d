//! How everybody speaks to the desk: a request and its answer, and the stream of what happens.

use std::path::PathBuf;
use std::sync::Arc;

use api::operator::types::TorrentRef;
use catalogue::TorrentNumber;
use settings::{Rates, Settings};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{DeskError, DeskEvent, LimitChange, Moved, NewRelease, NewTorrent, Page, Recorded, Sums, TorrentLine};

/// Requests that wait for the desk; whoever asks more waits until there is room.
const WAITING_REQUESTS: usize = 256;

/// Events that a listener may be behind; it is told how many more it lost.
const UNREAD_EVENTS: usize = 4096;

/// Speaks to the desk. A request that was taken is carried out even if nobody waits for its answer any more.
#[derive(Debug, Clone)]
pub struct DeskHandle {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<DeskEvent>,
}

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, DeskError>>;

/// What the desk may be asked; the methods of [`DeskHandle`] say more of each.
#[derive(Debug)]
pub enum Request {
    /// Keep a release in the catalogue.
    Record {
        /// The release.
        release: Box<NewRelease>,
        /// Where the answer goes.
        answer: Answer<Recorded>,
    },
    /// Serve, announce and name in its feeds a release that was kept.
    Open {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// The opposite of that.
    Withdraw {
        /// Which torrent.
        number: TorrentNumber,
        /// Why.
        reason: String,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Drop a release that is not open.
    Forget {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Change when a release opens to everybody.
    SetEmbargo {
        /// Which torrent.
        number: TorrentNumber,
        /// In seconds since 1970; none for at once.
        opens_at_s: Option<i64>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Take a torrent.
    Add {
        /// The torrent.
        torrent: Box<NewTorrent>,
        /// Where the answer goes.
        answer: Answer<TorrentNumber>,
    },
    /// Say whether a link's torrent may be written, now that it is known what its content is called.
    Admit {
        /// Which torrent.
        number: TorrentNumber,
        /// The name of its content.
        name: Box<str>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Drop a torrent.
    Remove {
        /// Which torrent.
        number: TorrentNumber,
        /// Its content goes too.
        deletes_content: bool,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Let a torrent run.
    Start {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Let it be until it is started.
    Stop {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Read and compare its content.
    Recheck {
        /// Which torrent.
        number: TorrentNumber,
        /// What is wrong or lacking is fetched.
        fetches: bool,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Announce it now.
    Announce {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Change its limits.
    Limit {
        /// Which torrent.
        number: TorrentNumber,
        /// What is to change.
        change: Box<LimitChange>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Move its content.
    Move {
        /// Which torrent.
        number: TorrentNumber,
        /// The folder that it goes into.
        folder: PathBuf,
        /// Where the answer goes.
        answer: Answer<Moved>,
    },
    /// Tell which torrent is meant.
    Find {
        /// As the operator names it.
        asked: TorrentRef,
        /// Where the answer goes.
        answer: Answer<TorrentNumber>,
    },
    /// Tell how one torrent is.
    Line {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<TorrentLine>,
    },
    /// Tell how several are.
    List {
        /// Those after this one.
        after: Option<TorrentNumber>,
        /// At most so many.
        limit: usize,
        /// Where the answer goes.
        answer: Answer<Page>,
    },
    /// Tell how all are together.
    Sums {
        /// Where the answer goes.
        answer: Answer<Sums>,
    },
    /// Tell what the engine calls a torrent, if it has it.
    Engine {
        /// Which torrent.
        number: TorrentNumber,
        /// Where the answer goes.
        answer: Answer<Option<mesh::TorrentId>>,
    },
    /// Go by these settings from now on.
    Configure {
        /// The settings.
        settings: Arc<Settings>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Let groups have these rates from now on.
    SetRates {
        /// The rates.
        rates: Box<Rates>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Tell how many torrents there are.
    Count {
        /// Where the answer goes.
        answer: Answer<usize>,
    },
    /// Say that you are there.
    Ping {
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// End, in good order.
    End {
        /// Where the answer goes.
        answer: Answer<()>,
    },
}

impl Request {
    /// The torrent that it is about, if it is about one that should be there.
    pub fn number(&self) -> Option<TorrentNumber> {
        match self {
            Request::Open { number, .. }
            | Request::Withdraw { number, .. }
            | Request::Forget { number, .. }
            | Request::SetEmbargo { number, .. }
            | Request::Admit { number, .. }
            | Request::Remove { number, .. }
            | Request::Start { number, .. }
            | Request::Stop { number, .. }
            | Request::Recheck { number, .. }
            | Request::Announce { number, .. }
            | Request::Limit { number, .. }
            | Request::Move { number, .. }
            | Request::Line { number, .. }
            | Request::Engine { number, .. } => Some(*number),
            Request::Record { .. }
            | Request::Add { .. }
            | Request::Find { .. }
            | Request::List { .. }
            | Request::Sums { .. }
            | Request::Configure { .. }
            | Request::SetRates { .. }
            | Request::Count { .. }
            | Request::Ping { .. }
            | Request::End { .. } => None,
        }
    }

    /// Whether it may be answered while something else is done to the torrent. (Who asks for admission is what is done.)
    pub fn only_reads(&self) -> bool {
        matches!(self, Request::Admit { .. } | Request::Line { .. } | Request::Engine { .. })
    }

    /// Answers that it is not done.
    pub fn refuse(self, error: DeskError) {
        // Whoever asked may have gone.
        match self {
            Request::Record { answer, .. } => drop(answer.send(Err(error))),
            Request::Open { answer, .. } => drop(answer.send(Err(error))),
            Request::Withdraw { answer, .. } => drop(answer.send(Err(error))),
            Request::Forget { answer, .. } => drop(answer.send(Err(error))),
            Request::SetEmbargo { answer, .. } => drop(answer.send(Err(error))),
            Request::Add { answer, .. } => drop(answer.send(Err(error))),
            Request::Admit { answer, .. } => drop(answer.send(Err(error))),
            Request::Remove { answer, .. } => drop(answer.send(Err(error))),
            Request::Start { answer, .. } => drop(answer.send(Err(error))),
            Request::Stop { answer, .. } => drop(answer.send(Err(error))),
            Request::Recheck { answer, .. } => drop(answer.send(Err(error))),
            Request::Announce { answer, .. } => drop(answer.send(Err(error))),
            Request::Limit { answer, .. } => drop(answer.send(Err(error))),
            Request::Move { answer, .. } => drop(answer.send(Err(error))),
            Request::Find { answer, .. } => drop(answer.send(Err(error))),
            Request::Line { answer, .. } => drop(answer.send(Err(error))),
            Request::List { answer, .. } => drop(answer.send(Err(error))),
            Request::Sums { answer } => drop(answer.send(Err(error))),
            Request::Engine { answer, .. } => drop(answer.send(Err(error))),
            Request::Configure { answer, .. } => drop(answer.send(Err(error))),
            Request::SetRates { answer, .. } => drop(answer.send(Err(error))),
            Request::Count { answer, .. } => drop(answer.send(Err(error))),
            Request::Ping { answer, .. } => drop(answer.send(Err(error))),
            Request::End { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

impl DeskHandle {
    /// A handle, the requests that come through it and its clones, and where what happens is told. Whoever takes the
    /// requests is the desk.
    pub fn new() -> (DeskHandle, mpsc::Receiver<Request>, broadcast::Sender<DeskEvent>) {
        let (requests, inbox) = mpsc::channel(WAITING_REQUESTS);
        let (events, _) = broadcast::channel(UNREAD_EVENTS);
        (DeskHandle { requests, events: events.clone() }, inbox, events)
    }

    /// Keeps a release in the catalogue, durable when this returns, without serving or announcing it: its output files
    /// are written next.
    pub async fn record(&self, release: NewRelease) -> Result<Recorded, DeskError> {
        let release = Box::new(release);
        self.ask(|answer| Request::Record { release, answer }).await
    }

    /// Serves and announces a release, lets our own tracker know it and names it in its feeds, all in one step; with an
    /// embargo, only for those who may have it.
    pub async fn open(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Open { number, answer }).await
    }

    /// The opposite of [`DeskHandle::open`], backwards: feeds, trackers, peers. The release stays known until it is
    /// forgotten, so that its output files can be removed even after a crash.
    pub async fn withdraw(&self, number: TorrentNumber, reason: &str) -> Result<(), DeskError> {
        let reason = reason.to_owned();
        self.ask(|answer| Request::Withdraw { number, reason, answer }).await
    }

    /// Drops a withdrawn release, or one that was never opened, from the catalogue.
    pub async fn forget(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Forget { number, answer }).await
    }

    /// Changes when a release opens to everybody, in seconds since 1970; `None` is now. One that is open stays open.
    pub async fn set_embargo(&self, number: TorrentNumber, opens_at_s: Option<i64>) -> Result<(), DeskError> {
        self.ask(|answer| Request::SetEmbargo { number, opens_at_s, answer }).await
    }

    /// Takes a torrent: what is there of its content is verified, what lacks is fetched, all is seeded. Returns when the
    /// catalogue has it.
    pub async fn add(&self, torrent: NewTorrent) -> Result<TorrentNumber, DeskError> {
        let torrent = Box::new(torrent);
        self.ask(|answer| Request::Add { torrent, answer }).await
    }

    /// Whether a link's torrent, which turned out to be called `name`, may be written. From there on its place is taken. Blocks.
    pub fn admit(&self, number: TorrentNumber, name: &str) -> Result<(), DeskError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Admit { number, name: name.into(), answer };
        self.requests.blocking_send(request).map_err(|_| DeskError::Stopping)?;
        answered.blocking_recv().map_err(|_| DeskError::Stopping)?
    }

    /// Drops a torrent, and its content too if that is wanted.
    pub async fn remove(&self, number: TorrentNumber, deletes_content: bool) -> Result<(), DeskError> {
        self.ask(|answer| Request::Remove { number, deletes_content, answer }).await
    }

    /// Serves or fetches a torrent that was stopped or has failed.
    pub async fn start(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Start { number, answer }).await
    }

    /// Serves, fetches and announces a torrent no longer, until it is started.
    pub async fn stop(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Stop { number, answer }).await
    }

    /// Reads all of a torrent's content and compares it; returns when that has begun. What is wrong or lacking is an error of
    /// the torrent, or is fetched.
    pub async fn recheck(&self, number: TorrentNumber, fetches: bool) -> Result<(), DeskError> {
        self.ask(|answer| Request::Recheck { number, fetches, answer }).await
    }

    /// Announces a torrent to all its trackers now.
    pub async fn announce(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Announce { number, answer }).await
    }

    /// Changes how a torrent is uploaded.
    pub async fn limit(&self, number: TorrentNumber, change: LimitChange) -> Result<(), DeskError> {
        let change = Box::new(change);
        self.ask(|answer| Request::Limit { number, change, answer }).await
    }

    /// Moves a torrent's content into another folder, under the name that it has; returns when that is done.
    pub async fn move_to(&self, number: TorrentNumber, folder: PathBuf) -> Result<Moved, DeskError> {
        self.ask(|answer| Request::Move { number, folder, answer }).await
    }

    /// The torrent that an operator means: a number, an info-hash or an unambiguous beginning of one, or a name.
    pub async fn find(&self, asked: &TorrentRef) -> Result<TorrentNumber, DeskError> {
        let asked = asked.clone();
        self.ask(|answer| Request::Find { asked, answer }).await
    }

    /// How one torrent is.
    pub async fn line(&self, number: TorrentNumber) -> Result<TorrentLine, DeskError> {
        self.ask(|answer| Request::Line { number, answer }).await
    }

    /// At most `limit` of the torrents after a number.
    pub async fn list(&self, after: Option<TorrentNumber>, limit: usize) -> Result<Page, DeskError> {
        self.ask(|answer| Request::List { after, limit, answer }).await
    }

    /// How all torrents are together.
    pub async fn sums(&self) -> Result<Sums, DeskError> {
        self.ask(|answer| Request::Sums { answer }).await
    }

    /// What the engine calls a torrent, if it has it.
    pub async fn engine_id(&self, number: TorrentNumber) -> Result<Option<mesh::TorrentId>, DeskError> {
        self.ask(|answer| Request::Engine { number, answer }).await
    }

    /// Goes by these settings from now on, as far as they say something of torrents and feeds.
    pub async fn configure(&self, settings: Arc<Settings>) -> Result<(), DeskError> {
        self.ask(|answer| Request::Configure { settings, answer }).await
    }

    /// Lets groups have these rates from now on.
    pub async fn set_rates(&self, rates: Rates) -> Result<(), DeskError> {
        let rates = Box::new(rates);
        self.ask(|answer| Request::SetRates { rates, answer }).await
    }

    /// How many torrents there are.
    pub async fn count(&self) -> Result<usize, DeskError> {
        self.ask(|answer| Request::Count { answer }).await
    }

    /// Returns when the desk has had a turn.
    pub async fn ping(&self) -> Result<(), DeskError> {
        self.ask(|answer| Request::Ping { answer }).await
    }

    /// Ends the desk: what is under way is finished or broken off in good order, totals are kept, nothing more is taken.
    pub async fn end(&self) -> Result<(), DeskError> {
        self.ask(|answer| Request::End { answer }).await
    }

    /// What happens from now on. Whoever falls behind by many is told how many it lost.
    pub fn events(&self) -> broadcast::Receiver<DeskEvent> {
        self.events.subscribe()
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, DeskError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| DeskError::Stopping)?;
        answered.await.map_err(|_| DeskError::Stopping)?
    }
}
