//! The way of a slot through the queues: from its timer to its tracker's host, out to the tracker, and back.

use std::cmp::Reverse;
use std::sync::Arc;

use super::host::{Host, HostKey, Readiness};
use super::slot::Phase;
use super::{AnnounceAction, AnnounceFailure, SlotId, TorrentId, TrackerClient};
use crate::Millis;
use crate::announce::Event;
use crate::url::Scheme;

/// Who asks for an announce again this soon gets none: the tracker cannot know more than it has just said.
pub const ASKED_PAUSE_MS: Millis = 10_000;

impl TrackerClient {
    /// Announces a torrent at once, as far as its trackers' hosts are not being left alone. Lines that were heard of less than
    /// [`ASKED_PAUSE_MS`] ago are not asked again. Gives how many lines are on their way.
    pub fn announce_now(&mut self, now: Millis, torrent: TorrentId) -> usize {
        let mut count = 0;
        for id in self.torrents.get(&torrent).cloned().unwrap_or_default() {
            let Some(slot) = self.slots.get(id) else { continue };
            let is_fresh = slot.record.succeeded_ms().is_some_and(|then| now.saturating_sub(then) < ASKED_PAUSE_MS);
            match slot.phase {
                Phase::GivenUp => {}
                Phase::Waiting(_) if is_fresh => {}
                Phase::Waiting(_) => {
                    self.hurry(now, id);
                    count += 1;
                }
                Phase::Queued | Phase::InFlight(_) => count += 1,
            }
        }
        count
    }

    pub(super) fn queue_due(&mut self, now: Millis) {
        while let Some(Reverse((due, id))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            if self.slots.get(id).is_some_and(|slot| slot.phase == Phase::Waiting(due)) {
                self.queue(now, id);
            }
        }
    }

    /// Puts a slot into the queue of the first of its trackers, from the current one on, whose host is not blocked; if
    /// all are, it waits for the one that is free first.
    pub(super) fn queue(&mut self, now: Millis, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let mut free_at_ms = Millis::MAX;
        let choices = if slot.event == Event::Stopped { slot.at..slot.at + 1 } else { slot.at..slot.urls.len() as u32 };
        for at in choices {
            let Some(url) = slot.urls.get(at as usize) else { break };
            let key = HostKey::new(url, slot.family);
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            match host.blocked_until(now) {
                Some(until) => free_at_ms = free_at_ms.min(until),
                None => {
                    slot.at = at;
                    slot.phase = Phase::Queued;
                    host.push(slot.lane(), id);
                    self.make_ready(now, &key);
                    return;
                }
            }
        }
        if slot.event == Event::Stopped {
            self.forget(id);
        } else {
            slot.at = 0;
            self.wait(id, free_at_ms);
        }
    }

