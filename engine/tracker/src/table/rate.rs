//! Requests per source address, held by token buckets in a table of fixed size.

use std::hash::BuildHasher;
use std::net::IpAddr;

use super::hasher::KeyedState;
use crate::Millis;

/// Buckets that share a place in the table; the one used longest ago makes room.
const WAYS: usize = 4;
/// Tokens are counted in thousandths, so that a millisecond's share is a whole number.
const TOKEN: u64 = 1000;

/// How often one address may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestRate {
    /// Requests a second that an address may keep up.
    pub per_second: u32,
    /// Requests that it may send at once after a pause; at least 1.
    pub burst: u32,
    /// How many addresses are remembered, at 24 bytes each. One that is forgotten starts with a full bucket.
    pub address_count: usize,
}

pub(super) struct RateTable {
    rate: RequestRate,
    sets: Vec<[Bucket; WAYS]>,
    hasher: KeyedState,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// The hash of the address; 0 marks an unused bucket.
    tag: u64,
    tokens: u64,
    refilled_ms: Millis,
}

impl RateTable {
    pub(super) fn new(rate: RequestRate, hasher: KeyedState) -> RateTable {
        let set_count = rate.address_count.div_ceil(WAYS).max(1);
        RateTable { rate, sets: vec![[Bucket::default(); WAYS]; set_count], hasher }
    }

    /// Takes a token of `ip`'s bucket (of its /64 for IPv6); `false` if there is none.
    pub(super) fn take(&mut self, now: Millis, ip: IpAddr) -> bool {
        let tag = match ip {
            IpAddr::V4(ip) => self.hasher.hash_one(ip.octets()),
            IpAddr::V6(ip) => self.hasher.hash_one(u128::from(ip) >> 64),
        }
        .max(1);
        let full = u64::from(self.rate.burst.max(1)) * TOKEN;
        let set_index = (tag % self.sets.len() as u64) as usize;
        let Some(set) = self.sets.get_mut(set_index) else { return true };
        let index = set.iter().position(|bucket| bucket.tag == tag).unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| set.get(*way).map(|bucket| bucket.refilled_ms)).unwrap_or(0);
            set[oldest] = Bucket { tag, tokens: full, refilled_ms: now };
            oldest
        });
        let bucket = &mut set[index];
        let elapsed_ms = now.saturating_sub(bucket.refilled_ms);
        // A thousandth of a token per millisecond is one token per second.
        let earned = elapsed_ms.saturating_mul(u64::from(self.rate.per_second));
        bucket.tokens = bucket.tokens.saturating_add(earned).min(full);
        bucket.refilled_ms = bucket.refilled_ms.max(now);
        let has_token = bucket.tokens >= TOKEN;
        if has_token {
            bucket.tokens -= TOKEN;
        }
        has_token
    }
}
