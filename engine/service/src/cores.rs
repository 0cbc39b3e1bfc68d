//! Where the service's own threads run: not where shards are pinned, if there is a core to spare.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and those that it will start, off the shards' cores. The engine pins its own by itself.
pub(crate) fn leave_to(shards: &[usize]) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut rest = CpuSet::new();
    let spare = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core) && !shards.contains(core));
    spare.for_each(|core| rest.set(core));
    if rest.count() > 0
        && let Err(error) = sched_setaffinity(None, &rest)
    {
        tracing::debug!(%error, "the service's threads run on the shards' cores too");
    }
}
