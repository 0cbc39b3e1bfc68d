//! One shard: a glommio executor pinned to a core, the sockets of its peers, and the way of a block from the page
//! cache to the network. Logic is in `swarm`, bytes on disk are in `storage`; here they meet the kernel. Shards and
//! control know each other only through `mesh`.

mod config;
mod connection;
mod dial;
mod disk;
mod doorbell;
mod event_loop;
mod exchange;
mod gather;
mod handover;
mod leech;
mod lifecycle;
mod limits;
mod listener;
mod nudge;
mod operator;
mod pace;
mod parked;
mod peers;
mod poller;
mod probe;
mod receive;
mod residency;
mod send_buffers;
mod spawn;
mod super_seeding;
mod table;
mod torrents;
mod transmit;

pub use config::{ShardConfig, ShardLink};
pub use disk::DeviceBudgets;
pub use doorbell::EventDoorbell;
pub use handover::Neighbours;
pub use listener::{ListenError, Listeners};
pub use probe::{ClockState, check_io_uring, clock_state};
pub use spawn::{ShardThread, SpawnError, spawn};
