//! What the node keeps for one family.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::Millis;
use crate::address::{Family, is_usable};
use crate::external_address::ExternalAddress;
use crate::limits::{FIRST_BOOTSTRAP_RETRY_MS, K, MAX_PROBES, MAX_REMEMBERED, MAX_ROUTERS, PROBE_ASKER_MS};
use crate::lookup::LookupKey;
use crate::node_id::NodeId;
use crate::routing_table::RoutingTable;

/// Of the nodes of a former run, how many one lookup begins with.
const REMEMBERED_AT_ONCE: usize = 32;
/// Askers of a minute that are remembered.
const MAX_TRIED: usize = 256;

/// One of the two DHTs.
pub(super) struct Side {
    pub(super) family: Family,
    pub(super) table: RoutingTable,
    pub(super) external: ExternalAddress,
    /// When our id changed last.
    pub(super) id_changed_at: Option<Millis>,
    /// Bootstrap nodes, at most [`MAX_ROUTERS`].
    pub(super) routers: Vec<SocketAddr>,
    /// Nodes of a former run, at most [`MAX_REMEMBERED`]; gone once the table is filled.
    remembered: VecDeque<(NodeId, SocketAddr)>,
    /// Addresses to ping, at most [`MAX_PROBES`].
    probes: VecDeque<SocketAddr>,
    /// Askers that were pinged within the minute that ends at `tried_until`, at most [`MAX_TRIED`].
    tried: VecDeque<SocketAddr>,
    tried_until: Millis,
    /// When it is looked after next.
    pub(super) upkeep_at: Millis,
    /// When our own neighbourhood is looked up next.
    pub(super) bootstrap_at: Millis,
    pub(super) bootstrap_retry_ms: Millis,
    /// The lookup of upkeep that is under way: there is one at a time.
    pub(super) upkeep_lookup: Option<LookupKey>,
}

impl Side {
    pub(super) fn new(family: Family, own: NodeId, now: Millis) -> Side {
        Side {
            family,
            table: RoutingTable::new(own),
            external: ExternalAddress::default(),
            id_changed_at: None,
            routers: Vec::new(),
            remembered: VecDeque::new(),
            probes: VecDeque::new(),
            tried: VecDeque::new(),
            tried_until: now,
            upkeep_at: now,
            bootstrap_at: now,
            bootstrap_retry_ms: FIRST_BOOTSTRAP_RETRY_MS,
            upkeep_lookup: None,
        }
    }

    pub(super) fn add_router(&mut self, now: Millis, address: SocketAddr) {
        if is_usable(address) && !self.routers.contains(&address) && self.routers.len() < MAX_ROUTERS {
            self.routers.push(address);
            self.begin_soon(now);
        }
    }

    /// Takes over the id and the nodes of a former run.
    pub(super) fn remember(&mut self, now: Millis, id: Option<NodeId>, nodes: Vec<(NodeId, SocketAddr)>) {
        if let Some(id) = id {
            self.table.change_own(now, id);
        }
        self.remembered = nodes.into_iter().filter(|(_, address)| is_usable(*address)).take(MAX_REMEMBERED).collect();
        self.begin_soon(now);
    }

    /// Some of the nodes of a former run; others the next time.
    pub(super) fn next_remembered(&mut self) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
        let count = REMEMBERED_AT_ONCE.min(self.remembered.len());
        self.remembered.rotate_left(count);
        self.remembered.iter().rev().take(count).copied()
    }

    /// The table is filled: whom we knew once is not needed any more.
    pub(super) fn forget_remembered(&mut self) {
        self.remembered.clear();
    }

    /// Those in the table; while they are few, those of the former run too, who may be back before the next.
    pub(super) fn nodes_to_remember(&self) -> Vec<(NodeId, SocketAddr)> {
        let usable = self.table.closest(self.table.own(), MAX_REMEMBERED, 0);
        let room = if usable.len() < K { MAX_REMEMBERED - usable.len() } else { 0 };
        let former: Vec<_> = self.remembered.iter().filter(|node| !usable.contains(node)).take(room).copied().collect();
        usable.into_iter().chain(former).collect()
    }

    /// Queues an address to be pinged. Whether there was room.
    pub(super) fn probe(&mut self, address: SocketAddr) -> bool {
        if !is_usable(address) || self.probes.contains(&address) {
            return true;
        }
        let has_room = self.probes.len() < MAX_PROBES;
        if has_room {
            self.probes.push_back(address);
        }
        has_room
    }

    /// The same for who asked us something: who does not answer is not pinged for every query.
    pub(super) fn probe_asker(&mut self, now: Millis, address: SocketAddr) -> bool {
        if now >= self.tried_until {
            self.tried.clear();
            self.tried_until = now + PROBE_ASKER_MS;
        }
        if self.tried.contains(&address) {
            return true;
        }
        if self.tried.len() >= MAX_TRIED {
            self.tried.pop_front();
        }
        self.tried.push_back(address);
        self.probe(address)
    }

    pub(super) fn next_probe(&mut self) -> Option<SocketAddr> {
        self.probes.pop_front()
    }

    fn begin_soon(&mut self, now: Millis) {
        self.bootstrap_at = self.bootstrap_at.min(now);
        self.upkeep_at = self.upkeep_at.min(now);
    }
}
