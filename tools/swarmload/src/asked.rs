//! What one connection has asked for: the addresses of the blocks, for checking answers, and the times of the requests, for
//! their latency. Times are kept by batch: requests that went out in one write share theirs.

use std::collections::VecDeque;
use std::iter::repeat_n;

/// A block as REQUEST names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Piece index.
    pub(crate) index: u32,
    /// First byte within the piece.
    pub(crate) begin: u32,
    /// Bytes.
    pub(crate) length: u32,
}

/// Requests that went out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// When they were written.
    pub(crate) sent_ns: u64,
    /// When the schedule of an open loop wanted them; in a closed loop the same.
    pub(crate) scheduled_ns: u64,
    /// How many of them are unanswered.
    pub(crate) blocks: u32,
}

/// A request that was taken back by a choke or a reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voided {
    pub(crate) address: Address,
    /// When it was first wanted: it waits since then, however often it is asked for.
    pub(crate) scheduled_ns: u64,
}

/// How an answer stands to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It answers the oldest request.
    InOrder,
    /// It answers another request.
    Reordered,
    /// It answers a request that is booked as answered: it comes again, or another answer was dropped unread and taken for it.
    Late,
    /// Nothing like it was asked for lately.
    Unasked,
}

/// The requests of one connection, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The last `behind` answered ones, then the open ones.
    addresses: VecDeque<Address>,
    behind: usize,
    batches: VecDeque<Batch>,
    /// To be asked for again. These and the open ones together are never more than the depth.
    voided: VecDeque<Voided>,
}

/// How many answered requests are remembered: an answer that overtakes others makes the wrong ones count as answered.
const REMEMBERED: usize = 64;

impl Asked {
    /// How many requests are open.
    pub(crate) fn open(&self) -> u32 {
        (self.addresses.len() - self.behind) as u32
    }

