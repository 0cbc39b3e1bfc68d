//! What a connection is waiting for, and since when. Its stream and its requests write it down; one timer reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::HttpLimits;

/// Shared by the parts of one connection, which all live in one task.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Shared>);

struct Shared {
    start: Instant,
    /// Milliseconds since the start, times four, and the phase: one value, so that nobody reads half of a change.
    word: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// For the rest of a request, or for the first of all.
    Head = 0,
    /// For nothing: a request is being answered.
    Busy = 1,
    /// For whatever the client wants next.
    Idle = 2,
}

/// What the timer finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beat {
    /// All is well; look again then.
    Until(Instant),
    /// A request has not come in time.
    LateHead,
    /// Nothing was wanted for long enough.
    LongIdle,
}

impl Pulse {
    /// A connection that has just been opened.
    pub(crate) fn new() -> Pulse {
        Pulse(Arc::new(Shared { start: Instant::now(), word: AtomicU64::new(Phase::Head as u64) }))
    }

    /// Bytes came. If nothing was under way, a request has begun.
    pub(super) fn bytes_came(&self) {
        if self.phase() == Phase::Idle {
            self.set(Phase::Head);
        }
    }

    /// A request is there.
    pub(super) fn answering(&self) {
        // Since when is of no interest, and the clock costs as much as the rest.
        self.0.word.store(Phase::Busy as u64, Relaxed);
    }

    /// It is answered.
    pub(super) fn answered(&self) {
        self.set(Phase::Idle);
    }

    pub(super) fn beat(&self, now: Instant, limits: &HttpLimits) -> Beat {
        let word = self.0.word.load(Relaxed);
        let since = self.0.start + Duration::from_millis(word / 4);
        let phase = phase(word);
        // Nobody tells the timer of a new phase: it looks as soon as the next could be over.
        let look_again = now + limits.header_timeout.min(limits.idle_timeout);
        let deadline = match phase {
            Phase::Head => since + limits.header_timeout,
            Phase::Idle => since + limits.idle_timeout,
            Phase::Busy => look_again,
        };
        match phase {
            _ if deadline > now => Beat::Until(deadline.min(look_again)),
            Phase::Head => Beat::LateHead,
            Phase::Idle | Phase::Busy => Beat::LongIdle,
        }
    }

    fn phase(&self) -> Phase {
        phase(self.0.word.load(Relaxed))
    }

    fn set(&self, phase: Phase) {
        let ms = self.0.start.elapsed().as_millis() as u64;
        self.0.word.store(ms * 4 + phase as u64, Relaxed);
    }
}

fn phase(word: u64) -> Phase {
    match word % 4 {
        0 => Phase::Head,
        1 => Phase::Busy,
        _ => Phase::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dripping_head_ends_in_time_however_often_it_drips() {
        let limits = HttpLimits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            ..HttpLimits::default()
        };
        let pulse = Pulse::new();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(pulse.beat(at(9), &limits), Beat::Until(at(10)));
        pulse.bytes_came();
        assert_eq!(pulse.beat(at(10), &limits), Beat::LateHead);
        pulse.answering();
        assert!(matches!(pulse.beat(at(1000), &limits), Beat::Until(_)), "the answer has its own limits");
        tokio::time::advance(Duration::from_secs(5)).await;
        pulse.answered();
        assert_eq!(pulse.beat(at(64), &limits), Beat::Until(at(65)));
        assert_eq!(pulse.beat(at(30), &limits), Beat::Until(at(40)), "by then a head might be late");
        assert_eq!(pulse.beat(at(65), &limits), Beat::LongIdle);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..3 {
            pulse.bytes_came();
            assert_eq!(pulse.beat(at(15), &limits), Beat::Until(at(16)), "from the first byte, not from the last");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(pulse.beat(at(16), &limits), Beat::LateHead);
    }
}
