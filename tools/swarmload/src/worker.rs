//! One thread of the load: an edge-triggered epoll set over its connections. Here is when what happens; what a connection
//! does with its socket is in `connection`, how connections come and go in `turnover`, what else is due beside events in
//! `housekeeping`.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Relaxed, Release};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use wire::PeerId;

use crate::args::{Args, Order};
use crate::board::{Board, Window};
use crate::clock::Clock;
use crate::connection::{Connection, PEER_ID_PREFIX, Progress, Reason, Role, Scratch};
use crate::content::{Blocks, Content};
use crate::failure::Failure;
use crate::order::{PieceOrder, Random};
use crate::schedule::Schedule;
use crate::tally::Tally;

/// What all threads of a run read.
pub(crate) struct Shared<'a> {
    pub(crate) args: &'a Args,
    pub(crate) content: &'a Content,
    pub(crate) clock: Clock,
    pub(crate) window: &'a Window,
    /// Random bytes of the run, so that no two runs use the same peer ids.
    pub(crate) seed: u64,
}

/// One place for a connection; it may be filled anew by churn or by the next fetch of metadata.
pub(crate) struct Slot {
    /// Counts the connections of the whole run.
    pub(crate) number: usize,
    pub(crate) role: Role,
    pub(crate) connection: Option<Connection>,
    /// Tells events of this connection from those of an earlier one in the slot.
    pub(crate) generation: u32,
    /// Bytes since the window began, if the connection stood then and still stands.
    pub(crate) window_bytes: Option<u64>,
    /// Bytes that a slow reader may read now.
    pub(crate) allowance: u64,
}

/// A slot that waits to be dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToDial {
    pub(crate) place: usize,
    /// When it could have been dialled at the earliest: from then on its peer waits.
    pub(crate) allowed_ns: u64,
}

/// One thread of the load.
pub(crate) struct Worker<'a> {
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) board: &'a Board,
    pub(crate) slots: Vec<Slot>,
    /// How many of `slots` are measured; they come first.
    pub(crate) measured: usize,
    pub(crate) tally: Tally,
    pub(crate) scratch: Scratch,
    pub(crate) in_window: bool,
    /// Slots to dial: first those that never were, then those that come again.
    pub(crate) to_dial: VecDeque<ToDial>,
    /// Slots whose connection failed, to be dialled again when they have rested; in the order of that time.
    pub(crate) resting: VecDeque<ToDial>,
    /// How many of `first_time` the ramp has let go.
    pub(crate) dialled: usize,
    pub(crate) first_time: usize,
    /// Connects under way.
    pub(crate) connecting: usize,
    pub(crate) schedule: Option<Schedule>,
    /// Where the schedule's round stands.
    pub(crate) turn: usize,
    pub(crate) random: Random,
    pub(crate) churn_debt: f64,
    pub(crate) last_tick_ns: u64,
    pub(crate) last_check_ns: u64,
    pub(crate) epoll: OwnedFd,
    run_bytes: u64,
}

/// How often slow readers read, the ramp climbs and churn strikes.
const TICK_NS: u64 = 10_000_000;

/// How late an open loop's timer may be.
const OPEN_LOOP_SLACK_NS: u64 = 5_000;

/// Events taken by one call.
const EVENTS: usize = 256;