    /// The open batches, oldest first.
    pub(crate) fn oldest(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Books one request; [`Asked::sent`] must follow for its time.
    pub(crate) fn ask(&mut self, address: Address) {
        self.addresses.push_back(address);
    }

    /// Books the time of the last `blocks` requests.
    pub(crate) fn sent(&mut self, batch: Batch) {
        match self.batches.back_mut() {
            Some(last) if (last.sent_ns, last.scheduled_ns) == (batch.sent_ns, batch.scheduled_ns) => {
                last.blocks += batch.blocks;
            }
            _ if batch.blocks > 0 => self.batches.push_back(batch),
            _ => {}
        }
    }

    /// A request that was taken back, to be asked for before any new one.
    pub(crate) fn next_voided(&mut self) -> Option<Voided> {
        self.voided.pop_front()
    }

    /// How many were taken back and not asked for again.
    pub(crate) fn voided(&self) -> u32 {
        self.voided.len() as u32
    }

    /// Since when the longest wanted of the open and the taken back ones waits.
    pub(crate) fn oldest_scheduled_ns(&self) -> Option<u64> {
        let open = self.batches.iter().map(|batch| batch.scheduled_ns);
        open.chain(self.voided.iter().map(|voided| voided.scheduled_ns)).min()
    }

    /// Where an answer stands. An answer that overtook others is moved to the front, so that [`Asked::answered`] books it.
    pub(crate) fn place(&mut self, index: u32, begin: u32, length: u32) -> Standing {
        let address = Address { index, begin, length };
        if self.addresses.get(self.behind) == Some(&address) {
            return Standing::InOrder;
        }
        let Some(place) = self.addresses.iter().position(|known| *known == address) else { return Standing::Unasked };
        if place < self.behind {
            return Standing::Late;
        }
        self.addresses.remove(place);
        self.addresses.insert(self.behind, address);
        Standing::Reordered
    }

    /// Whether this answer would be anything but [`Standing::Unasked`].
    pub(crate) fn is_known(&self, index: u32, begin: u32, length: u32) -> bool {
        self.addresses.contains(&Address { index, begin, length })
    }

    /// Books the oldest `blocks` requests as answered and hands out their batches, each with the blocks of it that are
    /// meant. More than are open count as all of them. Returns their bytes.
    pub(crate) fn answered(&mut self, blocks: u32, mut each: impl FnMut(Batch)) -> u64 {
        let taken = blocks.min(self.open());
        let answered = self.addresses.range(self.behind..self.behind + taken as usize);
        let bytes = answered.map(|address| u64::from(address.length)).sum();
        self.behind += taken as usize;
        if self.behind > REMEMBERED {
            self.addresses.drain(..self.behind - REMEMBERED);
            self.behind = REMEMBERED;
        }
        let mut left = taken;
        while left > 0 {
            let Some(batch) = self.batches.front_mut() else { break };
            let part = batch.blocks.min(left);
            each(Batch { blocks: part, ..*batch });
            left -= part;
            batch.blocks -= part;
            if batch.blocks == 0 {
                self.batches.pop_front();
            }
        }
        bytes
    }

    /// Takes one open request back because the seeder rejected it. False if there is none.
    pub(crate) fn reject(&mut self, index: u32, begin: u32) -> bool {
        let open = self.addresses.iter().skip(self.behind);
        let Some(place) = open.clone().position(|address| address.index == index && address.begin == begin) else {
            return false;
        };
        let removed = self.addresses.remove(self.behind + place);
        // The newest batch gives way: what is answered later then never looks faster than it was.
        let (Some(address), Some(batch)) = (removed, self.batches.back_mut()) else { return false };
        self.voided.push_back(Voided { address, scheduled_ns: batch.scheduled_ns });
        batch.blocks -= 1;
        if batch.blocks == 0 {
            self.batches.pop_back();
        }
        true
    }

    /// Takes all open requests back, since a choke voids them.
    pub(crate) fn void(&mut self) {
        let times = self.batches.drain(..).flat_map(|batch| repeat_n(batch.scheduled_ns, batch.blocks as usize));
        let open = self.addresses.drain(self.behind..).zip(times);
        self.voided.extend(open.map(|(address, scheduled_ns)| Voided { address, scheduled_ns }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32) -> Address {
        Address { index, begin: 0, length: 16_384 }
    }

    fn asked(count: u32) -> Asked {
        let mut asked = Asked::default();
        for index in 0..count {
            asked.ask(address(index));
            asked.sent(Batch { sent_ns: u64::from(index), scheduled_ns: u64::from(index), blocks: 1 });
        }
        asked
    }

    #[test]
    fn an_answer_that_overtakes_is_booked_and_the_overtaken_stays_open() {
        let mut asked = asked(4);
        assert_eq!(asked.place(2, 0, 16_384), Standing::Reordered);
        asked.answered(1, |_| {});
        assert_eq!(asked.place(0, 0, 16_384), Standing::InOrder);
        assert_eq!(asked.place(2, 0, 16_384), Standing::Late);
        assert_eq!(asked.place(9, 0, 16_384), Standing::Unasked);
        assert_eq!(asked.open(), 3);
    }

    #[test]
    fn times_leave_with_their_blocks() {
        let mut asked = Asked::default();
        (0..5).for_each(|index| asked.ask(address(index)));
        asked.sent(Batch { sent_ns: 1, scheduled_ns: 1, blocks: 3 });
        asked.sent(Batch { sent_ns: 2, scheduled_ns: 2, blocks: 2 });
        let mut seen = Vec::new();
        assert_eq!(asked.answered(4, |batch| seen.push((batch.sent_ns, batch.blocks))), 4 * 16_384);
        assert_eq!(seen, [(1, 3), (2, 1)]);
        assert_eq!(asked.answered(9, |_| {}), 16_384);
        assert_eq!(asked.open(), 0);
    }

    #[test]
    fn a_voided_request_is_asked_for_again_and_waits_since_it_was_first_wanted() {
        let mut asked = asked(3);
        assert!(asked.reject(1, 0));
        assert!(!asked.reject(1, 0));
        asked.void();
        assert_eq!((asked.open(), asked.oldest()), (0, None));
        assert_eq!((asked.voided(), asked.oldest_scheduled_ns()), (3, Some(0)));
        let again = std::iter::from_fn(|| asked.next_voided());
        let again: Vec<_> = again.map(|voided| (voided.address.index, voided.scheduled_ns)).collect();
        // The reject took the newest time with it, so that the others kept the older ones.
        assert_eq!(again, [(1, 2), (0, 0), (2, 1)]);
    }

    #[test]
    fn what_is_remembered_of_answered_requests_is_bounded() {
        let mut asked = asked(1000);
        asked.answered(1000, |_| {});
        assert_eq!((asked.addresses.len(), asked.behind), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn requests_of_one_time_are_one_batch_and_others_are_not() {
        let mut asked = Asked::default();
        (0..6).for_each(|index| asked.ask(address(index)));
        for scheduled_ns in [1, 1, 2, 2, 2, 1] {
            asked.sent(Batch { sent_ns: 9, scheduled_ns, blocks: 1 });
        }
        let mut seen = Vec::new();
        asked.answered(6, |batch| seen.push((batch.scheduled_ns, batch.blocks)));
        assert_eq!(seen, [(1, 2), (2, 3), (1, 1)]);
    }
}
