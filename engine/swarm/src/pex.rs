//! Peer exchange (BEP 11): which connected peers each connection is told of, and what it may tell us. The swarm is kept once
//! for a torrent, in [`PexLog`]; a connection ([`PexPeer`]) only remembers how much of it its peer knows.
//!
//! Peers are numbered as they join. What a peer was told is one unbroken range of those numbers: it grows forward with
//! those that join, and backward, as long as a message has room, to those that were there before. So whoever
//! leaves is either in the range, and reported as dropped, or was never mentioned.

use crate::{Fault, may_tell};
use arrayvec::ArrayVec;
use metainfo::Torrent;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;
use wire::{PexFlags, PexMessage, encode_pex};

/// Peers that a message says have joined, and as many that have left, of both families together (BEP 11). Its first message may
/// be longer; ours is not.
pub const PEX_MESSAGE_PEERS: usize = 50;

/// BEP 11 allows a message a minute. They may bunch up on the way, and some clients count strictly, so ours are a bit rarer.
pub const PEX_INTERVAL: Duration = Duration::from_secs(65);

/// Peers of a torrent that others are told of: enough for half an hour of messages. Beyond it newcomers are not told of.
pub const PEX_MEMBERS_LIMIT: usize = 2_000;

/// Those that left and may not have been reported to everybody yet.
pub const PEX_LEAVES_LIMIT: usize = 2_000;

/// A message that comes sooner after the one before is not read.
const HEARD_INTERVAL_LIMIT: Duration = Duration::from_secs(45);

/// The most added peers in a message that is not the first: libtorrent writes up to 100. What is above 50 of a family is not
/// taken in any case.
const HEARD_ADDED_LIMIT: usize = 100;

/// Messages that break these limits, less those that keep them, before the peer counts as a flood.
const BREACHES_LIMIT: u8 = 5;

/// Addresses that one peer may tell us at once, and how many more with each message: BEP 11 warns of taking all from one.
const ALLOWANCE_LIMIT: usize = 100;
const ALLOWANCE_PER_MESSAGE: usize = 25;

/// A torrent's connected peers whose listening addresses are known, as they joined and left.
#[derive(Debug, Default)]
pub struct PexLog {
    /// By the number under which they joined.
    members: BTreeMap<u64, (SocketAddr, PexFlags)>,
    /// The same by address, with how many connections there are.
    by_address: BTreeMap<SocketAddr, (u64, u32)>,
    /// Under which number they had joined, in the order in which they left.
    leaves: VecDeque<(u64, SocketAddr)>,
    join_count: u64,
    leave_count: u64,
}

impl PexLog {
    /// The log of a torrent; `None` if it is private, so that nothing can be told of its peers.
    pub fn new(torrent: &Torrent) -> Option<PexLog> {
        (!torrent.is_private()).then(PexLog::default)
    }

    /// A peer is connected: we dialled this address, or the peer said that it listens there. Of one that is connected already more
    /// may be known now; those who have been told of it are not told again.
    pub fn handle_joined(&mut self, address: SocketAddr, flags: PexFlags) {
        if let Some((number, connections)) = self.by_address.get_mut(&address) {
            *connections += 1;
            if let Some((_, known)) = self.members.get_mut(number) {
                *known = known.with(flags);
            }
            return;
        }
        if self.members.len() >= PEX_MEMBERS_LIMIT {
            return;
        }
        self.members.insert(self.join_count, (address, flags));
        self.by_address.insert(address, (self.join_count, 1));
        self.join_count += 1;
    }

    /// A peer that had joined is connected no longer.
    pub fn handle_left(&mut self, address: SocketAddr) {
        let Some((number, connections)) = self.by_address.get_mut(&address) else { return };
        *connections -= 1;
        if *connections > 0 {
            return;
        }
        let number = *number;
        self.by_address.remove(&address);
        self.members.remove(&number);
        self.leaves.push_back((number, address));
        self.leave_count += 1;
        if self.leaves.len() > PEX_LEAVES_LIMIT {
            self.leaves.pop_front();
        }
    }

    /// Peers that left so long ago that those who were not told yet will not be.
    pub fn forgotten_count(&self) -> u64 {
        self.leave_count - self.leaves.len() as u64
    }

    /// Those that left, from the one with this number in the order of leaving; from the oldest that is known, if that one is
    /// forgotten. Each with the number behind its own.
    fn leaves_from(&self, first: u64) -> impl Iterator<Item = (u64, u64, SocketAddr)> + '_ {
        let oldest = self.forgotten_count();
        let known = self.leaves.range(first.saturating_sub(oldest) as usize..);
        known.zip(first.max(oldest) + 1..).map(|(&(number, address), next)| (next, number, address))
    }
}

/// What came of a peer's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PexHeard {
    /// Addresses handed out.
    pub taken: usize,
    /// Addresses left out: too many, doubtful, or in a message that came too soon.
    pub ignored: usize,
}

/// What one peer was told of the others, and what it told us.
#[derive(Debug)]
pub struct PexPeer {
    /// The numbers of those that it was told of, as far as they had not left by then.
    told: Range<u64>,
    /// Those that left before were looked at.
    leaves_told: u64,
    next_message: Duration,
    last_heard: Option<Duration>,
    breaches: u8,
    allowance: usize,
}

