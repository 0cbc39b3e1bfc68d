//! Starting a shard's thread.

use crate::config::{ShardConfig, ShardLink};
use crate::disk::POOL;
use crate::doorbell::EventDoorbell;
use crate::event_loop::Shard;
use crate::limits::IO_MEMORY_BYTES;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::fd::OwnedFd;
use std::num::NonZeroU64;
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

/// Starts a shard on its core and waits until it runs. It says what becomes of it through the link.
pub fn spawn(
    config: ShardConfig,
    link: Arc<ShardLink>,
    bell: Arc<EventDoorbell>,
    listeners: Vec<OwnedFd>,
) -> Result<ShardThread, SpawnError> {
    let (shard, core) = (config.shard, config.core);
    let failed = |reason: String| SpawnError::Executor { shard, core, reason };
    let (report, started) = std::sync::mpsc::sync_channel(1);
    let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&format!("shard-{shard}"))
        .io_memory(IO_MEMORY_BYTES)
        .blocking_thread_pool_placement(POOL)
        .spawn(move || async move {
            // 50 microseconds by default, as long as what we want to wait.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
            let made = Shard::new(config, link, bell, listeners);
            // Whoever spawns us waits for this word.
            let _ = report.send(made.as_ref().err().map(ToString::to_string));
            if let Ok(shard) = made {
                shard.run().await;
            }
        })
        .map_err(|error| failed(error.to_string()))?;
    // An executor that cannot be made says so only when it is joined; then its closure, and the sender, are gone.
    match started.recv() {
        Ok(None) => Ok(ShardThread { shard, executor }),
        Ok(Some(reason)) => Err(failed(reason)),
        Err(_) => Err(failed(executor.join().err().map_or("it ended at once".to_owned(), |error| error.to_string()))),
    }
}
