//! One peer as the super-seeder sees it: what it was told of, how fast it takes it, whether it passes it on.

use super::budget::per_second;
use std::collections::VecDeque;
use std::time::Duration;

/// How much of a peer's own rate it may have on its way.
const WINDOW_TIME: Duration = Duration::from_secs(2);

/// Pieces on their way to any peer that takes them: one to fetch, one to fetch next.
pub(super) const LEAST_WINDOW_PIECES: u64 = 2;

/// Pieces on their way to one peer at most: what is looked through for each block sent, and what a peer that
/// vanishes can delay.
pub(super) const HOLDS_LIMIT: usize = 512;

/// Pieces that a peer picked beyond its window and that are kept for it: clients ask for parts of several at a time.
const PICKS_LIMIT: usize = 16;

/// Pieces that a peer was told of, and that were then given to others, whose requests are still answered.
const RELEASED_LIMIT: usize = 64;

/// The weight of a peer that passes on all that it gets; one that passes on nothing has weight 1.
pub(super) const FULL_WEIGHT: u64 = 8;

#[derive(Debug)]
pub(super) struct Peer<P> {
    pub(super) key: P,
    pub(super) joined: Duration,
    /// Its client falls asleep when it knows of nothing more to fetch.
    pub(super) dozes: bool,
    /// It was told that we have everything.
    pub(super) told_all: bool,
    /// It has said what it has, or had the time to.
    pub(super) has_listed: bool,
    pub(super) interested: bool,
    pub(super) unchoked: bool,
    /// It has asked for something since there are pieces on their way to it that are not sent yet.
    pub(super) has_asked: bool,
    /// How many pieces it has.
    pub(super) have_count: u32,
    /// When it last had a piece more.
    pub(super) gained_at: Duration,
    /// Pieces on their way to it, in the order in which it was told of them.
    holds: VecDeque<Hold>,
    /// Pieces that it was told of and that are on their way to it no more.
    released: VecDeque<u32>,
    /// Bytes of `holds` that are not sent yet.
    pub(super) owed_bytes: u64,
    /// Bytes of `holds`.
    pub(super) held_bytes: u64,
    /// It has not told us of a piece that came through it: what is sent to it counts as there.
    pub(super) is_silent: bool,
    window_bytes: u64,
    /// Bytes that it has finished since the last tick.
    pub(super) finished_bytes: u64,
    /// Bytes per second that it finishes, of late.
    pub(super) rate: u64,
    pub(super) last_progress: Duration,
    /// Times that it let pieces lie.
    pub(super) strikes: u32,
    /// Pieces from us that others have through it.
    pub(super) passed: u64,
    /// Pieces from us that nobody else had in good time.
    pub(super) overdue: u64,
    /// What it had, over its weight: who has had least is next.
    pub(super) virtual_time: u64,
    /// Its place among those that wait for a piece.
    pub(super) waits_at: Option<u64>,
}

/// A piece on its way to a peer.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) piece: u32,
    size_bytes: u64,
    sent_bytes: u64,
    since: Duration,
    /// When the last of its bytes was sent.
    pub(super) delivered_at: Option<Duration>,
}

impl<P> Peer<P> {
    pub(super) fn new(key: P, now: Duration, (dozes, told_all): (bool, bool), piece_bytes: u64) -> Peer<P> {
        Peer {
            key,
            joined: now,
            dozes,
            told_all,
            has_listed: false,
            interested: false,
            unchoked: false,
            has_asked: false,
            have_count: 0,
            gained_at: now,
            holds: VecDeque::new(),
            released: VecDeque::new(),
            owed_bytes: 0,
            held_bytes: 0,
            is_silent: false,
            window_bytes: LEAST_WINDOW_PIECES * piece_bytes,
            finished_bytes: 0,
            rate: 0,
            last_progress: now,
            strikes: 0,
            passed: 0,
            overdue: 0,
            virtual_time: 0,
            waits_at: None,
        }
    }

    /// From 1 for a peer that passes on nothing to [`FULL_WEIGHT`] for one that passes on all, and for a newcomer.
    pub(super) fn weight(&self) -> u64 {
        1 + (FULL_WEIGHT - 1) * (self.passed + 1) / (self.passed + self.overdue + 1)
    }

    /// Whether a piece of this size may be revealed to the peer.
    pub(super) fn has_room(&self, size_bytes: u64, lone_window_bytes: u64) -> bool {
        if self.told_all || !self.has_listed || self.holds.len() >= HOLDS_LIMIT {
            return false;
        }
        if !self.interested {
            // Without a piece to want, a peer never says that it is interested.
            return self.holds.is_empty();
        }
        let under_way = if self.is_silent { self.owed_bytes } else { self.held_bytes };
        self.unchoked && under_way + size_bytes <= self.window_bytes.max(lone_window_bytes)
    }

    /// Whether one more piece that the peer picked by itself is on its way to it alone.
    pub(super) fn may_pick(&self, size_bytes: u64) -> bool {
        let has_window = self.held_bytes + size_bytes <= self.window_bytes;
        self.holds.len() < if has_window { HOLDS_LIMIT } else { PICKS_LIMIT }
    }

