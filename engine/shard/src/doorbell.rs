//! The doorbell of a shard's mailbox: an eventfd in the shard's epoll set.

use mesh::Doorbell;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// Wakes a shard from any thread (eventfd(2)).
#[derive(Debug)]
pub struct EventDoorbell(OwnedFd);

impl EventDoorbell {
    /// A bell that nobody has rung.
    pub fn new() -> io::Result<EventDoorbell> {
        Ok(EventDoorbell(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    /// Makes the bell silent again.
    pub(crate) fn hush(&self) {
        let mut rings = [0; 8];
        // EAGAIN says that it was silent already.
        let _ = rustix::io::read(&self.0, &mut rings);
    }
}

impl Doorbell for EventDoorbell {
    fn ring(&self) {
        // The only failure is EAGAIN at 2^64 - 2 rings, and then the bell is loud enough.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for EventDoorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
