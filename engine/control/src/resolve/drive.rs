//! One magnet link on its way to a torrent: the loop that has addresses dialled and feeds what peers say to the two
//! fetches of `swarm`, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hash::InfoHash;
use mesh::PeerOrigin;
use metainfo::{Magnet, Torrent};
use swarm::{
    BANS_LIMIT, DIALS_PER_S, DialFailure, DialPace, LayerFetch, MetadataFetch, MetadataHashes, PEER_LIST_LIMIT,
    PeerList, PeerSource, SourceFault,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wire::{MetadataMessage, PeerExtensions};

use super::connection::{self, Closed, Command, Dial, Event};
use super::{FoundPeers, ResolveError, ResolveProgress, Resolved, Shared};

/// How often waits are looked at.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// Events that wait for the driver; connections wait beyond that.
const EVENTS_LIMIT: usize = 128;

/// Messages that wait for a connection; one that takes none of them is stuck.
const COMMANDS_LIMIT: usize = 64;

/// How long a peer that has nothing to give keeps its place; in this time it may tell of others.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);

/// Names of peers in a link that are looked up, and how long one that could not be is left alone.
const NAMES_LIMIT: usize = 64;
const NAME_PAUSE: Duration = Duration::from_secs(60);

pub(super) type Done = Result<Resolved, ResolveError>;

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) magnet: Magnet,
    start: Instant,
    pub(super) list: PeerList,
    pace: DialPace,
    pub(super) connections: BTreeMap<SocketAddr, Connection>,
    /// Peers that answered, and whether they gave anything.
    pub(super) met: BTreeMap<SocketAddr, bool>,
    /// Liars and flooders, by address and not by IP: an honest one may live behind the same NAT.
    banned: BTreeSet<SocketAddr>,
    pub(super) stage: Stage,
    tasks: JoinSet<()>,
    lookups: JoinSet<Vec<SocketAddr>>,
    events: mpsc::Receiver<(SocketAddr, Event)>,
    events_in: connection::Events,
    progress: watch::Sender<ResolveProgress>,
}

pub(super) enum Stage {
    Metadata(MetadataFetch<SocketAddr>),
    Layers {
        torrent: Box<Torrent>,
        fetch: LayerFetch<SocketAddr>,
        /// The name that speaks v2.
        v2: InfoHash,
        /// Hashes that were here at the last look that found more of them, and when that was.
        last_gain: (u64, Duration),
    },
}

