use super::*;
use crate::rechecking::{CheckError, Checked, ContentCheck};
use proptest::prelude::*;
use std::collections::HashMap;

/// What is at work here is being checked: that needs no content.
struct NoCheck;

impl ContentCheck for NoCheck {
    fn check(&self, _: &Arc<Torrent>) -> Result<Checked, CheckError> {
        Err(CheckError::BrokeOff)
    }

    fn progress(&self) -> storage::Progress {
        storage::Progress::default()
    }

    fn cancel(&self) {}
}

fn at_work() -> Phase {
    Phase::Checking(Checking { check: Arc::new(NoCheck), is_done: false })
}

fn entry(number: usize) -> Entry {
    Entry {
        name: number.to_string(),
        info_hashes: InfoHashes::new([InfoHash([number as u8; 20])], None),
        size_bytes: None,
        is_private: false,
        tiers: Arc::new([]),
        terms: Arc::default(),
        tally: Arc::default(),
        phase: Phase::AtRest(Nap::Asleep),
        is_stopped: false,
        source: None,
        progress: None,
        sent: None,
        failure: None,
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wake,
    Send,
    Receive,
    Rest,
    FailToLoad,
    Remove,
    Add,
}

fn steps() -> impl Strategy<Value = Vec<Option<(usize, Step)>>> {
    use Step::*;
    let step = prop::sample::select(vec![Wake, Wake, Send, Send, Receive, Rest, Rest, FailToLoad, Remove, Add]);
    // Nothing is a look.
    prop::collection::vec(prop::option::weighted(0.7, (0..6usize, step)), 1..80)
}

impl Registry {
    fn make(&mut self, ids: &mut [TorrentId], place: usize, step: Step) {
        let id = ids[place];
        let is_awake = self.active.contains(&id);
        let tally = self.get(id).map(|entry| entry.tally.clone());
        match (step, tally) {
            (Step::Wake, Some(tally)) if !is_awake => {
                self.set_phase(id, Phase::AtRest(Nap::Loading));
                tally.wake(1);
                self.set_phase(id, at_work());
            }
            (Step::Send, Some(tally)) if is_awake => tally.counters().shard(0).payload_sent_bytes.add(7),
            (Step::Receive, Some(tally)) if is_awake => tally.counters().shard(0).payload_received_bytes.add(5),
            (Step::Rest, Some(tally)) if is_awake => {
                tally.rest();
                self.set_phase(id, Phase::AtRest(Nap::Asleep));
            }
            (Step::FailToLoad, Some(_)) if !is_awake => {
                self.get_mut(id).unwrap().failure = Some("it is gone".to_owned());
                self.set_phase(id, Phase::AtRest(Nap::Refused { until: Duration::ZERO }));
            }
            (Step::Remove, _) => drop(self.remove(id)),
            (Step::Add, None) => ids[place] = self.add(entry(place)),
            _ => {}
        }
    }

    fn all(&mut self) -> HashMap<TorrentId, (u64, u64, Option<String>)> {
        self.iter_mut().map(|(id, entry)| (id, seen(&entry.status(id, Duration::ZERO)))).collect()
    }
}

fn seen(status: &crate::status::TorrentStatus) -> (u64, u64, Option<String>) {
    (status.payload_sent_bytes, status.payload_received_bytes, status.error.clone())
}

proptest! {
    #[test]
    fn who_asks_only_for_what_moved_knows_as_much_as_who_asks_for_all(steps in steps()) {
        let mut registry = Registry::new(Arc::default());
        let mut ids: Vec<TorrentId> = (0..6).map(|number| registry.add(entry(number))).collect();
        let mut known = registry.all();
        for step in steps {
            match step {
                Some((place, step)) => registry.make(&mut ids, place, step),
                None => {
                    let recent = registry.recent(Duration::ZERO);
                    prop_assert!(!recent.is_cut);
                    known.extend(recent.torrents.iter().map(|status| (status.id, seen(status))));
                    let all = registry.all();
                    // One that was added at rest has done nothing yet.
                    known.extend(all.iter().filter(|(id, _)| !known.contains_key(id)).map(|(id, _)| (*id, (0, 0, None))).collect::<Vec<_>>());
                    known.retain(|id, _| all.contains_key(id));
                    prop_assert_eq!(&known, &all);
                }
            }
        }
    }
}

#[test]
fn more_that_rest_than_are_remembered_are_said_to_be_more() {
    let mut registry = Registry::new(Arc::default());
    for id in 0..=RESTED_MAX as u32 {
        registry.torrents.insert(TorrentId(id), entry(0));
    }
    let all: Vec<TorrentId> = registry.torrents.keys().copied().collect();
    for id in &all {
        registry.set_phase(*id, Phase::AtRest(Nap::Asleep));
    }
    let recent = registry.recent(Duration::ZERO);
    assert_eq!((recent.torrents.len(), recent.is_cut), (RESTED_MAX, true));
    assert!(!registry.recent(Duration::ZERO).is_cut);
}
