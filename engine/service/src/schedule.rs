//! Rates by the clock: looked up at the start, whenever the settings change, and on each minute of the wall clock, so that
//! neither a leap of it nor a change of summer time leaves an old rate behind.

use std::sync::Arc;
use std::time::Duration;

use settings::{Rates, Settings};

use crate::engine_config;
use crate::running::Running;

/// Applies the rates of each minute when it begins.
pub(crate) async fn keep(running: Arc<Running>) {
    let mut held: Option<Rates> = None;
    loop {
        let settings = running.settings();
        let rates = engine_config::rates_now(&settings);
        if held.as_ref() != Some(&rates) {
            if held.is_some() {
                tracing::info!(upload = %rates.upload, download = %rates.download, "other rates hold from now on");
            }
            if let Err(reason) = set(&running, &settings, rates.clone()).await {
                tracing::error!("rates: {reason}");
            }
            held = Some(rates);
        }
        tokio::time::sleep(until_next_minute()).await;
    }
}

/// Applies what holds now, by these settings.
pub(crate) async fn apply(running: &Running, settings: &Settings) -> Result<(), String> {
    set(running, settings, engine_config::rates_now(settings)).await
}

async fn set(running: &Running, settings: &Settings, rates: Rates) -> Result<(), String> {
    let limits = engine_config::global_limits(settings, &rates);
    running.engine.set_global(limits).await.map_err(|error| error.to_string())?;
    running.desk.set_rates(rates).await.map_err(|error| error.to_string())
}

/// A minute's beginning is waited for by the wall clock, for a whole minute at most.
fn until_next_minute() -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let into_minute = Duration::from_nanos((since.as_nanos() % 60_000_000_000) as u64);
    Duration::from_secs(60) - into_minute + Duration::from_millis(1)
}
