//! A thread that wakes the shard if the executor has parked although the shard's task may run: glommio 0.9 does so now and then, with
//! no timer left to end it (`engine/decisions/heartbeat.md`). What the shard sleeps for is not known here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

/// How often is looked, while the shard sleeps by the executor at all. A sleep that is seen twice is ended: it lasts five times as
/// long as the longest that is asked for while the disk is read or written.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Looks in a row that find nobody asleep, until there is no need to look.
const IDLE_LOOKS: u32 = 20;

/// The shard's end.
pub(crate) struct Nudge {
    watched: Arc<Watched>,
    /// `None` if there is no thread to be had.
    watcher: Option<Thread>,
}

#[derive(Default)]
struct Watched {
    /// The watcher holds the lock for the copy of a waker, twenty times a second: no wait to speak of.
    asleep: Mutex<Asleep>,
    /// The watcher has nothing to look for and waits to be told.
    is_idle: AtomicBool,
}

#[derive(Default)]
struct Asleep {
    /// Counts sleeps.
    sleeps: u64,
    /// Wakes the one that goes on.
    waker: Option<Waker>,
}

impl Nudge {
    /// Begins to watch, on a thread of its own.
    pub(crate) fn new() -> Nudge {
        let watched = Arc::new(Watched::default());
        let seen = Arc::downgrade(&watched);
        let thread = std::thread::Builder::new().name("nudge".to_owned()).spawn(move || watch(&seen));
        if let Err(error) = &thread {
            tracing::warn!(%error, "nobody watches over the executor's sleep");
        }
        Nudge { watched, watcher: thread.ok().map(|thread| thread.thread().clone()) }
    }

    /// The task of this waker gives way to the executor.
    pub(crate) fn asleep(&self, waker: &Waker) {
        let mut asleep = self.watched.lock();
        asleep.sleeps += 1;
        asleep.waker = Some(waker.clone());
        drop(asleep);
        if self.watched.is_idle.swap(false, Ordering::AcqRel)
            && let Some(watcher) = &self.watcher
        {
            watcher.unpark();
        }
    }

    /// It runs again.
    pub(crate) fn awake(&self) {
        self.watched.lock().waker = None;
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        // So that the watcher sees soon that there is nothing left to watch.
        if let Some(watcher) = &self.watcher {
            watcher.unpark();
        }
    }
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asleep> {
        // Each change is whole when the lock is let go.
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks until the shard is gone.
fn watch(watched: &Weak<Watched>) {
    let (mut seen, mut idle_looks) = (None, 0);
    loop {
        let Some(watched) = watched.upgrade() else { return };
        let (sleeps, waker) = {
            let asleep = watched.lock();
            (asleep.sleeps, asleep.waker.clone())
        };
        idle_looks = if waker.is_some() || seen != Some(sleeps) { 0 } else { idle_looks + 1 };
        if let Some(waker) = waker.filter(|_| seen == Some(sleeps)) {
            tracing::debug!("the executor sleeps with work to do, and is woken");
            waker.wake();
        }
        seen = Some(sleeps);
        if idle_looks < IDLE_LOOKS {
            drop(watched);
            std::thread::park_timeout(LOOK_INTERVAL);
            continue;
        }
        idle_looks = 0;
        watched.is_idle.store(true, Ordering::Release);
        let is_awaited = watched.lock().sleeps == sleeps;
        drop(watched);
        if is_awaited {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::task::Wake;

    struct Woken(SyncSender<()>);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            let _ = self.0.try_send(());
        }
    }

    fn waker() -> (Waker, Receiver<()>) {
        let (sender, receiver) = sync_channel(1);
        (Waker::from(Arc::new(Woken(sender))), receiver)
    }

    #[test]
    fn who_sleeps_too_long_is_woken_again_and_again_and_after_a_long_rest_too() {
        let nudge = Nudge::new();
        let (waker, woken) = waker();
        for _ in 0..2 {
            nudge.asleep(&waker);
            for _ in 0..3 {
                woken.recv_timeout(Duration::from_secs(60)).unwrap();
            }
            nudge.awake();
            while !nudge.watched.is_idle.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn the_watcher_goes_with_the_shard() {
        let nudge = Nudge::new();
        let watched = Arc::downgrade(&nudge.watched);
        nudge.asleep(Waker::noop());
        drop(nudge);
        while watched.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
