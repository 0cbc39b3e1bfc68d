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
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        tokio::time::sleep(until_next_minute(since)).await;
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

/// A minute's beginning is waited for by the wall clock, for a whole minute at most: `since` is the time since 1970.
fn until_next_minute(since: Duration) -> Duration {
    let into_minute = Duration::from_nanos((since.as_nanos() % 60_000_000_000) as u64);
    Duration::from_secs(60) - into_minute + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_is_looked_at_once_it_has_begun() {
        for since_ms in [0, 1, 59_999, 60_000, 1_790_000_123_456] {
            let since = Duration::from_millis(since_ms);
            let next = since + until_next_minute(since);
            assert_eq!(next.as_secs() / 60, since.as_secs() / 60 + 1, "{since:?}");
            assert!(next.as_millis() % 60_000 <= 1, "{since:?}");
        }
    }
}
