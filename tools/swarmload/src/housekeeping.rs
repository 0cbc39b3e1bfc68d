//! What a thread of the load does beside events: paces slow readers, keeps the schedule of an open loop, and gives up on
//! silence. How connections come and go is in `turnover`.

use crate::asked::Batch;
use crate::clock::SECOND_NS;
use crate::connection::{Connection, Progress, Reason, Role};
use crate::worker::Worker;

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

/// What a slow reader may save up.
const MIN_SLOW_ALLOWANCE: u64 = 16 * 1024;

/// Blocks that a connection may lag behind its schedule. What is due beyond is given up and counted.
const MAX_DUE_BLOCKS: u32 = 8192;

impl Worker<'_> {
    /// Everything that time alone brings.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns - self.last_tick_ns;
        self.last_tick_ns = now_ns;
        self.churn(elapsed_ns, now_ns);
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
            return self.serve_due(place, self.shared.args.burst, now_ns);
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
            let burst = self.shared.args.burst;
            let Some(place) = self.next_in_turn() else {
                let bursts = 1 + schedule.give_up(now_ns);
                if self.in_window {
                    self.tally.abandoned_blocks += bursts * u64::from(burst);
                }
                break;
            };
            if let Some(connection) = &mut self.slots[place].connection {
                if connection.due_blocks + burst > MAX_DUE_BLOCKS {
                    self.tally.schedule_dropped += u64::from(burst);
                    continue;
                }
                connection.due.push_back(Batch { sent_ns: 0, scheduled_ns, blocks: burst });
                connection.due_blocks += burst;
            }
            let outcome = self.serve_due(place, burst, now_ns);
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

    /// Asks for what is due on a connection, as far as its depth allows: first again for what was taken back, each request
    /// with its own place in the schedule, then for what the schedule has added. No more than `again` are asked for again, so
    /// that a seeder that rejects everything is not offered many times the rate.
    pub(crate) fn serve_due(&mut self, place: usize, again: u32, now_ns: u64) -> Result<(), Reason> {
        let depth = self.depth(place);
        let Some(connection) = &mut self.slots[place].connection else { return Ok(()) };
        let room = depth.saturating_sub(connection.leech.asked.open());
        let again = connection.leech.asked.voided().min(room).min(again);
        if again > 0 && !connection.leech.choked {
            connection.ask(again, 0, now_ns, now_ns, self.shared.content, &mut self.scratch)?;
        }
        while let Some(batch) = connection.due.front_mut() {
            let room = depth.saturating_sub(connection.leech.asked.open() + connection.leech.asked.voided());
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
            connection.ask(0, blocks, now_ns, scheduled_ns, self.shared.content, &mut self.scratch)?;
        }
        Ok(())
    }
}
