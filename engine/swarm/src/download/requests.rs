//! Which blocks a peer is asked for: pieces that are open first, then new ones, and at the very end blocks that others are
//! asked for as well.
//!
//! A peer that is fast enough takes pieces by itself: a failed check then has one culprit, and few pieces are open. Slow
//! peers share pieces.

use super::limits::{
    END_GAIN, ENDGAME_PEERS, HELP_AFTER, PAROLE_PATIENCE, RANDOM_FIRST_PIECES, ROOM_GAIN, SEQUENTIAL_WINDOW_BYTES,
    SEQUENTIAL_WINDOW_PIECES, UNPROVEN_WAIT_S,
};
use super::open_pieces::{NOBODY, OpenPiece};
use super::peer::{Peer, Request};
use super::{BLOCK_SIZE, BlockRange, Download};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

/// Which open pieces come into question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Those on parole that wait for one peer.
    OnParole,
    /// Those that nobody works at.
    Orphans,
    /// Those that nobody has for himself.
    Shared,
    /// All that are not on parole.
    Any,
}

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Appends to `out` the blocks that the peer is to be asked for now, in this order.
    pub fn poll_requests(&mut self, now: Duration, peer: P, out: &mut Vec<BlockRange>) {
        let Some(slot) = self.slot(peer) else { return };
        let epoch = self.epoch;
        let Some(entry) = self.peer_mut(slot) else { return };
        entry.is_announced = false;
        if entry.dry_epoch == epoch {
            return;
        }
        let before = out.len();
        while self.request_room(slot) > 0
            && let Some(open) = self.pick(now, slot)
        {
            self.ask_for(now, slot, open, out);
        }
        // Blocks that others are asked for take up no room of their own.
        let might_help = !self.paused && self.peer(slot).is_some_and(|entry| entry.pipeline_room() > 0);
        if might_help && self.ask_again(now, slot, out) {
            let epoch = self.epoch;
            self.peer_mut(slot).into_iter().for_each(|entry| entry.dry_epoch = epoch);
        }
        self.progress.requested_blocks += (out.len() - before) as u64;
    }

    /// How many blocks the peer may be asked for now.
    fn request_room(&self, slot: u32) -> usize {
        let room = u64::from(self.write_room).saturating_sub(self.open.used_blocks()) as usize;
        if self.paused { 0 } else { self.peer(slot).map_or(0, Peer::pipeline_room).min(room) }
    }

    /// Asks for the next blocks of an open piece.
    fn ask_for(&mut self, now: Duration, slot: u32, open: u32, out: &mut Vec<BlockRange>) {
        let Some(piece) = self.open.get(open).map(|open| open.piece) else { return };
        for _ in 0..self.request_room(slot) {
            let Some(block) = self.open.ask_next(now, open, slot) else { break };
            let Some(range) = self.block_range(piece, block) else { break };
            let Some(entry) = self.peer_mut(slot) else { break };
            entry.current = Some((open, piece));
            if let Some(arriving) = entry.arriving.as_mut().filter(|it| (it.piece, it.block) == (piece, block)) {
                // It was given up while it came in, and still does.
                arriving.open = open;
                continue;
            }
            entry.requests.push_back(Request { open, piece, block, asked_at: now });
            out.push(range);
        }
        if self.is_endgame() {
            // Peers without work may help from now on.
            self.freed();
        }
    }
}

