//! Simulated hours of peers that come, go, stall and lie: slots are never exceeded, nobody starves, time is shared.

use proptest::prelude::*;

use super::*;

/// Drives a choker as a shard does and keeps what the peers have been told.
struct Sim {
    choker: Choker<u32>,
    now: Duration,
    unchoked: HashMap<u32, Duration>,
    served: HashMap<u32, Duration>,
    log: Vec<(Duration, ChokeChange<u32>)>,
}

impl Sim {
    fn new(slots: Slots) -> Sim {
        Sim {
            choker: Choker::new(slots, 7),
            now: Duration::from_secs(100),
            unchoked: HashMap::new(),
            served: HashMap::new(),
            log: Vec::new(),
        }
    }

    fn poll(&mut self) {
        let mut changes = Vec::new();
        self.choker.poll_changes(self.now, &mut changes);
        for change in changes {
            match change {
                ChokeChange::Unchoke(peer) => {
                    assert!(self.unchoked.insert(peer, self.now).is_none(), "{peer} was told twice");
                }
                ChokeChange::Choke(peer) => {
                    let since = self.unchoked.remove(&peer).expect("only an unchoked peer is choked");
                    *self.served.entry(peer).or_default() += self.now - since;
                }
            }
            self.log.push((self.now, change));
        }
        assert_eq!(self.unchoked.len(), self.choker.unchoked_count());
    }

    fn interested(&mut self, peers: impl IntoIterator<Item = u32>) {
        for peer in peers {
            self.choker.handle_interested(peer, self.now);
            self.poll();
        }
    }

    fn gone(&mut self, peer: u32) {
        self.choker.handle_gone(peer);
        if let Some(since) = self.unchoked.remove(&peer) {
            *self.served.entry(peer).or_default() += self.now - since;
        }
        self.poll();
    }

    /// Lets time pass, second by second; those who `progress` says so receive bytes while unchoked.
    fn run(&mut self, seconds: u64, progress: impl Fn(u32) -> u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            for peer in self.unchoked.keys() {
                self.choker.handle_progress(*peer, progress(*peer));
            }
            if self.choker.next_wakeup().is_some_and(|due| due <= self.now) {
                self.poll();
            }
        }
    }

    /// Time in slots so far, the present one included.
    fn served_seconds(&self, peer: u32) -> u64 {
        let past = self.served.get(&peer).copied().unwrap_or_default();
        let present = self.unchoked.get(&peer).map(|since| self.now - *since).unwrap_or_default();
        (past + present).as_secs()
    }
}

fn fast(_: u32) -> u64 {
    1 << 20
}

#[test]
fn without_fixed_slots_every_interested_peer_is_unchoked_at_once() {
    let mut sim = Sim::new(Slots::Unlimited);
    sim.interested(0..1000);
    assert_eq!(sim.unchoked.len(), 1000);
    sim.run(600, |_| 0);
    assert_eq!(sim.log.len(), 1000, "nobody is choked again");
    assert_eq!(sim.choker.next_wakeup(), None);
}

#[test]
fn a_peer_that_repeats_itself_is_told_once() {
    let mut sim = Sim::new(Slots::Fixed(2));
    sim.interested([1, 1, 1]);
    assert_eq!(sim.log.len(), 1);
    sim.choker.handle_not_interested(1);
    sim.choker.handle_not_interested(1);
    sim.choker.handle_not_interested(99);
    sim.poll();
    assert_eq!(sim.log[1..], [(sim.now, ChokeChange::Choke(1))]);
    sim.interested([1]);
    assert_eq!(sim.unchoked.len(), 1);
}

#[test]
fn interest_that_flickers_between_two_polls_tells_nothing() {
    let mut sim = Sim::new(Slots::Fixed(3));
    sim.interested([1]);
    sim.choker.handle_not_interested(1);
    sim.choker.handle_interested(1, sim.now);
    sim.poll();
    assert_eq!(sim.log.len(), 1);
}

#[test]
fn a_slot_that_becomes_free_is_filled_in_the_same_call_longest_wait_first() {
    let mut sim = Sim::new(Slots::Fixed(1));
    sim.interested([1, 2, 3]);
    assert!(sim.unchoked.contains_key(&1));
    sim.gone(1);
    assert!(sim.unchoked.contains_key(&2));
    sim.choker.handle_not_interested(2);
    sim.poll();
    assert!(sim.unchoked.contains_key(&3) && sim.unchoked.len() == 1);
}

#[test]
fn nobody_is_choked_while_nobody_waits() {
    let mut sim = Sim::new(Slots::Fixed(8));
    sim.interested(0..8);
    sim.run(7200, |_| 0);
    assert_eq!(sim.log.len(), 8);
}

#[test]
fn slots_are_shared_by_time_not_by_bytes() {
    let mut sim = Sim::new(Slots::Fixed(4));
    sim.interested(0..12);
    // Peer 0 takes a thousandth of what the others take.
    sim.run(4 * 3600, |peer| if peer == 0 { 2048 } else { 2 << 20 });
    let fair = 4 * 3600 * 4 / 12;
    for peer in 0..12 {
        let served = sim.served_seconds(peer);
        assert!(served.abs_diff(fair) < fair / 6, "{peer}: {served} of {fair}");
    }
}

#[test]
fn one_peer_more_than_the_slots_makes_no_flicker() {
    let mut sim = Sim::new(Slots::Fixed(4));
    sim.interested(0..5);
    sim.run(3600, fast);
    // Every ten seconds at the most somebody makes way.
    assert!(sim.log.len() < 2 * 360 + 10, "{}", sim.log.len());
    for peer in 0..5 {
        assert!(sim.served_seconds(peer).abs_diff(3600 * 4 / 5) < 600);
    }
}

