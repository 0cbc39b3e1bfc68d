//! What the machine is asked once: whether this process may use io_uring, found out by trying, since container profiles and
//! sysctls forbid it in many ways; and whether something keeps the clock on time.

use std::mem::MaybeUninit;

use rustix::io::Errno;
use rustix::io_uring::{io_uring_params, io_uring_setup};

/// Makes a small ring and lets it go.
///
/// # Errors
/// What the operator should change.
pub fn check_io_uring() -> Result<(), String> {
    let mut params = io_uring_params::default();
    // SAFETY: `params` is a valid, zeroed parameter block that outlives the call; the ring that is made is a mere
    // descriptor, owned by the result and closed with it, and nothing of it is mapped.
    let ring = unsafe { io_uring_setup(4, &mut params) };
    match ring {
        Ok(_) => Ok(()),
        Err(Errno::NOSYS) => Err("the kernel has no io_uring: use Linux 5.8 or newer, or a container profile that \
            allows io_uring_setup"
            .to_owned()),
        Err(Errno::PERM | Errno::ACCESS) => Err("io_uring is forbidden: set kernel.io_uring_disabled=0, or allow \
            io_uring_setup in the container's seccomp profile"
            .to_owned()),
        Err(Errno::NOMEM) => Err("too little lockable memory for io_uring: raise the memlock limit \
            (LimitMEMLOCK= in systemd, ulimit -l)"
            .to_owned()),
        Err(error) => Err(format!("io_uring cannot be used: {error}")),
    }
}

/// How well the system's clock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockState {
    /// Whether something keeps it on time.
    pub is_synchronised: bool,
    /// How far off it may be at most, as the kernel reckons, in microseconds.
    pub error_us: u64,
}

/// Asks the kernel how well the clock is kept; `None` where it does not tell.
pub fn clock_state() -> Option<ClockState> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: `timex` is integers only, for which all bytes zero is a value; zero `modes` makes the call a question, which
    // writes within the block that it is given and outlives it (adjtimex(2)).
    let (answer, state) = unsafe { (libc::adjtimex(state.as_mut_ptr()), state.assume_init()) };
    if answer < 0 {
        return None;
    }
    let is_synchronised = answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    Some(ClockState { is_synchronised, error_us: u64::try_from(state.maxerror).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_how_the_clock_is_kept_changes_nothing() {
        let (first, second) = (clock_state(), clock_state());
        assert_eq!(first.map(|state| state.is_synchronised), second.map(|state| state.is_synchronised));
    }
}
