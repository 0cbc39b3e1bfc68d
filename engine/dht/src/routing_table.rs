//! The routing table of one family (BEP 5): finer the nearer to ourselves. Who is asked when is for `node`.

use std::net::{IpAddr, SocketAddr};

use crate::Millis;
use crate::address::{host, is_local};
use crate::bucket::{Bucket, Entry};
use crate::limits::{BAD_FAILURES, REFRESH_MS};
use crate::node_id::NodeId;
use crate::random::Random;

/// All buckets. The one at index `i` holds ids that share `i` leading bits with ours, the last all that share more.
pub(crate) struct RoutingTable {
    own: NodeId,
    /// Never empty, never more than [`NodeId::BITS`].
    buckets: Vec<Bucket>,
}

/// What a query tells of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// In the table already.
    Known,
    /// There would be room, if it answers.
    Welcome,
    /// There is no room.
    Surplus,
}

impl RoutingTable {
    pub(crate) fn new(own: NodeId) -> RoutingTable {
        RoutingTable { own, buckets: vec![Bucket::new(0)] }
    }

    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    /// Notes an answer of a node.
    pub(crate) fn answered(&mut self, now: Millis, id: NodeId, address: SocketAddr) {
        if id == self.own {
            return;
        }
        let place = self.find(|node| node.id == id);
        if let Some((bucket, index)) = place {
            let node = &mut self.buckets[bucket].nodes_mut()[index];
            if node.address == address {
                (node.answered, node.failures, node.is_doubted) = (now, 0, false);
                self.buckets[bucket].changed = now;
                return;
            }
            // Somebody else's id is not taken over while its owner answers, which is asked.
            if node.failures == 0 {
                node.is_doubted = true;
                return self.buckets[bucket].keep_for_later(Entry::new(now, id, address));
            }
            self.buckets[bucket].remove(index);
        }
        if self.make_way(address) {
            self.insert(now, Entry::new(now, id, address));
        }
    }

    /// Notes a query of a node.
    pub(crate) fn queried(&mut self, now: Millis, id: NodeId, address: SocketAddr) -> Asker {
        if let Some((bucket, index)) = self.find(|node| node.id == id && node.address == address) {
            self.buckets[bucket].nodes_mut()[index].queried = Some(now);
            return Asker::Known;
        }
        let index = self.index_of(id);
        let bucket = &self.buckets[index];
        let can_split = index + 1 == self.buckets.len() && self.buckets.len() < NodeId::BITS;
        let has_room = !bucket.is_full() || can_split || bucket.nodes().iter().any(|node| !node.is_good(now));
        if has_room && id != self.own { Asker::Welcome } else { Asker::Surplus }
    }

    /// Notes that a node did not answer.
    pub(crate) fn failed(&mut self, now: Millis, address: SocketAddr) {
        let Some((bucket, index)) = self.find(|node| node.address == address) else { return };
        let node = &mut self.buckets[bucket].nodes_mut()[index];
        (node.failures, node.failed) = (node.failures.saturating_add(1), now);
        self.buckets[bucket].replace_doubted(now, index);
        self.buckets[bucket].replace_bad(now, index);
    }

    /// Up to `count` nodes nearest to `target` that have disappointed us at most `max_failures` times in a row.
    pub(crate) fn closest(&self, target: NodeId, count: usize, max_failures: u8) -> Vec<(NodeId, SocketAddr)> {
        let mut nodes: Vec<_> = self.nodes().filter(|node| node.failures <= max_failures).collect();
        nodes.sort_unstable_by_key(|node| node.id.distance(target));
        nodes.iter().take(count).map(|node| (node.id, node.address)).collect()
    }

    /// The node that was to be asked the longest ago whether it is still there.
    pub(crate) fn poll_stale(&mut self, now: Millis) -> Option<(NodeId, SocketAddr)> {
        let stale = self.nodes().filter(|node| node.ask_at() <= now).min_by_key(|node| node.ask_at())?;
        let (id, address) = (stale.id, stale.address);
        let (bucket, index) = self.find(|node| node.id == id)?;
        // Counted as unanswered until it answers, so that the next poll finds another.
        let node = &mut self.buckets[bucket].nodes_mut()[index];
        (node.failures, node.failed) = (node.failures.max(1), now);
        Some((id, address))
    }

    /// An id in a bucket that nothing was heard of for long. It counts as heard of from now on.
    pub(crate) fn poll_refresh(&mut self, now: Millis, random: &mut Random) -> Option<NodeId> {
        let stale = |bucket: &Bucket| now.saturating_sub(bucket.changed) >= REFRESH_MS;
        let index = self.buckets.iter().position(stale)?;
        self.buckets[index].changed = now;
        Some(self.own.sibling(index, random.bytes()))
    }

    /// Moves all nodes into the table of another id of ours.
    pub(crate) fn change_own(&mut self, now: Millis, own: NodeId) {
        let old = std::mem::replace(self, RoutingTable::new(own));
        for entry in old.buckets.into_iter().flat_map(Bucket::into_entries) {
            if entry.id != own {
                self.insert(now, entry);
            }
        }
    }

    /// Everybody in the table.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(Bucket::nodes)
    }

    /// Nodes that would answer, as far as one can know.
    pub(crate) fn usable_count(&self) -> usize {
        self.nodes().filter(|node| node.failures < BAD_FAILURES).count()
    }

    fn insert(&mut self, now: Millis, mut entry: Entry) {
        loop {
            let index = self.index_of(entry.id);
            match self.buckets[index].insert(now, entry) {
                Ok(()) => return,
                Err(refused) if index + 1 == self.buckets.len() && self.buckets.len() < NodeId::BITS => {
                    self.split(now);
                    entry = refused;
                }
                Err(refused) => return self.buckets[index].keep_for_later(refused),
            }
        }
    }

    /// Divides the last bucket, the one that our own id is in.
    fn split(&mut self, now: Millis) {
        let Some(last) = self.buckets.pop() else { return };
        let changed = last.changed;
        self.buckets.extend([Bucket::new(changed), Bucket::new(changed)]);
        for entry in last.into_entries() {
            let index = self.index_of(entry.id);
            if let Err(refused) = self.buckets[index].insert(now, entry) {
                self.buckets[index].keep_for_later(refused);
            }
        }
    }

    /// Sees to it that an address is in the table once, and one host of the Internet too. Whether there may be another.
    fn make_way(&mut self, address: SocketAddr) -> bool {
        let same_host = |ip: IpAddr| !is_local(ip) && host(ip) == host(address.ip());
        match self.find(|node| node.address == address || same_host(node.address.ip())) {
            Some((bucket, index)) => {
                let node = &self.buckets[bucket].nodes()[index];
                // The same address with another id is the same node, started again.
                let may_go = node.address == address || node.failures > 0;
                if may_go {
                    self.buckets[bucket].remove(index);
                }
                may_go
            }
            None => true,
        }
    }

    fn index_of(&self, id: NodeId) -> usize {
        self.own.shared_bits(id).min(self.buckets.len() - 1)
    }

    fn find(&self, is_it: impl Fn(&Entry) -> bool) -> Option<(usize, usize)> {
        self.buckets
            .iter()
            .enumerate()
            .find_map(|(bucket, nodes)| Some((bucket, nodes.nodes().iter().position(&is_it)?)))
    }
}

#[cfg(test)]
mod tests;