impl<'a> Worker<'a> {
    /// A thread for `slots`, which offers `rate_bytes` a second if that is given.
    pub(crate) fn new(
        shared: &'a Shared<'a>,
        board: &'a Board,
        slots: Vec<Slot>,
        rate_bytes: Option<f64>,
    ) -> Result<Worker<'a>, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let burst_bytes = u64::from(shared.args.burst) * u64::from(shared.content.block_bytes());
        let schedule = rate_bytes.map(|rate| Schedule::new(shared.clock.now_ns(), rate, burst_bytes));
        let measured = slots.partition_point(|slot| slot.role.is_measured());
        board.pending.store(measured as u64, Relaxed);
        Ok(Worker {
            to_dial: (0..slots.len()).map(|place| ToDial { place, allowed_ns: 0 }).collect(),
            resting: VecDeque::new(),
            dialled: 0,
            first_time: slots.len(),
            random: Random::new(shared.seed ^ slots.first().map_or(0, |slot| slot.number as u64)),
            shared,
            board,
            slots,
            measured,
            tally: Tally::new()?,
            scratch: Scratch::new(),
            in_window: false,
            connecting: 0,
            schedule,
            turn: 0,
            churn_debt: 0.0,
            last_tick_ns: shared.clock.now_ns(),
            last_check_ns: 0,
            epoll,
            run_bytes: 0,
        })
    }

    /// Loads until the window's end.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        if self.schedule.is_some() {
            // The kernel may be 50 microseconds late otherwise, which would count as the seeder's latency.
            nix::sys::prctl::set_timerslack(OPEN_LOOP_SLACK_NS)?;
        }
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now_ns = self.shared.clock.now_ns();
            if !self.in_window && now_ns >= self.shared.window.start_ns() {
                self.open_window();
            }
            if now_ns >= self.shared.window.end_ns() {
                break;
            }
            if now_ns >= self.last_tick_ns + TICK_NS {
                self.tick(now_ns);
            }
            self.dial_more(now_ns)?;
            self.offer(now_ns);
            self.board.bytes.store(self.run_bytes, Relaxed);

            self.wait(&mut events)?;
            for event in &events {
                self.on_event(event.data.u64(), event.flags);
            }
        }
        Ok(self.finish())
    }

    /// Waits for events, but no longer than until something is due.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<(), Failure> {
        events.clear();
        let mut timeout = Timespec { tv_sec: 0, tv_nsec: self.wait_ns() };
        if self.schedule.is_some() && timeout.tv_nsec > 0 {
            // A schedule is finer than the milliseconds of epoll_wait(2), which is what there is before Linux 5.11.
            match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => return Ok(()),
                Ok(_) => timeout.tv_nsec = 0,
                Err(error) => return Err(error.into()),
            }
        }
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How long nothing is due: until the next tick, or until the schedule wants something.
    fn wait_ns(&self) -> i64 {
        let tick_ns = self.last_tick_ns + TICK_NS;
        let due_ns = self.schedule.as_ref().map_or(tick_ns, |schedule| schedule.next_ns().min(tick_ns));
        due_ns.saturating_sub(self.shared.clock.now_ns()) as i64
    }

    fn on_event(&mut self, token: u64, flags: epoll::EventFlags) {
        let (place, generation) = ((token & u64::from(u32::MAX)) as usize, (token >> 32) as u32);
        let Some(slot) = self.slots.get(place).filter(|slot| slot.generation == generation) else { return };
        let Some(connection) = &slot.connection else { return };
        let outcome = if connection.connected { self.on_ready(place, flags) } else { self.on_connected(place) };
        self.conclude(place, outcome);
    }

    /// A connect has ended, one way or the other.
    fn on_connected(&mut self, place: usize) -> Result<Progress, Reason> {
        let now_ns = self.shared.clock.now_ns();
        let slot = &mut self.slots[place];
        let Some(connection) = &mut slot.connection else { return Ok(Progress::Open) };
        if let Ok(Some(error)) | Err(error) = connection.socket.take_error() {
            return Err(crate::dial::word(&error));
        }
        self.connecting -= 1;
        connection.connected = true;
        connection.progress_ns = now_ns;
        self.tally.connect.saturating_record(now_ns - connection.dialled_ns);
        if slot.role.is_measured() {
            self.board.connected.fetch_add(1, Relaxed);
            if slot.generation == 0 {
                // Connections that come again do not put off the measuring.
                self.board.last_connect_ns.store(now_ns, Relaxed);
                self.board.pending.fetch_sub(1, Release);
            }
        }
        let number = (slot.number as u64) << 32 | u64::from(slot.generation);
        connection.greet(self.shared.content, peer_id(self.shared.seed ^ number), &mut self.scratch)?;
        Ok(Progress::Open)
    }

    /// The socket can be read, written, or has ended.
    fn on_ready(&mut self, place: usize, flags: epoll::EventFlags) -> Result<Progress, Reason> {
        let slot = &mut self.slots[place];
        let Some(connection) = &mut slot.connection else { return Ok(Progress::Open) };
        if flags.contains(epoll::EventFlags::OUT) {
            connection.flush(&mut self.scratch)?;
        }
        let ended = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP);
        if matches!(slot.role, Role::Slow(_)) && connection.is_greeted() && !ended {
            return Ok(Progress::Open); // It reads when its time comes.
        }
        self.read(place, u64::MAX, ended).map(|(progress, _)| progress)
    }

    /// Reads up to `allowance` bytes, books what was answered and asks for more. Returns what is left of the allowance.
    pub(crate) fn read(&mut self, place: usize, allowance: u64, ended: bool) -> Result<(Progress, u64), Reason> {
        let (mut left, content) = (allowance, self.shared.content);
        let Some(connection) = &mut self.slots[place].connection else { return Ok((Progress::Open, left)) };
        let drained = connection.drain(content, &mut self.scratch, &mut self.tally, &mut left, ended);
        let now_ns = self.shared.clock.now_ns();
        if left < allowance {
            connection.progress_ns = now_ns;
        }
        connection.flush(&mut self.scratch)?;
        self.book(place, now_ns);
        drained.map(|progress| (progress, left)).and_then(|done| self.refill(place, now_ns).map(|()| done))
    }

    /// Books the answers and the unchoke that reading has brought.
    fn book(&mut self, place: usize, now_ns: u64) {
        let slot = &mut self.slots[place];
        let Some(connection) = &mut slot.connection else { return };
        let leech = &mut connection.leech;
        if leech.unchoked_now && !connection.was_unchoked {
            connection.was_unchoked = true;
            if slot.role.is_measured() {
                self.board.unchoked.fetch_add(1, Relaxed);
                self.tally.unchoke.saturating_record(now_ns - connection.allowed_ns);
                if slot.generation == 0 {
                    self.tally.first_unchokes += 1;
                    self.tally.last_first_unchoke_ns = now_ns;
                }
            }
        }
        let bytes = std::mem::take(&mut leech.answered_bytes);
        self.run_bytes += bytes;
        if !self.in_window {
            return;
        }
        self.tally.bytes += bytes;
        if let Some(window_bytes) = &mut slot.window_bytes {
            *window_bytes += bytes;
        }
        for batch in &leech.answers {
            self.tally.blocks += u64::from(batch.blocks);
            if slot.role.is_measured() {
                self.tally.timed(*batch, now_ns);
            }
        }
    }

    /// Asks for as many blocks as were answered, or for a full depth after an unchoke.
    fn refill(&mut self, place: usize, now_ns: u64) -> Result<(), Reason> {
        let depth = self.depth(place);
        let is_measured = self.slots[place].role.is_measured();
        let Some(connection) = &mut self.slots[place].connection else { return Ok(()) };
        let answered: u32 = connection.leech.answers.drain(..).map(|batch| batch.blocks).sum();
        let unchoked = std::mem::take(&mut connection.leech.unchoked_now);
        if connection.role == Role::Metadata || connection.leech.choked || (answered == 0 && !unchoked) {
            return Ok(());
        }
        if self.schedule.is_some() && is_measured {
            return self.serve_due(place, if unchoked { u32::MAX } else { answered }, now_ns);
        }
        let room = depth.saturating_sub(connection.leech.asked.open());
        let blocks = if unchoked { room } else { room.min(answered) };
        self.ask(place, blocks, now_ns)
    }

    /// Asks for so many blocks now, first for those that were taken back.
    pub(crate) fn ask(&mut self, place: usize, blocks: u32, now_ns: u64) -> Result<(), Reason> {
        let Some(connection) = &mut self.slots[place].connection else { return Ok(()) };
        match blocks {
            0 => Ok(()),
            _ => {
                let again = blocks.min(connection.leech.asked.voided());
                connection.ask(again, blocks - again, now_ns, now_ns, self.shared.content, &mut self.scratch)
            }
        }
    }

    /// Open requests that a connection may have: what was asked for, what the seeder says that it holds, and no block twice.
    pub(crate) fn depth(&self, place: usize) -> u32 {
        let limit = self.slots[place].connection.as_ref().and_then(|one| one.leech.peer.request_queue_limit);
        let blocks = u32::try_from(self.shared.content.block_count()).unwrap_or(u32::MAX);
        self.shared.args.depth.min(limit.unwrap_or(u32::MAX)).min(blocks)
    }

    /// What a connection in this slot asks for.
    pub(crate) fn blocks_of(&mut self, place: usize) -> Blocks {
        let (slot, count) = (&self.slots[place], self.shared.content.piece_count());
        let order = match self.shared.args.order {
            Order::Random => PieceOrder::random(count, self.random.next()),
            Order::Sequential => {
                let share = slot.number as u64 * u64::from(count) / u64::from(self.shared.args.connections.max(1));
                PieceOrder::sequential(count, (share % u64::from(count)) as u32)
            }
        };
        Blocks::new(order, slot.role == Role::Verify)
    }

    fn open_window(&mut self) {
        self.in_window = true;
        for slot in &mut self.slots {
            let stands = slot.connection.as_ref().is_some_and(|connection| connection.connected);
            slot.window_bytes = (stands && slot.role.is_measured()).then_some(0);
        }
    }

    fn finish(mut self) -> Tally {
        self.tally.shares = self.slots.iter().filter_map(|slot| slot.window_bytes).collect();
        let end_ns = self.shared.window.end_ns();
        for place in 0..self.slots.len() {
            let (slot, depth) = (&self.slots[place], self.depth(place));
            let Some(connection) = &slot.connection else { continue };
            self.tally.add_oddities(connection.leech.odd);
            if slot.role.is_measured() {
                self.tally.unanswered_blocks += connection.owed_blocks();
                let waited_ns = connection.oldest_owed_ns().map_or(0, |since_ns| end_ns.saturating_sub(since_ns));
                self.tally.unanswered_oldest_ns = self.tally.unanswered_oldest_ns.max(waited_ns);
                if connection.was_unchoked {
                    self.tally.depths.push(depth);
                }
            }
        }
        self.tally
    }
}

impl Role {
    /// Whether latency and fairness count it: it downloads as fast as it can.
    pub(crate) fn is_measured(self) -> bool {
        matches!(self, Role::Discard | Role::Verify)
    }
}

fn peer_id(seed: u64) -> PeerId {
    let mut random = Random::new(seed);
    let mut bytes = [0; 12];
    bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
    let mut id = PeerId::ours(bytes);
    id.0[..PEER_ID_PREFIX.len()].copy_from_slice(PEER_ID_PREFIX);
    id
}

#[cfg(test)]
mod tests;
