//! Who is told of which piece, and when a piece is taken back.

use super::peer::Hold;
use super::{FULL_WEIGHT, SuperSeedAction, SuperSeeder, SuperSeeding};
use std::cmp::Reverse;
use std::hash::Hash;
use std::time::Duration;

/// A peer that takes nothing of its pieces for this long gives them back.
const HOLD_LIMIT: Duration = Duration::from_secs(10);

/// However little it takes of them now and then, after this long a piece that is not whole is revealed to another: who
/// trickles must not keep pieces from everybody.
const AGE_LIMIT: Duration = Duration::from_secs(120);

/// The same for one that does not even say that it wants them, or that could ask for some of them and does not.
const INTEREST_LIMIT: Duration = Duration::from_secs(4);

/// A peer that has let its pieces lie so often, one time after the other, is told everything: it seems to want others.
const STRIKES_LIMIT: u32 = 2;

/// The same for a client that falls asleep when it knows of too little.
const DOZER_STRIKES_LIMIT: u32 = 1;

/// A piece that was sent as a whole and that nobody says to have is revealed to another after this long.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

/// A peer that gets nothing new for this long although others have all pieces is told everything: they do not reach it, or do
/// not serve it.
const STARVED_LIMIT: Duration = Duration::from_secs(20);

/// The last pieces are given to a second peer if the first needs longer than this.
const LAST_PATIENCE: Duration = Duration::from_secs(4);

/// The second peer must be so many times as fast.
const LAST_FASTER: u64 = 2;

/// Pieces that are given to a second peer in one look, at most.
const LAST_AT_ONCE: usize = 64;

/// What a peer that is alone may have on its way, in pieces: it shall lose nothing while we wait for others.
const LONE_WINDOW_PIECES: u64 = 8;

