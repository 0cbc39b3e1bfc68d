//! The HTTP side: the tracker's announces, feeds and the files of releases, on the tracker's addresses and on those of
//! `[http]`, plain and by TLS. How requests are answered and bounded is `api`'s.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use api::HttpLimits;
use api::feeds::Board;
use api::server::{HttpCounters, Listener, Routes, Server, TlsFiles, TlsKeys, bind};
use control::tracker_service::TrackerService;
use seedbox::Engine;
use settings::Settings;
use tokio::sync::Mutex;

use crate::engine_config::usable;
use crate::feeds::Shelf;
use crate::service::ServiceError;

/// The largest list of info-hashes that is read.
const ALLOW_BYTES: u64 = 64 << 20;

/// Sockets that are bound and not answered yet.
pub(crate) struct Bound {
    /// The tracker's addresses, HTTP side.
    tracker: Vec<TcpListener>,
    /// Others, for feeds and files; the tracker is there as well.
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    /// What the engine leaves of the process's descriptors.
    max_connections: usize,
}

/// The HTTP side at work.
pub(crate) struct Http {
    server: Mutex<Option<Server>>,
    pub(crate) counters: Arc<HttpCounters>,
    keys: Option<Arc<TlsKeys>>,
    /// Where others reach feeds and files if the settings do not say: the first address that serves them.
    own_url: Option<String>,
    pub(crate) tracker: Option<TrackerService>,
}

impl Http {
    /// Binds all addresses, each once.
    pub(crate) fn bind(settings: &Settings, engine: &Engine) -> Result<Bound, ServiceError> {
        let tracker = engine.tracker_listen();
        let asked = usable(&settings.tracker.listen);
        let plain = usable(&settings.http.listen);
        // Those of the tracker may be named again, and serve both.
        let plain: Vec<SocketAddr> = plain.into_iter().filter(|address| !asked.contains(address)).collect();
        Ok(Bound {
            tracker: bind_all(tracker)?,
            plain: bind_all(&plain)?,
            tls: bind_all(&usable(&settings.http.tls.listen))?,
            max_connections: engine.http_connections(),
        })
    }

    /// Answers on all of them, and lets the tracker answer by UDP: what is served, listed and under embargo is known by now.
    pub(crate) fn start(
        bound: Bound,
        settings: &Settings,
        tracker: Option<TrackerService>,
        board: Arc<Board>,
        shelf: Arc<Shelf>,
    ) -> Result<Http, ServiceError> {
        let listen = |error: &dyn std::fmt::Display| ServiceError::Listen(error.to_string());
        let own_url = bound.own_url(settings);
        let limits = limits(settings, bound.max_connections);
        if let (Some(tracker), Some(path)) = (&tracker, &settings.tracker.allow) {
            tracker.set_allowed(read_allowed(path).map_err(|reason| listen(&reason))?);
        }
        let keys = tls_files(settings).map(TlsKeys::load).transpose().map_err(|error| listen(&error))?.map(Arc::new);
        let with_feeds = Routes { tracker: tracker.clone(), feeds: Some(board), releases: Some(shelf) };
        let tracker_routes = match settings.http.listen.is_empty() && settings.http.tls.listen.is_empty() {
            true => with_feeds.clone(),
            false if named_again(settings) => with_feeds.clone(),
            false => Routes { tracker: tracker.clone(), ..Routes::default() },
        };
        let mut listeners = Vec::new();
        let mut add = |sockets: Vec<TcpListener>, routes: &Routes, tls: Option<&Arc<TlsKeys>>| {
            let listener = |socket| Listener { socket, routes: routes.clone(), tls: tls.cloned() };
            listeners.extend(sockets.into_iter().map(listener));
        };
        add(bound.tracker, &tracker_routes, None);
        add(bound.plain, &with_feeds, None);
        add(bound.tls, &with_feeds, keys.as_ref());
        if let Some(tracker) = &tracker {
            tracker.release();
        }
        let server = Server::start(listeners, limits).map_err(|error| listen(&error))?;
        let counters = server.counters();
        Ok(Http { server: Mutex::new(Some(server)), counters, keys, own_url, tracker })
    }

