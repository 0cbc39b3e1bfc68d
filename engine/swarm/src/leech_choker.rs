//! Who may be served while we download: those that give us most, and one at a time that may yet prove itself (BEP 3).
//! Rates come from [`crate::Download`]; what a choke does to a peer's requests is for the session.

use crate::choker::{ChokeChange, Slots};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How often the regular slots are given out anew (BEP 3).
pub const ROUND: Duration = Duration::from_secs(10);

/// How long a peer keeps the optimistic slot (BEP 3).
pub const OPTIMISTIC_ROUND: Duration = Duration::from_secs(30);

/// A peer that we want something of and that has not sent a block for so long is not served but optimistically (BEP 3).
pub const SNUB_TIME: Duration = Duration::from_secs(60);

/// How much likelier a peer that never had a slot gets the optimistic one (BEP 3).
const NEWCOMER_WEIGHT: u64 = 3;

/// What a peer gives us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Giving {
    /// Bytes per second that it sends.
    pub rate: u64,
    /// We want something of it, and it has sent no block for [`SNUB_TIME`].
    pub snubs: bool,
}

/// Hands out slots for the sake of what comes back.
///
/// Every [`ROUND`] the regular slots go to the interested peers that send fastest; a slot that gets free in between goes to the
/// best of those that wait. The optimistic slot goes to any of those that wait for [`OPTIMISTIC_ROUND`].
/// With [`Slots::Unlimited`] everybody that is interested is served, but those that snub us share one optimistic slot.
///
/// It is polled like [`crate::Choker`]: after any `handle_*`, and at [`LeechChoker::next_wakeup`]. Once the torrent is
/// complete, a `Choker` takes over: it is told of all interested peers and polled, and whoever
/// [`LeechChoker::is_unchoked`] here and got no slot there is to be told CHOKE. What a peer sent counts no more then.
#[derive(Debug)]
pub struct LeechChoker<P> {
    slots: Slots,
    peers: Vec<Peer<P>>,
    by_key: HashMap<P, usize>,
    next_round: Duration,
    next_optimistic: Duration,
    /// Something has happened since the last look.
    touched: bool,
    random: u64,
}

#[derive(Debug)]
struct Peer<P> {
    key: P,
    interested: bool,
    seat: Seat,
    /// Never had a slot.
    newcomer: bool,
    /// Whether the last change that was reported to the owner is an unchoke.
    told_unchoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    None,
    Regular,
    Optimistic,
}

impl<P: Copy + Eq + Hash> LeechChoker<P> {
    /// A choker without peers. `seed` decides who gets the optimistic slot.
    pub fn new(slots: Slots, seed: u64) -> LeechChoker<P> {
        LeechChoker {
            slots,
            peers: Vec::new(),
            by_key: HashMap::new(),
            next_round: Duration::ZERO,
            next_optimistic: Duration::ZERO,
            touched: false,
            random: seed,
        }
    }

    /// How many peers may be unchoked at a time.
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// How many peers may be unchoked from the next [`LeechChoker::poll_changes`] on.
    pub fn set_slots(&mut self, slots: Slots) {
        self.slots = slots;
        self.next_round = Duration::ZERO;
        self.touched = true;
    }

    /// The peer is interested, or acts as if it were.
    pub fn handle_interested(&mut self, peer: P) {
        let index = *self.by_key.entry(peer).or_insert(self.peers.len());
        if index == self.peers.len() {
            let newcomer =
                Peer { key: peer, interested: false, seat: Seat::None, newcomer: true, told_unchoked: false };
            self.peers.push(newcomer);
        }
        self.peers[index].interested = true;
        self.touched = true;
    }

    /// The peer lost interest: its slot is free.
    pub fn handle_not_interested(&mut self, peer: P) {
        if let Some(index) = self.by_key.get(&peer) {
            let known = &mut self.peers[*index];
            (known.interested, known.seat) = (false, Seat::None);
            self.touched = true;
        }
    }

    /// The peer is gone: its slot is free. Nothing is reported about it any more.
    pub fn handle_gone(&mut self, peer: P) {
        let Some(index) = self.by_key.remove(&peer) else { return };
        self.peers.swap_remove(index);
        if let Some(moved) = self.peers.get(index) {
            self.by_key.insert(moved.key, index);
        }
        self.touched = true;
    }

