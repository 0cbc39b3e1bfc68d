//! What the service manager is told (sd_notify(3)): that we are ready, reload, stop, how we are, and that we are alive.
//! Without a manager that listens, all of it does nothing.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;

/// Signs of life come so many times as often as the manager waits for one.
const SIGNS_PER_PERIOD: u32 = 3;

/// Tells that listeners and restored torrents are up, and how things are.
pub(crate) async fn ready(status: String) {
    tell(move || sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
}

/// Tells that settings are read again. [`ready`] ends it. Both parts go in one message: without the time the manager takes
/// the reload for failed.
pub(crate) async fn reloading() {
    tell(|| {
        let now = NotifyState::monotonic_usec_now()?;
        sd_notify::notify(&[NotifyState::Reloading, now])
    })
    .await;
}

/// Tells how things are, in a line.
pub(crate) async fn status(line: String) {
    tell(move || sd_notify::notify(&[NotifyState::Status(&line)])).await;
}

/// Tells that we are stopping, and will need so long.
pub(crate) async fn stopping(within: Duration) {
    let within_us = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(move || sd_notify::notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(within_us)])).await;
}

/// Gives signs of life for as long as the manager wants them, each only after `pulse` has heard everybody. What `pulse`
/// does not hear in time is logged, and the manager is left to draw its conclusion.
pub(crate) async fn feed_watchdog<F>(pulse: impl Fn() -> F)
where
    F: Future<Output = Result<(), String>>,
{
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    feed(period, pulse, || tell(|| sd_notify::notify(&[NotifyState::Watchdog]))).await;
}

async fn feed<P, T>(period: Duration, pulse: impl Fn() -> P, alive: impl Fn() -> T)
where
    P: Future<Output = Result<(), String>>,
    T: Future<Output = ()>,
{
    let step = period / SIGNS_PER_PERIOD;
    let mut steps = tokio::time::interval(step);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        match tokio::time::timeout(step, pulse()).await {
            Ok(Ok(())) => alive().await,
            Ok(Err(silent)) => tracing::error!("no sign of life for the watchdog: {silent}"),
            Err(_) => tracing::error!("no sign of life for the watchdog: no answer within {step:?}"),
        }
    }
}

/// The manager reads a socket, and may be slow to: that must not stop the runtime.
async fn tell(tell: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    let told = tokio::task::spawn_blocking(tell).await;
    if let Ok(Err(error)) = told {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[tokio::test(start_paused = true)]
    async fn a_watchdog_is_fed_only_after_everybody_answered() {
        let (pulses, signs) = (AtomicU32::new(0), AtomicU32::new(0));
        let pulse = async || match pulses.fetch_add(1, Relaxed) {
            0..3 => Ok(()),
            3..6 => Err("shard 1 is silent".to_owned()),
            _ => std::future::pending().await,
        };
        let alive = async || {
            signs.fetch_add(1, Relaxed);
        };
        let fed = feed(Duration::from_secs(30), pulse, alive);
        assert!(tokio::time::timeout(Duration::from_secs(120), fed).await.is_err(), "it never gives up asking");
        assert_eq!(signs.load(Relaxed), 3);
        assert!(pulses.load(Relaxed) > 8);
    }
}
