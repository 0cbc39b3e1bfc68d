//! The task that drives the node: datagrams in and out, turns of torrents, ticks, and the state now and then.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dht::{Event, Family, Millis};
use tokio::sync::watch;

use crate::dht::schedule::Found;
use crate::dht::socket::{DhtSocket, ReceiveBuffers, Route};
use crate::dht::{Shared, State, state_file};

/// Between two writes of the state.
const SAVE_EVERY_MS: Millis = 10 * 60_000;
/// Ticks that come thicker than this are joined.
const TICK_MS: Millis = 20;

/// Owns the sockets; the node itself is shared with the handles.
pub(super) struct Driver {
    shared: Arc<Shared>,
    sockets: Vec<DhtSocket>,
    buffers: ReceiveBuffers,
    state_path: Option<PathBuf>,
    save_at: Millis,
}

/// Peers to tell, and whom; told once the node is unlocked again.
type Findings = Vec<(Vec<Found>, Vec<SocketAddr>)>;

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, sockets: Vec<DhtSocket>, state_path: Option<PathBuf>) -> Driver {
        Driver { shared, sockets, buffers: ReceiveBuffers::new(), state_path, save_at: SAVE_EVERY_MS }
    }

    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow_and_update() {
            let wake = self.work();
            if self.shared.now() >= self.save_at {
                self.save().await;
            }
            let wait = Duration::from_millis(wake.saturating_sub(self.shared.now()).max(TICK_MS));
            tokio::select! {
                _ = stopped.changed() => {}
                () = self.shared.changed.notified() => {}
                result = readable(&self.sockets) => self.receive(result),
                () = tokio::time::sleep(wait) => {}
            }
            // A flood must not keep the other tasks of this thread waiting.
            tokio::task::yield_now().await;
        }
        self.save().await;
    }

    /// Does what is due; says when to come again.
    fn work(&self) -> Millis {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        if now >= state.dht.next_tick() {
            state.dht.handle_tick(now);
        }
        // A lookup among no nodes ends at once, and its swarm's turn is over for a while: this ends.
        let mut findings = state.take_events(now);
        while let Some((id, info_hash, announce)) = state.schedule.next_due(now) {
            match state.dht.lookup(now, info_hash, announce) {
                Ok(lookup) => state.schedule.started(lookup, id, info_hash),
                Err(dht::Refused::TooMany) => state.schedule.put_off(now, id, info_hash),
            }
            findings.extend(state.take_events(now));
        }
        transmit(&self.sockets, &mut state, None);
        let wake = state.schedule.deadline().map_or(state.dht.next_tick(), |due| due.min(state.dht.next_tick()));
        drop(state);
        tell(findings);
        wake
    }

    /// Takes a batch from every socket, so that a flood in one family does not silence the other.
    fn receive(&mut self, readable: io::Result<()>) {
        if let Err(error) = readable {
            tracing::debug!(%error, "DHT: a socket is not readable");
        }
        let Driver { shared, sockets, buffers, .. } = self;
        let now = shared.now();
        let mut findings = Vec::new();
        for socket in sockets.iter() {
            let received = socket.receive(buffers, |route, datagram| {
                let mut state = shared.lock();
                state.traffic.received_bytes += datagram.len() as u64;
                state.dht.handle_datagram(now, route.from, datagram);
                findings.extend(state.take_events(now));
                transmit(sockets, &mut state, Some(route));
            });
            if let Err(error) = received
                && error.kind() != io::ErrorKind::WouldBlock
            {
                // An ICMP error of some earlier datagram is reported here; its query will be unanswered.
                tracing::debug!(%error, "DHT: receive failed");
            }
        }
        tell(findings);
    }

    async fn save(&mut self) {
        self.save_at = self.shared.now() + SAVE_EVERY_MS;
        if let Some(path) = self.state_path.clone() {
            let state = self.shared.lock().dht.export();
            state_file::save(path, state).await;
        }
    }
}

impl State {
    fn take_events(&mut self, now: Millis) -> Findings {
        let mut findings = Vec::new();
        while let Some(event) = self.dht.poll_event() {
            match event {
                Event::Peers { info_hash, peers } => findings.push((self.schedule.finders(info_hash), peers)),
                Event::LookupDone(done) => self.schedule.done(now, &done),
            }
        }
        findings
    }
}

/// Sends what the node has to send; to `asked.from`, from the address that it asked.
fn transmit(sockets: &[DhtSocket], state: &mut State, asked: Option<Route>) {
    while let Some(transmit) = state.dht.poll_transmit() {
        let family = Family::of(transmit.to.ip());
        let socket = sockets.iter().find(|socket| Family::of(socket.local_addr().ip()) == family);
        let local = asked.filter(|route| route.from == transmit.to).and_then(|route| route.local);
        match socket.map(|socket| socket.send(transmit.to, local, &transmit.datagram)) {
            Some(Ok(())) => state.traffic.sent_bytes += transmit.datagram.len() as u64,
            Some(Err(_)) | None => state.traffic.unsent += 1,
        }
    }
}

fn tell(findings: Findings) {
    for (finders, peers) in findings {
        finders.iter().for_each(|found| found(peers.clone()));
    }
}

/// Until one of the sockets has something.
async fn readable(sockets: &[DhtSocket]) -> io::Result<()> {
    poll_fn(|context| {
        let mut states = sockets.iter().map(|socket| socket.poll_readable(context));
        states.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}