impl<P: Copy + Eq + Hash> SuperSeeder<P> {
    /// Puts the peer among those that wait for a piece, or takes it from them, as it has room or not.
    pub(super) fn touch(&mut self, slot: u32) {
        let (piece_count, piece_bytes, clock) = (self.pieces.count(), self.piece_bytes, self.clock);
        let active = self.is_active();
        let is_alone = self.leech_count <= 1 && self.mode == SuperSeeding::Auto;
        let lone_window_bytes = if is_alone { LONE_WINDOW_PIECES * piece_bytes } else { 0 };
        let Some(peer) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let lacks = peer.have_count < piece_count;
        let waits = active && lacks && peer.has_room(piece_bytes, lone_window_bytes);
        match (peer.waits_at, waits) {
            (None, true) => {
                // What it did not take in the past does not put it before others for ever.
                peer.virtual_time = peer.virtual_time.max(clock);
                peer.waits_at = Some(peer.virtual_time);
                self.queue.insert((peer.virtual_time, slot));
            }
            (Some(at), false) => {
                peer.waits_at = None;
                self.queue.remove(&(at, slot));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Reveals pieces as long as there are some that only we have, peers with room and budget.
    pub(super) fn assign(&mut self, now: Duration, out: &mut Vec<SuperSeedAction<P>>) {
        while self.is_active()
            && !self.queue.is_empty()
            && !self.pieces.pool_is_empty()
            && self.budget.allows(self.owed_bytes)
        {
            let (Some((at, slot)), Some(piece)) = (self.queue.pop_first(), self.pieces.draw()) else { return };
            self.clock = at;
            self.reveal(now, slot, piece, out);
        }
    }

    /// Tells a peer that was taken from the queue of a piece.
    pub(super) fn reveal(&mut self, now: Duration, slot: u32, piece: u32, out: &mut Vec<SuperSeedAction<P>>) {
        let size_bytes = self.pieces.size_bytes(piece);
        if let Some(peer) = self.peer_mut(slot) {
            peer.waits_at = None;
            out.push(SuperSeedAction::Reveal { peer: peer.key, piece });
        }
        self.hold(now, slot, piece, size_bytes);
        self.touch(slot);
    }

    /// The piece is on its way to this peer from now on.
    pub(super) fn hold(&mut self, now: Duration, slot: u32, piece: u32, size_bytes: u64) {
        self.pieces.set_holder(piece, slot);
        self.owed_bytes += size_bytes;
        if let Some(peer) = self.peer_mut(slot) {
            peer.add_hold(now, piece, size_bytes);
        }
    }

    /// The piece is on its way to this peer no more.
    fn release(&mut self, slot: u32, piece: u32) {
        let Some(peer) = self.peer_mut(slot) else { return };
        let owed = peer.release_hold(piece);
        self.owed_bytes -= owed.unwrap_or(0);
        if self.pieces.holder(piece) == Some(slot) {
            self.pieces.clear_holder(piece);
        }
    }

    /// Takes back pieces that their peer lets lie, or that went to it and were not heard of again.
    pub(super) fn check_progress(&mut self, now: Duration, slot: u32, out: &mut Vec<SuperSeedAction<P>>) {
        let piece_bytes = self.piece_bytes;
        let Some(peer) = self.peer_mut(slot) else { return };
        let waits_for_us = peer.interested && (peer.has_asked || !peer.unchoked);
        let patience = if waits_for_us { HOLD_LIMIT } else { INTEREST_LIMIT };
        let is_aged = |hold: &Hold| hold.delivered_at.is_none() && hold.is_older_than(now, AGE_LIMIT);
        let trickles = peer.holds().any(is_aged);
        let lies = peer.owed_bytes > 0 && now.saturating_sub(peer.last_progress) >= patience;
        // A peer that drains full socket buffers slowly has its own time to say that it has the piece.
        let confirm = peer.backlog_time().map_or(CONFIRM_LIMIT, |time| CONFIRM_LIMIT.max(2 * time));
        let taken_back: Vec<u32> = peer
            .holds()
            .filter(|hold| match hold.delivered_at {
                None => lies || is_aged(hold),
                Some(_) => hold.is_delivered_since(now, confirm),
            })
            .map(|hold| hold.piece)
            .collect();
        if lies || trickles {
            peer.last_progress = now;
            // That a peer waits for a slot is our doing.
            peer.strikes += u32::from(peer.unchoked || !peer.interested);
            peer.virtual_time = peer.virtual_time.saturating_add(piece_bytes * FULL_WEIGHT);
        }
        for piece in taken_back {
            self.release(slot, piece);
        }
        let (piece_count, has_copy) = (self.pieces.count(), self.pieces.unsafe_count() == 0);
        let Some(peer) = self.peer_mut(slot).filter(|peer| !peer.told_all) else { return };
        let limit = if peer.dozes { DOZER_STRIKES_LIMIT } else { STRIKES_LIMIT };
        let gains = peer.have_count == piece_count || now.saturating_sub(peer.gained_at) < STARVED_LIMIT;
        if peer.strikes >= limit || (has_copy && !gains) {
            peer.told_all = true;
            out.push(SuperSeedAction::RevealAll { peer: peer.key });
        }
    }

    /// When every piece is on its way and some of them are with slow peers, gives those to faster ones as well: the copy
    /// is whole when its last piece is.
    pub(super) fn assign_last(&mut self, now: Duration, out: &mut Vec<SuperSeedAction<P>>) {
        if !self.pieces.pool_is_empty() || self.queue.is_empty() {
            return;
        }
        let fair_rate = self.budget.rate() / self.leech_count.max(1) as u64;
        let mut slow: Vec<(Duration, u32, u32, u64)> = Vec::new();
        for (slot, peer) in self.slots.iter().enumerate().filter_map(|(slot, peer)| Some((slot as u32, peer.as_ref()?)))
        {
            let waited = now.saturating_sub(peer.last_progress);
            // One that gets little since all together get little is not slow.
            let is_slow = LAST_FASTER * peer.rate < fair_rate;
            let left = peer.backlog_time().filter(|_| is_slow).unwrap_or(waited).max(waited);
            if left >= LAST_PATIENCE {
                let holds = peer.holds().filter(|hold| !self.pieces.is_safe(hold.piece));
                slow.extend(holds.map(|hold| (left, slot, hold.piece, peer.rate)));
            }
        }
        slow.sort_unstable_by_key(|(left, slot, piece, _)| (Reverse(*left), *slot, *piece));
        for (_, holder, piece, rate) in slow.into_iter().take(LAST_AT_ONCE) {
            let faster = |slot: &u32| {
                let peer = self.slots[*slot as usize].as_ref();
                peer.is_some_and(|peer| peer.rate > LAST_FASTER * rate && !peer.was_told(piece))
            };
            let Some((at, slot)) = self.queue.iter().find(|(_, slot)| faster(slot)).copied() else { continue };
            self.queue.remove(&(at, slot));
            self.release(holder, piece);
            self.reveal(now, slot, piece, out);
            self.touch(holder);
        }
    }
}