impl PexPeer {
    /// A peer that speaks `ut_pex` and knows nobody yet.
    pub fn new(log: &PexLog) -> PexPeer {
        PexPeer {
            told: log.join_count..log.join_count,
            leaves_told: log.leave_count,
            next_message: Duration::ZERO,
            last_heard: None,
            breaches: 0,
            allowance: ALLOWANCE_LIMIT,
        }
    }

    /// It goes on with another log, of the same torrent, by which nobody was reported to it yet; it has to wait for its next
    /// message as before. Whom it was told of by the one before is not reported as dropped any more.
    pub fn handle_moved(&mut self, log: &PexLog) {
        self.told = log.join_count..log.join_count;
        self.leaves_told = log.leave_count;
    }

    /// Appends a message to `out` if one is due and there is something to tell, which is returned. `to` is where the peer itself
    /// listens, of port 0 if that is not known, and `extended_id` its id for `ut_pex`.
    pub fn poll_message(
        &mut self,
        now: Duration,
        log: &PexLog,
        to: SocketAddr,
        extended_id: u8,
        out: &mut Vec<u8>,
    ) -> bool {
        if now < self.next_message || !self.has_news(log) {
            return false;
        }
        let (mut dropped, is_behind) = self.take_dropped(log);
        // Numbers told while leaves are yet to be looked at could not be told from those that were told before.
        let mut added = if is_behind { ArrayVec::new() } else { self.take_added(log) };
        added.retain(|(address, _)| {
            // One that has come back meanwhile was never away, as far as the peer is concerned.
            let left = dropped.iter().position(|dropped| dropped == address);
            left.map(|at| dropped.remove(at)).is_none()
        });
        // It knows itself, and can do nothing with the private addresses of our network if it is elsewhere.
        let concerns = |address: &SocketAddr| *address != to && may_tell(to.ip(), address.ip());
        added.retain(|(address, _)| concerns(address));
        dropped.retain(|address| concerns(address));
        if added.is_empty() && dropped.is_empty() {
            return false;
        }
        encode_pex(extended_id, &added, &dropped, out);
        self.next_message = now + PEX_INTERVAL;
        true
    }

    /// A glance that costs little, for the many connections that have nothing new.
    fn has_news(&self, log: &PexLog) -> bool {
        let has_older = log.members.first_key_value().is_some_and(|(oldest, _)| *oldest < self.told.start);
        has_older || self.told.end < log.join_count || self.leaves_told < log.leave_count
    }

    /// Those that it was told of and that have left. True if there are more than a message may hold.
    fn take_dropped(&mut self, log: &PexLog) -> (ArrayVec<SocketAddr, PEX_MESSAGE_PEERS>, bool) {
        let mut dropped = ArrayVec::new();
        for (next, number, address) in log.leaves_from(self.leaves_told) {
            let is_news = self.told.contains(&number) && !dropped.contains(&address);
            if is_news && dropped.try_push(address).is_err() {
                return (dropped, true);
            }
            self.leaves_told = next;
        }
        self.leaves_told = log.leave_count;
        (dropped, false)
    }

    /// Those that have joined, the oldest first; then those that were there before, the newest first.
    fn take_added(&mut self, log: &PexLog) -> ArrayVec<(SocketAddr, PexFlags), PEX_MESSAGE_PEERS> {
        let mut added = ArrayVec::new();
        let mut joined = log.members.range(self.told.end..);
        added.extend(joined.by_ref().take(PEX_MESSAGE_PEERS).map(|(_, member)| *member));
        self.told.end = joined.next().map_or(log.join_count, |(number, _)| *number);
        let room = added.remaining_capacity();
        for (number, member) in log.members.range(..self.told.start).rev().take(room) {
            added.push(*member);
            self.told.start = *number;
        }
        added
    }

    /// Takes in the payload of a `ut_pex` message of the peer at `from`, and hands out the addresses that are worth a look.
    ///
    /// # Errors
    /// A [`Fault`] ends the connection: the message is not bencode, or there are too many, again and again.
    pub fn handle_message(
        &mut self,
        now: Duration,
        from: IpAddr,
        payload: &[u8],
        mut found: impl FnMut(SocketAddr, PexFlags),
    ) -> Result<PexHeard, Fault> {
        let message = PexMessage::parse(payload)?;
        let offered = message.added_count();
        let is_too_soon = self.last_heard.is_some_and(|last| now.saturating_sub(last) < HEARD_INTERVAL_LIMIT);
        let is_too_long = self.last_heard.is_some() && offered > HEARD_ADDED_LIMIT;
        if is_too_soon || is_too_long {
            self.breaches += 1;
            if self.breaches > BREACHES_LIMIT {
                return Err(Fault::Flood);
            }
        } else {
            self.breaches = self.breaches.saturating_sub(1);
        }
        if is_too_soon {
            return Ok(PexHeard { taken: 0, ignored: offered });
        }
        if self.last_heard.replace(now).is_some() {
            self.allowance = (self.allowance + ALLOWANCE_PER_MESSAGE).min(ALLOWANCE_LIMIT);
        }
        let allowed = message.added().filter(|(address, _)| may_tell(from, address.ip())).take(self.allowance);
        let taken = allowed.map(|(address, flags)| found(address, flags)).count();
        self.allowance -= taken;
        Ok(PexHeard { taken, ignored: offered - taken })
    }
}

#[cfg(test)]
mod tests;
