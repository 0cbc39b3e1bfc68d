//! What the peer says it has.

use super::{Fault, Reaction, Session};
use metainfo::{FileLayout, PieceIndex, Torrent};
use std::time::Duration;

/// The pieces that a peer says it has. Keeps bits only once there is something to keep.
#[derive(Debug)]
pub struct Availability {
    /// One bit a piece, the first piece in the highest bit (BEP 3). Empty until the peer has something, and again
    /// once it has everything.
    bits: Vec<u8>,
    piece_count: u32,
    have_count: u32,
}

impl Availability {
    /// Nothing, of `piece_count` pieces.
    pub fn new(piece_count: u32) -> Availability {
        Availability { bits: Vec::new(), piece_count, have_count: 0 }
    }

    /// True if the peer has every piece.
    pub fn is_complete(&self) -> bool {
        self.have_count == self.piece_count
    }

    /// How many pieces the peer has.
    pub fn have_count(&self) -> u32 {
        self.have_count
    }

    /// Whether the peer has the piece.
    pub fn has(&self, piece: PieceIndex) -> bool {
        let index = piece.get();
        let bit = self.bits.get((index / 8) as usize).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0);
        bit || self.is_complete()
    }

    /// The pieces that the peer has, of a torrent with this layout.
    pub fn pieces<'a>(&'a self, layout: &'a FileLayout) -> impl Iterator<Item = PieceIndex> + 'a {
        layout.pieces().filter(|piece| self.has(*piece))
    }

    /// Takes note of one piece. False if it is known already, or outside the torrent.
    fn set(&mut self, index: u32) -> bool {
        if index >= self.piece_count || self.is_complete() {
            return false;
        }
        if self.bits.is_empty() {
            self.bits = vec![0; self.piece_count.div_ceil(8) as usize];
        }
        let bit = 0x80 >> (index % 8);
        let byte = &mut self.bits[(index / 8) as usize];
        let new = *byte & bit == 0;
        *byte |= bit;
        self.have_count += u32::from(new);
        if self.is_complete() {
            self.bits = Vec::new();
        }
        new
    }

    pub(crate) fn set_all(&mut self) {
        self.have_count = self.piece_count;
        self.bits = Vec::new();
    }

    /// Takes over a whole bitfield. Spare bits at the end are ignored: some clients set them.
    pub(crate) fn replace(&mut self, bits: &[u8]) {
        let mut bits = bits.to_vec();
        bits.resize(self.piece_count.div_ceil(8) as usize, 0);
        let spare = (8 - self.piece_count % 8) % 8;
        if let Some(last) = bits.last_mut() {
            *last &= 0xff << spare;
        }
        self.have_count = bits.iter().map(|byte| byte.count_ones()).sum();
        self.bits = if self.is_complete() { Vec::new() } else { bits };
    }
}

impl Session {
    pub(super) fn handle_have(&mut self, now: Duration, index: u32, torrent: &Torrent) -> Result<Reaction, Fault> {
        if !self.availability.set(index) {
            self.noise.add(now)?;
            return Ok(Reaction::None);
        }
        Ok(torrent.layout().piece(index).map_or(Reaction::None, Reaction::HasPiece))
    }

    pub(super) fn handle_bitfield(&mut self, now: Duration, bits: &[u8]) -> Result<Reaction, Fault> {
        // Some clients send it more than once, or late; the last one counts.
        self.noise.add(now)?;
        self.availability.replace(bits);
        Ok(Reaction::HasListed)
    }

    pub(super) fn handle_have_all(&mut self, now: Duration) -> Result<Reaction, Fault> {
        self.noise.add(now)?;
        self.availability.set_all();
        Ok(Reaction::HasListed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn the_count_is_that_of_a_naive_set(piece_count in 1u32..40, haves in prop::collection::vec(0u32..48, 0..80)) {
            let mut availability = Availability::new(piece_count);
            let mut naive = HashSet::new();
            for index in haves {
                let new = index < piece_count && naive.insert(index);
                prop_assert_eq!(availability.set(index), new);
                prop_assert_eq!(availability.have_count() as usize, naive.len());
                prop_assert_eq!(availability.is_complete(), naive.len() == piece_count as usize);
            }
        }

        #[test]
        fn a_bitfield_counts_only_bits_of_pieces(piece_count in 1u32..40, bits in prop::collection::vec(any::<u8>(), 5)) {
            let mut availability = Availability::new(piece_count);
            availability.replace(&bits[..piece_count.div_ceil(8) as usize]);
            let naive = (0..piece_count).filter(|n| bits[(n / 8) as usize] & (0x80 >> (n % 8)) != 0).count();
            prop_assert_eq!(availability.have_count() as usize, naive);
        }
    }
}
