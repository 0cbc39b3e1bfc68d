//! Gathers what the shards have to say to one question: it goes to all of them, their answers come when they have a turn.

use mesh::{PeerReport, ShardHistograms};
use std::time::Duration;

/// A shard that has not answered after this long is stuck; whoever asked gets what the others have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions of one kind that may wait for shards at once.
pub(crate) const QUESTIONS_LIMIT: usize = 16;

/// An answer that others can be added to.
pub(crate) trait Answer: Default {
    /// Adds what another shard has said.
    fn add(&mut self, other: Self);
}

/// The peers of a torrent, on all shards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerList {
    /// Each of them, as far as there was room.
    pub peers: Vec<PeerReport>,
    /// How many more there are.
    pub left_out: u64,
}

/// What the shards have measured, and how many of them have answered.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) histograms: Box<ShardHistograms>,
    pub(crate) shard_count: usize,
}

impl Measured {
    /// What one shard says.
    pub(crate) fn of_one(histograms: Box<ShardHistograms>) -> Measured {
        Measured { histograms, shard_count: 1 }
    }
}

impl Answer for Measured {
    fn add(&mut self, other: Measured) {
        self.histograms.add(&other.histograms);
        self.shard_count += other.shard_count;
    }
}

impl Answer for PeerList {
    fn add(&mut self, other: Self) {
        self.peers.extend(other.peers);
        self.left_out += other.left_out;
    }
}

/// Questions of one kind that wait for shards.
pub(crate) struct Survey<A> {
    pending: Vec<Pending<A>>,
    last_ticket: u32,
}

struct Pending<A> {
    ticket: u32,
    due: Duration,
    awaited_count: usize,
    sum: A,
    reply: Box<dyn FnOnce(A) + Send + Sync>,
}

impl<A> Default for Survey<A> {
    fn default() -> Survey<A> {
        Survey { pending: Vec::new(), last_ticket: 0 }
    }
}

impl<A: Answer> Survey<A> {
    /// Whether one more question may be asked.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < QUESTIONS_LIMIT
    }

    /// Takes note of a question to `shard_count` shards; returns the ticket that their answers bear. `None` if too many
    /// wait already: then nobody is told.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        shard_count: usize,
        reply: impl FnOnce(A) + Send + Sync + 'static,
    ) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        let reply = Box::new(reply);
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = self.last_ticket;
        let due = now + PATIENCE;
        self.pending.push(Pending { ticket, due, awaited_count: shard_count, sum: A::default(), reply });
        self.answer();
        Some(ticket)
    }

    /// Adds a shard's answer.
    pub(crate) fn handle_answer(&mut self, ticket: u32, answer: A) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
            pending.sum.add(answer);
            pending.awaited_count = pending.awaited_count.saturating_sub(1);
        }
        self.answer();
    }

    /// A shard has ended and may not have answered: whoever asked gets what there is.
    pub(crate) fn handle_shard_ended(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.awaited_count = 0);
        self.answer();
    }

    /// Answers those who have waited long enough.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        let late = self.pending.iter_mut().filter(|pending| pending.due <= now);
        late.for_each(|pending| pending.awaited_count = 0);
        self.answer();
    }

    fn answer(&mut self) {
        for pending in self.pending.extract_if(.., |pending| pending.awaited_count == 0) {
            (pending.reply)(pending.sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn one() -> Measured {
        let mut histograms = Box::<ShardHistograms>::default();
        mesh::record_time(&mut histograms.service_us, Duration::from_micros(5), 1);
        Measured::of_one(histograms)
    }

    #[test]
    fn the_answer_waits_for_all_shards_and_adds_them_up() {
        let mut survey = Survey::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = survey.ask(Duration::ZERO, 2, |sum| drop(reply.send(sum))).unwrap();
        survey.handle_answer(ticket, one());
        assert!(answer.try_recv().is_err());
        survey.handle_answer(ticket.wrapping_sub(1), one());
        assert!(answer.try_recv().is_err(), "an answer to another question does not count");
        survey.handle_answer(ticket, one());
        assert_eq!(answer.try_recv().unwrap().histograms.service_us.len(), 2);
    }

    #[test]
    fn a_shard_that_is_stuck_keeps_nobody_waiting_for_long() {
        let mut survey = Survey::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = survey.ask(Duration::ZERO, 2, |sum| drop(reply.send(sum))).unwrap();
        survey.handle_answer(ticket, one());
        survey.handle_tick(PATIENCE / 2);
        assert!(answer.try_recv().is_err());
        survey.handle_tick(PATIENCE);
        assert_eq!(answer.try_recv().unwrap().histograms.service_us.len(), 1);
    }

    #[test]
    fn a_shard_that_ends_leaves_nobody_waiting() {
        let mut survey = Survey::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = survey.ask(Duration::ZERO, 2, |sum| drop(reply.send(sum))).unwrap();
        survey.handle_answer(ticket, one());
        survey.handle_shard_ended();
        assert_eq!(answer.try_recv().unwrap().histograms.service_us.len(), 1);
    }

    #[test]
    fn one_question_too_many_is_not_asked_and_its_reply_is_dropped() {
        let mut survey = Survey::<PeerList>::default();
        let replies: Vec<_> = (0..QUESTIONS_LIMIT).map(|_| oneshot::channel()).collect();
        for (reply, _answer) in replies {
            assert!(survey.ask(Duration::ZERO, 1, |sum| drop(reply.send(sum))).is_some());
        }
        let (reply, mut answer) = oneshot::channel();
        assert_eq!(survey.ask(Duration::ZERO, 1, |sum| drop(reply.send(sum))), None);
        assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        survey.handle_tick(PATIENCE);
        assert!(survey.ask(PATIENCE, 1, drop).is_some(), "there is room again");
    }
}
