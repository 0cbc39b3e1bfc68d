//! What was kept of a piece's failed copy, to tell who spoiled it once a good copy is there.

use std::time::Duration;

/// A piece that failed and is fetched again, from one peer at a time.
#[derive(Debug)]
pub(super) struct Parole {
    /// Since when it waits for somebody who is not under suspicion.
    pub(super) since: Duration,
    /// Who sent each block of the failed copy, and its fingerprint.
    pub(super) failed: Vec<(u32, u64)>,
}

impl Parole {
    /// Who sent blocks that differ from those of the good copy, each once.
    pub(super) fn culprits(&self, good: &[u64]) -> Vec<u32> {
        let differs = |((sender, bad), good): (&(u32, u64), &u64)| (bad != good).then_some(*sender);
        distinct(self.failed.iter().zip(good).filter_map(differs))
    }

    /// Everybody that had a part in the failed copy, each once.
    pub(super) fn suspects(&self) -> Vec<u32> {
        distinct(self.failed.iter().map(|(sender, _)| *sender))
    }
}

/// Each once, in order.
pub(super) fn distinct(senders: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut all: Vec<u32> = senders.collect();
    all.sort_unstable();
    all.dedup();
    all
}
