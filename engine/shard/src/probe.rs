//! Whether this process may use io_uring, asked by trying: container profiles and sysctls forbid it in many ways.

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
