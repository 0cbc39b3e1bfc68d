//! What the machine must allow before anything is started, and what to change where it does not.

use crate::StartError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that glommio locks for each executor; below it, it panics.
pub const MEMLOCK_PER_SHARD_BYTES: u64 = 512 * 1024;

/// Descriptors that an engine needs besides its peers and its open files: control, trackers, standard streams.
const RESERVED_DESCRIPTORS: u64 = 64;

/// The same for each shard: rings and listeners, and two for each read of the disk under way.
const RESERVED_PER_SHARD: u64 = 80;

/// The fewest descriptors with which an engine starts.
const LEAST_DESCRIPTORS: u64 = 512;

/// Of the descriptors, the part that open files may take: one in so many.
const FILES_PART: u64 = 4;

/// The part that the tracker's HTTP connections may take.
const TRACKER_PART: u64 = 8;

/// The part that announces to trackers may take, and the most of it.
const ANNOUNCES_PART: u64 = 16;
const MOST_ANNOUNCES: u64 = 512;

/// Of the memory, the part that bytes on their way to slow peers may take: one in so many.
const UNSENT_PART: u64 = 16;

/// How the process's descriptors, and what it may ask of the kernel's memory, are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Connections of all shards together.
    pub connections: usize,
    /// Open files of all shards together.
    pub open_files: usize,
    /// Connections to our own tracker.
    pub tracker_connections: usize,
    /// Announces under way at trackers.
    pub announces: usize,
    /// Bytes that the kernel may hold for peers and has not sent yet.
    pub unsent_bytes: usize,
}

/// Checks memlock, descriptors and io_uring, and raises what the process may raise by itself.
pub(crate) fn check(shard_count: usize) -> Result<Budget, StartError> {
    check_memlock(shard_count)?;
    shard::check_io_uring().map_err(|reason| StartError::IoUring { reason })?;
    share_out(raise(Resource::Nofile).unwrap_or(u64::MAX), shard_count)
}

fn check_memlock(shard_count: usize) -> Result<(), StartError> {
    let needed = MEMLOCK_PER_SHARD_BYTES * shard_count as u64;
    match raise(Resource::Memlock) {
        Some(allowed) if allowed < needed && !may_lock_freely() => {
            Err(StartError::Memlock { needed_kib: needed / 1024, allowed_kib: allowed / 1024 })
        }
        _ => Ok(()),
    }
}

/// CAP_IPC_LOCK lifts the limit (capabilities(7)).
fn may_lock_freely() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Raises the soft limit to the hard one; returns what is allowed then, `None` for no limit.
fn raise(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(resource, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

fn share_out(descriptors: u64, shard_count: usize) -> Result<Budget, StartError> {
    /// No engine has use for more; `unlimited` would else make the sums absurd.
    const MOST: u64 = 1 << 20;
    let reserved = RESERVED_DESCRIPTORS + RESERVED_PER_SHARD * shard_count as u64;
    let needed = LEAST_DESCRIPTORS.max(2 * reserved);
    if descriptors < needed {
        return Err(StartError::Nofile { needed, allowed: descriptors });
    }
    let free = descriptors.min(MOST) - reserved;
    let (open_files, tracker_connections) = (free / FILES_PART, free / TRACKER_PART);
    let announces = (free / ANNOUNCES_PART).min(MOST_ANNOUNCES);
    Ok(Budget {
        connections: (free - open_files - tracker_connections - announces) as usize,
        open_files: open_files as usize,
        tracker_connections: tracker_connections as usize,
        announces: announces as usize,
        unsent_bytes: (memory_bytes() / UNSENT_PART) as usize,
    })
}

fn memory_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    u64::from(machine.mem_unit).saturating_mul(machine.totalram as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_is_an_error_that_says_what_to_change() {
        let error = share_out(256, 2).unwrap_err().to_string();
        assert!(error.contains("256") && error.contains("ulimit -n"), "{error}");
    }

    #[test]
    fn the_budget_never_exceeds_the_descriptors() {
        for descriptors in [512, 1024, 20_000, u64::MAX] {
            let budget = share_out(descriptors, 2).unwrap();
            assert!(
                (budget.connections + budget.open_files + budget.tracker_connections + budget.announces) as u64
                    + RESERVED_DESCRIPTORS
                    <= descriptors
            );
        }
    }
}
