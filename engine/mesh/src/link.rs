//! All that control and one shard share.

use crate::{Command, Doorbell, Event, Mailbox, ShardCounters};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Commands that wait for a shard at most. Control waits when it is full.
const COMMAND_CAPACITY: usize = 1024;

/// Events that wait for control at most.
const EVENT_CAPACITY: usize = 4096;

/// The mailbox that all shards report to.
pub type EventMailbox = Mailbox<Event, Arc<dyn Doorbell>>;

/// Control's mailbox, rung by `doorbell`.
pub fn event_mailbox(doorbell: Arc<dyn Doorbell>) -> Arc<EventMailbox> {
    Arc::new(Mailbox::new(EVENT_CAPACITY, doorbell))
}

/// The link between control and one shard.
pub struct Link<T, U, P> {
    /// What control says to the shard.
    pub commands: Mailbox<Command<T, U, P>, Arc<dyn Doorbell>>,
    /// What the shard counts.
    pub counters: ShardCounters,
    /// Where the shard reports.
    pub events: Arc<EventMailbox>,
    ended: AtomicBool,
}

impl<T, U, P> Link<T, U, P> {
    /// A link to a shard that `doorbell` wakes.
    pub fn new(doorbell: Arc<dyn Doorbell>, events: Arc<EventMailbox>) -> Link<T, U, P> {
        Link {
            commands: Mailbox::new(COMMAND_CAPACITY, doorbell),
            counters: ShardCounters::default(),
            events,
            ended: AtomicBool::new(false),
        }
    }

    /// Says that the shard reads no more commands. For the shard.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the shard reads no more commands.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
