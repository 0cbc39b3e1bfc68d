//! One bucket of a routing table: up to eight nodes that have answered us, and a few that wait for a place.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::Millis;
use crate::address::{is_local, subnet};
use crate::limits::{BAD_FAILURES, FORGET_FAILURES, GOOD_MS, K, MAX_REPLACEMENTS, MAX_SUBNET_NODES};
use crate::node_id::NodeId;
use crate::secure_id::id_fits;

/// A node that has answered us at least once: nobody gets in by a query, whose sender may be forged.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    /// Whether the id belongs to the address (BEP 42).
    pub(crate) fits: bool,
    /// When it last answered.
    pub(crate) answered: Millis,
    /// When it last asked us something.
    pub(crate) queried: Option<Millis>,
    /// When we were last disappointed.
    pub(crate) failed: Millis,
    /// Queries in a row that it did not answer.
    pub(crate) failures: u8,
    /// Somebody else has answered with its id: one of both is gone, or lies.
    pub(crate) is_doubted: bool,
}

/// Between two tries to reach a node that failed once or twice.
const RETRY_MS: Millis = 30_000;

impl Entry {
    pub(crate) fn new(now: Millis, id: NodeId, address: SocketAddr) -> Entry {
        let fits = id_fits(id, address.ip());
        Entry { id, address, fits, answered: now, queried: None, failed: 0, failures: 0, is_doubted: false }
    }

    /// Good as BEP 5 has it: an answer, or a query of one who has answered before, within the quarter of an hour.
    pub(crate) fn is_good(&self, now: Millis) -> bool {
        let heard = self.answered.max(self.queried.unwrap_or(0));
        self.failures == 0 && now.saturating_sub(heard) < GOOD_MS
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.failures >= BAD_FAILURES
    }

    /// When to ask whether it is still there. Queries do not put this off: their sender may be forged.
    pub(crate) fn ask_at(&self) -> Millis {
        match self.failures {
            0 if self.is_doubted => self.answered,
            0 => self.answered + GOOD_MS,
            1..BAD_FAILURES => self.failed + RETRY_MS,
            _ => self.failed + GOOD_MS,
        }
    }
}

/// The nodes of one distance.
pub(crate) struct Bucket {
    /// At most [`K`].
    nodes: Vec<Entry>,
    /// Newest last; at most [`MAX_REPLACEMENTS`].
    replacements: VecDeque<Entry>,
    /// When a node was last added, or answered.
    pub(crate) changed: Millis,
}

impl Bucket {
    pub(crate) fn new(changed: Millis) -> Bucket {
        Bucket { nodes: Vec::with_capacity(K), replacements: VecDeque::new(), changed }
    }

    pub(crate) fn nodes(&self) -> &[Entry] {
        &self.nodes
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Entry] {
        &mut self.nodes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= K
    }

    /// Takes a node in if there is room, or somebody who is worth less; gives it back if not.
    pub(crate) fn insert(&mut self, now: Millis, entry: Entry) -> Result<(), Entry> {
        let bad = self.nodes.iter().position(Entry::is_bad);
        let unfit = self.nodes.iter().position(|node| entry.fits && !node.fits);
        let place = if self.is_full() { bad.or(unfit) } else { None };
        if self.is_full() && place.is_none() {
            return Err(entry);
        }
        if !is_local(entry.address.ip()) && self.neighbours(&entry, place) >= MAX_SUBNET_NODES {
            return Ok(());
        }
        match place {
            Some(index) => self.nodes[index] = entry,
            None => self.nodes.push(entry),
        }
        self.changed = now;
        Ok(())
    }

    /// Remembers a node for the day when another goes.
    pub(crate) fn keep_for_later(&mut self, entry: Entry) {
        self.replacements.retain(|known| known.id != entry.id && known.address != entry.address);
        if self.replacements.len() >= MAX_REPLACEMENTS {
            self.replacements.pop_front();
        }
        self.replacements.push_back(entry);
    }

    /// Puts a waiting node where the one at `index` was found bad, or forgets that one if it has failed for long.
    pub(crate) fn replace_bad(&mut self, now: Millis, index: usize) {
        let Some(bad) = self.nodes.get(index).filter(|node| node.is_bad()) else { return };
        match self.replacements.pop_back() {
            Some(entry) => {
                self.nodes[index] = entry;
                self.changed = now;
            }
            None if bad.failures >= FORGET_FAILURES => _ = self.nodes.swap_remove(index),
            None => {}
        }
    }

    /// Puts whoever answered with the same id in the place of a node that did not answer any more.
    pub(crate) fn replace_doubted(&mut self, now: Millis, index: usize) {
        let Some(doubted) = self.nodes.get_mut(index).filter(|node| node.is_doubted) else { return };
        doubted.is_doubted = false;
        let id = doubted.id;
        if let Some(at) = self.replacements.iter().position(|waiting| waiting.id == id)
            && let Some(entry) = self.replacements.remove(at)
        {
            self.nodes[index] = entry;
            self.changed = now;
        }
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.nodes.swap_remove(index);
        self.nodes.extend(self.replacements.pop_back());
    }

    /// Everybody in it, the nodes first.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.nodes.into_iter().chain(self.replacements)
    }

    /// Nodes of the same network, but for the one in `place`.
    fn neighbours(&self, entry: &Entry, place: Option<usize>) -> usize {
        let network = subnet(entry.address.ip());
        let others = self.nodes.iter().enumerate().filter(|(index, _)| Some(*index) != place);
        others.filter(|(_, node)| subnet(node.address.ip()) == network).count()
    }
}
