//! How many reads a device has under way, over all shards: a disk that is asked too much at once only makes everybody
//! wait. Permits are taken without a lock, and a shard always has some of its own, so that none waits for another.

use crate::limits::{DEVICE_READS_LIMIT, DEVICES_LIMIT, NAMED_DEVICES_LIMIT};
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The reads of all shards, by device.
#[derive(Debug)]
pub struct DeviceBudgets {
    devices: Box<[CachePadded<Device>]>,
}

#[derive(Debug)]
struct Device {
    /// Its number plus one; 0 while the place is free.
    name: AtomicU64,
    shared_in_use: AtomicUsize,
    limits: Limits,
}

/// How many reads a device may have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Reads that each shard may have under way, whatever the others have.
    own: usize,
    /// Reads beyond those, of all shards together.
    shared: usize,
}

impl Limits {
    /// `reads` at once for `shard_count` shards, but at least one for each.
    fn new(shard_count: usize, reads: usize) -> Limits {
        let shard_count = shard_count.max(1);
        // Half of the reads are shared out, half go to those who ask.
        let own = (reads / (2 * shard_count)).max(1);
        Limits { own, shared: reads.saturating_sub(own * shard_count) }
    }
}

/// A device's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(usize);

impl DeviceBudgets {
    /// The reads that disks and flash of today want at once.
    pub const READS: usize = DEVICE_READS_LIMIT;

    /// For `shard_count` shards, with [`DeviceBudgets::READS`].
    pub fn new(shard_count: usize) -> DeviceBudgets {
        DeviceBudgets::with_limit(shard_count, DeviceBudgets::READS)
    }

    /// For `shard_count` shards and `reads_limit` reads at once, but at least one for each shard.
    pub fn with_limit(shard_count: usize, reads_limit: usize) -> DeviceBudgets {
        DeviceBudgets::with_limits(shard_count, reads_limit, &[])
    }

    /// For these devices, each by its number (`st_dev`), other limits than for the rest. One that is named twice has the first;
    /// those beyond `NAMED_DEVICES_LIMIT` are like the rest.
    pub fn with_limits(shard_count: usize, reads_limit: usize, named: &[(u64, usize)]) -> DeviceBudgets {
        let rest = (DEVICES_LIMIT - named.len().min(NAMED_DEVICES_LIMIT)).max(1);
        let named = named.iter().take(NAMED_DEVICES_LIMIT).map(|(device, reads)| (name_of(*device), *reads));
        let places = named.chain(std::iter::repeat_n((0, reads_limit), rest));
        let device = |(name, reads): (u64, usize)| Device {
            name: AtomicU64::new(name),
            shared_in_use: AtomicUsize::new(0),
            limits: Limits::new(shard_count, reads),
        };
        DeviceBudgets { devices: places.map(|place| CachePadded::new(device(place))).collect() }
    }

    /// The place of a device; those that find none share the last.
    fn place(&self, device: u64) -> Place {
        let name = name_of(device);
        let is_its = |place: &CachePadded<Device>| {
            let found = place.name.compare_exchange(0, name, Ordering::Relaxed, Ordering::Relaxed);
            found.is_ok() || found == Err(name)
        };
        Place(self.devices.iter().position(is_its).unwrap_or(self.devices.len() - 1))
    }

    fn take_shared(&self, place: Place) -> bool {
        let limit = self.devices[place.0].limits.shared;
        let below = |in_use| (in_use < limit).then_some(in_use + 1);
        let in_use = &self.devices[place.0].shared_in_use;
        in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok()
    }

