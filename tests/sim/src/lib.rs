//! Swarms in simulated time: peers built from the real `swarm` crate talk the real wire over a network with delay, limited
//! bandwidth and connections that break, among peers that are slow, lie, spoil, stall, choke, refuse and push.
//! Only payload is made up: a block is a number, right or wrong.
//!
//! Everything follows from one seed, so a seed replays a failure: `SPILLWAY_SIM_SEED=7 cargo test -p spillway-sim one_seed`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "only tests call this, and a panic is how a test fails"
)]

mod ledger;
mod net;
mod node;
mod plan;
mod random;
mod world;

pub use plan::{Conduct, NodePlan, Plan};
pub use random::Random;
pub use world::{Outcome, World};