/// Open pieces.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// The open piece to go on with; a new one is opened where that is better.
    fn pick(&mut self, now: Duration, slot: u32) -> Option<u32> {
        let entry = self.peer(slot)?;
        let whole = entry.takes_whole(self.layout().piece_length());
        // A peer that does not answer keeps nothing from others.
        let (is_web_seed, is_snubbed) = (entry.is_web_seed, entry.snubbed);
        if let Some(open) = self.current(slot, whole) {
            return Some(open);
        }
        let picked = self.best_open(now, slot, Share::OnParole);
        let picked = match (picked, is_web_seed, whole) {
            (Some(picked), _, _) => Some(picked),
            // A web seed goes on with its row.
            (None, true, _) => self.begin(now, slot).or_else(|| self.best_open(now, slot, Share::Orphans)),
            (None, false, true) => self.best_open(now, slot, Share::Orphans).or_else(|| self.begin(now, slot)),
            (None, false, false) => self.best_open(now, slot, Share::Shared).or_else(|| self.begin(now, slot)),
        };
        let picked = picked.or_else(|| self.best_open(now, slot, Share::Any))?;
        if let Some(open) = self.open.get_mut(picked)
            && !is_snubbed
            && (open.parole.is_some() || (whole && open.asked_count() == 0))
        {
            open.owner = slot;
        }
        Some(picked)
    }

    /// The piece that the peer was last asked for, if it has blocks left.
    fn current(&self, slot: u32, whole: bool) -> Option<u32> {
        let entry = self.peer(slot)?;
        let (at, piece) = entry.current?;
        let open = self.open.get(at).filter(|open| open.piece == piece && open.free_count() > 0)?;
        let mine = open.owner == slot || (open.owner == NOBODY && !whole && open.parole.is_none());
        (mine && entry.may_be_asked_for(piece)).then_some(at)
    }

    fn best_open(&self, now: Duration, slot: u32, share: Share) -> Option<u32> {
        let entry = self.peer(slot)?;
        let suits = |open: &OpenPiece| {
            let on_parole = open.parole.as_ref().is_some_and(|parole| {
                // Those who have shown that they send, and that it is right, come first.
                let patience = match (entry.suspect, entry.has_sent && !entry.snubbed) {
                    (true, _) => PAROLE_PATIENCE,
                    (false, false) => PAROLE_PATIENCE / 2,
                    (false, true) => Duration::ZERO,
                };
                let patient = now.saturating_sub(parole.since) < patience;
                (open.owner == NOBODY || open.owner == slot) && !patient
            });
            match share {
                Share::OnParole => on_parole,
                Share::Orphans => open.parole.is_none() && open.asked_count() == 0,
                Share::Shared => open.parole.is_none() && open.owner == NOBODY,
                Share::Any => open.parole.is_none(),
            }
        };
        let candidates = self.open.with_free().iter().filter_map(|at| Some((*at, self.open.get(*at)?)));
        let candidates = candidates.filter(|(_, open)| suits(open) && entry.may_be_asked_for(open.piece));
        // The one that is soonest whole, or comes first in order.
        let rank = |open: &OpenPiece| if self.sequential { (open.piece, 0) } else { (open.free_count(), open.piece) };
        candidates.min_by_key(|(_, open)| rank(open)).map(|(at, _)| at)
    }
}

/// New pieces.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Opens a piece for the peer, if there is room.
    fn begin(&mut self, now: Duration, slot: u32) -> Option<u32> {
        let piece = self.choose(slot)?;
        let block_count = self.piece_size(piece).div_ceil(BLOCK_SIZE);
        if !self.open.has_room_for(block_count, self.write_room) {
            self.lacks_room = true;
            return None;
        }
        self.lacks_room = false;
        self.picker.set_pickable(piece, false);
        Some(self.open.open(now, piece, block_count))
    }

    /// A piece that the peer has and that is not open.
    fn choose(&mut self, slot: u32) -> Option<u32> {
        let entry = self.peers.get(slot as usize)?.as_ref()?;
        let picker = &mut self.picker;
        let may_begin = |piece: &u32| picker.is_pickable(*piece) && entry.may_be_asked_for(*piece);
        if let Some(piece) = entry.suggested.iter().rev().find(|piece| may_begin(piece)) {
            return Some(*piece);
        }
        if entry.choking {
            return entry.allowed_fast.iter().copied().find(may_begin);
        }
        if entry.is_web_seed {
            let next = entry.current.map(|(_, piece)| piece + 1).filter(may_begin);
            return next.or_else(|| self.middle_of_longest_run(slot));
        }
        if entry.is_restricted() {
            // Some of what it has, it refuses: rare, so that it may cost more.
            return picker.any_of(entry.pieces(), |piece| entry.may_be_asked_for(piece));
        }
        if self.sequential {
            let pieces = (SEQUENTIAL_WINDOW_BYTES / u64::from(self.torrent.layout().piece_length())) as u32;
            let first = picker.first(entry.pieces(), pieces.max(SEQUENTIAL_WINDOW_PIECES));
            return first.or_else(|| picker.rarest(entry.pieces()));
        }
        if self.have.count() < RANDOM_FIRST_PIECES { picker.any(entry.pieces()) } else { picker.rarest(entry.pieces()) }
    }

    /// Where a web seed begins a row: at the start of the longest, or in its middle if somebody is coming up to its start.
    fn middle_of_longest_run(&self, slot: u32) -> Option<u32> {
        let entry = self.peer(slot)?;
        let (start, length) = self.picker.longest_run(entry.pieces())?;
        let taken = start.checked_sub(1).is_some_and(|before| self.open.slot_of(before).is_some());
        Some(if taken { start + length / 2 } else { start })
    }
}

