//! The virtual peer: a seed on the wire to the shard, ranges to the server behind it. Every request ends in its block or in
//! a reject, as the fast extension (BEP 6) wants it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metainfo::{BlockRange, FileLayout};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use wire::{ExtensionHandshake, Handshake, MAX_BLOCK_BYTES, Message, PeerId, Reserved};

use super::Ended;
use super::fetch::{FetchError, FetchEvent, Source, fetch};
use super::ledger::Ledger;
use super::link::{Heard, Link, LinkError};
use super::plan::{MAX_RUN_BYTES, Pending};

/// Requests that are held, waiting and under way; the rest is rejected. Four connections with a whole run each, 16 MiB.
pub(super) const MAX_REQUESTS: usize = 1024;
/// Blocks between all fetches and the socket.
const MAX_READY_BLOCKS: usize = 32;
/// How long the first requests wait for their neighbours while nothing is under way.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// How often the shard hears that we are there.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(60);
/// Runs without a failure after which one more connection is tried again.
const RUNS_BEFORE_GROWTH: u32 = 16;

/// One connection to the shard.
pub(super) struct Peer {
    source: Arc<Source>,
    ledger: Arc<Ledger>,
    link: Link,
    pending: Pending,
    fetches: Vec<Fetching>,
    tasks: JoinSet<()>,
    events: (mpsc::Sender<FetchEvent>, mpsc::Receiver<FetchEvent>),
    phase: Phase,
    /// How many fetches may be under way: as many as the server bears.
    connections: usize,
    good_runs: u32,
    next_fetch: u64,
    gather_until: Instant,
    keep_alive_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Requests are taken.
    Open,
    /// The server failed and is left alone until then.
    BackedOff(Instant),
    /// It lacks a file: what is under way ends, then the connection does.
    Draining,
}

/// A run under way.
struct Fetching {
    id: u64,
    /// What has not come yet, in order, and whether it is still asked for.
    due: VecDeque<(BlockRange, bool)>,
    due_bytes: u64,
    task: AbortHandle,
}

impl Peer {
    pub(super) fn new(source: Arc<Source>, ledger: Arc<Ledger>, socket: UnixStream) -> Peer {
        let now = Instant::now();
        Peer {
            link: Link::new(socket, source.torrent.layout().piece_count()),
            pending: Pending::default(),
            fetches: Vec::new(),
            tasks: JoinSet::new(),
            events: mpsc::channel(MAX_READY_BLOCKS),
            phase: Phase::Open,
            connections: source.clients.config.connections.max(1),
            good_runs: 0,
            next_fetch: 0,
            gather_until: now,
            keep_alive_at: now + KEEP_ALIVE_TIME,
            source,
            ledger,
        }
    }

    /// Serves the shard until one side has enough.
    pub(super) async fn run(mut self, peer_id: PeerId) -> Ended {
        match self.greet(peer_id).await {
            Ok(()) => match self.serve().await {
                Err(ended) => ended,
            },
            Err(ended) => ended,
        }
    }

    async fn greet(&mut self, peer_id: PeerId) -> Result<(), Ended> {
        let torrent = Arc::clone(&self.source.torrent);
        let Some(info_hash) = torrent.info_hashes().next() else {
            return Err(Ended::Protocol("the torrent has no info-hash".to_owned()));
        };
        let reserved = Reserved::EXTENDED.with(Reserved::FAST);
        self.link.push(Bytes::copy_from_slice(&Handshake { reserved, info_hash, peer_id }.encode()));
        let theirs = loop {
            self.link.flush()?;
            if let Some(handshake) = self.link.take_handshake()? {
                break handshake;
            }
            self.link.ready().await.map_err(LinkError::from)?;
            self.link.receive()?;
        };
        if !torrent.info_hashes().any(|known| known == theirs.info_hash) {
            return Err(Ended::Protocol("a handshake for another torrent".to_owned()));
        }
        if !theirs.reserved.has(Reserved::FAST) {
            return Err(Ended::Protocol("no fast extension".to_owned()));
        }
        if theirs.reserved.has(Reserved::EXTENDED) {
            let mut handshake = Vec::new();
            let client = format!("web seed {}", self.source.urls.host());
            let ours = ExtensionHandshake {
                metadata_size: None,
                takes_pex: false,
                wants_metadata: false,
                upload_only: true,
                request_queue_limit: MAX_REQUESTS as u32,
                client: &client,
                your_ip: None,
                listen_port: None,
            };
            ours.encode(&mut handshake);
            self.link.push(handshake.into());
        }
        match self.ledger.bitfield(self.layout()) {
            None => self.link.send(Message::HaveAll),
            Some(bits) => self.link.send(Message::Bitfield(&bits)),
        }
        match self.ledger.backed_off_until() {
            None => self.link.send(Message::Unchoke),
            Some(until) => self.phase = Phase::BackedOff(until.into()),
        }
        Ok(())
    }

