//! Requests to web servers: the HTTP clients of all web seeds, redirects, and where a redirect may lead.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::scope::{Scope, scope};
use super::url::redirect_target;
use crate::announcer::http::{USER_AGENT, client_with_roots};
use crate::announcer::resolve::Resolver;
use crate::announcer::{AnnouncerError, TransportError};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// Idle connections kept for each server, and how long: servers close theirs after a minute or sooner.
const MAX_IDLE_PER_HOST: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Ranges that are fetched at once, over all web seeds. Each may hold a read buffer of some hundred KiB.
const MAX_FETCHES: usize = 64;

/// How web seeds are asked.
#[derive(Clone, Debug)]
pub struct WebSeedConfig {
    /// Connections to one server at the same time; at least one.
    pub connections: usize,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing. A block may take three times as long.
    pub stall_timeout: Duration,
    /// How long a server is left alone after a failure. Failures in a row double it.
    pub first_back_off: Duration,
    /// The longest of these waits, if the server itself does not ask for a longer one.
    pub longest_back_off: Duration,
    /// Lets a server on the internet redirect to addresses of this host and its network, and URLs with a query be asked for
    /// there.
    pub allow_private_networks: bool,
    /// Certificates (DER) trusted for HTTPS besides the system's.
    pub extra_roots_der: Vec<Vec<u8>>,
}

impl Default for WebSeedConfig {
    fn default() -> WebSeedConfig {
        WebSeedConfig {
            connections: 4,
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(25),
            first_back_off: Duration::from_secs(2),
            longest_back_off: Duration::from_secs(600),
            allow_private_networks: false,
            extra_roots_der: Vec::new(),
        }
    }
}

/// The HTTP clients of all web seeds. They share connections, names and limits.
pub struct WebSeedClients {
    pub(super) config: WebSeedConfig,
    /// One for each scope, which reaches no narrower one. A client keeps connections, so one for all would let a redirect
    /// use what a first URL opened.
    by_reach: [Client; 3],
    resolver: Arc<Resolver>,
    scope_of: ScopeOf,
    pub(super) fetches: Semaphore,
}

/// [`scope`]; tests have but loopback, so they tell its addresses apart.
pub(crate) type ScopeOf = fn(IpAddr) -> Scope;

/// Why there was no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum AskError {
    /// No connection, or none that lasted.
    Lost(String),
    /// The redirects of this file lead where nobody goes.
    Refused(String),
}

impl WebSeedClients {
    /// The clients, made once for all web seeds.
    pub fn new(config: WebSeedConfig) -> Result<WebSeedClients, AnnouncerError> {
        WebSeedClients::with_scopes(config, scope, Resolver::new())
    }

    pub(super) fn with_scopes(
        config: WebSeedConfig,
        scope_of: ScopeOf,
        resolver: Resolver,
    ) -> Result<WebSeedClients, AnnouncerError> {
        let resolver = Arc::new(resolver);
        let client = |reach| {
            client_with_roots(&config.extra_roots_der, || {
                Client::builder()
                    .user_agent(USER_AGENT)
                    .redirect(Policy::none())
                    .referer(false)
                    .no_gzip()
                    .connect_timeout(config.connect_timeout)
                    .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    .no_proxy()
                    .dns_resolver(ScopedResolver::new(&resolver, reach, scope_of))
            })
        };
        let by_reach = [client(Scope::Public)?, client(Scope::Private)?, client(Scope::Host)?];
        Ok(WebSeedClients { config, by_reach, resolver, scope_of, fetches: Semaphore::new(MAX_FETCHES) })
    }

