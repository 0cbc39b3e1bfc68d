//! Where each piece is: with us alone, on its way to one peer, or safe with somebody else. Knows peers only by number.

use metainfo::FileLayout;

/// No peer.
const NOBODY: u32 = u32::MAX;

/// All pieces of a torrent.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    /// Pieces that no other peer has and that are on the way to nobody. Invariant: `Piece::place` of each names its
    /// entry here.
    pool: Vec<u32>,
    /// How many pieces no other peer has.
    unsafe_count: u32,
    random: u64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    size_bytes: u32,
    /// Peers besides us that say they have it.
    copies: u32,
    /// The peer that it was revealed to: on its way there or, with one copy, there and not yet passed on.
    holder: u32,
    /// Its index in `Pieces::pool`, if it is there.
    place: u32,
}

impl Pieces {
    pub(super) fn new(layout: &FileLayout, seed: u64) -> Pieces {
        let piece = |piece| Piece { size_bytes: layout.piece_size(piece), copies: 0, holder: NOBODY, place: 0 };
        let mut pieces =
            Pieces { pieces: layout.pieces().map(piece).collect(), pool: Vec::new(), unsafe_count: 0, random: seed };
        pieces.unsafe_count = pieces.count();
        (0..pieces.count()).for_each(|index| pieces.enter_pool(index));
        pieces
    }

    pub(super) fn count(&self) -> u32 {
        self.pieces.len() as u32
    }

    pub(super) fn size_bytes(&self, index: u32) -> u64 {
        u64::from(self.pieces[index as usize].size_bytes)
    }

    /// How many pieces no other peer has.
    pub(super) fn unsafe_count(&self) -> u32 {
        self.unsafe_count
    }

    /// Whether another peer has the piece.
    pub(super) fn is_safe(&self, index: u32) -> bool {
        self.copies(index) > 0
    }

    pub(super) fn copies(&self, index: u32) -> u32 {
        self.pieces[index as usize].copies
    }

    pub(super) fn holder(&self, index: u32) -> Option<u32> {
        Some(self.pieces[index as usize].holder).filter(|holder| *holder != NOBODY)
    }

    pub(super) fn pool_is_empty(&self) -> bool {
        self.pool.is_empty()
    }

    pub(super) fn is_in_pool(&self, index: u32) -> bool {
        self.pool.get(self.pieces[index as usize].place as usize) == Some(&index)
    }

    /// One peer more has the piece.
    pub(super) fn add_copy(&mut self, index: u32) {
        if self.is_in_pool(index) {
            self.leave_pool(index);
        }
        let piece = &mut self.pieces[index as usize];
        piece.copies += 1;
        self.unsafe_count -= u32::from(piece.copies == 1);
    }

    /// One peer less has the piece.
    pub(super) fn remove_copy(&mut self, index: u32) {
        let piece = &mut self.pieces[index as usize];
        debug_assert!(piece.copies > 0, "only what was counted is taken back");
        piece.copies -= 1;
        if piece.copies == 0 {
            self.unsafe_count += 1;
            if piece.holder == NOBODY {
                self.enter_pool(index);
            }
        }
    }

    /// The piece is on its way to this peer, and to nobody else.
    pub(super) fn set_holder(&mut self, index: u32, holder: u32) {
        if self.is_in_pool(index) {
            self.leave_pool(index);
        }
        self.pieces[index as usize].holder = holder;
    }

    /// The piece is on its way to nobody: without a copy elsewhere, it goes back to the pool.
    pub(super) fn clear_holder(&mut self, index: u32) {
        let piece = &mut self.pieces[index as usize];
        if piece.holder != NOBODY {
            piece.holder = NOBODY;
            if piece.copies == 0 {
                self.enter_pool(index);
            }
        }
    }

    /// One of the pieces that only we have. All of them are equally rare, so chance decides.
    pub(super) fn draw(&mut self) -> Option<u32> {
        if self.pool.is_empty() {
            return None;
        }
        let at = self.next_random() % self.pool.len() as u64;
        Some(self.pool[at as usize])
    }

    fn enter_pool(&mut self, index: u32) {
        self.pieces[index as usize].place = self.pool.len() as u32;
        self.pool.push(index);
    }

    fn leave_pool(&mut self, index: u32) {
        let place = self.pieces[index as usize].place;
        self.pool.swap_remove(place as usize);
        if let Some(moved) = self.pool.get(place as usize) {
            self.pieces[*moved as usize].place = place;
        }
    }

    /// SplitMix64: plenty for picking a piece.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
