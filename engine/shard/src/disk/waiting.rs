//! The connections that found no room for a read, in the order in which they came. Decides who may try next; begins
//! nothing.

use crate::limits::COLD_READS_LIMIT;
use crate::table::Key;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a connection that was called to make its read may take until its turn.
const CALL_HELD: Duration = Duration::from_millis(50);

/// The queue: one place for each connection, which keeps it until it has what it lacks.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Waiter>);

struct Waiter {
    key: Key,
    lacks: Lack,
    /// When it was woken to try again.
    called_at: Option<Duration>,
}

/// What there was no room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lack {
    /// The opening of a file.
    Opening,
    /// A read at this device.
    Reading { device: u64 },
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the connection may try to get what it lacks: it was called, or nobody has waited longer for the same.
    pub(super) fn may_try(&self, key: Key, lacks: Lack) -> bool {
        let place = self.place(key);
        let is_called = place.is_some_and(|place| self.0[place].called_at.is_some());
        is_called || !self.0.iter().take(place.unwrap_or(usize::MAX)).any(|other| other.lacks == lacks)
    }

    /// Takes note of what the connection lacks after it has tried.
    pub(super) fn handle_tried(&mut self, key: Key, lacks: Option<Lack>) {
        let waiter = lacks.map(|lacks| Waiter { key, lacks, called_at: None });
        match (self.place(key), waiter) {
            (Some(place), Some(waiter)) => self.0[place] = waiter,
            (Some(place), None) => drop(self.0.remove(place)),
            (None, waiter) => self.0.extend(waiter),
        }
    }

    /// Calls those who have waited longest for something that there is room for, as many as there are places beside the
    /// `reads` under way.
    pub(super) fn call(
        &mut self,
        reads: usize,
        has_room: impl Fn(Lack) -> bool,
        now: Duration,
    ) -> impl Iterator<Item = Key> {
        // Who was called and did not come has gone, or has got what it lacked from another's read.
        self.0.retain(|waiter| waiter.called_at.is_none_or(|at| now < at + CALL_HELD));
        let called_count = self.0.iter().filter(|waiter| waiter.called_at.is_some()).count();
        let free = COLD_READS_LIMIT.saturating_sub(reads + called_count);
        // One may always look again, since a file or a window may have come that others asked for.
        let places = if called_count == 0 { free.max(1) } else { free };
        let is_next = move |waiter: &&mut Waiter| waiter.called_at.is_none() && has_room(waiter.lacks);
        self.0.iter_mut().filter(is_next).take(places).map(move |waiter| {
            waiter.called_at = Some(now);
            waiter.key
        })
    }

    fn place(&self, key: Key) -> Option<usize> {
        self.0.iter().position(|waiter| waiter.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::Token;

    const DISK: Lack = Lack::Reading { device: 1 };
    const FLASH: Lack = Lack::Reading { device: 2 };

    fn peer(number: u64) -> Key {
        Key::from_token(Token(1 << 32 | number))
    }

    fn call(waiting: &mut Waiting, has_room: impl Fn(Lack) -> bool, now_ms: u64) -> Vec<Key> {
        waiting.call(0, has_room, Duration::from_millis(now_ms)).collect()
    }

    #[test]
    fn who_waits_goes_before_newcomers_and_keeps_its_place() {
        let mut waiting = Waiting::default();
        (1..=3).for_each(|number| waiting.handle_tried(peer(number), Some(DISK)));
        assert!(waiting.may_try(peer(1), DISK));
        assert!(!waiting.may_try(peer(2), DISK) && !waiting.may_try(peer(9), DISK));
        waiting.handle_tried(peer(1), Some(DISK));
        assert_eq!(call(&mut waiting, |_| true, 0), [peer(1), peer(2), peer(3)]);
        assert!(waiting.may_try(peer(2), DISK), "whether or not those before it come");
        assert!(!waiting.may_try(peer(9), DISK));
        waiting.handle_tried(peer(1), None);
        waiting.handle_tried(peer(3), Some(DISK));
        waiting.handle_tried(peer(2), Some(DISK));
        assert_eq!(call(&mut waiting, |_| true, 1), [peer(2), peer(3)]);
    }

    #[test]
    fn those_who_wait_for_a_slow_disk_hold_up_nobody_at_another() {
        let mut waiting = Waiting::default();
        (0..100).for_each(|number| waiting.handle_tried(peer(number), Some(DISK)));
        assert!(waiting.may_try(peer(200), FLASH) && waiting.may_try(peer(200), Lack::Opening));
        waiting.handle_tried(peer(200), Some(FLASH));
        assert_eq!(call(&mut waiting, |lack| lack != DISK, 0), [peer(200)]);
    }

    #[test]
    fn who_is_called_and_does_not_come_is_forgotten() {
        let mut waiting = Waiting::default();
        (0..2 * COLD_READS_LIMIT as u64).for_each(|number| waiting.handle_tried(peer(number), Some(DISK)));
        assert_eq!(call(&mut waiting, |_| true, 0).len(), COLD_READS_LIMIT);
        assert_eq!(call(&mut waiting, |_| true, 1), [], "no more than there are places");
        let later = CALL_HELD.as_millis() as u64;
        assert_eq!(call(&mut waiting, |_| true, later).len(), COLD_READS_LIMIT);
        assert_eq!(call(&mut waiting, |_| true, 2 * later), []);
        assert!(waiting.is_empty());
    }
}
