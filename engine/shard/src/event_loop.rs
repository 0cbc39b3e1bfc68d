//! The shard's loop: take events, read what came, send what is due, sleep. It composes and dispatches; the parts know
//! how.

use crate::config::{ShardConfig, ShardLink};
use crate::connection::{Connection, Throttled};
use crate::disk::Disk;
use crate::doorbell::EventDoorbell;
use crate::exchange::Gossip;
use crate::gather::Gather;
use crate::handover::Leave;
use crate::limits::{
    COLD_TURN_BUDGET, HEARTBEAT, HEARTBEAT_READING, LATE_TURN, RECEIVE_BYTES, RECEIVES_PER_LOOK, TICK_INTERVAL,
    TICK_PARTS, TURN_BUDGET,
};
use crate::pace::Pace;
use crate::parked::Parked;
use crate::peers::Listings;
use crate::poller::{Poller, Readiness, Token};
use crate::receive::may_receive;
use crate::super_seeding::SuperSeeding;
use crate::table::{Key, Table};
use crate::torrents::{Slot, Torrents};
use mesh::{DropReason, Event, ShardHistograms, record_time};
use metainfo::BlockRange;
use rustix::fd::OwnedFd;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::BufferPool;
use swarm::{ChokeChange, Choker, DIALS_PER_S, DialPace, HALF_OPEN_LIMIT, Slots};

/// Tokens from here on are not connections: generations stay below 2^31.
const DOORBELL: Token = Token(u64::MAX);
const FIRST_LISTENER: u64 = 1 << 63;

/// One core's part of the engine.
pub(crate) struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) link: Arc<ShardLink>,
    bell: Arc<EventDoorbell>,
    pub(crate) poller: Poller,
    pub(crate) listeners: Vec<OwnedFd>,
    pub(crate) table: Table,
    pub(crate) torrents: Torrents,
    pub(crate) parked: Parked,
    pub(crate) disk: Disk,
    pub(crate) choker: Choker<Key>,
    /// This shard's part of the engine's slots, if those are limited.
    pub(crate) ordered_slots: Option<Slots>,
    pub(crate) gather: Gather,
    pub(crate) histograms: Box<ShardHistograms>,
    /// Where received bytes land first.
    pub(crate) receive_buffer: Box<[u8]>,
    /// Connections with something to be read, and those with something to be sent that the kernel may take, each in the
    /// order of their turns. A turn costs what these hold, however many connections there are.
    readers: VecDeque<Key>,
    pub(crate) senders: VecDeque<Key>,
    /// Senders whose last write was of cold content. Theirs come last, and get little of a turn.
    cold_senders: VecDeque<Key>,
    /// Connections that wait for the upload limit, in the order of their turns.
    pub(crate) throttled: Vec<Key>,
    pub(crate) throttled_until: Duration,
    pub(crate) super_seeding: SuperSeeding,
    /// Room for blocks that come.
    pub(crate) buffers: BufferPool,
    /// Connections that wait for some of it.
    pub(crate) starved: Vec<Key>,
    /// Connections that wait for the download limit.
    pub(crate) limited: Vec<Key>,
    pub(crate) limited_until: Duration,
    pub(crate) dial_pace: DialPace,
    /// When somebody is to be dialled, as far as is known.
    pub(crate) dial_at: Duration,
    pub(crate) leech_tick_at: Duration,
    /// When pieces are to be checked or recorded, if nothing else happens.
    pub(crate) piece_work_at: Option<Duration>,
    /// Torrents whose peers somebody wants to see.
    pub(crate) listings: Listings,
    /// Connections to be ended once nothing else is done with them.
    pub(crate) farewells: Vec<(Key, DropReason)>,
    /// What the other shards are to hear of peers.
    pub(crate) gossip: Vec<Gossip>,
    /// Connections per address.
    pub(crate) by_address: HashMap<IpAddr, u32>,
    pub(crate) accept_ready: bool,
    pub(crate) accept_after: Duration,
    /// Since the engine's common start.
    pub(crate) now: Duration,
    /// Counts turns; files are looked at once in each.
    pub(crate) turn: u64,
    pub(crate) stopping: Option<Stopping>,
    pace: Pace,
    next_tick: Duration,
    /// The part of the connections that was looked at last.
    tick_part: u32,
    events: Vec<Readiness>,
    keys: Vec<Key>,
    /// Lists that are empty between uses, so that their room is used again.
    pub(crate) slots: Vec<Slot>,
    pub(crate) wanted: Vec<BlockRange>,
    pub(crate) choke_changes: Vec<ChokeChange<Key>>,
}

