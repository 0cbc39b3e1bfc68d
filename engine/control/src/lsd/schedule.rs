//! Which swarms are announced when, and whose announces are news. No sockets and no clock: time is an argument.

use hash::InfoHash;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::LSD_INFO_HASHES_LIMIT;

/// How often a swarm is announced (BEP 14); an eighth more or less, so that hosts that started together part.
const INTERVAL: Duration = Duration::from_secs(300);

/// Announces are no closer than this (BEP 14).
const PAUSE: Duration = Duration::from_secs(60);

/// Torrents that are added together, and hosts that have heard the same, share an announce, or do not speak all at once.
const GATHER: Duration = Duration::from_millis(200);

/// Swarms that are announced: what 24 an announce and one a minute get through in about two days.
const SWARMS_LIMIT: usize = 65_536;

/// Peers that are remembered to have been heard, of all swarms together.
const HEARD_LIMIT: usize = 4_096;

/// How long they are remembered: two announces.
const HEARD_TIME: Duration = Duration::from_secs(600);

/// A peer that announces itself is news again after this long.
const NEWS_TIME: Duration = Duration::from_secs(60);

/// Where so many others of a swarm were heard, a newcomer needs no answer of ours.
const ANSWER_LIMIT: usize = 8;

/// What an announce that was heard is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// We take no part in that swarm.
    Unknown,
    /// It was reported less than a minute ago.
    Repeated,
    /// Somebody to connect to.
    News,
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When each is due, and by how many torrents it was added.
    swarms: BTreeMap<InfoHash, (Duration, u32)>,
    by_due: BTreeSet<(Duration, InfoHash)>,
    /// No announce before then.
    not_before: Duration,
    heard: BTreeMap<(InfoHash, SocketAddr), Duration>,
    heard_by_time: BTreeSet<(Duration, InfoHash, SocketAddr)>,
    random: u64,
}

impl Schedule {
    /// `seed` decides the jitter.
    pub(super) fn new(seed: u64) -> Schedule {
        Schedule { random: seed, ..Schedule::default() }
    }

    /// Announces this swarm from now on. False if there are too many.
    pub(super) fn add(&mut self, now: Duration, info_hash: InfoHash) -> bool {
        if let Some((_, count)) = self.swarms.get_mut(&info_hash) {
            *count += 1;
            return true;
        }
        if self.swarms.len() >= SWARMS_LIMIT {
            return false;
        }
        self.swarms.insert(info_hash, (Duration::MAX, 1));
        self.hurry(now, info_hash);
        true
    }

