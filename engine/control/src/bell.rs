//! The doorbell of control's own mailbox: a notification of its runtime.

use mesh::Doorbell;
use std::sync::Arc;
use tokio::sync::Notify;

/// Wakes control from any shard.
#[derive(Debug, Default)]
pub struct ControlBell {
    notify: Notify,
}

impl ControlBell {
    /// A bell that nobody has rung.
    pub fn new() -> Arc<ControlBell> {
        Arc::default()
    }

    /// Waits until somebody rings; a ring before the wait counts.
    pub(crate) async fn rung(&self) {
        self.notify.notified().await;
    }
}

impl Doorbell for ControlBell {
    fn ring(&self) {
        self.notify.notify_one();
    }
}
