//! The leech's side of one connection as the protocol knows it: choked or not, what is open, what the seeder can do. Pure;
//! which bytes are read for real is for `intake` and `whole`.

use wire::{Message, PeerExtensions};

use crate::asked::{Asked, Batch, Standing};

/// Things that are worth a count and are nobody's fault, or only a small one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// Chokes after the first unchoke.
    pub(crate) choked: u64,
    /// Requests that the seeder rejected.
    pub(crate) rejected: u64,
    /// Answers that overtook others.
    pub(crate) reordered: u64,
    /// Answers to nothing that was asked for lately.
    pub(crate) unasked: u64,
    /// Framing that was lost because another message came between answers, and was found again.
    pub(crate) resynchronised: u64,
    /// Silence that was taken for a choke or a reject that had been dropped unread.
    pub(crate) presumed: u64,
}

/// What both sides have said so far.
#[derive(Debug)]
pub(crate) struct Leech {
    /// What was asked for.
    pub(crate) asked: Asked,
    /// Whether both sides speak the fast extension (BEP 6).
    pub(crate) fast: bool,
    /// Whether requests are void now.
    pub(crate) choked: bool,
    /// What the seeder says it can do.
    pub(crate) peer: PeerExtensions,
    /// Counts for the report.
    pub(crate) odd: Oddities,
    /// Answers since the owner last looked, by batch.
    pub(crate) answers: Vec<Batch>,
    /// Their payload.
    pub(crate) answered_bytes: u64,
    /// Whether the seeder has unchoked us since the owner last looked.
    pub(crate) unchoked_now: bool,
}

impl Leech {
    /// Before the first message.
    pub(crate) fn new() -> Leech {
        Leech {
            asked: Asked::default(),
            fast: false,
            choked: true,
            peer: PeerExtensions::default(),
            odd: Oddities::default(),
            answers: Vec::new(),
            answered_bytes: 0,
            unchoked_now: false,
        }
    }

    /// Takes in a message that is no PIECE. A broken extension handshake is ignored: it says nothing about blocks.
    pub(crate) fn message(&mut self, message: &Message<'_>) {
        match *message {
            Message::Choke => self.on_choke(),
            Message::Unchoke => {
                self.unchoked_now |= self.choked;
                self.choked = false;
            }
            Message::Reject { index, begin, .. } => self.on_reject(index, begin),
            Message::Extended { id: 0, payload } => _ = self.peer.update(payload),
            _ => {}
        }
    }

    /// Places an answer of `length` bytes; if it is [`Standing::Unasked`] it is counted, and not to be booked. Who reads all
    /// answers knows that a late one is one too many.
    pub(crate) fn place(&mut self, index: u32, begin: u32, length: u32, reads_all: bool) -> Standing {
        let standing = match self.asked.open() {
            0 => Standing::Unasked,
            _ => self.asked.place(index, begin, length),
        };
        let standing = if reads_all && standing == Standing::Late { Standing::Unasked } else { standing };
        match standing {
            Standing::InOrder => {}
            Standing::Reordered | Standing::Late => self.odd.reordered += 1,
            Standing::Unasked => self.odd.unasked += 1,
        }
        standing
    }

    /// Books the oldest `blocks` open requests as answered.
    pub(crate) fn answered(&mut self, blocks: u32) {
        let answers = &mut self.answers;
        self.answered_bytes += self.asked.answered(blocks, |batch| answers.push(batch));
    }

    /// With the fast extension every open request is still answered or rejected; without it a choke voids them (BEP 3, 6).
    fn on_choke(&mut self) {
        if !self.choked {
            self.choked = true;
            self.odd.choked += 1;
        }
        if !self.fast {
            self.asked.void();
        }
    }

    pub(crate) fn on_reject(&mut self, index: u32, begin: u32) {
        if self.asked.reject(index, begin) {
            self.odd.rejected += 1;
        }
    }

    /// Silence is explained by a choke, or by rejects, that were dropped unread.
    pub(crate) fn presume(&mut self, choked: bool) {
        self.odd.presumed += 1;
        self.choked |= choked;
        self.asked.void();
    }
}
