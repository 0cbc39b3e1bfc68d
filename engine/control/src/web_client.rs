//! Asking web servers on the operator's behalf: feeds and what they name, and programs that want to be told. Sizes and
//! times are bounded, and nobody out there leads us to what only this host or its network may reach.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::announcer::http::{USER_AGENT, client_with_roots};
use crate::announcer::resolve::Resolver;
use crate::announcer::{AnnouncerError, TransportError};
use crate::web_seed::client::{ScopeOf, ScopedResolver, redirect};
pub use crate::web_seed::scope::Scope;
use crate::web_seed::scope::scope;
use crate::web_seed::url::redirect_target;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// Idle connections kept for each server, and how long.
const MAX_IDLE_PER_HOST: usize = 2;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The HTTP clients of one purpose.
pub struct WebClients {
    /// One for each scope, which reaches no narrower one: a client keeps connections, so one for all would let a redirect
    /// use what a first URL opened.
    by_reach: [Client; 3],
    resolver: Arc<Resolver>,
    scope_of: ScopeOf,
    connect_timeout: Duration,
}

/// What is asked.
pub struct WebRequest<'a> {
    /// Where. A name and password in it are sent to its own server alone.
    pub url: &'a Url,
    /// How far in it may lead: what the operator wrote may lead to this host itself.
    pub reach: Scope,
    /// Sent along.
    pub headers: HeaderMap,
    /// The longest body that is read, unpacked.
    pub limit_bytes: usize,
    /// How long all of it may take, redirects too.
    pub timeout: Duration,
}

/// What a server answered.
#[derive(Debug)]
pub struct WebAnswer {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Who answered, after redirects.
    pub url: Url,
    /// Where the server stands that was asked first: what it names may lead no further in.
    pub scope: Scope,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WebError {
    /// No connection, or none that lasted. May pass.
    #[error("{0}")]
    Lost(String),
    /// It leads where nobody goes.
    #[error("{0}")]
    Refused(String),
    /// The body is longer than anything that is waited for.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl WebClients {
    /// Clients that trust the system's certificates and those given (DER).
    pub fn new(connect_timeout: Duration, extra_roots_der: &[Vec<u8>]) -> Result<WebClients, AnnouncerError> {
        WebClients::with_scopes(connect_timeout, extra_roots_der, scope)
    }

    fn with_scopes(
        connect_timeout: Duration,
        extra_roots_der: &[Vec<u8>],
        scope_of: ScopeOf,
    ) -> Result<WebClients, AnnouncerError> {
        let resolver = Arc::new(Resolver::new());
        let client = |reach| {
            client_with_roots(extra_roots_der, || {
                Client::builder()
                    .user_agent(USER_AGENT)
                    .redirect(Policy::none())
                    .referer(false)
                    .connect_timeout(connect_timeout)
                    .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    // Whoever is asked is the one that the operator named.
                    .no_proxy()
                    .dns_resolver(ScopedResolver::new(&resolver, reach, scope_of))
            })
        };
        let by_reach = [client(Scope::Public)?, client(Scope::Private)?, client(Scope::Host)?];
        Ok(WebClients { by_reach, resolver, scope_of, connect_timeout })
    }

    /// Asks for what is at a URL, and follows redirects: from a server out there no further in than that server is.
    pub async fn get(&self, request: WebRequest<'_>) -> Result<WebAnswer, WebError> {
        let deadline = Instant::now() + request.timeout;
        let mut url = request.url.clone();
        let (mut reach, mut first_scope) = (request.reach, None);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(Method::GET, &url, reach, &request.headers, None, deadline).await?;
            let scope = *first_scope.get_or_insert_with(|| self.scope_of_answer(&response));
            let Some(location) = redirect(&response) else {
                return read(response, url, scope, request.limit_bytes, false, deadline).await;
            };
            reach = reach.min(scope);
            url = redirect_target(&url, &location).map_err(|why| WebError::Refused(why.to_owned()))?;
        }
        Err(WebError::Refused(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Sends something to a URL. A redirect is an answer like another: nothing is sent elsewhere. Of a body beyond the limit
    /// the beginning is kept.
    pub async fn post(&self, request: WebRequest<'_>, body: Vec<u8>) -> Result<WebAnswer, WebError> {
        let deadline = Instant::now() + request.timeout;
        let response =
            self.send(Method::POST, request.url, request.reach, &request.headers, Some(body), deadline).await?;
        let scope = self.scope_of_answer(&response);
        read(response, request.url.clone(), scope, request.limit_bytes, true, deadline).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        reach: Scope,
        headers: &HeaderMap,
        body: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Response, WebError> {
        wait(self.require_scope(url, reach), deadline.min(Instant::now() + self.connect_timeout)).await?;
        let mut request = self.by_reach[reach as usize].request(method, url.clone()).headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body);
        }
        wait(async { request.send().await.map_err(lost) }, deadline).await
    }

    fn scope_of_answer(&self, response: &Response) -> Scope {
        response.remote_addr().map_or(Scope::Public, |address| (self.scope_of)(address.ip()))
    }

    /// Says that a URL leads too far in. Names are checked once more when they are connected to, addresses only here.
    async fn require_scope(&self, url: &Url, reach: Scope) -> Result<(), WebError> {
        let ips: Vec<IpAddr> = match url.host() {
            Some(Host::Ipv4(ip)) => vec![ip.into()],
            Some(Host::Ipv6(ip)) => vec![ip.into()],
            Some(Host::Domain(name)) => {
                let ips = self.resolver.lookup_all(name).await;
                ips.map_err(|error| WebError::Lost(format!("{name}: {error}")))?
            }
            None => Vec::new(),
        };
        if ips.into_iter().any(|ip| (self.scope_of)(ip) <= reach) {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        Err(WebError::Refused(format!("leads into this host's own network ({host})")))
    }
}

async fn read(
    mut response: Response,
    url: Url,
    scope: Scope,
    limit_bytes: usize,
    cuts: bool,
    deadline: Instant,
) -> Result<WebAnswer, WebError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(part) = wait(async { response.chunk().await.map_err(lost) }, deadline).await? {
        let room = limit_bytes - body.len();
        if part.len() > room && !cuts {
            return Err(WebError::TooLong(limit_bytes));
        }
        if part.len() > room {
            body.extend_from_slice(&part[..room]);
            break;
        }
        body.extend_from_slice(&part);
    }
    Ok(WebAnswer { status, headers, body, url, scope })
}

async fn wait<T>(what: impl Future<Output = Result<T, WebError>>, deadline: Instant) -> Result<T, WebError> {
    timeout_at(deadline, what).await.unwrap_or_else(|_| Err(WebError::Lost("no answer in time".to_owned())))
}

/// The library's error in one line, without the URL: it may hold a password.
fn lost(error: reqwest::Error) -> WebError {
    WebError::Lost(TransportError::from_http(error).to_string())
}

/// Whether a status says that the server would do the same thing again for the same question.
pub fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY)
}

#[cfg(test)]
mod tests;
