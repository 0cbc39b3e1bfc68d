//! Who may be served: every interested peer, or so many at a time, each for its share of time. Sharing by bytes
//! would leave the slots to the slowest peers. What a choke does to a peer's requests is for the session.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// How long a peer may keep a regular slot while others wait.
pub const QUANTUM: Duration = Duration::from_secs(60);

/// How long a peer keeps the optimistic slot while others wait.
pub const OPTIMISTIC_QUANTUM: Duration = Duration::from_secs(30);

/// A slot whose peer moved less than [`LEAST_PROGRESS_BYTES`] in this time goes to a peer that waits. Many
/// clients never say that they lost interest, so messages cannot be relied on.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// One block in [`STALL_TIMEOUT`] is progress.
pub const LEAST_PROGRESS_BYTES: u64 = 16 * 1024;

/// A peer that was choked waits at least this long before it displaces another: the customary choking round (BEP 3).
pub const LEAST_CHOKED_TIME: Duration = Duration::from_secs(10);

/// How soon to look again when slots are spent and nobody may take them yet.
const RECHECK: Duration = Duration::from_secs(1);

/// How many peers may be unchoked at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// All that are interested: the default of a seed.
    Unlimited,
    /// So many. From two on, one of them is optimistic.
    Fixed(usize),
}

impl Slots {
    pub(crate) fn regular(self) -> usize {
        match self {
            Slots::Unlimited => usize::MAX,
            Slots::Fixed(count) => count - self.optimistic(),
        }
    }

    pub(crate) fn optimistic(self) -> usize {
        usize::from(matches!(self, Slots::Fixed(2..)))
    }
}

/// What to tell a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChokeChange<P> {
    /// Send CHOKE.
    Choke(P),
    /// Send UNCHOKE.
    Unchoke(P),
}

/// Hands out slots.
///
/// With fixed slots, a peer that waits gets the next free regular slot, longest wait first, and keeps it for
/// [`QUANTUM`], or for longer while nobody waits; then it goes to the end of the queue. The optimistic slot goes for
/// [`OPTIMISTIC_QUANTUM`] to a random peer that was never unchoked yet or, without one, to any that waits; that peer
/// keeps its place in the queue. So nobody starves: places in the queue only ever move forward.
///
/// After any `handle_*`, and at [`Choker::next_wakeup`], the owner calls [`Choker::poll_changes`].
#[derive(Debug)]
pub struct Choker<P> {
    slots: Slots,
    peers: HashMap<P, Peer>,
    /// Interested peers without a slot, by their place in the queue.
    waiting: BTreeMap<u64, P>,
    /// Those of `waiting` that were never unchoked.
    newcomers: BTreeMap<u64, P>,
    /// Invariant: `Seat::Regular(n)` of a peer names its own entry here.
    regular: Vec<Holder<P>>,
    optimistic: Option<Holder<P>>,
    /// Peers that may have to be told something.
    touched: Vec<P>,
    next_place: u64,
    wakeup: Option<Duration>,
    random: u64,
}

/// What is known of one peer.
#[derive(Debug)]
struct Peer {
    seat: Seat,
    /// Place in the queue, kept while the peer waits or sits in the optimistic slot.
    place: u64,
    /// Since when the peer is without a slot.
    waiting_since: Duration,
    /// Never had a slot.
    newcomer: bool,
    /// Whether the last change that was reported to the owner is an unchoke.
    told_unchoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Not interested.
    Idle,
    Waiting,
    /// The index in `Choker::regular`.
    Regular(usize),
    Optimistic,
}

/// A peer in a slot, and what it did there.
#[derive(Debug)]
struct Holder<P> {
    peer: P,
    since: Duration,
    /// Progress is measured in windows of [`STALL_TIMEOUT`].
    window_start: Duration,
    window_bytes: u64,
}

impl<P: Copy + Eq + Hash> Choker<P> {
    /// A choker without peers. `seed` decides who gets the optimistic slot.
    pub fn new(slots: Slots, seed: u64) -> Choker<P> {
        Choker {
            slots,
            peers: HashMap::new(),
            waiting: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            regular: Vec::new(),
            optimistic: None,
            touched: Vec::new(),
            next_place: 0,
            wakeup: None,
            random: seed,
        }
    }

    /// How many peers may be unchoked at a time.
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// How many peers may be unchoked from the next [`Choker::poll_changes`] on.
    pub fn set_slots(&mut self, slots: Slots) {
        self.slots = slots;
        self.wakeup = Some(Duration::ZERO);
    }

