//! Metadata from peers (BEP 9) for who comes by a magnet link: whom to ask for which piece of `info`, and whether what
//! came is true. Connections are the caller's, and so is the time.
//!
//! At first all peers that name the most frequent size bring one copy together, while some of those that name another
//! size bring copies of their own. If the shared copy is wrong, nobody knows who lied, so from then on each peer brings a
//! whole copy, a few peers at a time: a wrong one proves its peer a liar. Sizes are not believed either, they only decide
//! who works with whom; a liar costs time, and cannot block an honest peer for ever.

mod assembly;
mod hashes;

use std::collections::BTreeMap;
use std::time::Duration;

use wire::MetadataMessage;

use crate::sources::{SOURCES_LIMIT, Source, SourceFault};
use assembly::Assembly;
pub use hashes::MetadataHashes;
use hashes::Verdict;

/// The largest `info` that is fetched: 32 MiB. libtorrent's cap is near there, and a torrent of more would be beyond most
/// clients.
pub const METADATA_LIMIT_BYTES: u32 = 32 << 20;

/// Requests under way at one peer: at first so few that it can hold up little, and one more for each good answer.
/// Transmission takes three seconds for an answer, however many are due, and holds 64.
const OUTSTANDING_FIRST: usize = 4;
const OUTSTANDING_LIMIT: usize = 32;

/// Whole copies that single peers bring at a time. With the shared one they bound what is held.
const SOLO_LIMIT: usize = 4;

/// How long a peer that brings a whole copy keeps its place while others wait: this, and the time that the size takes at
/// the slowest rate that is waited for.
const SOLO_TIME: Duration = Duration::from_secs(10);
const SOLO_BYTES_PER_S: u32 = 32 * 1024;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataAction<P> {
    /// Ask the peer for a metadata piece.
    Ask {
        /// Whom.
        peer: P,
        /// Counts metadata pieces.
        piece: u32,
    },
    /// The peer lies or floods; it is forgotten here already.
    Ban {
        /// Whom.
        peer: P,
        /// What it did.
        fault: SourceFault,
    },
    /// The metadata, checked. Nothing follows.
    Complete(Vec<u8>),
    /// One hash of the magnet link fits and the other does not: the link is wrong, whoever is asked. Nothing follows.
    HashesDisagree,
}

/// How far the fetching is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataProgress {
    /// Peers that have metadata, as they say.
    pub peer_count: usize,
    /// The size of the copy that is furthest, as peers say.
    pub size_bytes: Option<u32>,
    /// How much of it is here, unchecked.
    pub got_bytes: u32,
    /// Peers that named a size of zero or beyond the limit.
    pub bad_sizes: u64,
    /// Copies that turned out to be wrong.
    pub wrong_copies: u64,
}

/// The fetching of one torrent's `info`. `P` names a peer.
#[derive(Debug)]
pub struct MetadataFetch<P> {
    hashes: MetadataHashes,
    limit_bytes: u32,
    peers: BTreeMap<P, Peer<P>>,
    /// What the peers of its size bring together.
    shared: Option<Assembly<P>>,
    /// A copy of several peers was wrong: each brings its own now.
    distrusts: bool,
    /// Numbers the peers in the order in which they began to wait.
    next_turn: u64,
    solos_begun: usize,
    bad_sizes: u64,
    wrong_copies: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Peer<P> {
    source: Source,
    /// What it says that `info` measures.
    size: u32,
    solo: Option<Solo<P>>,
    /// Since when it waits to bring a whole copy.
    turn: u64,
    /// How often it has had its chance.
    turns_taken: u32,
}

#[derive(Debug)]
struct Solo<P> {
    copy: Assembly<P>,
    ends_at: Duration,
}

impl<P: Copy + Ord> MetadataFetch<P> {
    /// Nobody is known yet. No `info` above `limit_bytes` is asked for.
    pub fn new(hashes: MetadataHashes, limit_bytes: u32) -> MetadataFetch<P> {
        MetadataFetch {
            hashes,
            limit_bytes: limit_bytes.min(METADATA_LIMIT_BYTES),
            peers: BTreeMap::new(),
            shared: None,
            distrusts: false,
            next_turn: 0,
            solos_begun: 0,
            bad_sizes: 0,
            wrong_copies: 0,
            is_over: false,
        }
    }

    /// The peer has metadata of `size` bytes, as it says; what it says later of the size is not heard. False if it cannot
    /// be asked: the size is impossible, or there are too many peers.
    pub fn handle_joined(&mut self, now: Duration, peer: P, size: u32, out: &mut Vec<MetadataAction<P>>) -> bool {
        if self.peers.contains_key(&peer) {
            return true;
        }
        if self.is_over {
            return false;
        }
        if size == 0 || size > self.limit_bytes {
            self.bad_sizes += 1;
            return false;
        }
        if self.peers.len() >= SOURCES_LIMIT {
            return false;
        }
        let turn = self.take_turn();
        self.peers.insert(peer, Peer { source: Source::default(), size, solo: None, turn, turns_taken: 0 });
        self.assign(now, out);
        true
    }

