//! One line of announces: a torrent's tier, under one info-hash, in one family. It knows which of the tier's trackers
//! is tried, what is to be said next, and when.

use std::sync::Arc;

use hash::InfoHash;

use super::TorrentId;
use super::host::lane;
use super::status::Record;
use crate::Millis;
use crate::announce::Event;
use crate::family::Family;
use crate::url::TrackerUrl;

pub(super) struct Slot {
    pub(super) torrent: TorrentId,
    pub(super) tier: u32,
    pub(super) info_hash: InfoHash,
    pub(super) family: Family,
    /// The tier's trackers that this family can reach, the one that worked last in front (BEP 12). Never empty, but
    /// once all of them have said "never again". Torrents of the same trackers share it.
    pub(super) urls: Arc<[Arc<TrackerUrl>]>,
    /// Which of `urls` is tried.
    pub(super) at: u32,
    pub(super) phase: Phase,
    /// When the last announce was handed out.
    pub(super) sent_ms: Millis,
    /// What must still be said; `None` between events.
    pub(super) event: Event,
    /// The tracker that knows us, to whom `stopped` will be said.
    pub(super) known_to: Option<Arc<TrackerUrl>>,
    /// Rounds through the tier without success, in a row.
    pub(super) failed_round_count: u32,
    /// The longest wait that a tracker of this round asked for (BEP 31), in milliseconds.
    pub(super) asked_wait_ms: Millis,
    /// Whether all that failed in this round did so for want of an address in this family.
    pub(super) has_no_address: bool,
    /// The torrent was removed; only `stopped` is left to be said.
    pub(super) is_leaving: bool,
    /// An earlier run has announced it; what others wait for goes before its first announce.
    pub(super) is_restored: bool,
    pub(super) record: Record,
}

/// Where a slot stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nothing to do before this time.
    Waiting(Millis),
    /// In its host's queue.
    Queued,
    /// With the tracker; holds what was said.
    InFlight(Event),
    /// Every tracker of the tier has said "never again".
    GivenUp,
}

impl Slot {
    pub(super) fn url(&self) -> Option<&Arc<TrackerUrl>> {
        self.urls.get(self.at as usize)
    }

    /// What to say to the current tracker: one that does not know us yet is told `started` first.
    pub(super) fn event_to_send(&self) -> Event {
        let is_known = self.known_to.is_some() && self.known_to.as_ref() == self.url();
        match self.event {
            Event::Stopped => Event::Stopped,
            _ if !is_known => Event::Started,
            event => event,
        }
    }

    /// The lane of its host's queue that it stands in.
    pub(super) fn lane(&self) -> usize {
        lane(self.event_to_send(), self.is_restored)
    }

    /// The tracker answered: it is the tier's first choice from now on.
    pub(super) fn promote(&mut self) {
        let at = (self.at as usize).min(self.urls.len().saturating_sub(1));
        if at > 0 {
            let mut urls = self.urls.to_vec();
            urls[..=at].rotate_right(1);
            self.urls = urls.into();
        }
        self.at = 0;
        if self.known_to.as_ref() != self.urls.first() {
            self.known_to = self.urls.first().cloned();
            self.record.forget_tracker_id();
        }
        self.is_restored = false;
        self.failed_round_count = 0;
        self.asked_wait_ms = 0;
        self.has_no_address = true;
    }

    /// Goes on to the next tracker of the tier; `false` if the round is over.
    pub(super) fn next_url(&mut self) -> bool {
        self.at += 1;
        let is_left = (self.at as usize) < self.urls.len();
        if !is_left {
            self.at = 0;
        }
        is_left
    }

    /// Forgets the current tracker, which wants no more of us; `false` if the round is over.
    pub(super) fn drop_url(&mut self) -> bool {
        let at = self.at as usize;
        if at < self.urls.len() {
            let mut urls = self.urls.to_vec();
            urls.remove(at);
            self.urls = urls.into();
        }
        let is_left = at < self.urls.len();
        if !is_left {
            self.at = 0;
        }
        is_left
    }
}
