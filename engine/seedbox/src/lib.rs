//! The embeddable engine: settings, the machine's check-up, hashing on every core, and shards, control and tracker
//! started and stopped together. Puts the floors below together; how they work is theirs.
#![forbid(unsafe_code)]

mod config;
mod create;
mod engine;
mod fetch;
mod handle;
mod preflight;
mod reach;
mod recheck;
mod release;
mod rest;
mod selection;
mod state;
mod topology;
mod verify;

pub use config::{Config, DEFAULT_PORT, DEFAULT_TRACKER_PORT, DhtSettings, TrackerConfig, wildcard};
pub use control::{
    AddError, AtRest, FetchStatus, LoadError, Recent, RestStatus, ShardStatus, Status, Summary, Tiers, TorrentSource,
    TorrentState, TorrentStatus,
};
pub use create::{CreateError, CreateOptions, CreatedTorrent, create, recreate, recreate_where};
pub use engine::{Engine, EngineError, StartError};
pub use fetch::{Admission, FetchRequest, Source};
pub use handle::{EngineHandle, GlobalLimits};
pub use mesh::{ShardHistograms, TorrentId};
pub use preflight::{Budget, MEMLOCK_PER_SHARD_BYTES};
pub use release::{Release, ReleaseError, load, publish, what_is_missing};
pub use rest::KeptTorrent;
pub use selection::Selection;
pub use shard::{ClockState, check_io_uring, clock_state};
pub use state::StateDir;
pub use storage::{KnownFiles, Meter, Place, Progress, Symlinks, VerifyReport};
pub use swarm::{SuperSeeding, Terms};
pub use topology::Topology;
pub use verify::{VerifyError, verify};