    /// The peer is gone.
    pub fn handle_left(&mut self, now: Duration, peer: P, out: &mut Vec<MetadataAction<P>>) {
        self.forget(peer);
        self.assign(now, out);
    }

    /// The peer sent a `ut_metadata` message. Requests are the caller's to refuse.
    pub fn handle_message(
        &mut self,
        now: Duration,
        peer: P,
        message: &MetadataMessage<'_>,
        out: &mut Vec<MetadataAction<P>>,
    ) {
        match *message {
            // What the message says of the size is not looked at: I2PSnark puts the piece's there.
            MetadataMessage::Data { piece, data, .. } => self.handle_data(now, peer, piece, data, out),
            MetadataMessage::Reject { piece } => self.handle_reject(now, peer, piece, out),
            MetadataMessage::Request { .. } => {}
        }
    }

    /// Time has passed: to be called a few times a second.
    pub fn handle_tick(&mut self, now: Duration, out: &mut Vec<MetadataAction<P>>) {
        for peer in self.peers.values_mut() {
            let copy = copy_of(&mut peer.solo, &mut self.shared, peer.size);
            let overdue = peer.source.take_overdue(now);
            if let Some(copy) = copy {
                overdue.into_iter().for_each(|piece| copy.release(piece));
            }
        }
        self.assign(now, out);
    }

    /// How far it is.
    pub fn progress(&self) -> MetadataProgress {
        let solos = self.peers.values().filter_map(|peer| peer.solo.as_ref().map(|solo| &solo.copy));
        let furthest = solos.chain(&self.shared).max_by_key(|copy| copy.got_bytes());
        MetadataProgress {
            peer_count: self.peers.len(),
            size_bytes: furthest.map(Assembly::size),
            got_bytes: furthest.map_or(0, Assembly::got_bytes),
            bad_sizes: self.bad_sizes,
            wrong_copies: self.wrong_copies,
        }
    }

    fn handle_data(&mut self, now: Duration, key: P, piece: u32, data: &[u8], out: &mut Vec<MetadataAction<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let was_asked = peer.source.settle(piece);
        let copy = copy_of(&mut peer.solo, &mut self.shared, peer.size);
        let fits = copy.as_ref().is_some_and(|copy| copy.piece_size(piece) == Some(data.len()));
        if was_asked && !fits {
            return self.ban(now, key, SourceFault::WrongLength, out);
        }
        // A late answer is as good as one in time.
        let is_complete = match copy.filter(|_| fits) {
            Some(copy) => copy.take(piece, data, key).then(|| copy.is_complete()),
            None => None,
        };
        match is_complete {
            Some(_) => peer.source.praise(),
            None => {
                if let Err(fault) = peer.source.waste() {
                    return self.ban(now, key, fault, out);
                }
            }
        }
        if is_complete == Some(true) { self.judge(now, key, out) } else { self.fill(now, key, out) }
    }

    fn handle_reject(&mut self, now: Duration, key: P, piece: u32, out: &mut Vec<MetadataAction<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.source.settle(piece) {
            peer.source.strike(now);
            if let Some(copy) = copy_of(&mut peer.solo, &mut self.shared, peer.size) {
                copy.release(piece);
            }
            self.assign(now, out);
        } else if let Err(fault) = peer.source.waste() {
            self.ban(now, key, fault, out);
        }
    }

    /// The copy that `key` works on has all its pieces: is it the one?
    fn judge(&mut self, now: Duration, key: P, out: &mut Vec<MetadataAction<P>>) {
        let solo = self.peers.get_mut(&key).and_then(|peer| peer.solo.take());
        let Some(copy) = solo.map(|solo| solo.copy).or_else(|| self.take_shared()) else { return };
        let (contributors, info) = copy.into_parts();
        let action = match self.hashes.judge(&info) {
            Verdict::Right => MetadataAction::Complete(info),
            Verdict::Disagree => MetadataAction::HashesDisagree,
            Verdict::Wrong => {
                self.wrong_copies += 1;
                return self.blame(now, &contributors, out);
            }
        };
        self.is_over = true;
        self.peers.clear();
        out.push(action);
    }

    /// Ends the shared copy; what is still under way belonged to it.
    fn take_shared(&mut self) -> Option<Assembly<P>> {
        self.peers.values_mut().filter(|peer| peer.solo.is_none()).for_each(|peer| peer.source.forget_asked());
        self.shared.take()
    }

    fn blame(&mut self, now: Duration, contributors: &[P], out: &mut Vec<MetadataAction<P>>) {
        match contributors {
            [liar] => self.ban(now, *liar, SourceFault::WrongCopy, out),
            _ => {
                self.distrusts = true;
                self.assign(now, out);
            }
        }
    }

