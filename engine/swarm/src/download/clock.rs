//! Whatever takes too long: late requests, peers that snub us, hashes that do not come, pieces that nobody works at.

use super::Download;
use super::limits::{HASHES_PATIENCE, REJECT_PATIENCE, SNUB_TIME, STALE_PIECE_TIME};
use super::open_pieces::Stage;
use super::peer::Request;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Looks at the clock, about four times a second.
    pub fn handle_tick(&mut self, now: Duration) {
        for slot in self.peer_slots() {
            let Some(entry) = self.peer_mut(slot) else { continue };
            entry.pipeline.handle_tick(now);
            if !entry.interested {
                // Nothing is expected of it.
                entry.last_block = now;
            }
            let may_again = entry.forget_refusals(now);
            self.give_up_late_requests(now, slot);
            if may_again {
                self.touch(slot);
            }
        }
        let is_late =
            |stage| matches!(stage, Stage::Leaves { since, .. } if now.saturating_sub(since) >= HASHES_PATIENCE);
        self.retry_hash_requests(now, is_late);
        if self.lacks_room {
            self.give_up_stale_piece(now);
        }
        if self.open.is_jammed(self.write_room) {
            self.give_up_least_piece();
        }
        let on_parole =
            self.open.with_free().iter().any(|slot| self.open.get(*slot).is_some_and(|open| open.parole.is_some()));
        if on_parole || (self.is_endgame() && self.open.asked_blocks() > 0) {
            // Who may help depends on the time.
            self.freed();
        }
    }

    fn give_up_late_requests(&mut self, now: Duration, slot: u32) {
        let Some(entry) = self.peer_mut(slot) else { return };
        let since_choke = now.saturating_sub(entry.choke_changed_at);
        if entry.choking && since_choke >= REJECT_PATIENCE && !entry.requests.is_empty() {
            let allowed = entry.allowed_fast.clone();
            self.give_up(slot, |request| !allowed.contains(&request.piece));
        }
        let Some(entry) = self.peer(slot) else { return };
        let patience = entry.pipeline.patience(entry.requests.len());
        let oldest = entry
            .requests
            .front()
            .or(entry.arriving.as_ref())
            .map(|request| request.asked_at.max(entry.choke_changed_at));
        let Some(oldest) = oldest.filter(|oldest| now.saturating_sub(*oldest) >= patience) else { return };
        let silent = now.saturating_sub(entry.last_block.max(oldest));
        if silent >= patience.min(SNUB_TIME) {
            self.snub(slot);
        } else {
            // It answers others: these it has lost.
            self.give_up(slot, |request| now.saturating_sub(request.asked_at) >= patience);
        }
    }

    /// The peer does not answer: what it was asked for goes to others, and it keeps one request at a time.
    fn snub(&mut self, slot: u32) {
        self.give_up(slot, |_| true);
        self.unask_arriving(slot);
        self.disown(slot);
        if let Some(entry) = self.peer_mut(slot) {
            entry.snubbed = true;
            entry.pipeline.handle_snub();
        }
        // It is asked again after all others.
        self.freed();
    }

    fn give_up(&mut self, slot: u32, which: impl Fn(&Request) -> bool) {
        let before = self.peer(slot).map_or(0, |entry| entry.requests.len());
        self.cancel_requests(slot, which);
        let after = self.peer(slot).map_or(0, |entry| entry.requests.len());
        self.progress.late_requests += (before - after) as u64;
    }

    /// The room was made smaller than what the open pieces need to end: the one with the least to lose goes.
    fn give_up_least_piece(&mut self) {
        let begun = self.open.iter().filter(|(_, open)| open.stored_count() > 0);
        if let Some((slot, _)) = begun.min_by_key(|(_, open)| open.stored_count()) {
            self.abandon(slot);
        }
    }

    /// Makes room: of the pieces that nobody has worked at for long, the one with the least to lose goes.
    fn give_up_stale_piece(&mut self, now: Duration) {
        let stale = self.open.iter().filter(|(_, open)| {
            let untouched = now.saturating_sub(open.last_touched) >= STALE_PIECE_TIME;
            open.stage == Stage::Blocks && open.asked_count() == 0 && untouched
        });
        if let Some((slot, _)) = stale.min_by_key(|(_, open)| open.stored_count()) {
            self.abandon(slot);
        }
    }
}
