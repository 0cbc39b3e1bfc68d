//! Answers to our queries, and their absence.

use std::net::SocketAddr;

use crate::Millis;
use crate::address::{Family, may_tell};
use crate::krpc::Response;
use crate::limits::K;
use crate::lookup::LookupKey;
use crate::node::Dht;
use crate::transactions::Purpose;

impl Dht {
    pub(super) fn take_response(
        &mut self,
        now: Millis,
        from: SocketAddr,
        transaction: &[u8],
        seen_as: Option<SocketAddr>,
        response: &Response<'_>,
    ) {
        let Some(pending) = self.transactions.close(transaction, from) else {
            self.counters.unmatched += 1;
            return;
        };
        let family = Family::of(from.ip());
        let Some(side) = self.side_mut(family) else { return };
        if response.id == side.table.own() {
            // We have asked ourselves, or somebody who says to be us.
            return self.refused_by(now, from, pending.purpose);
        }
        if let Some(seen_as) = seen_as.filter(|address| Family::of(address.ip()) == family) {
            side.external.vote(from.ip(), seen_as.ip());
        }
        if pending.id.is_some_and(|id| id != response.id) {
            // Whoever was known there is gone.
            side.table.failed(now, from);
        }
        if !side.routers.contains(&from) {
            side.table.answered(now, response.id, from);
        }
        self.spread_to_other_family(now, from, family.other(), response);
        match pending.purpose {
            Purpose::Probe => {}
            Purpose::Lookup(key) => self.advance(now, key, from, response),
            Purpose::Announce(key) => {
                if let Some(running) = self.lookups.get_mut(&key) {
                    running.lookup.announce_answered(from);
                    self.step(now, key);
                }
            }
        }
    }

    pub(super) fn take_refusal(&mut self, now: Millis, from: SocketAddr, transaction: &[u8]) {
        match self.transactions.close(transaction, from) {
            Some(pending) => self.refused_by(now, from, pending.purpose),
            None => self.counters.unmatched += 1,
        }
    }

    /// Queries that take long, and those that have failed.
    pub(super) fn tick_queries(&mut self, now: Millis) {
        while let Some(pending) = self.transactions.poll_slow(now) {
            let (Purpose::Lookup(key) | Purpose::Announce(key)) = pending.purpose else { continue };
            let Some(running) = self.lookups.get_mut(&key) else { continue };
            match pending.purpose {
                Purpose::Announce(_) => running.lookup.announce_slow(pending.to),
                Purpose::Lookup(_) | Purpose::Probe => running.lookup.slow(pending.to),
            }
        }
        while let Some(pending) = self.transactions.poll_dead(now) {
            self.counters.unanswered += 1;
            if let Some(side) = self.side_mut(Family::of(pending.to.ip())) {
                side.table.failed(now, pending.to);
            }
        }
        // All of them: those that waited for room among the transactions too.
        for key in self.lookups.keys().copied().collect::<Vec<_>>() {
            self.step(now, key);
        }
    }

    /// A lookup goes on with what an answer tells.
    fn advance(&mut self, now: Millis, key: LookupKey, from: SocketAddr, response: &Response<'_>) {
        let Some(running) = self.lookups.get_mut(&key) else { return };
        let lookup = &mut running.lookup;
        lookup.answered(response.id, from, response.token);
        for (id, address) in response.nodes_of(lookup.family).filter(|(_, address)| may_tell(from, *address)) {
            lookup.add(Some(id), address);
        }
        let told = response.values.iter().copied().filter(|peer| may_tell(from, *peer));
        let peers = lookup.new_peers(told);
        if let Some((id, info_hash)) = running.goal.swarm() {
            self.tell_peers(id, info_hash, peers);
        }
        self.step(now, key);
    }

    /// Nodes of the other family are tried while we know few there (BEP 32).
    fn spread_to_other_family(&mut self, now: Millis, from: SocketAddr, other: Family, response: &Response<'_>) {
        let Some(side) = self.side_mut(other).filter(|side| side.table.usable_count() < K) else { return };
        let mut dropped = 0;
        for (_, address) in response.nodes_of(other).filter(|(_, address)| may_tell(from, *address)) {
            dropped += u64::from(!side.probe_asker(now, address));
        }
        self.counters.probes_dropped += dropped;
    }

    fn refused_by(&mut self, now: Millis, from: SocketAddr, purpose: Purpose) {
        let (Purpose::Lookup(key) | Purpose::Announce(key)) = purpose else { return };
        let Some(running) = self.lookups.get_mut(&key) else { return };
        match purpose {
            Purpose::Announce(_) => running.lookup.announce_refused(from),
            Purpose::Lookup(_) | Purpose::Probe => running.lookup.refused(from),
        }
        self.step(now, key);
    }
}