    fn ban(&mut self, now: Duration, peer: P, fault: SourceFault, out: &mut Vec<MetadataAction<P>>) {
        self.forget(peer);
        out.push(MetadataAction::Ban { peer, fault });
        self.assign(now, out);
    }

    /// Others may be asked at once for what this peer was asked for.
    fn forget(&mut self, peer: P) {
        let Some(mut gone) = self.peers.remove(&peer) else { return };
        if let Some(copy) = copy_of(&mut gone.solo, &mut self.shared, gone.size) {
            gone.source.asked().for_each(|(piece, _)| copy.release(piece));
        }
    }

    /// Decides who works on what, and asks.
    fn assign(&mut self, now: Duration, out: &mut Vec<MetadataAction<P>>) {
        if self.is_over {
            return;
        }
        self.choose_shared();
        self.end_solos(now);
        self.begin_solos(now);
        // Those that answer come first, so that silent ones do not hold what is asked for a second time.
        let mut order: Vec<(u32, P)> = self.peers.iter().map(|(key, peer)| (peer.source.strikes(), *key)).collect();
        order.sort_unstable();
        for (_, key) in order {
            self.fill(now, key, out);
        }
    }

    /// The size of the shared copy is the one that most name. It stays while somebody names it, or nobody another one.
    fn choose_shared(&mut self) {
        let mut votes = BTreeMap::<u32, (usize, u64)>::new();
        for peer in self.peers.values().filter(|peer| peer.solo.is_none()) {
            let (count, first) = votes.entry(peer.size).or_insert((0, u64::MAX));
            *count += 1;
            *first = peer.turn.min(*first);
        }
        if self.distrusts || votes.is_empty() {
            return;
        }
        if self.shared.as_ref().is_some_and(|shared| votes.contains_key(&shared.size())) {
            return;
        }
        let most = votes.iter().max_by_key(|(_, (count, first))| (*count, std::cmp::Reverse(*first)));
        self.shared = most.map(|(size, _)| Assembly::new(*size));
    }

    /// Whether the peer is to bring a whole copy when its turn comes.
    fn waits(&self, now: Duration, peer: &Peer<P>) -> bool {
        let shares = self.shared.as_ref().is_some_and(|shared| shared.size() == peer.size);
        peer.solo.is_none() && !shares && !peer.source.is_paused(now)
    }

    fn end_solos(&mut self, now: Duration) {
        if !self.peers.values().any(|peer| self.waits(now, peer)) {
            return;
        }
        for peer in self.peers.values_mut() {
            if peer.solo.as_ref().is_some_and(|solo| solo.ends_at <= now) {
                peer.solo = None;
                peer.source.forget_asked();
                peer.turns_taken += 1;
                peer.turn = self.next_turn;
                self.next_turn += 1;
            }
        }
    }

    fn begin_solos(&mut self, now: Duration) {
        let mut running = self.peers.values().filter(|peer| peer.solo.is_some()).count();
        while running < SOLO_LIMIT {
            // One in four is the one that has waited longest, whatever comes in between; the others are those from whom a
            // verdict is to be had soonest.
            let is_fair = self.solos_begun.is_multiple_of(SOLO_LIMIT);
            let rank =
                |peer: &Peer<P>| if is_fair { (0, 0, peer.turn) } else { (peer.turns_taken, peer.size, peer.turn) };
            let waiting = self.peers.iter().filter(|(_, peer)| self.waits(now, peer));
            let Some(key) = waiting.min_by_key(|(_, peer)| rank(peer)).map(|(key, _)| *key) else { return };
            let Some(peer) = self.peers.get_mut(&key) else { return };
            let ends_at = now + SOLO_TIME + Duration::from_secs(u64::from(peer.size / SOLO_BYTES_PER_S));
            peer.source.forget_asked();
            peer.solo = Some(Solo { copy: Assembly::new(peer.size), ends_at });
            self.solos_begun += 1;
            running += 1;
        }
    }

    /// Asks the peer for as much as it may be asked for.
    fn fill(&mut self, now: Duration, key: P, out: &mut Vec<MetadataAction<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(copy) = copy_of(&mut peer.solo, &mut self.shared, peer.size) else { return };
        let limit = OUTSTANDING_LIMIT.min(OUTSTANDING_FIRST + peer.source.streak() as usize);
        while peer.source.has_room(now, limit) {
            let Some(piece) = copy.next_to_ask(now, &peer.source) else { return };
            copy.note_asked(now, piece);
            peer.source.ask(now, piece);
            out.push(MetadataAction::Ask { peer: key, piece });
        }
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn - 1
    }
}

/// The copy that a peer works on.
fn copy_of<'a, P>(
    solo: &'a mut Option<Solo<P>>,
    shared: &'a mut Option<Assembly<P>>,
    size: u32,
) -> Option<&'a mut Assembly<P>>
where
    P: Copy + Ord,
{
    match solo {
        Some(solo) => Some(&mut solo.copy),
        None => shared.as_mut().filter(|shared| shared.size() == size),
    }
}

#[cfg(test)]
mod tests;
