//! Super-seeding (BEP 16, and what it lacks): as long as we are the only ones to have some piece, each piece is revealed
//! to one peer, so that the first copy in the swarm costs little more than its size.
//!
//! A peer is greeted as by a leech that has nothing, and told of pieces one by one, so many that its pipe is full.
//! Those that pass on what they got come first. A piece whose peer leaves, stalls or never says that it has it is
//! revealed again. Once all pieces are safe with others, everybody is told that we have everything.
//!
//! This file takes in events. Who is told of what is decided in `assign`, and whether at all in `phase`.

mod assign;
mod budget;
mod doze;
mod peer;
mod phase;
mod pieces;

use budget::Budget;
pub use doze::dozes;
use metainfo::{FileLayout, PieceIndex};
use peer::{FULL_WEIGHT, Peer};
use phase::Phase;
use pieces::Pieces;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// Torrents of more pieces are never super-seeded: the books would take more than 4 MiB, and the last words more than 2 MiB
/// a peer.
pub const PIECES_LIMIT: u32 = 1 << 18;

/// A peer that has said nothing of its pieces for this long has none: without the fast extension, the first message may
/// be missing (BEP 3).
const LISTEN_TIME: Duration = Duration::from_secs(1);

/// A piece that was passed on within this time is to the peer's credit.
const PASS_PATIENCE: Duration = Duration::from_secs(15);

/// Pieces watched at a time for whether they are passed on.
const JUDGED_LIMIT: usize = 16 * 1024;

/// When a torrent is super-seeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SuperSeeding {
    /// While several leeches together have less than one copy, unless it hurts.
    #[default]
    Auto,
    /// While the others together have less than one copy and, beyond that, as long as those that lack something get it from
    /// each other.
    On,
    /// Never.
    Off,
}

/// What to tell peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuperSeedAction<P> {
    /// Say HAVE for one piece.
    Reveal {
        /// To whom.
        peer: P,
        /// The piece.
        piece: u32,
    },
    /// Say that we have everything.
    RevealAll {
        /// To whom.
        peer: P,
    },
    /// Newcomers are told of pieces one by one from now on.
    Began,
    /// Super-seeding is over; those who do not know yet that we have everything are told in actions of their own.
    Ended(SuperSeedEnd),
}

/// Why super-seeding is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuperSeedEnd {
    /// The others have a whole copy.
    WholeCopy,
    /// There is only one leech, which had better have all at once.
    OneLeech,
    /// The upload was idle although pieces were wanted.
    Hurts,
    /// The operator wants none.
    Ordered,
}

/// The super-seeding of one torrent. `P` names a peer.
///
/// After the handshake the owner calls [`SuperSeeder::handle_joined`], which says how to greet; then everything that the
/// peer says of its pieces and wishes comes here. Pieces that a peer has are passed by the owner, who knows them,
/// so that they are kept once.
#[derive(Debug)]
pub struct SuperSeeder<P> {
    mode: SuperSeeding,
    phase: Phase,
    pieces: Pieces,
    piece_bytes: u64,
    slots: Vec<Option<Peer<P>>>,
    free: Vec<u32>,
    by_key: HashMap<P, u32>,
    /// Peers that lack something.
    leech_count: usize,
    /// Peers with room for a piece, who has had least first. Invariant: holds the peers with `Peer::waits_at`.
    queue: BTreeSet<(u64, u32)>,
    /// Virtual time of the last piece that was given out: newcomers begin here.
    clock: u64,
    /// Bytes on their way to all peers.
    owed_bytes: u64,
    budget: Budget,
    judged: VecDeque<Judged>,
    last_tick: Duration,
}

/// A piece that a peer has finished and may now pass on.
#[derive(Debug)]
struct Judged {
    piece: u32,
    slot: u32,
    due: Duration,
}

impl<P: Copy + Eq + Hash> SuperSeeder<P> {
    /// Super-seeding of a torrent with this layout. `seed` decides which piece goes to whom. `None` if the torrent is
    /// not to be super-seeded, or has more than [`PIECES_LIMIT`] pieces.
    pub fn new(mode: SuperSeeding, layout: &FileLayout, seed: u64) -> Option<SuperSeeder<P>> {
        if mode == SuperSeeding::Off || layout.piece_count() > PIECES_LIMIT || layout.piece_count() == 0 {
            return None;
        }
        let piece_bytes = u64::from(layout.piece_length());
        Some(SuperSeeder {
            mode,
            phase: Phase::default(),
            pieces: Pieces::new(layout, seed),
            piece_bytes,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            leech_count: 0,
            queue: BTreeSet::new(),
            clock: 0,
            owed_bytes: 0,
            budget: Budget::new(piece_bytes),
            judged: VecDeque::new(),
            last_tick: Duration::ZERO,
        })
    }

