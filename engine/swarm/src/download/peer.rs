//! What is known of one peer that we download from: its pieces, what it is asked for, whether it may be asked.

use super::limits::{
    ALLOWED_FAST_LIMIT, FIRST_REFUSED_TIME, LAPSED_LIMIT, REFUSED_LIMIT, REFUSED_TIME, SUGGESTED_LIMIT,
};
use super::pipeline::{Pipeline, first_depth};
use super::{PeerTraits, limits};
use crate::picker::PeerPieces;
use crate::piece_set::PieceSet;
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::time::Duration;

/// A block that a peer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// The piece's slot among the open pieces; it may have been closed since.
    pub(super) open: u32,
    pub(super) piece: u32,
    pub(super) block: u32,
    pub(super) asked_at: Duration,
}

/// A piece of which a peer has refused a block.
#[derive(Debug)]
struct Refusal {
    piece: u32,
    /// How often it has refused it again since.
    again: u8,
    /// It is not asked for it now.
    holds: bool,
    at: Duration,
}

impl Refusal {
    fn pause(&self) -> Duration {
        FIRST_REFUSED_TIME.saturating_mul(1 << self.again.min(16)).min(REFUSED_TIME)
    }
}

#[derive(Debug)]
pub(super) struct Peer<P> {
    pub(super) key: P,
    pub(super) fast: bool,
    pub(super) v2: bool,
    pub(super) is_web_seed: bool,
    is_bitcomet: bool,
    /// Its entry among the senders.
    pub(super) sender: u32,
    /// `None` if it has everything.
    pub(super) pieces: Option<PieceSet>,
    /// Pieces that it has, we lack and want.
    pub(super) interesting_count: u32,
    /// What it was told.
    pub(super) interested: bool,
    pub(super) choking: bool,
    pub(super) choke_changed_at: Duration,
    pub(super) allowed_fast: ArrayVec<u32, ALLOWED_FAST_LIMIT>,
    pub(super) suggested: ArrayVec<u32, SUGGESTED_LIMIT>,
    /// Pieces of which it refused blocks lately.
    refused: ArrayVec<Refusal, REFUSED_LIMIT>,
    /// What it is asked for, oldest first.
    pub(super) requests: VecDeque<Request>,
    /// What it was asked for and may still send.
    pub(super) lapsed: VecDeque<Request>,
    /// The block whose bytes are coming in.
    pub(super) arriving: Option<Request>,
    pub(super) pipeline: Pipeline,
    /// The open piece that it was last asked for.
    pub(super) current: Option<(u32, u32)>,
    /// When its last block came, or when we began to wait for one.
    pub(super) last_block: Duration,
    pub(super) has_sent: bool,
    pub(super) snubbed: bool,
    /// It had a part in a piece that failed.
    pub(super) suspect: bool,
    pub(super) banned: bool,
    /// There was nothing to ask for at this epoch of the download.
    pub(super) dry_epoch: u64,
    /// The owner was told that it can be asked for more.
    pub(super) is_announced: bool,
    pub(super) unasked_count: u32,
    pub(super) list_count: u32,
}

impl<P> Peer<P> {
    pub(super) fn new(now: Duration, key: P, traits: &PeerTraits, sender: u32, piece_count: u32) -> Peer<P> {
        let id = &traits.peer_id;
        let is_bitcomet = id.client_code() == Some(*b"BC") || id.0.starts_with(b"exbc") || id.0.starts_with(b"FUTB");
        let limit = match (is_bitcomet, traits.is_web_seed) {
            (true, _) => limits::BITCOMET_REQQ,
            (false, true) => limits::PIPELINE_LIMIT,
            (false, false) => limits::UNSAID_REQQ,
        };
        Peer {
            key,
            fast: traits.fast,
            v2: traits.v2,
            is_web_seed: traits.is_web_seed,
            is_bitcomet,
            sender,
            pieces: Some(PieceSet::new(piece_count)),
            interesting_count: 0,
            interested: false,
            choking: true,
            choke_changed_at: now,
            allowed_fast: ArrayVec::new(),
            suggested: ArrayVec::new(),
            refused: ArrayVec::new(),
            requests: VecDeque::new(),
            lapsed: VecDeque::new(),
            arriving: None,
            pipeline: Pipeline::new(now, limit, first_depth(traits.is_web_seed)),
            current: None,
            last_block: now,
            has_sent: false,
            snubbed: false,
            suspect: false,
            banned: false,
            dry_epoch: 0,
            is_announced: false,
            unasked_count: 0,
            list_count: 0,
        }
    }

