//! Torrents under embargo: what is not said of them before their time, and how everything is said at once when it comes. Who is
//! admitted before is for `swarm::Gate` and those who ask it.

use crate::control::Control;
use crate::news::EngineEvent;
use crate::order::OrderError;
use crate::registry::{Entry, Phase};
use crate::rest::Nap;
use crate::torrents::Since;
use mesh::TorrentId;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use swarm::Gate;

impl Control {
    /// A torrent was added: if it is under embargo, somebody looks at the time for it.
    pub(crate) fn watch_gate(&mut self, id: TorrentId) {
        if self.registry.get(id).is_some_and(Entry::is_embargoed) {
            self.embargoed.insert(id);
        }
    }

    /// Opens those whose time has come, by the clock on the wall: one that was set, or that went on while the machine slept, is
    /// right all the same.
    pub(crate) async fn look_at_gates(&mut self) {
        if self.embargoed.is_empty() {
            return;
        }
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for id in &self.embargoed {
            // Shards and tracker see it at once; the torrents may share a gate.
            self.gate_of(*id).filter(|gate| gate.is_due(unix_s)).into_iter().for_each(|gate| gate.open());
        }
        self.tell_of_open_gates();
        self.load_embargoed().await;
    }

    /// Tries those again that could not be loaded: before their time nobody wakes them.
    async fn load_embargoed(&mut self) {
        let now = self.parts.start.elapsed();
        let is_due = |entry: &Entry| {
            !entry.is_stopped && matches!(entry.phase, Phase::AtRest(Nap::Refused { until }) if until <= now)
        };
        let due = self.embargoed.iter().copied().filter(|id| self.registry.get(*id).is_some_and(is_due));
        for id in due.collect::<Vec<TorrentId>>() {
            self.load(id).await;
        }
    }

    /// Lets everybody know of torrents whose gates are open by now, whoever has opened them.
    fn tell_of_open_gates(&mut self) {
        let opened: Vec<TorrentId> = self.embargoed.iter().copied().filter(|id| !self.is_shut(*id)).collect();
        for id in opened {
            self.embargoed.remove(&id);
            let Some(entry) = self.registry.get_mut(id) else { continue };
            tracing::info!("{}: its time has come", entry.name);
            self.parts.news.tell(EngineEvent::Opened { id });
            if entry.is_stopped {
                continue;
            }
            match entry.phase {
                // One that could not be loaded is tried again by the first who asks, as any other.
                Phase::AtRest(nap) => {
                    if let Nap::Refused { .. } = nap {
                        self.registry.set_phase(id, Phase::AtRest(Nap::Asleep));
                    }
                    self.registry.set_wakes(id, true);
                    self.publicise(id, Since::Now);
                }
                _ if entry.failure.is_some() => {}
                Phase::Serving(_) => {
                    self.watch_for_rest(id);
                    self.publicise(id, Since::Now);
                }
                Phase::Fetching(_) => self.go_on_fetching(id),
                Phase::Checking(_) => {}
            }
        }
    }

    pub(crate) fn open_now(&mut self, id: TorrentId) -> Result<(), OrderError> {
        self.known_gate(id)?.open();
        self.tell_of_open_gates();
        Ok(())
    }

    pub(crate) fn set_opening(&mut self, id: TorrentId, opens_at_unix_s: Option<u64>) -> Result<(), OrderError> {
        self.known_gate(id)?.set_opens_at_unix_s(opens_at_unix_s);
        Ok(())
    }

    fn known_gate(&mut self, id: TorrentId) -> Result<Arc<Gate>, OrderError> {
        let entry = self.entry(id)?;
        let name = entry.name.clone();
        entry.terms.gate.clone().ok_or(OrderError::NoEmbargo { name })
    }

    fn gate_of(&self, id: TorrentId) -> Option<&Arc<Gate>> {
        self.registry.get(id)?.terms.gate.as_ref()
    }

    fn is_shut(&self, id: TorrentId) -> bool {
        self.gate_of(id).is_some_and(|gate| !gate.is_open())
    }
}

impl Entry {
    /// Whether trackers, the DHT and the local network may be told of it.
    pub(crate) fn may_be_told_of(&self) -> bool {
        !self.is_stopped && !self.is_embargoed()
    }

    /// Whether nobody may hear of it yet.
    pub(crate) fn is_embargoed(&self) -> bool {
        self.terms.shut_gate().is_some()
    }
}