#[test]
fn a_peer_that_stalls_loses_its_slot_to_one_that_waits() {
    let mut sim = Sim::new(Slots::Fixed(1));
    sim.interested([1, 2]);
    sim.run(21, |_| 0);
    assert!(sim.unchoked.contains_key(&2), "reclaimed after the stall, long before the quantum");
    let mut sim = Sim::new(Slots::Fixed(1));
    sim.interested([1, 2]);
    sim.run(59, fast);
    assert!(sim.unchoked.contains_key(&1), "progress keeps the slot for its quantum");
    sim.run(2, fast);
    assert!(sim.unchoked.contains_key(&2));
}

#[test]
fn stalled_peers_do_not_keep_slots_from_peers_that_move() {
    let mut sim = Sim::new(Slots::Fixed(4));
    sim.interested(0..20);
    let stalled = |peer: u32| peer < 10;
    sim.run(4 * 3600, |peer| if stalled(peer) { 0 } else { 1 << 20 });
    let of_stalled: u64 = (0..10).map(|peer| sim.served_seconds(peer)).sum();
    let of_moving: u64 = (10..20).map(|peer| sim.served_seconds(peer)).sum();
    assert!(of_stalled * 2 < of_moving, "{of_stalled} against {of_moving}");
}

#[test]
fn a_newcomer_gets_the_optimistic_slot_long_before_its_turn_in_the_queue() {
    let mut sim = Sim::new(Slots::Fixed(2));
    sim.interested(0..40);
    sim.run(3600, fast);
    sim.interested([99]);
    sim.run(35, fast);
    assert!(sim.served_seconds(99) > 0);
}

#[test]
fn fewer_slots_choke_at_once_and_more_slots_unchoke_at_once() {
    let mut sim = Sim::new(Slots::Unlimited);
    sim.interested(0..100);
    for (slots, unchoked) in [
        (Slots::Fixed(10), 10),
        (Slots::Fixed(1), 1),
        (Slots::Fixed(0), 0),
        (Slots::Fixed(3), 3),
        (Slots::Unlimited, 100),
    ] {
        sim.choker.set_slots(slots);
        sim.poll();
        assert_eq!(sim.unchoked.len(), unchoked, "{slots:?}");
        sim.run(100, fast);
        assert_eq!(sim.unchoked.len(), unchoked, "{slots:?}");
    }
}

#[test]
fn a_place_that_is_given_to_another_peer_starts_anew() {
    let mut sim = Sim::new(Slots::Fixed(1));
    sim.interested([1]);
    sim.choker.handle_gone(1);
    sim.choker.handle_interested(1, sim.now);
    sim.unchoked.clear();
    sim.poll();
    assert_eq!(sim.log.len(), 2, "the new peer under the old number is unchoked too");
}

#[test]
fn the_same_seed_and_events_give_the_same_changes() {
    let run = || {
        let mut sim = Sim::new(Slots::Fixed(3));
        sim.interested(0..30);
        for round in 0..50 {
            // Peers are visited in no particular order, but each receives the same.
            sim.run(17, fast);
            sim.gone(round % 30);
            sim.interested([round % 30 + 100]);
        }
        sim.log
    };
    assert_eq!(run(), run());
}

#[test]
fn the_longest_wait_is_what_the_first_of_the_queue_has_waited() {
    let mut sim = Sim::new(Slots::Fixed(1));
    sim.interested([1, 2]);
    sim.run(30, fast);
    assert_eq!(sim.choker.longest_wait(sim.now), Duration::from_secs(30));
    assert_eq!(sim.choker.waiting_count(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Interested(u32),
    NotInterested(u32),
    Gone(u32),
    Slots(usize),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u32..20).prop_map(Event::Interested),
        1 => (0u32..20).prop_map(Event::NotInterested),
        1 => (0u32..20).prop_map(Event::Gone),
        1 => (0usize..8).prop_map(Event::Slots),
        4 => (1u64..50).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_slots_are_neither_exceeded_nor_left_empty(events in prop::collection::vec(any_event(), 1..150)) {
        let mut sim = Sim::new(Slots::Fixed(4));
        let mut slots = 4;
        let mut interested = std::collections::BTreeSet::new();
        for event in events {
            match event {
                Event::Interested(peer) => {
                    interested.insert(peer);
                    sim.interested([peer]);
                }
                Event::NotInterested(peer) => {
                    interested.remove(&peer);
                    sim.choker.handle_not_interested(peer);
                    sim.poll();
                }
                Event::Gone(peer) => {
                    interested.remove(&peer);
                    sim.gone(peer);
                }
                Event::Slots(count) => {
                    slots = count;
                    sim.choker.set_slots(Slots::Fixed(count));
                    sim.poll();
                }
                Event::Pass(seconds) => sim.run(seconds, |peer| if peer % 3 == 0 { 0 } else { 1 << 20 }),
            }
            prop_assert_eq!(sim.unchoked.len(), interested.len().min(slots));
            prop_assert_eq!(sim.choker.waiting_count(), interested.len() - sim.unchoked.len());
            prop_assert!(sim.unchoked.keys().all(|peer| interested.contains(peer)));
        }
    }

    #[test]
    fn nobody_starves_while_peers_come_and_go(seed: u64, slots in 1usize..6) {
        let mut sim = Sim::new(Slots::Fixed(slots));
        sim.choker = Choker::new(Slots::Fixed(slots), seed);
        sim.interested(0..20);
        // Visitors stay for half a minute; the twenty stay.
        for visitor in 100..280 {
            sim.interested([visitor]);
            sim.run(30, fast);
            sim.gone(visitor);
        }
        for peer in 0..20 {
            prop_assert!(sim.served_seconds(peer) > 0, "{} never had a slot", peer);
        }
    }
}
