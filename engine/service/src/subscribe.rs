//! Feeds of other servers that are followed: what appears in one is fetched, verified and seeded, so that this service is a
//! mirror. How a feed is read is in `subscribe/document.rs`, how it is asked for in `poll.rs`, what is wanted of it in
//! `rules.rs`, how an item becomes a torrent in `take.rs` and what becomes of it when it leaves the feed in `gone.rs`; one task for each feed (`follow.rs`) does it all.
//!
//! What was seen is kept in the catalogue together with the feed's own mark (its ETag), so that a restart neither misses an
//! item nor fetches one twice. What fails is tried again, further and further apart.

mod document;
mod follow;
mod gone;
mod poll;
mod rules;
mod take;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalogue::Catalogue;
use control::web_client::WebClients;
use settings::{Settings, Subscribe};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::desk::DeskHandle;
use crate::webhooks::Reporter;
use follow::{Follower, PACE, Pace};

/// How long a connection to a feed's server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest file of certificates that is read.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Follows feeds until it is stopped.
pub struct Subscriptions {
    catalogue: Catalogue,
    desk: DeskHandle,
    reporter: Reporter,
    pace: Pace,
    followers: HashMap<String, Running>,
    stop: watch::Sender<bool>,
}

/// One feed's task.
struct Running {
    settings: Subscribe,
    task: JoinHandle<()>,
}

/// A feed cannot be followed. Says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The certificates cannot be read.
    #[error("subscribe {name:?}: ca_file {}: {reason}", .path.display())]
    CaFile {
        /// The subscription.
        name: String,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The clients cannot be made.
    #[error("subscribe {name:?}: {source}")]
    Clients {
        /// The subscription.
        name: String,
        /// Why.
        source: control::announcer::AnnouncerError,
    },
}

impl Subscriptions {
    /// Begins to follow, on this runtime. Errors of feeds and items are told to `reporter`. A feed that cannot be followed
    /// does not keep the others from it.
    pub fn start(
        catalogue: Catalogue,
        desk: DeskHandle,
        reporter: Reporter,
        settings: &Settings,
    ) -> (Subscriptions, Vec<SubscribeError>) {
        let mut subscriptions = Subscriptions::idle(catalogue, desk, reporter, PACE);
        let errors = subscriptions.configure(settings);
        (subscriptions, errors)
    }

    fn idle(catalogue: Catalogue, desk: DeskHandle, reporter: Reporter, pace: Pace) -> Subscriptions {
        let (stop, followers) = (watch::channel(false).0, HashMap::new());
        Subscriptions { catalogue, desk, reporter, pace, followers, stop }
    }

    /// Goes by other settings. Of a feed that is followed no more, what was fetched stays, and what was seen is remembered.
    pub fn configure(&mut self, settings: &Settings) -> Vec<SubscribeError> {
        self.followers.retain(|name, running| {
            let is_same = settings.subscribe.iter().any(|wanted| wanted.name == *name && *wanted == running.settings);
            if !is_same {
                running.task.abort();
            }
            is_same
        });
        let mut errors = Vec::new();
        for wanted in &settings.subscribe {
            if self.followers.contains_key(&wanted.name) {
                continue;
            }
            match self.follow(wanted) {
                Ok(task) => {
                    let running = Running { settings: wanted.clone(), task };
                    self.followers.insert(wanted.name.clone(), running);
                }
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Ends; what is under way is begun again at the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for (_, running) in self.followers {
            // A task that panicked has said so.
            let _ = running.task.await;
        }
    }

    fn follow(&self, wanted: &Subscribe) -> Result<JoinHandle<()>, SubscribeError> {
        let name = || wanted.name.clone();
        let roots = match &wanted.ca_file {
            Some(path) => read_roots(path).map_err(|reason| SubscribeError::CaFile {
                name: name(),
                path: path.clone(),
                reason,
            })?,
            None => Vec::new(),
        };
        let clients = WebClients::new(CONNECT_TIMEOUT, &roots)
            .map_err(|source| SubscribeError::Clients { name: name(), source })?;
        let follower = Follower {
            settings: Arc::new(wanted.clone()),
            catalogue: self.catalogue.clone(),
            desk: self.desk.clone(),
            reporter: self.reporter.clone(),
            clients: Arc::new(clients),
            pace: self.pace,
        };
        Ok(tokio::spawn(follower.run(self.stop.subscribe())))
    }
}

/// The certificates of a PEM file, as DER.
fn read_roots(path: &std::path::Path) -> Result<Vec<Vec<u8>>, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::io::Read;

    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(|error| error.to_string())?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| error.to_string())?;
    match roots.is_empty() {
        true => Err("holds no certificate in PEM".to_owned()),
        false => Ok(roots.into_iter().map(|root| root.to_vec()).collect()),
    }
}

#[cfg(test)]
mod tests;