    /// Announces it no longer, once as often as it was added.
    pub(super) fn remove(&mut self, info_hash: InfoHash) {
        let Some((due, count)) = self.swarms.get_mut(&info_hash) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_due.remove(&(*due, info_hash));
            self.swarms.remove(&info_hash);
        }
    }

    /// When there is something to announce.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.by_due.first().map(|(due, _)| self.not_before.max(*due))
    }

    /// What to announce now, which counts as done. Those that come due before the next announce may be made come along.
    pub(super) fn poll(&mut self, now: Duration) -> Option<Vec<InfoHash>> {
        self.next_at().filter(|at| *at <= now)?;
        let due = self.by_due.iter().take_while(|(due, _)| *due <= now + PAUSE).map(|(_, info_hash)| *info_hash);
        let batch: Vec<InfoHash> = due.take(LSD_INFO_HASHES_LIMIT).collect();
        for info_hash in &batch {
            let next = now + self.jittered(INTERVAL);
            self.set_due(*info_hash, next);
        }
        self.not_before = now + PAUSE;
        Some(batch)
    }

    /// Somebody announces itself. A newcomer is answered by an announce of ours: it may be waiting for a seed, which dials nobody.
    pub(super) fn handle_heard(&mut self, now: Duration, info_hash: InfoHash, address: SocketAddr) -> Heard {
        if !self.swarms.contains_key(&info_hash) {
            return Heard::Unknown;
        }
        self.forget_old(now);
        let last = self.heard.get(&(info_hash, address)).copied();
        if last.is_some_and(|last| now.saturating_sub(last) < NEWS_TIME) {
            return Heard::Repeated;
        }
        let first = (info_hash, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let others = self.heard.range(first..).take_while(|((other, _), _)| *other == info_hash).count();
        if last.is_none() && others < ANSWER_LIMIT {
            self.hurry(now, info_hash);
        }
        if let Some(last) = last {
            self.heard_by_time.remove(&(last, info_hash, address));
        }
        self.heard.insert((info_hash, address), now);
        self.heard_by_time.insert((now, info_hash, address));
        Heard::News
    }

    /// It is the first to be announced, as soon as that may be.
    fn hurry(&mut self, now: Duration, info_hash: InfoHash) {
        let wait = self.jittered(GATHER);
        if self.next_at().is_none_or(|at| at > now) {
            self.not_before = self.not_before.max(now + wait);
        }
        self.set_due(info_hash, Duration::ZERO);
    }

    fn set_due(&mut self, info_hash: InfoHash, due: Duration) {
        if let Some((known, _)) = self.swarms.get_mut(&info_hash) {
            self.by_due.remove(&(*known, info_hash));
            *known = due;
            self.by_due.insert((due, info_hash));
        }
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some((time, info_hash, address)) = self.heard_by_time.first().copied() {
            if now.saturating_sub(time) < HEARD_TIME && self.heard.len() < HEARD_LIMIT {
                return;
            }
            self.heard_by_time.pop_first();
            self.heard.remove(&(info_hash, address));
        }
    }

    /// An eighth more or less.
    fn jittered(&mut self, time: Duration) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        time.mul_f64(0.875 + (word >> 40) as f64 / (1u64 << 26) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn swarm(number: u32) -> InfoHash {
        let mut bytes = [7; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        InfoHash(bytes)
    }

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 6881))
    }

    /// Runs the schedule until `until` and gives what it announced, and when.
    fn run(schedule: &mut Schedule, until: Duration) -> Vec<(Duration, Vec<InfoHash>)> {
        let mut announces = Vec::new();
        while let Some(at) = schedule.next_at().filter(|at| *at <= until) {
            announces.push((at, schedule.poll(at).unwrap()));
        }
        announces
    }

    #[test]
    fn a_swarm_is_announced_at_once_and_then_every_five_minutes() {
        let mut schedule = Schedule::new(1);
        assert_eq!(schedule.next_at(), None);
        assert!(schedule.add(SECOND, swarm(1)) && schedule.add(SECOND, swarm(2)));
        let times: Vec<Duration> = run(&mut schedule, 3600 * SECOND).into_iter().map(|(at, _)| at).collect();
        assert!(times[0] > SECOND && times[0] < 2 * SECOND);
        assert!((10..=16).contains(&times.len()), "{times:?}");
        assert!(times.is_sorted_by(|a, b| *a + PAUSE <= *b));
    }

    #[test]
    fn thousands_of_swarms_take_turns_by_one_announce_a_minute() {
        let mut schedule = Schedule::new(1);
        assert!((0..1000).all(|number| schedule.add(SECOND, swarm(number))));
        let announces = run(&mut schedule, 3600 * SECOND);
        assert!((59..=61).contains(&announces.len()));
        assert!(announces.iter().all(|(_, batch)| batch.len() == LSD_INFO_HASHES_LIMIT));
        let each: BTreeSet<InfoHash> = announces.iter().take(42).flat_map(|(_, batch)| batch.clone()).collect();
        assert_eq!(each.len(), 1000, "everybody's turn comes");
        // Another one does not wait for all of them.
        schedule.add(3600 * SECOND, swarm(5000));
        assert_eq!(run(&mut schedule, 3661 * SECOND)[0].1[0], swarm(5000));
    }

    #[test]
    fn a_swarm_that_two_torrents_share_is_announced_until_both_are_gone() {
        let mut schedule = Schedule::new(1);
        schedule.add(SECOND, swarm(1));
        schedule.add(SECOND, swarm(1));
        schedule.remove(swarm(1));
        assert!(schedule.next_at().is_some());
        schedule.remove(swarm(1));
        schedule.remove(swarm(1));
        assert_eq!(schedule.next_at(), None);
    }

    #[test]
    fn there_is_a_limit_to_swarms() {
        let mut schedule = Schedule::new(1);
        assert!((0..SWARMS_LIMIT as u32).all(|number| schedule.add(SECOND, swarm(number))));
        assert!(!schedule.add(SECOND, swarm(SWARMS_LIMIT as u32)));
        assert!(schedule.add(SECOND, swarm(0)), "known already");
    }

    #[test]
    fn a_newcomer_is_answered_and_the_answer_is_not_answered() {
        let (mut ours, mut theirs) = (Schedule::new(1), Schedule::new(2));
        ours.add(SECOND, swarm(1));
        run(&mut ours, 120 * SECOND);
        let now = 120 * SECOND;
        theirs.add(now, swarm(1));
        let (said, _) = run(&mut theirs, now + SECOND)[0];
        assert_eq!(ours.handle_heard(said, swarm(1), peer(2)), Heard::News);
        let (answered, _) = run(&mut ours, said + SECOND)[0];
        assert_eq!(theirs.handle_heard(answered, swarm(1), peer(1)), Heard::News);
        // Theirs is due again in a minute, since it does not know that its own was heard; then there is peace.
        let (again, _) = run(&mut theirs, answered + 61 * SECOND)[0];
        assert_eq!(ours.handle_heard(again, swarm(1), peer(2)), Heard::News);
        assert!(run(&mut ours, again + 61 * SECOND).is_empty());
        assert!(run(&mut theirs, again + 61 * SECOND).is_empty());
    }

    #[test]
    fn in_a_crowd_a_newcomer_has_answers_enough() {
        let mut schedule = Schedule::new(1);
        schedule.add(SECOND, swarm(1));
        run(&mut schedule, 60 * SECOND);
        for number in 0..20 {
            schedule.handle_heard((61 + number) * SECOND, swarm(1), peer(number));
        }
        assert_eq!(run(&mut schedule, 82 * SECOND).len(), 1);
    }

    #[test]
    fn only_news_of_our_swarms_is_reported() {
        let mut schedule = Schedule::new(1);
        schedule.add(SECOND, swarm(1));
        assert_eq!(schedule.handle_heard(SECOND, swarm(2), peer(1)), Heard::Unknown);
        assert_eq!(schedule.handle_heard(SECOND, swarm(1), peer(1)), Heard::News);
        assert_eq!(schedule.handle_heard(60 * SECOND, swarm(1), peer(1)), Heard::Repeated);
        assert_eq!(schedule.handle_heard(61 * SECOND, swarm(1), peer(1)), Heard::News);
    }

    #[test]
    fn a_flood_of_peers_is_forgotten_again() {
        let mut schedule = Schedule::new(1);
        schedule.add(SECOND, swarm(1));
        for number in 0..2 * HEARD_LIMIT as u32 {
            schedule.handle_heard(SECOND, swarm(1), peer(number));
        }
        assert!(schedule.heard.len() <= HEARD_LIMIT && schedule.heard.len() == schedule.heard_by_time.len());
        schedule.handle_heard(SECOND + HEARD_TIME, swarm(1), peer(1));
        assert_eq!((schedule.heard.len(), schedule.heard_by_time.len()), (1, 1));
    }
}
