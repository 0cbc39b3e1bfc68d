//! How many answers one host and all together may have. A table of fixed size holds the hosts, so that a flood of forged
//! addresses finds nothing to fill.

use std::net::IpAddr;

use crate::Millis;
use crate::address::host;

/// Hosts share this many allowances; which one is a keyed hash, so that nobody can choose whose they use up.
const SLOTS: usize = 4_096;
/// An allowance is saved up for so many seconds.
const BURST_S: u32 = 4;

/// Counts answers against two rates.
pub(crate) struct AnswerLimit {
    secret: [u8; 16],
    per_host_per_s: u32,
    hosts: Vec<Allowance>,
    total_per_s: u32,
    total: Allowance,
}

/// Thousandths of an answer that may still be given, as of a time.
#[derive(Clone, Copy)]
struct Allowance {
    left_thousandths: u64,
    since: Millis,
}

impl AnswerLimit {
    pub(crate) fn new(now: Millis, secret: [u8; 16], per_host_per_s: u32, total_per_s: u32) -> AnswerLimit {
        let full = |rate: u32| Allowance { left_thousandths: cap(rate), since: now };
        AnswerLimit {
            secret,
            per_host_per_s,
            hosts: vec![full(per_host_per_s); SLOTS],
            total_per_s,
            total: full(total_per_s),
        }
    }

    /// Whether `ip` may be answered now; if so the answer is counted.
    pub(crate) fn take(&mut self, now: Millis, ip: IpAddr) -> bool {
        let slot = self.slot(ip);
        let (Some(host), total) = (self.hosts.get_mut(slot), &mut self.total) else { return false };
        // Who is over their own rate uses up nothing of what is for all.
        host.take(now, self.per_host_per_s) && total.take(now, self.total_per_s)
    }

    fn slot(&self, ip: IpAddr) -> usize {
        let mut message = [0; 32];
        message[..16].copy_from_slice(&self.secret);
        match host(ip) {
            IpAddr::V4(ip) => message[16..20].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => message[16..].copy_from_slice(&ip.octets()),
        }
        let [a, b, ..] = hash::sha256(&message).0;
        usize::from(u16::from_be_bytes([a, b])) % SLOTS
    }
}

impl Allowance {
    fn take(&mut self, now: Millis, per_s: u32) -> bool {
        let earned = now.saturating_sub(self.since).saturating_mul(u64::from(per_s));
        self.left_thousandths = self.left_thousandths.saturating_add(earned).min(cap(per_s));
        self.since = self.since.max(now);
        let is_enough = self.left_thousandths >= 1_000;
        if is_enough {
            self.left_thousandths -= 1_000;
        }
        is_enough
    }
}

fn cap(per_s: u32) -> u64 {
    u64::from(per_s) * u64::from(BURST_S) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn one_host_cannot_have_more_than_its_rate_nor_use_up_what_others_have() {
        let mut limit = AnswerLimit::new(0, [1; 16], 10, 1_000);
        assert_eq!((0..500).filter(|_| limit.take(0, ip(1))).count(), 40, "four seconds' worth at once");
        assert!(limit.take(0, ip(2)));
        assert_eq!((0..500).filter(|_| limit.take(1_000, ip(1))).count(), 10, "then ten a second");
    }

    #[test]
    fn a_flood_from_everywhere_is_answered_at_the_rate_for_all() {
        let mut limit = AnswerLimit::new(0, [1; 16], 10, 100);
        let answered = (0..=u16::MAX).filter(|n| limit.take(0, [10, 0, (n >> 8) as u8, *n as u8].into())).count();
        assert_eq!(answered, 400);
    }

    #[test]
    fn a_whole_v6_subnet_is_one_host() {
        let mut limit = AnswerLimit::new(0, [1; 16], 10, 1_000);
        let subnet = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        assert_eq!((0..500).filter(|n| limit.take(0, subnet(*n))).count(), 40);
    }
}
