//! What a thread of the load does beside events: dials, paces slow readers, lets connections come and go, keeps the
//! schedule of an open loop, and gives up on silence.

use std::sync::atomic::Ordering::Relaxed;

use crate::asked::Batch;
use crate::clock::{SECOND_NS, ns};
use crate::connection::{Connection, Progress, Reason, Role};
use crate::failure::Failure;
use crate::worker::Worker;

/// Connects under way at once in one thread: below the backlog that seeders ask for, so that no SYN is lost.
const MAX_CONNECTING: usize = 256;

/// How often silence is looked for.
const CHECK_NS: u64 = 250_000_000;

/// A connect that takes longer has failed.
const CONNECT_TIMEOUT_NS: u64 = 20 * SECOND_NS;

/// Silence of a seeder that owes a handshake, an answer or metadata.
const SILENCE_TIMEOUT_NS: u64 = 30 * SECOND_NS;

/// A request that is older was lost, even if others are answered.
const REQUEST_TIMEOUT_NS: u64 = 120 * SECOND_NS;

/// After so much silence a choke may have been dropped unread.
const PRESUME_NS: u64 = 2 * SECOND_NS;

/// A slow reader's receive buffer: the kernel holds little for it, so that the seeder feels how slow it is.
const SLOW_RECEIVE_BYTES: usize = 16 * 1024;

/// What a slow reader may save up.
const MIN_SLOW_ALLOWANCE: u64 = 16 * 1024;

/// Blocks that a connection may lag behind its schedule. What is due beyond is given up and counted.
const MAX_DUE_BLOCKS: u32 = 8192;

