//! All lines of announces, one beside the other: ten thousand torrents have forty thousand of them, and a tree's half-empty
//! nodes would cost as much again.

use super::SlotId;
use super::slot::Slot;

/// A slab of slots. A number is used once: its upper half tells how often its place was taken before.
#[derive(Default)]
pub(super) struct Slots {
    places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
}

#[derive(Default)]
struct Place {
    generation: u32,
    slot: Option<Slot>,
}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> SlotId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.slot = Some(slot);
        self.count += 1;
        SlotId(u64::from(place.generation) << 32 | u64::from(index))
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        let place = self.places.get(index(id))?;
        place.slot.as_ref().filter(|_| place.generation == generation(id))
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        let place = self.places.get_mut(index(id))?;
        let is_it = place.generation == generation(id);
        place.slot.as_mut().filter(|_| is_it)
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let place = self.places.get_mut(index(id)).filter(|place| place.generation == generation(id))?;
        let slot = place.slot.take()?;
        // After four thousand million uses of one place a very late answer might find another slot; it would be a wrong
        // success of that one, and no more.
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index(id) as u32);
        self.count -= 1;
        Some(slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.places.iter().filter_map(|place| place.slot.as_ref())
    }
}

fn index(id: SlotId) -> usize {
    (id.0 & u64::from(u32::MAX)) as usize
}

fn generation(id: SlotId) -> u32 {
    (id.0 >> 32) as u32
}