    /// Asks for a range of a file and follows redirects to it, for so long as `patience` lasts at each step.
    pub(super) async fn ask(&self, first: &Url, range: &Range<u64>, patience: &Patience) -> Result<Response, AskError> {
        let mut url = first.clone();
        let mut reach = self.first_reach(first);
        for hop in 0..=MAX_REDIRECTS {
            patience.wait(self.require_scope(&url, reach, hop)).await?;
            let request = self.by_reach[reach as usize]
                .get(url.clone())
                .header(ACCEPT_ENCODING, "identity")
                .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
                .send();
            let response = patience.wait(async { request.await.map_err(lost) }).await?;
            let Some(location) = redirect(&response) else { return Ok(response) };
            if hop == 0 && !self.config.allow_private_networks {
                let ip = response.remote_addr().map(|address| address.ip());
                reach = reach.min(ip.map_or(Scope::Public, self.scope_of));
            }
            url = redirect_target(&url, &location).map_err(|why| AskError::Refused(why.to_owned()))?;
        }
        Err(AskError::Refused(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Asks in one reach without a check before, so that what the resolver shows decides.
    #[cfg(test)]
    pub(super) async fn connect_in(&self, reach: Scope, url: &Url) -> Result<Response, reqwest::Error> {
        self.by_reach[reach as usize].get(url.clone()).send().await
    }

    /// A torrent may name a server in its reader's own network, which then gets requests for paths that the torrent chose;
    /// but not with a query, which is how such servers are told to do things.
    fn first_reach(&self, first: &Url) -> Scope {
        let is_allowed = first.query().is_none() || self.config.allow_private_networks;
        if is_allowed { Scope::Host } else { Scope::Public }
    }

    /// Says that a URL leads where nobody goes. Names are checked once more when they are connected to, and addresses in
    /// URLs only here.
    async fn require_scope(&self, url: &Url, reach: Scope, hop: usize) -> Result<(), AskError> {
        let ips = match url.host() {
            Some(Host::Ipv4(ip)) => vec![ip.into()],
            Some(Host::Ipv6(ip)) => vec![ip.into()],
            Some(Host::Domain(name)) => {
                let ips = self.resolver.lookup_all(name).await;
                ips.map_err(|error| AskError::Lost(format!("{name}: {error}")))?
            }
            None => Vec::new(),
        };
        if ips.into_iter().any(|ip| (self.scope_of)(ip) <= reach) {
            return Ok(());
        }
        let what = if hop == 0 { "a URL with a query" } else { "a redirect" };
        let host = url.host_str().unwrap_or_default();
        Err(AskError::Refused(format!("{what} into this host's own network ({host})")))
    }
}

/// Where the answer redirects to.
pub(crate) fn redirect(response: &Response) -> Option<String> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    // Some servers write UTF-8 where it should be escaped.
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The library's error in one line.
pub(super) fn lost(error: reqwest::Error) -> AskError {
    AskError::Lost(TransportError::from_http(error).to_string())
}

/// How long a server may take.
pub(super) struct Patience {
    stall_timeout: Duration,
    block_deadline: Instant,
}

impl Patience {
    /// How many stalls a block may take: a server that drips is as bad as one that stands still.
    const STALLS_PER_BLOCK: u32 = 3;

    pub(super) fn new(stall_timeout: Duration) -> Patience {
        let block_deadline = Instant::now() + stall_timeout * Patience::STALLS_PER_BLOCK;
        Patience { stall_timeout, block_deadline }
    }

    /// A block has come.
    pub(super) fn renew(&mut self) {
        *self = Patience::new(self.stall_timeout);
    }

    /// Waits for the server.
    pub(super) async fn wait<T>(&self, what: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
        let deadline = self.block_deadline.min(Instant::now() + self.stall_timeout);
        timeout_at(deadline, what).await.unwrap_or_else(|_| Err(AskError::Lost("the server stalls".to_owned())))
    }
}

/// Shows the library only the addresses in reach, at the moment when it connects.
pub(crate) struct ScopedResolver {
    resolver: Arc<Resolver>,
    reach: Scope,
    scope_of: ScopeOf,
}

impl ScopedResolver {
    pub(crate) fn new(resolver: &Arc<Resolver>, reach: Scope, scope_of: ScopeOf) -> ScopedResolver {
        ScopedResolver { resolver: Arc::clone(resolver), reach, scope_of }
    }
}

impl Resolve for ScopedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, reach, scope_of) = (Arc::clone(&self.resolver), self.reach, self.scope_of);
        Box::pin(async move {
            let ips = resolver.lookup_all(name.as_str()).await.map_err(|error| error.to_string())?;
            let in_reach = ips.into_iter().filter(move |ip| scope_of(*ip) <= reach);
            Ok(Box::new(in_reach.map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}
