//! How everybody speaks to the desk: a request and its answer, and the stream of what happens.

use std::path::PathBuf;
use std::sync::Arc;

use storage::Meter;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    DeskError, DeskEvent, Embargo, Filter, LimitChange, Moved, NewFetch, NewRelease, NewTorrent, Page, TorrentLine,
    TorrentNumber,
};

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
        answer: Answer<TorrentNumber>,
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
    /// Change who may fetch a release before its time.
    SetEmbargo {
        /// Which torrent.
        number: TorrentNumber,
        /// Who may; nobody knows of one any more if there is none.
        embargo: Option<Embargo>,
        /// Where the answer goes.
        answer: Answer<()>,
    },
    /// Take an operator's torrent.
    Add {
        /// The torrent.
        torrent: Box<NewTorrent>,
        /// Where the answer goes.
        answer: Answer<TorrentNumber>,
    },
    /// Take a subscription's torrent.
    Fetch {
        /// The torrent.
        fetch: Box<NewFetch>,
        /// Where the answer goes.
        answer: Answer<TorrentNumber>,
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
    /// Let it rest until it is started.
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
    /// Change its terms.
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
        /// The folder that it goes below.
        to: PathBuf,
        /// Tells how far it is.
        meter: Arc<Meter>,
        /// Where the answer goes.
        answer: Answer<Moved>,
    },
    /// Tell which torrent is meant.
    Find {
        /// A number, an info-hash or its beginning, or a name.
        asked: String,
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
        /// Which.
        filter: Box<Filter>,
        /// Where the answer goes.
        answer: Answer<Page>,
    },
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
    pub async fn record(&self, release: NewRelease) -> Result<TorrentNumber, DeskError> {
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

    /// Changes who may fetch a release before its time; `None` opens it to everybody.
    pub async fn set_embargo(&self, number: TorrentNumber, embargo: Option<Embargo>) -> Result<(), DeskError> {
        self.ask(|answer| Request::SetEmbargo { number, embargo, answer }).await
    }

    /// Takes a torrent: what is there of its content is verified, what lacks is fetched, all is seeded. Returns when the
    /// catalogue has it.
    pub async fn add(&self, torrent: NewTorrent) -> Result<TorrentNumber, DeskError> {
        let torrent = Box::new(torrent);
        self.ask(|answer| Request::Add { torrent, answer }).await
    }

    /// Fetches a torrent and seeds it. Returns when the catalogue has it.
    pub async fn fetch(&self, fetch: NewFetch) -> Result<TorrentNumber, DeskError> {
        let fetch = Box::new(fetch);
        self.ask(|answer| Request::Fetch { fetch, answer }).await
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

    /// Reads all of a torrent's content and compares it; returns when that has begun.
    pub async fn recheck(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.ask(|answer| Request::Recheck { number, answer }).await
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

    /// Moves a torrent's content below another folder; returns when that is done. `meter` tells how far it is.
    pub async fn move_to(&self, number: TorrentNumber, to: PathBuf, meter: Arc<Meter>) -> Result<Moved, DeskError> {
        self.ask(|answer| Request::Move { number, to, meter, answer }).await
    }

    /// The torrent with this number, info-hash (or an unambiguous beginning of one), or name.
    pub async fn find(&self, asked: &str) -> Result<TorrentNumber, DeskError> {
        let asked = asked.to_owned();
        self.ask(|answer| Request::Find { asked, answer }).await
    }

    /// How one torrent is.
    pub async fn line(&self, number: TorrentNumber) -> Result<TorrentLine, DeskError> {
        self.ask(|answer| Request::Line { number, answer }).await
    }

    /// Some of the torrents, by number.
    pub async fn list(&self, filter: Filter) -> Result<Page, DeskError> {
        let filter = Box::new(filter);
        self.ask(|answer| Request::List { filter, answer }).await
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