    /// The peer is interested, or acts as if it were.
    pub fn handle_interested(&mut self, peer: P, now: Duration) {
        let newcomer = Peer { seat: Seat::Idle, place: 0, waiting_since: now, newcomer: true, told_unchoked: false };
        if self.peers.entry(peer).or_insert(newcomer).seat == Seat::Idle {
            self.enqueue_last(peer, now);
        }
    }

    /// The peer lost interest: its slot is free.
    pub fn handle_not_interested(&mut self, peer: P) {
        self.unseat(peer);
    }

    /// The peer is gone: its slot is free. Nothing is reported about it any more.
    pub fn handle_gone(&mut self, peer: P) {
        self.unseat(peer);
        self.peers.remove(&peer);
    }

    /// So many bytes of blocks reached the peer.
    #[inline]
    pub fn handle_progress(&mut self, peer: P, bytes: u64) {
        if self.slots == Slots::Unlimited {
            return;
        }
        let holder = match self.peers.get(&peer).map(|known| known.seat) {
            Some(Seat::Regular(index)) => self.regular.get_mut(index),
            Some(Seat::Optimistic) => self.optimistic.as_mut(),
            _ => None,
        };
        if let Some(holder) = holder {
            holder.window_bytes += bytes;
        }
    }

    /// Appends to `changes` what peers are to be told now. Free slots are filled, spent ones passed on.
    pub fn poll_changes(&mut self, now: Duration, changes: &mut Vec<ChokeChange<P>>) {
        if self.wakeup.is_some_and(|due| due <= now) {
            self.trim(now);
            self.fill(now);
            self.rotate_optimistic(now);
            self.rotate_regular(now);
            self.wakeup = self.next_rotation(now);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for peer in touched.drain(..) {
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            let unchoked = matches!(known.seat, Seat::Regular(_) | Seat::Optimistic);
            if unchoked != known.told_unchoked {
                known.told_unchoked = unchoked;
                changes.push(if unchoked { ChokeChange::Unchoke(peer) } else { ChokeChange::Choke(peer) });
            }
        }
        self.touched = touched;
    }

    /// When [`Choker::poll_changes`] has something to do even if nothing happens before; zero means at once.
    pub fn next_wakeup(&self) -> Option<Duration> {
        if self.touched.is_empty() { self.wakeup } else { Some(Duration::ZERO) }
    }

    /// How many peers hold a slot.
    pub fn unchoked_count(&self) -> usize {
        self.regular.len() + usize::from(self.optimistic.is_some())
    }

    /// How many interested peers hold none.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// How long the first of the queue has been waiting.
    pub fn longest_wait(&self, now: Duration) -> Duration {
        let first = self.waiting.values().next().and_then(|peer| self.peers.get(peer));
        first.map_or(Duration::ZERO, |peer| now.saturating_sub(peer.waiting_since))
    }
}

/// What `poll_changes` does, in its order.
impl<P: Copy + Eq + Hash> Choker<P> {
    /// Takes slots back that no longer exist, those held longest first.
    fn trim(&mut self, now: Duration) {
        if self.slots.optimistic() == 0
            && let Some(holder) = self.optimistic.take()
        {
            self.enqueue_again(holder.peer, now);
        }
        let excess = self.regular.len().saturating_sub(self.slots.regular());
        if excess > 0 {
            let mut by_age: Vec<(Duration, P)> =
                self.regular.iter().map(|holder| (holder.since, holder.peer)).collect();
            by_age.sort_by_key(|(since, _)| *since);
            for (_, peer) in by_age.into_iter().take(excess) {
                self.unseat(peer);
                self.enqueue_last(peer, now);
            }
        }
    }

    fn fill(&mut self, now: Duration) {
        while self.regular.len() < self.slots.regular()
            && let Some((_, peer)) = self.waiting.first_key_value()
        {
            self.seat_regular(*peer, now);
        }
        if self.optimistic.is_none() && self.slots.optimistic() > 0 {
            self.seat_optimistic(now);
        }
    }

    fn rotate_optimistic(&mut self, now: Duration) {
        let Some(holder) = self.optimistic.as_mut() else { return };
        let spent = now.saturating_sub(holder.since) >= OPTIMISTIC_QUANTUM;
        if (holder.has_stalled(now) || spent) && !self.waiting.is_empty() {
            let before = self.optimistic.take();
            self.seat_optimistic(now);
            if let Some(before) = before {
                self.enqueue_again(before.peer, now);
            }
        }
    }

    /// Passes on the regular slots that are spent, the one held longest first, as far as there are takers.
    fn rotate_regular(&mut self, now: Duration) {
        let mut spent: Vec<(Duration, P)> = Vec::new();
        for holder in &mut self.regular {
            if holder.has_stalled(now) || now.saturating_sub(holder.since) >= QUANTUM {
                spent.push((holder.since, holder.peer));
            }
        }
        spent.sort_by_key(|(since, _)| *since);
        let takers: Vec<P> =
            self.waiting.values().copied().filter(|peer| self.may_displace(*peer, now)).take(spent.len()).collect();
        for ((_, holder), taker) in spent.into_iter().zip(takers) {
            self.unseat(holder);
            self.enqueue_last(holder, now);
            self.seat_regular(taker, now);
        }
    }

