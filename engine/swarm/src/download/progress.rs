//! How the download stands, for people and for those who decide by it.

use super::Download;
use crate::leech_choker::{self, Giving};
use crate::piece_set::PieceSet;
use metainfo::PieceIndex;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

/// What was fetched, and what was lost on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of wanted pieces that are not verified yet.
    pub missing_bytes: u64,
    /// Requests that were made.
    pub requested_blocks: u64,
    /// Bytes of blocks that were kept when they came.
    pub received_bytes: u64,
    /// Bytes of blocks that came for nothing: twice, or without having been asked for.
    pub wasted_bytes: u64,
    /// Bytes of blocks that were kept and thrown away: spoiled, suspect, or for want of room.
    pub discarded_bytes: u64,
    /// Checks that failed.
    pub hash_failures: u64,
    /// Peers that were banned.
    pub banned_peers: u64,
    /// Requests that were given up because they took too long.
    pub late_requests: u64,
    /// Requests for blocks that somebody else was asked for already.
    pub endgame_requests: u64,
    /// Pieces that were given up for want of room.
    pub abandoned_pieces: u64,
    /// Peers beyond the limit.
    pub refused_peers: u64,
}

/// A piece under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPieceStatus {
    /// Which.
    pub piece: PieceIndex,
    /// How many blocks it has.
    pub blocks: u32,
    /// How many are there.
    pub stored_blocks: u32,
    /// How many are asked for.
    pub asked_blocks: u32,
    /// Whether it is whole and being checked.
    pub in_check: bool,
}

impl<P: Copy + Eq + Hash + Debug> Download<P> {
    /// The pieces that are verified.
    pub fn have(&self) -> &PieceSet {
        &self.have
    }

    /// The pieces that are wanted.
    pub fn wanted(&self) -> &PieceSet {
        &self.wanted
    }

    /// Whether all that is wanted is verified.
    pub fn is_complete(&self) -> bool {
        self.progress.missing_bytes == 0
    }

    /// Bytes of wanted pieces that are not verified yet.
    pub fn missing_bytes(&self) -> u64 {
        self.progress.missing_bytes
    }

    /// What was fetched so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether all blocks that can be asked for are asked for, so that some are asked of several peers.
    pub fn is_endgame(&self) -> bool {
        self.open.with_free().is_empty() && (self.picker.pickable_count() == 0 || self.lacks_room)
    }

    /// Bytes per second from this peer, over about ten seconds.
    pub fn rate(&self, peer: P) -> u64 {
        self.known(peer).map_or(0, |entry| entry.pipeline.slow_bytes_per_s() as u64)
    }

    /// When the peer last sent a block that was wanted.
    pub fn last_block(&self, peer: P) -> Option<Duration> {
        self.known(peer).filter(|entry| entry.has_sent).map(|entry| entry.last_block)
    }

    /// Whether the peer is asked for blocks and does not send them.
    pub fn is_snubbed(&self, peer: P) -> bool {
        self.known(peer).is_some_and(|entry| entry.snubbed)
    }

    /// Whether the peer refuses our requests.
    pub fn is_choking(&self, peer: P) -> bool {
        self.known(peer).is_some_and(|entry| entry.choking)
    }

    /// What the choker judges the peer by.
    pub fn giving(&self, now: Duration, peer: P) -> Giving {
        self.known(peer).map_or(Giving::default(), |entry| Giving {
            rate: entry.pipeline.slow_bytes_per_s() as u64,
            snubs: entry.interested && now.saturating_sub(entry.last_block) >= leech_choker::SNUB_TIME,
        })
    }

    /// Requests that the peer has now.
    pub fn requests_under_way(&self, peer: P) -> usize {
        self.known(peer).map_or(0, |entry| entry.requests.len() + usize::from(entry.arriving.is_some()))
    }

    /// How many requests the peer is to have.
    pub fn pipeline_depth(&self, peer: P) -> usize {
        self.known(peer).map_or(0, |entry| entry.pipeline.depth())
    }

    /// The pieces under way.
    pub fn open_pieces(&self) -> impl Iterator<Item = OpenPieceStatus> + '_ {
        self.open.iter().filter_map(|(_, open)| {
            Some(OpenPieceStatus {
                piece: self.layout().piece(open.piece)?,
                blocks: open.block_count(),
                stored_blocks: open.stored_count(),
                asked_blocks: open.asked_count(),
                in_check: open.is_whole(),
            })
        })
    }

    /// Blocks that are asked for, or there and not written: never more than the room for them.
    pub fn blocks_under_way(&self) -> u64 {
        self.open.used_blocks()
    }
}
