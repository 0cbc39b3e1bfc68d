//! The settings read again: what of a difference is applied to which part, what waits for a restart, what cannot be used.
//! What is different is the settings' own affair.

use std::sync::Arc;

use api::operator::types::Reloaded;
use settings::{Live, Named, Settings};

use crate::running::Running;
use crate::{schedule, systemd};

impl Running {
    /// Reads the settings again and applies what is different, as far as that can be done live. Settings that cannot be
    /// used change nothing: the error is one line. How it went is logged, and the service manager is told.
    pub(crate) async fn reload(&self) -> Result<Reloaded, String> {
        systemd::reloading().await;
        let reloaded = self.read_again().await;
        match &reloaded {
            Ok(reloaded) => say(reloaded),
            Err(reason) => tracing::error!("kept the old settings: {reason}"),
        }
        systemd::ready(self.status_line().await).await;
        reloaded
    }

    async fn read_again(&self) -> Result<Reloaded, String> {
        let mut settings = self.settings.lock().await;
        let reread = self.options.reread.clone();
        let new = tokio::task::spawn_blocking(move || reread()).await.map_err(|error| error.to_string())??;
        let change = settings.difference(&new);
        let new = Arc::new(new);
        if !change.live.is_empty() {
            // First: who may have releases early is known before a new tree has any, and feeds are written with the new links.
            self.board.set_base_url(self.http.base_url(&new).as_deref().unwrap_or_default());
            self.desk.configure(new.clone()).await.map_err(|error| error.to_string())?;
        }
        let needs_restart = change.needs_restart.iter().map(ToString::to_string).collect();
        let mut reloaded = Reloaded { needs_restart, ..Reloaded::default() };
        for live in change.live.iter().chain(&lean_on_files(&change.live, &new)) {
            match self.apply(live, &new).await {
                Ok(()) if change.live.contains(live) => reloaded.applied.push(name(live).to_owned()),
                Ok(()) => {}
                Err(reason) => reloaded.failed.push(format!("{}: {reason}", name(live))),
            }
        }
        if !change.live.is_empty() {
            // The desk gave groups the rates of their own; those of the schedule have the last word.
            schedule::apply(self, &new).await?;
        }
        self.hold(&mut settings, new);
        Ok(reloaded)
    }

    /// What the desk does not do by itself when it is configured, nor the schedule.
    async fn apply(&self, live: &Live, new: &Settings) -> Result<(), String> {
        match live {
            Live::Limits | Live::Peers | Live::Torrents | Live::Feeds => Ok(()),
            Live::LogFilter => (self.options.set_log_filter)(&new.log.filter),
            Live::Certificate => self.http.reload_certificate(new),
            Live::TrackerAllow => self.http.allow(new).await,
            Live::TrackerClient => {
                let client = &new.tracker.client;
                let connections = client.connections_per_host as usize;
                let set = self.engine.set_announcing(client.announces_per_second, connections);
                set.await.map_err(|error| error.to_string())
            }
            Live::Links => {
                self.configure_webhooks(new).await;
                let files_url = self.http.base_url(new);
                self.publishers.set_files_url(files_url, new).await.map_err(|error| error.to_string())
            }
            Live::Webhooks => {
                self.configure_webhooks(new).await;
                Ok(())
            }
            Live::Publish(change) => self.publishers.apply(change, new).await.map_err(|error| error.to_string()),
            Live::Subscribe(_) => match &mut self.ending.lock().await.subscriptions {
                Some(subscriptions) => {
                    subscriptions.configure(new).first().map_or(Ok(()), |error| Err(error.to_string()))
                }
                None => Ok(()),
            },
        }
    }

    async fn configure_webhooks(&self, new: &Settings) {
        if let Some(webhooks) = &mut self.ending.lock().await.webhooks {
            webhooks.configure(new);
        }
    }
}

/// What files beside the settings say may be different though the settings are not, and may be right now where it was wrong.
fn lean_on_files(different: &[Live], settings: &Settings) -> Vec<Live> {
    let parts = [
        (Live::Certificate, settings.http.tls.certificate.is_some()),
        (Live::TrackerAllow, settings.tracker.allow.is_some()),
        (Live::Subscribe(Named::default()), settings.subscribe.iter().any(|feed| feed.ca_file.is_some())),
    ];
    let is_new = |part: &Live| !different.iter().any(|live| name(live) == name(part));
    parts.into_iter().filter(|(part, is_used)| *is_used && is_new(part)).map(|(part, _)| part).collect()
}

fn say(reloaded: &Reloaded) {
    for reason in &reloaded.failed {
        tracing::error!("{reason}; what was there before is in force");
    }
    let (applied, needs_restart) = (reloaded.applied.join(", "), reloaded.needs_restart.join(", "));
    if !needs_restart.is_empty() {
        tracing::warn!("a restart is needed for {needs_restart}");
    }
    tracing::info!(applied, "read the settings again");
}

/// What the settings call it.
fn name(live: &Live) -> &'static str {
    match live {
        Live::Peers => "peers",
        Live::Limits => "limits",
        Live::Torrents => "torrents",
        Live::TrackerAllow => "tracker.allow",
        Live::TrackerClient => "tracker.client",
        Live::Links => "http.base_url",
        Live::Certificate => "http.tls",
        Live::LogFilter => "log.filter",
        Live::Publish(_) => "publish",
        Live::Feeds => "feed",
        Live::Subscribe(_) => "subscribe",
        Live::Webhooks => "webhook",
    }
}
