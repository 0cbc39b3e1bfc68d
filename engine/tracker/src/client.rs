//! The client's schedule, for all torrents at once: who announces where and when, in which order, and how long a
//! tracker that fails is left alone. It never waits: `poll_announce` says what to send, `handle_*` is told what came of
//! it, and the sockets are someone else's.
//!
//! A seed announces to every tier (quirks: Ubuntu's IPv6 tracker is a tier of its own), under each of a hybrid's
//! info-hashes and in each address family; each such line is a slot with its own place in its tier.

mod config;
mod dispatch;
mod host;
mod slot;
mod slots;
mod status;
mod tiers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use hash::InfoHash;

pub use self::config::Config;
pub use self::dispatch::ASKED_PAUSE_MS;
use self::host::{Host, HostKey, Readiness, back_off};
use self::slot::{Phase, Slot};
use self::slots::Slots;
use self::status::Record;
pub use self::status::{Activity, Outcome, TrackerStatus};
use self::tiers::Tiers;
pub use self::tiers::UnusedTracker;
use crate::Millis;
use crate::announce::{AnnounceReply, Event, Failure, Retry};
use crate::family::Family;
use crate::random::Random;
use crate::url::TrackerUrl;

/// A torrent, by a number of the caller's choice that is not used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TorrentId(pub u64);

/// One line of announces; the name of an announce under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlotId(u64);

/// The schedule. See the head of this file.
pub struct TrackerClient {
    config: Config,
    random: Random,
    slots: Slots,
    torrents: HashMap<TorrentId, Box<[SlotId]>>,
    tiers: Tiers,
    /// Of removed torrents; they stay until `stopped` is said.
    leaving: BTreeSet<SlotId>,
    /// Removed torrents, with how many of their slots are left.
    leaving_torrents: BTreeMap<TorrentId, usize>,
    /// Removed torrents of which no slot is left, until the caller has heard of it.
    finished: Vec<TorrentId>,
    hosts: HashMap<HostKey, Host>,
    /// Hosts that can take an announce, in turn; a host stands in one of these three at most (`Host::is_ready`).
    ready: VecDeque<HostKey>,
    /// The same of those that have yet to show that they live.
    ready_probes: VecDeque<HostKey>,
    /// Those that have had as many as their rate allows, with when it allows for more.
    paced: BinaryHeap<Reverse<(Millis, HostKey)>>,
    /// Announces under way at hosts that have yet to show that they live.
    probe_count: usize,
    /// When slots are due. An entry counts only if its slot still waits for that time.
    timers: BinaryHeap<Reverse<(Millis, SlotId)>>,
    in_flight_count: usize,
}

/// An announce to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceAction {
    /// To be given back with what came of it.
    pub id: SlotId,
    /// Whose totals it reports.
    pub torrent: TorrentId,
    /// Whom to ask.
    pub url: Arc<TrackerUrl>,
    /// Over which family.
    pub family: Family,
    /// The swarm.
    pub info_hash: InfoHash,
    /// What to say.
    pub event: Event,
    /// What the tracker asked to be told again.
    pub tracker_id: Option<Vec<u8>>,
}

/// What can become of an announce other than a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnnounceFailure {
    /// The tracker says no. It is up, though.
    Refused(Failure),
    /// No connection, no answer in time, or no sense in it: the host is left alone for a while. Holds why.
    Lost(String),
    /// The tracker has no address in this family, or this host no way to one. Holds why.
    NoAddress(String),
}

impl TrackerClient {
    /// A schedule without torrents. `seed` makes shuffles and jitter.
    pub fn new(config: Config, seed: u64) -> TrackerClient {
        TrackerClient {
            config,
            random: Random::new(seed),
            slots: Slots::default(),
            torrents: HashMap::new(),
            tiers: Tiers::default(),
            leaving: BTreeSet::new(),
            leaving_torrents: BTreeMap::new(),
            finished: Vec::new(),
            hosts: HashMap::new(),
            ready: VecDeque::new(),
            ready_probes: VecDeque::new(),
            paced: BinaryHeap::new(),
            probe_count: 0,
            timers: BinaryHeap::new(),
            in_flight_count: 0,
        }
    }

