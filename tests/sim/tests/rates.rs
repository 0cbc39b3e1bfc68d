//! Whether a peer's bandwidth is used, whatever its rate and its distance.
#![allow(clippy::print_stdout, reason = "what is measured is told")]

use spillway_sim::{Plan, World};
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// How much longer than at the seed's rate one leech takes over so many bytes.
fn factor(up_bytes_per_s: u64, delay: Duration, size: u64) -> f64 {
    let mut plan = Plan::calm(5, 1, size, 256 * KIB as u32);
    for node in &mut plan.nodes {
        node.delay = delay / 2;
        node.up_bytes_per_s = up_bytes_per_s;
        node.down_bytes_per_s = up_bytes_per_s * 10;
        node.write_room = 4_096;
    }
    let outcome = World::new(&plan).run();
    let factor = outcome.finished_at.as_secs_f64() / (size as f64 / up_bytes_per_s as f64);
    println!(
        "{up_bytes_per_s} bytes a second, {delay:?} away: {factor:.3}; wasted {}",
        outcome.progress[0].wasted_bytes
    );
    assert!(outcome.progress[0].wasted_bytes == 0);
    factor
}

#[test]
fn a_fast_seed_nearby_is_used_to_its_rate() {
    assert!(factor(1_200 * MIB, Duration::from_micros(100), 1_024 * MIB) < 1.1);
}

#[test]
fn a_fast_seed_far_away_is_used_to_its_rate() {
    assert!(factor(50 * MIB, Duration::from_millis(300), 600 * MIB) < 1.5);
}

#[test]
fn an_ordinary_seed_is_used_to_its_rate() {
    assert!(factor(2 * MIB, Duration::from_millis(50), 40 * MIB) < 1.1);
    assert!(factor(100 * KIB, Duration::from_millis(100), 4 * MIB) < 1.1);
}

#[test]
fn a_very_slow_seed_is_not_given_up() {
    assert!(factor(2 * KIB, Duration::from_millis(400), 400 * KIB) < 1.3);
}
