//! The epoll set and how it is waited for: a sleep, and before or after it what the options ask for.

use crate::options::Options;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Events taken from the set at once.
const EVENTS_PER_WAIT: usize = 512;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Packets that the kernel takes from a card in one busy poll: the kernel's own default for sockets.
const BUSY_POLL_BUDGET: u16 = 8;

pub(crate) struct Waiter {
    set: OwnedFd,
    events: Vec<epoll::Event>,
    turn_delay: Duration,
    spin: Duration,
    busy_poll_us: u32,
}

/// `struct epoll_params` of linux/eventpoll.h (Linux 6.9).
#[repr(C)]
struct EpollParams {
    busy_poll_usecs: u32,
    busy_poll_budget: u16,
    prefer_busy_poll: u8,
    pad: u8,
}

/// `EPIOCSPARAMS`: _IOW(0x8A, 0x01, struct epoll_params).
const EPIOCSPARAMS: libc::Ioctl = 0x4008_8A01;

impl Waiter {
    pub(crate) fn new(options: &Options) -> io::Result<Waiter> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        if options.busy_poll_us > 0 {
            let params = EpollParams {
                busy_poll_usecs: options.busy_poll_us,
                busy_poll_budget: BUSY_POLL_BUDGET,
                prefer_busy_poll: 1,
                pad: 0,
            };
            // SAFETY: the call reads one `epoll_params`, which `params` is, and keeps no pointer to it.
            if unsafe { libc::ioctl(set.as_raw_fd(), EPIOCSPARAMS, &raw const params) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Waiter {
            set,
            events: Vec::with_capacity(EVENTS_PER_WAIT),
            turn_delay: Duration::from_micros(options.turn_delay_us.into()),
            spin: Duration::from_micros(options.spin_us.into()),
            busy_poll_us: options.busy_poll_us,
        })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: u64, flags: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.set, socket, epoll::EventData::new_u64(token), flags)?)
    }

    /// Prepares an accepted socket.
    pub(crate) fn prepare(&self, socket: impl AsFd) -> io::Result<()> {
        if self.busy_poll_us == 0 {
            return Ok(());
        }
        let value = self.busy_poll_us as libc::c_int;
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the call reads `size` bytes of `value` and keeps no pointer.
        let result =
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, (&raw const value).cast(), size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// What has happened; waits for something unless there is other work.
    pub(crate) fn wait(&mut self, has_work: bool) -> io::Result<Vec<epoll::Event>> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let looks_first = has_work || !self.spin.is_zero() || !self.turn_delay.is_zero();
        if looks_first {
            let started = Instant::now();
            self.take(&mut events, Some(&NOW))?;
            while !has_work && events.is_empty() && started.elapsed() < self.spin {
                self.take(&mut events, Some(&NOW))?;
            }
        }
        if has_work || !events.is_empty() {
            return Ok(events);
        }
        self.take(&mut events, None)?;
        if !self.turn_delay.is_zero() {
            std::thread::sleep(self.turn_delay);
            self.take(&mut events, Some(&NOW))?;
        }
        Ok(events)
    }

    /// Appends what has happened.
    fn take(&self, events: &mut Vec<epoll::Event>, timeout: Option<&Timespec>) -> io::Result<()> {
        events.reserve(EVENTS_PER_WAIT);
        match epoll::wait(&self.set, rustix::buffer::spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The events go back when they are handled, so that the next wait allocates nothing.
    pub(crate) fn give_back(&mut self, events: Vec<epoll::Event>) {
        self.events = events;
    }
}
