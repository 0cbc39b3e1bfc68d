//! One tracker's host in one family: who waits for it, how many are with it, how fast it is asked, and how long it is left
//! alone after a failure. All that belongs here, not to the torrent: a tracker that is down for one torrent is down for all.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SlotId;
use super::config::Config;
use crate::Millis;
use crate::announce::Event;
use crate::family::Family;
use crate::random::Random;
use crate::url::{Scheme, TrackerUrl};

/// Announces that may be under way at a host that has not answered yet; each answer allows for one more, so that their number
/// doubles with each round trip.
const FIRST_WINDOW: usize = 1;

/// Failures in a row by which a host that used to answer counts as down: one loss among thousands of announces says nothing.
const FAILURES_OF_THE_LIVING: u32 = 3;

/// How far a host may run ahead of its rate, since clocks are not asked every microsecond.
const AHEAD_US: u64 = 10_000;

/// Whom back-off, rate and the limit of announces under way belong to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct HostKey {
    scheme: Scheme,
    host: Arc<str>,
    port: u16,
    family: Family,
}

impl HostKey {
    pub(super) fn new(url: &TrackerUrl, family: Family) -> HostKey {
        HostKey { scheme: url.scheme(), host: url.shared_host(), port: url.port(), family }
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// New torrents come before old ones, so that a release does not wait behind ten thousand routine announces.
const LANE_COUNT: usize = 5;

pub(super) struct Host {
    /// By urgency; a slot that has left since is skipped when its turn comes.
    lanes: [VecDeque<SlotId>; LANE_COUNT],
    in_flight_count: usize,
    /// Announces that may be under way, within the configured limit.
    window: usize,
    /// Whether it has answered since it was last down.
    is_proven: bool,
    /// Failures in a row.
    failure_count: u32,
    blocked_until_ms: Millis,
    /// When the announces handed out so far would have ended at the configured rate, in microseconds.
    paced_until_us: u64,
    /// Whether it stands in one of the client's queues of hosts that can take an announce, now or when its rate allows.
    pub(super) is_ready: bool,
    /// Slots that use it; a host of none is forgotten.
    pub(super) user_count: usize,
}

/// Whether a host may be given another announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readiness {
    /// Not before something happens.
    No,
    /// Its rate allows for it then.
    At(Millis),
    /// At once.
    Now,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            lanes: Default::default(),
            in_flight_count: 0,
            window: FIRST_WINDOW,
            is_proven: false,
            failure_count: 0,
            blocked_until_ms: 0,
            paced_until_us: 0,
            is_ready: false,
            user_count: 0,
        }
    }
}

impl Host {
    pub(super) fn blocked_until(&self, now: Millis) -> Option<Millis> {
        (now < self.blocked_until_ms).then_some(self.blocked_until_ms)
    }

    /// Puts a slot into a lane, from 0, the most urgent.
    pub(super) fn push(&mut self, lane: usize, slot: SlotId) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.push_back(slot);
        }
    }

    pub(super) fn pop(&mut self) -> Option<SlotId> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// All who wait, the most urgent first.
    pub(super) fn drain(&mut self) -> Vec<SlotId> {
        self.lanes.iter_mut().flat_map(std::mem::take).collect()
    }

    /// Whether it may be given another announce.
    pub(super) fn readiness(&self, now: Millis, limit: usize) -> Readiness {
        let is_wanted = self.lanes.iter().any(|lane| !lane.is_empty());
        if !is_wanted || self.in_flight_count >= limit.min(self.window) || now < self.blocked_until_ms {
            return Readiness::No;
        }
        match self.paced_until_us.saturating_sub(AHEAD_US) {
            at_us if at_us > now * 1000 => Readiness::At(at_us.div_ceil(1000)),
            _ => Readiness::Now,
        }
    }

    /// Whether it has yet to show that it lives.
    pub(super) fn is_on_probation(&self) -> bool {
        !self.is_proven
    }

    /// Announces that are under way at a host that has yet to show that it lives.
    pub(super) fn probe_count(&self) -> usize {
        if self.is_proven { 0 } else { self.in_flight_count }
    }

    pub(super) fn start(&mut self, now: Millis, announces_per_s: u32) {
        self.in_flight_count += 1;
        self.paced_until_us = self.paced_until_us.max(now * 1000) + 1_000_000 / u64::from(announces_per_s.max(1));
    }

    /// An announce has come back with some answer, be it a refusal: the host is up.
    pub(super) fn answered(&mut self) {
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
        self.failure_count = 0;
        self.blocked_until_ms = 0;
        self.is_proven = true;
        self.window = self.window.saturating_add(1);
    }

    /// An announce was lost. True if the host counts as down. Of several that were under way together only the first lengthens
    /// the pause.
    pub(super) fn failed(&mut self, now: Millis, config: &Config, random: &mut Random) -> bool {
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
        if now < self.blocked_until_ms {
            return true;
        }
        self.failure_count = self.failure_count.saturating_add(1);
        if self.is_proven && self.failure_count < FAILURES_OF_THE_LIVING {
            self.window = (self.window / 2).max(1);
            return false;
        }
        if std::mem::take(&mut self.is_proven) {
            self.failure_count = 1;
        }
        self.window = FIRST_WINDOW;
        let pause_ms = back_off(config.host_retry_ms, config.max_host_retry_ms, self.failure_count, random);
        self.blocked_until_ms = now + pause_ms;
        true
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

/// The lane of what is to be said: what others wait for comes first, then what an earlier run has said already, routine last.
pub(super) fn lane(event: Event, is_restored: bool) -> usize {
    match event {
        Event::Started if is_restored => 3,
        Event::Started => 0,
        Event::Completed => 1,
        Event::Stopped => 2,
        Event::None | Event::Paused => 4,
    }
}