    async fn serve(&mut self) -> Result<Infallible, Ended> {
        loop {
            self.handle_messages()?;
            self.handle_time();
            self.start_fetches();
            self.link.flush()?;
            if self.phase == Phase::Draining && self.fetches.is_empty() && self.link.is_flushed() {
                return Err(self.ledger.failure().map_or(Ended::FilesMissing, Ended::Failed));
            }
            let wake_at = self.wake_at();
            tokio::select! {
                ready = self.link.ready() => {
                    ready.map_err(LinkError::from)?;
                    self.link.flush()?;
                    while self.link.receive()? {}
                }
                // There is always a sender, our own.
                Some(event) = self.events.1.recv(), if self.link.has_room() => {
                    self.handle_fetch(event)?;
                    while self.link.has_room() && let Ok(event) = self.events.1.try_recv() {
                        self.handle_fetch(event)?;
                    }
                }
                () = sleep_until(wake_at) => {}
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    fn handle_messages(&mut self) -> Result<(), Ended> {
        while self.link.has_room()
            && let Some(heard) = self.link.take_message()?
        {
            match heard {
                Heard::Request { index, begin, length } => {
                    let block = self.layout().block(index, begin, length).filter(|_| length <= MAX_BLOCK_BYTES);
                    let Some(block) = block else {
                        let what = format!("a request for {length} bytes at {begin} of piece {index}");
                        return Err(Ended::Protocol(what));
                    };
                    self.handle_request(block);
                }
                Heard::Cancel { index, begin, length } => {
                    if let Some(block) = self.layout().block(index, begin, length) {
                        self.handle_cancel(block);
                    }
                }
                Heard::Other => {}
            }
        }
        Ok(())
    }

    fn handle_request(&mut self, block: BlockRange) {
        let source = Arc::clone(&self.source);
        let layout = source.torrent.layout();
        let is_known = self.fetches.iter().any(|fetch| fetch.wants(block));
        if is_known || self.pending.contains(layout, block) {
            return;
        }
        let held = self.pending.len() + self.fetches.iter().map(|fetch| fetch.due.len()).sum::<usize>();
        if self.phase != Phase::Open || held >= MAX_REQUESTS || self.ledger.lacks(layout, block) {
            return self.reject(block);
        }
        if self.pending.len() == 0 {
            self.gather_until = Instant::now() + GATHER_TIME;
        }
        self.pending.push(layout, block);
    }

    /// The block may be on its way, but nobody wants it any more; whether it would still come is not worth telling.
    fn handle_cancel(&mut self, block: BlockRange) {
        let source = Arc::clone(&self.source);
        if self.pending.remove(source.torrent.layout(), block) {
            return self.reject(block);
        }
        let due =
            |fetch: &mut Fetching| fetch.due.iter_mut().find(|due| **due == (block, true)).map(|due| due.1 = false);
        let Some(at) = self.fetches.iter_mut().position(|fetch| due(fetch).is_some()) else { return };
        if self.fetches[at].due.iter().all(|(_, is_wanted)| !is_wanted) {
            self.fetches.remove(at).task.abort();
        }
        self.reject(block);
    }

    fn handle_fetch(&mut self, event: FetchEvent) -> Result<(), Ended> {
        let id = match &event {
            FetchEvent::Block { fetch, .. } | FetchEvent::Done { fetch, .. } => *fetch,
        };
        // What was aborted may have left something behind.
        let Some(at) = self.fetches.iter().position(|fetch| fetch.id == id) else { return Ok(()) };
        match event {
            FetchEvent::Block { block, parts, .. } => {
                let fetching = &mut self.fetches[at];
                let is_wanted = fetching.due.pop_front().is_some_and(|due| due == (block, true));
                fetching.due_bytes -= u64::from(block.size());
                self.ledger.add_fetched(block.size());
                if is_wanted {
                    self.link.send_block(block, parts);
                }
            }
            FetchEvent::Done { outcome, .. } => {
                let fetching = self.fetches.remove(at);
                match outcome {
                    Ok(()) => self.handle_good_run(),
                    Err(error) => return self.handle_failure(fetching, error),
                }
            }
        }
        Ok(())
    }

    fn handle_good_run(&mut self) {
        self.ledger.succeeded();
        self.good_runs += 1;
        if self.good_runs.is_multiple_of(RUNS_BEFORE_GROWTH) {
            self.connections = (self.connections + 1).min(self.source.clients.config.connections.max(1));
        }
    }

    fn handle_failure(&mut self, failed: Fetching, error: FetchError) -> Result<(), Ended> {
        match error {
            FetchError::Later(why, _) if !self.fetches.is_empty() && self.phase == Phase::Open => {
                // The others go on: the server wants fewer connections, or lost this one.
                self.connections = self.fetches.len();
                self.ledger.note(why);
                let source = Arc::clone(&self.source);
                for block in failed.wanted() {
                    self.pending.push(source.torrent.layout(), block);
                }
                return Ok(());
            }
            FetchError::Later(why, retry_after) if self.phase == Phase::Open => {
                tracing::info!(url = %self.source.urls, why, "web seed backed off");
                let until = self.ledger.back_off(&self.source.clients.config, retry_after, why);
                self.choke(Phase::BackedOff(until.into()));
            }
            FetchError::Later(why, _) => self.ledger.note(why),
            FetchError::File(file, why) => {
                let path = self.layout().file(file).path();
                tracing::info!(url = %self.source.urls, %path, why, "web seed lacks a file");
                let why = format!("{path}: {why}");
                if !self.ledger.add_missing(self.layout(), file, why.clone()) {
                    self.ledger.fail(why);
                }
                self.choke(Phase::Draining);
            }
            FetchError::Server(why) => {
                tracing::info!(url = %self.source.urls, why, "web seed is of no use");
                self.ledger.fail(why);
                self.choke(Phase::Draining);
            }
            FetchError::Abandoned => {}
        }
        for block in failed.wanted() {
            self.reject(block);
        }
        Ok(())
    }

    /// Takes no more requests and rejects those that wait.
    fn choke(&mut self, phase: Phase) {
        if self.phase == Phase::Open {
            self.link.send(Message::Choke);
        }
        self.phase = phase;
        for block in self.pending.drain() {
            self.reject(block);
        }
    }

    fn handle_time(&mut self) {
        let now = Instant::now();
        if now >= self.keep_alive_at {
            self.keep_alive_at = now + KEEP_ALIVE_TIME;
            self.link.send(Message::KeepAlive);
        }
        if matches!(self.phase, Phase::BackedOff(until) if now >= until) {
            self.phase = Phase::Open;
            self.connections = self.source.clients.config.connections.max(1);
            self.ledger.set_fetching(false);
            self.link.send(Message::Unchoke);
        }
    }

    fn wake_at(&self) -> Instant {
        let back_off = match self.phase {
            Phase::BackedOff(until) => until,
            Phase::Open | Phase::Draining => self.keep_alive_at,
        };
        let is_gathering = self.fetches.is_empty() && self.pending.len() > 0;
        let gather = if is_gathering { self.gather_until } else { self.keep_alive_at };
        back_off.min(gather).min(self.keep_alive_at)
    }

    /// Starts what is worth a connection. While some are busy, a new one waits until it has as much to fetch as all of them
    /// have left (or a full run): the shard asks for a block whenever it gets one, and a range for each would be slow.
    fn start_fetches(&mut self) {
        let was_fetching = !self.fetches.is_empty();
        while self.phase == Phase::Open && self.fetches.len() < self.connections {
            let due_bytes: u64 = self.fetches.iter().map(|fetch| fetch.due_bytes).sum();
            let waiting = self.pending.bytes();
            let is_gathering = due_bytes == 0 && Instant::now() < self.gather_until;
            if waiting < MAX_RUN_BYTES && (waiting < due_bytes || is_gathering) {
                break;
            }
            let source = Arc::clone(&self.source);
            let Some(run) = self.pending.take_run(source.torrent.layout()) else { break };
            let (id, due_bytes) = (self.next_fetch, run.bytes);
            let due = run.blocks.iter().map(|block| (*block, true)).collect();
            let task = self.tasks.spawn(fetch(source, run, id, self.events.0.clone()));
            self.fetches.push(Fetching { id, due, due_bytes, task });
            self.next_fetch += 1;
        }
        if self.phase == Phase::Open && was_fetching == self.fetches.is_empty() {
            self.ledger.set_fetching(!was_fetching);
        }
    }

    fn reject(&mut self, block: BlockRange) {
        let (index, begin, length) = (block.piece().get(), block.begin(), block.size());
        self.link.send(Message::Reject { index, begin, length });
    }

    fn layout(&self) -> &FileLayout {
        self.source.torrent.layout()
    }
}

impl Fetching {
    fn wants(&self, block: BlockRange) -> bool {
        // Nearly all that is asked for is of another piece than what is under way.
        let pieces = self.due.front().zip(self.due.back()).map(|(first, last)| first.0.piece()..=last.0.piece());
        pieces.is_some_and(|pieces| pieces.contains(&block.piece())) && self.due.contains(&(block, true))
    }

    /// What is still to come and asked for.
    fn wanted(self) -> impl Iterator<Item = BlockRange> {
        self.due.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(block, _)| block)
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Ended {
        match error {
            LinkError::Closed => Ended::PeerClosed,
            LinkError::Socket(_) | LinkError::Wire(_) => Ended::Protocol(error.to_string()),
        }
    }
}