/// The shard was told to stop.
#[derive(Clone, Copy)]
pub(crate) struct Stopping {
    /// When what is not sent yet is given up.
    pub(crate) deadline: Duration,
}

impl Shard {
    pub(crate) fn new(
        config: ShardConfig,
        link: Arc<ShardLink>,
        bell: Arc<EventDoorbell>,
        listeners: Vec<OwnedFd>,
    ) -> io::Result<Shard> {
        let poller = Poller::new()?;
        poller.add_source(&*bell, DOORBELL)?;
        for (n, listener) in listeners.iter().enumerate() {
            poller.add_socket(listener, Token(FIRST_LISTENER + n as u64))?;
        }
        let disk = Disk::new(Rc::clone(poller.bell()), config.device_budgets.clone());
        Ok(Shard {
            choker: Choker::new(Slots::Unlimited, config.seed),
            ordered_slots: None,
            poller,
            listeners,
            table: Table::default(),
            torrents: Torrents::default(),
            parked: Parked::default(),
            disk,
            gather: Gather::new(),
            histograms: Box::default(),
            receive_buffer: vec![0; RECEIVE_BYTES + config.longest_message_bytes()].into_boxed_slice(),
            readers: VecDeque::new(),
            senders: VecDeque::new(),
            cold_senders: VecDeque::new(),
            throttled: Vec::new(),
            throttled_until: Duration::ZERO,
            super_seeding: SuperSeeding::default(),
            buffers: BufferPool::new(config.write_buffer_bytes),
            starved: Vec::new(),
            limited: Vec::new(),
            limited_until: Duration::ZERO,
            dial_pace: DialPace::new(DIALS_PER_S, HALF_OPEN_LIMIT),
            dial_at: Duration::MAX,
            leech_tick_at: Duration::ZERO,
            piece_work_at: None,
            listings: Listings::default(),
            farewells: Vec::new(),
            gossip: Vec::new(),
            by_address: HashMap::new(),
            accept_ready: false,
            accept_after: Duration::ZERO,
            now: config.start.elapsed(),
            turn: 0,
            stopping: None,
            pace: Pace::new(config.turn_delay),
            next_tick: Duration::ZERO,
            tick_part: 0,
            events: Vec::new(),
            keys: Vec::new(),
            slots: Vec::new(),
            wanted: Vec::new(),
            choke_changes: Vec::new(),
            config,
            link,
            bell,
        })
    }

    /// Turns until the shard is stopped.
    pub(crate) async fn run(mut self) {
        let shard = self.config.shard;
        let ended = self.turns().await;
        let event = match ended {
            Ok(()) => Event::Stopped { shard },
            Err(error) => Event::ShardFailed { shard, reason: format!("shard {shard}: {error}") },
        };
        self.link.set_ended();
        self.report(event);
    }

    async fn turns(&mut self) -> io::Result<()> {
        loop {
            self.handle_events()?;
            self.handle_commands();
            self.handle_handovers();
            self.tell_neighbours();
            self.accept();
            self.handle_disk();
            self.feed();
            self.receive_ready();
            self.lead_leeches();
            self.update_chokes();
            self.transmit_ready();
            self.handle_tick();
            self.say_super_seeding();
            self.list_more_peers();
            if self.is_stopped() {
                return Ok(());
            }
            self.measure_turn();
            if self.is_idle() && !(self.accept_ready && self.accept_after <= self.now) {
                self.rest().await?;
            } else if self.disk.is_busy() {
                // What the disk brings comes through tasks of the executor, which run only while the shard yields.
                self.poller.give_way().await;
            }
        }
    }

    /// Tells control. A full mailbox means that control does not read any more; the event is then lost, and logged.
    pub(crate) fn report(&self, event: Event) {
        if let Err(mesh::Full(event)) = self.link.events.post(event) {
            tracing::error!(?event, "control does not read its mailbox");
        }
    }

    fn handle_events(&mut self) -> io::Result<()> {
        self.turn += 1;
        self.now = self.config.start.elapsed();
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        self.poller.take_ready(&mut events)?;
        self.pace.handle_gathered(events.iter().map(|event| event.token));
        for event in &events {
            match event.token {
                DOORBELL => self.bell.hush(),
                Token(token) if token >= FIRST_LISTENER => self.accept_ready = true,
                token => self.handle_readiness(Key::from_token(token), event),
            }
        }
        self.events = events;
        if self.throttled_until <= self.now && !self.throttled.is_empty() {
            for key in std::mem::take(&mut self.throttled) {
                if let Some(connection) = self.table.get_mut(key) {
                    connection.throttled = Throttled::No;
                    self.enqueue(key);
                }
            }
        }
        Ok(())
    }