    pub(super) fn set_reqq(&mut self, limit: u32) {
        self.pipeline.set_limit(if self.is_bitcomet { limit.min(limits::BITCOMET_REQQ) } else { limit });
    }

    pub(super) fn pieces(&self) -> PeerPieces<'_> {
        self.pieces.as_ref()
    }

    pub(super) fn has(&self, piece: u32) -> bool {
        self.pieces.as_ref().is_none_or(|pieces| pieces.has(piece))
    }

    /// Whether the peer would answer a request for a block of this piece.
    pub(super) fn may_be_asked_for(&self, piece: u32) -> bool {
        self.has(piece)
            && (!self.choking || self.allowed_fast.contains(&piece))
            && !self.refused.iter().any(|refusal| refusal.piece == piece && refusal.holds)
    }

    /// The peer refuses a block of the piece although it does not choke us: it is not asked for the piece for a while, and twice
    /// as long each time that it refuses it again.
    pub(super) fn refuse(&mut self, now: Duration, piece: u32) {
        let known = self.refused.iter().position(|refusal| refusal.piece == piece);
        let again = match known.map(|at| self.refused.remove(at)) {
            // It refuses what it was asked for before: that is one refusal.
            Some(refusal) if refusal.holds => return self.refused.push(refusal),
            Some(refusal) => refusal.again.saturating_add(1),
            None => 0,
        };
        if self.refused.is_full() {
            self.refused.remove(0);
        }
        self.refused.push(Refusal { piece, again, holds: true, at: now });
    }

    /// Lets pieces be asked for again that were refused for long enough, and forgets what is long ago. True if there were any of
    /// the former.
    pub(super) fn forget_refusals(&mut self, now: Duration) -> bool {
        let mut may_again = false;
        self.refused.retain(|refusal| {
            let since = now.saturating_sub(refusal.at);
            let is_over = refusal.holds && since >= refusal.pause();
            refusal.holds &= !is_over;
            may_again |= is_over;
            since < refusal.pause() + REFUSED_TIME
        });
        may_again
    }

    /// Whether some piece that it has must not be asked for.
    pub(super) fn is_restricted(&self) -> bool {
        self.choking || self.refused.iter().any(|refusal| refusal.holds)
    }

    /// How many more requests the peer may have.
    pub(super) fn pipeline_room(&self) -> usize {
        let may_ask = !self.banned && self.interesting_count > 0 && (!self.choking || !self.allowed_fast.is_empty());
        if !may_ask {
            return 0;
        }
        let depth = if self.snubbed { 1 } else { self.pipeline.depth() };
        depth.saturating_sub(self.requests.len() + usize::from(self.arriving.is_some()))
    }

    /// Takes a request off the list.
    pub(super) fn take_request(&mut self, piece: u32, block: u32) -> Option<Request> {
        take(&mut self.requests, piece, block)
    }

    /// Takes a request off the list of those that were given up.
    pub(super) fn take_lapsed(&mut self, piece: u32, block: u32) -> Option<Request> {
        take(&mut self.lapsed, piece, block)
    }

    /// The peer may still answer this.
    pub(super) fn remember_lapsed(&mut self, request: Request) {
        if self.lapsed.len() == LAPSED_LIMIT {
            self.lapsed.pop_front();
        }
        self.lapsed.push_back(request);
    }

    /// Whether the peer fetches so many bytes by itself in good time.
    pub(super) fn takes_whole(&self, piece_bytes: u32) -> bool {
        let fast = self.pipeline.bytes_per_s() * limits::WHOLE_PIECE_TIME.as_secs_f64() >= f64::from(piece_bytes);
        self.suspect || self.is_web_seed || (fast && !self.snubbed)
    }

    /// When it would answer the request at this place of its pipeline. `None` if it answers nothing.
    pub(super) fn expected_wait_s(&self, place: usize) -> Option<f64> {
        if self.snubbed || self.banned { None } else { self.pipeline.expected_wait_s(place) }
    }
}

fn take(requests: &mut VecDeque<Request>, piece: u32, block: u32) -> Option<Request> {
    // Most peers answer in order, so it is the first.
    let at = requests.iter().position(|request| request.piece == piece && request.block == block)?;
    requests.remove(at)
}
