use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

struct Fixture {
    choker: LeechChoker<u32>,
    giving: BTreeMap<u32, Giving>,
    unchoked: BTreeSet<u32>,
    now: Duration,
}

impl Fixture {
    fn new(slots: Slots) -> Fixture {
        Fixture {
            choker: LeechChoker::new(slots, 9),
            giving: BTreeMap::new(),
            unchoked: BTreeSet::new(),
            now: Duration::ZERO,
        }
    }

    fn join(&mut self, peer: u32, rate: u64) {
        self.giving.insert(peer, Giving { rate, snubs: false });
        self.choker.handle_interested(peer);
    }

    fn poll(&mut self) {
        let mut changes = Vec::new();
        let giving = &self.giving;
        self.choker.poll_changes(self.now, |peer| giving.get(&peer).copied().unwrap_or_default(), &mut changes);
        for change in changes {
            match change {
                ChokeChange::Unchoke(peer) => assert!(self.unchoked.insert(peer)),
                ChokeChange::Choke(peer) => assert!(self.unchoked.remove(&peer)),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.poll();
    }
}

#[test]
fn those_that_send_fastest_are_served() {
    let mut fixture = Fixture::new(Slots::Fixed(4));
    (0..10).for_each(|peer| fixture.join(peer, u64::from(peer)));
    fixture.poll();
    assert!(fixture.unchoked.is_superset(&BTreeSet::from([7, 8, 9])));
    assert_eq!(fixture.unchoked.len(), 4);
    fixture.giving.insert(3, Giving { rate: 100, snubs: false });
    fixture.wait(Duration::from_secs(5));
    assert!(fixture.unchoked.contains(&7), "a slot is kept to the end of the round");
    fixture.wait(Duration::from_secs(5));
    assert!(fixture.unchoked.is_superset(&BTreeSet::from([3, 8, 9])));
}

#[test]
fn the_optimistic_slot_goes_round() {
    let mut fixture = Fixture::new(Slots::Fixed(2));
    fixture.join(0, 1_000);
    (1..8).for_each(|peer| fixture.join(peer, 0));
    let mut served = BTreeSet::new();
    for _ in 0..60 {
        fixture.wait(OPTIMISTIC_ROUND);
        assert!(fixture.unchoked.contains(&0) && fixture.unchoked.len() == 2);
        served.extend(fixture.unchoked.iter().copied());
    }
    assert_eq!(served.len(), 8);
}

#[test]
fn newcomers_are_thrice_as_likely() {
    let mut first = 0;
    for seed in 0..400 {
        let mut choker: LeechChoker<u32> = LeechChoker::new(Slots::Fixed(2), seed);
        (0..3).for_each(|peer| choker.handle_interested(peer));
        choker.peers[1].newcomer = false;
        choker.peers[0].seat = Seat::Regular;
        first += u32::from(choker.draw() == Some(2));
    }
    assert!((260..340).contains(&first), "{first} of 400");
}

#[test]
fn a_peer_that_snubs_us_is_served_only_by_chance() {
    for slots in [Slots::Unlimited, Slots::Fixed(4)] {
        let mut fixture = Fixture::new(slots);
        (0..3).for_each(|peer| fixture.join(peer, 10));
        (3..6).for_each(|peer| fixture.join(peer, 0));
        (3..6).for_each(|peer| fixture.giving.get_mut(&peer).unwrap().snubs = true);
        let mut served = BTreeSet::new();
        for _ in 0..40 {
            fixture.wait(OPTIMISTIC_ROUND);
            assert!(fixture.unchoked.is_superset(&BTreeSet::from([0, 1, 2])));
            assert_eq!(fixture.unchoked.len(), 4);
            served.extend(fixture.unchoked.iter().copied());
        }
        assert_eq!(served.len(), 6);
    }
}

#[test]
fn a_slot_that_gets_free_does_not_wait_for_the_round() {
    let mut fixture = Fixture::new(Slots::Fixed(2));
    (0..4).for_each(|peer| fixture.join(peer, u64::from(peer)));
    fixture.poll();
    assert!(fixture.unchoked.contains(&3));
    fixture.choker.handle_gone(3);
    fixture.unchoked.remove(&3);
    fixture.wait(Duration::from_secs(1));
    assert_eq!(fixture.unchoked.len(), 2);
    assert_eq!(fixture.choker.waiting_count(), 1);
}

#[test]
fn a_choker_without_interested_peers_sleeps() {
    let mut choker: LeechChoker<u32> = LeechChoker::new(Slots::Fixed(4), 1);
    assert_eq!(choker.next_wakeup(), None);
    choker.handle_interested(1);
    assert_eq!(choker.next_wakeup(), Some(Duration::ZERO));
    choker.poll_changes(Duration::from_secs(1), |_| Giving::default(), &mut Vec::new());
    assert_eq!(choker.next_wakeup(), Some(Duration::from_secs(1) + ROUND));
    choker.handle_not_interested(1);
    choker.poll_changes(Duration::from_secs(2), |_| Giving::default(), &mut Vec::new());
    assert_eq!(choker.next_wakeup(), None);
}

proptest! {
    #[test]
    fn slots_are_never_more_than_there_are_and_never_empty_while_somebody_waits(
        slots in 0usize..6,
        steps in prop::collection::vec((0u8..6, 0u32..12, 0u64..5, 0u64..20), 1..200),
    ) {
        let mut fixture = Fixture::new(Slots::Fixed(slots));
        let mut interested = BTreeSet::new();
        for (step, peer, rate, wait_s) in steps {
            match step {
                0 | 1 => {
                    fixture.join(peer, rate);
                    interested.insert(peer);
                }
                2 => {
                    fixture.choker.handle_not_interested(peer);
                    interested.remove(&peer);
                }
                3 => {
                    fixture.choker.handle_gone(peer);
                    fixture.unchoked.remove(&peer);
                    interested.remove(&peer);
                }
                _ => fixture.now += Duration::from_secs(wait_s),
            }
            fixture.poll();
            prop_assert!(fixture.unchoked.is_subset(&interested));
            prop_assert_eq!(fixture.unchoked.len(), slots.min(interested.len()));
            prop_assert_eq!(fixture.unchoked.len(), fixture.choker.unchoked_count());
            prop_assert_eq!(interested.len() - fixture.unchoked.len(), fixture.choker.waiting_count());
        }
    }
}
