//! Gathers what the shards have measured: one question goes to all of them, their answers come when they have a turn.

use mesh::ShardHistograms;
use std::time::Duration;
use tokio::sync::oneshot;

/// A shard that has not answered after this long is stuck; whoever asked gets what the others have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions that wait for shards.
#[derive(Default)]
pub(crate) struct Measurements {
    pending: Vec<Pending>,
    last_ticket: u32,
}

struct Pending {
    ticket: u32,
    due: Duration,
    awaited_count: usize,
    sum: Box<ShardHistograms>,
    reply: oneshot::Sender<Box<ShardHistograms>>,
}

impl Measurements {
    /// Takes note of a question to `shard_count` shards; returns the ticket that their answers bear.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        shard_count: usize,
        reply: oneshot::Sender<Box<ShardHistograms>>,
    ) -> u32 {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = self.last_ticket;
        self.pending.push(Pending {
            ticket,
            due: now + PATIENCE,
            awaited_count: shard_count,
            sum: Box::default(),
            reply,
        });
        self.answer();
        ticket
    }

    /// Adds a shard's answer.
    pub(crate) fn handle_measured(&mut self, ticket: u32, histograms: &ShardHistograms) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
            pending.sum.add(histograms);
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
            // Whoever asked may have gone.
            let _ = pending.reply.send(pending.sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> ShardHistograms {
        let mut histograms = ShardHistograms::new();
        mesh::record_time(&mut histograms.service_us, Duration::from_micros(5), 1);
        histograms
    }

    #[test]
    fn the_answer_waits_for_all_shards_and_adds_them_up() {
        let mut measurements = Measurements::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = measurements.ask(Duration::ZERO, 2, reply);
        measurements.handle_measured(ticket, &one());
        assert!(answer.try_recv().is_err());
        measurements.handle_measured(ticket.wrapping_sub(1), &one());
        assert!(answer.try_recv().is_err(), "an answer to another question does not count");
        measurements.handle_measured(ticket, &one());
        assert_eq!(answer.try_recv().unwrap().service_us.len(), 2);
    }

    #[test]
    fn a_shard_that_is_stuck_keeps_nobody_waiting_for_long() {
        let mut measurements = Measurements::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = measurements.ask(Duration::ZERO, 2, reply);
        measurements.handle_measured(ticket, &one());
        measurements.handle_tick(PATIENCE / 2);
        assert!(answer.try_recv().is_err());
        measurements.handle_tick(PATIENCE);
        assert_eq!(answer.try_recv().unwrap().service_us.len(), 1);
    }

    #[test]
    fn a_shard_that_ends_leaves_nobody_waiting() {
        let mut measurements = Measurements::default();
        let (reply, mut answer) = oneshot::channel();
        let ticket = measurements.ask(Duration::ZERO, 2, reply);
        measurements.handle_measured(ticket, &one());
        measurements.handle_shard_ended();
        assert_eq!(answer.try_recv().unwrap().service_us.len(), 1);
    }
}
