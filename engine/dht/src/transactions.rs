//! Queries under way. An answer counts only if it comes from where the query went and shows its random number.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::Millis;
use crate::limits::{DEAD_MS, MAX_PENDING, SLOW_MS};
use crate::lookup::LookupKey;
use crate::node_id::NodeId;
use crate::random::Random;

/// One query under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) to: SocketAddr,
    /// Who is expected to answer, if that is known.
    pub(crate) id: Option<NodeId>,
    pub(crate) purpose: Purpose,
}

/// What a query is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Whether somebody is there.
    Probe,
    /// A step of a lookup.
    Lookup(LookupKey),
    /// The announce at the end of a lookup.
    Announce(LookupKey),
}

/// All queries under way, by number and by age.
#[derive(Default)]
pub(crate) struct Transactions {
    pending: BTreeMap<u32, Pending>,
    /// When queries become slow, in the order in which they were sent; some are answered since.
    slow: VecDeque<(Millis, u32)>,
    /// When they have failed.
    dead: VecDeque<(Millis, u32)>,
}

impl Transactions {
    pub(crate) fn is_full(&self) -> bool {
        // The queues hold what was answered too, until its time.
        self.pending.len() >= MAX_PENDING || self.dead.len() >= 4 * MAX_PENDING
    }

    /// A number for a new query.
    pub(crate) fn open(&mut self, now: Millis, random: &mut Random, pending: Pending) -> u32 {
        let number = loop {
            let number = random.u32();
            if !self.pending.contains_key(&number) {
                break number;
            }
        };
        self.pending.insert(number, pending);
        self.slow.push_back((now + SLOW_MS, number));
        self.dead.push_back((now + DEAD_MS, number));
        number
    }

    /// The query that `transaction` from `from` answers.
    pub(crate) fn close(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Pending> {
        let number = u32::from_be_bytes(transaction.try_into().ok()?);
        self.pending.get(&number).filter(|pending| pending.to == from)?;
        self.pending.remove(&number)
    }

    /// The next query that is slow by now; each is told once.
    pub(crate) fn poll_slow(&mut self, now: Millis) -> Option<Pending> {
        while let Some((_, number)) = self.slow.pop_front_if(|(due, _)| *due <= now) {
            if let Some(pending) = self.pending.get(&number) {
                return Some(*pending);
            }
        }
        None
    }

    /// The next query that has failed by now.
    pub(crate) fn poll_dead(&mut self, now: Millis) -> Option<Pending> {
        while let Some((_, number)) = self.dead.pop_front_if(|(due, _)| *due <= now) {
            if let Some(pending) = self.pending.remove(&number) {
                return Some(pending);
            }
        }
        None
    }

    /// When something is slow or fails next.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        [self.slow.front(), self.dead.front()].into_iter().flatten().map(|(due, _)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_from_where_the_query_went_and_once() {
        let (mut transactions, mut random) = (Transactions::default(), Random::new([1; 32]));
        let [to, other]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.1:2"].map(|text| text.parse().unwrap());
        let number = transactions.open(0, &mut random, Pending { to, id: None, purpose: Purpose::Probe });
        let transaction = number.to_be_bytes();
        assert!(transactions.close(&transaction, other).is_none(), "another port");
        assert!(transactions.close(&transaction[..3], to).is_none() && transactions.close(b"12345", to).is_none());
        assert!(transactions.close(&transaction, to).is_some());
        assert!(transactions.close(&transaction, to).is_none(), "answered twice");
        assert!(transactions.poll_dead(DEAD_MS).is_none(), "what was answered does not fail");
    }

    #[test]
    fn a_query_is_slow_first_and_fails_later() {
        let (mut transactions, mut random) = (Transactions::default(), Random::new([1; 32]));
        let to = "192.0.2.1:1".parse().unwrap();
        transactions.open(100, &mut random, Pending { to, id: None, purpose: Purpose::Probe });
        assert_eq!(transactions.deadline(), Some(100 + SLOW_MS));
        assert!(transactions.poll_slow(99 + SLOW_MS).is_none());
        assert!(transactions.poll_slow(100 + SLOW_MS).is_some() && transactions.poll_slow(100 + SLOW_MS).is_none());
        assert!(transactions.poll_dead(99 + DEAD_MS).is_none());
        assert!(transactions.poll_dead(100 + DEAD_MS).is_some());
        assert_eq!(transactions.deadline(), None);
    }
}
