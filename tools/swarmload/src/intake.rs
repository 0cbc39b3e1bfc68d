//! How a connection that discards reads its stream: which bytes for real and which not at all.
//!
//! Answers are all of one size, so the kernel can drop a run of them at once, headers included (`MSG_TRUNC`, tcp(7)).
//! The run ends where the last open request's answer ends, or after [`CHECK_EVERY`] answers; the header there is read for
//! real and must answer something that was asked for. A message that a seeder sends between two answers shifts the
//! framing by its size. The next check then fails, bytes are read for real until a header is found that answers an open
//! request, and for a while every header is read. What was dropped unread can only have been a choke or rejects if the
//! seeder falls silent just that many bytes behind an answer: [`Intake::presumed`].

use wire::{Limits, Message, PIECE_HEADER_SIZE, Parsed, Skipped, id, parse};

use crate::asked::Standing;
use crate::leech::Leech;

/// At least one header of so many answers is read for real.
pub(crate) const CHECK_EVERY: u32 = 64;

/// After the framing was lost, so many answers are read header by header.
const CAREFUL_ANSWERS: u32 = 256;

/// Bytes that are read for real where no payload is expected, or where a header is searched.
const REAL_READ_BYTES: usize = 4096;

/// How far a header is searched. A whole answer and any message between lie well within.
const SEARCH_BYTES: usize = 512 * 1024;

/// What to do with the socket next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Read up to so many bytes and hand them to [`Intake::read`].
    Read(usize),
    /// Drop up to so many bytes unread and tell [`Intake::dropped`].
    Drop(usize),
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The seeder broke the protocol; the word is [`wire::WireError::reason`].
    Protocol(&'static str),
    /// No header that answers a request was found again.
    Desynchronised,
}

/// What a silence is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presumed {
    /// A choke was dropped unread.
    Choked,
    /// Rejects were dropped unread, or a choke that was taken back.
    Voided,
}

/// The reading end of one connection.
#[derive(Debug)]
pub(crate) struct Intake {
    limits: Limits,
    block_bytes: u32,
    /// Read for real and not understood yet.
    held: Vec<u8>,
    /// How much of `held` must be there before it can be understood.
    needed: usize,
    /// Bytes of a foreign message's body to drop.
    skip_bytes: u64,
    /// Bytes of answers to drop before a header is read.
    drop_bytes: u64,
    /// Bytes to the end of the answer that is being dropped; zero exactly if `drop_bytes` is.
    answer_bytes: u64,
    /// Whether the stream stands at the beginning of a message for sure, once `drop_bytes` is zero.
    certain: bool,
    /// Answers that are still to be read header by header.
    careful: u32,
    /// At how many places of `held` a header was searched in vain; zero unless one is searched.
    searched: usize,
}

impl Intake {
    /// At the first message behind the handshake, for answers of `block_bytes`.
    pub(crate) fn new(piece_count: u32, block_bytes: u32) -> Intake {
        Intake {
            limits: Limits::seed(piece_count),
            block_bytes,
            held: Vec::new(),
            needed: 0,
            skip_bytes: 0,
            drop_bytes: 0,
            answer_bytes: 0,
            certain: true,
            careful: 0,
            searched: 0,
        }
    }

    /// What to do with the socket now.
    pub(crate) fn want(&self, leech: &Leech) -> Want {
        if self.skip_bytes > 0 {
            return Want::Drop(self.skip_bytes as usize);
        }
        if self.drop_bytes > 0 {
            return Want::Drop(self.drop_bytes as usize);
        }
        let header = self.needed.max(PIECE_HEADER_SIZE);
        if self.certain && leech.asked.open() == 0 || self.held.len() >= header {
            return Want::Read(REAL_READ_BYTES);
        }
        Want::Read(header - self.held.len())
    }

