//! Sets of pieces: what we have, what is wanted, what a peer has. Knows bits and counts, not what they stand for.

use metainfo::{FileLayout, PieceIndex};

/// Some of the pieces of a torrent, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceSet {
    /// Piece `n` is bit `n % 64` of word `n / 64`. Bits beyond `piece_count` are zero.
    words: Vec<u64>,
    piece_count: u32,
    /// How many bits are set.
    count: u32,
}

impl PieceSet {
    /// None of `piece_count` pieces.
    pub fn new(piece_count: u32) -> PieceSet {
        PieceSet { words: vec![0; piece_count.div_ceil(64) as usize], piece_count, count: 0 }
    }

    /// All of `piece_count` pieces.
    pub fn full(piece_count: u32) -> PieceSet {
        let mut set = PieceSet { words: vec![u64::MAX; piece_count.div_ceil(64) as usize], piece_count, count: 0 };
        set.trim();
        set
    }

    /// From a bitfield as the wire has it (BEP 3): the first piece in the highest bit. Bytes that are missing count as zero;
    /// spare bits at the end are ignored, since some clients set them.
    pub fn from_wire(piece_count: u32, bytes: &[u8]) -> PieceSet {
        let mut set = PieceSet::new(piece_count);
        for (word, bytes) in set.words.iter_mut().zip(bytes.chunks(8)) {
            let reversed = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(byte.reverse_bits()));
            *word = reversed;
        }
        set.trim();
        set
    }

    /// The bitfield that the wire wants; spare bits are zero.
    pub fn to_wire(&self) -> Vec<u8> {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes()).map(u8::reverse_bits);
        bytes.take(self.piece_count.div_ceil(8) as usize).collect()
    }

    /// How many pieces the torrent has.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.piece_count
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the piece is in the set.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        self.has(piece.get())
    }

    /// Adds the piece. False if it was there.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        self.add(piece.get())
    }

    /// Takes the piece out. False if it was not there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        self.take(piece.get())
    }

    /// The pieces' numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        bits(self.words.iter().copied(), 0)
    }

    /// The pieces in order, of a torrent with this layout.
    pub fn pieces<'a>(&'a self, layout: &'a FileLayout) -> impl Iterator<Item = PieceIndex> + 'a {
        self.iter().filter_map(|index| layout.piece(index))
    }

    /// Adds every piece of `other`.
    pub fn union(&mut self, other: &PieceSet) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    /// Takes out every piece of `other`.
    pub fn minus(&mut self, other: &PieceSet) {
        self.combine(other, |mine, theirs| mine & !theirs);
    }

    /// Whether the sets share a piece.
    pub fn intersects(&self, other: &PieceSet) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    fn combine(&mut self, other: &PieceSet, combine: impl Fn(u64, u64) -> u64) {
        debug_assert_eq!(self.piece_count, other.piece_count, "sets of one torrent");
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine = combine(*mine, *theirs);
        }
        self.recount();
    }

    fn trim(&mut self) {
        let used = self.piece_count % 64;
        if let Some(last) = self.words.last_mut().filter(|_| used != 0) {
            *last &= (1 << used) - 1;
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }
}

/// By number, for books that were made from the layout once.
impl PieceSet {
    pub(crate) fn has(&self, index: u32) -> bool {
        self.words.get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    pub(crate) fn add(&mut self, index: u32) -> bool {
        let new = index < self.piece_count && !self.has(index);
        if new {
            self.words[(index / 64) as usize] |= 1 << (index % 64);
            self.count += 1;
        }
        new
    }

    pub(crate) fn take(&mut self, index: u32) -> bool {
        let was = self.has(index);
        if was {
            self.words[(index / 64) as usize] &= !(1 << (index % 64));
            self.count -= 1;
        }
        was
    }

    /// The pieces from `start` on that are also in `other`; without `other`, all from `start` on.
    pub(crate) fn shared_from<'a>(&'a self, other: Option<&'a PieceSet>, start: u32) -> impl Iterator<Item = u32> + 'a {
        let first = start / 64;
        let words = (first as usize..self.words.len()).map(move |at| {
            let theirs = other.map_or(u64::MAX, |other| other.words.get(at).copied().unwrap_or(0));
            let mask = if at == first as usize { u64::MAX << (start % 64) } else { u64::MAX };
            self.words[at] & theirs & mask
        });
        bits(words, first)
    }

    /// The same from a place on and around: each piece once.
    pub(crate) fn shared_around<'a>(
        &'a self,
        other: Option<&'a PieceSet>,
        start: u32,
    ) -> impl Iterator<Item = u32> + 'a {
        let before = self.shared_from(other, 0).take_while(move |index| *index < start);
        self.shared_from(other, start).chain(before)
    }
}

/// The numbers of set bits in words that begin with word number `first`.
fn bits(words: impl Iterator<Item = u64>, first: u32) -> impl Iterator<Item = u32> {
    words.zip(first..).flat_map(|(word, at)| {
        let mut left = word;
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros();
            (left != 0).then(|| {
                left &= left - 1;
                at * 64 + bit
            })
        })
    })
}

#[cfg(test)]
mod tests;
