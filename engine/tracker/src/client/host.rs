//! One tracker's host in one family: who waits for it, how many are with it, and how long it is left alone after a
//! failure. Back-off belongs here, not to the torrent: a tracker that is down for one torrent is down for all.

use std::collections::VecDeque;

use super::SlotId;
use super::config::Config;
use crate::Millis;
use crate::announce::Event;
use crate::family::Family;
use crate::random::Random;
use crate::url::{Scheme, TrackerUrl};

/// Whom back-off and the limit of announces under way belong to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct HostKey {
    scheme: Scheme,
    host: String,
    port: u16,
    family: Family,
}

impl HostKey {
    pub(super) fn new(url: &TrackerUrl, family: Family) -> HostKey {
        HostKey { scheme: url.scheme(), host: url.host().to_owned(), port: url.port(), family }
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// New torrents come before old ones, so that a release does not wait behind ten thousand routine announces.
const LANE_COUNT: usize = 4;

#[derive(Default)]
pub(super) struct Host {
    /// By urgency; a slot that has left since is skipped when its turn comes.
    lanes: [VecDeque<SlotId>; LANE_COUNT],
    in_flight_count: usize,
    /// Failures in a row.
    failure_count: u32,
    blocked_until_ms: Millis,
    /// Whether it stands in the client's queue of hosts that can take an announce.
    pub(super) is_ready: bool,
    /// Slots that use it; a host of none is forgotten.
    pub(super) user_count: usize,
}

impl Host {
    pub(super) fn blocked_until(&self, now: Millis) -> Option<Millis> {
        (now < self.blocked_until_ms).then_some(self.blocked_until_ms)
    }

    pub(super) fn push(&mut self, event: Event, slot: SlotId) {
        self.lanes[lane(event)].push_back(slot);
    }

    pub(super) fn pop(&mut self) -> Option<SlotId> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// All who wait, the most urgent first.
    pub(super) fn drain(&mut self) -> Vec<SlotId> {
        self.lanes.iter_mut().flat_map(|lane| lane.drain(..)).collect()
    }

    /// Whether it may be given another announce now. After a failure one announce goes ahead to see.
    pub(super) fn can_take(&self, now: Millis, limit: usize) -> bool {
        let limit = if self.failure_count > 0 { 1 } else { limit };
        self.in_flight_count < limit && now >= self.blocked_until_ms && self.lanes.iter().any(|lane| !lane.is_empty())
    }

    pub(super) fn start(&mut self) {
        self.in_flight_count += 1;
    }

    /// An announce has come back with some answer, be it a refusal: the host is up.
    pub(super) fn answered(&mut self) {
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
        self.failure_count = 0;
        self.blocked_until_ms = 0;
    }

    /// An announce was lost. Of several that were under way together only the first lengthens the pause.
    pub(super) fn failed(&mut self, now: Millis, config: &Config, random: &mut Random) {
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
        if now < self.blocked_until_ms {
            return;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        let pause_ms = back_off(config.host_retry_ms, config.max_host_retry_ms, self.failure_count, random);
        self.blocked_until_ms = now + pause_ms;
    }

    /// An announce ended without telling anything about the host.
    pub(super) fn released(&mut self) {
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
    }
}

/// `first_ms` doubled with each failure after the first, up to `max_ms`, and up to a fifth more, so that those who
/// failed together do not come back together.
pub(super) fn back_off(first_ms: Millis, max_ms: Millis, failure_count: u32, random: &mut Random) -> Millis {
    let doublings = failure_count.saturating_sub(1).min(20);
    let pause_ms = first_ms.saturating_mul(1 << doublings).min(max_ms);
    pause_ms + random.below(pause_ms / 5 + 1)
}

fn lane(event: Event) -> usize {
    match event {
        Event::Started => 0,
        Event::Completed => 1,
        Event::Stopped => 2,
        Event::None | Event::Paused => 3,
    }
}
