//! What several tests of this crate need. Not part of the crate.

/// Runs `act` without the rights of root, on a thread of its own: the kernel keeps user ids per thread. As another user it
/// just runs.
pub(crate) fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const NOBODY: u32 = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(NOBODY);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            act()
        });
        thread.join().unwrap()
    })
}