impl Worker<'_> {
    /// Everything that time alone brings.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns - self.last_tick_ns;
        self.last_tick_ns = now_ns;
        self.churn(elapsed_ns);
        self.read_slowly(elapsed_ns);
        if now_ns >= self.last_check_ns + CHECK_NS {
            self.last_check_ns = now_ns;
            for place in 0..self.slots.len() {
                let outcome = self.look_again(place, now_ns);
                self.conclude(place, outcome);
                let outcome = self.check(place, now_ns);
                self.conclude(place, outcome.map(|()| Progress::Open));
            }
        }
    }

    /// Dials what the ramp and the limit on connects allow.
    pub(crate) fn dial_more(&mut self, now_ns: u64) -> Result<(), Failure> {
        let ramp_ns = ns(self.shared.args.ramp);
        let risen = match ramp_ns {
            0 => self.first_time,
            _ => (self.first_time as u128 * u128::from(now_ns) / u128::from(ramp_ns)) as usize,
        };
        while self.connecting < MAX_CONNECTING {
            let Some(&place) = self.to_dial.front() else { break };
            let is_first = self.dialled < self.first_time;
            if is_first && self.dialled >= risen {
                break;
            }
            self.to_dial.pop_front();
            self.dialled += usize::from(is_first);
            self.dial(place, is_first)?;
        }
        Ok(())
    }

    fn dial(&mut self, place: usize, is_first: bool) -> Result<(), Failure> {
        let slot = &self.slots[place];
        let (role, target) = (slot.role, self.shared.args.target);
        let source = self.shared.args.sources.of(slot.number, target);
        let receive_bytes = matches!(role, Role::Slow(_)).then_some(SLOW_RECEIVE_BYTES);
        let now_ns = self.shared.clock.now_ns();
        if is_first && role.is_measured() {
            self.board.pending.fetch_sub(1, Relaxed);
        }
        match crate::dial::begin(target, source, receive_bytes) {
            Ok(socket) => {
                let blocks = self.blocks_of(place);
                self.watch(place, Connection::new(socket, role, blocks, now_ns))
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                Err(Failure::new("too many open files: raise the limit (ulimit -n) or take fewer connections"))
            }
            Err(error) => {
                self.conclude(place, Err(crate::dial::word(&error)));
                Ok(())
            }
        }
    }

    /// Closes connections at random, to be dialled again.
    fn churn(&mut self, elapsed_ns: u64) {
        let args = self.shared.args;
        if args.churn == 0 || args.connections == 0 {
            return;
        }
        let measured = self.slots.iter().filter(|slot| slot.role.is_measured()).count();
        let share = measured as f64 / f64::from(args.connections);
        self.churn_debt += f64::from(args.churn) * share * elapsed_ns as f64 / SECOND_NS as f64;
        while self.churn_debt >= 1.0 {
            self.churn_debt -= 1.0;
            let place = self.random.below(self.slots.len() as u32) as usize;
            let slot = &self.slots[place];
            if slot.role.is_measured() && slot.connection.as_ref().is_some_and(|connection| connection.connected) {
                self.close(place);
                self.tally.churned += 1;
                self.to_dial.push_back(place);
            }
        }
    }

    /// Lets slow readers read what their rate allows by now.
    fn read_slowly(&mut self, elapsed_ns: u64) {
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            let Role::Slow(rate_bytes) = slot.role else { continue };
            if !slot.connection.as_ref().is_some_and(Connection::is_greeted) {
                continue;
            }
            let earned = u128::from(rate_bytes) * u128::from(elapsed_ns) / u128::from(SECOND_NS);
            slot.allowance = (slot.allowance + earned as u64).min((rate_bytes / 10).max(MIN_SLOW_ALLOWANCE));
            let outcome = self.read(place, self.slots[place].allowance, false);
            if let Ok((_, left)) = outcome {
                self.slots[place].allowance = left;
            }
            self.conclude(place, outcome.map(|(progress, _)| progress));
        }
    }

    /// Reads what came behind the last answer that was due, which brought no event of its own.
    fn look_again(&mut self, place: usize, now_ns: u64) -> Result<Progress, Reason> {
        let slot = &self.slots[place];
        let Some(connection) = &slot.connection else { return Ok(Progress::Open) };
        let is_quiet = connection.is_greeted() && now_ns.saturating_sub(connection.progress_ns) > CHECK_NS;
        match is_quiet && slot.role == Role::Discard {
            true => self.read(place, u64::MAX, false).map(|(progress, _)| progress),
            false => Ok(Progress::Open),
        }
    }

    /// Gives up on a connection that is silent where an answer is owed, and asks again for what was rejected.
    fn check(&mut self, place: usize, now_ns: u64) -> Result<(), Reason> {
        let depth = self.depth(place);
        let (is_open_loop, role) = (self.schedule.is_some(), self.slots[place].role);
        let Some(connection) = &mut self.slots[place].connection else { return Ok(()) };
        let silent_ns = now_ns.saturating_sub(connection.progress_ns);
        if !connection.connected {
            return if silent_ns > CONNECT_TIMEOUT_NS { Err("connect-timeout") } else { Ok(()) };
        }
        let open = connection.leech.asked.open();
        let owes = !connection.is_greeted() || role == Role::Metadata || open > 0;
        if owes && silent_ns > SILENCE_TIMEOUT_NS {
            return Err(if connection.is_greeted() { "request-timeout" } else { "handshake-timeout" });
        }
        let oldest_ns = connection.leech.asked.oldest().map_or(now_ns, |batch| batch.sent_ns);
        if role.is_measured() && now_ns.saturating_sub(oldest_ns) > REQUEST_TIMEOUT_NS {
            return Err("request-timeout");
        }
        if open > 0 && silent_ns > PRESUME_NS {
            connection.presume();
        }
        if is_open_loop && role.is_measured() {
            return self.serve_due(place, now_ns);
        }
        let room = depth.saturating_sub(connection.leech.asked.open());
        match connection.leech.choked || role == Role::Metadata {
            true => Ok(()),
            false => self.ask(place, room, now_ns),
        }
    }

    /// Hands out what the schedule wants by now, in turn to the connections that are unchoked.
    pub(crate) fn offer(&mut self, now_ns: u64) {
        let Some(mut schedule) = self.schedule.take() else { return };
        while let Some(scheduled_ns) = schedule.take(now_ns) {
            let Some(place) = self.next_in_turn() else {
                schedule.restart(now_ns);
                break;
            };
            let burst = self.shared.args.burst;
            if let Some(connection) = &mut self.slots[place].connection {
                if connection.due_blocks + burst > MAX_DUE_BLOCKS {
                    self.tally.schedule_dropped += u64::from(burst);
                    continue;
                }
                connection.due.push_back(Batch { sent_ns: 0, scheduled_ns, blocks: burst });
                connection.due_blocks += burst;
            }
            let outcome = self.serve_due(place, now_ns);
            self.conclude(place, outcome.map(|()| Progress::Open));
        }
        self.schedule = Some(schedule);
    }

    /// The next unchoked connection of an open loop.
    fn next_in_turn(&mut self) -> Option<usize> {
        for _ in 0..self.slots.len() {
            let place = self.turn;
            self.turn = if place + 1 == self.slots.len() { 0 } else { place + 1 };
            let slot = &self.slots[place];
            let is_ready = slot.connection.as_ref().is_some_and(|connection| connection.was_unchoked);
            if slot.role.is_measured() && is_ready {
                return Some(place);
            }
        }
        None
    }

    /// Asks for what is due on a connection, as far as its depth allows.
    pub(crate) fn serve_due(&mut self, place: usize, now_ns: u64) -> Result<(), Reason> {
        let depth = self.depth(place);
        let Some(connection) = &mut self.slots[place].connection else { return Ok(()) };
        while let Some(batch) = connection.due.front_mut() {
            let room = depth.saturating_sub(connection.leech.asked.open());
            let blocks = batch.blocks.min(room);
            if blocks == 0 || connection.leech.choked {
                break;
            }
            let scheduled_ns = batch.scheduled_ns;
            batch.blocks -= blocks;
            if batch.blocks == 0 {
                connection.due.pop_front();
            }
            connection.due_blocks -= blocks;
            connection.ask(blocks, now_ns, scheduled_ns, self.shared.content, &mut self.scratch)?;
        }
        Ok(())
    }
}
