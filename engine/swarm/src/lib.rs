//! Under construction.
#![forbid(unsafe_code)]

pub mod choker;
pub mod rate;