    /// A peer's handshake is done; its client [`dozes`], or not. True if it is to be greeted as if we had nothing.
    pub fn handle_joined(&mut self, now: Duration, peer: P, dozes: bool, out: &mut Vec<SuperSeedAction<P>>) -> bool {
        debug_assert!(!self.by_key.contains_key(&peer), "a peer joins once");
        self.leech_count += 1;
        self.decide(now, out);
        let hide = self.is_active();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Peer::new(peer, now, (dozes, !hide), self.piece_bytes));
        self.by_key.insert(peer, slot);
        hide
    }

    /// The peer has these pieces, and before it had those that [`SuperSeeder::forget_pieces`] was told of.
    pub fn handle_listed(
        &mut self,
        now: Duration,
        peer: P,
        pieces: impl IntoIterator<Item = PieceIndex>,
        out: &mut Vec<SuperSeedAction<P>>,
    ) {
        let Some(slot) = self.by_key.get(&peer).copied() else { return };
        for piece in pieces {
            self.gain(now, slot, piece.get());
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.has_listed = true;
        }
        self.decide(now, out);
        self.touch(slot);
        self.keep_awake(now, slot, out);
        self.assign(now, out);
    }

    /// The peer has one more piece.
    pub fn handle_has(&mut self, now: Duration, peer: P, piece: PieceIndex, out: &mut Vec<SuperSeedAction<P>>) {
        self.handle_listed(now, peer, [piece], out);
    }

    /// The peer is about to say anew which pieces it has; these it had.
    pub fn forget_pieces(&mut self, peer: P, pieces: impl IntoIterator<Item = PieceIndex>) {
        if let Some(slot) = self.by_key.get(&peer).copied() {
            self.lose_pieces(slot, pieces);
        }
    }

    /// The peer is gone, and with it the pieces that it had.
    pub fn handle_gone(
        &mut self,
        now: Duration,
        peer: P,
        pieces: impl IntoIterator<Item = PieceIndex>,
        out: &mut Vec<SuperSeedAction<P>>,
    ) {
        let Some(slot) = self.by_key.remove(&peer) else { return };
        self.lose_pieces(slot, pieces);
        if let Some(peer) = self.slots[slot as usize].take() {
            for hold in peer.holds() {
                self.pieces.clear_holder(hold.piece);
            }
            self.owed_bytes -= peer.owed_bytes;
            if let Some(at) = peer.waits_at {
                self.queue.remove(&(at, slot));
            }
        }
        self.free.push(slot);
        self.leech_count -= 1;
        if self.by_key.is_empty() {
            self.phase = Phase::default();
        }
        self.decide(now, out);
        self.assign(now, out);
    }

    /// What the peer wants, and whether it may ask for it.
    pub fn handle_wishes(
        &mut self,
        now: Duration,
        peer: P,
        (interested, unchoked): (bool, bool),
        out: &mut Vec<SuperSeedAction<P>>,
    ) {
        let Some(slot) = self.by_key.get(&peer).copied() else { return };
        let Some(peer) = self.peer_mut(slot) else { return };
        if (peer.interested, peer.unchoked) == (interested, unchoked) {
            return;
        }
        if unchoked && !peer.unchoked {
            // Only now can it take anything.
            peer.last_progress = now;
        }
        (peer.interested, peer.unchoked) = (interested, unchoked);
        self.touch(slot);
        self.keep_awake(now, slot, out);
        self.assign(now, out);
    }

    /// The peer asks for a part of a piece. True if it is to have it: it was told of the piece, or somebody else has it as
    /// well.
    pub fn handle_request(&mut self, now: Duration, peer: P, piece: PieceIndex) -> bool {
        let piece = piece.get();
        let Some(slot) = self.by_key.get(&peer).copied() else { return true };
        if !self.is_active() || self.pieces.is_safe(piece) {
            return true;
        }
        let size_bytes = self.pieces.size_bytes(piece);
        let in_pool = self.pieces.is_in_pool(piece);
        let Some(peer) = self.peer_mut(slot) else { return true };
        if peer.told_all && in_pool && peer.may_pick(size_bytes) {
            // It knew of all pieces before: what it picks is not given to others as well. Much more than
            // its window is, or a block of each piece would keep all of them from everybody.
            self.hold(now, slot, piece, size_bytes);
        }
        let Some(peer) = self.peer_mut(slot) else { return true };
        peer.has_asked = true;
        peer.was_told(piece)
    }

    /// The network took bytes of a piece for the peer.
    pub fn handle_sent(
        &mut self,
        now: Duration,
        peer: P,
        piece: PieceIndex,
        bytes: u64,
        out: &mut Vec<SuperSeedAction<P>>,
    ) {
        self.budget.handle_sent(bytes);
        let Some(slot) = self.by_key.get(&peer).copied() else { return };
        let Some(peer) = self.peer_mut(slot) else { return };
        self.owed_bytes -= peer.handle_sent(now, piece.get(), bytes);
        self.touch(slot);
        self.assign(now, out);
    }

    /// Looks at the clock, about once a second. `limited`: an upload limit has kept some peer of this torrent waiting since
    /// the last call.
    pub fn handle_tick(&mut self, now: Duration, limited: bool, out: &mut Vec<SuperSeedAction<P>>) {
        let elapsed = now.saturating_sub(self.last_tick);
        if elapsed.is_zero() {
            return;
        }
        self.last_tick = now;
        let sent_bytes = self.budget.handle_tick(now, elapsed, limited);
        for slot in 0..self.slots.len() as u32 {
            let piece_bytes = self.piece_bytes;
            let Some(peer) = self.peer_mut(slot) else { continue };
            peer.handle_tick(elapsed, piece_bytes);
            peer.has_listed |= now.saturating_sub(peer.joined) >= LISTEN_TIME;
            if self.is_active() {
                self.check_progress(now, slot, out);
            }
            self.touch(slot);
            self.keep_awake(now, slot, out);
        }
        self.judge(now);
        self.note_upload(now, sent_bytes);
        self.decide(now, out);
        if self.is_active() {
            self.assign(now, out);
            self.assign_last(now, out);
        }
    }

    /// Whether newcomers are greeted as if we had nothing.
    pub fn is_active(&self) -> bool {
        self.phase.is_active()
    }

    /// The operator wants it otherwise from now on.
    pub fn set_mode(&mut self, now: Duration, mode: SuperSeeding, out: &mut Vec<SuperSeedAction<P>>) {
        self.mode = mode;
        match mode {
            SuperSeeding::Off if self.is_active() => self.end(now, SuperSeedEnd::Ordered, out),
            SuperSeeding::Off => {}
            SuperSeeding::Auto | SuperSeeding::On => self.decide(now, out),
        }
    }

    /// Whether the peer is told of pieces one by one.
    pub fn hides_from(&self, peer: P) -> bool {
        let slot = self.by_key.get(&peer).and_then(|slot| self.slots.get(*slot as usize)?.as_ref());
        slot.is_some_and(|peer| !peer.told_all)
    }

    /// How many peers it knows.
    pub fn peer_count(&self) -> usize {
        self.by_key.len()
    }
}