    fn handle_readiness(&mut self, key: Key, event: &Readiness) {
        if let Some(connection) = self.table.get_mut(key) {
            connection.readable |= event.readable;
            connection.writable |= event.writable;
            connection.ended |= event.ended;
            self.enqueue(key);
        }
    }

    /// Gives the connection its turns: one to be read from, one to be sent to, as far as either is due.
    pub(crate) fn enqueue(&mut self, key: Key) {
        let Some(connection) = self.table.get_mut(key) else { return };
        if may_receive(connection) && !std::mem::replace(&mut connection.awaits_receive, true) {
            self.readers.push_back(key);
        }
        if connection.can_send() && !std::mem::replace(&mut connection.awaits_transmit, true) {
            let senders = if connection.sends_cold { &mut self.cold_senders } else { &mut self.senders };
            match connection.goes_first() {
                true => senders.push_front(key),
                false => senders.push_back(key),
            }
        }
    }

    fn is_idle(&self) -> bool {
        let no_turns = self.readers.is_empty() && self.senders.is_empty() && self.cold_senders.is_empty();
        no_turns && self.listings.is_empty()
    }

    /// Reads from all that are ready before anything is sent: requests that came together go out together.
    fn receive_ready(&mut self) {
        let started = Instant::now();
        for n in 0..self.readers.len() {
            if n % RECEIVES_PER_LOOK == RECEIVES_PER_LOOK - 1 && started.elapsed() >= TURN_BUDGET {
                // The others keep their place, and what they said is still there in the next turn.
                break;
            }
            let Some(key) = self.readers.pop_front() else { break };
            let Some(mut connection) = self.table.take(key) else { continue };
            connection.awaits_receive = false;
            match self.receive(key, &mut connection) {
                Ok(()) => {
                    self.table.put(key, connection);
                    self.enqueue(key);
                }
                Err(Leave::Drop(reason)) => self.close(key, *connection, reason),
                Err(Leave::HandOver { to }) => self.hand_over(key, connection, to),
                Err(Leave::Park { id }) => self.park(key, connection, id),
                Err(Leave::ReadAgain) => {
                    self.table.put(key, connection);
                    self.enqueue(key);
                }
            }
        }
    }

    /// Sends to those that are ready, until the turn has taken its time; the rest is first in the next one.
    fn transmit_ready(&mut self) {
        self.transmit_to(|shard| &mut shard.senders, TURN_BUDGET);
        self.transmit_to(|shard| &mut shard.cold_senders, COLD_TURN_BUDGET);
    }

    fn transmit_to(&mut self, senders: impl Fn(&mut Shard) -> &mut VecDeque<Key>, budget: Duration) {
        let started = Instant::now();
        for _ in 0..senders(self).len() {
            let Some(key) = senders(self).pop_front() else { break };
            let Some(mut connection) = self.table.take(key) else { continue };
            connection.awaits_transmit = false;
            match self.transmit(key, &mut connection) {
                Ok(()) => {
                    self.table.put(key, connection);
                    self.enqueue(key);
                }
                Err(reason) => self.close(key, *connection, reason),
            }
            if started.elapsed() >= budget {
                break;
            }
        }
    }

    /// Tells peers what the choker decided.
    fn update_chokes(&mut self) {
        if self.stopping.is_some() || self.choker.next_wakeup().is_none_or(|due| due > self.now) {
            return;
        }
        let mut changes = std::mem::take(&mut self.choke_changes);
        self.choker.poll_changes(self.now, &mut changes);
        self.apply_chokes(&mut changes);
        self.choke_changes = changes;
    }

    pub(crate) fn apply_chokes(&mut self, changes: &mut Vec<ChokeChange<Key>>) {
        for change in changes.drain(..) {
            let (ChokeChange::Choke(key) | ChokeChange::Unchoke(key)) = change;
            let Some(connection) = self.table.get_mut(key) else { continue };
            let mut outbox = std::mem::take(&mut connection.outbox);
            if let Some(peer) = connection.peer_mut() {
                match change {
                    ChokeChange::Unchoke(_) if peer.session.unchoke(outbox.tail()) => {
                        self.link.counters.unchoked.add(1);
                    }
                    ChokeChange::Choke(_) if peer.session.choke(outbox.tail()) => {
                        self.link.counters.unchoked.subtract(1);
                    }
                    ChokeChange::Unchoke(_) | ChokeChange::Choke(_) => {}
                }
            }
            connection.outbox = outbox;
            self.note_wishes(key);
            self.enqueue(key);
        }
    }