    /// Starts to announce a torrent under each of `info_hashes` to each tier of `tiers` (BEP 12). A tracker that stands
    /// in two tiers is used in the first. Gives the trackers that cannot be used.
    pub fn add(
        &mut self,
        now: Millis,
        torrent: TorrentId,
        info_hashes: &[InfoHash],
        tiers: &[Vec<String>],
    ) -> Vec<UnusedTracker> {
        self.begin(now, torrent, info_hashes, tiers, false)
    }

    /// The same for a torrent that an earlier run announced: its first announces are spread over a while, and those of new
    /// torrents go before them.
    pub fn add_restored(
        &mut self,
        now: Millis,
        torrent: TorrentId,
        info_hashes: &[InfoHash],
        tiers: &[Vec<String>],
    ) -> Vec<UnusedTracker> {
        self.begin(now, torrent, info_hashes, tiers, true)
    }

    fn begin(
        &mut self,
        now: Millis,
        torrent: TorrentId,
        info_hashes: &[InfoHash],
        tiers: &[Vec<String>],
        is_restored: bool,
    ) -> Vec<UnusedTracker> {
        let mut unused = Vec::new();
        let tiers = self.tiers.read(tiers, self.config.max_trackers_per_torrent, &mut self.random, &mut unused);
        self.cancel_leaving(now, info_hashes);
        let mut slot_ids = Vec::new();
        for (tier, urls) in tiers.iter().enumerate() {
            for family in self.config.families.clone() {
                let urls = self.tiers.of_family(urls, family);
                if urls.is_empty() {
                    continue;
                }
                for info_hash in info_hashes {
                    let line = (torrent, tier as u32, *info_hash, family);
                    slot_ids.push(self.add_slot(now, line, Arc::clone(&urls), is_restored));
                }
            }
        }
        self.torrents.insert(torrent, slot_ids.into());
        unused
    }

    /// A download has become complete: each tracker is told.
    pub fn completed(&mut self, now: Millis, torrent: TorrentId) {
        for id in self.torrents.get(&torrent).cloned().unwrap_or_default() {
            if let Some(slot) = self.slots.get_mut(id)
                && slot.phase != Phase::GivenUp
            {
                slot.event = Event::Completed;
                self.hurry(now, id);
            }
        }
    }

    /// Stops announcing a torrent: trackers that know it are told `stopped`, once and without a second try.
    pub fn remove(&mut self, now: Millis, torrent: TorrentId) {
        let Some(slot_ids) = self.torrents.remove(&torrent) else { return };
        slot_ids.iter().for_each(|id| self.leave(now, *id));
        match slot_ids.iter().filter(|id| self.slots.get(**id).is_some()).count() {
            0 => self.finished.push(torrent),
            left => {
                self.leaving_torrents.insert(torrent, left);
            }
        }
    }

    /// A removed torrent about which nothing is left to be said, each once.
    pub fn poll_finished(&mut self) -> Option<TorrentId> {
        self.finished.pop()
    }

    /// Stops announcing everything.
    pub fn remove_all(&mut self, now: Millis) {
        let torrents: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for torrent in torrents {
            self.remove(now, torrent);
        }
    }

    /// Whether nothing is left to be sent or waited for: with `remove_all` before it, time to go.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    /// The next announce to send, if one is due and there is room for it.
    pub fn poll_announce(&mut self, now: Millis) -> Option<AnnounceAction> {
        self.queue_due(now);
        self.release_paced(now);
        while let Some(key) = self.next_ready() {
            let limit = self.limit_of(&key);
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            host.is_ready = false;
            let id = if host.readiness(now, limit) == Readiness::Now { host.pop() } else { None };
            let action = id.and_then(|id| self.send(now, id, &key));
            self.make_ready(now, &key);
            if action.is_some() {
                return action;
            }
        }
        None
    }

