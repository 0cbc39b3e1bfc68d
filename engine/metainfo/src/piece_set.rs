//! Some of a torrent's pieces, one bit each as the wire has them, and which pieces a choice of files needs. Globs that
//! choose files are `storage`'s.

use crate::geometry::PieceIndex;
use crate::layout::FileLayout;

/// A set of pieces of one torrent. Its bytes are a BITFIELD message's: the first piece is the highest bit of the first byte,
/// spare bits at the end are clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceSet {
    bits: Vec<u8>,
    piece_count: u32,
}

impl PieceSet {
    /// No piece.
    pub fn empty(layout: &FileLayout) -> PieceSet {
        let piece_count = layout.piece_count();
        PieceSet { bits: vec![0; piece_count.div_ceil(8) as usize], piece_count }
    }

    /// Every piece.
    pub fn full(layout: &FileLayout) -> PieceSet {
        let mut set = PieceSet::empty(layout);
        set.bits.fill(0xff);
        set.clear_spare_bits();
        set
    }

    /// The set that a bitfield stands for; `None` if it is too short or too long. Spare bits count for nothing.
    pub fn from_bytes(layout: &FileLayout, bytes: &[u8]) -> Option<PieceSet> {
        let mut set = PieceSet::empty(layout);
        if bytes.len() != set.bits.len() {
            return None;
        }
        set.bits.copy_from_slice(bytes);
        set.clear_spare_bits();
        Some(set)
    }

    /// The set as a bitfield.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Whether the piece is in the set.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        self.bits.get(piece.get() as usize / 8).is_some_and(|byte| byte & mask(piece) != 0)
    }

    /// Adds a piece. One that this torrent does not have is ignored.
    pub fn insert(&mut self, piece: PieceIndex) {
        if let Some(byte) = self.bits.get_mut(piece.get() as usize / 8).filter(|_| piece.get() < self.piece_count) {
            *byte |= mask(piece);
        }
    }

    /// Takes a piece out.
    pub fn remove(&mut self, piece: PieceIndex) {
        if let Some(byte) = self.bits.get_mut(piece.get() as usize / 8) {
            *byte &= !mask(piece);
        }
    }

    /// How many pieces are in the set.
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|byte| *byte == 0)
    }

    /// Whether every piece of the torrent is in the set.
    pub fn is_full(&self) -> bool {
        self.len() == self.piece_count
    }

    /// Whether every piece of `other` is in this set.
    pub fn contains_all(&self, other: &PieceSet) -> bool {
        self.bits.iter().zip(&other.bits).all(|(ours, theirs)| theirs & !ours == 0)
    }

    /// The pieces of the set in their order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        (0..self.piece_count).map(PieceIndex).filter(|piece| self.contains(*piece))
    }

    /// The pieces that hold bytes of a wanted file. `wanted` has one entry for each file of the layout, pads included; what is
    /// missing at its end is not wanted.
    pub fn of_files(layout: &FileLayout, wanted: &[bool]) -> PieceSet {
        let mut set = PieceSet::empty(layout);
        for (file, _) in layout.file_indices().zip(wanted).filter(|(_, is_wanted)| **is_wanted) {
            if !layout.file(file).is_pad() {
                layout.file_pieces(file).for_each(|piece| set.insert(piece));
            }
        }
        set
    }

    fn clear_spare_bits(&mut self) {
        if let Some(last) = self.bits.last_mut() {
            *last &= 0xffu8 << ((8 - self.piece_count % 8) % 8);
        }
    }
}

fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}

#[cfg(test)]
mod tests;