    fn give_back_shared(&self, place: Place) {
        self.devices[place.0].shared_in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What stands for a device's number in the table, where 0 stands for none.
fn name_of(device: u64) -> u64 {
    device.wrapping_add(1).max(1)
}

/// One shard's reads, by device.
pub(crate) struct DeviceReads {
    budgets: Arc<DeviceBudgets>,
    /// Reads under way on the shard's own account.
    own_in_use: Box<[usize]>,
}

/// Leave to have one read under way at a device. To be given back to [`DeviceReads::end`]; one that is merely dropped
/// gives back what belongs to all shards.
pub(crate) struct Permit {
    place: Place,
    shared: Option<SharedRead>,
}

struct SharedRead {
    budgets: Arc<DeviceBudgets>,
    place: Place,
}

impl Drop for SharedRead {
    fn drop(&mut self) {
        self.budgets.give_back_shared(self.place);
    }
}

impl DeviceReads {
    pub(crate) fn new(budgets: Arc<DeviceBudgets>) -> DeviceReads {
        let own_in_use = vec![0; budgets.devices.len()].into_boxed_slice();
        DeviceReads { budgets, own_in_use }
    }

    /// Leave for one more read at the device. Who gets none has reads of its own under way there, and asks again when
    /// one of them has ended.
    pub(crate) fn begin(&mut self, device: u64) -> Option<Permit> {
        let place = self.budgets.place(device);
        let own_in_use = &mut self.own_in_use[place.0];
        if *own_in_use < self.budgets.devices[place.0].limits.own {
            *own_in_use += 1;
            return Some(Permit { place, shared: None });
        }
        let budgets = &self.budgets;
        budgets
            .take_shared(place)
            .then(|| Permit { place, shared: Some(SharedRead { budgets: budgets.clone(), place }) })
    }

    /// Whether [`DeviceReads::begin`] would likely give leave now; other shards may be faster.
    pub(crate) fn has_room(&self, device: u64) -> bool {
        let place = self.budgets.place(device);
        let device = &self.budgets.devices[place.0];
        let shared_in_use = device.shared_in_use.load(Ordering::Relaxed);
        self.own_in_use[place.0] < device.limits.own || shared_in_use < device.limits.shared
    }

    /// The read has ended.
    pub(crate) fn end(&mut self, permit: Permit) {
        let Permit { place, shared } = permit;
        if shared.is_none() {
            self.own_in_use[place.0] -= 1;
        }
        // A shared one is given back as it is dropped.
        drop(shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(reads: &mut DeviceReads, device: u64) -> Vec<Permit> {
        std::iter::from_fn(|| reads.begin(device)).collect()
    }

    #[test]
    fn two_shards_stay_within_the_budget_of_a_device_and_neither_starves() {
        let budgets = Arc::new(DeviceBudgets::with_limit(2, 8));
        let (mut greedy, mut late) = (DeviceReads::new(budgets.clone()), DeviceReads::new(budgets.clone()));
        let taken = take_all(&mut greedy, 1);
        assert_eq!(taken.len(), 6, "its own two and all that are shared");
        let left = take_all(&mut late, 1);
        assert_eq!(left.len(), 2, "its own were kept for it");
        assert_eq!(take_all(&mut late, 2).len(), 6, "another device has a budget of its own");
        taken.into_iter().for_each(|permit| greedy.end(permit));
        let more = take_all(&mut late, 1);
        assert_eq!(more.len(), 4, "what was given back is there for all");
        assert_eq!(take_all(&mut greedy, 1).len(), 2);
    }

    #[test]
    fn a_permit_that_is_dropped_takes_nothing_from_the_others() {
        let budgets = Arc::new(DeviceBudgets::with_limit(2, 8));
        let (mut ending, mut other) = (DeviceReads::new(budgets.clone()), DeviceReads::new(budgets));
        drop(take_all(&mut ending, 1));
        assert_eq!(take_all(&mut other, 1).len(), 6);
    }

    #[test]
    fn more_shards_than_reads_have_one_each() {
        let budgets = Arc::new(DeviceBudgets::with_limit(5, 2));
        for _ in 0..5 {
            assert_eq!(take_all(&mut DeviceReads::new(budgets.clone()), 1).len(), 1);
        }
    }

    #[test]
    fn devices_beyond_the_table_share_one_budget() {
        let mut reads = DeviceReads::new(Arc::new(DeviceBudgets::with_limit(1, 2)));
        let taken: Vec<_> = (0..DEVICES_LIMIT as u64).map(|device| take_all(&mut reads, device)).collect();
        assert!(taken.iter().all(|permits| permits.len() == 2));
        assert!(reads.begin(DEVICES_LIMIT as u64).is_none());
        assert!(!reads.has_room(DEVICES_LIMIT as u64) && reads.has_room(0) == reads.begin(0).is_some());
        assert!(reads.begin(u64::MAX).is_none(), "and the oddest number is one of them");
    }

    #[test]
    fn a_device_that_is_named_has_a_limit_of_its_own_and_the_others_theirs() {
        let budgets = Arc::new(DeviceBudgets::with_limits(1, 8, &[(7, 2), (u64::MAX, 3), (7, 99)]));
        let mut reads = DeviceReads::new(budgets);
        for (device, limit) in [(7, 2), (1, 8), (2, 8), (u64::MAX, 3)] {
            let taken = take_all(&mut reads, device);
            assert_eq!(taken.len(), limit, "device {device}");
            assert!(!reads.has_room(device));
        }
    }

    #[test]
    fn too_many_named_devices_leave_room_for_others() {
        let named: Vec<(u64, usize)> = (0..1000).map(|device| (device, 1)).collect();
        let mut reads = DeviceReads::new(Arc::new(DeviceBudgets::with_limits(1, 8, &named)));
        assert_eq!(take_all(&mut reads, 0).len(), 1);
        assert_eq!(take_all(&mut reads, 5000).len(), 8);
    }

    #[test]
    fn shards_that_take_at_once_never_take_too_much() {
        const LIMIT: usize = 6;
        let budgets = Arc::new(DeviceBudgets::with_limit(2, LIMIT));
        let under_way = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reads = DeviceReads::new(budgets.clone());
                    for _ in 0..20_000 {
                        let Some(permit) = reads.begin(1) else { panic!("one is always left for its shard") };
                        let second = reads.begin(1);
                        let count = 1 + usize::from(second.is_some());
                        assert!(under_way.fetch_add(count, Ordering::SeqCst) + count <= LIMIT);
                        under_way.fetch_sub(count, Ordering::SeqCst);
                        reads.end(permit);
                        second.into_iter().for_each(|permit| reads.end(permit));
                    }
                });
            }
        });
    }
}
