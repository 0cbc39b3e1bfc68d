//! Whether some shard carries too much, and who takes it over. The kernel lands peers by a hash of their address, which
//! evens out many small ones; a few heavy ones it may well land on one core.

/// A shard carries too much above this multiple of the mean.
const EXCESS: f64 = 1.3;

/// A shard that is at work for less than this part of the time serves its peers without delay, however uneven the rest.
const BUSY: f64 = 0.5;

/// A shard that is at work for this part of the time could do more if it had more time.
const SATURATED: f64 = 0.9;

/// Peers that move at once, at most: what the move changes is seen before the next one.
const MOST_MOVED: u64 = 64;

/// What one shard carried since the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// The part of the time for which it was at work, 0 to 1.
    pub(crate) busy: f64,
    /// Peers that want something.
    pub(crate) interested: u64,
    /// Connections that it could still take.
    pub(crate) free: u64,
}

/// Peers that should move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) count: u32,
}

/// The move that evens the shards out the most, if any of them carries too much. While cores have time left, what counts
/// is the time that each spends; once all are at work without a pause, it is how many peers share each.
pub(crate) fn plan(loads: &[Load]) -> Option<Move> {
    let all_saturated = loads.iter().all(|load| load.busy >= SATURATED);
    let carried = |load: &Load| if all_saturated { load.interested as f64 } else { load.busy };
    let mean = loads.iter().map(carried).sum::<f64>() / loads.len() as f64;
    let by_load = |a: &(usize, &Load), b: &(usize, &Load)| carried(a.1).total_cmp(&carried(b.1));
    let (from, most) = loads.iter().enumerate().max_by(by_load)?;
    let (to, least) = loads.iter().enumerate().min_by(by_load)?;
    if most.busy < BUSY || carried(most) <= EXCESS * mean || most.interested < 2 {
        return None;
    }
    // Half of the gap: what one peer costs is a guess, and the next look corrects it.
    let gap = (carried(most) - carried(least)) / 2.0 / carried(most);
    let count = (gap / 2.0 * most.interested as f64).ceil() as u64;
    let count = count.clamp(1, MOST_MOVED).min(most.interested - 1).min(least.free / 2);
    (count > 0).then_some(Move { from, to, count: count as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(busy: f64, interested: u64) -> Load {
        Load { busy, interested, free: 10_000 }
    }

    #[test]
    fn nobody_moves_where_there_is_no_room() {
        let full = Load { free: 1, ..load(0.1, 40) };
        assert_eq!(plan(&[load(0.9, 400), full]), None);
        let nearly_full = Load { free: 10, ..load(0.1, 40) };
        assert_eq!(plan(&[load(0.9, 400), nearly_full]), Some(Move { from: 0, to: 1, count: 5 }));
    }

    #[test]
    fn even_shards_are_left_alone() {
        assert_eq!(plan(&[load(0.8, 100), load(0.7, 90)]), None);
        assert_eq!(plan(&[load(1.0, 100), load(1.0, 120)]), None);
        assert_eq!(plan(&[load(1.0, 100)]), None);
        assert_eq!(plan(&[]), None);
    }

    #[test]
    fn idle_shards_are_left_alone_however_uneven() {
        assert_eq!(plan(&[load(0.4, 100), load(0.0, 0)]), None);
    }

    #[test]
    fn a_busy_shard_gives_peers_to_an_idle_one() {
        assert_eq!(plan(&[load(0.1, 400), load(0.9, 40)]), Some(Move { from: 1, to: 0, count: 9 }));
    }

    #[test]
    fn where_all_are_saturated_peers_count() {
        assert_eq!(plan(&[load(1.0, 30), load(0.95, 170)]), Some(Move { from: 1, to: 0, count: 35 }));
    }

    #[test]
    fn one_heavy_peer_alone_is_not_sent_about() {
        assert_eq!(plan(&[load(1.0, 1), load(0.0, 0)]), None);
    }

    proptest! {
        #[test]
        fn peers_that_cost_the_same_come_to_rest_even(peers in prop::collection::vec(0u64..3000, 2..9)) {
            let mut peers = peers;
            let mut rounds = 0;
            loop {
                let loads: Vec<Load> = peers.iter().map(|peers| load(1.0, *peers)).collect();
                let Some(step) = plan(&loads) else { break };
                prop_assert!(peers[step.from] > u64::from(step.count));
                peers[step.from] -= u64::from(step.count);
                peers[step.to] += u64::from(step.count);
                rounds += 1;
                prop_assert!(rounds < 2000, "it comes to rest");
            }
            let mean = peers.iter().sum::<u64>() as f64 / peers.len() as f64;
            let most = *peers.iter().max().unwrap();
            prop_assert!(most < 2 || most as f64 <= EXCESS * mean);
        }
    }
}
