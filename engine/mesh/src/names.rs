//! Which torrent an info-hash stands for: one table that control writes and all shards read. A shard finds the torrents
//! that it serves by itself; it looks here only for a name that it does not know, which may be that of a torrent at rest.

use crate::TorrentId;
use hash::InfoHash;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, TryLockError};

/// The names of all torrents. A tree and not a hash table: a write touches a few nodes and never moves the whole table, so that
/// the lock is held for well under a microsecond however many torrents there are.
#[derive(Debug, Default)]
pub struct TorrentNames {
    table: RwLock<BTreeMap<InfoHash, Named>>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
struct Named {
    id: TorrentId,
    /// Whoever asks for it by this name wakes it, if it is at rest.
    wakes: bool,
}

/// What a shard is told of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wakes {
    /// That of no torrent that can be woken.
    Nothing,
    /// That of a torrent that is at rest, or was when it was last looked.
    Torrent(TorrentId),
    /// The table is being written; ask again in the next turn.
    AskAgain,
}

impl TorrentNames {
    /// Lets `names` stand for a torrent. For control.
    pub fn insert(&self, names: &[InfoHash], id: TorrentId, wakes: bool) {
        for name in names {
            // One hold of the lock a name: readers never meet a long one.
            self.write(|table| table.insert(*name, Named { id, wakes }));
        }
    }

    /// Says whether a torrent is woken by its names. For control.
    pub fn set_wakes(&self, names: &[InfoHash], id: TorrentId, wakes: bool) {
        for name in names {
            self.write(|table| {
                if let Some(named) = table.get_mut(name).filter(|named| named.id == id) {
                    named.wakes = wakes;
                }
            });
        }
    }

    /// Forgets those of `names` that stand for this torrent. For control.
    pub fn remove(&self, names: &[InfoHash], id: TorrentId) {
        for name in names {
            self.write(|table| {
                if table.get(name).is_some_and(|named| named.id == id) {
                    table.remove(name);
                }
            });
        }
    }

    /// The torrent of this name. Waits for a write under way: for control.
    pub fn find(&self, name: InfoHash) -> Option<TorrentId> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&name).map(|named| named.id)
    }

    /// The torrent that is woken by this name. Never waits: for shards.
    pub fn wakes(&self, name: InfoHash) -> Wakes {
        let table = match self.table.try_read() {
            Ok(table) => table,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Wakes::AskAgain,
        };
        table.get(&name).filter(|named| named.wakes).map_or(Wakes::Nothing, |named| Wakes::Torrent(named.id))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn write<T>(&self, what: impl FnOnce(&mut BTreeMap<InfoHash, Named>) -> T) -> T {
        // The table is whole between any two writes, so one that panicked elsewhere leaves it usable.
        what(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    #[test]
    fn a_shard_never_waits_for_a_write() {
        let names = TorrentNames::default();
        names.insert(&[name(1)], TorrentId(7), true);
        let held = names.table.write().unwrap();
        assert_eq!(names.wakes(name(1)), Wakes::AskAgain);
        drop(held);
        assert_eq!(names.wakes(name(1)), Wakes::Torrent(TorrentId(7)));
    }

    #[test]
    fn a_torrent_that_took_over_a_name_keeps_it_when_the_other_goes() {
        let names = TorrentNames::default();
        names.insert(&[name(1), name(2)], TorrentId(1), true);
        names.insert(&[name(2)], TorrentId(2), false);
        names.set_wakes(&[name(2)], TorrentId(1), true);
        names.remove(&[name(1), name(2)], TorrentId(1));
        assert_eq!((names.find(name(1)), names.find(name(2))), (None, Some(TorrentId(2))));
        assert_eq!(names.wakes(name(2)), Wakes::Nothing);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Vec<u8>, u32, bool),
        SetWakes(Vec<u8>, u32, bool),
        Remove(Vec<u8>, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let names = || prop::collection::vec(0u8..12, 0..4);
        prop_oneof![
            (names(), 0u32..5, any::<bool>()).prop_map(|(names, id, wakes)| Step::Insert(names, id, wakes)),
            (names(), 0u32..5, any::<bool>()).prop_map(|(names, id, wakes)| Step::SetWakes(names, id, wakes)),
            (names(), 0u32..5).prop_map(|(names, id)| Step::Remove(names, id)),
        ]
    }

    proptest! {
        #[test]
        fn it_says_what_a_list_would(steps in prop::collection::vec(step(), 0..60)) {
            let names = TorrentNames::default();
            // The twin: one line a name, looked through from the start.
            let mut list: Vec<(u8, u32, bool)> = Vec::new();
            for step in steps {
                let all = |numbers: &[u8]| numbers.iter().map(|number| name(*number)).collect::<Vec<_>>();
                match step {
                    Step::Insert(numbers, id, wakes) => {
                        names.insert(&all(&numbers), TorrentId(id), wakes);
                        list.retain(|(number, ..)| !numbers.contains(number));
                        let mut news = numbers;
                        news.sort_unstable();
                        news.dedup();
                        list.extend(news.into_iter().map(|number| (number, id, wakes)));
                    }
                    Step::SetWakes(numbers, id, wakes) => {
                        names.set_wakes(&all(&numbers), TorrentId(id), wakes);
                        let meant = list.iter_mut().filter(|(number, of, _)| numbers.contains(number) && *of == id);
                        meant.for_each(|line| line.2 = wakes);
                    }
                    Step::Remove(numbers, id) => {
                        names.remove(&all(&numbers), TorrentId(id));
                        list.retain(|(number, of, _)| !(numbers.contains(number) && *of == id));
                    }
                }
                prop_assert_eq!(names.len(), list.len());
                for number in 0..12 {
                    let line = list.iter().find(|(known, ..)| *known == number);
                    prop_assert_eq!(names.find(name(number)), line.map(|(_, id, _)| TorrentId(*id)));
                    let woken = line.filter(|(.., wakes)| *wakes);
                    let expected = woken.map_or(Wakes::Nothing, |(_, id, _)| Wakes::Torrent(TorrentId(*id)));
                    prop_assert_eq!(names.wakes(name(number)), expected);
                }
            }
        }
    }
}
