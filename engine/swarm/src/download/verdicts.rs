//! What becomes of whole pieces, and of those who spoil them. A piece that one peer sent alone has its culprit. Of a v2 piece
//! leaf hashes tell the bad blocks, and so the culprits. A v1 piece of several senders goes on parole: it is fetched again,
//! from one peer, and the good copy tells who sent what differs from it.

use super::limits::{HASHES_ASKED_LIMIT, STRIKES_LIMIT};
use super::open_pieces::{NOBODY, Stage};
use super::parole::{Parole, distinct};
use super::{BLOCK_SIZE, BanReason, Download, DownloadAction, PieceVerdict, Selection};
use metainfo::{PieceIndex, Version};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Whether the check of this piece is to take fingerprints of its blocks even if it is good: it is to tell who spoiled an
    /// earlier copy.
    pub fn wants_fingerprints(&self, piece: PieceIndex) -> bool {
        self.open.slot_of(piece.get()).and_then(|slot| self.open.get(slot)).is_some_and(|open| open.parole.is_some())
    }

    /// The check of a whole piece is done.
    pub fn handle_verified(&mut self, now: Duration, piece: PieceIndex, verdict: PieceVerdict<'_>) {
        let Some(slot) = self.open.slot_of(piece.get()) else { return };
        if self.open.get(slot).is_none_or(|open| open.stage != Stage::Verdict) {
            return;
        }
        match verdict {
            PieceVerdict::Good { fingerprints } => self.accept(slot, piece, fingerprints),
            PieceVerdict::Bad { bad_blocks, fingerprints } => {
                self.progress.hash_failures += 1;
                match bad_blocks {
                    Some(bad) if !bad.is_empty() => self.blame(slot, bad),
                    _ => self.suspect(now, slot, fingerprints),
                }
            }
        }
    }

    fn accept(&mut self, slot: u32, piece: PieceIndex, fingerprints: &[u64]) {
        let Some(open) = self.open.get_mut(slot) else { return };
        let only_sender = open.only_sender();
        let parole = open.parole.take();
        if let Some(sender) = only_sender {
            self.clear(sender);
        }
        if let Some(parole) = parole {
            let culprits = parole.culprits(fingerprints);
            for suspect in parole.suspects() {
                match culprits.contains(&suspect) {
                    true => self.ban(suspect, BanReason::BadBlock),
                    false if !fingerprints.is_empty() => self.clear(suspect),
                    false => {}
                }
            }
            parole.failed.iter().for_each(|(sender, _)| self.senders.release(*sender));
        }
        let missing = self.is_missing(piece.get());
        self.have.insert(piece);
        self.close(slot);
        if missing {
            self.progress.missing_bytes -= u64::from(self.piece_size(piece.get()));
            self.change_interest(piece.get(), false);
        }
    }

    /// These blocks are proved bad: their senders are banned, the others stay.
    fn blame(&mut self, slot: u32, bad_blocks: &[u32]) {
        let Some(open) = self.open.get_mut(slot) else { return };
        open.stage = Stage::Blocks;
        let culprits = distinct(bad_blocks.iter().filter_map(|block| open.sender(*block)));
        if let Some(parole) = open.parole.take() {
            parole.failed.iter().for_each(|(sender, _)| self.senders.release(*sender));
        }
        for block in bad_blocks {
            self.discard(slot, *block);
        }
        if culprits.is_empty() {
            // The proof names no block that there is: nothing of the piece can be believed.
            self.discard_all(slot);
        }
        for culprit in culprits {
            self.ban(culprit, BanReason::BadBlock);
        }
    }

    /// Some block is bad, and nobody knows which.
    fn suspect(&mut self, now: Duration, slot: u32, fingerprints: &[u64]) {
        let Some(open) = self.open.get(slot) else { return };
        if let Some(sender) = open.only_sender() {
            self.discard_all(slot);
            self.ban(sender, BanReason::SpoiledPiece);
            return;
        }
        let was_on_parole = open.parole.is_some();
        let copy = (0..open.block_count()).filter_map(|block| open.sender(block));
        let failed: Vec<(u32, u64)> = copy.zip(fingerprints.iter().copied().chain(std::iter::repeat(0))).collect();
        failed.iter().for_each(|(sender, _)| self.senders.hold(*sender));
        let parole = Box::new(Parole { since: now, failed });
        let before = self.open.get_mut(slot).and_then(|open| open.parole.replace(parole));
        if let Some(before) = before {
            before.failed.iter().for_each(|(sender, _)| self.senders.release(*sender));
        }
        if !was_on_parole && self.ask_for_hashes(now, slot, 0) {
            return;
        }
        self.begin_parole(now, slot, was_on_parole);
    }

    /// Fetches the piece again. If that was done before and it failed again, all who had a part in it bear the blame.
    fn begin_parole(&mut self, now: Duration, slot: u32, again: bool) {
        let Some(open) = self.open.get_mut(slot) else { return };
        (open.stage, open.owner) = (Stage::Blocks, NOBODY);
        let Some(parole) = open.parole.as_mut() else { return };
        parole.since = now;
        let suspects = parole.suspects();
        self.discard_all(slot);
        for sender in suspects {
            let entry = self.senders.get(sender);
            if let Some(peer) = self.peer_mut(entry.slot) {
                peer.suspect = true;
            }
            if again && self.senders.strike(entry.address) >= STRIKES_LIMIT {
                self.ban(sender, BanReason::Strikes);
            }
        }
    }

    /// The sender is beyond suspicion, for now.
    fn clear(&mut self, sender: u32) {
        let slot = self.senders.get(sender).slot;
        if let Some(peer) = self.peer_mut(slot) {
            peer.suspect = false;
        }
    }

    /// Everything that the sender has sent and that is not verified is thrown away; it is asked for nothing any more.
    fn ban(&mut self, sender: u32, reason: BanReason) {
        let entry = self.senders.get(sender);
        let live = self.peer(entry.slot).filter(|peer| !peer.banned).map(|peer| peer.key);
        if entry.slot != NOBODY && live.is_none() {
            return;
        }
        self.senders.strike(entry.address);
        self.progress.banned_peers += 1;
        self.actions.push(DownloadAction::Ban { peer: live, address: entry.address, reason });
        for slot in 0..self.open.slot_count() {
            let Some(open) = self.open.get(slot).filter(|open| open.stage == Stage::Blocks) else { continue };
            let theirs: Vec<u32> =
                (0..open.block_count()).filter(|block| open.sender(*block) == Some(sender)).collect();
            theirs.into_iter().for_each(|block| self.discard(slot, block));
        }
        let Some(peer) = self.peer_mut(entry.slot) else { return };
        peer.banned = true;
        self.release_requests(entry.slot, |_| true);
        self.forget_arriving(entry.slot);
        self.disown(entry.slot);
    }

    fn discard(&mut self, slot: u32, block: u32) {
        if let Some(sender) = self.open.discard(slot, block) {
            self.senders.release(sender);
            self.progress.discarded_bytes += u64::from(BLOCK_SIZE);
            self.freed();
        }
    }

    fn discard_all(&mut self, slot: u32) {
        let Some(open) = self.open.get_mut(slot) else { return };
        open.stage = Stage::Blocks;
        open.owner = NOBODY;
        (0..open.block_count()).for_each(|block| self.discard(slot, block));
    }
}

