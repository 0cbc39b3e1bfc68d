//! One copy of the metadata in the making: which pieces have come, from whom, and which are asked for. Whose copy it is
//! and what becomes of it is decided above.

use std::time::Duration;

use wire::METADATA_PIECE_SIZE;

use crate::sources::{SECOND_OPINION_AFTER, Source};

/// A copy of an `info` that measures so much.
#[derive(Debug)]
pub(super) struct Assembly<P> {
    size: u32,
    pieces: Vec<Piece<P>>,
    got_bytes: u32,
}

#[derive(Debug)]
enum Piece<P> {
    /// Nobody is asked for it.
    Open,
    /// When somebody was asked last.
    Asked(Duration),
    Here {
        data: Box<[u8]>,
        from: P,
    },
}

impl<P: Copy + Ord> Assembly<P> {
    pub(super) fn new(size: u32) -> Assembly<P> {
        let count = (size as usize).div_ceil(METADATA_PIECE_SIZE);
        Assembly { size, pieces: (0..count).map(|_| Piece::Open).collect(), got_bytes: 0 }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn got_bytes(&self) -> u32 {
        self.got_bytes
    }

    pub(super) fn is_complete(&self) -> bool {
        self.got_bytes == self.size
    }

    /// Bytes in a piece; `None` beyond the end.
    pub(super) fn piece_size(&self, piece: u32) -> Option<usize> {
        let start = piece as usize * METADATA_PIECE_SIZE;
        let left = (self.size as usize).checked_sub(start).filter(|left| *left > 0)?;
        Some(left.min(METADATA_PIECE_SIZE))
    }

    /// Keeps a piece of the right length. False if it is here already.
    pub(super) fn take(&mut self, piece: u32, data: &[u8], from: P) -> bool {
        debug_assert_eq!(self.piece_size(piece), Some(data.len()), "the caller has compared the length");
        match self.pieces.get_mut(piece as usize) {
            None | Some(Piece::Here { .. }) => false,
            Some(slot) => {
                *slot = Piece::Here { data: data.into(), from };
                self.got_bytes += data.len() as u32;
                true
            }
        }
    }

    /// The next piece to ask a peer for: one that nobody is asked for, else the one that has been waited for longest, if
    /// that is long enough for a second opinion.
    pub(super) fn next_to_ask(&self, now: Duration, source: &Source) -> Option<u32> {
        let mut longest: Option<(Duration, u32)> = None;
        for (index, piece) in (0..).zip(&self.pieces) {
            match piece {
                Piece::Open if !source.is_asked(index) => return Some(index),
                Piece::Asked(at) if now.saturating_sub(*at) >= SECOND_OPINION_AFTER && !source.is_asked(index) => {
                    let candidate = (*at, index);
                    longest = Some(longest.map_or(candidate, |known| known.min(candidate)));
                }
                _ => {}
            }
        }
        longest.map(|(_, index)| index)
    }

    pub(super) fn note_asked(&mut self, now: Duration, piece: u32) {
        if let Some(slot) = self.pieces.get_mut(piece as usize).filter(|slot| !matches!(slot, Piece::Here { .. })) {
            *slot = Piece::Asked(now);
        }
    }

    /// A request came to nothing: another peer may be asked at once.
    pub(super) fn release(&mut self, piece: u32) {
        if let Some(slot) = self.pieces.get_mut(piece as usize).filter(|slot| matches!(slot, Piece::Asked(_))) {
            *slot = Piece::Open;
        }
    }

    /// Who brought it, each once, and the whole.
    pub(super) fn into_parts(self) -> (Vec<P>, Vec<u8>) {
        let (mut contributors, mut info) = (Vec::new(), Vec::with_capacity(self.size as usize));
        for piece in self.pieces {
            if let Piece::Here { data, from } = piece {
                info.extend_from_slice(&data);
                contributors.push(from);
            }
        }
        contributors.sort_unstable();
        contributors.dedup();
        (contributors, info)
    }
}