/// Books.
impl<P: Copy + Eq + Hash> SuperSeeder<P> {
    fn peer_mut(&mut self, slot: u32) -> Option<&mut Peer<P>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The peer has a piece more.
    fn gain(&mut self, now: Duration, slot: u32, piece: u32) {
        self.pieces.add_copy(piece);
        let piece_count = self.pieces.count();
        let Some(peer) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        (peer.have_count, peer.gained_at) = (peer.have_count + 1, now);
        self.leech_count -= usize::from(peer.have_count == piece_count);
        let owed = peer.finish_hold(now, piece);
        self.owed_bytes -= owed.unwrap_or(0);
        match self.pieces.holder(piece) {
            Some(holder) if holder == slot && self.pieces.copies(piece) == 1 => {
                self.judged.push_back(Judged { piece, slot, due: now + PASS_PATIENCE });
                if self.judged.len() > JUDGED_LIMIT {
                    // The oldest goes unjudged, to nobody's harm.
                    self.judged.pop_front();
                }
            }
            Some(holder) => {
                if holder != slot {
                    self.credit(holder, piece);
                }
                self.pieces.clear_holder(piece);
            }
            None => {}
        }
    }

    /// Somebody else has a piece that only this peer had from us.
    fn credit(&mut self, holder: u32, piece: u32) {
        let Some(peer) = self.peer_mut(holder) else { return };
        let Some(hold) = peer.hold(piece) else {
            peer.passed += 1;
            return;
        };
        let owed = if hold.delivered_at.is_some() {
            peer.passed += 1;
            peer.finish_silently(piece)
        } else {
            peer.release_hold(piece)
        };
        self.owed_bytes -= owed.unwrap_or(0);
        self.touch(holder);
    }

    /// The peer has these pieces no longer.
    fn lose_pieces(&mut self, slot: u32, pieces: impl IntoIterator<Item = PieceIndex>) {
        let piece_count = self.pieces.count();
        for piece in pieces {
            let Some(peer) = self.peer_mut(slot) else { return };
            let was_complete = peer.have_count == piece_count;
            peer.have_count -= 1;
            let holds = peer.hold(piece.get()).is_some();
            self.leech_count += usize::from(was_complete);
            if !holds && self.pieces.holder(piece.get()) == Some(slot) {
                self.pieces.clear_holder(piece.get());
            }
            self.pieces.remove_copy(piece.get());
        }
    }

    /// Counts the pieces that nobody else has had in good time.
    fn judge(&mut self, now: Duration) {
        while let Some(judged) = self.judged.pop_front_if(|judged| judged.due <= now) {
            if self.pieces.holder(judged.piece) == Some(judged.slot)
                && let Some(peer) = self.peer_mut(judged.slot)
            {
                peer.overdue += 1;
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
