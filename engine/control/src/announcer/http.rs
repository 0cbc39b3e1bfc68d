//! Announces and scrapes over HTTP and HTTPS. The library keeps connections, speaks TLS and follows redirects; here are
//! its limits, and what of its answers is passed on; and how a client that trusts somebody is made, for web seeds too.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, StatusCode};
use tracker::http::{ReplyError, parse_announce_reply, parse_scrape_reply, scrape_url};
use tracker::{AnnounceReply, Family, ScrapeReply, TrackerUrl};

use super::error::TransportError;
use super::resolve::Resolver;
use super::{AnnouncerConfig, AnnouncerError};

/// The longest reply that is read, unpacked: a hundred times what a tracker sends.
const MAX_REPLY_BYTES: usize = 1 << 20;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// How long idle connections are kept, of each tracker as many as announces may be under way there.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What we tell servers of ourselves.
pub(crate) const USER_AGENT: &str = concat!("Spillway/", env!("CARGO_PKG_VERSION"));

/// The HTTP clients, one for each family.
pub(super) struct HttpTransport {
    v4: Client,
    v6: Client,
    resolver: Arc<Resolver>,
}

impl HttpTransport {
    pub(super) fn new(config: &AnnouncerConfig, resolver: Arc<Resolver>) -> Result<HttpTransport, AnnouncerError> {
        let client = |family| build_client(config, family, &resolver);
        Ok(HttpTransport { v4: client(Family::V4)?, v6: client(Family::V6)?, resolver })
    }

    /// Sends an announce whose URL is complete.
    pub(super) async fn announce(
        &self,
        tracker: &TrackerUrl,
        family: Family,
        url: &str,
    ) -> Result<AnnounceReply, TransportError> {
        let (status, body) = self.get(tracker, family, url).await?;
        parse_announce_reply(&body).map_err(|error| explain(status, error))
    }

    /// Scrapes at the scrape's own URL.
    pub(super) async fn scrape(
        &self,
        tracker: &TrackerUrl,
        family: Family,
        info_hashes: &[hash::InfoHash],
    ) -> Result<ScrapeReply, TransportError> {
        let (status, body) = self.get(tracker, family, &scrape_url(tracker, info_hashes)).await?;
        parse_scrape_reply(&body).map_err(|error| explain(status, error))
    }

    async fn get(
        &self,
        tracker: &TrackerUrl,
        family: Family,
        url: &str,
    ) -> Result<(StatusCode, Vec<u8>), TransportError> {
        // The client would find out by itself, but it would not say so in a way that could be told from a failure.
        require_address(&self.resolver, tracker, family).await?;
        let client = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut response = client.get(url).send().await.map_err(TransportError::from_http)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(TransportError::from_http)? {
            if body.len() + part.len() > MAX_REPLY_BYTES {
                return Err(TransportError::Lost(format!("the reply is longer than {MAX_REPLY_BYTES} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok((status, body))
    }
}

/// An address of the tracker in `family`, or the error that says that there is none.
pub(super) async fn require_address(
    resolver: &Resolver,
    tracker: &TrackerUrl,
    family: Family,
) -> Result<IpAddr, TransportError> {
    let lookup = resolver.lookup(tracker.host(), family).await;
    let ips = lookup.map_err(|error| TransportError::Lost(format!("{}: {error}", tracker.host())))?;
    let name = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    ips.first().copied().ok_or_else(|| TransportError::NoAddress(format!("{} has no {name} address", tracker.host())))
}

/// A refusal counts whatever the status; without one the status says more than an error page.
fn explain(status: StatusCode, error: ReplyError) -> TransportError {
    match error {
        ReplyError::Refused(failure) => TransportError::Refused(failure),
        ReplyError::Rubbish(_) if !status.is_success() => TransportError::Lost(format!("HTTP status {status}")),
        ReplyError::Rubbish(_) => TransportError::Lost(error.to_string()),
    }
}

fn build_client(config: &AnnouncerConfig, family: Family, resolver: &Arc<Resolver>) -> Result<Client, AnnouncerError> {
    client_with_roots(&config.extra_roots_der, || base_client(config, family, resolver))
}

/// A client that trusts the system's certificates and those given, or the latter alone where the system has none.
pub(crate) fn client_with_roots(
    extra_roots_der: &[Vec<u8>],
    base: impl Fn() -> ClientBuilder,
) -> Result<Client, AnnouncerError> {
    install_crypto();
    let roots: Result<Vec<Certificate>, reqwest::Error> =
        extra_roots_der.iter().map(|der| Certificate::from_der(der)).collect();
    let roots = roots.map_err(|error| AnnouncerError::BadCertificate(error.to_string()))?;
    match base().tls_certs_merge(roots.clone()).build() {
        Ok(client) => Ok(client),
        Err(error) => {
            // A small container has no CA certificates. Its plain HTTP servers work all the same. Many clients are made, and all
            // find the same: it is said once.
            static SAID: Once = Once::new();
            SAID.call_once(|| tracing::warn!(%error, "no trusted CA certificates: HTTPS servers will be refused"));
            base().tls_certs_only(roots).build().map_err(|error| AnnouncerError::HttpClient(error.to_string()))
        }
    }
}

fn base_client(config: &AnnouncerConfig, family: Family, resolver: &Arc<Resolver>) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::limited(MAX_REDIRECTS))
        .connect_timeout(config.http_timeout)
        .timeout(config.http_timeout)
        .pool_max_idle_per_host(config.schedule.max_in_flight_per_http_host)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A tracker must see our own address, not a proxy's.
        .no_proxy()
        .dns_resolver(FamilyResolver { resolver: Arc::clone(resolver), family });
    match config.bind.iter().find(|ip| Family::of(**ip) == family) {
        Some(ip) => builder.local_address(*ip),
        None => builder,
    }
}

/// Shows the library one family's addresses alone.
struct FamilyResolver {
    resolver: Arc<Resolver>,
    family: Family,
}

impl Resolve for FamilyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, family) = (Arc::clone(&self.resolver), self.family);
        Box::pin(async move {
            let ips = resolver.lookup(name.as_str(), family).await.map_err(|error| error.to_string())?;
            Ok(Box::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// TLS takes its arithmetic from ring; see engine/decisions/tracker-http-client.md.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An embedding program may have installed its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
