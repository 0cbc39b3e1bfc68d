//! What the desk remembers of what its torrents sent and received in this run, so that the totals of all are kept by asking for
//! those that have moved. What the catalogue has of them is elsewhere.

use std::collections::{HashMap, HashSet};

use catalogue::TorrentNumber;
use mesh::TorrentId;

use super::entry::Live;

/// Rounds of totals in which the time of seeding is kept even of torrents that nobody wanted, a part of them in each: half an
/// hour.
const QUIET_ROUNDS: u32 = 60;

/// The books.
#[derive(Default)]
pub(crate) struct Books {
    round: u32,
    /// By its number in the engine. Most have moved nothing in this run, and are not here.
    traffic: HashMap<TorrentId, Traffic>,
    /// Torrents at rest that could not be loaded when somebody asked for them last.
    broken: HashSet<TorrentId>,
}

/// Bytes uploaded and downloaded in this run.
#[derive(Default)]
struct Traffic {
    seen: (u64, u64),
    /// As the catalogue has it.
    kept: (u64, u64),
}

impl Books {
    /// The engine has told how much one has sent and received.
    pub(crate) fn see(&mut self, id: TorrentId, seen: (u64, u64)) {
        if seen != (0, 0) {
            self.traffic.entry(id).or_default().seen = seen;
        }
    }

    /// Whether it is news that one at rest cannot be loaded.
    pub(crate) fn is_broken_now(&mut self, id: TorrentId) -> bool {
        self.broken.insert(id)
    }

    /// Whether one could not be loaded, and is well again.
    pub(crate) fn is_well_again(&mut self, id: TorrentId) -> bool {
        self.broken.remove(&id)
    }

    pub(crate) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1) % QUIET_ROUNDS;
    }

    /// Whether the catalogue is to have the totals of this one in this round.
    pub(crate) fn is_due(&self, id: TorrentId, number: TorrentNumber) -> bool {
        let has_moved = self.traffic.get(&id).is_some_and(|traffic| traffic.seen != traffic.kept);
        has_moved || number.0.rem_euclid(QUIET_ROUNDS.into()) == i64::from(self.round)
    }

    /// The catalogue is given what was seen of it.
    pub(crate) fn keep(&mut self, id: TorrentId) {
        if let Some(traffic) = self.traffic.get_mut(&id) {
            traffic.kept = traffic.seen;
        }
    }

    /// What is known of one that was not among those that the engine told of: it rests.
    pub(crate) fn at_rest(&self, id: TorrentId) -> Live {
        let (uploaded_bytes, downloaded_bytes) = self.traffic.get(&id).map(|traffic| traffic.seen).unwrap_or_default();
        let has_failed = self.broken.contains(&id);
        Live { has_failed, uploaded_bytes, downloaded_bytes, ..Live::default() }
    }

    /// Drops those that the engine does not have any more.
    pub(crate) fn retain(&mut self, is_there: impl Fn(TorrentId) -> bool) {
        self.traffic.retain(|id, _| is_there(*id));
        self.broken.retain(|id| is_there(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Wake,
        Send,
        Rest,
        Remove,
        Add,
    }

    /// An engine as far as it can be asked: bytes, and whether it is at work.
    #[derive(Default)]
    struct Told {
        torrents: BTreeMap<TorrentId, (u64, bool)>,
        rested: HashSet<TorrentId>,
        last_id: u32,
    }

    impl Told {
        fn make(&mut self, ids: &mut [TorrentId], place: usize, step: Step) {
            let id = ids[place];
            match (step, self.torrents.get_mut(&id)) {
                (Step::Wake, Some((_, is_awake))) => *is_awake = true,
                (Step::Send, Some((sent, true))) => *sent += 7,
                (Step::Rest, Some((_, is_awake @ true))) => {
                    *is_awake = false;
                    self.rested.insert(id);
                }
                (Step::Remove, Some(_)) => {
                    self.torrents.remove(&id);
                    self.rested.remove(&id);
                }
                (Step::Add, None) => {
                    self.last_id += 1;
                    ids[place] = TorrentId(self.last_id);
                    self.torrents.insert(ids[place], (0, false));
                }
                _ => {}
            }
        }

        fn recent(&mut self) -> Vec<(TorrentId, u64)> {
            let rested = std::mem::take(&mut self.rested);
            let is_recent = |id: &TorrentId, is_awake: bool| is_awake || rested.contains(id);
            let all = self.torrents.iter().map(|(id, (sent, is_awake))| (*id, *sent, *is_awake));
            all.filter(|(id, _, is_awake)| is_recent(id, *is_awake)).map(|(id, sent, _)| (id, sent)).collect()
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Option<(usize, Step)>>> {
        use Step::*;
        let step = prop::sample::select(vec![Wake, Wake, Send, Send, Send, Rest, Rest, Remove, Add, Add]);
        prop::collection::vec(prop::option::weighted(0.7, (0..5usize, step)), 1..200)
    }

    proptest! {
        #[test]
        fn totals_by_what_moved_are_those_by_a_look_at_all(steps in steps()) {
            let (mut engine, mut books, mut ids) = (Told::default(), Books::default(), vec![TorrentId(0); 5]);
            // What the catalogue has of each: bytes, and the round in which that was kept.
            let mut kept: BTreeMap<TorrentId, (u64, usize)> = BTreeMap::new();
            for (round, step) in steps.into_iter().enumerate() {
                if let Some((place, step)) = step {
                    engine.make(&mut ids, place, step);
                    continue;
                }
                engine.recent().into_iter().for_each(|(id, sent)| books.see(id, (sent, 0)));
                books.retain(|id| engine.torrents.contains_key(&id));
                books.begin_round();
                kept.retain(|id, _| engine.torrents.contains_key(id));
                for (id, (sent, _)) in &engine.torrents {
                    let live = books.at_rest(*id);
                    prop_assert_eq!(live.uploaded_bytes, *sent);
                    if books.is_due(*id, TorrentNumber(id.0.into())) {
                        kept.insert(*id, (live.uploaded_bytes, round));
                        books.keep(*id);
                    }
                    prop_assert_eq!(kept.get(id).map_or(0, |(sent, _)| *sent), *sent);
                }
            }
        }
    }

    #[test]
    fn the_time_of_those_that_nobody_wants_is_kept_once_in_half_an_hour() {
        let mut books = Books::default();
        let mut times = [0; 7];
        for _ in 0..QUIET_ROUNDS {
            books.begin_round();
            for (number, times) in times.iter_mut().enumerate() {
                *times += u32::from(books.is_due(TorrentId(number as u32), TorrentNumber(number as i64 * 1000)));
            }
        }
        assert_eq!(times, [1; 7]);
    }
}
