//! Holds only benchmarks; see `benches/`.
#![forbid(unsafe_code)]
