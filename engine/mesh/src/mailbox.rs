//! A bounded lock-free mailbox with one reader and any number of writers.

use crossbeam::queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Wakes the mailbox's reader, from any thread. Ringing twice may wake once.
pub trait Doorbell: Send + Sync {
    /// Wakes the reader if it sleeps.
    fn ring(&self);
}

impl<D: Doorbell + ?Sized> Doorbell for Arc<D> {
    fn ring(&self) {
        (**self).ring();
    }
}

/// The mailbox held as many messages as it can; the message comes back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox is full")]
pub struct Full<M>(pub M);

/// Messages for one reader. The reader says when it is about to sleep, so that a writer rings only a sleeper: a
/// doorbell is a system call, a push is not.
pub struct Mailbox<M, D> {
    queue: ArrayQueue<M>,
    /// True from [`Mailbox::prepare_to_sleep`] until a writer rings or the reader takes it back.
    reader_sleeps: AtomicBool,
    doorbell: D,
}

impl<M, D: Doorbell> Mailbox<M, D> {
    /// An empty mailbox for at most `capacity_count` messages.
    pub fn new(capacity_count: usize, doorbell: D) -> Mailbox<M, D> {
        Mailbox { queue: ArrayQueue::new(capacity_count), reader_sleeps: AtomicBool::new(false), doorbell }
    }

    /// Leaves a message, waking the reader if it sleeps.
    pub fn post(&self, message: M) -> Result<(), Full<M>> {
        self.queue.push(message).map_err(Full)?;
        // Pairs with the fence in `prepare_to_sleep`: of "message pushed" and "reader sleeps", at least one side
        // sees the other's, so no message is left with a sleeping reader.
        fence(Ordering::SeqCst);
        if self.reader_sleeps.swap(false, Ordering::SeqCst) {
            self.doorbell.ring();
        }
        Ok(())
    }

    /// Whether less than half of the room is taken: who can do without an answer leaves the rest to those who cannot.
    pub fn is_half_free(&self) -> bool {
        self.queue.len() < self.queue.capacity().div_ceil(2)
    }

    /// Whether no message waits. For the reader: whoever acted after a message was left is never ahead of it.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest message. For the reader.
    pub fn take(&self) -> Option<M> {
        self.queue.pop()
    }

    /// Says that the reader is about to sleep. False: a message came in between, do not sleep. For the reader.
    pub fn prepare_to_sleep(&self) -> bool {
        self.reader_sleeps.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.reader_sleeps.store(false, Ordering::SeqCst);
        false
    }

    /// Says that the reader is awake again, whoever woke it. For the reader.
    pub fn awake(&self) {
        self.reader_sleeps.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    #[derive(Default)]
    struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.changed.wait(rung).unwrap();
            }
            *rung = false;
        }
    }

    impl Doorbell for Bell {
        fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let mailbox = Mailbox::new(1, Arc::new(Bell::default()));
        assert_eq!(mailbox.post(1), Ok(()));
        assert_eq!(mailbox.post(2), Err(Full(2)));
        assert_eq!(mailbox.take(), Some(1));
        assert_eq!(mailbox.take(), None);
    }

    #[test]
    fn who_stops_at_half_of_the_room_leaves_the_other_half() {
        let mailbox = Mailbox::new(4, Arc::new(Bell::default()));
        (1..=2).for_each(|_| {
            assert!(mailbox.is_half_free());
            mailbox.post(0).unwrap();
        });
        assert!(!mailbox.is_half_free());
        assert_eq!(mailbox.post(0), Ok(()));
        let _ = (mailbox.take(), mailbox.take());
        assert!(mailbox.is_half_free());
    }

    #[test]
    fn a_message_keeps_the_reader_from_sleeping() {
        let mailbox = Mailbox::new(4, Arc::new(Bell::default()));
        mailbox.post(7).unwrap();
        assert!(!mailbox.is_empty() && !mailbox.prepare_to_sleep());
        assert_eq!(mailbox.take(), Some(7));
        assert!(mailbox.is_empty());
        assert!(mailbox.prepare_to_sleep());
    }

    #[test]
    fn no_message_is_lost_to_a_reader_that_falls_asleep_meanwhile() {
        const MESSAGES: u64 = 20_000;
        const WRITERS: u64 = 3;
        let bell = Arc::new(Bell::default());
        let mailbox = Mailbox::new(64, bell.clone());
        let sum = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let mailbox = &mailbox;
                scope.spawn(move || {
                    for n in 0..MESSAGES {
                        let mut message = writer * MESSAGES + n;
                        while let Err(Full(back)) = mailbox.post(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let (mut sum, mut received) = (0, 0);
            while received < WRITERS * MESSAGES {
                match mailbox.take() {
                    Some(message) => {
                        sum += message;
                        received += 1;
                    }
                    None if mailbox.prepare_to_sleep() => {
                        bell.wait();
                        mailbox.awake();
                    }
                    None => {}
                }
            }
            sum
        });
        let total = WRITERS * MESSAGES;
        assert_eq!(sum, total * (total - 1) / 2);
    }
}