pub(super) struct Connection {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) is_open: bool,
    pub(super) is_v2: bool,
    /// Under which id it takes `ut_metadata`.
    ut_metadata: Option<u8>,
    /// It is asked for something, or could be.
    pub(super) is_source: bool,
    open_since: Duration,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        magnet: Magnet,
        progress: watch::Sender<ResolveProgress>,
        seed: u64,
    ) -> Driver {
        let (events_in, events) = mpsc::channel(EVENTS_LIMIT);
        let hashes = MetadataHashes { v1: magnet.info_hash_v1, v2: magnet.info_hash_v2 };
        let fetch = MetadataFetch::new(hashes, shared.config.metadata_limit_bytes);
        let pace = DialPace::new(DIALS_PER_S, shared.config.connections);
        Driver {
            shared,
            magnet,
            start: Instant::now(),
            list: PeerList::new(seed),
            pace,
            connections: BTreeMap::new(),
            met: BTreeMap::new(),
            banned: BTreeSet::new(),
            stage: Stage::Metadata(fetch),
            tasks: JoinSet::new(),
            lookups: JoinSet::new(),
            events,
            events_in,
            progress,
        }
    }

    pub(super) async fn run(mut self, mut found: mpsc::Receiver<FoundPeers>) -> Done {
        self.begin_with_the_links_peers();
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_find = true;
        loop {
            let done = tokio::select! {
                // Never closed: this end keeps a sender for new connections.
                Some((address, event)) = self.events.recv() => self.handle_event(address, event),
                told = found.recv(), if may_find => {
                    may_find = told.is_some();
                    told.into_iter().for_each(|told| self.handle_found(source(told.origin), told.addresses));
                    None
                }
                Some(looked_up) = self.lookups.join_next() => {
                    self.handle_found(PeerSource::Given, looked_up.unwrap_or_default());
                    None
                }
                Some(_) = self.tasks.join_next() => None,
                _ = tick.tick() => self.handle_tick(),
            };
            if let Some(done) = done {
                return done;
            }
            self.dial();
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn begin_with_the_links_peers(&mut self) {
        let mut names = 0;
        for peer in std::mem::take(&mut self.magnet.peers) {
            if let Ok(ip) = peer.host.parse::<IpAddr>() {
                self.handle_found(PeerSource::Given, vec![SocketAddr::new(ip, peer.port)]);
                continue;
            }
            names += 1;
            if names > NAMES_LIMIT {
                continue;
            }
            let lookup = Arc::clone(&self.shared.names);
            self.lookups.spawn(async move {
                loop {
                    match lookup.lookup_all(&peer.host).await {
                        Ok(ips) => return ips.into_iter().map(|ip| SocketAddr::new(ip, peer.port)).collect(),
                        Err(error) => tracing::debug!(host = peer.host, %error, "a magnet link's peer has no address"),
                    }
                    tokio::time::sleep(NAME_PAUSE).await;
                }
            });
        }
    }

    fn handle_found(&mut self, source: PeerSource, addresses: Vec<SocketAddr>) {
        let config = &self.shared.config;
        for address in addresses {
            let is_wanted = if address.ip().to_canonical().is_ipv4() { config.v4 } else { config.v6 };
            if is_wanted && !self.banned.contains(&address) {
                self.list.handle_found(address, source);
            }
        }
    }

    /// Dials as long as there is somebody to dial and room.
    fn dial(&mut self) {
        let now = self.now();
        while self.connections.len() < self.shared.config.connections {
            let Ok(permit) = Arc::clone(&self.shared.connections).try_acquire_owned() else { return };
            let Some(address) = self.list.next(now, &mut self.pace) else { return };
            if self.banned.contains(&address) || self.connections.contains_key(&address) {
                self.pace.handle_ended();
                self.list.handle_failed(now, address, DialFailure::Handshake);
                continue;
            }
            let (commands, orders) = mpsc::channel(COMMANDS_LIMIT);
            let dial = Dial { address, info_hashes: self.names(), v2: self.v2_name() };
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(connection::run(shared, dial, orders, self.events_in.clone(), permit));
            let connection = Connection {
                commands,
                is_open: false,
                is_v2: false,
                ut_metadata: None,
                is_source: false,
                open_since: now,
            };
            self.connections.insert(address, connection);
        }
    }

    /// The names to connect by: v1 first, which more peers know; for hashes the v2 one alone.
    fn names(&self) -> Vec<InfoHash> {
        match &self.stage {
            Stage::Metadata(_) => self.magnet.info_hashes().collect(),
            Stage::Layers { v2, .. } => vec![*v2],
        }
    }

    fn v2_name(&self) -> Option<InfoHash> {
        match &self.stage {
            Stage::Metadata(_) => self.magnet.info_hash_v2.map(InfoHash::from),
            Stage::Layers { v2, .. } => Some(*v2),
        }
    }

    fn handle_event(&mut self, address: SocketAddr, event: Event) -> Option<Done> {
        let now = self.now();
        match event {
            Event::Open { is_v2 } => self.handle_open(now, address, is_v2),
            Event::Offers(extensions) => self.handle_offers(now, address, &extensions),
            Event::Metadata(payload) => self.handle_metadata(now, address, &payload),
            Event::Hashes(request, hashes) => {
                let Stage::Layers { fetch, .. } = &mut self.stage else { return None };
                let mut out = Vec::new();
                fetch.handle_hashes(now, address, &request, &hashes, &mut out);
                self.note_met(address, true);
                self.follow_layers(out)
            }
            Event::HashReject(request) => {
                let Stage::Layers { fetch, .. } = &mut self.stage else { return None };
                let mut out = Vec::new();
                fetch.handle_reject(now, address, &request, &mut out);
                self.follow_layers(out)
            }
            Event::Others(addresses) => {
                self.handle_found(PeerSource::Pex, addresses);
                None
            }
            Event::Closed(closed) => self.handle_closed(now, address, closed),
        }
    }

    fn handle_open(&mut self, now: Duration, address: SocketAddr, is_v2: bool) -> Option<Done> {
        let connection = self.connections.get_mut(&address)?;
        let was_open = std::mem::replace(&mut connection.is_open, true);
        (connection.is_v2, connection.open_since) = (is_v2, now);
        if !was_open {
            self.pace.handle_ended();
            self.list.handle_connected(address);
            self.note_met(address, false);
        }
        self.begin_layers_with(now, address)
    }

    fn handle_offers(&mut self, now: Duration, address: SocketAddr, offers: &PeerExtensions) -> Option<Done> {
        let connection = self.connections.get_mut(&address)?;
        connection.ut_metadata = offers.ut_metadata;
        if let Some(ip) = offers.your_ip {
            self.list.handle_seen_as(address.ip(), ip);
        }
        let Stage::Metadata(fetch) = &mut self.stage else { return None };
        let mut out = Vec::new();
        match (offers.ut_metadata, offers.metadata_size) {
            (Some(_), Some(size)) => connection.is_source = fetch.handle_joined(now, address, size, &mut out),
            _ => fetch.handle_left(now, address, &mut out),
        }
        self.follow_metadata(out)
    }

    fn handle_metadata(&mut self, now: Duration, address: SocketAddr, payload: &[u8]) -> Option<Done> {
        let message = match MetadataMessage::parse(payload) {
            Ok(Some(message)) => message,
            // Kinds that nobody has defined yet are ignored (BEP 9).
            Ok(None) => return None,
            Err(_) => {
                self.ban(address, SourceFault::Flood);
                return None;
            }
        };
        if let MetadataMessage::Request { piece } = message {
            // We have nothing to give as long as this lasts.
            self.say(address, |id, out| MetadataMessage::Reject { piece }.encode(id, out));
            return None;
        }
        let Stage::Metadata(fetch) = &mut self.stage else { return None };
        let mut out = Vec::new();
        fetch.handle_message(now, address, &message, &mut out);
        if matches!(message, MetadataMessage::Data { .. }) {
            self.note_met(address, true);
        }
        self.follow_metadata(out)
    }

    fn handle_closed(&mut self, now: Duration, address: SocketAddr, closed: Closed) -> Option<Done> {
        let connection = self.connections.remove(&address)?;
        if connection.is_open {
            let was_useful = self.met.get(&address).is_some_and(|gave| *gave) && closed == Closed::Ended;
            self.list.handle_closed(now, address, was_useful);
        } else {
            self.pace.handle_ended();
            self.list.handle_failed(now, address, dial_failure(closed));
        }
        self.forget_source(now, address)
    }

    fn handle_tick(&mut self) -> Option<Done> {
        let now = self.now();
        self.publish();
        self.end_idle(now);
        if let Some(after) = self.shared.config.give_up_after.filter(|after| now >= *after) {
            return Some(Err(self.timed_out(after)));
        }
        self.tick_fetch(now)
    }

    /// Lets those go that have nothing to give, if others wait for a place.
    fn end_idle(&mut self, now: Duration) {
        let is_idle = |connection: &Connection| {
            connection.is_open && !connection.is_source && now.saturating_sub(connection.open_since) >= IDLE_PATIENCE
        };
        // Places are short here, or for another link.
        let others_wait = self.shared.connections.available_permits() == 0
            || (self.connections.len() >= self.shared.config.connections
                && self.list.next_at().is_some_and(|at| at <= now));
        if !others_wait {
            return;
        }
        let idle: Vec<SocketAddr> = self
            .connections
            .iter()
            .filter(|(_, connection)| is_idle(connection))
            .map(|(address, _)| *address)
            .collect();
        idle.into_iter().for_each(|address| self.hang_up(address));
    }

    pub(super) fn publish(&self) {
        let mut progress = ResolveProgress {
            known_count: self.list.len(),
            connected_count: self.connections.values().filter(|connection| connection.is_open).count(),
            banned_count: self.banned.len(),
            ..*self.progress.borrow()
        };
        match &self.stage {
            Stage::Metadata(fetch) => progress.metadata = fetch.progress(),
            Stage::Layers { torrent, fetch, .. } => {
                let size = torrent.info_bytes().len() as u32;
                (progress.metadata.size_bytes, progress.metadata.got_bytes) = (Some(size), size);
                progress.layers = Some(fetch.progress());
            }
        }
        self.progress.send_if_modified(|known| std::mem::replace(known, progress) != progress);
    }

    /// Says something under the peer's own id for metadata.
    pub(super) fn say(&mut self, address: SocketAddr, write: impl FnOnce(u8, &mut Vec<u8>)) {
        let Some(id) = self.connections.get(&address).and_then(|connection| connection.ut_metadata) else { return };
        let mut bytes = Vec::new();
        write(id, &mut bytes);
        self.order(address, Command::Send(bytes));
    }

    pub(super) fn order(&mut self, address: SocketAddr, command: Command) {
        let Some(connection) = self.connections.get(&address) else { return };
        if connection.commands.try_send(command).is_err() {
            self.hang_up(address);
        }
    }

    fn note_met(&mut self, address: SocketAddr, gave: bool) {
        if self.met.len() < PEER_LIST_LIMIT || self.met.contains_key(&address) {
            *self.met.entry(address).or_insert(false) |= gave;
        }
    }

    pub(super) fn ban(&mut self, address: SocketAddr, fault: SourceFault) {
        tracing::debug!(%address, %fault, "banned");
        self.met.remove(&address);
        if self.banned.len() >= BANS_LIMIT {
            self.banned.pop_first();
        }
        self.banned.insert(address);
        self.hang_up(address);
    }

    /// Ends a connection: its task sees that nobody commands it, and says that it is closed.
    fn hang_up(&mut self, address: SocketAddr) {
        if let Some(connection) = self.connections.get_mut(&address) {
            connection.commands = mpsc::channel(1).0;
        }
    }
}

fn source(origin: PeerOrigin) -> PeerSource {
    match origin {
        PeerOrigin::Given => PeerSource::Given,
        PeerOrigin::Tracker => PeerSource::Tracker,
        PeerOrigin::Dht => PeerSource::Dht,
        PeerOrigin::Lsd => PeerSource::Lsd,
    }
}

fn dial_failure(closed: Closed) -> DialFailure {
    match closed {
        Closed::Unreachable => DialFailure::Unreachable,
        Closed::NoRoom => DialFailure::NoRoom,
        Closed::Ourselves => DialFailure::Ourselves,
        Closed::Handshake | Closed::Ended | Closed::Fault => DialFailure::Handshake,
    }
}