    /// Without this, peers that are hardly more than the slots would displace each other in every call.
    fn may_displace(&self, peer: P, now: Duration) -> bool {
        let rested = |peer: &Peer| peer.newcomer || now.saturating_sub(peer.waiting_since) >= LEAST_CHOKED_TIME;
        self.peers.get(&peer).is_some_and(rested)
    }

    /// When the first slot is spent, if anybody waits for one.
    fn next_rotation(&self, now: Duration) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let due = |holder: &Holder<P>, quantum| (holder.since + quantum).min(holder.window_start + STALL_TIMEOUT);
        let regular = self.regular.iter().map(|holder| due(holder, QUANTUM)).min();
        let optimistic = self.optimistic.as_ref().map(|holder| due(holder, OPTIMISTIC_QUANTUM));
        regular.into_iter().chain(optimistic).min().map(|due| due.max(now + RECHECK))
    }
}

/// Moves between seats.
impl<P: Copy + Eq + Hash> Choker<P> {
    /// To the end of the queue.
    fn enqueue_last(&mut self, peer: P, now: Duration) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.place = self.next_place;
        self.next_place += 1;
        self.enqueue_again(peer, now);
    }

    /// To the place in the queue that the peer still has.
    fn enqueue_again(&mut self, peer: P, now: Duration) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.seat = Seat::Waiting;
        known.waiting_since = now;
        self.waiting.insert(known.place, peer);
        if known.newcomer {
            self.newcomers.insert(known.place, peer);
        }
        self.touch(peer);
    }

    /// From wherever the peer is to nowhere.
    fn unseat(&mut self, peer: P) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        match std::mem::replace(&mut known.seat, Seat::Idle) {
            Seat::Idle => return,
            Seat::Waiting => {
                self.waiting.remove(&known.place);
                self.newcomers.remove(&known.place);
            }
            Seat::Optimistic => self.optimistic = None,
            Seat::Regular(index) => {
                self.regular.swap_remove(index);
                let moved = self.regular.get(index).map(|holder| holder.peer);
                if let Some(moved) = moved.and_then(|peer| self.peers.get_mut(&peer)) {
                    moved.seat = Seat::Regular(index);
                }
            }
        }
        self.touch(peer);
    }

    /// Gives a regular slot to a peer that waits.
    fn seat_regular(&mut self, peer: P, now: Duration) {
        self.leave_queue(peer, Seat::Regular(self.regular.len()));
        self.regular.push(Holder::new(peer, now));
    }

    /// Gives the optimistic slot to a newcomer or, without one, to anybody who waits.
    fn seat_optimistic(&mut self, now: Duration) {
        let random = self.next_random();
        let pool = if self.newcomers.is_empty() { &self.waiting } else { &self.newcomers };
        let Some(peer) = pick(pool, random) else { return };
        self.leave_queue(peer, Seat::Optimistic);
        self.optimistic = Some(Holder::new(peer, now));
    }

    fn leave_queue(&mut self, peer: P, seat: Seat) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.seat = seat;
        known.newcomer = false;
        self.waiting.remove(&known.place);
        self.newcomers.remove(&known.place);
        self.touch(peer);
    }

    fn touch(&mut self, peer: P) {
        self.touched.push(peer);
        self.wakeup = Some(Duration::ZERO);
    }

    /// SplitMix64: plenty for picking a peer.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl<P> Holder<P> {
    fn new(peer: P, now: Duration) -> Holder<P> {
        Holder { peer, since: now, window_start: now, window_bytes: 0 }
    }

    /// Whether a whole window passed without progress. One with progress begins the next.
    fn has_stalled(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.window_start) < STALL_TIMEOUT {
            return false;
        }
        if self.window_bytes < LEAST_PROGRESS_BYTES {
            return true;
        }
        (self.window_start, self.window_bytes) = (now, 0);
        false
    }
}

/// The first entry at or after a random place between the first and the last. Peers behind gaps are likelier,
/// which over time evens out, since places are given by arrival.
fn pick<P: Copy>(pool: &BTreeMap<u64, P>, random: u64) -> Option<P> {
    let (first, last) = (*pool.first_key_value()?.0, *pool.last_key_value()?.0);
    pool.range(first + random % (last - first + 1)..).next().map(|(_, peer)| *peer)
}

#[cfg(test)]
mod tests;
