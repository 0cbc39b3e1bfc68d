//! Readiness of all of a shard's sockets: one edge-triggered epoll set, where the shard waits, or whose own
//! descriptor the executor awaits while a read of the disk is under way.
//!
//! glommio's `TcpStream` arms one poll on the ring per socket and event, which is what light load pays for
//! (`engine/decisions/one-epoll-set-per-shard.md`). A set is armed once per socket, and the executor polls it
//! only while the shard sleeps.

use crate::limits::HEARTBEAT_READING;
use crate::nudge::Nudge;
use futures_lite::AsyncRead;
use futures_lite::future::poll_fn;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Events taken from the set at once.
const EVENTS_PER_WAIT: usize = 512;

/// What a descriptor of the set is, as its caller named it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token(pub(crate) u64);

/// What happened to a descriptor since it was last reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The other side has closed, in one direction or both. Said once, perhaps together with its last bytes.
    pub(crate) ended: bool,
}

/// The set, and the wakers of whoever sleeps on it.
pub(crate) struct Poller {
    set: OwnedFd,
    events: Vec<epoll::Event>,
    sleeper: Rc<LocalBell>,
    nudge: Nudge,
}

/// Wakes the sleeping shard from a task of its own executor: a disk read that ended, say.
#[derive(Default)]
pub(crate) struct LocalBell {
    rung: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl LocalBell {
    /// Wakes the shard, or keeps it from falling asleep.
    pub(crate) fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { set, events: Vec::with_capacity(EVENTS_PER_WAIT), sleeper: Rc::default(), nudge: Nudge::new() })
    }

    /// Watches a socket for both directions, edge-triggered: whoever is told must go on until the kernel says EAGAIN, or
    /// remember that it did not. It leaves the set when it is closed.
    pub(crate) fn add_socket(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        Ok(epoll::add(&self.set, socket, epoll::EventData::new_u64(token.0), flags)?)
    }

    /// Watches a socket no longer. Closing it does the same; this is for one that lives on elsewhere.
    pub(crate) fn remove_socket(&self, socket: impl AsFd) {
        // The only failures are of descriptors that are not in the set.
        let _ = epoll::delete(&self.set, socket);
    }

    /// Watches a descriptor for as long as it is readable (level-triggered).
    pub(crate) fn add_source(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.set, source, epoll::EventData::new_u64(token.0), epoll::EventFlags::IN)?)
    }

    /// Appends what has happened to `out`, without waiting.
    pub(crate) fn take_ready(&mut self, out: &mut Vec<Readiness>) -> io::Result<()> {
        if self.events.is_empty() {
            // Otherwise a wait has brought them already.
            self.wait(Duration::ZERO)?;
        }
        out.extend(self.events.drain(..).map(|event| {
            use epoll::EventFlags as Flags;
            let (flags, data) = (event.flags, event.data);
            Readiness {
                token: Token(data.u64()),
                readable: flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR),
                writable: flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR),
                ended: flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR),
            }
        }));
        Ok(())
    }

    /// What other tasks of the executor ring.
    pub(crate) fn bell(&self) -> &Rc<LocalBell> {
        &self.sleeper
    }

    /// Waits until a descriptor of the set is ready or `at_most` has passed, and holds the executor meanwhile: only while none
    /// of its other tasks has anything to do.
    pub(crate) fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        // Whole milliseconds: parts of them need epoll_pwait2 (Linux 5.11), and nothing here is due to the microsecond.
        let at_most_ms = at_most.as_nanos().div_ceil(1_000_000) as i64;
        let at_most = Timespec { tv_sec: at_most_ms / 1000, tv_nsec: at_most_ms % 1000 * 1_000_000 };
        self.events.clear();
        match epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut self.events), Some(&at_most)) {
            // A signal; there may be nothing to do, and the caller finds out.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sleeps until a descriptor of the set is ready, the bell is rung, or `at_most` has passed.
    pub(crate) async fn sleep(&self, at_most: Duration) {
        let Ok(mut ready) = readable(&self.set) else {
            // No descriptor is left for the wait. Peers are served all the same, a little later.
            glommio::timer::sleep(at_most.min(HEARTBEAT_READING)).await;
            return;
        };
        let mut timer = pin!(glommio::timer::sleep(at_most));
        poll_fn(|context| {
            if self.sleeper.rung.take() {
                return Poll::Ready(());
            }
            self.sleeper.waker.set(Some(context.waker().clone()));
            self.nudge.asleep(context.waker());
            let mut byte = [0];
            if pin!(&mut ready).poll_read(context, &mut byte).is_ready() || timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        self.sleeper.waker.take();
        self.nudge.awake();
    }

    /// Lets the executor do its other work.
    pub(crate) async fn give_way(&self) {
        poll_fn(|context| {
            self.nudge.asleep(context.waker());
            Poll::Ready(())
        })
        .await;
        glommio::executor().yield_task_queue_now().await;
        self.nudge.awake();
    }
}

/// A stream over the set's descriptor that stays pending until the set has an event.
///
/// glommio has no public way to await readiness alone. A `TcpStream` arms a poll on its descriptor when it is made
/// and does not touch the descriptor before that poll has fired; then its read fails, since an epoll set is no
/// socket, and that it is ready at all is what we wanted to know.
fn readable(set: &OwnedFd) -> io::Result<glommio::net::TcpStream> {
    let duplicate = rustix::io::fcntl_dupfd_cloexec(set, 0)?;
    // SAFETY: `duplicate` is an open descriptor that nobody else owns; the stream becomes its owner and closes it.
    // That it is no socket makes socket calls on it fail with ENOTSOCK, nothing more.
    Ok(unsafe { glommio::net::TcpStream::from_raw_fd(duplicate.into_raw_fd()) })
}
