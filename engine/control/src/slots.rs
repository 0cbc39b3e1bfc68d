//! How the engine's unchoke slots are split between shards: by the peers that want something, so that a slot follows
//! its peers wherever the kernel lands them.

/// Splits `slots` by demand, `interested` being the peers of each shard that want something. Where there are enough, every
/// shard keeps one, so that a first peer need not wait for the next split.
pub(crate) fn split(slots: u32, interested: &[u64]) -> Vec<u32> {
    let slots = u64::from(slots);
    let shard_count = interested.len() as u64;
    let floor = u64::from(slots >= shard_count);
    let spare = slots - floor * shard_count;
    let total: u128 = interested.iter().map(|demand| u128::from(*demand)).sum();
    let share = |demand: &u64| (u128::from(spare) * u128::from(*demand)).checked_div(total).map(|part| part as u64);
    let part = |demand: &u64| floor + share(demand).unwrap_or(spare / shard_count);
    let mut parts: Vec<u64> = interested.iter().map(part).collect();
    // What rounding left over goes to those who want the most.
    let left = slots - parts.iter().sum::<u64>();
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
        assert_eq!(split(1, &[3, 4]), [0, 1]);
        assert_eq!(split(8, &[u64::MAX, 5]), [7, 1], "whatever the counters say");
    }

    proptest! {
        #[test]
        fn no_slot_is_lost_or_made_up(slots in 1u32..1000, interested in prop::collection::vec(0u64..5000, 1..16)) {
            let parts = split(slots, &interested);
            prop_assert_eq!(parts.iter().sum::<u32>(), slots);
            prop_assert!(slots < interested.len() as u32 || parts.iter().all(|part| *part >= 1));
        }
    }
}