    fn handle_tick(&mut self) {
        if self.now < self.next_tick {
            return;
        }
        self.next_tick = self.now + TICK_INTERVAL / TICK_PARTS;
        self.tick_part = (self.tick_part + 1) % TICK_PARTS;
        if self.tick_part == 0 {
            self.disk.handle_tick(self.now);
            self.tick_super_seeding();
            self.tick_parked();
        }
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        self.table.keys_of_part(self.tick_part, TICK_PARTS, &mut keys);
        for key in &keys {
            let Some(mut connection) = self.table.take(*key) else { continue };
            match self.check_time(&mut connection) {
                Ok(()) => {
                    self.table.put(*key, connection);
                    self.enqueue(*key);
                }
                Err(reason) => self.close(*key, *connection, reason),
            }
        }
        self.keys = keys;
    }

    fn measure_turn(&mut self) {
        let took = self.config.start.elapsed().saturating_sub(self.now);
        self.link.counters.busy_us.add(took.as_micros() as u64);
        self.link.counters.late_turns.add(u64::from(took >= LATE_TURN));
        record_time(&mut self.histograms.stall_us, took, 1);
    }

    /// Lets events gather, or waits for one.
    async fn rest(&mut self) -> io::Result<()> {
        if let Some(delay) = self.pace.gather_for().filter(|_| !self.disk.is_busy()) {
            gather_events(delay);
            return Ok(());
        }
        let from = self.config.start.elapsed();
        self.sleep().await?;
        self.pace.handle_sleep(self.config.start.elapsed().saturating_sub(from));
        Ok(())
    }

    /// Until when nothing is due that no event tells of.
    fn longest_sleep(&self) -> Duration {
        let mut at_most = if self.disk.is_busy() { HEARTBEAT_READING } else { HEARTBEAT };
        let mut until = |due: Duration| at_most = at_most.min(due.saturating_sub(self.now));
        until(self.next_tick);
        if self.accept_ready {
            until(self.accept_after);
        }
        if !self.throttled.is_empty() {
            until(self.throttled_until);
        }
        if !self.limited.is_empty() {
            until(self.limited_until);
        }
        if let Some(due) = self.next_leech_work() {
            until(due);
        }
        if let Some(due) = self.choker.next_wakeup().filter(|_| self.stopping.is_none()) {
            until(due);
        }
        if let Some(stopping) = self.stopping
            && stopping.deadline > self.now
        {
            until(stopping.deadline);
        }
        at_most
    }

    async fn sleep(&mut self) -> io::Result<()> {
        let at_most = self.longest_sleep();
        if at_most.is_zero() {
            // Others of this executor may have work, and a timer of no time would never let them.
            self.poller.give_way().await;
            return Ok(());
        }
        let (shard, neighbours) = (self.config.shard, &self.config.neighbours);
        if self.link.commands.prepare_to_sleep() && neighbours.prepare_to_sleep(shard) {
            match self.disk.is_busy() {
                // What the disk brings comes through the executor.
                true => self.poller.sleep(at_most).await,
                // All else is in the set, the doorbell too, and the way through the executor costs a third of a lonely block.
                false => self.poller.wait(at_most)?,
            }
        }
        self.link.commands.awake();
        self.config.neighbours.awake(shard);
        Ok(())
    }

    /// Ends a connection and takes it out of all books.
    pub(crate) fn close(&mut self, key: Key, mut connection: Connection, reason: DropReason) {
        self.forget_dialled(&connection, reason);
        if let Some(incoming) = connection.take_incoming() {
            self.lose_block(key, &connection, incoming);
        }
        self.forget_peer(key, &connection, reason);
        self.forget_parked(&mut connection);
        self.forget_connection(key, &connection);
        self.link.counters.count_drop(reason);
        tracing::debug!(address = %connection.address, reason = reason.name(), "connection ended");
        // Dropped last: closing the socket is what the peer sees of it.
        drop(connection);
    }
}

/// Lets the whole thread sleep: nothing else of this executor is under way, and a timer of its own would cost more than
/// the events that it saves.
fn gather_events(delay: Duration) {
    let time = rustix::time::Timespec { tv_sec: 0, tv_nsec: delay.as_nanos() as _ };
    // A signal may end it early; then fewer events have gathered.
    let _ = rustix::thread::nanosleep(&time);
}
