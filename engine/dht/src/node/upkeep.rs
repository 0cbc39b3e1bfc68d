//! What a family needs while nobody asks: a first neighbourhood, nodes that are still there, buckets that stay fresh, and
//! an id that fits our address.

use crate::Millis;
use crate::address::Family;
use crate::krpc::Method;
use crate::limits::{ID_CHANGE_MS, K, PROBES_PER_TICK, UPKEEP_MS};
use crate::node::Dht;
use crate::node::request::Goal;
use crate::secure_id::{id_fits, make_id};
use crate::transactions::Purpose;

impl Dht {
    pub(super) fn tick_side(&mut self, now: Millis, family: Family) {
        let Some(side) = self.side_mut(family).filter(|side| now >= side.upkeep_at) else { return };
        side.upkeep_at = now + UPKEEP_MS;
        self.fit_id(now, family);
        self.ping_some(now, family);
        self.look_around(now, family);
    }

    /// Takes an id that belongs to our address, once enough others agree on that (BEP 42).
    fn fit_id(&mut self, now: Millis, family: Family) {
        let random = self.random.bytes();
        let Some(side) = self.side_mut(family) else { return };
        let is_early = side.id_changed_at.is_some_and(|changed| now.saturating_sub(changed) < ID_CHANGE_MS);
        let Some(ip) = side.external.elected().filter(|ip| !is_early && !id_fits(side.table.own(), *ip)) else {
            return;
        };
        side.table.change_own(now, make_id(ip, random));
        side.id_changed_at = Some(now);
        side.bootstrap_at = now;
        self.counters.id_changes += 1;
    }

    /// Pings those we were told of, and the node that was heard of the longest ago.
    fn ping_some(&mut self, now: Millis, family: Family) {
        let Some(side) = self.side_mut(family) else { return };
        let mut pings: Vec<_> = (0..PROBES_PER_TICK).filter_map(|_| Some((None, side.next_probe()?))).collect();
        pings.extend(side.table.poll_stale(now).map(|(id, address)| (Some(id), address)));
        for (id, address) in pings {
            if self.transactions.is_full() {
                self.counters.probes_dropped += 1;
            } else {
                self.query(now, address, id, Method::Ping, Purpose::Probe);
            }
        }
    }

    /// Looks up our own place when that is due, or a place in a bucket that was quiet for long.
    fn look_around(&mut self, now: Millis, family: Family) {
        let Self { v4, v6, random, .. } = self;
        let side = match family {
            Family::V4 => v4.as_mut(),
            Family::V6 => v6.as_mut(),
        };
        let Some(side) = side.filter(|side| side.upkeep_lookup.is_none()) else { return };
        let (target, goal) = if now >= side.bootstrap_at {
            (side.table.own(), Goal::Bootstrap)
        } else {
            let Some(target) = side.table.poll_refresh(now, random) else { return };
            (target, Goal::Refresh)
        };
        let is_poor = side.table.usable_count() < K;
        let key = self.begin_lookup(now, family, target, goal);
        if goal == Goal::Bootstrap && is_poor && self.side(family.other()).is_some() {
            // The nodes of the other family are asked for nodes of this one (BEP 32).
            self.begin_lookup(now, family.other(), target, Goal::Refresh);
        }
        let is_running = self.lookups.contains_key(&key);
        if let Some(side) = self.side_mut(family) {
            side.upkeep_lookup = is_running.then_some(key);
        }
    }
}
