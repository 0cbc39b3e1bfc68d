//! How the engine's unchoke slots are split between shards: by the peers that want something, so that a slot follows
//! its peers wherever the kernel lands them.

/// Splits `slots` by demand. Every shard keeps at least one, so that a first peer need not wait for the next split.
pub(crate) fn split(slots: u32, interested: &[u64]) -> Vec<u32> {
    let shard_count = interested.len() as u64;
    let total: u64 = interested.iter().sum();
    let spare = u64::from(slots).saturating_sub(shard_count);
    let mut parts: Vec<u64> = match total {
        0 => interested.iter().map(|_| 1 + spare / shard_count).collect(),
        _ => interested.iter().map(|demand| 1 + spare * demand / total).collect(),
    };
    // What rounding left over goes to those who want the most.
    let left = (u64::from(slots).max(shard_count)).saturating_sub(parts.iter().sum());
    let mut order: Vec<usize> = (0..interested.len()).collect();
    order.sort_by_key(|shard| std::cmp::Reverse(interested[*shard]));
    for shard in order.into_iter().cycle().take(left as usize) {
        parts[shard] += 1;
    }
    parts.into_iter().map(|part| part as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_follow_the_peers() {
        assert_eq!(split(8, &[0, 0]), [4, 4]);
        assert_eq!(split(8, &[30, 0]), [7, 1]);
        assert_eq!(split(1, &[3, 3]), [1, 1]);
    }

    proptest! {
        #[test]
        fn no_slot_is_lost_and_no_shard_goes_without(slots in 1u32..1000, interested in prop::collection::vec(0u64..5000, 1..16)) {
            let parts = split(slots, &interested);
            prop_assert!(parts.iter().all(|part| *part >= 1));
            prop_assert_eq!(parts.iter().sum::<u32>(), slots.max(interested.len() as u32));
        }
    }
}