    /// A piece is on its way to the peer from now on.
    pub(super) fn add_hold(&mut self, now: Duration, piece: u32, size_bytes: u64) {
        debug_assert!(self.holds.len() < HOLDS_LIMIT);
        if self.owed_bytes == 0 {
            self.last_progress = now;
            self.has_asked = false;
        }
        self.released.retain(|released| *released != piece);
        self.holds.push_back(Hold { piece, size_bytes, sent_bytes: 0, since: now, delivered_at: None });
        self.owed_bytes += size_bytes;
        self.held_bytes += size_bytes;
        self.virtual_time += size_bytes * FULL_WEIGHT / self.weight();
    }

    pub(super) fn hold(&self, piece: u32) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.piece == piece)
    }

    pub(super) fn hold_count(&self) -> usize {
        self.holds.len()
    }

    pub(super) fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter()
    }

    /// Whether it was told of this piece.
    pub(super) fn was_told(&self, piece: u32) -> bool {
        self.told_all || self.hold(piece).is_some() || self.released.contains(&piece)
    }

    /// Bytes of a piece were sent. Returns how many of them were still owed.
    pub(super) fn handle_sent(&mut self, now: Duration, piece: u32, bytes: u64) -> u64 {
        self.last_progress = now;
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.piece == piece) else { return 0 };
        // More than the piece is sent if the peer asks again for a part of it.
        let counted = bytes.min(hold.size_bytes - hold.sent_bytes);
        hold.sent_bytes += counted;
        self.owed_bytes -= counted;
        if counted > 0 && hold.sent_bytes == hold.size_bytes {
            let size_bytes = hold.size_bytes;
            hold.delivered_at = Some(now);
            if self.is_silent {
                self.grow_window(size_bytes);
            }
        }
        counted
    }

    /// The peer has the piece. Returns the bytes of it that were still owed, if it was on its way to it.
    pub(super) fn finish_hold(&mut self, now: Duration, piece: u32) -> Option<u64> {
        let before = self.released.len();
        self.released.retain(|released| *released != piece);
        let hold = self.take_hold(piece);
        if hold.is_some() || self.released.len() < before {
            self.is_silent = false;
        }
        let hold = hold?;
        self.last_progress = now;
        self.strikes = 0;
        self.grow_window(hold.size_bytes);
        Some(hold.size_bytes - hold.sent_bytes)
    }

    /// Others have a piece that was sent to the peer before it said that it has it. Some clients do not tell those who
    /// have a piece of theirs.
    pub(super) fn finish_silently(&mut self, piece: u32) -> Option<u64> {
        let size_bytes = self.hold(piece)?.size_bytes;
        if !self.is_silent {
            self.grow_window(size_bytes);
        }
        self.is_silent = true;
        self.release_hold(piece)
    }

    /// The piece is on its way to the peer no more; its requests for it are still answered. Returns the bytes of it
    /// that were still owed.
    pub(super) fn release_hold(&mut self, piece: u32) -> Option<u64> {
        let hold = self.take_hold(piece)?;
        if self.released.len() >= RELEASED_LIMIT {
            self.released.pop_front();
        }
        self.released.push_back(piece);
        Some(hold.size_bytes - hold.sent_bytes)
    }

    fn take_hold(&mut self, piece: u32) -> Option<Hold> {
        let at = self.holds.iter().position(|hold| hold.piece == piece)?;
        let hold = self.holds.remove(at)?;
        self.held_bytes -= hold.size_bytes;
        self.owed_bytes -= hold.size_bytes - hold.sent_bytes;
        Some(hold)
    }

    /// By a piece for each that is finished: as fast as a slow start, until the rate is known.
    fn grow_window(&mut self, size_bytes: u64) {
        self.finished_bytes += size_bytes;
        self.window_bytes += size_bytes;
    }

    /// Looks back on `elapsed`: the window is what the peer finishes in [`WINDOW_TIME`], less for one that keeps
    /// everything to itself.
    pub(super) fn handle_tick(&mut self, elapsed: Duration, piece_bytes: u64) {
        let rate_now = per_second(std::mem::take(&mut self.finished_bytes), elapsed);
        // Up at once, down slowly: a large piece is finished only now and then.
        self.rate = if rate_now > self.rate { rate_now } else { (self.rate * 7 + rate_now) / 8 };
        let allowed = self.rate * WINDOW_TIME.as_secs() * self.weight() / FULL_WEIGHT;
        self.window_bytes = self.window_bytes.min(allowed.max(LEAST_WINDOW_PIECES * piece_bytes));
    }

    /// How long the peer takes for all that is on its way to it. `None` if it was never seen to finish anything.
    pub(super) fn backlog_time(&self) -> Option<Duration> {
        (self.rate > 0).then(|| Duration::from_millis(self.held_bytes * 1000 / self.rate))
    }
}

impl Hold {
    /// Whether it has been on its way for this long.
    pub(super) fn is_older_than(&self, now: Duration, limit: Duration) -> bool {
        now.saturating_sub(self.since) >= limit
    }

    pub(super) fn is_delivered_since(&self, now: Duration, patience: Duration) -> bool {
        self.delivered_at.is_some_and(|at| now.saturating_sub(at) >= patience)
    }
}