    /// Where others reach feeds and files.
    pub(crate) fn base_url(&self, settings: &Settings) -> Option<String> {
        told_url(settings).or_else(|| self.own_url.clone())
    }

    /// Reads certificate and key again.
    pub(crate) fn reload_certificate(&self, settings: &Settings) -> Result<(), String> {
        let (Some(keys), Some(files)) = (&self.keys, tls_files(settings)) else {
            return Err("TLS is switched on and off by a restart".to_owned());
        };
        keys.set_files(files).map_err(|error| error.to_string())
    }

    /// Lets our own tracker serve what the file of info-hashes says now.
    pub(crate) async fn allow(&self, settings: &Settings) -> Result<(), String> {
        let Some(tracker) = &self.tracker else { return Ok(()) };
        let Some(path) = settings.tracker.allow.clone() else {
            tracker.set_allowed(Vec::new());
            return Ok(());
        };
        let allowed = tokio::task::spawn_blocking(move || read_allowed(&path)).await;
        tracker.set_allowed(allowed.map_err(|_| "reading the list broke off".to_owned())??);
        Ok(())
    }

    pub(crate) async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
    }
}

impl Bound {
    /// Where others reach feeds and files: what the settings say, else the first address that serves them.
    pub(crate) fn base_url(&self, settings: &Settings) -> Option<String> {
        told_url(settings).or_else(|| self.own_url(settings))
    }

    fn own_url(&self, settings: &Settings) -> Option<String> {
        let url = |scheme: &str, socket: &TcpListener| {
            Some(format!("{scheme}://{}", api::reachable(socket.local_addr().ok()?)))
        };
        let tls = self.tls.first().and_then(|socket| url("https", socket));
        let plain = self.plain.first().or(self.tracker.first()).and_then(|socket| url("http", socket));
        match named_again(settings) {
            true => self.tracker.first().and_then(|socket| url("http", socket)).or(tls),
            false => tls.or(plain),
        }
    }
}

fn told_url(settings: &Settings) -> Option<String> {
    Some(settings.http.base_url.as_ref()?.to_string().trim_end_matches('/').to_owned())
}

/// Whether feeds are wanted at one of the tracker's own addresses.
fn named_again(settings: &Settings) -> bool {
    settings.http.listen.iter().any(|address| settings.tracker.listen.contains(address))
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServiceError> {
    let listen = |address: &SocketAddr| {
        bind(*address).map_err(|error| ServiceError::Listen(format!("cannot listen on {address} (HTTP): {error}")))
    };
    addresses.iter().map(listen).collect()
}

fn tls_files(settings: &Settings) -> Option<TlsFiles> {
    let tls = &settings.http.tls;
    Some(TlsFiles { certificate: tls.certificate.clone()?, key: tls.key.clone()? })
}

/// Never more connections than there are descriptors for.
fn limits(settings: &Settings, max_connections: usize) -> HttpLimits {
    let http = &settings.http;
    HttpLimits {
        max_connections: (http.connections as usize).min(max_connections.max(1)),
        max_connections_per_address: http.connections_per_address as usize,
        max_head_bytes: usize::try_from(http.header_size.bytes()).unwrap_or(usize::MAX),
        header_timeout: http.header_timeout.duration(),
        idle_timeout: http.idle_timeout.duration(),
        max_requests: http.requests_per_connection,
        ..HttpLimits::default()
    }
}

fn read_allowed(path: &Path) -> Result<Vec<hash::InfoHash>, String> {
    use std::io::Read;
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    file.take(ALLOW_BYTES).read_to_string(&mut text).map_err(|error| named(&error))?;
    crate::allow_list::parse(&text).map_err(|problem| named(&problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_exceed_what_there_are_descriptors_for() {
        let mut settings = Settings::default();
        settings.http.connections = 8192;
        assert_eq!(limits(&settings, 100).max_connections, 100);
        assert_eq!(limits(&settings, 100_000).max_connections, 8192);
    }
}