    /// Appends to `changes` what peers are to be told now. `giving` tells what a peer gives us.
    pub fn poll_changes(&mut self, now: Duration, giving: impl Fn(P) -> Giving, changes: &mut Vec<ChokeChange<P>>) {
        let is_due = now >= self.next_round || now >= self.next_optimistic;
        if !std::mem::take(&mut self.touched) && !is_due {
            return;
        }
        let is_round = now >= self.next_round;
        self.seat_regulars(is_round, &giving);
        self.seat_optimistic(now);
        if is_round {
            self.next_round = now + ROUND;
        }
        for peer in &mut self.peers {
            let unchoked = peer.seat != Seat::None;
            if unchoked != peer.told_unchoked {
                peer.told_unchoked = unchoked;
                peer.newcomer = false;
                changes.push(if unchoked { ChokeChange::Unchoke(peer.key) } else { ChokeChange::Choke(peer.key) });
            }
        }
    }

    /// When [`LeechChoker::poll_changes`] has something to do even if nothing happens before; zero means at once.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let wanted = self.peers.iter().any(|peer| peer.interested);
        match self.touched {
            true => Some(Duration::ZERO),
            false => wanted.then(|| self.next_round.min(self.next_optimistic)),
        }
    }

    /// Whether the peer holds a slot.
    pub fn is_unchoked(&self, peer: P) -> bool {
        self.by_key.get(&peer).is_some_and(|index| self.peers[*index].told_unchoked)
    }

    /// How many peers hold a slot.
    pub fn unchoked_count(&self) -> usize {
        self.peers.iter().filter(|peer| peer.seat != Seat::None).count()
    }

    /// How many interested peers hold none.
    pub fn waiting_count(&self) -> usize {
        self.peers.iter().filter(|peer| peer.interested && peer.seat == Seat::None).count()
    }

    /// Gives the regular slots to those that send fastest; between rounds only those that are free.
    fn seat_regulars(&mut self, is_round: bool, giving: &impl Fn(P) -> Giving) {
        let ranked = |(index, peer): (usize, &Peer<P>)| {
            let Giving { rate, snubs } = giving(peer.key);
            let keeps = !is_round && peer.seat == Seat::Regular;
            // Who has a slot keeps it among equals, or slots would go round at the start of a swarm, when nobody sends.
            let rank = (keeps, rate, peer.seat != Seat::None);
            (peer.interested && (!snubs || keeps)).then_some((rank, index))
        };
        let mut ranking: Vec<_> = self.peers.iter().enumerate().filter_map(ranked).collect();
        ranking.sort_by(|(a, _), (b, _)| b.cmp(a));
        let seated = self.slots.regular().min(ranking.len());
        for peer in self.peers.iter_mut().filter(|peer| peer.seat == Seat::Regular) {
            peer.seat = Seat::None;
        }
        for (_, index) in &ranking[..seated] {
            self.peers[*index].seat = Seat::Regular;
        }
    }

    /// Gives the optimistic slot to another peer if it is free or its time is up.
    fn seat_optimistic(&mut self, now: Duration) {
        let holder = self.peers.iter().position(|peer| peer.seat == Seat::Optimistic);
        // With unlimited slots it is for those that snub us, lest two that wait for each other do so for ever.
        let exists = self.slots == Slots::Unlimited || self.slots.optimistic() > 0;
        if exists && holder.is_some() && now < self.next_optimistic {
            return;
        }
        let taker = if exists { self.draw() } else { None };
        if let Some(holder) = holder.filter(|_| taker.is_some() || !exists) {
            self.peers[holder].seat = Seat::None;
        }
        if let Some(taker) = taker {
            self.peers[taker].seat = Seat::Optimistic;
        }
        self.next_optimistic = now + OPTIMISTIC_ROUND;
    }

    /// One of those that wait, newcomers likelier than others.
    fn draw(&mut self) -> Option<usize> {
        let random = self.next_random();
        let weight = |peer: &Peer<P>| match peer.interested && peer.seat == Seat::None {
            true => 1 + u64::from(peer.newcomer) * (NEWCOMER_WEIGHT - 1),
            false => 0,
        };
        let sum: u64 = self.peers.iter().map(weight).sum();
        let mut left = random.checked_rem(sum)?;
        self.peers.iter().position(|peer| {
            let weight = weight(peer);
            let hit = left < weight;
            left = left.saturating_sub(weight);
            hit
        })
    }

    /// SplitMix64: plenty for picking a peer.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