    /// When `poll_announce` is next worth a call, unless something is handled before. May be early, never late.
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.has_ready() {
            return Some(0);
        }
        let due = self.timers.peek().map(|Reverse((due, _))| *due);
        let paced = self.paced.peek().map(|Reverse((at, _))| *at);
        due.into_iter().chain(paced).min()
    }

    /// The tracker has answered.
    pub fn handle_reply(&mut self, now: Millis, id: SlotId, reply: &AnnounceReply) {
        let Some((said, key)) = self.take_back(id) else { return };
        self.with_host(&key, Host::answered);
        self.make_ready(now, &key);
        let jitter = self.random.below(1000);
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.record.succeeded(now, reply);
        slot.promote();
        if let Some(tracker_id) = &reply.tracker_id {
            slot.record.keep_tracker_id(tracker_id);
        }
        if said == Event::Stopped {
            self.forget(id);
            return;
        }
        if slot.event == said {
            slot.event = Event::None;
        }
        if slot.event != Event::None {
            // Something happened while the announce was under way.
            self.hurry(now, id);
            return;
        }
        let interval_ms = interval_ms(&self.config, reply);
        // A little late, never early: up to a twentieth, so that torrents started together drift apart.
        self.wait(id, now + interval_ms + interval_ms / 20 * jitter / 1000);
    }

    /// The announce came to nothing.
    pub fn handle_failure(&mut self, now: Millis, id: SlotId, failure: AnnounceFailure) {
        let Some((_, key)) = self.take_back(id) else { return };
        let stranded = self.settle_host(now, &key, &failure);
        let max_retry_ms = self.config.max_interval_ms;
        let Some(slot) = self.slots.get_mut(id) else { return };
        let mut is_left = None;
        let mut dropped_host = None;
        match failure {
            AnnounceFailure::Refused(failure) => {
                slot.has_no_address = false;
                match failure.retry {
                    Retry::Never => {
                        is_left = Some(slot.drop_url());
                        dropped_host = Some(&key);
                    }
                    Retry::AfterMinutes(minutes) => {
                        slot.asked_wait_ms = slot.asked_wait_ms.max((u64::from(minutes) * 60_000).min(max_retry_ms));
                    }
                    Retry::Unsaid => {}
                }
                slot.record.failed(failure.reason);
            }
            AnnounceFailure::Lost(why) => {
                slot.has_no_address = false;
                slot.record.failed(why);
            }
            AnnounceFailure::NoAddress(why) => slot.record.failed(why),
        }
        let is_left = is_left.unwrap_or_else(|| slot.next_url());
        if let Some(key) = dropped_host {
            self.release_host(key);
        }
        self.go_on(now, id, is_left);
        for id in stranded {
            self.queue(now, id);
        }
        self.make_ready(now, &key);
    }

    fn add_slot(
        &mut self,
        now: Millis,
        (torrent, tier, info_hash, family): (TorrentId, u32, InfoHash, Family),
        urls: Arc<[Arc<TrackerUrl>]>,
        is_restored: bool,
    ) -> SlotId {
        let due = if is_restored { now + self.random.below(self.config.start_spread_ms + 1) } else { now };
        for url in urls.iter() {
            self.hosts.entry(HostKey::new(url, family)).or_default().user_count += 1;
        }
        let slot = Slot {
            torrent,
            tier,
            info_hash,
            family,
            urls,
            at: 0,
            phase: Phase::Waiting(due),
            sent_ms: 0,
            event: Event::Started,
            known_to: None,
            failed_round_count: 0,
            asked_wait_ms: 0,
            has_no_address: true,
            is_leaving: false,
            is_restored,
            record: Record::default(),
        };
        let id = self.slots.insert(slot);
        self.timers.push(Reverse((due, id)));
        id
    }

    /// A torrent that comes back has nothing to say of its leaving, which could reach the tracker after its return.
    fn cancel_leaving(&mut self, now: Millis, info_hashes: &[InfoHash]) {
        for id in std::mem::take(&mut self.leaving) {
            let Some(slot) = self.slots.get(id) else { continue };
            match slot.phase {
                _ if !info_hashes.contains(&slot.info_hash) => {
                    self.leaving.insert(id);
                }
                // What is said already cannot be taken back.
                Phase::InFlight(Event::Stopped) => {
                    self.leaving.insert(id);
                }
                // Its answer would be followed by the `stopped`, which would follow the new `started`.
                Phase::InFlight(_) => self.abandon(now, id),
                _ => self.forget(id),
            }
        }
    }

    fn leave(&mut self, now: Millis, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.is_leaving = true;
        slot.event = Event::Stopped;
        if matches!(slot.phase, Phase::InFlight(_)) {
            if now.saturating_sub(slot.sent_ms) > self.config.hung_after_ms {
                self.abandon(now, id);
            } else {
                self.leaving.insert(id);
            }
            return;
        }
        // `stopped` goes to the tracker that knows us, whichever the tier has come to since.
        let Some(at) = slot.known_to.as_ref().and_then(|known| slot.urls.iter().position(|url| url == known)) else {
            self.forget(id);
            return;
        };
        slot.at = at as u32;
        self.leaving.insert(id);
        self.hurry(now, id);
    }

    /// Waits no longer for an announce; what comes of it finds nobody.
    fn abandon(&mut self, now: Millis, id: SlotId) {
        if let Some((_, key)) = self.take_back(id) {
            self.with_host(&key, Host::released);
            self.forget(id);
            self.make_ready(now, &key);
        }
    }

    /// Makes a slot that waits due at once. One that is queued or with its tracker comes round by itself.
    fn hurry(&mut self, now: Millis, id: SlotId) {
        let Some(slot) = self.slots.get(id) else { return };
        // A queued one is queued again in the lane of its new event; the old entry finds it gone from its phase.
        if !matches!(slot.phase, Phase::InFlight(_)) {
            self.queue(now, id);
        }
    }

    /// After a failure: the tier's next tracker at once, or the next round after a pause.
    fn go_on(&mut self, now: Millis, id: SlotId, is_left: bool) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.is_leaving {
            self.forget(id);
            return;
        }
        if slot.urls.is_empty() {
            slot.phase = Phase::GivenUp;
            return;
        }
        if is_left {
            self.queue(now, id);
            return;
        }
        slot.failed_round_count = slot.failed_round_count.saturating_add(1);
        let config = &self.config;
        // A host that has an address today and worked before is worth asking sooner: a route may be gone for a moment.
        let pause_ms = if slot.has_no_address && slot.known_to.is_none() {
            config.no_address_retry_ms
        } else {
            let failure_count = slot.failed_round_count;
            back_off(config.tier_retry_ms, config.max_tier_retry_ms, failure_count, &mut self.random)
        };
        let pause_ms = pause_ms.max(slot.asked_wait_ms);
        slot.asked_wait_ms = 0;
        slot.has_no_address = true;
        self.wait(id, now + pause_ms);
    }

    fn forget(&mut self, id: SlotId) {
        let Some(slot) = self.slots.remove(id) else { return };
        for url in slot.urls.iter() {
            self.release_host(&HostKey::new(url, slot.family));
        }
        self.leaving.remove(&id);
        if let Some(left) = self.leaving_torrents.get_mut(&slot.torrent) {
            *left -= 1;
            if *left == 0 {
                self.leaving_torrents.remove(&slot.torrent);
                self.finished.push(slot.torrent);
            }
        }
    }

    /// A slot needs the host no more.
    fn release_host(&mut self, key: &HostKey) {
        if let Some(host) = self.hosts.get_mut(key) {
            host.user_count -= 1;
            if host.user_count == 0 {
                self.probe_count -= host.probe_count();
                self.hosts.remove(key);
            }
        }
    }
}

/// The time until the next announce: what the tracker wants, within our own limits.
fn interval_ms(config: &Config, reply: &AnnounceReply) -> Millis {
    let wanted_ms = reply.interval_s.filter(|seconds| *seconds > 0).map(|seconds| u64::from(seconds) * 1000);
    let least_ms = reply.min_interval_s.map_or(0, |seconds| u64::from(seconds) * 1000);
    let interval_ms = wanted_ms.unwrap_or(config.default_interval_ms).max(least_ms);
    interval_ms.max(config.min_interval_ms).min(config.max_interval_ms)
}

#[cfg(test)]
mod tests;
