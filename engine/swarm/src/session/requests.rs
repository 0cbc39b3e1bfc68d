//! Interest, choking and requests (BEP 3, BEP 6).

use super::{Fault, Reaction, Session};
use crate::limits::{CANCEL_LIMIT_PER_S, INVALID_REQUEST_LIMIT, REFUSED_IN_ROW_LIMIT};
use metainfo::{BlockRange, Torrent};
use std::time::Duration;
use wire::{MAX_BLOCK_BYTES, Message, Reserved};

impl Session {
    pub(super) fn handle_interested(&mut self, now: Duration) -> Result<Reaction, Fault> {
        self.noise.add(now)?;
        let was = std::mem::replace(&mut self.interested, true);
        Ok(if was { Reaction::None } else { Reaction::BecameInterested })
    }

    pub(super) fn handle_not_interested(&mut self, now: Duration) -> Result<Reaction, Fault> {
        self.noise.add(now)?;
        let was = std::mem::replace(&mut self.interested, false);
        Ok(if was { Reaction::LostInterest } else { Reaction::None })
    }

    pub(super) fn handle_request(
        &mut self,
        now: Duration,
        torrent: &Torrent,
        (index, begin, length): (u32, u32, u32),
        out: &mut Vec<u8>,
    ) -> Result<Reaction, Fault> {
        let block = if length <= MAX_BLOCK_BYTES { torrent.layout().block(index, begin, length) } else { None };
        let Some(block) = block else {
            self.invalid_requests += 1;
            if self.invalid_requests > INVALID_REQUEST_LIMIT {
                return Err(Fault::BadRequests);
            }
            self.reject((index, begin, length), out);
            return Ok(Reaction::Refused);
        };
        // Several clients ask without a word of interest: asking is interest. The request that shows it is kept, since a peer
        // without the fast extension would wait for its answer in vain.
        let was_interested = std::mem::replace(&mut self.interested, true);
        let shows_interest = !was_interested && !std::mem::replace(&mut self.has_asked, true);
        let was_empty = self.queue.is_empty();
        if (shows_interest || self.may_ask(block)) && self.queue.push(block, now).is_ok() {
            self.refused_in_row = 0;
            return Ok(match (was_interested, was_empty) {
                (false, _) => Reaction::BecameInterested,
                (true, true) => Reaction::HasRequests,
                (true, false) => Reaction::None,
            });
        }
        let refused = self.refuse((index, begin, length), out).inspect_err(|_| {
            // Nobody will hear of the interest, and whoever books the end must not find it.
            self.interested = was_interested;
        })?;
        Ok(if was_interested { refused } else { Reaction::BecameInterested })
    }

    pub(super) fn handle_cancel(
        &mut self,
        now: Duration,
        torrent: &Torrent,
        (index, begin, length): (u32, u32, u32),
        out: &mut Vec<u8>,
    ) -> Result<Reaction, Fault> {
        let block = torrent.layout().block(index, begin, length);
        if !block.is_some_and(|block| self.queue.cancel(block)) {
            self.noise.add(now)?;
        } else {
            self.cancels.add_within(now, CANCEL_LIMIT_PER_S)?;
            // With the fast extension every request is answered, a cancelled one too (BEP 6).
            self.reject((index, begin, length), out);
        }
        Ok(Reaction::None)
    }

    /// Refuses a request for a piece that the peer was not told of.
    ///
    /// # Errors
    /// [`Fault::Flood`] if it goes on asking.
    pub fn refuse_request(
        &mut self,
        now: Duration,
        request: (u32, u32, u32),
        out: &mut Vec<u8>,
    ) -> Result<Reaction, Fault> {
        self.last_heard = now;
        self.refuse(request, out)
    }

    fn refuse(&mut self, request: (u32, u32, u32), out: &mut Vec<u8>) -> Result<Reaction, Fault> {
        self.refused_in_row += 1;
        if self.refused_in_row > REFUSED_IN_ROW_LIMIT {
            return Err(Fault::Flood);
        }
        self.reject(request, out);
        Ok(Reaction::Refused)
    }

    /// Whether the peer may ask for a block: it is unchoked, or the piece is allowed fast, once.
    fn may_ask(&mut self, block: BlockRange) -> bool {
        if !self.choked {
            return true;
        }
        if !self.allowed_fast.contains(&block.piece().get()) || self.allowed_fast_bytes < u64::from(block.size()) {
            return false;
        }
        self.allowed_fast_bytes -= u64::from(block.size());
        true
    }

    /// Lets the peer ask. False if it may already.
    pub fn unchoke(&mut self, out: &mut Vec<u8>) -> bool {
        let was = std::mem::replace(&mut self.choked, false);
        if was {
            Message::Unchoke.encode(out);
        }
        was
    }

    /// Refuses the peer's requests from now on and forgets those that wait, but for a block under way and the
    /// allowed-fast pieces. False if it was choked already.
    pub fn choke(&mut self, out: &mut Vec<u8>) -> bool {
        if std::mem::replace(&mut self.choked, true) {
            return false;
        }
        Message::Choke.encode(out);
        let fast = self.shared.has(Reserved::FAST);
        let allowed = &self.allowed_fast;
        let keep = |block: BlockRange| allowed.contains(&block.piece().get());
        self.queue.drain(keep, |block| {
            if fast {
                reject_message(block).encode(out);
            }
        });
        true
    }

    /// Refuses the peer's requests from now on, and keeps those that wait: we are about to go, and finish what we were
    /// asked for. False if it was choked already.
    pub fn refuse_more(&mut self, out: &mut Vec<u8>) -> bool {
        self.allowed_fast.clear();
        if std::mem::replace(&mut self.choked, true) {
            return false;
        }
        Message::Choke.encode(out);
        true
    }

    /// Peers with the fast extension are told; the others find out by waiting (BEP 6).
    fn reject(&self, (index, begin, length): (u32, u32, u32), out: &mut Vec<u8>) {
        if self.shared.has(Reserved::FAST) {
            Message::Reject { index, begin, length }.encode(out);
        }
    }
}

fn reject_message(block: BlockRange) -> Message<'static> {
    Message::Reject { index: block.piece().get(), begin: block.begin(), length: block.size() }
}
