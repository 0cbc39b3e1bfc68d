//! How a thread's connections come and go: the ramp and the limit on connects, churn, what ends one, and who is dialled again.
//! A failed connection that comes again rests first, so that a seeder that refuses is not hammered and a connect that cannot
//! even begin is not begun for ever.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Relaxed, Release};

use rustix::event::epoll;

use crate::clock::{SECOND_NS, ns};
use crate::connection::{Connection, Progress, Reason, Role};
use crate::failure::Failure;
use crate::worker::{ToDial, Worker};

/// Connects under way at once in one thread: below the backlog that seeders ask for, so that no SYN is lost.
const MAX_CONNECTING: usize = 256;

/// How long a slot rests after its connection failed.
const REST_NS: u64 = SECOND_NS;

/// A slow reader's receive buffer: the kernel holds little for it, so that the seeder feels how slow it is.
const SLOW_RECEIVE_BYTES: usize = 16 * 1024;

impl Worker<'_> {
    /// Dials what the ramp, the rests and the limit on connects allow; each slot once at most.
    pub(crate) fn dial_more(&mut self, now_ns: u64) -> Result<(), Failure> {
        while let Some(rested) = self.resting.pop_front_if(|next| next.allowed_ns <= now_ns) {
            self.to_dial.push_back(rested);
        }
        for _ in 0..self.to_dial.len() {
            if self.connecting >= MAX_CONNECTING {
                break;
            }
            let is_first = self.dialled < self.first_time;
            let allowed_ns = if is_first { self.ramp_allows_ns(self.dialled) } else { 0 };
            if allowed_ns > now_ns {
                break;
            }
            let Some(next) = self.to_dial.pop_front() else { break };
            self.dialled += usize::from(is_first);
            self.dial(ToDial { allowed_ns: allowed_ns.max(next.allowed_ns), ..next })?;
        }
        Ok(())
    }

    /// When the ramp lets the slot with this place in line be dialled for the first time.
    fn ramp_allows_ns(&self, place: usize) -> u64 {
        match u128::from(ns(self.shared.args.ramp)) {
            0 => 0,
            ramp_ns => ((place as u128 + 1) * ramp_ns).div_ceil(self.first_time as u128) as u64,
        }
    }

    fn dial(&mut self, ToDial { place, allowed_ns }: ToDial) -> Result<(), Failure> {
        let slot = &self.slots[place];
        let (role, target) = (slot.role, self.shared.args.target);
        let source = self.shared.args.sources.of(slot.number, target);
        let receive_bytes = matches!(role, Role::Slow(_)).then_some(SLOW_RECEIVE_BYTES);
        let now_ns = self.shared.clock.now_ns();
        if role.is_measured() && self.tally.first_dial_ns.is_none() {
            self.tally.first_dial_ns = Some(now_ns);
        }
        // Without a ramp the first dial allows all.
        let allowed_ns = allowed_ns.max(self.tally.first_dial_ns.unwrap_or(0)).min(now_ns);
        match crate::dial::begin(target, source, receive_bytes) {
            Ok(socket) => {
                let blocks = self.blocks_of(place);
                self.watch(place, Connection::new(socket, role, blocks, now_ns, allowed_ns))
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

    /// A new connection in its slot.
    fn watch(&mut self, place: usize, connection: Connection) -> Result<(), Failure> {
        use epoll::EventFlags;
        let slot = &mut self.slots[place];
        let token = u64::from(slot.generation) << 32 | place as u64;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, connection.socket.as_fd(), epoll::EventData::new_u64(token), flags)?;
        slot.connection = Some(connection);
        self.connecting += 1;
        Ok(())
    }

    /// Closes connections at random, to be dialled again.
    pub(crate) fn churn(&mut self, elapsed_ns: u64, now_ns: u64) {
        let args = self.shared.args;
        if args.churn == 0 || self.measured == 0 {
            return;
        }
        let share = self.measured as f64 / f64::from(args.connections);
        self.churn_debt += f64::from(args.churn) * share * elapsed_ns as f64 / SECOND_NS as f64;
        while self.churn_debt >= 1.0 {
            self.churn_debt -= 1.0;
            let Some(place) = self.random_standing() else { continue };
            self.close(place);
            self.tally.churned += 1;
            self.to_dial.push_back(ToDial { place, allowed_ns: now_ns });
        }
    }

    /// A measured connection that stands: the first from a random place on.
    fn random_standing(&mut self) -> Option<usize> {
        let from = self.random.below(self.measured as u32) as usize;
        let stands = |place: &usize| self.slots[*place].connection.as_ref().is_some_and(|one| one.connected);
        (from..self.measured).chain(0..from).find(stands)
    }

    /// Ends a connection if it failed or has served.
    pub(crate) fn conclude(&mut self, place: usize, outcome: Result<Progress, Reason>) {
        match outcome {
            Ok(Progress::Open) => {}
            Ok(Progress::Done) => {
                self.close(place);
                self.to_dial.push_back(ToDial { place, allowed_ns: self.shared.clock.now_ns() });
            }
            Err(reason) => {
                self.tally.ended(reason);
                self.board.lost.fetch_add(1, Relaxed);
                self.abandon(place);
                self.close(place);
                if self.slots[place].role == Role::Metadata {
                    self.resting.push_back(ToDial { place, allowed_ns: self.shared.clock.now_ns() + REST_NS });
                }
            }
        }
    }

    /// Counts what a connection that failed still owed: no percentile will know of it.
    fn abandon(&mut self, place: usize) {
        let slot = &self.slots[place];
        if let Some(connection) = &slot.connection
            && self.in_window
            && slot.role.is_measured()
        {
            self.tally.abandoned_blocks += connection.owed_blocks();
        }
    }

    /// Closes a connection; the kernel takes its socket out of the epoll set.
    fn close(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let is_first = slot.generation == 0;
        slot.generation = slot.generation.wrapping_add(1);
        slot.window_bytes = None;
        let connection = slot.connection.take();
        let was_connected = connection.as_ref().is_some_and(|connection| connection.connected);
        if slot.role.is_measured() && is_first && !was_connected {
            self.board.pending.fetch_sub(1, Release);
        }
        let Some(connection) = connection else { return };
        self.tally.add_oddities(connection.leech.odd);
        if !connection.connected {
            self.connecting -= 1;
        }
        if slot.role.is_measured() {
            if connection.connected {
                self.board.connected.fetch_sub(1, Relaxed);
            }
            if connection.was_unchoked {
                self.board.unchoked.fetch_sub(1, Relaxed);
            }
        }
    }
}
