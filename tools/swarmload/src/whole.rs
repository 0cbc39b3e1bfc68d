//! How a verifying connection reads: every byte for real, every message parsed, every piece hashed as its blocks come.

use std::collections::VecDeque;

use hash::{Sha1, Sha256Digest, sha256};
use wire::{Limits, Message, Parsed, parse};

use crate::asked::Standing;
use crate::connection::Reason;
use crate::content::{Content, PieceHash};
use crate::leech::Leech;
use crate::tally::Tally;

/// The reading end of one verifying connection.
#[derive(Debug)]
pub(crate) struct Whole {
    limits: Limits,
    /// The beginning of a message whose rest has not come.
    held: Vec<u8>,
    /// Bytes of an unknown message's body to pass over.
    skip_bytes: usize,
    /// Pieces that have begun, oldest first; up to [`MAX_PIECES`].
    pieces: VecDeque<PieceInProgress>,
}

/// Each piece that has begun waits for a block that is open or was taken back, and of those there are as many as `--depth`
/// allows, 2000; the last piece may not have been asked for to its end. More are the seeder's doing.
const MAX_PIECES: usize = 2001;

/// A piece whose blocks are coming.
#[derive(Debug)]
struct PieceInProgress {
    index: u32,
    size: u32,
    /// Blocks before this have gone into the hash.
    next: u32,
    /// Blocks that overtook others; no more than were asked for.
    early: Vec<(u32, Vec<u8>)>,
    hashing: Hashing,
}

#[derive(Debug)]
enum Hashing {
    V1(Box<Stream>),
    V2(Vec<Sha256Digest>),
    /// The torrent does not say what the piece must hash to.
    Unknown,
}

struct Stream(Sha1);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha1")
    }
}

impl Whole {
    /// At the first message behind the handshake.
    pub(crate) fn new(piece_count: u32) -> Whole {
        Whole { limits: Limits::leech(piece_count), held: Vec::new(), skip_bytes: 0, pieces: VecDeque::new() }
    }

    /// So many bytes came.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        leech: &mut Leech,
        content: &Content,
        tally: &mut Tally,
    ) -> Result<(), Reason> {
        // A message that lies in both is completed first; the others are parsed where they were received.
        let mut rest = bytes;
        while !self.held.is_empty() && !rest.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            let before = held.len();
            let missing = match parse(&held, &self.limits).map_err(|error| error.reason())? {
                Parsed::Incomplete { needed } => needed - before,
                _ => 0,
            };
            held.extend_from_slice(&rest[..missing.min(rest.len())]);
            rest = &rest[missing.min(rest.len())..];
            let consumed = self.messages(&held, leech, content, tally)?;
            held.drain(..consumed);
            self.held = held;
        }
        let consumed = self.messages(rest, leech, content, tally)?;
        self.held.extend_from_slice(&rest[consumed..]);
        Ok(())
    }

    /// Takes all whole messages at the beginning of `bytes`; how much they took.
    fn messages(
        &mut self,
        bytes: &[u8],
        leech: &mut Leech,
        content: &Content,
        tally: &mut Tally,
    ) -> Result<usize, Reason> {
        let mut start = 0;
        while start < bytes.len() {
            let passed = self.skip_bytes.min(bytes.len() - start);
            self.skip_bytes -= passed;
            start += passed;
            match parse(&bytes[start..], &self.limits).map_err(|error| error.reason())? {
                Parsed::Incomplete { .. } => break,
                Parsed::Skip { consumed, body_bytes, .. } => {
                    start += consumed;
                    self.skip_bytes = body_bytes;
                }
                Parsed::Message { message, consumed } => {
                    match message {
                        Message::Piece { index, begin, data: [] } => leech.on_reject(index, begin),
                        Message::Piece { index, begin, data } => {
                            self.on_piece(index, begin, data, leech, content, tally)?;
                        }
                        _ => leech.message(&message),
                    }
                    start += consumed;
                }
            }
        }
        Ok(start)
    }

    fn on_piece(
        &mut self,
        index: u32,
        begin: u32,
        data: &[u8],
        leech: &mut Leech,
        content: &Content,
        tally: &mut Tally,
    ) -> Result<(), Reason> {
        if leech.place(index, begin, data.len() as u32, true) == Standing::Unasked {
            return Ok(());
        }
        leech.answered(1);
        let wanted = |piece: &PieceInProgress| {
            piece.index == index && begin >= piece.next && piece.early.iter().all(|(early, _)| *early != begin)
        };
        let place = match self.pieces.iter().position(wanted) {
            Some(place) => place,
            None if self.pieces.len() >= MAX_PIECES => return Err("too-many-pieces"),
            None => {
                self.pieces.push_back(PieceInProgress::new(index, content));
                self.pieces.len() - 1
            }
        };
        self.pieces[place].block(begin, data);
        if self.pieces[place].next >= self.pieces[place].size
            && let Some(piece) = self.pieces.remove(place)
        {
            match piece.finish(content) {
                Some(true) => tally.pieces_good += 1,
                Some(false) => tally.pieces_bad += 1,
                None => tally.pieces_unknown += 1,
            }
        }
        Ok(())
    }
}

impl PieceInProgress {
    fn new(index: u32, content: &Content) -> PieceInProgress {
        let hashing = match content.piece_hash(index) {
            Some(PieceHash::V1(_)) => Hashing::V1(Box::new(Stream(Sha1::new()))),
            Some(PieceHash::V2 { .. }) => Hashing::V2(Vec::new()),
            None => Hashing::Unknown,
        };
        PieceInProgress { index, size: content.piece_size(index), next: 0, early: Vec::new(), hashing }
    }

    /// Hashes the block if it is the next one, and those that waited for it.
    fn block(&mut self, begin: u32, data: &[u8]) {
        if begin != self.next {
            self.early.push((begin, data.to_vec()));
            return;
        }
        self.hash(data);
        while let Some(place) = self.early.iter().position(|(begin, _)| *begin == self.next) {
            let (_, data) = self.early.swap_remove(place);
            self.hash(&data);
        }
    }

    fn hash(&mut self, data: &[u8]) {
        match &mut self.hashing {
            Hashing::V1(stream) => stream.0.update(data),
            Hashing::V2(leaves) => leaves.push(sha256(data)),
            Hashing::Unknown => {}
        }
        self.next += data.len() as u32;
    }

    /// Whether the hash is right; `None` if the torrent does not say.
    fn finish(self, content: &Content) -> Option<bool> {
        Some(match (self.hashing, content.piece_hash(self.index)?) {
            (Hashing::V1(stream), PieceHash::V1(digest)) => stream.0.finish() == digest,
            (Hashing::V2(leaves), PieceHash::V2 { root, padded_to_piece }) => {
                content.piece_root(&leaves, padded_to_piece) == root
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