/// The end.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Asks the peer for blocks that others are asked for, those first that would come last: only what it would send sooner.
    /// True if nothing is left to ask it for.
    fn ask_again(&mut self, now: Duration, slot: u32, out: &mut Vec<BlockRange>) -> bool {
        let helps = |download: &Download<P>| {
            let is_short = |entry: &Peer<P>| entry.requests.len() < entry.pipeline.help_depth();
            download.peer(slot).is_some_and(|entry| is_short(entry) && entry.pipeline_room() > 0)
        };
        if !self.is_endgame() {
            return true;
        }
        let waits = |peer: u32| {
            let entry = self.peer(peer)?;
            let count = entry.requests.len();
            (peer != slot && count > 0).then(|| (entry.expected_wait_s(count).unwrap_or(f64::INFINITY), peer))
        };
        let mut others: Vec<(f64, u32)> = self.peer_slots().filter_map(waits).collect();
        others.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, other) in others {
            let count = self.peer(other).map_or(0, |entry| entry.requests.len());
            for place in (0..count).rev() {
                if !helps(self) {
                    return false;
                }
                self.ask_too(now, slot, (other, place), out);
            }
        }
        true
    }

    /// Asks the peer for one block of another's pipeline, if that is sooner.
    fn ask_too(&mut self, now: Duration, slot: u32, (other, place): (u32, usize), out: &mut Vec<BlockRange>) {
        let (Some(entry), Some(other)) = (self.peer(slot), self.peer(other)) else { return };
        let Some(request) = other.requests.get(place).copied() else { return };
        // A peer that has proved nothing yet is thought slow.
        let mine = entry.expected_wait_s(entry.requests.len()).unwrap_or(UNPROVEN_WAIT_S);
        let young = !other.snubbed && now.saturating_sub(request.asked_at) < HELP_AFTER;
        let theirs = other.expected_wait_s(place).unwrap_or(if young { 0.0 } else { f64::INFINITY });
        let Some(open) = self.open.get(request.open).filter(|open| open.piece == request.piece) else { return };
        let exclusive = open.parole.is_some() && open.owner != NOBODY;
        let asked_of = open.askers(request.block).count();
        let is_arriving = entry.arriving.is_some_and(|it| (it.piece, it.block) == (request.piece, request.block));
        // What is on its way when the cancel arrives is wasted, so that it must be worth it; in the middle of a download, where
        // only room is lacking, much more so.
        let (factor, gain_s) = if self.lacks_room { ROOM_GAIN } else { END_GAIN };
        if mine * factor + gain_s >= theirs
            || is_arriving
            || exclusive
            || asked_of >= ENDGAME_PEERS
            || !entry.may_be_asked_for(request.piece)
        {
            return;
        }
        let Some(range) = self.block_range(request.piece, request.block) else { return };
        if self.open.ask(now, request.open, request.block, slot) {
            if let Some(entry) = self.peer_mut(slot) {
                entry.requests.push_back(Request { asked_at: now, ..request });
            }
            self.progress.endgame_requests += 1;
            out.push(range);
        }
    }
}