    pub(super) fn wait(&mut self, id: SlotId, until: Millis) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.phase = Phase::Waiting(until);
            self.timers.push(Reverse((until, id)));
        }
    }

    /// Hands out the announce of a slot whose turn has come at `key`, unless it has left the queue since.
    pub(super) fn send(&mut self, now: Millis, id: SlotId, key: &HostKey) -> Option<AnnounceAction> {
        let slot = self.slots.get_mut(id)?;
        let url = Arc::clone(slot.url()?);
        if slot.phase != Phase::Queued || HostKey::new(&url, slot.family) != *key {
            return None;
        }
        let event = slot.event_to_send();
        slot.phase = Phase::InFlight(event);
        slot.sent_ms = now;
        self.in_flight_count += 1;
        let announces_per_s = self.config.announces_per_s;
        self.with_host(key, |host| host.start(now, announces_per_s));
        let slot = self.slots.get(id)?;
        let is_known = slot.known_to.as_ref() == Some(&url);
        Some(AnnounceAction {
            id,
            torrent: slot.torrent,
            url,
            family: slot.family,
            info_hash: slot.info_hash,
            event,
            tracker_id: if is_known { slot.record.tracker_id().cloned() } else { None },
        })
    }

    /// What was said in the announce that is under way, and to whom; `None` if there is none.
    pub(super) fn take_back(&mut self, id: SlotId) -> Option<(Event, HostKey)> {
        let slot = self.slots.get_mut(id)?;
        let Phase::InFlight(said) = slot.phase else { return None };
        let key = HostKey::new(slot.url()?, slot.family);
        // Until the caller decides how it goes on.
        slot.phase = Phase::Waiting(Millis::MAX);
        self.in_flight_count -= 1;
        Some((said, key))
    }

    /// Tells the host how it did; gives the slots that must look for another one.
    pub(super) fn settle_host(&mut self, now: Millis, key: &HostKey, failure: &AnnounceFailure) -> Vec<SlotId> {
        let Some(host) = self.hosts.get_mut(key) else { return Vec::new() };
        let before = host.probe_count();
        let mut stranded = Vec::new();
        match failure {
            AnnounceFailure::Refused(_) => host.answered(),
            AnnounceFailure::NoAddress(_) => host.released(),
            AnnounceFailure::Lost(_) if host.failed(now, &self.config, &mut self.random) => stranded = host.drain(),
            AnnounceFailure::Lost(_) => {}
        }
        self.probe_count = self.probe_count + host.probe_count() - before;
        stranded.retain(|id| self.slots.get(*id).is_some_and(|slot| slot.phase == Phase::Queued));
        stranded
    }

    /// Changes a host, and keeps count of the announces that those have who have yet to show that they live.
    pub(super) fn with_host<T>(&mut self, key: &HostKey, change: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let host = self.hosts.get_mut(key)?;
        let before = host.probe_count();
        let changed = change(host);
        self.probe_count = self.probe_count + host.probe_count() - before;
        Some(changed)
    }

    /// Puts a host among the ready ones if it can take an announce and is not there yet, or among those that wait for their
    /// rate.
    pub(super) fn make_ready(&mut self, now: Millis, key: &HostKey) {
        let limit = self.limit_of(key);
        let Some(host) = self.hosts.get_mut(key).filter(|host| !host.is_ready) else { return };
        match host.readiness(now, limit) {
            Readiness::No => return,
            Readiness::At(at) => self.paced.push(Reverse((at, key.clone()))),
            Readiness::Now if host.is_on_probation() => self.ready_probes.push_back(key.clone()),
            Readiness::Now => self.ready.push_back(key.clone()),
        }
        host.is_ready = true;
    }

    /// Looks again at the hosts whose rate allows for more.
    pub(super) fn release_paced(&mut self, now: Millis) {
        while let Some(Reverse((at, _))) = self.paced.peek()
            && *at <= now
        {
            let Some(Reverse((_, key))) = self.paced.pop() else { break };
            if let Some(host) = self.hosts.get_mut(&key) {
                host.is_ready = false;
            }
            self.make_ready(now, &key);
        }
    }

    /// Goes by another rate, and by another number of announces under way at one HTTP tracker, from now on. What is under way
    /// beyond that ends as it would.
    pub fn set_pace(&mut self, now: Millis, announces_per_s: u32, max_in_flight_per_http_host: usize) {
        self.config.announces_per_s = announces_per_s;
        self.config.max_in_flight_per_http_host = max_in_flight_per_http_host.max(1);
        // Those that stood at the old number may have room now.
        let keys: Vec<HostKey> = self.hosts.keys().cloned().collect();
        for key in keys {
            self.make_ready(now, &key);
        }
    }

    /// The next host whose turn it is, if there is room for an announce of its kind.
    pub(super) fn next_ready(&mut self) -> Option<HostKey> {
        if self.in_flight_count >= self.config.max_in_flight {
            return None;
        }
        // Those on probation are few, and ask for little.
        let may_probe = self.probe_count < self.max_probes();
        may_probe.then(|| self.ready_probes.pop_front()).flatten().or_else(|| self.ready.pop_front())
    }

    /// Whether [`TrackerClient::next_ready`] has one.
    pub(super) fn has_ready(&self) -> bool {
        let may_probe = self.probe_count < self.max_probes();
        self.in_flight_count < self.config.max_in_flight
            && (!self.ready.is_empty() || (may_probe && !self.ready_probes.is_empty()))
    }

    fn max_probes(&self) -> usize {
        (self.config.max_in_flight * 3 / 4).max(1)
    }

    pub(super) fn limit_of(&self, key: &HostKey) -> usize {
        match key.scheme() {
            Scheme::Udp => self.config.max_in_flight_per_udp_host,
            Scheme::Http | Scheme::Https => self.config.max_in_flight_per_http_host,
        }
    }
}
