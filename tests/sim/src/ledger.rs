//! What a node has asked of whom, kept by looking at its messages: the naive twin of the books that `swarm::Download` keeps.

use crate::net::LinkId;
use metainfo::BlockRange;
use std::collections::{BTreeMap, BTreeSet};

/// Requests of one node that are neither answered nor taken back.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    by_block: BTreeMap<(u32, u32), BTreeSet<LinkId>>,
    counts: BTreeMap<LinkId, usize>,
}

impl Ledger {
    /// Whether somebody else is asked for the block.
    pub(crate) fn is_asked_elsewhere(&self, link: LinkId, block: BlockRange) -> bool {
        self.by_block.get(&key(block)).is_some_and(|links| links.iter().any(|other| *other != link))
    }

    pub(crate) fn ask(&mut self, link: LinkId, block: BlockRange) {
        if self.by_block.entry(key(block)).or_default().insert(link) {
            *self.counts.entry(link).or_default() += 1;
        }
    }

    /// The request was answered, refused or taken back.
    pub(crate) fn settle(&mut self, link: LinkId, piece: u32, begin: u32) {
        if let Some(links) = self.by_block.get_mut(&(piece, begin))
            && links.remove(&link)
        {
            if links.is_empty() {
                self.by_block.remove(&(piece, begin));
            }
            *self.counts.get_mut(&link).expect("what was asked is counted") -= 1;
        }
    }

    /// All requests of the connection are void.
    pub(crate) fn void(&mut self, link: LinkId) {
        self.by_block.retain(|_, links| {
            links.remove(&link);
            !links.is_empty()
        });
        self.counts.remove(&link);
    }

    pub(crate) fn count(&self, link: LinkId) -> usize {
        self.counts.get(&link).copied().unwrap_or(0)
    }
}

fn key(block: BlockRange) -> (u32, u32) {
    (block.piece().get(), block.begin())
}
