//! Which piece to begin next: rarest first, at random, in order, or in long runs. Knows how many copies of each piece
//! there are among leeches, and which pieces may be begun; not why, and nothing of blocks or of who is asked.

use crate::piece_set::PieceSet;

/// Pieces that are looked at in the order of rarity before the words of the two sets are compared instead: a peer that
/// lacks the rarest pieces is then cheaper to serve that way.
const STEPS_LIMIT: usize = 1024;

/// The pieces that may be begun, by rarity.
#[derive(Debug)]
pub(crate) struct Picker {
    pieces: Vec<Piece>,
    pickable: PieceSet,
    /// Pickable pieces by copies. Invariant: `Piece::place` of each names its entry.
    buckets: Vec<Vec<u32>>,
    random: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    /// Peers that have it, those that have everything not counted: they change no order.
    copies: u32,
    place: u32,
}

/// The pieces of a peer: `None` stands for all.
pub(crate) type PeerPieces<'a> = Option<&'a PieceSet>;

impl Picker {
    pub(crate) fn new(piece_count: u32, seed: u64) -> Picker {
        Picker {
            pieces: vec![Piece::default(); piece_count as usize],
            pickable: PieceSet::new(piece_count),
            buckets: Vec::new(),
            random: seed,
        }
    }

    /// Whether the piece may be begun.
    pub(crate) fn is_pickable(&self, piece: u32) -> bool {
        self.pickable.has(piece)
    }

    /// How many pieces may be begun.
    pub(crate) fn pickable_count(&self) -> u32 {
        self.pickable.count()
    }

    /// Whether the peer has a piece that may be begun.
    pub(crate) fn has_any(&self, have: PeerPieces<'_>) -> bool {
        have.map_or(!self.pickable.is_empty(), |have| have.intersects(&self.pickable))
    }

    pub(crate) fn set_pickable(&mut self, piece: u32, pickable: bool) {
        if pickable && self.pickable.add(piece) {
            self.enter_bucket(piece);
        } else if !pickable && self.pickable.take(piece) {
            self.leave_bucket(piece);
        }
    }

    /// One leech more has the piece.
    pub(crate) fn add_copy(&mut self, piece: u32) {
        self.change_copies(piece, |copies| copies + 1);
    }

    /// One leech less has the piece.
    pub(crate) fn remove_copy(&mut self, piece: u32) {
        debug_assert!(self.pieces[piece as usize].copies > 0, "only what was counted is taken back");
        self.change_copies(piece, |copies| copies.saturating_sub(1));
    }

    /// A piece that the fewest have; chance decides among equals.
    pub(crate) fn rarest(&mut self, have: PeerPieces<'_>) -> Option<u32> {
        if !self.has_any(have) {
            return None;
        }
        let random = self.next_random();
        let mut steps = 0;
        for bucket in self.buckets.iter().filter(|bucket| !bucket.is_empty()) {
            let start = (random % bucket.len() as u64) as usize;
            for piece in bucket[start..].iter().chain(&bucket[..start]) {
                if have.is_none_or(|have| have.has(*piece)) {
                    return Some(*piece);
                }
                steps += 1;
                if steps == STEPS_LIMIT {
                    return self.rarest_shared(have, random);
                }
            }
        }
        None
    }

    /// The same, by looking at what both sides have.
    fn rarest_shared(&self, have: PeerPieces<'_>, random: u64) -> Option<u32> {
        let start = (random % self.pieces.len() as u64) as u32;
        self.pickable.shared_around(have, start).min_by_key(|piece| self.pieces[*piece as usize].copies)
    }

    /// Any piece.
    pub(crate) fn any(&mut self, have: PeerPieces<'_>) -> Option<u32> {
        self.any_of(have, |_| true)
    }

    /// Any piece that suits. Those behind gaps are likelier, which matters to nobody.
    pub(crate) fn any_of(&mut self, have: PeerPieces<'_>, suits: impl Fn(u32) -> bool) -> Option<u32> {
        let start = (self.next_random() % self.pieces.len().max(1) as u64) as u32;
        self.pickable.shared_around(have, start).find(|piece| suits(*piece))
    }

    /// The first piece, if it is among the `window` pieces behind the first that may be begun at all.
    pub(crate) fn first(&self, have: PeerPieces<'_>, window: u32) -> Option<u32> {
        let start = self.pickable.iter().next()?;
        self.pickable.shared_from(have, start).next().filter(|piece| piece - start < window)
    }

    /// Where the longest row of pieces begins, and its length.
    pub(crate) fn longest_run(&self, have: PeerPieces<'_>) -> Option<(u32, u32)> {
        let mut best: Option<(u32, u32)> = None;
        let mut run = (0, 0);
        for piece in self.pickable.shared_from(have, 0) {
            run = if run.0 + run.1 == piece && run.1 > 0 { (run.0, run.1 + 1) } else { (piece, 1) };
            if best.is_none_or(|best| best.1 < run.1) {
                best = Some(run);
            }
        }
        best
    }

    /// SplitMix64: plenty for picking a piece.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn change_copies(&mut self, piece: u32, change: impl Fn(u32) -> u32) {
        let pickable = self.is_pickable(piece);
        if pickable {
            self.leave_bucket(piece);
        }
        let entry = &mut self.pieces[piece as usize];
        entry.copies = change(entry.copies);
        if pickable {
            self.enter_bucket(piece);
        }
    }

    fn enter_bucket(&mut self, piece: u32) {
        let entry = &mut self.pieces[piece as usize];
        let copies = entry.copies as usize;
        if self.buckets.len() <= copies {
            self.buckets.resize_with(copies + 1, Vec::new);
        }
        let bucket = &mut self.buckets[copies];
        entry.place = bucket.len() as u32;
        bucket.push(piece);
    }

    fn leave_bucket(&mut self, piece: u32) {
        let Piece { copies, place } = self.pieces[piece as usize];
        let bucket = &mut self.buckets[copies as usize];
        bucket.swap_remove(place as usize);
        if let Some(moved) = bucket.get(place as usize) {
            self.pieces[*moved as usize].place = place;
        }
    }
}

#[cfg(test)]
mod tests;