/// Leaf hashes of v2 (BEP 52).
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// The leaf hashes of a failed piece are there: these blocks are bad.
    pub fn handle_leaves(&mut self, now: Duration, piece: PieceIndex, bad_blocks: &[u32]) {
        let Some(slot) = self.awaits_leaves(piece) else { return };
        if bad_blocks.is_empty() {
            // They contradict the check.
            self.begin_parole(now, slot, false);
        } else {
            self.blame(slot, bad_blocks);
        }
    }

    /// The peer does not tell the leaf hashes of a piece, or they do not fit.
    pub fn handle_hashes_refused(&mut self, now: Duration, peer: P, piece: PieceIndex) {
        let Some(slot) = self.awaits_leaves(piece) else { return };
        if let Some(open) = self.open.get(slot)
            && let Stage::Leaves { from, asked, .. } = open.stage
            && self.slot(peer) == Some(from)
        {
            self.ask_next_for_hashes(now, slot, asked);
        }
    }

    fn awaits_leaves(&self, piece: PieceIndex) -> Option<u32> {
        let slot = self.open.slot_of(piece.get())?;
        matches!(self.open.get(slot)?.stage, Stage::Leaves { .. }).then_some(slot)
    }

    /// Pieces that wait for hashes from a peer that is gone wait for another one's.
    pub(super) fn pass_on_hash_requests(&mut self, now: Duration, peer: u32) {
        self.retry_hash_requests(now, |stage| matches!(stage, Stage::Leaves { from, .. } if from == peer));
    }

    pub(super) fn retry_hash_requests(&mut self, now: Duration, which: impl Fn(Stage) -> bool) {
        for slot in 0..self.open.slot_count() {
            if let Some(stage) = self.open.get(slot).map(|open| open.stage)
                && let Stage::Leaves { asked, .. } = stage
                && which(stage)
            {
                self.ask_next_for_hashes(now, slot, asked);
            }
        }
    }

    fn ask_next_for_hashes(&mut self, now: Duration, slot: u32, asked: u8) {
        if !self.ask_for_hashes(now, slot, asked) {
            self.begin_parole(now, slot, false);
        }
    }

    /// Asks a peer for the leaf hashes of an open piece, if one is left that may know them.
    fn ask_for_hashes(&mut self, now: Duration, slot: u32, asked: u8) -> bool {
        let Some(open) = self.open.get(slot).filter(|_| asked < HASHES_ASKED_LIMIT) else { return false };
        let Some(piece) = self.layout().piece(open.piece) else { return false };
        let before = if let Stage::Leaves { from, .. } = open.stage { from } else { NOBODY };
        if self.torrent.version() == Version::V1 {
            return false;
        }
        let knows = |at: &u32| {
            *at != before && self.peer(*at).is_some_and(|peer| peer.v2 && !peer.banned && peer.has(open.piece))
        };
        // Those that come after the one that was asked before, and around.
        let slots = self.peer_slots();
        let first = if before == NOBODY { 0 } else { before.min(slots.end) };
        let Some(from) = (first..slots.end).chain(0..first).find(knows) else { return false };
        let Some(peer) = self.peer(from).map(|peer| peer.key) else { return false };
        if let Some(open) = self.open.get_mut(slot) {
            open.stage = Stage::Leaves { from, since: now, asked: asked + 1 };
        }
        self.actions.push(DownloadAction::RequestHashes { peer, piece });
        true
    }
}

/// What is wanted.
impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// Wants other pieces from now on. Those under way that nobody wants any more are given up.
    pub fn set_wanted(&mut self, selection: Selection) {
        debug_assert_eq!(selection.wanted.piece_count(), self.wanted.piece_count(), "of this torrent");
        self.wanted = selection.wanted;
        self.sequential = selection.sequential;
        for slot in 0..self.open.slot_count() {
            let Some(open) = self.open.get(slot) else { continue };
            if !self.wanted.has(open.piece) && open.stage != Stage::Verdict {
                self.abandon(slot);
            }
        }
        let mut missing = self.wanted.clone();
        missing.minus(&self.have);
        self.set_missing(&missing);
        self.progress.missing_bytes = self.count_missing_bytes();
        for slot in self.peer_slots() {
            self.recount_interest(slot);
        }
        self.lacks_room = false;
        self.freed();
    }
}
