//! Whole swarms: a fixed set of seeds, and some that are new each time.
#![allow(clippy::print_stdout, reason = "a seed that fails must be known")]

use spillway_sim::{Outcome, Plan, World};
use swarm::Progress;

/// Seeds that are always run.
const FIXED: std::ops::Range<u64> = 0..150;

/// Seeds of failures that were mended.
const MENDED: [u64; 2] = [371, 3_191_975_992_580_786_397];

/// New seeds each time.
const RANDOM: usize = 20;

const MIB: u64 = 1024 * 1024;

fn run(seed: u64) -> Outcome {
    println!("swarm with seed {seed} (SPILLWAY_SIM_SEED={seed} replays it)");
    let plan = Plan::random(seed);
    let outcome = World::new(&plan).run();
    let hostile = plan.nodes.iter().filter(|node| !node.conduct.is_honest()).count();
    println!("{} of {} hostile", summary(&outcome), hostile);
    outcome
}

fn summary(outcome: &Outcome) -> String {
    let sum = |of: fn(&Progress) -> u64| outcome.progress.iter().map(of).sum::<u64>();
    format!(
        "  {:.1?}, {} steps, {} leeches: received {}, wasted {}, discarded {}, late {}, endgame {}, failed {}, bans {}",
        outcome.finished_at,
        outcome.steps,
        outcome.progress.len(),
        sum(|progress| progress.received_bytes),
        sum(|progress| progress.wasted_bytes),
        sum(|progress| progress.discarded_bytes),
        sum(|progress| progress.late_requests),
        sum(|progress| progress.endgame_requests),
        sum(|progress| progress.hash_failures),
        outcome.bans.len(),
    )
}

#[test]
fn every_honest_swarm_finishes() {
    FIXED.chain(MENDED).for_each(|seed| drop(run(seed)));
}

#[test]
fn new_swarms_finish() {
    let count = std::env::var("SPILLWAY_SIM_COUNT").map_or(RANDOM, |count| count.parse().expect("a number"));
    for _ in 0..count {
        run(getrandom::u64().unwrap());
    }
}

#[test]
fn one_seed() {
    if let Ok(seed) = std::env::var("SPILLWAY_SIM_SEED") {
        let seed = seed.parse().expect("a number");
        println!("{:#?}", Plan::random(seed).nodes);
        println!("{:#?}", run(seed));
    }
}

#[test]
fn a_seed_replays_what_happened() {
    let twice = [run(11), run(11)].map(|outcome| format!("{outcome:?}"));
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn a_calm_swarm_wastes_nothing_and_ends_near_its_bound() {
    let size = 32 * MIB;
    let plan = Plan::calm(1, 20, size, 256 * 1024);
    let outcome = World::new(&plan).run();
    println!("{}", summary(&outcome));
    let wasted: u64 = outcome.progress.iter().map(|progress| progress.wasted_bytes).sum();
    assert!(wasted * 100 < 20 * size, "{wasted} bytes of {}", 20 * size);
    assert!(outcome.bans.is_empty());
    let up = plan.nodes[0].up_bytes_per_s as f64;
    let bound_s = (size as f64 / up).max(20.0 * size as f64 / (21.0 * up));
    let factor = outcome.finished_at.as_secs_f64() / bound_s;
    println!("{factor:.2} times the bound, first copy sent {:.2} times", outcome.sent_bytes[0] as f64 / size as f64);
    assert!(factor < 1.3, "{factor}");
}
