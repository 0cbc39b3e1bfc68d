//! The process's answer to a SIGBUS under a [`super::Window`]: zeros take the place of what vanished, the window is marked,
//! and the reader goes on. Any other SIGBUS goes to whoever handled it before.
//!
//! The kernel raises SIGBUS in the thread that touched the page (signal(7)), so the window that it hits belongs to
//! the interrupted thread: its entry here is complete, and it cannot be unmapped meanwhile. The handler calls nothing but
//! mmap(2), sigaction(2) and raise(3), and loads and stores atomics. It allocates nothing and takes no lock.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Windows that are guarded at the same time, of all threads; whoever finds no entry copies instead.
const GUARDED_MAX: usize = 512;

/// An entry that nobody uses.
const FREE: usize = 0;
/// An entry that is being filled in. No map begins here.
const TAKEN: usize = 1;

struct Entry {
    start: AtomicUsize,
    end: AtomicUsize,
    is_hit: AtomicBool,
}

static ENTRIES: [Entry; GUARDED_MAX] =
    [const { Entry { start: AtomicUsize::new(FREE), end: AtomicUsize::new(0), is_hit: AtomicBool::new(false) } };
        GUARDED_MAX];

/// The handler of before, once ours is installed.
static PREVIOUS: OnceLock<Option<libc::sigaction>> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// An entry for one mapping, for as long as this lives.
pub(super) struct Guard {
    entry: &'static Entry,
}

impl Guard {
    /// Guards the bytes of a page-aligned mapping or of a part of one. `None` if the process has another handler by now, or
    /// too many windows.
    pub(super) fn over(bytes: &[u8]) -> Option<Guard> {
        if !is_installed() {
            return None;
        }
        let is_taken =
            |entry: &&Entry| entry.start.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let entry = ENTRIES.iter().find(is_taken)?;
        let start = bytes.as_ptr().addr();
        entry.is_hit.store(false, Ordering::Relaxed);
        entry.end.store(start + bytes.len(), Ordering::Relaxed);
        entry.start.store(start, Ordering::Release);
        Some(Guard { entry })
    }

    pub(super) fn is_intact(&self) -> bool {
        !self.entry.is_hit.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.entry.start.store(FREE, Ordering::Release);
    }
}

/// Whether a SIGBUS of this thread comes to our handler, which is installed by the first who asks. A program that has put its
/// own in the place of ours since is left in peace.
fn is_installed() -> bool {
    PREVIOUS.get_or_init(install).is_some()
        && current().is_some_and(|current| current.sa_sigaction == handler())
        && !is_blocked()
}

/// Whether this thread blocks the signal: then it would end the process instead of being handled (sigaction(2)).
fn is_blocked() -> bool {
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a null set asks only; the answer is written on success and read then.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) != 0
            || libc::sigismember(blocked.as_ptr(), libc::SIGBUS) != 0
    }
}

fn install() -> Option<libc::sigaction> {
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
    let mut ours: libc::sigaction = current()?;
    ours.sa_sigaction = handler();
    // On the alternative stack, should somebody's stack be what is short.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut previous = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: both pointers are to values of this function. The empty mask is initialised by the call on it.
    unsafe {
        libc::sigemptyset(&raw mut ours.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const ours, previous.as_mut_ptr()) != 0 {
            return None;
        }
        Some(previous.assume_init())
    }
}

fn current() -> Option<libc::sigaction> {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks only; the answer is written on success.
    unsafe { (libc::sigaction(libc::SIGBUS, ptr::null(), current.as_mut_ptr()) == 0).then(|| current.assume_init()) }
}

fn handler() -> libc::sighandler_t {
    on_bus_error as *const () as libc::sighandler_t
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `siginfo_t` to a handler with SA_SIGINFO, and `__errno_location` the calling thread's
    // own variable.
    let (address, code, errno) = unsafe { ((*info).si_addr().addr(), (*info).si_code, libc::__errno_location()) };
    // SAFETY: as above; the interrupted code must not see what the calls below leave there.
    let errno_before = unsafe { *errno };
    // A code above zero is the kernel's; a signal that was sent has no address.
    let is_ours = code > 0 && ENTRIES.iter().any(|entry| put_zeros(entry, address));
    // SAFETY: as above.
    unsafe { *errno = errno_before };
    if !is_ours {
        pass_on(signal, info, context, code);
    }
}

/// Puts zeros from `address` to the end of the entry's window, if it lies in it.
fn put_zeros(entry: &Entry, address: usize) -> bool {
    let start = entry.start.load(Ordering::Acquire);
    let end = entry.end.load(Ordering::Acquire);
    // Another thread's entry may change between the loads; that of this thread does not.
    let is_whole = start > TAKEN && entry.start.load(Ordering::Acquire) == start;
    if !is_whole || !(start..end).contains(&address) {
        return false;
    }
    let page = address - address % PAGE_BYTES.load(Ordering::Relaxed);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the range lies in the mapping of a window of this very thread (see the head of this file), which is only
    // read, and stays mapped: zeros take the place of pages that the kernel could not give.
    let mapped = unsafe { libc::mmap(ptr::without_provenance_mut(page), end - page, libc::PROT_READ, flags, -1, 0) };
    entry.is_hit.store(true, Ordering::Release);
    mapped != libc::MAP_FAILED
}

/// Has the handler of before decide.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, code: libc::c_int) {
    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    type WithSignal = extern "C" fn(libc::c_int);
    let previous = PREVIOUS.get().copied().flatten();
    match previous {
        Some(previous) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction) => {
            // SAFETY: the value came from sigaction(2), which keeps which of the two kinds the handler is in its flags.
            unsafe {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    std::mem::transmute::<libc::sighandler_t, WithInfo>(previous.sa_sigaction)(signal, info, context);
                } else {
                    std::mem::transmute::<libc::sighandler_t, WithSignal>(previous.sa_sigaction)(signal);
                }
            }
        }
        Some(_) | None => {
            // SAFETY: sets the default action, and where no instruction will fault again sends the signal once more.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
}
