//! Starting a shard's thread.

use crate::config::{ShardConfig, ShardLink};
use crate::disk::POOL;
use crate::doorbell::EventDoorbell;
use crate::event_loop::Shard;
use crate::limits::IO_MEMORY_BYTES;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// A shard could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The executor could not be made.
    #[error("cannot start the executor of shard {shard} on core {core}: {reason}")]
    Executor {
        /// Its number.
        shard: usize,
        /// The core it should have run on.
        core: usize,
        /// What glommio said.
        reason: String,
    },
}

/// A running shard.
pub struct ShardThread {
    shard: usize,
    executor: glommio::ExecutorJoinHandle<()>,
}

impl ShardThread {
    /// Waits until the shard has stopped; `Command::Stop` makes it.
    pub fn join(self) -> Result<(), String> {
        self.executor.join().map_err(|error| format!("shard {} ended badly: {error}", self.shard))
    }
}

/// Starts a shard on its core. It says what becomes of it through the link.
pub fn spawn(
    config: ShardConfig,
    link: Arc<ShardLink>,
    bell: Arc<EventDoorbell>,
    listeners: Vec<OwnedFd>,
) -> Result<ShardThread, SpawnError> {
    let (shard, core) = (config.shard, config.core);
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&format!("shard-{shard}"))
        .io_memory(IO_MEMORY_BYTES)
        .blocking_thread_pool_placement(POOL)
        .spawn(move || async move {
            match Shard::new(config, link.clone(), bell, listeners) {
                Ok(shard) => shard.run().await,
                Err(error) => {
                    let reason = format!("shard {shard}: {error}");
                    // A full mailbox: control has ended, and there is nobody to tell.
                    let _ = link.events.post(mesh::Event::ShardFailed { shard, reason });
                }
            }
        })
        .map(|executor| ShardThread { shard, executor })
        .map_err(|error| SpawnError::Executor { shard, core, reason: error.to_string() })
}