    /// Whether the stream stands between two messages, as far as is known.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.certain && self.held.is_empty() && self.drop_bytes + self.skip_bytes == 0
    }

    /// The kernel dropped so many bytes, no more than were wanted.
    pub(crate) fn dropped(&mut self, bytes: usize, leech: &mut Leech) {
        let bytes = bytes as u64;
        if self.skip_bytes > 0 {
            self.skip_bytes -= bytes.min(self.skip_bytes);
            return;
        }
        self.drop_bytes -= bytes.min(self.drop_bytes);
        if bytes < self.answer_bytes {
            self.answer_bytes -= bytes;
            return;
        }
        let beyond = bytes - self.answer_bytes;
        let answer = self.answer_size();
        self.answer_bytes = if self.drop_bytes == 0 { 0 } else { answer - beyond % answer };
        leech.answered(1 + (beyond / answer) as u32);
    }

    /// So many bytes were read for real.
    ///
    /// # Errors
    /// [`Fault`]: the connection is to be closed.
    pub(crate) fn read(&mut self, bytes: &[u8], leech: &mut Leech) -> Result<(), Fault> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut start = 0;
        let outcome = loop {
            match self.step(&held[start..], leech) {
                Ok(0) => break Ok(()),
                Ok(taken) => start += taken,
                Err(fault) => break Err(fault),
            }
        };
        held.drain(..start);
        self.held = held;
        outcome
    }

    /// Nothing more can be read now. Whole messages that stand where a header was searched are taken for what they look like.
    pub(crate) fn drained(&mut self, leech: &mut Leech) {
        if !self.certain && self.drop_bytes == 0 && self.foreign(&self.held, leech) {
            self.held.clear();
            self.searched = 0;
        }
    }

    /// What a long silence means; the open requests are to be voided then, and the stream stands at a message.
    pub(crate) fn presumed(&mut self, leech: &Leech) -> Option<Presumed> {
        const SHORT: u64 = 5;
        const REJECT: u64 = 17;
        if self.answer_bytes == 0 || self.certain {
            return None;
        }
        let behind = self.answer_size() - self.answer_bytes;
        let rejects = if leech.fast { REJECT * u64::from(leech.asked.open()) } else { 0 };
        let presumed = match behind {
            SHORT => Presumed::Choked,
            _ if behind == 2 * SHORT => Presumed::Voided,
            _ if rejects > 0 && behind == SHORT + rejects => Presumed::Choked,
            _ if rejects > 0 && behind <= rejects && behind.is_multiple_of(REJECT) && behind > 0 => Presumed::Voided,
            _ => return None,
        };
        (self.drop_bytes, self.answer_bytes) = (0, 0);
        self.certain = true;
        self.careful = CAREFUL_ANSWERS;
        Some(presumed)
    }

    /// Understands the beginning of `held`; how many bytes of it are done with. Zero: more must be read.
    fn step(&mut self, held: &[u8], leech: &mut Leech) -> Result<usize, Fault> {
        if held.is_empty() {
            return Ok(0);
        }
        if self.skip_bytes + self.drop_bytes > 0 {
            let wanted = if self.skip_bytes > 0 { self.skip_bytes } else { self.drop_bytes };
            let taken = wanted.min(held.len() as u64) as usize;
            self.dropped(taken, leech);
            return Ok(taken);
        }
        self.needed = 0;
        if !self.certain {
            return self.search(held, leech);
        }
        match parse(held, &self.limits).map_err(|error| Fault::Protocol(error.reason()))? {
            Parsed::Incomplete { needed } => {
                self.needed = needed;
                Ok(0)
            }
            Parsed::Message { message, consumed } => {
                leech.message(&message);
                Ok(consumed)
            }
            Parsed::Skip { skipped: Skipped::Piece { index, begin }, consumed, body_bytes } => {
                self.on_piece(index, begin, body_bytes, leech);
                Ok(consumed)
            }
            Parsed::Skip { skipped: Skipped::Unknown { .. }, consumed, body_bytes } => {
                self.skip_bytes = body_bytes as u64;
                Ok(consumed)
            }
        }
    }

    /// A header was read: plans how much is dropped before the next one.
    fn on_piece(&mut self, index: u32, begin: u32, body_bytes: usize, leech: &mut Leech) {
        if body_bytes == 0 {
            // BitComet's way to say "rejected".
            leech.on_reject(index, begin);
            return;
        }
        let standing = leech.place(index, begin, body_bytes as u32, false);
        if standing == Standing::Unasked || body_bytes != self.block_bytes as usize {
            self.skip_bytes = body_bytes as u64;
            return;
        }
        let unread = if self.careful > 0 { 0 } else { (leech.asked.open() - 1).min(CHECK_EVERY - 1) };
        self.careful = self.careful.saturating_sub(1);
        self.certain = unread == 0;
        self.answer_bytes = u64::from(self.block_bytes);
        self.drop_bytes = self.answer_bytes + u64::from(unread) * self.answer_size();
    }

    /// Looks for a header that answers a request. At the very beginning it is what was expected.
    fn search(&mut self, held: &[u8], leech: &mut Leech) -> Result<usize, Fault> {
        // What was no answer's header stays none: what is asked for later is answered later.
        let mut unseen = held[self.searched..].windows(PIECE_HEADER_SIZE);
        let Some(place) = unseen.position(|window| self.is_answer(window, leech)).map(|at| self.searched + at) else {
            self.searched = (held.len() + 1).saturating_sub(PIECE_HEADER_SIZE);
            return if held.len() > SEARCH_BYTES { Err(Fault::Desynchronised) } else { Ok(0) };
        };
        self.certain = true;
        self.searched = 0;
        if place > 0 {
            leech.odd.resynchronised += 1;
            self.careful = CAREFUL_ANSWERS;
            self.foreign(&held[..place], leech);
        }
        if place > 0 {
            return Ok(place);
        }
        self.step(held, leech)
    }

    fn is_answer(&self, window: &[u8], leech: &Leech) -> bool {
        let field = |at: usize| window[at..at + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        field(0) == self.block_bytes + 9
            && window[4] == id::PIECE
            && leech.asked.is_known(field(5), field(9), self.block_bytes)
    }

    /// Hands out `bytes` as messages if they are whole messages and nothing else.
    fn foreign(&self, bytes: &[u8], leech: &mut Leech) -> bool {
        let mut messages: Vec<Message<'_>> = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(Parsed::Message { message, consumed }) = parse(rest, &self.limits) else { return false };
            messages.push(message);
            rest = &rest[consumed..];
        }
        messages.iter().for_each(|message| leech.message(message));
        true
    }

    fn answer_size(&self) -> u64 {
        u64::from(self.block_bytes) + PIECE_HEADER_SIZE as u64
    }
}

#[cfg(test)]
mod tests;
